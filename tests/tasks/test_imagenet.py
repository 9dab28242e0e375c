"""The recipe of ImageNet, at a tiny size, on JPEG files of various sizes and shapes."""

import itertools

import jax
import numpy as np
import pytest
from flax import linen as nn
from PIL import Image

import darts_jax
from darts_jax import load_config
from darts_jax.cli.main import main
from darts_jax.errors import InputError
from darts_jax.models.functional import initialize_supernet
from darts_jax.spaces import SPACES
from darts_jax.spaces.graph import Cell, Macro, Space, dense_edges
from darts_jax.tasks.classification.task import CLASSIFICATION
from darts_jax.tasks.image_jobs import make_inference
from darts_jax.tasks.image_networks import make_supernet
from darts_jax.tasks.registry import load_data, make_search, make_training
from darts_jax.training import loop
from darts_jax.training.checkpoint import read_newest
from darts_jax.training.directory import RunDirectory
from darts_jax.training.evaluation import read_evaluation
from darts_jax.training.metrics import read_metrics
from darts_jax.training.restore import restore_network
from tests.support.made_data import write_pictures

CLASSES, TEST = 4, 5
RECIPE = [
    "space=halves",
    "data.short_side=36",
    "data.top=2",
    "data.crop_area=0.08",
    "data.flip=true",
    "data.chunk=2",
    "supernet.network=imagenet",
    "supernet.cells=1",
    "supernet.channels=2",
    "search.epochs=2",
    "search.batch_size=4",
    "search.images=20",
    "search.train_fraction=0.8",
    "search.weights.warmup_epochs=1",
    "retrain.network=imagenet",
    "retrain.cells=1",
    "retrain.channels=4",
    "retrain.epochs=2",
    "retrain.batch_size=8",
    "retrain.dtype=bfloat16",
    "retrain.crop_area=0.08",
    "retrain.pad=0",
    "retrain.cutout=0",
    "retrain.jitter.brightness=0.4",
    "retrain.jitter.contrast=0.4",
    "retrain.jitter.saturation=0.4",
    "retrain.jitter.hue=0.2",
    "retrain.mixup=0.2",
    "retrain.label_smoothing=0.1",
    "retrain.schedule=linear",
    "retrain.warmup_epochs=1",
    "retrain.ema_decay=0.99",
    "retrain.weights.learning_rate=0.1",
    "baseline.random_genotypes=0",
]


