"""The whole path from the command line: results, resume, refusals."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from darts_jax.cli.main import main
from darts_jax.spaces.published import PUBLISHED
from darts_jax.training.directory import load_architecture
from tests.support.paths import ROOT
from tests.support.whole_runs import TINY, start, wait_for


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that nothing interrupted."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert main(["run", "--run", str(run), *TINY]) == 0
    return run


def last_checkpoint(run):
    steps = sorted(
        (run / "checkpoints" / "search").iterdir(), key=lambda p: int(p.name)
    )
    return steps[-1]


def final_state(run):
    import orbax.checkpoint as ocp

    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        return checkpointer.restore(last_checkpoint(run).absolute() / "state")


def assert_same_end(run, whole):
    one, other = final_state(run), final_state(whole)
    assert one.keys() == other.keys()
    assert any(name.startswith("state.alpha.") for name in one)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    for path in sorted((whole / "architecture").iterdir()):
        mine = load_architecture(run / "architecture" / path.name)
        for kind, alpha in load_architecture(path).items():
            np.testing.assert_array_equal(mine[kind], alpha)
    records = [
        [
            json.loads(line)
            for line in (place / "metrics.jsonl").read_text().splitlines()
        ]
        for place in (run, whole)
    ]
    keys = ("epoch", "step", "loss", "accuracy", "held_out_accuracy")
    search = [
        [[r[k] for k in keys] for r in rows if r["verb"] == "search"]
        for rows in records
    ]
    assert search[0] == search[1]


def test_run_leaves_everything_that_it_promises(finished):
    for name in (
        "config.json",
        "versions.json",
        "metrics.jsonl",
        "architecture/epoch_0003.npz",
        "genotype.json",
        "genotype.svg",
        "genotype.png",
        "summary.json",
        "summary.txt",
    ):
        assert (finished / name).stat().st_size > 0, name
    assert list((finished / "events" / "search").iterdir())
    summary = json.loads((finished / "summary.json").read_text())
    (network,) = summary["networks"]
    assert 0 < network["test_accuracy"] <= 1
    assert network["parameters"] > 0


def test_same_seed_gives_the_same_bits_and_another_seed_others(finished, tmp_path):
    assert main(["search", "--run", str(tmp_path / "again"), *TINY]) == 0
    assert_same_end(tmp_path / "again", finished)
    other = tmp_path / "other"
    assert main(["search", "--run", str(other), *TINY, "--config.seed=1"]) == 0
    name = "epoch_0003.npz"
    mine = load_architecture(finished / "architecture" / name)["reduce"]
    theirs = load_architecture(other / "architecture" / name)["reduce"]
    assert not np.array_equal(mine, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_and_started_again_ends_bit_identical(finished, tmp_path, number):
    run = tmp_path / "cut"
    process = start("search", run)
    wait_for(lambda: (run / "architecture" / "epoch_0001.npz").exists(), process)
    process.send_signal(number)
    output = process.communicate()[0]
    if number == signal.SIGTERM:
        assert process.returncode == 128 + number, output
        assert "saved" in output
        assert list((run / "checkpoints" / "search").iterdir())
    else:
        assert process.returncode == -number
    process = start("search", run)
    output = process.communicate()[0]
    assert process.returncode == 0, output
    assert_same_end(run, finished)


def test_a_truncated_checkpoint_falls_back_to_the_one_before(
    finished, tmp_path, capsys
):
    run = tmp_path / "damaged"
    assert main(["search", "--run", str(run), *TINY]) == 0
    files = (last_checkpoint(run) / "state").rglob("*")
    largest = max((p for p in files if p.is_file()), key=lambda p: p.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:10])
    (run / "genotype.png").unlink()  # as if killed before its last act
    capsys.readouterr()
    assert main(["search", "--run", str(run), *TINY]) == 0
    told = capsys.readouterr().err
    assert "is damaged" in told
    assert "going on from" in told
    assert_same_end(run, finished)


def test_evaluate_gives_the_accuracy_of_retrain(finished, capsys):
    assert main(["evaluate", "--run", str(finished), *TINY]) == 0
    summary = json.loads((finished / "summary.json").read_text())
    accuracy = 100 * summary["networks"][0]["test_accuracy"]
    first, *by_class = capsys.readouterr().out.splitlines()
    assert first == f"test accuracy {accuracy:.2f} %"
    assert by_class[2].split() == [
        *("class", "images", "predicted", "recall", "%", "precision", "%"),
        *("most", "taken", "for"),
    ]


REFUSALS = {
    "--config.data.name=digit": "did you mean 'digits'?",
    "--config.space=dart": "did you mean 'darts'?",
    "--config.search.hypergradient=exat": "did you mean 'exact'?",
    "--config.search.relaxation=softmx": "did you mean 'softmax'?",
    "--config.search.relaxation=simplex": "want exponentiated_gradient",
    "--config.search.temperature=hot": "want a number, FROM:TO",
    "--config.search.temperature=0": "want a schedule above 0",
    "--method=drnes": "did you mean 'drnas'?",
    "--config.search.epoch=3": "did you mean 'search.epochs'?",
    "--config.search.epochs=many": "want an integer",
    "--config.search.batch_size=4000": "larger than the training half",
    "--config.supernet.cells=0": "want at least 1",
    "--config.retrain.schedule=cosin": "want one of linear",
    "--config.data.name=npz:/nowhere.npz": "/nowhere.npz",
    "--config.seed": "want --config.seed=VALUE",
}


@pytest.mark.parametrize(("argument", "told"), REFUSALS.items())
def test_bad_settings_get_one_line_and_status_2(argument, told, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["search", "--run", str(run), *TINY, argument]) == 2
    captured = capsys.readouterr()
    assert told in captured.err
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    assert not run.exists()


def test_another_config_in_a_run_directory_is_refused_and_nothing_touched(
    finished, capsys
):
    def fingerprint():
        return {
            p: (p.stat().st_mtime_ns, p.stat().st_size) for p in finished.rglob("*")
        }

    before = fingerprint()
    status = main(["search", "--run", str(finished), *TINY, "--config.search.epochs=9"])
    assert status == 2
    assert "search.epochs: 3 -> 9" in capsys.readouterr().err
    assert fingerprint() == before


def test_labels_out_of_range_and_images_too_small(tmp_path, capsys):
    rng = np.random.default_rng(0)
    arrays = {
        f"{part}_{what}": value
        for part in ("train", "test")
        for what, value in (
            ("images", rng.integers(0, 255, (64, 2, 2, 1)).astype(np.uint8)),
            ("labels", rng.integers(0, 2, 64)),
        )
    }
    path = tmp_path / "small.npz"
    np.savez(path, **arrays)
    given = [*TINY, f"--config.data.name=npz:{path}", "--config.supernet.cells=8"]
    assert main(["search", "--run", str(tmp_path / "r"), *given]) == 2
    assert "need at least 4x4" in capsys.readouterr().err
    arrays["test_labels"][5] = 7
    np.savez(path, **arrays)
    assert main(["search", "--run", str(tmp_path / "r"), *given]) == 2
    assert "7 is not in [0, 2)" in capsys.readouterr().err


def test_a_loss_that_turns_nan_stops_and_keeps_the_last_good_checkpoint(
    tmp_path, capsys
):
    run = tmp_path / "nan"
    wild = "--config.search.weights.learning_rate=1e30"
    assert main(["search", "--run", str(run), *TINY, wild]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert "NaN or infinite at step" in told
    assert "learning_rate" in told


@pytest.mark.parametrize(
    ("genotype", "told"),
    [
        ("DARTS_V3", "did you mean 'DARTS_V"),
        ("missing.json", "no genotype file"),
        ("|bad|", "not a NAS-Bench-201 string"),
    ],
)
def test_bad_genotypes(genotype, told, tmp_path, capsys):
    assert main(["draw", genotype, "--out", str(tmp_path / "x")]) == 2
    assert told in capsys.readouterr().err


def test_an_unknown_operation_in_a_genotype(tmp_path, capsys):
    path = tmp_path / "g.json"
    text = PUBLISHED["DARTS_V2"].to_json()
    path.write_text(text.replace("sep_conv_3x3", "sep_conv_4x4"))
    run = tmp_path / "run"
    given = ["--genotype", str(path), "--run", str(run), *TINY]
    assert main(["retrain", *given]) == 2
    assert "did you mean 'sep_conv_" in capsys.readouterr().err


def test_draw_writes_both_pictures(tmp_path, capsys):
    assert main(["draw", "DARTS_V2", "--out", str(tmp_path / "cells")]) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"cells.svg", "cells.png"}


def test_methods_are_listed_with_their_choices(capsys):
    assert main(["methods"]) == 0
    listed = capsys.readouterr().out
    assert "gdas: GDAS" in listed
    assert "    search.relaxation=sampled_gumbel" in listed


def test_import_is_quick():
    code = (
        "import sys, time; t = time.perf_counter(); import darts_jax; "
        "print(time.perf_counter() - t)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    times = [
        float(subprocess.check_output([sys.executable, "-c", code], env=environment))
        for _ in range(2)
    ]
    assert min(times) < 2


def test_a_method_is_asked_of_the_settings_as_they_end(capsys):
    given = ["settings", "--config", "configs/digits.py", "--method", "lambda_darts"]
    assert main(given) == 2
    assert "want at least 2" in capsys.readouterr().err
    assert main([*given, "--config.supernet.cells=4"]) == 0
    assert '"hook": "alignment"' in capsys.readouterr().out


@pytest.mark.slow
def test_the_cost_of_a_genotype(capsys, tmp_path):
    sizes = ["--config.retrain.cells=1", "--config.retrain.channels=4"]
    supernet = ["--config.supernet.cells=1", "--config.supernet.channels=2"]
    cell = "|skip_connect~0|+|none~0|none~1|+|none~0|none~1|nor_conv_1x1~2|"
    given = ["cost", cell, "--config.space=nasbench201", *sizes, *supernet]
    assert main(given) == 0
    rows = capsys.readouterr().out.splitlines()
    total = next(row.split() for row in rows if row.startswith("sum "))
    # Stem, three 1x1 convolutions, two residual blocks, BN, classifier, with their BNs.
    convolutions = [(1, 9, 4), (4, 1, 4), (8, 1, 8), (16, 1, 16)]
    residuals = [9 * c * 2 * c + 9 * 4 * c * c + 2 * c * c + 8 * c for c in (4, 8)]
    small = sum(i * k * o + 2 * o for i, k, o in convolutions)
    assert int(total[1]) == small + sum(residuals) + 2 * 16 + 10 * 17
    out = tmp_path / "latency.json"
    assert main([*given, "--latency", "--table", str(out)]) == 0
    assert "quartiles" in capsys.readouterr().out
    assert json.loads(out.read_text())["unit"] == "ms"
    assert main([*given, "--latency", "--batch=0"]) == 2
