"""A run remembers its data: what it takes of them later, and what it refuses."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from jax import export as jax_export
from PIL import Image

import darts_jax
from darts_jax import InputError, from_arrays, load_config
from darts_jax.cli.main import main
from darts_jax.data import from_sources, load_dataset
from darts_jax.data.identity import SAMPLED, Identity, identify, read_identity
from darts_jax.data.remembered import make_blank_dataset, match_training_data
from darts_jax.data.scene_sources import load_scenes
from darts_jax.data.text import UNKNOWN, load_text
from darts_jax.training.directory import RunDirectory
from darts_jax.training.opening import open_run
from darts_jax.workflows.evaluate import evaluate
from darts_jax.workflows.front import front
from tests.support.made_data import make_coco, pictures
from tests.support.tiny import tiny_genotype, tiny_space

SETTINGS = (
    "space=tiny",
    "supernet.cells=1",
    "supernet.channels=2",
    "search.epochs=1",
    "search.batch_size=8",
    "retrain.cells=1",
    "retrain.channels=4",
    "retrain.epochs=4",
    "retrain.batch_size=16",
    "retrain.pad=0",
    "retrain.cutout=0",
    "retrain.flip=false",
    "retrain.drop_path=0",
    "retrain.auxiliary_weight=0",
    "retrain.weights.learning_rate=0.1",
)
FLAGS = [f"--config.{setting}" for setting in SETTINGS]


def write_images(folder, half, name, count, seed):
    """Writes images of 8x8, of which those of "cat" are brighter."""
    place = folder / half / name
    place.mkdir(parents=True, exist_ok=True)
    for i, picture in enumerate(pictures(count, 8, seed=seed)):
        level = 80 if name == "cat" else 40
        dim = (picture // 4 + level).astype(np.uint8)
        Image.fromarray(dim).save(place / f"{seed}_{i}.png")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of images, a network that was trained on it, and its export."""
    place = tmp_path_factory.mktemp("remembered")
    for half, count in (("train", 24), ("test", 10)):
        for seed, name in enumerate(("a", "cat")):
            write_images(place / "plain", half, name, count, seed)
    darts_jax.SPACES["tiny"] = tiny_space()
    (place / "genotype.json").write_text(tiny_genotype().to_json())
    named = f"--config.data.name=folder:{place / 'plain'}"
    chosen = ["--genotype", str(place / "genotype.json")]
    assert main(["retrain", "--run", str(place / "run"), *chosen, named, *FLAGS]) == 0
    assert main(["export", str(place / "run"), "--out", str(place / "exported")]) == 0
    yield place
    del darts_jax.SPACES["tiny"]


@pytest.fixture
def moved(trained, tmp_path):
    """A copy elsewhere of data that are no longer where they were."""
    for name in ("plain", "run"):
        shutil.copytree(trained / name, tmp_path / name)
    trained.joinpath("plain").rename(trained / "away")
    yield tmp_path
    trained.joinpath("away").rename(trained / "plain")


def retrained(place, *more):
    chosen = ["--genotype", str(place / "run" / "genotype.json")]
    return main(["retrain", "--run", str(place / "run"), *chosen, *FLAGS, *more])


def get_score(place, capsys, *more):
    assert main(["evaluate", "--run", str(place / "run"), *more]) == 0
    return capsys.readouterr().out.splitlines()[0]


def refusal(capsys):
    """The one line that the last command ended with."""
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("darts-jax: ")


def logits_of(exported):
    data = bytearray((exported / "model.jax_export").read_bytes())
    return np.asarray(jax_export.deserialize(data).call(pictures(3, 8)))


