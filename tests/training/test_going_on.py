"""A run goes on with more epochs where it may, and a new run starts from another."""

import hashlib
import json
import shlex
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

import darts_jax
from darts_jax.cli.main import main
from darts_jax.errors import InputError
from darts_jax.reports.commands import reproduction_commands
from darts_jax.settings.config_files import load_config
from darts_jax.tasks.registry import make_search, make_training
from darts_jax.training.checkpoint import named_arrays, read_newest
from darts_jax.training.directory import RunDirectory
from darts_jax.training.metrics import read_metrics
from darts_jax.training.opening import extendable_verbs
from tests.support.small_runs import config, images

pytestmark = pytest.mark.usefixtures("tiny")

SIZES = {"cells": 1, "channels": 2, "batch_size": 8, "cutout": 0}
CONSTANT = {
    "search.weights.final_learning_rate": 0.025,
    "retrain.weights.final_learning_rate": 0.025,
    "retrain.drop_path": 0.0,
    "retrain.auxiliary_weight": 0.0,
    **{f"retrain.{name}": value for name, value in SIZES.items()},
}
FALLING = {"search.weights.final_learning_rate": 0.001, "retrain.drop_path": 0.2}


def settings(search=1, retrain=1, **others):
    return config(search, **{"retrain.epochs": retrain}, **(CONSTANT | others))


def both(made, run, **start):
    darts_jax.search(made, run, images(), **start)
    return darts_jax.retrain(made, run, dataset=images())


def last_state(run, verb):
    found = read_newest(run / "checkpoints" / verb, print)
    assert found is not None
    return found


def assert_same_end(run, whole, verb):
    (step, one), (other_step, other) = last_state(run, verb), last_state(whole, verb)
    assert step == other_step
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    told = ("step", "epoch", "loss", "accuracy", "held_out_accuracy", "valid_loss")
    mine, theirs = (
        [
            [record[name] for name in told]
            for record in read_metrics(place / "metrics.jsonl")
            if record["verb"] == verb
        ]
        for place in (run, whole)
    )
    assert mine == theirs


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A search of one epoch, nothing else."""
    run = tmp_path_factory.mktemp("going_on") / "short"
    darts_jax.search(settings(), run, images())
    return run


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A search and a retraining of two epochs at once."""
    run = tmp_path_factory.mktemp("going_on") / "long"
    both(settings(2, 2), run)
    return run


# Going on


def killed(*_, **__):
    raise KeyboardInterrupt


def test_more_epochs_end_with_the_bits_of_so_many_at_once(
    short, long, tmp_path, monkeypatch
):
    run = tmp_path / "run"
    shutil.copytree(short, run)
    with monkeypatch.context() as patch:
        patch.setattr("darts_jax.workflows.search._run_stages", killed)
        with pytest.raises(KeyboardInterrupt):
            darts_jax.search(settings(2), run, images())
    # What told of the end is gone: the search is not taken for a finished one.
    assert not [*run.glob("genotype.*")]
    found = darts_jax.search(settings(2), run, images())
    assert len(found.records) == 2
    assert_same_end(run, long, "search")
    assert (run / "genotype.json").read_bytes() == (long / "genotype.json").read_bytes()
    assert json.loads((run / "config.json").read_text())["search"]["epochs"] == 2
    darts_jax.retrain(settings(2), run, dataset=images())
    assert len(json.loads((run / "summary.json").read_text())["networks"]) == 1
    darts_jax.retrain(settings(2, 2), run, dataset=images())
    assert_same_end(run, long, "retrain")
    for name in ("summary.json", "evaluation.json"):
        assert (run / name).read_bytes() == (long / name).read_bytes()


