"""A paper's own recipe of a search, and the figure that it was published with."""

import dataclasses
from collections.abc import Mapping
from typing import Any

Settings = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Published:
    """A figure of a paper, in the protocol's unit; a spread where it gives one.

    Attributes:
      mean: the figure.
      spread: its standard deviation over searches.
      source: paper and place in it, or who quotes it.
    """

    mean: float
    spread: float | None
    source: str

    def __str__(self) -> str:
        return f"{self.mean:.2f}" + (f" ± {self.spread:.2f}" if self.spread else "")


@dataclasses.dataclass(frozen=True)
class BestOf:
    """Choice of the search whose cell a figure is of.

    Attributes:
      searches: from different seeds.
      epochs: of a training from scratch of each cell, on the images that trained its
        search; what its network does on those that validated the search decides.
      trainings: of the best cell from different seeds, whose mean the figure is.
      source: where that stands.
    """

    searches: int
    epochs: int
    trainings: int
    source: str


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Recipe of a published figure, as far as it can be read.

    Attributes:
      published: the figure.
      numbers: where the numbers stand, as ``"owner/repository, file"`` or a section of
        the paper -> settings, over those of protocol and method; of a setting that two
        places have, the later one counts.
      differences: what of the recipe is done otherwise or cannot be had, a phrase each.
      best_of: choice of the search; None: every search counts.
      departures: settings that are others than those of ``numbers``, for want of time.
    """

    published: Published | None = None
    numbers: Mapping[str, Settings] = dataclasses.field(default_factory=dict)
    differences: tuple[str, ...] = ()
    best_of: BestOf | None = None
    departures: Settings = dataclasses.field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """Settings of all places, and what departs from them."""
        return {**self._read(), **self.departures}

    @property
    def all_differences(self) -> tuple[str, ...]:
        """All that differs from the paper's own search: departures, then the rest."""
        read = self._read()
        said = [
            f"{key} {ours} for {read[key]}" for key, ours in self.departures.items()
        ]
        return (*said, *self.differences)

    def _read(self) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for settings in self.numbers.values():
            merged |= settings
        return merged