def test_the_file_says_what_there_is(trained):
    told = json.loads((trained / "run" / "data.json").read_text())
    data = load_dataset(f"folder:{trained / 'plain'}")
    assert told["counts"] == {"train": 48, "test": 20}
    assert told["classes"] == ["a", "cat"]
    assert told["shape"] == [8, 8, 3]
    np.testing.assert_array_equal(np.float32(told["mean"]), data.mean)
    np.testing.assert_array_equal(np.float32(told["std"]), data.std)
    assert read_identity(trained / "run" / "data.json") == identify(data)


def test_mean_and_deviation_are_those_of_the_training(moved, trained, capsys):
    here = f"--config.data.name=folder:{moved / 'plain'}"
    before = get_score(moved, capsys, here)
    assert before == f"test accuracy {100 * _accuracy(trained):.2f} %"
    for file in (moved / "plain" / "train").rglob("*.png"):
        Image.fromarray(np.asarray(Image.open(file)) // 3).save(file)
    assert get_score(moved, capsys, here) == before
    assert main(["export", str(moved / "run"), "--out", str(moved / "exported")]) == 0
    np.testing.assert_array_equal(
        logits_of(moved / "exported"), logits_of(trained / "exported")
    )
    assert retrained(moved, here) == 2
    assert "other pixels of the training images" in refusal(capsys)


def _accuracy(place):
    summary = json.loads((place / "run" / "summary.json").read_text())
    return summary["networks"][0]["test_accuracy"]


@pytest.mark.parametrize(
    ("old", "new"), [("a", "z"), ("cat", "kitty")], ids=["order", "name"]
)
def test_a_renamed_class_is_refused_and_exported_by_its_name(moved, capsys, old, new):
    for half in ("train", "test"):
        (moved / "plain" / half / old).rename(moved / "plain" / half / new)
    here = f"--config.data.name=folder:{moved / 'plain'}"
    assert main(["evaluate", "--run", str(moved / "run"), here]) == 2
    assert refusal(capsys) == (
        "the network was trained on other classes than these data have (without "
        f"{old}, with {new}): want the same names"
    )
    assert main(["export", str(moved / "run"), "--out", str(moved / "exported")]) == 0
    card = json.loads((moved / "exported" / "card.json").read_text())
    assert card["output"]["classes"] == ["a", "cat"]


def test_classes_in_another_order_keep_their_numbers(trained):
    config = load_config(trained / "run" / "config.json")
    data = load_dataset(f"folder:{trained / 'plain'}")
    turned = dataclasses.replace(
        data,
        train_labels=1 - data.train_labels,
        test_labels=1 - data.test_labels,
        class_names=("cat", "a"),
    )
    wanted = _accuracy(trained)
    assert wanted > 0.5
    assert evaluate(config, trained / "run", turned) == pytest.approx(wanted)
    stream = load_dataset(f"stream:folder:{trained / 'plain'}@8")
    assert evaluate(config, trained / "run", stream) == pytest.approx(wanted)


def test_images_that_came_later(moved, trained, capsys):
    write_images(moved / "plain", "train", "a", 20, 7)
    assert main(["export", str(moved / "run"), "--out", str(moved / "exported")]) == 0
    np.testing.assert_array_equal(
        logits_of(moved / "exported"), logits_of(trained / "exported")
    )
    capsys.readouterr()
    before = sorted(p.name for p in (moved / "run").rglob("*"))
    assert retrained(moved, f"--config.data.name=folder:{moved / 'plain'}") == 2
    assert refusal(capsys) == (
        f"run directory {moved / 'run'} holds a run on other data (48 training images "
        "-> 68); choose another --run, or the old data"
    )
    assert sorted(p.name for p in (moved / "run").rglob("*")) == before


def test_data_may_move(moved, trained, monkeypatch, capsys):
    here = ["--config.data.name=folder:plain", f"--config.data.directory={moved}"]
    assert main(["evaluate", "--run", str(moved / "run")]) == 2
    assert "is no directory" in refusal(capsys)
    wanted = f"test accuracy {100 * _accuracy(trained):.2f} %"
    assert get_score(moved, capsys, *here) == wanted
    # The same run goes on, and knows from then on where its data lie.
    assert retrained(moved, *here) == 0
    capsys.readouterr()
    assert get_score(moved, capsys) == wanted
    monkeypatch.setenv("DARTS_JAX_DATA_DIR", str(moved))
    assert retrained(moved, here[0]) == 0
    assert retrained(moved, here[0], "--config.data.flip=true") == 2
    assert "data.flip: False -> True" in refusal(capsys)


def test_every_path_is_looked_for_where_data_lie(tmp_path, monkeypatch):
    data, empty = tmp_path / "data", tmp_path / "empty"
    data.mkdir()
    empty.mkdir()
    monkeypatch.chdir(empty)
    for seed, name in enumerate(("a", "cat")):
        for half in ("train", "test"):
            write_images(data / "plain", half, name, 2, seed)
    make_coco(data / "marked", 4, 16)
    (data / "tale.txt").write_text("once upon a time there was a mill\n" * 9)
    images, labels = pictures(4, 8), np.array([0, 1, 0, 1])
    halves = {f"{half}_images": images for half in ("train", "test")}
    halves |= {f"{half}_labels": labels for half in ("train", "test")}
    np.savez(data / "set.npz", **halves)
    for name in ("folder:plain", "stream:folder:plain@8", "npz:set.npz"):
        assert load_dataset(name, str(data)).train_size == 4
    sizes = {"side": 16, "max_boxes": 4, "images": 0, "counts": (1, 1), "seed": 0}
    assert load_scenes("coco:marked", data, **sizes).train_size == 4
    for name in ("text:tale.txt", "chars:tale.txt"):
        assert len(load_text(name, data).train)
    # What lies here comes first, as it did.
    for name in ("a", "cat"):
        write_images(empty / "plain", "train", name, 3, 0)
        write_images(empty / "plain", "test", name, 1, 0)
    assert load_dataset("folder:plain", str(data)).train_size == 6


def test_fewer_classes_and_gray_images_are_told_in_words(trained):
    config = load_config(trained / "run" / "config.json")
    run = trained / "run"
    images, labels = pictures(40, 8), np.arange(40) % 3
    three = from_arrays(images, labels, images, labels, class_names=["a", "cat", "dog"])
    with pytest.raises(InputError) as caught:
        evaluate(config, run, three)
    assert str(caught.value) == (
        "the network was trained on 2 classes; these data have 3 (with dog): want the "
        "same classes"
    )
    known = dataclasses.replace(identify(three), mean=(0.5,) * 3)
    two = from_arrays(images, labels % 2, images, labels % 2, class_names=["a", "cat"])
    with pytest.raises(InputError) as caught:
        match_training_data(two, known)
    assert "trained on 3 classes; these data have 2 (without dog)" in str(caught.value)
    gray = from_arrays(images[..., :1], labels % 2, images[..., :1], labels % 2)
    with pytest.raises(InputError) as caught:
        evaluate(config, run, gray)
    assert str(caught.value) == (
        "the network was trained on RGB images of 8x8; these are gray images of 8x8: "
        "want RGB images"
    )


def test_another_size_of_images_is_told(trained, capsys):
    here = f"--config.data.name=stream:folder:{trained / 'plain'}@12"
    assert main(["evaluate", "--run", str(trained / "run"), here]) == 0
    assert (
        "evaluate: the network was trained on RGB images of 8x8; these are RGB images "
        "of 12x12"
    ) in capsys.readouterr().err


def test_evaluate_takes_the_settings_of_the_run(trained, tmp_path, capsys):
    wanted = f"test accuracy {100 * _accuracy(trained):.2f} %"
    assert get_score(trained, capsys) == wanted
    assert main(["evaluate", "--run", str(tmp_path)]) == 2
    assert refusal(capsys) == f"no run in {tmp_path}: it has no config.json"


def test_a_run_is_checked_to_its_end_before_it_begins(trained, tmp_path, capsys):
    run = tmp_path / "run"
    data = f"--config.data.name=folder:{trained / 'plain'}"
    for wrong, told in (
        ("retrain.batch_size=500", "500"),
        ("retrain.cells=40", "reductions"),
        ("baseline.equal_cost=nothing.json", "nothing.json"),
        ("retrain.drop_path=0.1", "baseline.execution=separate"),
    ):
        more = ["--config.baseline.random_genotypes=1", f"--config.{wrong}"]
        if "drop_path" in wrong:
            more.append("--config.baseline.execution=shared")
        if "cells" in wrong:
            more.append("--config.space=darts")
            more.append("--config.retrain.network=imagenet")
        assert main(["run", "--run", str(run), data, *FLAGS, *more]) == 2
        assert told in refusal(capsys)
        assert not run.exists()
    budget = ["search.budget.rule=augmented", "retrain.batch_size=500"]
    images = load_dataset(f"folder:{trained / 'plain'}")
    with pytest.raises(InputError, match="500"):
        front(load_config(None, [*SETTINGS, *budget]), [1.0], run, images)
    assert not run.exists()


def test_a_run_of_an_earlier_version_goes_on_as_it_did(moved, trained, capsys):
    (moved / "run" / "data.json").unlink()
    out = ["export", str(moved / "run"), "--out", str(moved / "exported")]
    assert main(out) == 2
    assert "is no directory" in refusal(capsys)
    here = f"--config.data.name=folder:{moved / 'plain'}"
    assert retrained(moved, here) == 2
    assert "data.name" in refusal(capsys)
    assert main([*out, here]) == 0
    np.testing.assert_array_equal(
        logits_of(moved / "exported"), logits_of(trained / "exported")
    )
    assert get_score(moved, capsys, here)
    assert not (moved / "run" / "data.json").exists()
    assert main(["export", str(trained / "run"), "--out", str(moved / "e"), here]) == 2
    assert "remembers its data" in refusal(capsys)
    assert main([*out, "--config.retrain.cells=2"]) == 2
    assert "data.name and data.directory" in refusal(capsys)


@pytest.mark.parametrize("verb", ["search", "retrain", "population", "ablate"])
def test_every_verb_refuses_to_go_on_with_other_data(trained, tmp_path, verb):
    data = load_dataset("digits").first(32)
    config = load_config(None, SETTINGS)
    images = data.train_images.copy()
    images[-1, -1, -1, 0] ^= 1
    other = dataclasses.replace(data, train_images=images)
    run = tmp_path / "run"
    calls = {
        "search": lambda: darts_jax.search(config, run, other),
        "retrain": lambda: darts_jax.retrain(config, run, tiny_genotype(), other),
        "population": lambda: darts_jax.population(config, {"seed": [0]}, run, other),
        "ablate": lambda: darts_jax.ablate(
            config, {"search.weights.momentum": [0.5]}, [0], run, other
        ),
    }
    began = "population" if verb == "ablate" else verb
    place = run / "all" if verb == "ablate" else run
    open_run(place, config, began, data)
    with pytest.raises(InputError) as caught:
        calls[verb]()
    assert str(caught.value) == (
        f"run directory {place} holds a run on other data (other pixels of the "
        "training images); choose another --run, or the old data"
    )


@pytest.mark.parametrize("verb", ["diagnose", "select", "score"])
def test_a_saved_supernet_is_measured_on_its_data_alone(moved, capsys, verb):
    here = f"--config.data.name=folder:{moved / 'plain'}"
    run = moved / "searched"
    data = load_dataset(f"folder:{moved / 'plain'}")
    was = f"data.name=folder:{moved / 'away'}"
    open_run(run, load_config(None, [*SETTINGS, was]), "search", data)
    (run / "checkpoints" / "search").mkdir(parents=True)
    measure = [verb, str(run), *(["--rule", "perturbation"] * (verb == "select"))]
    assert main(measure) == 2
    assert "is no directory" in refusal(capsys)
    assert main([*measure, here]) == 2
    assert refusal(capsys) == f"no checkpoint of a search in {run}"
    write_images(moved / "plain", "train", "cat", 2, 9)
    assert main([*measure, here]) == 2
    assert "48 training images -> 50" in refusal(capsys)


def test_a_report_needs_no_data(moved):
    page = main(["report", str(moved / "run"), "--out", str(moved / "page.html")])
    assert page == 0
    told = (moved / "page.html").read_text()
    assert "is no directory" not in told
    assert re.search(r"training images\W.{0,40}\b48\b", told, re.DOTALL)


def test_what_differs_is_told():
    images, labels = pictures(12, 8), np.arange(12) % 3
    data = from_arrays(images, labels, images, labels)
    known, at = identify(data), dataclasses.replace

    def told(other):
        return known.differences(identify(other))

    assert told(from_arrays(images.copy(), labels.copy(), images, labels)) == []
    assert told(at(data, name="elsewhere", note="moved")) == []
    assert told(at(data, test_images=images[:9], test_labels=labels[:9])) == [
        "12 test images -> 9"
    ]
    assert told(at(data, test_images=255 - images)) == [
        "other pixels of the test images"
    ]
    turned = at(data, train_labels=(data.train_labels + 1) % 3)
    assert told(turned) == ["other labels of the training images"]
    smaller = from_arrays(images[:, :6, :, :1], labels, images[:, :6, :, :1], labels)
    assert told(smaller) == ["RGB images of 8x8 -> gray images of 6x8"]
    assert told(at(data, class_names=("0", "1", "two"))) == [
        "3 classes -> 3 (without 2, with two)"
    ]
    assert told(at(data, class_names=("1", "0", "2"))) == [
        "the same classes in another order"
    ]
    stream = from_sources(
        list(zip(images, labels, strict=True)),
        list(zip(images, labels, strict=True)),
        class_names=["0", "1", "2"],
        image_shape=(8, 8, 3),
    )
    assert told(stream) == ["images by class -> a stream of images"]
    brighter = at(stream, mean=np.float32([0.5, 0.5, 0.5]))
    assert identify(stream).differences(identify(brighter)) == [
        "another mean or deviation of the channels"
    ]


class Counted:
    """Numbered images that notes which of them are asked for."""

    def __init__(self, size):
        self.size, self.asked = size, []

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        self.asked.append(index)
        return np.full((8, 8, 3), index % 251, np.uint8), index % 2


def test_a_stream_is_known_without_reading_it(trained, tmp_path):
    train, test = Counted(5000), Counted(3)
    data = from_sources(train, test, class_names=["a", "b"], image_shape=(8, 8, 3))
    known = identify(data.first(4000))
    assert len(train.asked) == SAMPLED
    assert train.asked[0] == 0
    assert train.asked[-1] == 3999
    assert test.asked == [0, 1, 2]
    assert known.counts == {"train": 4000, "test": 3}

    shutil.copytree(trained / "plain", tmp_path / "plain")
    name = f"stream:folder:{tmp_path / 'plain'}@8"
    known = identify(load_dataset(f"stream:folder:{trained / 'plain'}@8"))
    assert known.differences(identify(load_dataset(name))) == []
    first = sorted((tmp_path / "plain" / "train" / "a").iterdir())[0]
    first.rename(first.with_name("other.png"))
    assert any(
        "file names" in d for d in known.differences(identify(load_dataset(name)))
    )


def test_every_kind_of_data_is_remembered(tmp_path):
    sizes = {"side": 16, "max_boxes": 4, "images": 0, "counts": (3, 2), "seed": 0}
    scenes = load_scenes("generated:digits", None, **sizes)
    (tmp_path / "tale.txt").write_text("the mill and the miller and the moth\n" * 9)
    text = load_text(f"text:{tmp_path / 'tale.txt'}", None)
    images, labels = pictures(6, 8), np.arange(6) % 2
    plain = from_arrays(images, labels, images, labels)
    for data in (plain, scenes, text):
        known = identify(data)
        (tmp_path / "data.json").write_text(known.to_json())
        assert read_identity(tmp_path / "data.json") == known
        assert known.differences(identify(data)) == []
    boxes = np.array(scenes.train.boxes)
    boxes[0, 0] += 1
    moved = dataclasses.replace(scenes, train=scenes.train.replace(boxes=boxes))
    told = identify(scenes).differences(identify(moved))
    assert told == ["other boxes of the training images"]
    other = dataclasses.replace(text, test=text.test[::-1])
    told = identify(text).differences(identify(other))
    assert told == ["other words or characters of the test tokens"]
    assert identify({"a type": "of its own"}) is None


def test_marks_and_words_keep_their_numbers(tmp_path):
    sizes = {"side": 16, "max_boxes": 4, "images": 0, "counts": (3, 2), "seed": 0}
    scenes = load_scenes("generated:digits", None, **sizes)
    known = dataclasses.replace(
        identify(scenes), classes=scenes.class_names[::-1], mean=(0.25,) * 3
    )
    seen = match_training_data(scenes, known)
    assert seen.class_names == known.classes
    np.testing.assert_array_equal(seen.test.labels, 9 - np.asarray(scenes.test.labels))
    np.testing.assert_array_equal(seen.mean, np.float32([0.25] * 3))

    (tmp_path / "tale.txt").write_text("the mill and the mill or the end\n" * 20)
    with pytest.raises(InputError, match="trained on images with boxes; these data"):
        match_training_data(load_text(f"text:{tmp_path / 'tale.txt'}", None), known)
    text = load_text(f"text:{tmp_path / 'tale.txt'}", None)
    fewer = tuple(sorted(set(text.vocabulary) - {"or"}))
    known = dataclasses.replace(identify(text), classes=fewer)
    with pytest.raises(InputError, match=r"'or' besides, and it knows no <unk>"):
        match_training_data(text, known)
    vocabulary = (*fewer, UNKNOWN)
    seen = match_training_data(text, dataclasses.replace(known, classes=vocabulary))
    words = [text.vocabulary[token] for token in text.test]
    wanted = [word if word != "or" else UNKNOWN for word in words]
    assert [vocabulary[token] for token in seen.test] == wanted


def test_blank_images_are_those_of_the_run_in_all_but_pixels():
    images, labels = pictures(12, 8), np.arange(12) % 3
    data = from_arrays(images, labels, images[:7], labels[:7], licence="CC0")
    blanks = make_blank_dataset(identify(data))
    for name in ("image_shape", "classes", "class_names", "train_size", "licence"):
        assert getattr(blanks, name) == getattr(data, name)
    np.testing.assert_array_equal(blanks.mean, data.mean)
    np.testing.assert_array_equal(blanks.std, data.std)
    assert len(blanks.test_labels) == 7
    assert blanks.train_images.base is not None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"kind": "cake"}', "null"])
def test_a_damaged_file_is_told(tmp_path, text):
    path = tmp_path / "data.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"data\.json, what the run .*damaged"):
        read_identity(path)
    assert read_identity(tmp_path / "none.json") is None


def test_a_verb_that_began_without_the_file_does_not_get_it(tmp_path):
    images, labels = pictures(12, 8), np.arange(12) % 3
    data = from_arrays(images, labels, images, labels)
    config = load_config()
    run = RunDirectory(tmp_path / "run")
    open_run(run.path, config, "search")
    open_run(run.path, config, "search", data)
    assert not run.data.exists()
    open_run(run.path, config, "retrain", data)
    assert isinstance(read_identity(run.data), Identity)