def refused(old, new, keys, verbs=("search",)):
    with pytest.raises(InputError) as caught:
        extendable_verbs(Path("a run"), old, new, keys, verbs)
    told = str(caught.value)
    assert "\n" not in told
    return told


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"search.weights.final_learning_rate": 0.001},
            "the schedule search.weights.learning_rate (a cosine from 0.025 to 0.001) "
            "depends on search.epochs",
        ),
        ({"search.temperature": "5:0.1"}, "search.temperature (5:0.1) depends"),
        (
            {"search.corruption.strength": "0:0.3", "search.warmup": 0.5},
            "search.warmup (0.5 of the epochs) and search.corruption.strength (0:0.3) "
            "depend on",
        ),
        ({"search.terms.anchor_l2": "1:0"}, "search.terms.anchor_l2 (1:0) depends"),
        ({"search.stages": "search.operations=2"}, "search.stages prunes"),
    ],
)
@pytest.mark.parametrize("epochs", [1, 3])
def test_a_schedule_of_a_search_that_depends_on_its_length_is_named(
    changed, told, epochs
):
    old, new = (settings(n, **changed) for n in (epochs, 5))
    said = refused(old, new, ["search.epochs"])
    assert told in said
    command = said.partition("parameters: ")[2]
    assert shlex.split(command) == [
        *("darts-jax", "search", "--config", "a run/config.json"),
        *(f"--config.search.epochs={5 - epochs}", "--from", "a run"),
        *("--run", "a run-more"),
    ]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"retrain.drop_path": 0.2}, "retrain.drop_path (a ramp to 0.2) depends"),
        (
            {"retrain.weights.final_learning_rate": 0.0},
            "retrain.weights.learning_rate (retrain.schedule=cosine from 0.025 to 0)",
        ),
        ({"retrain.schedule": "exponential"}, None),
        ({"retrain.warmup_epochs": 1}, None),
    ],
)
def test_a_schedule_of_a_retraining_that_depends_on_its_length_is_named(changed, told):
    old, new = (settings(1, n, **changed) for n in (1, 5))
    where = ["retrain.epochs"], ["search", "retrain"]
    if told is None:
        path = Path("a run")
        assert extendable_verbs(path, old, new, *where) == ["retrain"]
    else:
        said = refused(old, new, *where)
        assert told in said
        assert "--config.retrain.epochs=4 --from 'a run'" in said


def test_only_more_epochs_of_a_search_or_a_retraining_are_meant():
    path, keys = Path("a run"), ["search.epochs"]
    one, two = settings(1), settings(2)
    assert extendable_verbs(path, one, two, keys, ["search"]) == ["search"]
    assert extendable_verbs(path, two, one, keys, ["search"]) == []
    assert extendable_verbs(path, one, two, [*keys, "seed"], ["search"]) == []
    assert extendable_verbs(path, one, two, keys, ["population"]) == []
    said = refused(one, two, keys, ["search", "retrain"])
    assert "its network has the genotype that the shorter search found" in said


# Starting from


def test_a_search_starts_from_the_parameters_of_another(
    short, tmp_path, capsys, monkeypatch
):
    run = tmp_path / "run"
    made = settings(1, **FALLING, seed=3)
    monkeypatch.chdir(short.parent)
    darts_jax.search(made, run, images(), start_from=short.name)
    step, stored = last_state(short, "search")
    assert f"starts from the parameters of {short} after step {step}" in (
        capsys.readouterr().err
    )
    told = json.loads((run / "start.json").read_text())["search"]
    assert (told["run"], told["step"]) == (str(short.resolve()), step)
    # The same by hand: a fresh state with the other's parameters, and an epoch of it.
    job = make_search(made, images())
    state = jax.jit(job.init)(job.start)
    parts = ("params", "stats", "alpha", "mask")
    names = [f"state.{name}" for name in named_arrays(state)]
    taken = [
        stored[name] if name.split(".")[1] in parts else leaf
        for name, leaf in zip(names, jax.tree.leaves(state), strict=True)
    ]
    begun = jax.tree.unflatten(jax.tree.structure(state), taken)
    _, data = next(job.feed.open(job.layout)(0, 0))
    totals = job.empty_totals()
    bounds = np.int32(0), np.int32(0), np.int32(job.steps_per_epoch)
    end, _ = jax.jit(job.run)(begun, totals, data, job.scalars(0), *bounds)
    last, mine = last_state(run, "search")
    assert last == job.steps_per_epoch
    for name, leaf in named_arrays(end).items():
        np.testing.assert_array_equal(mine[f"state.{name}"], leaf, err_msg=name)
    digest = hashlib.sha256()
    for name in sorted(n for n in stored if n.split(".")[1] in parts):
        array = stored[name]
        digest.update(f"{name} {array.dtype}{list(array.shape)}".encode())
        digest.update(array.tobytes())
    assert told["sha256"] == digest.hexdigest()
    (line, *_) = reproduction_commands(RunDirectory(run), made, ["search"]).values()
    words = shlex.split(line.replace("\\\n", ""))
    assert words[words.index("--from") + 1] == str(short.resolve())


