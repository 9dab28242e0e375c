"""Costs of an epoch program and of a population beside their parts.

    python benchmarks/programs.py --cells 3 --channels 8 --batch 16

- epoch: one call of N steps against N calls of one step;
- population: one call for all members against the lone run, and its compilations.

Prints a line for each, and JSON.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import ours

from darts_jax.training.population_job import make_population


def seconds_of(function: Callable[[], Any]) -> float:
    began = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - began


def epoch(config: Any, steps: int, rounds: int) -> dict[str, float]:
    """Seconds of ``steps`` steps in one call, and one by one."""
    search = ours.Ours(ours.search_job(config, steps=steps))
    search.step(steps)

    def one_by_one() -> None:
        for _ in range(steps):
            search.step(1)

    together, apart = [], []
    for _ in range(rounds):
        together.append(seconds_of(lambda: search.step(steps)))
        apart.append(seconds_of(one_by_one))
    whole, sums = statistics.median(together), statistics.median(apart)
    return {"program_s": whole, "steps_s": sums, "ratio": whole / sums}


def population(config: Any, members: int, steps: int, rounds: int) -> dict[str, float]:
    """Seconds of ``steps`` steps of a population, and of as many lone runs.

    A round is ``members`` lone runs and then the population, so that both are measured
    over as long a time and the machine's drift weighs on them alike.
    """
    lone = ours.Ours(ours.search_job(config, steps=steps))
    configs = []
    for seed in range(members):
        member = config.copy_and_resolve_references()
        member.seed = seed
        configs.append(member)
    images = ours.random_images(2 * config.search.batch_size * steps, 32)
    everyone = ours.Ours(make_population(configs, images))

    def one_by_one() -> None:
        for _ in range(members):
            lone.step(steps)

    lone.step(steps), everyone.step(steps)
    alone, together, ratios = [], [], []
    for _ in range(rounds):
        alone.append(seconds_of(one_by_one) / members)
        together.append(seconds_of(lambda: everyone.step(steps)))
        ratios.append((together[-1] / alone[-1] - 1) / (members - 1))
    return {
        "lone_s": statistics.median(alone),
        "population_s": statistics.median(together),
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
        "population": population(
            config, options.members, options.steps, options.rounds
        ),
    }
    for name, values in results.items():
        print(name, *(f"{key} {value:.3f}" for key, value in values.items()))
    print(json.dumps({"settings": vars(options), **results}))


if __name__ == "__main__":
    main()