@pytest.fixture(scope="module", autouse=True)
def halves():
    """Registers the smallest space whose cells halve images and project two inputs."""
    operations = ("skip_connect", "nor_conv_1x1")
    cells = {
        "normal": Cell(2, 1, dense_edges(2, 1, operations), output=(2,)),
        "reduce": Cell(2, 1, dense_edges(2, 1, operations, stride=2), output=(2,)),
    }
    macro = Macro(lambda cells: ("normal", "reduce"), ("reduce",), 3, True, False)
    SPACES["halves"] = Space("halves", cells, macro, "argmax")
    plain = Macro(lambda cells: ("normal",), (), 3, False, False)
    SPACES["apart"] = Space("apart", {"normal": cells["normal"]}, plain, "argmax")
    yield
    del SPACES["halves"], SPACES["apart"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures")
    write_pictures(path, classes=CLASSES, train=8, test=TEST)
    return path


def settings(folder, *changes):
    return [f"data.name=stream:folder:{folder}@32", *RECIPE, *changes]


def prepared(path):
    """A test image by Pillow alone: its shorter side 36, then its centre of 32."""
    picture = Image.open(path)
    sides = [int(36 * side / min(picture.size)) for side in picture.size]
    left, top = (round((side - 32) / 2) for side in sides)
    resized = picture.resize(sides, Image.Resampling.BILINEAR)
    return np.asarray(resized.crop((left, top, left + 32, top + 32)))


@pytest.mark.slow
def test_a_search_by_the_stem_is_retrained_and_tested_by_the_recipe(tmp_path, folder):
    config = load_config(None, settings(folder))
    run = tmp_path / "run"
    (trial,) = darts_jax.estimate(config).trials
    assert trial.memory.peak > 0
    found = darts_jax.search(config, run)
    result = darts_jax.retrain(config, run)
    assert result.network.genotype == found.genotype
    data, directory = load_data(config), RunDirectory(run)
    job = make_training(config, data, found.genotype)
    state = restore_network(directory, job)
    infer = make_inference(CLASSIFICATION.objective, config, data, found.genotype)
    files = sorted(folder.glob("val/*/*.jpg"))
    assert len(files) == CLASSES * TEST
    logits = np.asarray(infer(state, np.stack([prepared(file) for file in files])))
    labels = np.array([int(file.parent.name[-1]) for file in files])
    ranked = np.argsort(-logits, 1, kind="stable")
    top_1 = (ranked[:, 0] == labels).mean()
    top_2 = (ranked[:, :2] == labels[:, None]).any(1).mean()
    assert result.accuracy == pytest.approx(top_1)
    assert result.network.also == {"top_2_accuracy": pytest.approx(top_2)}
    assert darts_jax.evaluate(config, run) == pytest.approx(top_1)
    tested = read_evaluation(directory)
    assert tested.top == {"top_2_accuracy": pytest.approx(top_2)}
    assert f"top 2 accuracy {100 * top_2:.2f} %" in str(tested)
    assert {"held_out_accuracy", "held_out_top_2_accuracy"} <= set(
        read_metrics(directory.metrics)[-1]
    )
    last = jax.tree.leaves((state.params, state.stats))
    averages = jax.tree.leaves(state.ema)
    assert any((a != b).any() for a, b in zip(averages, last, strict=True))


def test_the_supernet_sees_images_at_an_eighth(folder):
    config = load_config(None, settings(folder))
    data = load_data(config)
    net = make_supernet(config, data)
    assert net.imagenet
    seen = []

    def look(next_function, args, kwargs, context):
        if type(context.module).__name__ == "SuperCell":
            seen.append([arg.shape[1] for arg in args[:2]])
        return next_function(*args, **kwargs)

    with nn.intercept_methods(look):
        jax.eval_shape(
            lambda key: initialize_supernet(net, key, (32, 32, 3)), jax.random.key(0)
        )
    assert [8, 4] in seen  # at the first cell, a quarter and an eighth of 32


def test_a_search_takes_the_first_images_and_its_halves_are_cropped(folder):
    config = load_config(None, settings(folder))
    job = make_search(config, load_data(config))
    assert job.feed.steps == 4  # 16 of 20 images, by 4
    assert job.feed.count == 20
    assert job.held_out.count == 4


REFUSED = [
    (["space=mobile_small"], r"supernet\.network=imagenet has a stem of its own"),
    (["space=apart"], "projects none; want cifar"),
    (["data.short_side=20"], "want 32 or more"),
    (["retrain.jitter.hue=0.7"], r"retrain\.jitter\.hue is 0\.7"),
    (["data.crop_area=0"], r"data\.crop_area is 0"),
]


@pytest.mark.parametrize(("changes", "told"), REFUSED)
def test_what_cannot_be_is_told_at_once(folder, changes, told):
    def start():
        config = load_config(None, settings(folder, *changes))
        make_search(config, load_data(config))

    with pytest.raises(InputError, match=told) as caught:
        start()
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_run_that_was_stopped_ends_with_the_same_bits(tmp_path, folder, monkeypatch):
    """Stopped within the second epoch, search and training alike."""
    monkeypatch.setattr(loop, "_SECONDS_PER_CALL", 0.0)
    flags = [f"--config.{setting}" for setting in settings(folder)]

    def finish(verb, run):
        return main([verb, "--run", str(tmp_path / run), *flags])

    for verb in ("search", "retrain"):
        assert finish(verb, "whole") == 0
        asked = itertools.count()
        with monkeypatch.context() as patch:
            patch.setattr(
                loop, "is_set_in_any_process", lambda _, asked=asked: next(asked) == 6
            )
            with pytest.raises(loop.StoppedError) as stopped:
                finish(verb, "resumed")
        assert 4 < stopped.value.step < 8
        assert finish(verb, "resumed") == 0
    runs = [RunDirectory(tmp_path / run) for run in ("whole", "resumed")]
    for name in ("search", "retrain"):
        ends = [read_newest(run.checkpoints / name, print) for run in runs]
        assert ends[0][0] == ends[1][0]
        assert ends[0][1].keys() == ends[1][1].keys()
        for key, array in ends[0][1].items():
            np.testing.assert_array_equal(array, ends[1][1][key], err_msg=key)