def test_a_start_holds_when_resumed_and_no_other_is_taken(short, tmp_path, monkeypatch):
    other = tmp_path / "other"
    run = tmp_path / "run"
    made = settings(1, **FALLING)
    shutil.copytree(short, other)
    with monkeypatch.context() as patch:
        patch.setattr("darts_jax.workflows.search._run_stages", killed)
        with pytest.raises(KeyboardInterrupt):
            darts_jax.search(made, run, images(), start_from=short)
    with pytest.raises(InputError, match=f"started from {short}; choose another --run"):
        darts_jax.search(made, run, images(), start_from=other)
    shutil.copytree(run, tmp_path / "killed")
    shutil.rmtree(tmp_path / "killed" / "checkpoints")
    with pytest.raises(InputError, match=f"starts from {short}; want --from {short}"):
        darts_jax.search(made, tmp_path / "killed", images())
    darts_jax.search(made, tmp_path / "killed", images(), start_from=short)
    darts_jax.search(made, run, images())
    assert_same_end(run, tmp_path / "killed", "search")
    with pytest.raises(InputError, match="has begun from random parameters"):
        darts_jax.search(settings(), other, images(), start_from=short)


def test_a_retraining_starts_from_the_weights_of_another(long, tmp_path):
    made = settings(2, 1, **FALLING)
    found = darts_jax.retrain(made, tmp_path / "run", None, images(), start_from=long)
    told = json.loads((tmp_path / "run" / "start.json").read_text())
    assert list(told) == ["retrain"]
    genotype = found.network.genotype
    assert genotype.to_json() == (long / "genotype.json").read_text()
    job = make_training(made, images(), genotype)
    _, stored = last_state(long, "retrain")
    state = jax.jit(job.init)(job.start)
    taken = [
        stored[f"state.{name}"] if name.startswith(("params.", "stats.")) else leaf
        for name, leaf in zip(named_arrays(state), jax.tree.leaves(state), strict=True)
    ]
    begun = jax.tree.unflatten(jax.tree.structure(state), taken)
    _, data = next(job.feed.open(job.layout)(0, 0))
    bounds = np.int32(0), np.int32(0), np.int32(job.steps_per_epoch)
    totals = job.empty_totals()
    end, _ = jax.jit(job.run)(begun, totals, data, job.scalars(0), *bounds)
    _, mine = last_state(tmp_path / "run", "retrain")
    for name, leaf in named_arrays(end).items():
        np.testing.assert_array_equal(mine[f"state.{name}"], leaf, err_msg=name)


@pytest.mark.parametrize(
    ("verb", "changed", "told"),
    [
        ("search", {"supernet.channels": 4}, "does not fit these settings and data: "),
        ("search", {"space": "s2"}, "has space=tiny, and s2 is asked for; want --conf"),
        (
            "search",
            {
                "search.relaxation": "simplex",
                "search.architecture.rule": "exponentiated_gradient",
            },
            "search.relaxation=simplex takes other parameters than softmax",
        ),
        ("search", {"search.stages": "search.operations=2"}, "a search in stages"),
        ("retrain", {"retrain.channels": 4}, "does not fit these settings and data: "),
        ("retrain", {"baseline.random_genotypes": 1}, "no network random_0 in "),
    ],
)
def test_what_does_not_fit_gets_one_line_and_leaves_nothing(
    long, tmp_path, verb, changed, told
):
    made, run = settings(2, 2, **changed), tmp_path / "run"
    with pytest.raises(InputError) as caught:
        getattr(darts_jax, verb)(made, run, dataset=images(), start_from=long)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not run.exists()


def test_there_is_something_to_start_from(long, short, tmp_path, capsys):
    nowhere = ["--run", str(tmp_path / "run"), "--from", str(tmp_path / "no")]
    assert main(["search", *nowhere]) == 2
    assert "to start from: it has no config.json" in capsys.readouterr().err
    with pytest.raises(InputError, match="no checkpoint of a retrain in"):
        darts_jax.retrain(settings(), tmp_path / "r", None, images(), start_from=short)
    chosen = json.loads((long / "genotype.json").read_text())
    chosen["cells"]["normal"]["edges"][0][0] = "skip_connect"
    chosen["cells"]["normal"]["edges"][1][0] = "skip_connect"
    other = darts_jax.Genotype.from_json(json.dumps(chosen))
    with pytest.raises(InputError, match="has another genotype than the one to train"):
        darts_jax.retrain(settings(), tmp_path / "r", other, images(), start_from=long)


def test_a_damaged_start_gets_one_line(short, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(short, run)
    (run / "start.json").write_text("[")
    with pytest.raises(InputError, match=r"start.json is damaged; choose another"):
        darts_jax.search(load_config(run / "config.json"), run, images())
