"""Decisions that a network leaves open, and the ways in which they are taken.

A network asks for a decision by name wherever it has one. Who runs the network says
how it is answered: `explored` notes every decision, `mixed` weighs the options, and
`decided` takes one. Nothing of this lies in the network's parameters, so that it stays
a pure function of them, of the weights and of its inputs.
"""

import contextlib
import contextvars
import dataclasses
import functools
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import get_opaque_trace_state
from jaxtyping import Array, Float

from darts_jax.errors import InputError, unknown_name_error
from darts_jax.spaces.modules import Condition, Decision
from darts_jax.types import EDGES

_LEAF: Any = jax.tree.structure(0)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,99}")


class Asker(Protocol):
    """An object of a network that asks for a decision, as often as it wants.

    Attributes:
      shared: True if other objects may ask for the same.
    """

    shared: bool


class Answer(Protocol):
    """The way in which open decisions are taken."""

    @property
    def parts(self) -> int:
        """Number of parts of the channels, of which one enters the options."""

    def weigh(
        self, decision: Decision, asker: "Asker"
    ) -> "str | Float[Array, ' option']":
        """Returns the option that is taken, or a weight for each."""

    def within(
        self, decision: Decision, options: frozenset[str]
    ) -> contextlib.AbstractContextManager[None]:
        """Returns the context in which what these options lead to is computed."""

    def check(self, decision: Decision, outputs: Sequence[Any]) -> None:
        """Refuses outputs of options that cannot be mixed."""


_ANSWER: contextvars.ContextVar["Answer | None"] = contextvars.ContextVar(
    "answer", default=None
)
# Programs that a network jits for itself are traced anew under another answer: the
# weights are no arguments of theirs.
_TRACED_FOR: Any = jax.make_user_context(default_value=None)


@contextlib.contextmanager
def _answered(answer: Answer, token: object) -> Iterator[None]:
    before = _ANSWER.set(answer)
    try:
        with _TRACED_FOR(token):
            yield
    finally:
        _ANSWER.reset(before)


def mixed(
    weights: Mapping[str, Float[Array, "1 option"]], parts: int = 1
) -> contextlib.AbstractContextManager[None]:
    """Returns a context in which networks mix the options of their decisions.

    Args:
      weights: decision -> weight of each option.
      parts: 1/parts of the channels enter the options of every `Choice`, as in PC-DARTS
        (Xu et al., 2020, section 3.1).
    """
    return _answered(_Mixed(weights, parts), object())


def decided(choices: Mapping[str, str]) -> contextlib.AbstractContextManager[None]:
    """Returns a context in which networks have their decisions taken.

    What is not chosen is not computed.

    Args:
      choices: decision -> option.
    """
    return _answered(_Decided(choices), tuple(sorted(choices.items())))


@contextlib.contextmanager
def explored(parts: int = 1) -> Iterator["Exploration"]:
    """Returns a context that notes the decisions of networks; all options weigh alike.

    Outputs of a decision's options that differ in shape are refused.

    Args:
      parts: as of `mixed`.
    """
    exploration = Exploration(parts)
    with _answered(exploration, object()):
        yield exploration


@dataclasses.dataclass(frozen=True)
class _Mixed:
    """Options by their weights; an `Answer`."""

    weights: Mapping[str, Float[Array, "1 option"]]
    parts: int = 1

    def weigh(self, decision: Decision, asker: Asker) -> Float[Array, " option"]:
        del asker
        if decision.name not in self.weights:
            known = list(self.weights)
            raise unknown_name_error("choice", decision.name, known)
        return jnp.asarray(self.weights[decision.name])[0]

    def within(
        self, decision: Decision, options: frozenset[str]
    ) -> contextlib.AbstractContextManager[None]:
        del decision, options
        return contextlib.nullcontext()

    def check(self, decision: Decision, outputs: Sequence[Any]) -> None:
        del decision, outputs  # They were checked when the space was made.


@dataclasses.dataclass(frozen=True)
class _Decided:
    """Options that are taken, one of each decision; an `Answer`."""

    choices: Mapping[str, str]

    @property
    def parts(self) -> int:
        return 1

    def weigh(self, decision: Decision, asker: Asker) -> str:
        del asker
        name = decision.name
        if name not in self.choices:
            raise InputError(
                f"choice {name!r} is not made; want one of "
                f"{', '.join(decision.options)} for it"
            )
        option = str(self.choices[name])
        if option not in decision.options:
            what = f"option of choice {name!r}:"
            raise unknown_name_error(what, option, decision.options)
        return option

    within = _Mixed.within
    check = _Mixed.check


