"""The command line: flags and verbs, nothing else."""

import argparse
import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from ml_collections import ConfigDict

import darts_jax
from darts_jax.cli import flags
from darts_jax.engine import memory
from darts_jax.errors import DataWarning, InputError
from darts_jax.files import failure_to_write
from darts_jax.spaces.graph import Genotype
from darts_jax.spaces.reading import read_genotype

_OVERRIDE = "--config."
_CONFIG = "file with get_config(), config.json, or a name, such as digits or pc_darts"
_TAKEN = "name, run, file or log, or the genotype's text as it was printed"
# Where the data of a run lie now.
_PLACES = ("data.name=", "data.directory=")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; returns the exit status: 2 for a mistake, told in one line.

    So is what the system refuses, such as room on a full disk.
    """
    memory.share_arenas()
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args([a for a in given if not a.startswith(_OVERRIDE)])
    warnings.formatwarning = _plain_warning
    try:
        flags.make_local(options)
        overrides = [_override(a) for a in given if a.startswith(_OVERRIDE)]
        if hasattr(options, "coordinator"):
            _join(options)
        options.verb(options, overrides)
        sys.stdout.flush()
    except InputError as error:
        return _refused(str(error))
    except BrokenPipeError:  # whoever reads the output has seen enough
        _drop_output()
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.filename is not None:
            return _refused(f"{error.filename}: {error.strerror}")
        _drop_output()
        return _refused(str(failure_to_write("the output", error)))
    return 0


def _genotype(text: str) -> Genotype:
    """The genotype that is meant; what is worth knowing of it is told."""
    return read_genotype(text, lambda note: print(note, file=sys.stderr))


def _refused(why: str) -> int:
    print(f"darts-jax: {why}", file=sys.stderr)
    return 2


def _drop_output() -> None:
    """Keeps the interpreter from another try to write what could not be printed."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _plain_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
    usual: Callable[..., str] = warnings.formatwarning,
) -> str:
    """Writes what users should know of their data in one line, and others as usual."""
    if issubclass(category, DataWarning):
        return f"darts-jax: {message}\n"
    return usual(message, category, filename, lineno, line)


def _override(argument: str) -> str:
    setting = argument.removeprefix(_OVERRIDE)
    if "=" not in setting:
        raise InputError(f"{argument} has no value; want {argument}=VALUE")
    return setting


