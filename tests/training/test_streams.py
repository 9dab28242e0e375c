"""Programs that read a stream do what they do with the same images in memory."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import darts_jax
from darts_jax import from_arrays, load_config
from darts_jax.cli.main import main
from darts_jax.data import StreamedDataset, from_sources, load_dataset, split_train
from darts_jax.engine.devices import Layout, to_host
from darts_jax.engine.streamed_feed import Streamed
from darts_jax.errors import InputError
from darts_jax.training import loop
from darts_jax.training.directory import load_architecture
from darts_jax.training.metrics import read_metrics
from darts_jax.training.population_job import make_population
from tests.support.processes import finish, free_port, launch

TINY = [
    "space=s2",
    "supernet.cells=1",
    "supernet.channels=2",
    "search.epochs=2",
    "search.batch_size=4",
    "search.train_fraction=0.6",
    "data.pad=1",
    "data.chunk=3",
    "retrain.cells=1",
    "retrain.channels=2",
    "retrain.epochs=2",
    "retrain.batch_size=8",
    "retrain.pad=1",
    "retrain.auxiliary_weight=0",
    "retrain.weights.learning_rate=0.1",
]


def bright(count, seed):
    """Images of two classes, the second brighter, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    noise = rng.integers(0, 156, (count, 8, 8, 3))
    return (noise + 60 * labels[:, None, None, None]).astype(np.uint8), labels


class Numbered:
    """Images that are their number, in all pixels and as their label."""

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return np.full((2, 3, 1), index, np.uint8), index


def numbered(train=24, test=11):
    names = tuple(map(str, range(train)))
    statistics = np.zeros(1, np.float32), np.ones(1, np.float32)
    sources = Numbered(train), Numbered(test)
    return StreamedDataset("numbers", *sources, names, (2, 3, 1), *statistics)


def labels(feed, epoch=0, start=0, layout=None):
    """Returns labels of the batches of each step: [step, part, batch]."""
    found, step = [], start
    for stop, data in feed.open(layout or Layout())(epoch, start):
        for i in range(step, stop):
            batches = to_host(feed.batches(data, (), np.int32(i)))
            for batch in batches:
                real = batch.labels >= 0
                assert (batch.images[:, 0, 0, 0] == batch.labels)[real].all()
            found.append([batch.labels.tolist() for batch in batches])
        step = stop
    return found


def halves(chunk=2, seed=0):
    parts = split_train(24, 0.7)
    return Streamed(numbered(), seed, chunk, 0).training(parts, 3)


def test_batches_depend_on_seed_epoch_and_step_alone():
    want = labels(halves())
    assert np.shape(want) == (5, 2, 3)
    for chunk in (1, 3, 99):
        assert labels(halves(chunk)) == want
        assert labels(halves(chunk), start=2) == want[2:]
    others = [labels(halves(seed=1)), labels(halves(), epoch=1)]
    assert all(other != want for other in others)


def test_halves_of_a_search_are_disjoint_and_the_smaller_begins_anew():
    steps = np.array(labels(halves()))
    train, valid = steps[:, 0].ravel(), steps[:, 1]
    assert len(set(train)) == 15  # of 16
    assert set(train) <= set(range(16))
    assert set(valid.ravel()) <= set(range(16, 24))
    assert len(set(valid[:2].ravel())) == 6  # of 8
    np.testing.assert_array_equal(valid[2:4], valid[:2])
    assert labels(halves(), start=3) == steps[3:].tolist()


def test_tests_see_every_image_once():
    supply = Streamed(numbered(), 0, 2, 0)
    held_out = supply.held_out(split_train(24, 0.7)[1], 3)
    assert sorted(np.ravel(labels(held_out))) == [-1, *range(16, 24)]
    test = supply.test(4)
    assert (test.count, test.steps) == (11, 3)
    assert sorted(np.ravel(labels(test))) == [-1, *range(11)]


def test_processes_put_their_parts_together(tmp_path):
    address = f"localhost:{free_port()}"
    script = Path(__file__)
    cluster = [launch(2, script, tmp_path / "found", address, i) for i in range(2)]
    finish(*cluster)
    found = np.load(tmp_path / "found.npy").tolist()
    assert found == labels(Streamed(numbered(), 5, 2, 0).training([np.arange(24)], 8))


