"""`front`: accuracy against cost over several targets, random networks beside it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ml_collections import ConfigDict

from darts_jax.build import Limit, dataset_of, has_budget
from darts_jax.config import with_overrides
from darts_jax.data.stream import AnyDataset
from darts_jax.errors import InputError
from darts_jax.runs.budget import limit_of
from darts_jax.runs.console import table
from darts_jax.runs.directory import RunDirectory, atomic_write
from darts_jax.runs.loop import say
from darts_jax.runs.population import population
from darts_jax.runs.retrain import retrain
from darts_jax.spaces import moves
from darts_jax.spaces.graph import Genotype

if TYPE_CHECKING:
    import pandas as pd

TARGET = "search.budget.target"
COLUMNS = ("target", "cost", "accuracy", "group", "name")

NEAR = 0.05
"""A random network counts as of equal cost if it costs so much less, at most."""


@dataclasses.dataclass(frozen=True)
class Front:
    """What searches for several targets found, and what random networks reach.

    Attributes:
      rows: of each network its ``COLUMNS``: the accuracy on the test images in percent,
        the group "searched" or "random", and the name of its directory.
      unit: of targets and costs.
    """

    rows: tuple[dict[str, Any], ...]
    unit: str
    path: Path

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each network."""
        import pandas as pd

        return pd.DataFrame(list(self.rows), columns=list(COLUMNS))

    def __str__(self) -> str:
        return f"{table(self.rows, COLUMNS)}\ntargets and costs in {self.unit}\n"


def front(
    config: ConfigDict,
    targets: Sequence[float],
    run: str | Path,
    dataset: AnyDataset | None = None,
) -> Front:
    """Searches for every target side by side, and trains what each search found.

    The searches are one population. Beside each genotype as many random ones of its
    cost are trained by the same recipe as ``baseline.random_genotypes`` says.

    Args:
      targets: of ``search.budget.target``.
      run: a new directory, or that of the same call, which then goes on.

    Raises:
      InputError: a mistake in the settings or the data, or no budget to set targets of.
    """
    if not has_budget(config):
        raise InputError("a front needs search.budget.rule, such as augmented")
    dataset = dataset or dataset_of(config)
    path = Path(run)
    found = population(config, {TARGET: list(targets)}, path / "search", dataset)
    rng = np.random.default_rng(config.seed)
    rows, unit = [], ""
    for i, member in enumerate(found.members):
        target = member.settings[TARGET]
        own = with_overrides(config, [f"{TARGET}={target}"])
        limit = limit_of(own, RunDirectory(path / "search"))
        assert limit is not None
        unit = limit.expected.unit
        if member.genotype is None:
            say(f"front: the search for {target:g} {unit} has no genotype: its loss")
            continue
        chosen = {f"searched_{i}": member.genotype}
        for n in range(config.baseline.random_genotypes):
            other = random_of_cost(limit, limit.cost(member.genotype), rng)
            chosen[f"random_{i}_{n}"] = other
        for name, genotype in chosen.items():
            accuracy = _trained(config, path / name, genotype, dataset)
            values = target, limit.cost(genotype), accuracy, name.split("_")[0], name
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    result = Front(tuple(rows), unit, path)
    atomic_write(path / "front.json", json.dumps(rows, indent=1) + "\n")
    atomic_write(path / "summary.txt", str(result))
    return result


def random_of_cost(limit: Limit, cost: float, rng: np.random.Generator) -> Genotype:
    """A random genotype that costs no more, and less by ``NEAR`` at most.

    Walks of random changes, each from a random one, that take no step away from that;
    if none arrives, the nearest that they came.
    """
    low, high = (1 - NEAR) * cost, cost

    def distance(genotype: Genotype) -> float:
        paid = limit.cost(genotype)
        return max(low - paid, paid - high, 0.0)

    ends = []
    for _ in range(_WALKS):
        genotype = moves.uniform(limit.space, rng)
        for _ in range(_STEPS):
            if not distance(genotype):
                return genotype
            other = moves.mutate(limit.space, genotype, rng)
            if distance(other) <= distance(genotype):
                genotype = other
        ends.append(genotype)
    return min(ends, key=distance)


_WALKS, _STEPS = 30, 60


def _trained(
    config: ConfigDict, path: Path, genotype: Genotype, dataset: AnyDataset
) -> float:
    """Test accuracy in percent of a genotype trained from scratch."""
    alone = with_overrides(config, ["baseline.random_genotypes=0"])
    return 100 * retrain(alone, path, genotype, dataset).accuracy