def _require_places(verb: str, overrides: list[str]) -> None:
    """Refuses settings of a run other than where its data lie."""
    others = [o for o in overrides if not o.startswith(_PLACES)]
    if others:
        raise InputError(
            f"{verb} takes no settings but data.name and data.directory, where the "
            f"data lie, not {others[0]}: those of the run hold"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="darts-jax",
        description="Differentiable architecture search.",
        epilog="Any setting: --config.search.epochs=3. All of them, with defaults: "
        "darts-jax settings.",
    )
    version = f"darts_jax {darts_jax.__version__}"
    parser.add_argument("--version", action="version", version=version)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, function, text in (
        ("run", _run, "search, draw, retrain and evaluate"),
        (
            "estimate",
            _estimate,
            "memory and arithmetic of a search, without running it",
        ),
        ("search", _search, "search a genotype"),
        ("population", _population, "searches that differ in scalars, as one program"),
        ("front", _front, "searches for several costs, trained beside random ones"),
        ("baseline", _baseline, "a search that knows scores alone"),
        ("retrain", _retrain, "train a genotype from scratch and test it"),
        ("evaluate", _evaluate, "test the network of a finished retrain"),
        ("settings", _settings, "print the resolved settings"),
    ):
        verb = verbs.add_parser(name, help=text, description=text)
        verb.set_defaults(verb=function)
        verb.add_argument("--config", help=_CONFIG)
        verb.add_argument(
            "--method", help="a published method's choices: see darts-jax methods"
        )
        if name not in ("estimate", "settings"):
            verb.add_argument("--run", required=True, help="run directory")
            flags.add_processes(verb)
        if name in flags.OWN:
            flags.OWN[name](verb)
    methods = verbs.add_parser("methods", help="list the methods and their choices")
    methods.set_defaults(verb=_methods)
    select = verbs.add_parser(
        "select", help="a genotype by any rule from a saved epoch"
    )
    select.set_defaults(verb=_select)
    select.add_argument("run", help="run directory of a search")
    select.add_argument("--rule", required=True, help="such as two_strongest")
    select.add_argument(
        "--epoch", type=int, default=0, help="from 1; 0: the last saved"
    )
    select.add_argument("--out", help="JSON file to write the genotype to")
    diagnose = verbs.add_parser("diagnose", help="every measurement of a saved search")
    diagnose.set_defaults(verb=_diagnose)
    diagnose.add_argument("run", help="run directory of a search")
    diagnose.add_argument("--epoch", type=int, default=0, help="from 1; 0: the newest")
    score = verbs.add_parser("score", help="every path of a saved search's supernet")
    score.set_defaults(verb=_score)
    score.add_argument("run", help="run directory of a search")
    score.add_argument("--epoch", type=int, default=0, help="from 1; 0: the newest")
    cost = verbs.add_parser("cost", help="what a genotype's network costs, exactly")
    cost.set_defaults(verb=_cost)
    cost.add_argument("genotype", help=_TAKEN)
    cost.add_argument("--config", help="as of retrain: its sizes and data hold")
    cost.add_argument("--latency", action="store_true", help="measured here, too")
    cost.add_argument("--batch", type=int, default=1, help="images of a measurement")
    cost.add_argument(
        "--table", help="JSON file for the latencies of a search's operations"
    )
    reproduce = verbs.add_parser(
        "reproduce", help="a published experiment, its results stored for the ledger"
    )
    reproduce.set_defaults(verb=_reproduce)
    reproduce.add_argument("name", help="PROTOCOL/METHOD; list: every one's name")
    reproduce.add_argument("--seeds", type=int, default=4, help="how many searches")
    reproduce.add_argument("--runs", default="runs/reproduce")
    reproduce.add_argument("--results", default="results")
    ledger = verbs.add_parser("ledger", help="stored results beside published figures")
    ledger.set_defaults(verb=_ledger)
    ledger.add_argument("--results", default="results")
    ledger.add_argument("--out", default="REPRODUCTION.md")
    convert = verbs.add_parser(
        "convert-nasbench201", help="the official NATS-Bench data as a table"
    )
    convert.set_defaults(verb=_convert)
    convert.add_argument("source", help="NATS-tss-v1_0-3ffb9-simple, or .pickle.pbz2")
    convert.add_argument("--out", default="nasbench201_table.npz")
    export = verbs.add_parser("export", help="a retrained network to run without this")
    export.set_defaults(verb=_export)
    export.add_argument("run", help="run directory of a finished retrain")
    export.add_argument("--out", required=True, help="directory, new or an export")
    export.add_argument("--onnx", action="store_true", help="an ONNX model as well")
    report = verbs.add_parser("report", help="a page about runs, to read or to print")
    report.set_defaults(verb=_report)
    report.add_argument("runs", nargs="+", metavar="RUN", help="run directory")
    report.add_argument("--out", help="HTML file; RUN/report.html by default")
    draw = verbs.add_parser("draw", help="draw a genotype as SVG and PNG")
    draw.set_defaults(verb=_draw)
    draw.add_argument("genotype", help=_TAKEN)
    draw.add_argument("--config", help="file that registers a space of your own")
    draw.add_argument("--out", default="genotype", help="file name without ending")
    return parser


def _join(options: argparse.Namespace) -> None:
    from darts_jax.training.processes import join_processes

    join_processes(options.coordinator, options.processes, options.process)


