"""Every baseline on NAS-Bench-201's table, by the protocol of its paper.

    python benchmarks/baselines.py --table TABLE.npz

Dong and Yang (2020), section 4 and released scripts: a search is told the validation
accuracy of CIFAR-10 after 12 epochs and pays 12 epochs of training and one validation,
up to 12,000 s (20,000 s in NATS-Bench). Of what it found best, the accuracies after 200
epochs count. Prints a row for each baseline, how much each is better than random
search, and on the last line the same as JSON. With the published means stands z, our
difference from them in units of its standard error, theirs of 500 runs included.

Two things differ. The benchmark tells a search one of up to two trainings by chance, a
table their mean. And tables do not hold the seconds of a validation: it is taken as
0.353 of an epoch of training, as long as that of cell 0 in the benchmark's files.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from darts_jax.baselines import BASELINES, Budget, Trace, get_baseline, improvement
from darts_jax.nasbench import NASBench201, load_table
from darts_jax.spaces import get_space
from darts_jax.training.console import format_table
from darts_jax.workflows.oracles import make_table_oracle

PUBLISHED_RUNS = 500
PUBLISHED = {  # Dong and Yang (2020), table 5: validation and test, mean and deviation
    "random_search": ((90.93, 0.36), (93.70, 0.36)),
    "evolution": ((91.19, 0.31), (93.92, 0.32)),
    "reinforce": ((91.09, 0.37), (93.85, 0.37)),
}
COLUMNS = (
    "baseline",
    "asked",
    "valid %",
    "sd",
    "se",
    "test %",
    "test sd",
    "test se",
    "published valid %",
    "valid z",
    "published test %",
    "test z",
)


def runs(options: argparse.Namespace, name: str, known: NASBench201) -> list[Trace]:
    """One search for each seed."""
    space, evaluate = get_space("nasbench201"), make_table_oracle(known)
    settings = {key: value for baseline, key, value in options.set if baseline == name}
    return [
        get_baseline(name)(
            space,
            evaluate,
            Budget(cost=options.seconds),
            np.random.default_rng(seed),
            **settings,
        )
        for seed in range(options.repeats)
    ]


def row(name: str, traces: list[Trace], known: NASBench201) -> dict[str, Any]:
    """Means over the seeds."""
    found = [known.row(trace.best.genotype) for trace in traces]
    line: dict[str, Any] = {
        "baseline": name,
        "asked": float(np.mean([len(trace.asked) for trace in traces])),
    }
    published = PUBLISHED.get(name, (None, None))
    for split, prefix, told in zip(
        ("valid", "test"), ("", "test "), published, strict=True
    ):
        values = known.column("cifar10", split, 200)[found].astype(float)
        error = values.std(ddof=1) / np.sqrt(len(values))
        line |= {
            f"{split} %": values.mean(),
            f"{prefix}sd": values.std(ddof=1),
            f"{prefix}se": error,
        }
        if told is not None:
            both = np.hypot(error, told[1] / np.sqrt(PUBLISHED_RUNS))
            line[f"published {split} %"] = told[0]
            line[f"{split} z"] = (values.mean() - told[0]) / both
    return line


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--baselines", nargs="+", default=list(BASELINES))
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=12_000)
    parser.add_argument(
        "--set",
        type=setting,
        nargs="+",
        default=[],
        metavar="BASELINE.SETTING=NUMBER",
        help="as reinforce.learning_rate=0.1",
    )
    options = parser.parse_args()
    known = load_table(options.table)
    lines, tests = [], {}
    for name in options.baselines:
        traces = runs(options, name, known)
        lines.append(row(name, traces, known))
        tests[name] = [known.accuracy(trace.best.genotype) for trace in traces]
    print(format_table(lines, COLUMNS))
    for name in [n for n in tests if "random_search" in tests and n != "random_search"]:
        better = improvement(tests[name], tests["random_search"])
        print(f"{name} over random_search, test %: {better}")
    print(json.dumps(lines))


def setting(text: str) -> tuple[str, str, float]:
    """(baseline, setting, number) of ``"reinforce.learning_rate=0.1"``."""
    name, _, value = text.partition("=")
    baseline, _, key = name.partition(".")
    get_baseline(baseline)
    number = float(value)
    return baseline, key, int(number) if number == int(number) else number


if __name__ == "__main__":
    main()
