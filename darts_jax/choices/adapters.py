"""Networks of three kinds as pure functions: Linen modules, NNX modules, functions."""

import abc
import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from flax import linen as nn
from flax import nnx
from jaxtyping import PRNGKeyArray

from darts_jax.choices.decisions import decided, explored
from darts_jax.choices.linen import Decided
from darts_jax.errors import InputError
from darts_jax.models.functional import Initialized
from darts_jax.types import Inputs, Outputs, Params, Stats

_TRAINS = ("train", "training", "is_training")
_RESTS = ("deterministic", "eval_mode")


class Call(NamedTuple):
    """Arguments of a network's call.

    Attributes:
      params: parameters.
      stats: statistics.
      inputs: what the network takes, a tree of arrays.
      key: of random numbers; consumed.
      train: whether the network trains.
    """

    params: Params
    stats: Stats
    inputs: Inputs
    key: PRNGKeyArray
    train: bool


@dataclasses.dataclass(frozen=True)
class Adapter(abc.ABC):
    """A network as pure functions, whatever it is made of.

    Attributes:
      module: the network as the user made it.
    """

    module: Any

    @abc.abstractmethod
    def init(self, key: PRNGKeyArray, inputs: Inputs) -> Initialized:
        """Returns the first parameters and statistics.

        Args:
          key: consumed.
          inputs: of which shapes matter.
        """

    def apply(
        self,
        params: Params,
        stats: Stats,
        inputs: Inputs,
        key: PRNGKeyArray,
        *,
        train: bool,
    ) -> tuple[Outputs, Stats]:
        """Returns the outputs, and the statistics after the call.

        Args:
          params: parameters.
          stats: statistics.
          inputs: what the network takes, a tree of arrays.
          key: of random numbers; consumed.
          train: whether the network trains.
        """
        return self.call(Call(params, stats, inputs, key, train))

    @abc.abstractmethod
    def call(self, given: Call) -> tuple[Outputs, Stats]:
        """Returns the outputs, and the statistics after the call.

        Args:
          given: arguments of the call.
        """

    @abc.abstractmethod
    def decide(self, choices: Mapping[str, str]) -> Any:
        """Returns the user's network with its choices made.

        Args:
          choices: decision -> option.
        """


@dataclasses.dataclass(frozen=True)
class Functions:
    """A network of plain functions.

    Attributes:
      init: key -> parameters, a tree of arrays; the key is consumed.
      apply: (parameters, inputs) -> outputs; with arguments named ``key`` or ``train``
        it is given these too.
    """

    init: Callable[..., Params]
    apply: Callable[..., Outputs]


def adapt(module: object) -> Adapter:
    """Returns a network as pure functions.

    Args:
      module: Linen module, NNX module, function of ``rngs`` that makes an NNX module,
        or `Functions`.

    Raises:
      InputError: it is none of these.
    """
    if isinstance(module, nn.Module):
        return LinenAdapter(module)
    if isinstance(module, nnx.Module):
        return NnxAdapter(module, lambda rngs: module)
    if isinstance(module, Functions):
        return FunctionsAdapter(module)
    if callable(module):
        made: Any = module
        # A class is known by its `__init__`.
        if "rngs" in (*_arguments(made), *_arguments(made.__init__)):
            return NnxAdapter(module, module)
    raise InputError(
        f"a network is {type(module).__name__}; want a Linen module, an NNX module, a "
        "function of rngs that makes one, or darts_jax.Functions(init, apply)"
    )


@dataclasses.dataclass(frozen=True)
class LinenAdapter(Adapter):
    """A Linen module; statistics are its collections other than ``params``.

    Attributes:
      module: the user's module.
    """

    module: nn.Module

    def init(self, key: PRNGKeyArray, inputs: Inputs) -> Initialized:
        keys = jax.random.split(key)
        rngs = {"params": keys[0], "dropout": keys[1]}
        made = self.module.init(rngs, inputs, **self._mode(False))
        stats = {name: tree for name, tree in made.items() if name != "params"}
        return Initialized(made.get("params", {}), stats)

    def call(self, given: Call) -> tuple[Outputs, Stats]:
        stats = given.stats
        variables: Any = {"params": given.params, **stats}
        # A stream that has no key of its own takes that of "params".
        keys = jax.random.split(given.key)
        rngs = {"params": keys[0], "dropout": keys[1]}
        mode = self._mode(given.train)
        if not given.train or not stats:
            return self.module.apply(variables, given.inputs, rngs=rngs, **mode), stats
        outputs, changed = self.module.apply(
            variables, given.inputs, rngs=rngs, mutable=list(stats), **mode
        )
        return outputs, {**stats, **changed}

    def decide(self, choices: Mapping[str, str]) -> nn.Module:
        return Decided(self.module, tuple(sorted(choices.items())))

    def _mode(self, train: bool) -> dict[str, Any]:
        module = self.module
        called = module.module if isinstance(module, Decided) else module
        return _mode_arguments(_arguments(type(called).__call__), train)