def _config(options: argparse.Namespace, overrides: list[str]) -> ConfigDict:
    """Defaults, then the config file, then the method, then single settings."""
    from darts_jax.settings.config_files import load_config

    if not options.method:
        return load_config(options.config, overrides)
    from darts_jax.settings.methods import apply_method

    return apply_method(load_config(options.config), options.method, overrides)


def _run(options: argparse.Namespace, overrides: list[str]) -> None:
    from darts_jax.tasks.registry import load_data
    from darts_jax.training.lock import run_lock
    from darts_jax.workflows.retrain import check_retraining, retrain
    from darts_jax.workflows.search import search

    config = _config(options, overrides)
    dataset = load_data(config)
    check_retraining(config, dataset)
    with run_lock(options.run):
        found = search(config, options.run, dataset)
        print(found.genotype)
        print(f"drawn: {found.run.path}/genotype.svg, {found.run.path}/genotype.png")
        print(retrain(config, options.run, found.genotype, dataset), end="")


def _estimate(options: argparse.Namespace, overrides: list[str]) -> None:
    from darts_jax.workflows.estimate import estimate

    print(estimate(_config(options, overrides), memory=options.memory), end="")


def _search(options: argparse.Namespace, overrides: list[str]) -> None:
    from darts_jax.workflows.search import search

    config = _config(options, overrides)
    found = search(config, options.run, start_from=options.start_from)
    print(found.genotype)
    print(f"drawn: {found.run.path}/genotype.svg, {found.run.path}/genotype.png")


def _population(options: argparse.Namespace, overrides: list[str]) -> None:
    from darts_jax.workflows.population import population

    grid = {}
    for text in options.grid:
        key, _, values = text.partition("=")
        grid[key] = [value for value in values.split(",") if value]
    print(population(_config(options, overrides), grid, options.run), end="")


def _front(options: argparse.Namespace, overrides: list[str]) -> None:
    from darts_jax.workflows.front import front

    try:
        targets = [float(text) for text in options.targets.split(",") if text]
    except ValueError:
        raise InputError(
            f"--targets is {options.targets!r}; want numbers, as 1,2.5"
        ) from None
    print(front(_config(options, overrides), targets, options.run), end="")


def _baseline(options: argparse.Namespace, overrides: list[str]) -> None:
    from darts_jax.baselines import Budget
    from darts_jax.workflows.baseline import baseline

    config, budget = (
        _config(options, overrides),
        Budget(options.seconds, options.evaluations),
    )
    found = baseline(
        *(options.by, config, options.run, options.on, budget, options.supernet)
    )
    print(found, end="")


def _retrain(options: argparse.Namespace, overrides: list[str]) -> None:
    from darts_jax.workflows.retrain import retrain

    # The file of settings may register the genotype's space.
    config = _config(options, overrides)
    genotype = _genotype(options.genotype) if options.genotype else None
    start = options.start_from
    print(retrain(config, options.run, genotype, start_from=start), end="")


def _evaluate(options: argparse.Namespace, overrides: list[str]) -> None:
    from darts_jax.tasks.registry import get_score
    from darts_jax.training.directory import RunDirectory, load_settings
    from darts_jax.training.evaluation import read_evaluation
    from darts_jax.workflows.retrain import evaluate

    if options.config or options.method:
        config = _config(options, overrides)
    else:
        config = load_settings(RunDirectory(Path(options.run)), overrides)
    score = evaluate(config, options.run)
    print(f"test {get_score(config).describe(score)}")
    by_class = read_evaluation(RunDirectory(Path(options.run)))
    if by_class is not None:
        print(by_class, end="")


def _settings(options: argparse.Namespace, overrides: list[str]) -> None:
    from darts_jax.settings.config import config_to_json

    print(config_to_json(_config(options, overrides)), end="")


