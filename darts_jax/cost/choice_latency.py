"""Latency of the options of a user's network, measured on this device.

A choice may be anywhere in the network, so whole networks are timed: for each option
one in which nothing else differs from the first options, but for what must be chosen so
that the network asks for it. What an option adds to the first one is added up over the
choices that a network asks for, as in ProxylessNAS (Cai et al., 2019, section 3.3).
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from darts_jax.choices.space import ModuleSpace
from darts_jax.cost.latency import Measurement, measure_latency
from darts_jax.errors import InputError
from darts_jax.files import open_place, write_atomically
from darts_jax.spaces.modules import Decision

_DEFAULT = Measurement()


@dataclasses.dataclass(frozen=True)
class ChoiceTable:
    """Measured costs of the options of a user's network.

    Attributes:
      space: name of the network.
      unit: unit of the costs, such as "ms".
      conditions: conditions under which they hold, for people: device, batch.
      fixed: cost of the network of the first options.
      costs: name of a choice -> option -> what it costs beyond the first option.
    """

    space: str
    unit: str
    conditions: Mapping[str, str | int]
    fixed: float
    costs: Mapping[str, Mapping[str, float]]

    def cost(self, space: ModuleSpace, choices: Mapping[str, str]) -> float:
        """Returns the cost of a network.

        Args:
          space: of the user's network.
          choices: name of every choice -> option.
        """
        reached = space.reached(choices)
        return self.fixed + sum(self.costs[name][o] for name, o in reached.items())

    def to_json(self) -> str:
        """Returns the table as JSON, as `read_choice_table` reads it."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"


def measure_choices(
    space: ModuleSpace, path: str | Path, how: Measurement = _DEFAULT
) -> ChoiceTable:
    """Measures every option of a user's network, and writes the table.

    The setting ``search.costs`` takes the file.

    Args:
      space: of the network.
      path: JSON file.
      how: settings of the measurement; the network's own types are computed with.

    Returns:
      Differences of median milliseconds of forward passes as the network is tested.

    Raises:
      InputError: a setting that makes no sense.
    """
    how.check()
    known: dict[tuple[tuple[str, str], ...], float] = {}

    def median(choices: Mapping[str, str]) -> float:
        key = tuple(space.reached(choices).items())
        if key not in known:
            known[key] = _network_ms(space, choices, how)
        return known[key]

    first = {d.name: d.options[0] for d in space.decisions}
    costs = {}
    for decision in space.decisions:
        around = first | _conditions(space, decision)
        own = {o: median(around | {decision.name: o}) for o in decision.options}
        base = own[decision.options[0]]
        costs[decision.name] = {option: ms - base for option, ms in own.items()}
    conditions = {
        "batch": how.batch,
        "device": jax.devices()[0].device_kind,
        "runs": how.runs,
    }
    table = ChoiceTable(space.name, "ms", conditions, median(first), costs)
    write_atomically(open_place(path), table.to_json().encode())
    return table


def _conditions(space: ModuleSpace, decision: Decision) -> dict[str, str]:
    """Returns choices with which the network asks for a decision."""
    place = min(decision.within, key=len)
    options = {d.name: d.options for d in space.decisions}
    return {
        other: next(option for option in options[other] if option in under)
        for other, under in place
    }


def _network_ms(
    space: ModuleSpace, choices: Mapping[str, str], how: Measurement
) -> float:
    network = space.discrete(choices)
    key = jax.random.key(how.seed)
    rows = jnp.arange(how.batch)
    inputs = jax.tree.map(lambda x: x[rows % len(x)], space.arrays())
    made = jax.jit(network.init)(key, inputs)

    def forward(params: Any, stats: Any, inputs: Any, key: Any) -> Any:
        return network.apply(params, stats, inputs, key, train=False)[0]

    arguments = [made.params, made.stats, inputs, key]
    compiled = jax.jit(forward).lower(*arguments).compile()
    return measure_latency(compiled, arguments, how).median_ms


def read_choice_table(path: str | Path, space: ModuleSpace) -> ChoiceTable:
    """Reads a table that `measure_choices` wrote.

    Args:
      path: the file.
      space: of the user's network.

    Raises:
      InputError: there is no such file, it is damaged, or it is of other choices.
    """
    try:
        tree = json.loads(open_place(path).read_text())
        table = ChoiceTable(
            space=str(tree["space"]),
            unit=str(tree["unit"]),
            conditions=dict(tree["conditions"]),
            fixed=float(tree["fixed"]),
            costs={
                str(name): {str(option): float(cost) for option, cost in own.items()}
                for name, own in tree["costs"].items()
            },
        )
    except FileNotFoundError:
        raise InputError(
            f"costs are parameters, macs or in a table's file; there is no {path}: "
            "darts_jax.cost.choice_latency.measure_choices makes one"
        ) from None
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise InputError(f"{path} is no table of choices: {error!r}") from None
    numbers = [table.fixed, *(c for own in table.costs.values() for c in own.values())]
    if not all(map(math.isfinite, numbers)):
        raise InputError(f"{path} has costs that are no finite numbers")
    for decision in space.decisions:
        if set(table.costs.get(decision.name, ())) != set(decision.options):
            raise InputError(
                f"{path} lacks the options of choice {decision.name!r}; want a table "
                f"of network {space.name!r}"
            )
    return table
