"""NATS-Bench's 32,768 networks of different widths (Dong et al., 2021).

A row is an official index. ``channels`` uint8 [network, 5] are the channels of the
layers, in the order of the network.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from jaxtyping import UInt

from darts_jax.errors import InputError
from darts_jax.nasbench.nats import Part
from darts_jax.nasbench.table import (
    Table,
    read_columns,
    require_arrays,
    require_codes,
)
from darts_jax.spaces.graph import Genotype, KeptEdge
from darts_jax.spaces.moves import assemble_genotype
from darts_jax.spaces.nats_size import LAYERS, NATS_SIZE, WIDEST
from darts_jax.spaces.widths import width_choice

_CODED = ("channels",)


@dataclasses.dataclass(frozen=True, eq=False)
class NATSSize(Table):
    """The benchmark, as `load_table` reads it.

    Attributes:
      columns: name -> a number of every network.
      channels: of every layer.
    """

    channels: UInt[np.ndarray, "network 5"]

    name: ClassVar[str] = "nats_size"
    title: ClassVar[str] = "NATS-Bench (size)"
    spaces: ClassVar[tuple[str, ...]] = (NATS_SIZE.name,)
    told_epochs: ClassVar[int] = 12

    @classmethod
    def from_arrays(cls, path: str | Path, arrays: Mapping[str, np.ndarray]) -> Self:
        require_arrays(cls.title, path, arrays, _CODED)
        channels = arrays["channels"]
        require_codes(cls.title, path, "channels", channels, len(LAYERS), WIDEST + 1)
        columns = read_columns(cls.title, path, arrays, len(channels), _CODED)
        return cls(columns, channels.astype(np.uint8))

    def row(self, genotype: Genotype) -> int:
        """Returns the official index of a network.

        Args:
          genotype: of the space ``nats_size``.

        Raises:
          InputError: it is none of this space, or the table lacks its widths.
        """
        if genotype.space not in self.spaces:
            raise InputError(
                f"a genotype of space {genotype.space!r} is no network of "
                f"{self.title}; want one of {NATS_SIZE.name}"
            )
        widths = [genotype.cells[layer].width_share * WIDEST for layer in LAYERS]
        try:
            return self._rows[tuple(widths)]
        except KeyError:
            told = ":".join(f"{width:g}" for width in widths)
            raise InputError(f"the table has no network {told}") from None

    def genotype(self, row: int) -> Genotype:
        """Returns the network of an official index.

        Args:
          row: the index.
        """
        choices = []
        for layer, width in zip(LAYERS, self.channels[row].tolist(), strict=True):
            for edge in NATS_SIZE.cells[layer].edges:
                (first, *_) = edge.operations
                chosen = width_choice(width / WIDEST) if edge.width_shares else first
                choices.append((layer, KeptEdge(edge.target, edge.source, chosen)))
        return assemble_genotype(NATS_SIZE, choices)

    @functools.cached_property
    def _rows(self) -> dict[tuple[float, ...], int]:
        return {tuple(widths): row for row, widths in enumerate(self.channels.tolist())}


def _code_widths(texts: Sequence[str]) -> dict[str, np.ndarray]:
    try:
        rows = [[int(n) for n in text.split(":")] for text in texts]
        return {"channels": np.array(rows, np.uint8).reshape(len(texts), len(LAYERS))}
    except (ValueError, OverflowError):
        raise InputError(
            "architectures of NATS-Bench are not like '8:16:24:32:40'"
        ) from None


SIZE = Part(
    NATSSize.title,
    "NATS-sss-v1_0-50262",
    ("api_size", "NATSsize"),
    {1: "01", 12: "12", 90: "90"},
    _code_widths,
)
