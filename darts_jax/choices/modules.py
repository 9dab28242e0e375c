"""Choices that a user puts into a network: of modules, of inputs, of numbers.

They are plain objects, called inside any Linen or NNX module or plain function. An
option may have choices of its own: they are asked for where the option is taken.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import errors, nnx, serialization
from flax import linen as nn
from jaxtyping import Array, Float

from darts_jax.choices.decisions import (
    ask,
    channel_parts,
    combine,
    describe_output,
    make_decision,
    reached_by,
    require_alike,
    weighted_sum,
)
from darts_jax.choices.layers import Conv
from darts_jax.errors import InputError
from darts_jax.models.mixed_operation import shuffle_channels
from darts_jax.spaces.modules import Decision

T = TypeVar("T")

_MOST_SETS = 256
_REDUCTIONS = ("sum", "mean")


class Choice(Generic[T]):
    """Choice of one of several modules or functions.

    Example:
      >>> mixer = darts_jax.Choice(
      ...     "mixer", {"double": lambda x: 2 * x, "skip_connect": lambda x: x}
      ... )
      >>> net = darts_jax.decide(mixer, {"mixer": "double"})
      >>> net(jax.numpy.ones(3)).tolist()
      [2.0, 2.0, 2.0]

    Args:
      name: of the decision, as results show it.
      options: name -> Linen module, NNX module or function; all give outputs of one
        shape. Of a list, names are the numbers from 0.
      shared: True if several places share the decision.

    Raises:
      InputError: a name that cannot be, or no options.
    """

    def __init__(
        self,
        name: str,
        options: Mapping[str, Callable[..., T]] | Sequence[Callable[..., T]],
        shared: bool = False,
    ) -> None:
        if not isinstance(options, Mapping):
            options = {str(i): option for i, option in enumerate(options)}
        self.name = name
        self.options = {str(key): option for key, option in options.items()}
        self.shared = shared
        self._decision = make_decision(name, tuple(self.options), "Choice")

    def __call__(self, *args: object, **kwargs: object) -> T:
        """Returns the output of the option that is taken, or the mixture of all.

        Args:
          args: of every option.
          kwargs: of every option.
        """
        taken = ask(self._decision, self)
        parts = channel_parts(self._decision)
        if parts > 1:
            return self._mix_a_part(taken, parts, args, kwargs)
        output: T = combine(self._decision, taken, self._runs(args, kwargs))
        return output

    def _runs(
        self, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> list[Callable[[], T]]:
        return [
            _in_own_scope(self.name, option, function, args, kwargs)
            for option, function in self.options.items()
        ]

    def _mix_a_part(
        self,
        taken: Any,
        parts: int,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
    ) -> Any:
        """Mixes outputs of a part of the channels; the others pass by.

        Xu et al. (2020), eq. 2; as there, the channels are then interleaved.
        """
        wanted = f"supernet.partial_channels={parts} wants"
        x: Any = args[0] if args else None
        is_array = isinstance(x, jax.Array | np.ndarray)
        if not is_array or not x.ndim or x.shape[-1] % parts:
            given = describe_output(x) if is_array else type(x).__name__
            raise InputError(
                f"choice {self.name!r} takes {given}; {wanted} an array first, whose "
                f"channels {parts} divides"
            )
        part, passed = jnp.split(x, [x.shape[-1] // parts], -1)
        told = describe_output(part)

        def require_kept(option: str, run: Callable[[], T]) -> T:
            output = run()
            if describe_output(output) != told:
                raise InputError(
                    f"choice {self.name!r}: option {option!r} gives "
                    f"{describe_output(output)} of {told}; {wanted} options that keep "
                    "the shape of their input, whatever its channels"
                )
            return output

        runs = zip(self.options, self._runs((part, *args[1:]), kwargs), strict=True)
        kept = [functools.partial(require_kept, *run) for run in runs]
        mixture: Any = combine(self._decision, taken, kept)
        return shuffle_channels(jnp.concatenate([mixture, passed], -1), parts)


class InputChoice:
    """Choice of some of several inputs, which are added up.

    Example:
      >>> pick = darts_jax.InputChoice("sources", choose=2)
      >>> chosen = darts_jax.decide(pick, {"sources": "0+2"})
      >>> chosen([1.0, 10.0, 100.0])
      101.0

    Args:
      name: of the decision, as results show it.
      choose: number of inputs that are kept; an option is a set of them, ``"a+c"``.
      reduce: "sum" of the inputs that are kept, or their "mean".
      shared: True if several places share the decision.

    Raises:
      InputError: a name that cannot be, or another reduction.
    """

    def __init__(
        self, name: str, choose: int = 1, reduce: str = "sum", shared: bool = False
    ) -> None:
        if reduce not in _REDUCTIONS:
            wanted = " or ".join(_REDUCTIONS)
            raise InputError(f"choice {name!r} reduces by {reduce!r}; want {wanted}")
        self.name = name
        self.choose = choose
        self.reduce = reduce
        self.shared = shared

    def __call__(
        self, inputs: Mapping[str, T | Callable[[], T]] | Sequence[T | Callable[[], T]]
    ) -> T:
        """Returns the sum or the mean of the inputs that are kept.

        Args:
          inputs: name -> array, or a function without arguments that computes it, and
            runs where the input may be kept alone. Of a list, names are the numbers
            from 0.

        Raises:
          InputError: fewer inputs than are to be kept, or too many sets of them.
        """
        if not isinstance(inputs, Mapping):
            inputs = {str(i): value for i, value in enumerate(inputs)}
        names = list(inputs)
        sets = self._sets(names)
        decision = make_decision(self.name, tuple(sets), "InputChoice")
        scale = 1 / self.choose if self.reduce == "mean" else 1.0
        taken = ask(decision, self)
        if isinstance(taken, str):
            kept: Any = [_value(inputs[name]) for name in sets[taken]]
            return jax.tree.map(lambda *leaves: scale * sum(leaves), *kept)
        values = []
        for name in names:
            options = [option for option, own in sets.items() if name in own]
            with reached_by(decision, options):
                values.append(_value(inputs[name]))
        require_alike(Decision(self.name, tuple(names)), values)
        members = np.array([[name in own for name in names] for own in sets.values()])
        shares = scale * taken @ members.astype(taken.dtype)

        def add(*leaves: Any) -> Any:
            return sum(
                shares[i].astype(jnp.result_type(leaf)) * leaf
                for i, leaf in enumerate(leaves)
            )

        return jax.tree.map(add, *values)  # type: ignore[no-any-return]

    def _sets(self, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Returns the name of every set of inputs that may be kept, with the set."""
        if not 1 <= self.choose <= len(names):
            raise InputError(
                f"choice {self.name!r} keeps {self.choose} of {len(names)} inputs; "
                f"want 1 to {len(names)}"
            )
        count = math.comb(len(names), self.choose)
        if count > _MOST_SETS:
            raise InputError(
                f"choice {self.name!r} keeps {self.choose} of {len(names)} inputs in "
                f"{count} ways; want at most {_MOST_SETS}: fewer inputs, or two choices"
            )
        chosen = itertools.combinations(names, self.choose)
        return {"+".join(own): own for own in chosen}


