"""Published searches on NAS-Bench-201's table as data: baselines by their protocol.

Dong and Yang (2020), section 4 and released scripts: a search is told the validation
accuracy of CIFAR-10 after 12 epochs and pays 12 epochs of training and one validation,
until it has paid 12,000 s. What counts are the accuracies of its best cell after 200
epochs, over 500 searches.
"""

import dataclasses
from collections.abc import Mapping

from darts_jax.settings.recipe import Published

PROTOCOL = "nasbench201_table"
SECONDS = 12_000.0
"""Simulated seconds of training and validation that a search may pay."""
RUNS = 500
"""Number of searches behind a published figure."""

FACTS = (
    "12,000 simulated seconds a search: 12 epochs of training and one validation for "
    "each cell that is asked for",
    "a search is told the validation accuracy of CIFAR-10 after 12 epochs; the "
    "accuracies of its best cell after 200 epochs are the result",
    "the benchmark tells a search one of up to two trainings by chance, here their "
    "mean, so that scores are a little better here",
    "tables do not hold the seconds of a validation: it is taken as 0.353 of an epoch "
    "of training, as long as that of cell 0 in the benchmark's files",
    "scores of untrained networks cost a search nothing here; they are of networks of "
    "one cell a stage and 16 channels, by 32 images",
    "successive halving, Hyperband and BOHB ask for trainings of 12 and of 200 epochs, "
    "each with a schedule of its own, from scratch and paid in whole; their best cell "
    "is the best after 200 epochs",
    "published figures: Dong and Yang 2020, 2001.00326, table 5, over 500 searches, as "
    "printed again in Mellor et al. 2021, 2006.04647, table 2",
)


@dataclasses.dataclass(frozen=True)
class TableExperiment:
    """A baseline on the table, by the benchmark's protocol.

    Attributes:
      name: ``nasbench201_table/...``.
      baseline: entry of `baselines.BASELINES`.
      title: its name for readers.
      valid: published validation accuracy in percent, if there is one.
      test: published test accuracy in percent, if there is one.
      settings: keyword arguments of the baseline.
      facts: what a reader must know beside the protocol's.
      proxies: those whose scores the search has of all cells before it asks for one.
      epochs: of the trainings that the search is told of, where these are not the
        protocol's; 0: they are, or the search says how long.
    """

    name: str
    baseline: str
    title: str
    valid: Published | None = None
    test: Published | None = None
    settings: Mapping[str, float | str] = dataclasses.field(default_factory=dict)
    facts: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    epochs: int = 0


_SOURCE = "Dong and Yang 2020"
_RATES = "the published rate is not known: released files have 0.001 to 0.5"
_TOGETHER = (("synflow", "naswot"),)
_ONE_BY_ONE = (("params",), ("synflow",), ("naswot",), *_TOGETHER)
_ROWS = (
    TableExperiment(
        "random_search",
        baseline="random_search",
        title="random search",
        valid=Published(90.93, 0.36, _SOURCE),
        test=Published(93.70, 0.36, _SOURCE),
    ),
    TableExperiment(
        "evolution",
        baseline="evolution",
        title="evolution (REA)",
        valid=Published(91.19, 0.31, _SOURCE),
        test=Published(93.92, 0.30, _SOURCE),
    ),
    *(
        TableExperiment(
            f"reinforce_{rate}",
            baseline="reinforce",
            title=f"REINFORCE, rate {rate}",
            valid=Published(91.09, 0.37, _SOURCE),
            test=Published(93.85, 0.37, _SOURCE),
            settings={"learning_rate": rate},
            facts=(_RATES,),
        )
        for rate in (0.01, 0.1)
    ),
    TableExperiment("local_search", baseline="local_search", title="local search"),
    TableExperiment(
        "predictor_search", baseline="predictor_search", title="predictor-guided search"
    ),
    *(
        TableExperiment(
            f"{baseline}_{'_'.join(proxies)}",
            baseline=baseline,
            title=f"{title} {' and '.join(proxies)}",
            proxies=proxies,
        )
        for baseline, title, several in (
            ("random_search", "1,000 random cells in the order of", _ONE_BY_ONE),
            ("evolution", "evolution from the best of 1,000 by", _ONE_BY_ONE),
            ("predictor_search", "predictor-guided search that sees", _TOGETHER),
        )
        for proxies in several
    ),
    *(
        TableExperiment(
            f"predictor_search_{predictor}",
            baseline="predictor_search",
            title=f"predictor-guided search by {title}",
            settings={"predictor": predictor},
        )
        for predictor, title in (
            ("gaussian_process", "a Gaussian process"),
            ("boosted_trees", "boosted trees"),
            ("graph_network", "a graph network"),
        )
    ),
    TableExperiment(
        "random_search_200",
        baseline="random_search",
        title="random search, told of 200 epochs for their seconds",
        epochs=200,
    ),
    *(
        TableExperiment(baseline, baseline=baseline, title=title)
        for baseline, title in (
            ("successive_halving", "successive halving"),
            ("hyperband", "Hyperband"),
            ("bohb", "BOHB (by Optuna's sampler)"),
        )
    ),
)
TABLE_EXPERIMENTS: dict[str, TableExperiment] = {
    f"{PROTOCOL}/{row.name}": dataclasses.replace(row, name=f"{PROTOCOL}/{row.name}")
    for row in _ROWS
}
"""Name -> baseline on NAS-Bench-201's table beside its published figures."""