def _methods(options: argparse.Namespace, overrides: list[str]) -> None:
    from darts_jax.settings.methods import METHODS

    del options, overrides
    for name, method in METHODS.items():
        print(f"{name}: {method.title} ({method.source})")
        for key, value in method.choices.items():
            print(f"    {key}={value}")


def _select(options: argparse.Namespace, overrides: list[str]) -> None:
    from darts_jax.training.lock import write_locked
    from darts_jax.workflows.select import select

    _require_places("select", overrides)
    genotype = select(options.run, options.rule, options.epoch, overrides=overrides)
    print(genotype)
    if options.out:
        write_locked(Path(options.out), genotype.to_json())


def _diagnose(options: argparse.Namespace, overrides: list[str]) -> None:
    from darts_jax.workflows.diagnose import diagnose

    _require_places("diagnose", overrides)
    measured = diagnose(options.run, options.epoch, overrides=overrides)
    for warning in measured.pop("warnings"):
        print(f"warning: {warning}")
    for name, value in measured.items():
        print(f"{name:<22} {value:.6g}")


def _score(options: argparse.Namespace, overrides: list[str]) -> None:
    from darts_jax.workflows.score import score

    ours = ("score.", "benchmark.", "devices=", *_PLACES)
    others = [o for o in overrides if not o.startswith(ours)]
    if others:
        raise InputError(
            f"score takes settings of score and benchmark, not {others[0]}: for others "
            "those of the run hold"
        )
    scored = score(options.run, options.epoch, overrides=overrides)
    print(scored, end="")
    print(f"the best path:\n{scored.best}")


def _cost(options: argparse.Namespace, overrides: list[str]) -> None:
    from darts_jax.settings.config_files import load_config
    from darts_jax.workflows.cost import cost, write_operation_latencies

    config = load_config(options.config, overrides)
    latency = options.batch if options.latency else None
    print(cost(config, _genotype(options.genotype), latency), end="")
    if options.table:
        write_operation_latencies(config, options.batch, Path(options.table))
        print(f"latencies of operations: {options.table}")


def _reproduce(options: argparse.Namespace, overrides: list[str]) -> None:
    from darts_jax.settings.experiments import EXPERIMENTS
    from darts_jax.workflows.reproduce import reproduce

    if overrides:
        raise InputError("reproduce takes no settings: those of the protocol hold")
    if options.name == "list":
        print("\n".join(EXPERIMENTS))
        return
    seeds = range(options.seeds)
    print(reproduce(options.name, seeds, options.runs, options.results))


def _ledger(options: argparse.Namespace, overrides: list[str]) -> None:
    from darts_jax.training.directory import atomic_write
    from darts_jax.workflows.ledger import ledger

    if overrides:
        raise InputError("ledger takes no settings")
    atomic_write(Path(options.out), ledger(options.results))
    print(options.out)


def _convert(options: argparse.Namespace, overrides: list[str]) -> None:
    from darts_jax.nasbench.convert import write_table

    if overrides:
        raise InputError("convert-nasbench201 takes no settings")
    print(write_table(Path(options.source), Path(options.out)))


def _export(options: argparse.Namespace, overrides: list[str]) -> None:
    from darts_jax.workflows.export import export

    _require_places("export", overrides)
    also = ["onnx"] if options.onnx else []
    written = export(options.run, options.out, also=also, overrides=overrides)
    print("\n".join(map(str, written)))


def _report(options: argparse.Namespace, overrides: list[str]) -> None:
    from darts_jax.reports.report import report

    if overrides:
        raise InputError("report takes no settings: those of the runs hold")
    print(report(options.runs, options.out))


def _draw(options: argparse.Namespace, overrides: list[str]) -> None:
    from darts_jax.plots.draw import save_drawing
    from darts_jax.settings.config_files import load_config

    if overrides:
        raise InputError("draw takes no settings")
    if options.config:
        load_config(options.config)
    written = save_drawing(_genotype(options.genotype), Path(options.out))
    print("\n".join(map(str, written)))