class ValueChoice:
    """Choice of a number of a list: a width, a kernel size, a rate, a depth.

    While it is open, a network is built for the largest number, and masks weigh what
    smaller ones leave out. Once it is taken, the network is built for the number taken.

    Example:
      >>> width = darts_jax.ValueChoice("width", (2, 4))
      >>> darts_jax.decide(lambda x: width.mask(x), {"width": "4"})([1.0] * 4).tolist()
      [1.0, 1.0, 1.0, 1.0]

    Args:
      name: of the decision, as results show it.
      values: numbers, or any values for ``choice(function)``.
      shared: True if several places share the decision; methods of one object do.

    Raises:
      InputError: a name that cannot be, no values, or one that is there twice.
    """

    def __init__(
        self, name: str, values: Sequence[object], shared: bool = False
    ) -> None:
        self.name = name
        self.values = tuple(values)
        self.shared = shared
        options = [str(value) for value in self.values]
        self._decision = make_decision(name, options, "ValueChoice")

    @property
    def size(self) -> int:
        """The largest number while the choice is open; then the number taken."""
        taken = ask(self._decision, self)
        numbers = self._whole_numbers()
        return numbers[self._place(taken)] if isinstance(taken, str) else max(numbers)

    @property
    def number(self) -> Float[Array, ""] | float:
        """The mean of the numbers by their weights; then the number taken."""
        taken = ask(self._decision, self)
        numbers = self._numbers()
        if isinstance(taken, str):
            return numbers[self._place(taken)]
        return taken @ jnp.asarray(numbers, taken.dtype)

    def __call__(self, function: Callable[[object], T]) -> T:
        """Returns the output for the number taken, or the mixture for all numbers.

        Args:
          function: value -> output, of one shape for all values. What it makes while
            a network is run, such as Linen layers, is of each value's own.
        """
        taken = ask(self._decision, self)
        runs = [
            _in_own_scope(self.name, option, function, (value,), {})
            for option, value in zip(self._decision.options, self.values, strict=True)
        ]
        output: T = combine(self._decision, taken, runs)
        return output

    def mask(self, x: Float[Array, "..."], axis: int = -1) -> Float[Array, "..."]:
        """Weighs the channels that smaller widths leave out; then leaves all as is.

        Channel c is multiplied by the sum of the weights of the widths above c. It
        belongs after what would make zeros other numbers, such as a norm or a bias.

        Args:
          x: array with `size` channels.
          axis: of the channels.

        Returns:
          An array of the same shape.

        Raises:
          InputError: another number of channels.
        """
        taken = ask(self._decision, self)
        x = jnp.asarray(x)
        size = self.size
        if x.shape[axis] != size:
            raise InputError(
                f"choice {self.name!r} masks {x.shape[axis]} channels; want {size}: "
                "build the layer with the choice's size"
            )
        if isinstance(taken, str):
            return x
        is_kept = np.arange(size) < np.array(self._whole_numbers())[:, None]
        shares = (taken @ is_kept.astype(taken.dtype)).astype(x.dtype)
        return x * jnp.expand_dims(
            shares, [i for i in range(x.ndim) if i != axis % x.ndim]
        )

    def window(self, axes: int = 2) -> Float[Array, "..."] | None:
        """Returns weights of the taps of a kernel of `size`, by centre crops.

        Args:
          axes: number of the kernel's axes in space.

        Returns:
          [size, ...]: the sum of the weights of the kernels that reach a tap; None once
          the choice is taken.

        Raises:
          InputError: some kernels are odd and some even, so that they have no common
            centre.
        """
        taken = ask(self._decision, self)
        sizes = self._whole_numbers()
        if len({size % 2 for size in sizes}) > 1:
            raise InputError(
                f"choice {self.name!r} has kernels {sizes}; want all odd or all even, "
                "which have one centre"
            )
        if isinstance(taken, str):
            return None
        distances = np.abs(np.arange(max(sizes)) - (max(sizes) - 1) / 2)
        farthest = functools.reduce(np.maximum.outer, [distances] * axes)
        reached = np.stack([farthest < size / 2 for size in sizes])
        return jnp.tensordot(taken, reached.astype(taken.dtype), 1)

    def conv(self, features: int, axes: int = 2, **settings: object) -> nn.Module:
        """Returns a Linen convolution whose kernel is chosen.

        While the choice is open, it has the largest kernel, and the centre crop of each
        smaller one its weight.

        Args:
          features: number of output channels.
          axes: number of the kernel's axes in space, all of the size chosen.
          settings: further ones of `flax.linen.Conv`.
        """
        given: Mapping[str, Any] = settings
        kernel = (self.size,) * axes
        return Conv(features, kernel, window=self.window(axes), **given)

    def layers(self, blocks: Sequence[Callable[[T], T]], x: T) -> T:
        """Returns the output of as many blocks as are taken, or the mixture of depths.

        Args:
          blocks: one after another, as many as the largest number; each keeps the
            shape.
          x: what the first takes.

        Raises:
          InputError: fewer blocks, or a number below 0.
        """
        taken = ask(self._decision, self)
        depths = self._whole_numbers()
        if len(blocks) != max(depths) or min(depths) < 0:
            raise InputError(
                f"choice {self.name!r} has depths {depths} and {len(blocks)} blocks; "
                f"want {max(depths)} blocks, and depths from 0"
            )
        if isinstance(taken, str):
            for block in blocks[: depths[self._place(taken)]]:
                x = block(x)
            return x
        states = [x]
        for i, block in enumerate(blocks):
            deeper = [str(depth) for depth in depths if depth > i]
            with reached_by(self._decision, deeper):
                states.append(block(states[-1]))
        outputs = [states[depth] for depth in depths]
        require_alike(self._decision, outputs)
        mixture: T = weighted_sum(taken, outputs)
        return mixture

    def _place(self, option: str) -> int:
        return self._decision.options.index(option)

    def _numbers(self) -> list[float]:
        if not all(isinstance(value, int | float) for value in self.values):
            raise InputError(
                f"choice {self.name!r} is of {list(self.values)}; want numbers"
            )
        return [float(str(value)) for value in self.values]

    def _whole_numbers(self) -> list[int]:
        numbers = self._numbers()
        if any(number != int(number) for number in numbers):
            raise InputError(
                f"choice {self.name!r} is of {list(self.values)}; want whole numbers"
            )
        return [int(number) for number in numbers]


