"""Searches and trainings on a made text, from the command line: results and resume."""

import dataclasses
import json

import jax
import numpy as np
import pytest

import darts_jax
from darts_jax.cli.main import main
from darts_jax.errors import InputError
from darts_jax.settings.config_files import load_config
from darts_jax.spaces.graph import Cell, dense_edges
from darts_jax.spaces.published import get_genotype
from darts_jax.spaces.recurrent import OPERATIONS, RECURRENT
from darts_jax.tasks.language.task import scale_rate_by_length
from darts_jax.tasks.registry import load_data, make_search, make_training
from darts_jax.training import loop
from darts_jax.training.directory import load_architecture
from darts_jax.training.metrics import read_metrics
from tests.support.commands import cut, flags
from tests.support.reference import unigram_perplexity
from tests.support.text_searches import CHOICES, learn_two_steps

pytestmark = pytest.mark.slow

SETTINGS = [
    *("task=language", "space=recurrent_small"),
    *("language.window=8", "language.longer=2", "language.test_batch_size=2"),
    *("language.supernet.units=8", "language.network.units=8"),
    *("language.network.jitter=1.5", "language.patience=0"),
    *("search.epochs=2", "search.batch_size=8"),
    *("search.weights.learning_rate=10", "search.weights.final_learning_rate=10"),
    *("search.weights.momentum=0", "search.weights.clip=0.25"),
    *("search.architecture.learning_rate=0.02", "search.warmup=0"),
    *("retrain.epochs=6", "retrain.batch_size=4", "retrain.schedule=linear"),
    *("retrain.weights.learning_rate=10", "retrain.weights.final_learning_rate=10"),
    *("retrain.weights.momentum=0", "retrain.weights.clip=0.25"),
    "baseline.random_genotypes=1",
] + [
    f"language.{part}.dropouts.{name}=0.1"
    for part in ("supernet", "network")
    for name in ("words", "embedding", "inputs", "hidden", "output")
]


@pytest.fixture(scope="module", autouse=True)
def small_space():
    """Three nodes: compiled in a fifth of the time of eight."""
    cell = Cell(1, 3, dense_edges(1, 3, OPERATIONS), (1, 2, 3))
    name, cells = "recurrent_small", {"recurrent": cell}
    with pytest.MonkeyPatch.context() as patch:
        space = dataclasses.replace(RECURRENT, name=name, cells=cells)
        patch.setitem(darts_jax.SPACES, name, space)
        yield


@pytest.fixture(scope="module")
def tale(tmp_path_factory):
    """Each word has one that follows it nine times of ten."""
    rng = np.random.default_rng(0)
    names, words = [f"w{i}" for i in range(12)], [0]
    for surprise in rng.random(2500) < 0.1:
        words.append(int(rng.integers(12)) if surprise else (words[-1] * 5 + 1) % 12)
    path = tmp_path_factory.mktemp("text") / "tale.txt"
    path.write_text(" ".join(names[word] for word in words))
    return [f"data.name=text:{path}", *SETTINGS]


