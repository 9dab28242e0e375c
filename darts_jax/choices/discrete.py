"""Networks with their choices made: pure functions, and weights taken from all."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jaxtyping import Array, PRNGKeyArray

from darts_jax.choices.adapters import Adapter, LinenAdapter
from darts_jax.choices.decisions import decided
from darts_jax.errors import InputError
from darts_jax.models.functional import Initialized
from darts_jax.types import Inputs, Outputs, Params, Stats

Path = tuple[Any, ...]

_TOLERANCE = 1e-3  # of the largest output


@dataclasses.dataclass(frozen=True, eq=False)
class DiscreteNetwork:
    """A network with its choices made, as pure functions.

    It has no parameters of what is not chosen.

    Attributes:
      adapter: of the network with open choices.
      choices: decision -> option.
      example: what the network takes, or its shapes.
    """

    adapter: Adapter
    choices: Mapping[str, str]
    example: Inputs

    def init(self, key: PRNGKeyArray, inputs: Inputs) -> Initialized:
        """Returns first parameters and statistics.

        Args:
          key: consumed.
          inputs: of which shapes matter.
        """
        made = self._init(key, inputs)
        if not self._unused:
            return made
        flat = traverse_util.flatten_dict(made.params)
        kept = {path: leaf for path, leaf in flat.items() if path not in self._unused}
        return Initialized(traverse_util.unflatten_dict(kept), made.stats)

    def apply(
        self,
        params: Params,
        stats: Stats,
        inputs: Inputs,
        key: PRNGKeyArray,
        *,
        train: bool,
    ) -> tuple[Outputs, Stats]:
        """Returns outputs and new statistics; see `types.SupernetApply`."""
        if self._unused:
            flat = traverse_util.flatten_dict(params)
            blank = {p: jnp.zeros(s.shape, s.dtype) for p, s in self._unused.items()}
            params = traverse_util.unflatten_dict(flat | blank)
        with decided(self.choices):
            return self.adapter.apply(params, stats, inputs, key, train=train)

    def _init(self, key: PRNGKeyArray, inputs: Inputs) -> Initialized:
        with decided(self.choices):
            return self.adapter.init(key, inputs)

    @functools.cached_property
    def _unused(self) -> dict[Path, jax.ShapeDtypeStruct]:
        """Shapes of the parameters that no computation reads, by path."""
        if isinstance(self.adapter, LinenAdapter):
            return {}  # A module makes what it reads.
        key = jax.eval_shape(lambda: jax.random.key(0))
        shapes = jax.eval_shape(lambda x: x, self.example)
        made = jax.eval_shape(self._init, key, shapes)
        if not isinstance(made.params, dict):
            return {}

        def run(params: Any, stats: Any, inputs: Any, key: Any) -> Any:
            with decided(self.choices):
                return self.adapter.apply(params, stats, inputs, key, train=True)[0]

        program = jax.make_jaxpr(run)(made.params, made.stats, shapes, key).jaxpr
        used = {
            id(variable) for equation in program.eqns for variable in equation.invars
        } | {id(variable) for variable in program.outvars}
        flat = traverse_util.flatten_dict(made.params)
        order = jax.tree.leaves(
            traverse_util.unflatten_dict({p: p for p in flat}),
            is_leaf=lambda x: isinstance(x, tuple),
        )
        return {
            path: flat[path]
            for path, variable in zip(order, program.invars, strict=False)
            if id(variable) not in used
        }


def take_variables(
    network: DiscreteNetwork, params: Params, stats: Stats
) -> Initialized:
    """Takes parameters and statistics of a network out of those of all its options.

    Args:
      network: with its choices made.
      params: of the network with open choices.
      stats: likewise.

    Raises:
      InputError: they are of another network.
    """
    key = jax.eval_shape(lambda: jax.random.key(0))
    example = jax.eval_shape(lambda x: x, network.example)
    shapes = jax.eval_shape(network.init, key, example)
    return Initialized(*map(_take, (params, stats), shapes))


def _take(whole: Any, shapes: Any) -> Any:
    known = dict(jax.tree_util.tree_flatten_with_path(whole)[0])

    def leaf(path: Any, shape: Any) -> Array:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if path not in known:
            raise InputError(f"the weights have no {name}; want those of this network")
        return _crop(name, jnp.asarray(known[path]), shape.shape)

    return jax.tree_util.tree_map_with_path(leaf, shapes)


def _crop(name: str, array: Array, shape: tuple[int, ...]) -> Array:
    """Returns the first channels, and the centre of a kernel in space."""
    if array.ndim != len(shape) or any(np.array(array.shape) < shape):
        raise InputError(
            f"weights {name} are {list(array.shape)}, and {list(shape)} are wanted; "
            "want those of this network"
        )
    in_space = len(shape) - 2 if name.endswith("kernel") else 0
    starts = [
        (have - want) // 2 if axis < in_space else 0
        for axis, (have, want) in enumerate(zip(array.shape, shape, strict=True))
    ]
    return jax.lax.dynamic_slice(array, starts, shape)


def require_equal(found: Outputs, wanted: Outputs) -> None:
    """Refuses outputs of taken weights that are not those of all.

    Args:
      found: outputs of the network with choices made.
      wanted: of the network with open choices, at these.

    Raises:
      InputError: they differ by more than rounding.
    """
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
    for mine, theirs in pairs:
        scale = float(jnp.max(jnp.abs(theirs))) or 1.0
        apart = float(jnp.max(jnp.abs(mine - theirs))) / scale
        if not apart <= _TOLERANCE:
            raise InputError(
                "with the supernet's weights the network gives other outputs, by "
                f"{apart:.1g} of the largest: a layer over masked channels, as a norm, "
                "is not the narrow one; want its own first weights"
            )