class _Option(nn.Module):
    """Scope of the modules that a function makes, in a Linen network.

    Their names are then the same whether or not other options run.
    """

    function: Callable[..., Any]

    @nn.compact
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def _in_own_scope(
    choice: str,
    option: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Callable[[], Any]:
    """Returns a function without arguments that runs an option."""

    def run() -> Any:
        if isinstance(function, nn.Module | nnx.Module):
            return function(*args, **kwargs)
        scope = _make_scope(f"{choice}_{option}", function)
        return (function if scope is None else scope)(*args, **kwargs)

    return run


def _make_scope(name: str, function: Callable[..., Any]) -> nn.Module | None:
    """Returns a scope of the Linen module that is running; None where none can be."""
    for number in itertools.count():
        try:
            scope = _Option(function, name=f"{name}_{number}" if number else name)
        except errors.NameInUseError:
            continue  # The same choice ran here before.
        except errors.AssignSubModuleError:
            return None  # It has a setup, and makes modules there alone.
        return None if scope.parent is None else scope
    raise AssertionError


def _value(value: Any) -> Any:
    return value() if callable(value) else value


def _flatten(choice: Choice[Any]) -> tuple[Any, Any]:
    keys = [
        (jax.tree_util.DictKey(name), option) for name, option in choice.options.items()
    ]
    return keys, (choice.name, tuple(choice.options), choice.shared)


def _unflatten(form: Any, options: Iterable[Any]) -> Choice[Any]:
    name, names, shared = form
    return Choice(name, dict(zip(names, options, strict=True)), shared)


# So that modules find the modules among its options, as in a dict of them.
jax.tree_util.register_pytree_with_keys(Choice, _flatten, _unflatten)
serialization.register_serialization_state(
    Choice,
    lambda choice: dict(choice.options),
    lambda choice, state: Choice(
        choice.name, {name: state[name] for name in choice.options}, choice.shared
    ),
)
nnx.register_data_type(Choice)
