"""Progressive shrinking: smaller operations join the larger ones as a search goes on.

Once-for-all (Cai et al., 2020, section 3.3). An operation has a rank on each axis, as
the size of its kernel: how many larger values its edge has. A mask is narrowed to the
ranks that take part so far, so that a path is drawn among them.
"""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from darts_jax.types import Mask, Scalars

AXES = ("kernel", "depth", "expansion", "width")
"""What shrinks: kernels, blocks of a stage, channels inside a block and of a stage."""

Ranks = Mapping[str, Int[np.ndarray, "edge op"]]
"""Kind -> rank of every operation on one axis; 0 is the largest, and has no size."""


@dataclasses.dataclass(frozen=True)
class Elastic:
    """The ranks of a space's operations.

    Attributes:
      ranks: axis -> ranks on it.
    """

    ranks: Mapping[str, Ranks]

    def narrow(self, mask: Mask, allowed: Scalars) -> Mask:
        """Returns the mask of the operations that take part; no edge is left without.

        Args:
          mask: kind -> [edge, op], False where there is no operation.
          allowed: axis -> largest rank that takes part.
        """
        narrowed = {}
        for kind, own in mask.items():
            kept = jnp.asarray(own)
            for axis, ranks in self.ranks.items():
                kept &= jnp.asarray(ranks[kind], jnp.float32) <= allowed[axis]
            some = jnp.any(kept, axis=-1, keepdims=True)
            narrowed[kind] = jnp.where(some, kept, jnp.asarray(own))
        return narrowed
