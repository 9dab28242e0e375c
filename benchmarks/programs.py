"""Costs of an epoch program and of a population beside their parts.

    python benchmarks/programs.py --cells 3 --channels 8 --batch 16

- epoch: one call of N steps against N calls of one step;
- population: one call for all members against the lone run, and its compilations.

Prints a line for each, and JSON.
"""

import argparse
import dataclasses
import json
import statistics
from typing import Any

import ours
from measuring import Row, repeat, take_turns

from darts_jax.training.population_job import make_population


def epoch(config: Any, steps: int, rounds: int) -> Row:
    """Seconds of ``steps`` steps in one call, and one by one."""
    search = ours.Ours(ours.search_job(config, steps=steps))
    search.step(steps)
    turns = {
        "program_s": lambda: search.step(steps),
        "steps_s": repeat(search.step, steps),
    }
    seconds = take_turns(turns, rounds)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    return medians | {"ratio": medians["program_s"] / medians["steps_s"]}


@dataclasses.dataclass(frozen=True)
class Population:
    """A population and a lone run, compiled; both take as many steps a call."""

    lone: ours.Ours
    together: ours.Ours
    members: int
    steps: int

    @classmethod
    def prepare(
        cls, config: Any, members: int, steps: int, size: int = 32
    ) -> "Population":
        """Compiles both; members differ in their seed."""
        lone = ours.Ours(ours.search_job(config, size, steps))
        configs = []
        for seed in range(members):
            member = config.copy_and_resolve_references()
            member.seed = seed
            configs.append(member)
        images = ours.random_images(2 * config.search.batch_size * steps, size)
        together = ours.Ours(make_population(configs, images))
        return cls(lone, together, members, steps)

    def measure(self, rounds: int) -> Row:
        """Seconds of a call of either.

        A round is as many lone runs as there are members and then the population, so
        that both are measured over as long a time and the machine's drift weighs on
        them alike.
        """
        turns = {
            "lone": repeat(lambda: self.lone.step(self.steps), self.members),
            "population": lambda: self.together.step(self.steps),
        }
        take_turns(turns, 1)
        seconds = take_turns(turns, rounds)
        alone = [each / self.members for each in seconds["lone"]]
        ratios = [
            (all_of_them / one - 1) / (self.members - 1)
            for all_of_them, one in zip(seconds["population"], alone, strict=True)
        ]
        return {
            "lone_s": statistics.median(alone),
            "population_s": statistics.median(seconds["population"]),
            "further_member_per_lone_run": statistics.median(ratios),
            "least": min(ratios),
            "most": max(ratios),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", default="darts")
    parser.add_argument("--cells", type=int, default=3)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    shape = options.space, options.cells, options.channels, options.batch
    config = ours.settings(*shape, "first_order")
    results = {
        "epoch": epoch(config, options.steps, options.rounds),
        "population": Population.prepare(
            config, options.members, options.steps
        ).measure(options.rounds),
    }
    for name, values in results.items():
        print(name, *(f"{key} {value:.3f}" for key, value in values.items()))
    print(json.dumps({"settings": vars(options), **results}))


if __name__ == "__main__":
    main()