class Exploration:
    """Notes of the decisions that a network asks for; an `Answer`.

    Attributes:
      decisions: by name, in the order in which they were first asked for.
      path: names of the modules that are being called, where these are known.
      parts: as of `mixed`.
    """

    def __init__(self, parts: int = 1) -> None:
        self.parts = parts
        self.decisions: dict[str, Decision] = {}
        self.path: tuple[str, ...] = ()
        self._places: dict[str, tuple[Any, ...]] = {}
        self._within: tuple[Condition, ...] = ()

    def weigh(self, decision: Decision, asker: Asker) -> Float[Array, " option"]:
        name = decision.name
        trace = get_opaque_trace_state(convention="flax")
        place = (asker, trace, self.path)
        known = self.decisions.get(name)
        if known is None:
            self.decisions[name] = dataclasses.replace(decision, within=(self._within,))
            self._places[name] = place
        elif known.options != decision.options:
            raise InputError(
                f"choice {name!r} is there twice, of {', '.join(known.options)} and of "
                f"{', '.join(decision.options)}; want a name for each"
            )
        elif not asker.shared and self._is_another(name, place):
            raise InputError(
                f"choice {name!r} is there twice; want a name for each, or shared=True "
                "for one decision"
            )
        elif self._within not in known.within:
            within = (*known.within, self._within)
            self.decisions[name] = dataclasses.replace(known, within=within)
        count = len(decision.options)
        return jnp.full(count, 1 / count)

    def _is_another(self, name: str, place: tuple[Any, ...]) -> bool:
        """Returns whether a place is neither the known one nor it, traced again.

        The body of a loop may be traced twice: it then asks twice for one and the same.
        """
        known, known_trace, known_path = self._places[name]
        asker, trace, path = place
        return asker is not known and (trace == known_trace or path != known_path)

    @contextlib.contextmanager
    def within(self, decision: Decision, options: frozenset[str]) -> Iterator[None]:
        before = self._within
        self._within = (*before, (decision.name, options))
        try:
            yield
        finally:
            self._within = before

    def check(self, decision: Decision, outputs: Sequence[Any]) -> None:
        first, *others = map(describe_output, outputs)
        for option, other in zip(decision.options[1:], others, strict=True):
            if other != first:
                raise InputError(
                    f"choice {decision.name!r}: option {option!r} gives {other}, and "
                    f"{decision.options[0]!r} gives {first}; want one shape"
                )
        for leaf in jax.tree.leaves(outputs[0]):
            if not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
                raise InputError(
                    f"choice {decision.name!r} gives {first}; want numbers that can be "
                    "mixed, such as float32"
                )


def make_decision(name: str, options: Sequence[str], kind: str) -> Decision:
    """Returns a decision whose names have been checked.

    Args:
      name: of the decision.
      options: names of its alternatives.
      kind: class of what asks for it.

    Raises:
      InputError: a name that cannot be, or that is given twice; or no option.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.endswith(EDGES):
        raise InputError(
            f"a choice is named {name!r}; want letters, digits, '_', '-', '.' and '/', "
            f"and no {EDGES!r} at the end"
        )
    if not options:
        raise InputError(f"choice {name!r} is between nothing; want options")
    twice = [option for option in options if list(options).count(option) > 1]
    if twice:
        raise InputError(f"choice {name!r} has option {twice[0]!r} twice; want it once")
    if tuple(options) == ("none",):
        raise InputError(f"choice {name!r} may be 'none' alone; want options")
    return Decision(name, tuple(options), kind=kind)


def ask(decision: Decision, asker: Asker) -> "str | Float[Array, ' option']":
    """Returns the option that is taken, or the weights with which options are mixed.

    Args:
      decision: that the network leaves open.
      asker: object of the network that asks.

    Raises:
      InputError: nobody has said how it is taken.
    """
    return _current(decision).weigh(decision, asker)


def combine(
    decision: Decision,
    taken: "str | Float[Array, ' option']",
    functions: Sequence[Callable[[], Any]],
) -> Any:
    """Returns the output of the option that is taken, or the weighted sum of all.

    Args:
      decision: that was asked for.
      taken: the answer of `ask`.
      functions: computes each option's output, a tree of arrays.
    """
    if isinstance(taken, str):
        return functions[decision.options.index(taken)]()
    answer = _current(decision)
    outputs = []
    for option, function in zip(decision.options, functions, strict=True):
        with answer.within(decision, frozenset([option])):
            outputs.append(function())
    answer.check(decision, outputs)
    return weighted_sum(taken, outputs)


def weighted_sum(weights: Float[Array, " option"], outputs: Sequence[Any]) -> Any:
    """Returns the sum of trees of arrays, each by its weight.

    Args:
      weights: one for each.
      outputs: trees of one structure.
    """

    def add(*leaves: Any) -> Any:
        terms = [
            weights[i].astype(jnp.result_type(leaf)) * leaf
            for i, leaf in enumerate(leaves)
        ]
        return functools.reduce(operator.add, terms)

    return jax.tree.map(add, *outputs)


def reached_by(
    decision: Decision, options: Sequence[str]
) -> contextlib.AbstractContextManager[None]:
    """Returns the context in which what some options lead to is computed.

    Args:
      decision: that was asked for.
      options: of it.
    """
    return _current(decision).within(decision, frozenset(options))


def channel_parts(decision: Decision) -> int:
    """Returns the number of parts of the channels, of which one enters the options.

    Args:
      decision: that was asked for.
    """
    return _current(decision).parts


def require_alike(decision: Decision, outputs: Sequence[Any]) -> None:
    """Refuses outputs that cannot be mixed, when a space is made.

    Args:
      decision: that was asked for.
      outputs: one for each option, or for each input that is chosen from.

    Raises:
      InputError: their shapes differ, or they are no floating-point numbers.
    """
    _current(decision).check(decision, outputs)


def _current(decision: Decision) -> Answer:
    answer = _ANSWER.get()
    if answer is None:
        raise InputError(
            f"choice {decision.name!r} is open; want darts_jax.space_of(module, "
            "example), whose functions mix its options, or darts_jax.decide(module, "
            "choices), which takes one"
        )
    return answer


def describe_output(output: Any) -> str:
    """Returns shapes and types of a tree of arrays in words.

    Args:
      output: of an option.
    """
    leaves, form = jax.tree.flatten(output)
    told = [f"{jnp.result_type(leaf)} {list(np.shape(leaf))}" for leaf in leaves]
    return told[0] if form == _LEAF else f"{form} of {', '.join(told)}"
