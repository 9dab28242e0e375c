"""Scores that a baseline has of every genotype before it asks for one."""

from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from darts_jax.baselines import Prior
from darts_jax.data.stream import AnyDataset
from darts_jax.errors import InputError
from darts_jax.files import open_place
from darts_jax.spaces.graph import Genotype
from darts_jax.spaces.moves import genotype_key
from darts_jax.tasks.registry import load_data
from darts_jax.training.proxy_scores import make_proxy_scores
from darts_jax.workflows.proxies import SCORES, read_scores

_AT_ONCE = 32  # genotypes of one call of proxies


def make_prior(
    config: ConfigDict, proxies: str, dataset: AnyDataset | None = None
) -> Prior:
    """Makes the scores that a baseline has of every genotype before it asks for one.

    Args:
      config: settings of the space, of the networks and of the data.
      proxies: run directory of `score_untrained`, all of whose proxies count, or
        RUN:NAME,NAME for some; or names of proxies, which are then computed.
      dataset: in place of the one that the config names.

    Raises:
      InputError: no such run or proxy, or as `make_proxy_scores`.
    """
    place, _, chosen = proxies.rpartition(":")
    for run, text in ((proxies, ""), (place, chosen)):
        if run and (open_place(run) / SCORES).is_file():
            return _read_prior(open_place(run), [n for n in text.split(",") if n])
    names = [name.strip() for name in proxies.split(",") if name.strip()]
    score = make_proxy_scores(config, dataset or load_data(config), names)
    known: dict[Hashable, list[float]] = {}

    def prior(genotypes: Sequence[Genotype]) -> np.ndarray:
        keyed = {genotype_key(genotype): genotype for genotype in genotypes}
        new = [genotype for key, genotype in keyed.items() if key not in known]
        for start in range(0, len(new), _AT_ONCE):
            part = new[start : start + _AT_ONCE]
            # Filled up, so that nothing compiles again.
            found = score([*part, *[part[-1]] * (_AT_ONCE - len(part))])
            for i, genotype in enumerate(part):
                known[genotype_key(genotype)] = [found[n][i] for n in names]
        return np.array([known[genotype_key(genotype)] for genotype in genotypes])

    return prior


def _read_prior(run: Path, names: Sequence[str]) -> Prior:
    genotypes, scores = read_scores(run)
    missing = [name for name in names if name not in scores]
    if missing:
        raise InputError(
            f"{run} has no scores by {missing[0]}; it has {', '.join(scores)}"
        )
    table = np.stack([scores[name] for name in names or scores], 1)
    rows = {genotype_key(genotype): row for row, genotype in enumerate(genotypes)}

    def prior(genotypes: Sequence[Genotype]) -> np.ndarray:
        try:
            return table[[rows[genotype_key(genotype)] for genotype in genotypes]]
        except KeyError:
            raise InputError(
                f"{run} does not have the scores of every genotype of its space; want "
                "those of all, or names of proxies"
            ) from None

    return prior