def read_as_one_of_two(out, address, index):
    from darts_jax.engine.devices import make_layout
    from darts_jax.training.processes import is_writer, join_processes

    join_processes(address, 2, int(index))
    layout = make_layout(0, 8, "the batch")
    feed = Streamed(numbered(), 5, 2, 0).training([np.arange(24)], 8)
    found = labels(feed, layout=layout)
    if is_writer():
        np.save(out, found)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("stream")
    for half, count, seed in (("train", 47, 0), ("test", 5, 1)):
        for i, (image, label) in enumerate(zip(*bright(count, seed), strict=True)):
            place = path / half / "ab"[label]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(place / f"{i}.png")
    return path


@pytest.fixture
def one_step_a_call(monkeypatch):
    monkeypatch.setattr(loop, "_SECONDS_PER_CALL", 0.0)


@pytest.mark.slow
@pytest.mark.usefixtures("one_step_a_call")
def test_a_stopped_search_ends_with_the_bits_of_one_that_was_not(
    tmp_path, folder, monkeypatch, capsys
):
    def searched(run):
        settings = [f"data.name=stream:folder:{folder}@8", *TINY]
        flags = [f"--config.{setting}" for setting in settings]
        return main(["search", "--run", str(tmp_path / run), *flags])

    assert searched("whole") == 0
    asked = iter(range(100))
    # Seven steps of an epoch ask six times and its end once: within the second epoch.
    monkeypatch.setattr(loop, "is_set_in_any_process", lambda _: next(asked) == 10)
    with pytest.raises(loop.StoppedError) as stopped:
        searched("resumed")
    assert stopped.value.step == 11
    monkeypatch.undo()
    assert searched("resumed") == 0
    assert "going on from step 11 of 14" in capsys.readouterr().err
    whole, resumed = (tmp_path / run for run in ("whole", "resumed"))
    for epoch in (1, 2):
        name = f"architecture/epoch_000{epoch}.npz"
        alpha = load_architecture(whole / name)
        for kind, again in load_architecture(resumed / name).items():
            np.testing.assert_array_equal(again, alpha[kind])
    keys = ("step", "loss", "accuracy", "held_out_accuracy")
    curves = [
        [
            [record[key] for key in keys]
            for record in read_metrics(run / "metrics.jsonl")
        ]
        for run in (whole, resumed)
    ]
    assert curves[0] == curves[1]


@pytest.mark.slow
def test_a_network_trained_by_any_chunk_is_tested_as_in_memory(tmp_path):
    loaded = from_arrays(*bright(47, 0), *bright(21, 1))
    train, test = (
        list(zip(images, labels.tolist(), strict=True))
        for images, labels in (bright(47, 0), bright(21, 1))
    )
    stream = from_sources(
        train,
        test,
        class_names=loaded.class_names,
        image_shape=loaded.image_shape,
        mean=loaded.mean,
        std=loaded.std,
    )
    genotype = darts_jax.get_genotype("DARTS_V2")
    ends = []
    for chunk in (2, 99):
        config = load_config(None, [*TINY, f"data.chunk={chunk}"])
        run = tmp_path / str(chunk)
        accuracy = darts_jax.retrain(config, run, genotype, stream).accuracy
        assert darts_jax.evaluate(config, run, stream) == accuracy
        # What `evaluate` restores is of the same settings: images alone are others.
        assert darts_jax.evaluate(config, run, loaded) == accuracy
        ends.append(
            (accuracy, [r["loss"] for r in read_metrics(run / "metrics.jsonl")])
        )
    assert ends[0] == ends[1]
    assert ends[0][0] != 0.5


def test_an_estimate_counts_two_chunks(folder):
    stream = load_dataset(f"stream:folder:{folder}@8", "")
    (trial,) = darts_jax.estimate(load_config(None, TINY), stream).trials
    half = 3 * 4 * (8 * 8 * 3 + 4)  # three steps of four images and labels
    assert trial.memory.images == 2 * half + 4  # and the number of the first step
    # The chunk that comes next; and two, of one half, of an epoch's test.
    assert trial.memory.beside == 2 * (2 * half + 4) + 4


def test_members_of_a_population_cannot_have_orders_of_their_own():
    members = [load_config(None, [*TINY, f"seed={seed}"]) for seed in range(2)]
    with pytest.raises(InputError, match="in one order") as caught:
        make_population(members, numbered())
    assert "\n" not in str(caught.value)


if __name__ == "__main__":
    read_as_one_of_two(*sys.argv[1:])