@pytest.fixture(scope="module")
def finished(tale, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert main(["run", "--run", str(run), *flags(tale)]) == 0
    return run


def test_a_run_learns_the_order_of_the_words(finished, tale, capsys):
    summary = json.loads((finished / "summary.json").read_text())
    unigram = unigram_perplexity(load_data(load_config(None, tale)))
    assert 11 < unigram < 14
    names = [network["name"] for network in summary["networks"]]
    assert names == ["retrain", "random_0"]
    for network in summary["networks"]:
        assert 1 < network["test_perplexity"] < unigram / 2
        assert 1 < network["valid_perplexity"] < unigram / 2
        units = 8 * 13 + 13 + 16 * 16 + 3 * 8 * 16
        assert network["parameters"] == units
    assert (finished / "genotype.svg").exists()
    capsys.readouterr()
    assert main(["evaluate", "--run", str(finished), *flags(tale)]) == 0
    told = summary["networks"][0]["test_perplexity"]
    assert capsys.readouterr().out == f"test perplexity {told:.2f}\n"
    table = (finished / "summary.txt").read_text()
    assert "valid perplexity  test perplexity" in table


def test_records_speak_of_text(finished):
    records = read_metrics(finished / "metrics.jsonl")
    for record in records:
        assert record["tokens_per_second"] > 0
        assert record["held_out_perplexity"] > 1
        assert "accuracy" not in record
    search = [r for r in records if r["verb"] == "search"]
    for record in search:
        gap = record["discretized_perplexity"] - record["held_out_perplexity"]
        assert record["discretization_gap"] == pytest.approx(gap)
    losses = [r["loss"] for r in records if r["verb"] == "retrain"]
    assert losses[-1] < losses[0]


def curves(run):
    names = ("verb", "step", "loss", "held_out_perplexity")
    return [[r[n] for n in names] for r in read_metrics(run / "metrics.jsonl")]


def test_a_run_that_was_stopped_ends_with_the_same_bits(
    finished, tale, tmp_path, monkeypatch, capsys
):
    run = tmp_path / "cut"
    search = ["search", "--run", str(run), *flags(tale)]
    cut(monkeypatch, 40, search)
    assert main(search) == 0
    for path in sorted((finished / "architecture").iterdir()):
        mine = load_architecture(run / "architecture" / path.name)
        for kind, alpha in load_architecture(path).items():
            np.testing.assert_array_equal(mine[kind], alpha)
    steps = make_training(*made(tale)).steps_per_epoch
    retrain = ["retrain", "--run", str(run), *flags(tale)]
    # Within the last epoch, when weights have been averaged for some.
    cut(monkeypatch, 5 * steps + 3, retrain)
    assert main(retrain) == 0
    assert "retrain: going on from" in capsys.readouterr().err
    assert curves(run) == curves(finished)
    one, other = ((p / "summary.json").read_text() for p in (run, finished))
    assert one == other


def made(tale):
    config = load_config(None, tale)
    return config, load_data(config), get_genotype("DARTS_V2_recurrent")


def test_weights_are_averaged_when_a_score_is_worse(tale):
    job = make_training(*made(tale))
    assert job.scalars(0)["averages"] == 0
    for scores, want in (([9.0, 8.0], 0), ([9.0, 8.0, 8.5], 1), ([8.0, 9.0, 1.0], 1)):
        assert job.adapt(job.scalars(3), scores)["averages"] == want


def test_steps_are_as_large_as_their_windows_and_compile_once(tale):
    config, corpus, genotype = made(tale)
    pace = scale_rate_by_length(config.language.window)
    job = make_training(config, corpus, genotype)
    state = loop.initial_tree(job)["state"]
    ((_, data),) = job.feed.open(job.layout)(0, 0)
    run, lengths = jax.jit(job.run), set()
    for i in range(6):
        bounds = (np.int32(n) for n in (0, i, i + 1))
        run(state, job.empty_totals(), data, job.scalars(0), *bounds)
        (text,) = job.feed.batches(data, job.feed.order(state.key, 0), np.int32(i))
        length = int(text.present[0].sum())
        paced = pace(job.scalars(0), text)["weights"]
        assert float(paced["learning_rate"]) == pytest.approx(10 * length / 8)
        assert float(paced["clip"]) == 0.25
        lengths.add(length)
    assert len(lengths) > 1
    assert run._cache_size() == 1


def test_validation_text_goes_on_from_its_own_hidden_state(tale):
    config, corpus, _ = made(tale)
    job = make_search(config, corpus)
    state = loop.initial_tree(job)["state"]
    ((_, data),) = job.feed.open(job.layout)(0, 0)
    run = jax.jit(job.run)
    hidden = []
    for i in range(2):
        bounds = (np.int32(n) for n in (0, i, i + 1))
        state, _ = run(state, job.empty_totals(), data, job.scalars(0), *bounds)
        hidden.append(np.asarray(state.stats["reader"]["recurrence"]["hidden"]))
    for before, after in ((0 * hidden[0], hidden[0]), (hidden[0], hidden[1])):
        assert (np.abs(after - before).max((0, 2)) > 1e-4).all()  # of either stream


@pytest.mark.parametrize("name", CHOICES)
def test_the_choices_of_a_search_are_those_of_images(tale, name):
    small = ["language.window=3", "language.supernet.units=4"]
    new = learn_two_steps([*tale, *small, *CHOICES[name]], "recurrent")
    assert (float(new.baseline) > 0) == (name == "rewards")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            ["task=classification"],
            "space 'recurrent_small' makes networks of recurrent",
        ),
        (["space=darts"], "space 'darts' makes networks of cells"),
        (["task=langauge"], "unknown task 'langauge'"),
        (["search.microbatches=2"], "search.microbatches is 2; text wants 1"),
        (["search.batch_size=2000"], "want a smaller batch_size"),
    ],
)
def test_mistakes_are_told_in_one_line(tale, tmp_path, settings, told):
    data = ["data.name=digits"] if settings == ["task=classification"] else []
    with pytest.raises(InputError, match=told) as raised:
        darts_jax.search(load_config(None, [*tale, *settings, *data]), tmp_path / "run")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_what_is_of_images_alone_says_so(tale):
    with pytest.raises(InputError, match="an estimate is of images with labels"):
        darts_jax.estimate(load_config(None, tale))
