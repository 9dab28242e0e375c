"""Searches in stages: each from scratch, with fewer operations and other settings.

P-DARTS (Chen et al., 2019) deepens the supernet, DrNAS (Chen et al., 2021) widens it.
A stage is a search of its own, whose operations the one before has chosen.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from ml_collections import ConfigDict

from darts_jax.bilevel.discretization import keep_strongest, weight_reader
from darts_jax.errors import InputError
from darts_jax.settings.config import with_overrides
from darts_jax.spaces import get_space
from darts_jax.types import Mask

_AGAIN = "_again_"


@dataclasses.dataclass(frozen=True)
class Stage:
    """A search of its own.

    Attributes:
      config: with the stage's settings.
      name: of the stage: "search", or "search_1" and so on.
      attempt: number of times that it has begun anew from an earlier epoch.
    """

    config: ConfigDict
    name: str
    attempt: int = 0

    @property
    def verb(self) -> str:
        """Name of its records and checkpoints."""
        return f"{self.name}{_AGAIN}{self.attempt}" if self.attempt else self.name

    def includes(self, verb: str) -> bool:
        """Returns whether a verb is an attempt of this stage."""
        return verb.split(_AGAIN)[0] == self.name


def make_stages(config: ConfigDict) -> list[Stage]:
    """Returns the stages of ``search.stages``, or the one search that there is.

    Args:
      config: of the run.

    Raises:
      InputError: a stage with a wrong setting, or with stages of its own.
    """
    texts = [text.split() for text in config.search.stages.split(";")]
    texts = [settings for settings in texts if settings]
    if not texts:
        return [Stage(config, "search")]
    stages = []
    for number, settings in enumerate(texts, start=1):
        if any(setting.startswith("search.stages=") for setting in settings):
            raise InputError("a stage has no stages of its own: search.stages in one")
        settings = [*settings, "search.stages="]
        stages.append(Stage(with_overrides(config, settings), f"search_{number}"))
    return stages


def pruned_mask(
    config: ConfigDict, mask: Mask, alpha: Mapping[str, np.ndarray]
) -> Mask:
    """Returns the operations that a stage begins with, the strongest of the one before.

    Args:
      config: of the stage; ``search.operations`` says how many an edge keeps.
      mask: kind of cell -> operations of the stage before, booleans [edge, op].
      alpha: kind of cell -> its last parameters [edge, op].
    """
    count = config.search.operations
    if not count:
        return mask
    read = weight_reader(config.search.relaxation)
    cells = get_space(config.space).cells
    return {
        kind: keep_strongest(cell, read(cell, alpha[kind]), count) & mask[kind]
        for kind, cell in cells.items()
    }