@dataclasses.dataclass(frozen=True)
class NnxAdapter(Adapter):
    """An NNX module; statistics are its variables other than parameters.

    Attributes:
      module: the user's module, or the function that makes it.
      make: rngs -> the module.
    """

    make: Callable[[nnx.Rngs], Any]

    def init(self, key: PRNGKeyArray, inputs: Inputs) -> Initialized:
        del inputs
        made = self.make(nnx.Rngs(key))
        parts: Any = nnx.split(made, nnx.Param, nnx.RngState, ...)
        _, params, _, stats = parts
        return Initialized(nnx.to_pure_dict(params), nnx.to_pure_dict(stats))

    def call(self, given: Call) -> tuple[Outputs, Stats]:
        form = nnx.eval_shape(lambda: self.make(nnx.Rngs(0)))
        parts: Any = nnx.split(form, nnx.Param, nnx.RngState, ...)
        graph, own, random, rest = parts
        nnx.replace_by_pure_dict(own, dict(given.params))
        nnx.replace_by_pure_dict(rest, dict(given.stats))
        made = nnx.merge(graph, own, _reseeded(random, given.key), rest)
        made.train() if given.train else made.eval()
        mode = _mode_arguments(_arguments(type(made).__call__), given.train)
        outputs = made(given.inputs, **mode)
        changed = nnx.state(made, nnx.Not(nnx.Any(nnx.Param, nnx.RngState)))
        return outputs, nnx.to_pure_dict(changed) if given.train else given.stats

    def decide(self, choices: Mapping[str, str]) -> "DecidedFunction":
        return DecidedFunction(self.module, dict(choices))


def _reseeded(random: Any, key: PRNGKeyArray) -> Any:
    """Returns states of streams of random numbers that begin at a key."""
    leaves, form = jax.tree.flatten(random)
    fresh = [
        jax.random.fold_in(key, i)
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        else jax.numpy.zeros(leaf.shape, leaf.dtype)
        for i, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(form, fresh)


@dataclasses.dataclass(frozen=True)
class FunctionsAdapter(Adapter):
    """A network of plain functions, without statistics.

    Attributes:
      module: the user's functions.
    """

    module: Functions

    def init(self, key: PRNGKeyArray, inputs: Inputs) -> Initialized:
        del inputs
        return Initialized(self.module.init(key), {})

    def call(self, given: Call) -> tuple[Outputs, Stats]:
        names = _arguments(self.module.apply)
        mode = _mode_arguments(names, given.train)
        keys = {"key": given.key} if "key" in names else {}
        outputs = self.module.apply(given.params, given.inputs, **keys, **mode)
        return outputs, given.stats

    def decide(self, choices: Mapping[str, str]) -> Functions:
        return Functions(
            self.module.init, DecidedFunction(self.module.apply, dict(choices))
        )


class DecidedFunction:
    """A function, or an NNX module, with its choices made.

    Args:
      function: with open choices.
      choices: decision -> option.
    """

    def __init__(self, function: Callable[..., Any], choices: dict[str, str]) -> None:
        self.function = function
        self.choices = choices
        self.__signature__ = inspect.signature(function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the function's result; takes what it takes."""
        with decided(self.choices):
            return self.function(*args, **kwargs)


def explore(adapter: Adapter, example: Inputs, parts: int = 1) -> Any:
    """Notes the decisions of a network, by shapes alone.

    Args:
      adapter: the network.
      example: what it takes, a tree of arrays or of their shapes.
      parts: 1/parts of the channels enter the options, as of `decisions.mixed`.

    Returns:
      The `Exploration`.

    Raises:
      InputError: a choice that cannot be.
    """
    key = jax.eval_shape(lambda: jax.random.key(0))

    def run(key: PRNGKeyArray, inputs: Inputs) -> Outputs:
        params, stats = adapter.init(key, inputs)
        return params, stats

    with explored(parts) as exploration:
        path: list[tuple[str, ...]] = []

        def enter(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
            path.append(exploration.path)
            exploration.path = tuple(context.module.path)
            try:
                return call(*args, **kwargs)
            finally:
                exploration.path = path.pop()

        with nn.intercept_methods(enter):
            made = jax.eval_shape(run, key, example)
    if isinstance(adapter, LinenAdapter):
        return exploration
    with explored(parts) as exploration:
        jax.eval_shape(
            lambda params, stats, inputs, key: adapter.apply(
                params, stats, inputs, key, train=False
            ),
            *made,
            example,
            key,
        )
    return exploration


def _arguments(function: Callable[..., Any]) -> tuple[str, ...]:
    try:
        return tuple(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return ()


def _mode_arguments(names: tuple[str, ...], train: bool) -> dict[str, bool]:
    """Returns the argument by which a network is told whether it trains, if any."""
    told = {name: train for name in _TRAINS if name in names}
    return told | {name: not train for name in _RESTS if name in names}
