"""Expected cost of a user's network, from counts of networks with choices made.

The cost of a network is a function c of its choices. Beside one network, whose cost is
the fixed part, a sum of terms gives all others exactly: what each choice adds alone,
what two add together beyond that, and so on (the anchored decomposition of a function;
Kuo et al., 2010). Widths on both sides of a layer add together, and so do a choice and
those inside its options; most others do not, and their terms are 0. A few networks that
differ in several choices tell which terms there are, and drawn ones prove the sum.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from darts_jax.choices.space import ModuleSpace
from darts_jax.cost.choice_latency import read_choice_table
from darts_jax.cost.expected import JOINT, PRICES, ExpectedCost
from darts_jax.cost.macs import count_macs
from darts_jax.errors import InputError
from darts_jax.models.functional import count_parameters

_MOST_TOGETHER = 4
_DRAWN = 12

Choices = tuple[int, ...]
"""Option of every choice of a space, in its order."""


def choice_costs(space: ModuleSpace, costs: str) -> ExpectedCost:
    """Returns the expected cost of a user's networks.

    Args:
      space: of the user's network.
      costs: "parameters" or "macs", counted in networks with choices made; or the file
        of a `choice_latency.ChoiceTable`.

    Raises:
      InputError: there is no such file, or it is of another network; or choices whose
        costs depend on each other in more ways than are followed.
    """
    if costs in PRICES:
        unit = PRICES[costs].unit
        count = _Counter(space, _COUNTS[costs])
    else:
        table = read_choice_table(costs, space)
        unit = table.unit
        count = _Counter(space, table.cost)
    sizes = [len(decision.options) for decision in space.decisions]
    terms = _find_terms(count, sizes)
    names = [decision.name for decision in space.decisions]
    own = {names[i]: terms.pop((i,)) for i in range(len(sizes))}
    return ExpectedCost(
        unit=unit,
        fixed=count((0,) * len(sizes)),
        tables={name: table[None, :, None, None] for name, table in own.items()},
        around={name: np.zeros((1, 1)) for name in own},
        edges={},
        before={},
        joint={JOINT.join(names[i] for i in key): t for key, t in terms.items()},
    )


def option_costs(expected: ExpectedCost, space: ModuleSpace) -> dict[str, np.ndarray]:
    """Returns choice -> mean cost of each option, all others drawn evenly [1, option].

    Args:
      expected: cost of the networks.
      space: of the user's network.
    """
    even = {
        d.name: np.full((1, len(d.options)), 1 / len(d.options))
        for d in space.decisions
    }
    return {
        name: np.array(
            [[expected({**even, name: row[None]}) for row in np.eye(own.shape[1])]]
        )
        for name, own in even.items()
    }


class _Counter:
    """Cost of networks, each counted once."""

    def __init__(self, space: ModuleSpace, count: Callable[..., float]) -> None:
        self.space = space
        self.count = count
        self.known: dict[tuple[tuple[str, str], ...], float] = {}

    def __call__(self, chosen: Choices) -> float:
        pairs = zip(self.space.decisions, chosen, strict=True)
        choices = {decision.name: decision.options[o] for decision, o in pairs}
        # What a network does not ask for is no part of it.
        key = tuple(self.space.reached(choices).items())
        if key not in self.known:
            self.known[key] = self.count(self.space, choices)
        return self.known[key]


def count_parameters_of(space: ModuleSpace, choices: Mapping[str, str]) -> int:
    """Returns the number of parameters of a user's network with its choices made.

    Args:
      space: of the network.
      choices: name of every choice -> option.
    """
    network = space.discrete(choices)
    key = jax.eval_shape(lambda: jax.random.key(0))
    params = jax.eval_shape(network.init, key, space.example).params
    return count_parameters(params)


def count_macs_of(space: ModuleSpace, choices: Mapping[str, str]) -> int:
    """Returns the multiply-accumulates of a user's network for one example.

    Args:
      space: of the network.
      choices: name of every choice -> option.

    Raises:
      InputError: the network has an operation that cannot be counted.
    """
    network = space.discrete(choices)
    key = jax.eval_shape(lambda: jax.random.key(0))
    one = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype), space.example
    )
    made = jax.eval_shape(network.init, key, one)

    def forward(params: Any, stats: Any, inputs: Any, key: Any) -> Any:
        return network.apply(params, stats, inputs, key, train=False)[0]

    program = jax.make_jaxpr(forward)(made.params, made.stats, one, key)
    try:
        return count_macs(program)
    except ValueError as error:
        raise InputError(f"multiply-accumulates of the network: {error}") from None


_COUNTS: dict[str, Callable[[ModuleSpace, Mapping[str, str]], float]] = {
    "parameters": lambda space, choices: count_parameters_of(space, choices) / 1e6,
    "macs": lambda space, choices: count_macs_of(space, choices) / 1e6,
}


def _find_terms(
    count: Callable[[Choices], float], sizes: Sequence[int]
) -> dict[tuple[int, ...], np.ndarray]:
    """Returns numbers of choices -> what their options add together [option, ...]."""
    terms: dict[tuple[int, ...], np.ndarray] = {}
    everyone = range(len(sizes))
    for order in range(1, _MOST_TOGETHER + 1):
        for key in itertools.combinations(everyone, order):
            if order > 1 and not _may_add(key, terms):
                continue
            if order == 1 or _adds(key, terms, count, sizes):
                terms[key] = _term(key, terms, count, sizes)
        if order > 1 and _is_whole(terms, count, sizes):
            return terms
    raise InputError(
        f"the costs of more than {_MOST_TOGETHER} choices depend on each other; want "
        "fewer that meet in one layer, or a search without budget"
    )


def _may_add(key: tuple[int, ...], terms: Mapping[tuple[int, ...], Any]) -> bool:
    """Returns whether smaller sets of these choices add something together."""
    if len(key) == 2:
        return True
    smaller = [sub for sub in itertools.combinations(key, len(key) - 1) if sub in terms]
    return len(smaller) >= (2 if len(key) == 3 else 1)


def _adds(
    key: tuple[int, ...],
    terms: Mapping[tuple[int, ...], np.ndarray],
    count: Callable[[Choices], float],
    sizes: Sequence[int],
) -> bool:
    """Returns whether networks in which every option is met say that these add."""
    others = [sizes[i] - 1 for i in key]
    if not all(others):
        return False
    for turn in range(max(others)):
        place = tuple(1 + turn % other for other in others)
        if not math.isclose(_excess(key, place, terms, count, sizes), 0, abs_tol=1e-12):
            return True
    return False


def _term(
    key: tuple[int, ...],
    terms: Mapping[tuple[int, ...], np.ndarray],
    count: Callable[[Choices], float],
    sizes: Sequence[int],
) -> np.ndarray:
    found = np.zeros([sizes[i] for i in key])
    for place in itertools.product(*(range(1, sizes[i]) for i in key)):
        found[place] = _excess(key, place, terms, count, sizes)
    return found


def _excess(
    key: tuple[int, ...],
    place: tuple[int, ...],
    terms: Mapping[tuple[int, ...], np.ndarray],
    count: Callable[[Choices], float],
    sizes: Sequence[int],
) -> float:
    """Returns the cost of options of some choices beyond the terms of fewer."""
    chosen = [0] * len(sizes)
    for i, option in zip(key, place, strict=True):
        chosen[i] = option
    return count(tuple(chosen)) - _sum(chosen, terms, count)


def _sum(
    chosen: Sequence[int],
    terms: Mapping[tuple[int, ...], np.ndarray],
    count: Callable[[Choices], float],
) -> float:
    fixed = count((0,) * len(chosen))
    parts = (table[tuple(chosen[i] for i in key)] for key, table in terms.items())
    return fixed + sum(map(float, parts))


def _is_whole(
    terms: Mapping[tuple[int, ...], np.ndarray],
    count: Callable[[Choices], float],
    sizes: Sequence[int],
) -> bool:
    """Returns whether the terms give the cost of drawn networks."""
    return all(
        math.isclose(count(chosen), _sum(chosen, terms, count), rel_tol=1e-9)
        for chosen in _drawn(sizes)
    )


def _drawn(sizes: Sequence[int]) -> Iterator[Choices]:
    rng = np.random.default_rng(0)
    for _ in range(_DRAWN):
        yield tuple(int(rng.integers(size)) for size in sizes)
