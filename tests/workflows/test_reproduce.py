"""Published experiments: run, stored, and told beside what was published."""

import dataclasses
import itertools
import json
import re
import signal
import time
import types
from contextlib import nullcontext

import numpy as np
import pytest

import darts_jax
from darts_jax.cli.main import main
from darts_jax.errors import InputError
from darts_jax.settings.config import config_to_json, flatten, validate_config
from darts_jax.settings.config_files import load_config
from darts_jax.settings.experiments import (
    EXPERIMENTS,
    PROTOCOLS,
    Experiment,
    count_searches,
    experiment_config,
    get_experiment,
)
from darts_jax.settings.methods import METHODS
from darts_jax.settings.recipe import BestOf, Published, Recipe
from darts_jax.settings.scalars import search_scalars
from darts_jax.settings.table_experiments import TABLE_EXPERIMENTS
from darts_jax.spaces.nasbench201 import MACRO, NASBENCH201, OPERATIONS
from darts_jax.spaces.published import get_genotype
from darts_jax.tasks.language.metric import PERPLEXITY
from darts_jax.training import loop
from darts_jax.training.search_observer import SearchObserver
from darts_jax.workflows.ledger import changed_settings, ledger, list_experiments
from darts_jax.workflows.programs import Grid
from darts_jax.workflows.reproduce import _describe_training, reproduce, summarize
from darts_jax.workflows.retrain_result import RetrainResult, TrainedNetwork
from tests.support.grids import Worker
from tests.support.paths import ROOT

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_has_valid_settings(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = experiment_config(EXPERIMENTS[name], 3)
    validate_config(config)
    assert config.seed == 3


def test_the_page_is_that_of_the_stored_results():
    assert (ROOT / "REPRODUCTION.md").read_text() == ledger(ROOT / "results")


def small(monkeypatch, name, best_of=None, **changed):
    """A protocol of a few steps, and its only experiment."""
    protocol = dataclasses.replace(PROTOCOLS[name], **changed)
    published = Published(54.3, None, "somebody")
    recipe = Recipe(published, differences=("it is small",), best_of=best_of)
    experiment = Experiment("small/darts", "darts", protocol, recipe)
    monkeypatch.setitem(PROTOCOLS, "small", protocol)
    monkeypatch.setitem(EXPERIMENTS, "small/darts", experiment)


SIZES = {
    "data.images": 48,
    "supernet.cells": 1,
    "supernet.channels": 2,
    "search.epochs": 1,
    "search.batch_size": 8,
}


def row_of(page):
    section = page.split("## small")[1]
    return next(line for line in section.splitlines() if line.startswith("| DARTS"))


@pytest.mark.slow
def test_a_search_is_looked_up_and_compared_with_all_cells(tmp_path, monkeypatch):
    one_cell = dataclasses.replace(MACRO, layout=lambda cells: ("normal",) * cells)
    space = dataclasses.replace(NASBENCH201, macro=one_cell)
    monkeypatch.setitem(darts_jax.SPACES, "nasbench201", space)
    settings = SIZES | {"space": "nasbench201"}
    small(monkeypatch, "nasbench201", settings=settings)
    monkeypatch.delenv("DARTS_JAX_DATA_DIR", raising=False)
    places = tmp_path / "runs", tmp_path / "results"
    with pytest.raises(InputError, match="needs its table"):
        reproduce("small/darts", (0, 1), *places)
    everything = np.array(list(itertools.product(range(5), repeat=6)), np.uint8)
    truth = np.random.default_rng(0).uniform(10, 95, 5**6).astype(np.float32)
    edges = ("0->1", "0->2", "1->2", "0->3", "1->3", "2->3")
    arrays = {"ops": OPERATIONS, "edges": edges, "arch": everything}
    np.savez(tmp_path / "nasbench201_table.npz", **arrays, cifar10_test_200=truth)
    monkeypatch.setenv("DARTS_JAX_DATA_DIR", str(tmp_path))
    with pytest.raises(InputError, match="says nothing of digits"):
        reproduce("small/darts", (0, 1), *places)
    settings["benchmark.dataset"] = "cifar10"
    stored = json.loads(reproduce("small/darts", (0, 1), *places).read_text())
    want = []
    for seed in (0, 1):
        alpha = places[0] / "small" / f"darts_{seed}" / "architecture/epoch_0001.npz"
        with np.load(alpha) as saved:
            code = saved["normal"].argmax(-1)
        want.append(truth[np.dot(code, 5 ** np.arange(5, -1, -1))])
    np.testing.assert_allclose([row["result"] for row in stored["rows"]], want)
    assert stored["mean"] == pytest.approx(np.mean(want), rel=1e-6)
    assert stored["random_mean"] == pytest.approx(truth.mean(), rel=1e-5)
    difference, low, high = stored["improvement"]
    assert difference == pytest.approx(np.mean(want) - truth.mean(), rel=1e-4)
    assert low <= difference <= high
    row = row_of(ledger(places[1]))
    assert f"| 2 | {np.mean(want):.2f} ± {np.std(want, ddof=1):.2f} |" in row
    assert "15,625" in row
    assert row.endswith("| 54.30 (somebody) | it is small |")

    settings["search.epochs"] = 2
    places = tmp_path / "longer", tmp_path / "longer_results"

    def stop(observer, record):
        if record["epoch"] == 1:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(SearchObserver, "on_record", stop)
        with pytest.raises(loop.StoppedError):
            reproduce("small/darts", (0, 1), *places)
    stopped = json.loads((places[1] / "small" / "darts.json").read_text())
    assert (stopped["rows"], stopped["mean"]) == ([], None)
    (running,) = stopped["running"]
    assert (running["seed"], running["progress"]) == (0, "step 3 of 6")
    so_far = running["history"]
    assert so_far["benchmark_accuracy"] == [pytest.approx(running["result"], abs=1e-4)]
    with np.load(
        places[0] / "small" / "darts_0" / alpha.relative_to(alpha.parents[1])
    ) as a:
        shares = np.exp(a["normal"]) / np.exp(a["normal"]).sum(-1, keepdims=True)
    got = [so_far["weights"]["normal"][name][0] for name in OPERATIONS]
    np.testing.assert_allclose(got, shares.mean(0), atol=1e-4)
    row = row_of(ledger(places[1]))
    assert f"| running, step 3 of 6 | so far {running['result']:.2f} |" in row
    drawn = tmp_path / "course"
    run = str(places[0] / "small" / "darts_0")
    assert main(["draw", run, "--course", "--out", str(drawn)]) == 0
    assert drawn.with_suffix(".svg").exists()
    # Reading runs nothing, and the same call goes on.
    read = reproduce("small/darts", (0, 1), *places, only_read=True)
    assert json.loads(read.read_text()) == stopped
    done = json.loads(reproduce("small/darts", (0,), *places).read_text())
    assert (len(done["rows"]), done["running"]) == (1, [])
    assert len(done["rows"][0]["history"]["entropy"]) == 2


RETRAIN = {f"retrain.{n}": 1 for n in ("cells", "epochs")} | {
    "retrain.channels": 2,
    "retrain.batch_size": 8,
    "retrain.pad": 0,
    "retrain.cutout": 0,
    "retrain.auxiliary_weight": 0.0,
    "retrain.drop_path": 0.0,
}


@pytest.mark.slow
def test_the_best_of_several_searches_is_trained_several_times(tmp_path, monkeypatch):
    settings = SIZES | RETRAIN | {"space": "tiny", "retrain.epochs": 2}
    best_of = BestOf(searches=2, epochs=1, trainings=3, source="somebody, section 2")
    small(monkeypatch, "fashion_mnist_proxy", best_of, settings=settings)
    runs = tmp_path / "runs"
    assert count_searches("small/darts") == 2
    stored = json.loads(
        reproduce("small/darts", (0, 1), runs, tmp_path / "results").read_text()
    )
    errors = []
    for seed in (0, 1):
        short = runs / "small" / f"darts_{seed}" / "validation"
        assert json.loads((short / "config.json").read_text())["retrain"]["epochs"] == 1
        # Half of the 48 images train it, the others tell how good it is.
        data = json.loads((short / "data.json").read_text())["counts"]
        assert (data["train"], data["test"]) == (24, 24)
        networks = json.loads((short / "summary.json").read_text())["networks"]
        errors += [100 * (1 - network["test_accuracy"]) for network in networks]
    searches = stored["searches"]
    assert [row["validation"] for row in searches] == pytest.approx(errors)
    best = json.loads((runs / "small" / "darts_best" / "summary.json").read_text())
    networks = best["networks"]
    assert [network["name"] for network in networks] == [
        *("retrain", "retrain_1", "retrain_2")
    ]
    kept = searches[int(np.argmin(errors))]["genotype"]
    assert all(network["genotype"] == kept for network in networks)
    results = [100 * (1 - network["test_accuracy"]) for network in networks]
    assert [row["result"] for row in stored["rows"]] == pytest.approx(results)
    by_workers = reproduce(
        "small/darts", (0, 1), tmp_path / "w", tmp_path / "workers", engine=Worker()
    )
    assert json.loads(by_workers.read_text()) == stored
    row = row_of(ledger(tmp_path / "results"))
    assert f"| best of 2 searches, 3 trainings | {np.mean(results):.2f} ± " in row
    assert "best of 2 searches by 1 epochs" in list_experiments()


@pytest.mark.slow
def test_a_network_is_retrained_beside_random_ones(tmp_path, monkeypatch):
    settings = SIZES | RETRAIN | {"space": "tiny", "baseline.random_genotypes": 2}
    small(monkeypatch, "fashion_mnist_proxy", settings=settings)
    path = reproduce("small/darts", (0, 1), tmp_path / "runs", tmp_path)
    stored = json.loads(path.read_text())
    for seed, row in enumerate(stored["rows"]):
        run = tmp_path / "runs" / "small" / f"darts_{seed}" / "summary.json"
        networks = json.loads(run.read_text())["networks"]
        errors = [100 * (1 - network["test_accuracy"]) for network in networks]
        assert [row["result"], *row["random"]] == pytest.approx(errors)
    assert stored["random_count"] == 4
    # An error that is smaller than that of random genotypes is an improvement.
    rows = [{"result": 5.0, "random": [8.0, 9.0]}, {"result": 6.0, "random": [8.5]}]
    told = summarize(EXPERIMENTS["small/darts"], rows, None)
    rows = [row | {"skips": 2} for row in rows]
    path.write_text(json.dumps(told | {"rows": rows, "note": ""}))
    found = re.search(
        r"\+3\.00 \(([+-][\d.]+) to ([+-][\d.]+)\)", row_of(ledger(tmp_path))
    )
    assert float(found[1]) < 3 < float(found[2])


def test_what_was_not_run_says_so_and_damage_is_told(tmp_path, capsys):
    page = ledger(tmp_path)
    assert page.count("| not run |") == len(EXPERIMENTS) + len(TABLE_EXPERIMENTS)
    out = tmp_path / "page.md"
    given = ["ledger", "--results", str(tmp_path), "--out", str(out)]
    assert main(given) == 0
    assert out.read_text() == page
    stored = tmp_path / "nasbench201" / "darts.json"
    stored.parent.mkdir()
    stored.write_text("{")
    assert main(given) == 2
    stored.write_text('{"experiment": "nasbench201/gdas"}')
    assert main(given) == 2
    told = capsys.readouterr().err
    assert "are damaged" in told
    assert "are not of nasbench201/darts" in told
    assert out.read_text() == page
    with pytest.raises(InputError, match="did you mean 'nasbench201/darts'"):
        get_experiment("nasbench201/dart")
    with pytest.raises(InputError, match="needs a seed, and 2 or more for an interval"):
        reproduce("nasbench201/darts", [], tmp_path, tmp_path)


@pytest.mark.parametrize("known", [[50.0, 54.0], None])
def test_one_seed_has_no_interval(known, tmp_path):
    rows = [{"result": 54.3, "random": [51.0, 53.0], "skips": 6}]
    told = summarize(EXPERIMENTS["nasbench201/darts"], rows, known)
    assert told["improvement"] == [pytest.approx(2.3), None, None]
    assert told["deviation"] is None
    stored = tmp_path / "nasbench201" / "darts.json"
    stored.parent.mkdir()
    stored.write_text(json.dumps(told | {"note": ""}, allow_nan=False))
    row = next(r for r in ledger(tmp_path).splitlines() if "| 1 |" in r)
    assert "| 1 | 54.30 | 52.00 (2) | +2.30 (one seed: no interval) |" in row


def config_of(method):
    return experiment_config(get_experiment(f"nasbench201/{method}"), 0)


def rate(search, epoch):
    return search_scalars(search, epoch)["weights"]["learning_rate"]


def test_a_recipe_is_its_papers():
    shared = {"learning_rate": 0.025, "final_learning_rate": 0.001, "momentum": 0.9}
    shared |= {"clip": 5.0, "cosine_epochs": 0, "warmup_epochs": 0}
    config = config_of("darts")
    assert config.search.weights.to_dict() == shared | {"nesterov": True, "decay": 5e-4}
    assert config.search.first_step == "weights"
    assert config_of("darts_second_order").search.first_step == "architecture"
    for method in ("drnas", "beta_darts", "lambda_darts", "darts_pt", "snas"):
        search = config_of(method).search
        plain = shared | {"nesterov": False, "decay": 3e-4}
        assert (search.epochs, search.weights.to_dict()) == (100, plain)
    assert config_of("random_sharing").search.epochs == 250
    assert config_of("random_sharing").search.selection.statistics == "batch"
    assert config_of("beta_darts").search.architecture.decay == 1e-3
    gaea = config_of("gaea")
    assert (gaea.space, gaea.supernet.channels) == ("nasbench201_no_none", 24)
    # Halfway down a cosine of 50 epochs (GAEA); down and up one of 10 (ENAS).
    assert rate(gaea.search, 25) == pytest.approx(0.013)
    enas = config_of("enas").search
    rates = [rate(enas, epoch) for epoch in (0, 10, 20)]
    assert rates == pytest.approx([0.05, 0.0005, 0.05])
    # GDAS's temperature and Lambda-DARTS's weight reach their ends in the last epoch.
    gdas, aligned = config_of("gdas").search, config_of("lambda_darts").search
    assert search_scalars(gdas, 239)["temperature"] == pytest.approx(0.1, rel=1e-5)
    assert search_scalars(aligned, 99)["hook"] == pytest.approx(0.25, rel=1e-5)


def test_recipes_are_listed_with_their_places_and_differences(capsys, tmp_path):
    assert main(["reproduce", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line for line in lines if line[0] != " "]
    assert names == [*EXPERIMENTS, *TABLE_EXPERIMENTS]
    start = lines.index("nasbench201/darts")
    figure = "54.30 (Dong and Yang 2020, 2001.00326, table 5)"
    assert lines[start + 1] == f"  published: {figure}"
    assert "DARTS.config: search.epochs=50, search.batch_size=64" in lines[start + 2]
    page = ledger(tmp_path)
    for name, experiment in EXPERIMENTS.items():
        recipe = experiment.recipe
        is_proxy = experiment.protocol.scale != "full"
        counts = bool(experiment.protocol.counts)
        assert recipe.published is None or is_proxy == counts, name
        for difference in recipe.all_differences:
            assert f"  differs: {difference}" in lines
            assert recipe.published is None or difference in page
    proxy = page.split("## nasbench201_proxy")[1].split("## darts")[0]
    assert "| published |" not in proxy


def test_a_published_figure_stands_beside_its_own_recipe_or_the_difference():
    """The page is compared with settings, recipes and what was stored of a search."""
    page = (ROOT / "REPRODUCTION.md").read_text()
    sections = dict(part.split("\n", 1) for part in page.split("\n## ")[1:])
    for name, experiment in EXPERIMENTS.items():
        recipe = experiment.recipe
        if recipe.published is None:
            continue
        protocol, _ = name.split("/")
        title = f"| {METHODS[experiment.method].title}"
        (row,) = (
            line
            for line in sections[protocol].splitlines()
            if line.startswith((f"{title} |", f"{title} (run with"))
        )
        asked = dict(flatten(experiment_config(experiment, 0).to_dict()))
        read = {k: v for part in recipe.numbers.values() for k, v in part.items()}
        departed = {key for key, value in read.items() if asked[key] != value}
        assert departed == {k for k, v in recipe.departures.items() if read[k] != v}
        for key in departed:
            assert f"{key} {asked[key]} for {read[key]}" in row
        stored = ROOT / "results" / f"{name}.json"
        if stored.exists():
            for said in changed_settings(json.loads(stored.read_text()), experiment):
                assert said in row, "run by another recipe, which the row does not say"


def test_a_search_by_an_earlier_recipe_is_told(tmp_path):
    experiment = EXPERIMENTS["nasbench201_proxy/beta_darts"]
    config = experiment_config(experiment, 0)
    settings = json.loads(config_to_json(config))
    rows = [{"result": 90.0, "skips": 1, "seed": 0}]
    told = summarize(experiment, rows, [50.0]) | {"note": "", "settings": settings}
    stored = tmp_path / "nasbench201_proxy" / "beta_darts.json"
    stored.parent.mkdir()
    stored.write_text(json.dumps(told))
    assert "| beta-DARTS | 1 |" in ledger(tmp_path)
    settings["search"]["architecture"]["decay"] = 0.0
    del settings["search"]["weights"]["nesterov"]  # As before there was this setting.
    stored.write_text(json.dumps(told))
    changed = "(run with search.architecture.decay=0.0, now 0.001)"
    assert f"| beta-DARTS {changed} | 1 |" in ledger(tmp_path)


def test_skips_are_counted_beside_random_and_published_cells(tmp_path, monkeypatch):
    """Fewer are better; the row says all in which the proxy departs from its paper."""
    experiment = EXPERIMENTS["s2_proxy/darts"]
    chosen = get_genotype("DARTS_V1")
    found = types.SimpleNamespace(genotype=chosen)
    data = types.SimpleNamespace(name="cifar10", note="a note")
    for name, result in {
        "load_search": found,
        "load_data": data,
        "_describe_search": {"skips": 3},
    }.items():
        place = f"darts_jax.workflows.reproduce.{name}"
        monkeypatch.setattr(place, lambda *given, result=result: result)
    monkeypatch.setattr(Grid, "run", lambda grid, programs: {})
    path = reproduce("s2_proxy/darts", (0, 1), tmp_path / "runs", tmp_path)
    stored = json.loads(path.read_text())
    skips = sum(c.operation == "skip_connect" for c in chosen.cells["normal"].choices)
    assert skips == 3
    assert [row["result"] for row in stored["rows"]] == [skips, skips]
    assert stored["random_count"] == 1000
    assert stored["random_mean"] == pytest.approx(4.0, abs=0.2)
    page = ledger(tmp_path).split("## s2_proxy")[1].split("## ")[0]
    row = next(line for line in page.splitlines() if line.startswith("| DARTS, first"))
    gain = stored["random_mean"] - skips
    assert f"| 3.00 ± 0.00 | {stored['random_mean']:.2f} (1,000) | {gain:+.2f}" in row
    assert "| 7.00 (automl/RobustDARTS" in row
    assert "search.epochs 20 for 50; search.batch_size 32 for 64" in row
    assert experiment.protocol.less_is_better


def test_a_protocol_of_text_is_its_config_and_is_measured_by_perplexity():
    config = experiment_config(EXPERIMENTS["darts_ptb/darts"], 0)
    assert config.to_dict() == load_config("darts_ptb").to_dict()
    assert config.language.network.dropouts.words == 0.1
    assert load_config("ptb").language.network.dropouts.words == 0.0
    network = TrainedNetwork("retrain", get_genotype("DARTS_V1_recurrent"), 1, 60.0)
    other = dataclasses.replace(network, name="random_0", score=70.0)
    trained = RetrainResult((network, other), "", None, PERPLEXITY)
    told = _describe_training(trained)
    assert told == {"result": 60.0, "random": [70.0]}
    rows = [told | {"skips": 0}] * 2
    summary = summarize(EXPERIMENTS["darts_ptb/darts"], rows, None)
    assert (summary["mean"], summary["random_mean"]) == (60.0, 70.0)


@pytest.mark.parametrize("in_a_loop", [True, False])
def test_a_time_limit_ends_a_command_as_sigterm_does(in_a_loop, monkeypatch, capsys):
    def waits(*given, **settings):
        caught = loop._caught_signals() if in_a_loop else nullcontext(())
        with caught as numbers:
            end = time.monotonic() + 30
            while not numbers and time.monotonic() < end:
                time.sleep(0.01)
            raise loop.StoppedError(numbers[0], 7)

    monkeypatch.setattr("darts_jax.workflows.reproduce.reproduce", waits)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as end:
        main(["reproduce", "nasbench201/darts", "--minutes", "0.002"])
    assert end.value.code == 128 + signal.SIGTERM
    assert isinstance(end.value, loop.StoppedError) == in_a_loop
    assert ("the same command goes on" in capsys.readouterr().err) != in_a_loop
    assert signal.getsignal(signal.SIGTERM) is before
    for wrong in ("0", "-1", "nan", "inf"):
        assert main(["reproduce", "nasbench201/darts", f"--minutes={wrong}"]) == 2
        assert "want a number above 0" in capsys.readouterr().err
