"""Streams from data in their real formats: order, parts, laziness and mistakes."""

import io
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from darts_jax.data import (
    StreamedDataset,
    batches,
    from_sources,
    load_dataset,
    split_train,
)
from darts_jax.data.stream import fit
from darts_jax.errors import InputError
from tests.support.made_data import pictures, prepare


class Counted:
    """A source of images whose first pixel is their number; notes what is read."""

    def __init__(self, size=23, classes=5):
        self.size, self.classes = size, classes
        self.read = []
        self.lock = threading.Lock()

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        with self.lock:
            self.read.append(index)
        return np.full((2, 3, 1), index, np.uint8), index % self.classes


def numbers(source, **settings):
    """The numbers of the images of each batch."""
    settings = {"seed": 3, "epoch": 0, "batch_size": 4} | settings
    found = []
    for images, labels in batches(source, **settings):
        assert images.dtype == np.uint8
        assert labels.dtype == np.int32
        assert images.shape[1:] == (2, 3, 1)
        row = images[:, 0, 0, 0].astype(int)
        counts = labels >= 0
        np.testing.assert_array_equal(labels[counts], row[counts] % source.classes)
        found.append(np.where(counts, row, -1).tolist())
    return found


def flat(found):
    return [number for batch in found for number in batch]


def refuses(told, name, directory=None):
    with pytest.raises(InputError, match=told) as caught:
        load_dataset(name, directory)
    assert "\n" not in str(caught.value)


def write_folder(folder, count=12, suffix="jpg"):
    """Images of sizes between 9x7 and 31x15 in two classes, no two alike."""
    for i in range(count):
        place = folder / ("cat", "dog")[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        noise = pictures(1, 31, seed=i)[0][: 9 + 2 * i, : 7 + i]
        Image.fromarray(noise).save(place / f"{i}.{suffix}")


def assert_equal(found, wanted):
    for (images, labels), (same_images, same_labels) in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(images, same_images)
        np.testing.assert_array_equal(labels, same_labels)


@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_an_epoch_repeats_itself_and_shows_each_image_once(prefetch):
    found = numbers(Counted(), prefetch=prefetch)
    assert found == numbers(Counted())
    assert len(found) == 5
    assert len(set(flat(found))) == 20  # three of 23 fill no batch
    assert sorted(flat(numbers(Counted(24)))) == list(range(24))
    assert flat(found) != sorted(flat(found))


def test_the_order_is_of_the_seed_and_the_epoch():
    orders = {
        (seed, epoch): tuple(flat(numbers(Counted(24), seed=seed, epoch=epoch)))
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(set(orders.values())) == 9  # seed 1 is not seed 0 one epoch later
    # An order that moved would break the promise that a stopped run goes on.
    assert orders[0, 0][:8] == (18, 8, 16, 7, 20, 13, 1, 0)


@pytest.mark.parametrize("start", range(6))
def test_a_run_goes_on_at_its_batch_without_reading_the_others(start):
    source = Counted()
    assert numbers(source, start=start) == numbers(Counted())[start:]
    assert len(source.read) == 4 * (5 - start)


@pytest.mark.parametrize("start", [0, 2])
@pytest.mark.parametrize("processes", [2, 3, 6])
def test_processes_read_their_own_part_of_each_batch(processes, start):
    whole = numbers(Counted(), batch_size=6, start=start)
    sources = [Counted() for _ in range(processes)]
    parts = [
        numbers(source, batch_size=6, start=start, process_index=i, process_count=n)
        for n in [processes]
        for i, source in enumerate(sources)
    ]
    joined = [flat(batch) for batch in zip(*parts, strict=True)]
    assert joined == whole
    for source, part in zip(sources, parts, strict=True):
        assert sorted(source.read) == sorted(flat(part))


def test_nothing_is_read_before_it_is_asked_for_nor_far_ahead():
    source = Counted(60)
    read = batches(source, seed=0, epoch=0, batch_size=4, prefetch=2)
    assert not source.read
    for taken in range(1, 5):
        next(read)
        assert 4 * taken <= len(source.read) <= 4 * (taken + 2)
    read.close()
    source = Counted(60)
    synchronous = batches(source, seed=0, epoch=0, batch_size=4, prefetch=0)
    next(synchronous)
    assert len(source.read) == 4


def test_halves_of_the_training_set_share_no_image():
    train, valid = split_train(24, 0.5)
    first = flat(numbers(Counted(24), rows=train))
    assert sorted(first) == list(range(12))
    assert sorted(flat(numbers(Counted(24), rows=valid))) == list(range(12, 24))
    one = [numbers(Counted(24), rows=valid, batch_size=1, start=11)]
    assert len(flat(one)) == 1


def test_a_test_sees_every_image_once_in_batches_of_one_size():
    parts = [
        numbers(Counted(), fill_last=True, process_index=i, process_count=2)
        for i in range(2)
    ]
    assert [len(batch) for part in parts for batch in part] == [2] * 12
    assert sorted(flat(parts[0] + parts[1])) == [-1, *range(23)]
    assert numbers(Counted(), fill_last=True)[:5] == numbers(Counted())
    assert numbers(Counted(24), fill_last=True) == numbers(Counted(24))
    few = flat(numbers(Counted(3), fill_last=True, batch_size=8))
    assert sorted(few) == [-1] * 5 + [0, 1, 2]


def test_worker_processes_change_nothing(tmp_path):
    write_folder(tmp_path)
    train = load_dataset(f"stream:folder:{tmp_path}@8").train
    settings = {"seed": 1, "epoch": 2, "batch_size": 2, "start": 1}
    want = list(batches(train, **settings))
    assert len(want) == 3
    read = batches(train, **settings, workers=2)
    assert_equal(list(read), want)
    read.close()


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_folder_is_streamed_at_one_size(tmp_path, suffix):
    for half in ("train", "test"):
        write_folder(tmp_path / half, suffix=suffix)
    data = load_dataset(f"stream:folder:{tmp_path}@10")
    assert isinstance(data, StreamedDataset)
    assert (data.class_names, data.classes) == (("cat", "dog"), 2)
    assert (data.image_shape, data.name) == ((10, 10, 3), tmp_path.name)
    assert len(data.train) == len(data.test) == 12
    np.testing.assert_allclose(data.mean, [0.485, 0.456, 0.406])
    for images, labels in batches(data.test, seed=0, epoch=0, batch_size=6):
        assert images.shape == (6, 10, 10, 3)
        assert set(labels.tolist()) <= {0, 1}
    assert load_dataset(f"stream:folder:{tmp_path}").image_shape == (224, 224, 3)
    few = data.first(5)
    assert (len(few.train), len(few.test), few.classes) == (5, 5, 2)
    np.testing.assert_array_equal(few.train[4][0], data.train[4][0])


def test_a_folder_streams_the_images_that_it_loads(tmp_path):
    for i, image in enumerate(pictures(20)):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "ab"[i % 2] / f"{i}.png")
    loaded = load_dataset(f"folder:{tmp_path}")
    stream = load_dataset(f"stream:folder:{tmp_path}@6")
    for source, images, labels in (
        (stream.train, loaded.train_images, loaded.train_labels),
        (stream.test, loaded.test_images, loaded.test_labels),
    ):
        assert len(source) == len(images)
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            np.testing.assert_array_equal(source[i][0], image)
            assert source[i][1] == label


def test_a_size_behind_a_path_that_ends_like_one(tmp_path):
    write_folder(tmp_path / "set@12")
    assert load_dataset(f"stream:folder:{tmp_path}/set@12@9").image_shape == (9, 9, 3)
    refuses("no directory", f"stream:folder:{tmp_path}/set@12")
    refuses("side 0, must be 1 or more", f"stream:folder:{tmp_path}/set@12@0")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_tfds_set_is_streamed_without_tensorflow(tmp_path, workers):
    prepare(tmp_path, "ragged", sizes=(6, 9, 12), count=10)
    data = load_dataset("stream:tfds:ragged@6", str(tmp_path))
    assert (data.name, data.image_shape) == ("ragged", (6, 6, 3))
    assert data.class_names == ("round", "square")
    settings = {"seed": 0, "epoch": 0, "batch_size": 5}
    found = list(batches(data.train, **settings, workers=workers))
    assert [images.shape for images, _ in found] == [(5, 6, 6, 3)] * 2
    whole = {fit(image, (6, 6, 3), "").tobytes() for image in ragged(10)}
    assert {image.tobytes() for images, _ in found for image in images} == whole
    assert sum(labels.sum() for _, labels in found) == 5
    assert "tensorflow" not in sys.modules


def ragged(count):
    return [pictures(count, (6, 9, 12)[i % 3], seed=0)[i] for i in range(count)]


def test_tfds_streams_the_images_that_it_loads(tmp_path):
    prepare(tmp_path, "even")
    loaded = load_dataset("tfds:even", str(tmp_path))
    stream = load_dataset("stream:tfds:even@6", str(tmp_path))
    streamed = [stream.test[i] for i in range(len(stream.test))]
    np.testing.assert_array_equal([image for image, _ in streamed], loaded.test_images)
    np.testing.assert_array_equal([label for _, label in streamed], loaded.test_labels)


def test_a_test_split_without_labels_is_passed_over(tmp_path):
    splits = ("train", "validation", "test")
    prepare(tmp_path, "like_imagenet", splits=splits, unlabelled=("test",))
    data = load_dataset("stream:tfds:like_imagenet@6", str(tmp_path))
    images = {data.test[i][0].tobytes() for i in range(len(data.test))}
    assert images == {image.tobytes() for image in pictures(8, seed=1)}
    prepare(tmp_path, "blind", unlabelled=("test",))
    refuses("splits train, test; wanted .*labels", "stream:tfds:blind", str(tmp_path))


def test_an_image_is_scaled_to_cover_and_cropped_at_the_centre():
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = [200, 100, 50]  # all that a centred square keeps
    for scale in (10, 20, 40):
        got = fit(wide, (scale, scale, 3), "wide")
        want = np.broadcast_to(np.uint8([200, 100, 50]), (scale, scale, 3))
        inner = slice(scale // 10, -(scale // 10))
        np.testing.assert_array_equal(got[:, inner], want[:, inner])
    tall = fit(wide.transpose(1, 0, 2), (10, 20, 3), "tall")
    assert tall.shape == (10, 20, 3)
    assert (tall[1:-1] == [200, 100, 50]).all()
    exact = pictures(1, 17)[0]
    np.testing.assert_array_equal(fit(exact, (17, 17, 3), "exact"), exact)


def test_images_of_every_kind_become_rgb_or_gray(tmp_path):
    gray = pictures(1, 8, 1)[0]
    for image in (gray, gray[..., 0]):
        np.testing.assert_array_equal(fit(image, (8, 8, 1), ""), gray)
        np.testing.assert_array_equal(fit(image, (8, 8, 3), ""), gray.repeat(3, 2))
    colour = Image.fromarray(pictures(1, 8)[0])
    for mode, suffix in (("CMYK", "jpg"), ("P", "gif"), ("RGBA", "png")):
        path = tmp_path / f"{mode}.{suffix}"
        colour.convert(mode).save(path)
        with Image.open(path) as image:
            want = np.asarray(image.convert("RGB"))
        np.testing.assert_array_equal(fit(path, (8, 8, 3), ""), want)
        np.testing.assert_array_equal(fit(path.read_bytes(), (8, 8, 3), ""), want)


def test_a_large_jpeg_is_nearly_what_it_is_decoded_in_full():
    rows = np.linspace(0, 255, 640)[:, None, None]
    image = np.broadcast_to(rows, (640, 640, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=95)
    small = fit(file.getvalue(), (32, 32, 3), "")
    want = fit(image, (32, 32, 3), "")
    assert np.abs(small.astype(int) - want).max() <= 2


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"seed": -1}, "seed=-1 must be 0 or more"),
        ({"epoch": -2}, "epoch=-2 must be 0 or more"),
        ({"batch_size": 0}, "batch_size=0 must be 1 or more"),
        ({"batch_size": 24}, "batch size 24 is more than the 23 images"),
        ({"batch_size": 5, "process_count": 2}, "batch_size=5 must be a multiple of"),
        ({"process_index": 1}, r"process_index=1 must be in \[0, 1\)"),
        ({"process_count": 0}, "process_count=0 must be 1 or more"),
        ({"start": 6}, r"start=6 must be in \[0, 5\]"),
        ({"start": -1}, r"start=-1 must be in \[0, 5\]"),
        ({"workers": -1}, "workers=-1 must be 0 or more"),
        ({"prefetch": -1}, "prefetch=-1 must be 0 or more"),
        ({"rows": np.array([0, 23])}, r"row 23 is not in \[0, 23\)"),
        ({"rows": np.array([-1, 2])}, r"row -1 is not in \[0, 23\)"),
        ({"rows": np.array([0.5])}, "must be integers"),
        ({"rows": np.array([], np.int32)}, "one or more"),
    ],
)
def test_settings_out_of_range(settings, told):
    settings = {"seed": 0, "epoch": 0, "batch_size": 4} | settings
    with pytest.raises(InputError, match=told) as caught:
        batches(Counted(), **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_is_no_image_is_told_when_its_turn_comes(tmp_path, workers):
    write_folder(tmp_path / "train")
    write_folder(tmp_path / "test")
    (tmp_path / "train" / "cat" / "broken.jpg").write_bytes(b"no image")
    train = load_dataset(f"stream:folder:{tmp_path}@8").train
    read = batches(train, seed=0, epoch=0, batch_size=1, workers=workers)
    told = r"cannot read the image .*train/cat/broken\.jpg"
    with pytest.raises(InputError, match=told) as caught:
        list(read)
    assert "\n" not in str(caught.value)


def test_images_that_cannot_be_used(tmp_path):
    file = io.BytesIO()
    Image.fromarray(pictures(1, 40)[0]).save(file, "JPEG")
    deep = tmp_path / "deep.png"
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(deep)
    for image, told in (
        (file.getvalue()[:200], "cannot read the image number 7: "),
        (deep, r"deep\.png: mode I;16, must have 8 bits a channel"),
        (tmp_path / "absent.png", "absent.png"),
        (np.zeros((4, 4, 3)), "cannot read the image number 7"),
    ):
        with pytest.raises(InputError, match=told) as caught:
            fit(image, (8, 8, 3), "number 7")
        assert "\n" not in str(caught.value)


def test_sources_that_cannot_be_used():
    good = [(np.zeros((4, 4, 3), np.uint8), 0)]
    for train, settings, told in (
        ([], {}, "0 train and 1 test images"),
        (good, {"image_shape": (4, 4)}, "must be \\(height, width, channels\\)"),
        (good, {"image_shape": (4, 4, 2)}, "1 or 3 channels"),
        (good, {"image_shape": (4, 4, 1)}, "must be 1 values"),
        (good, {"std": (1.0, 0.0, 1.0)}, "a std above 0"),
    ):
        with pytest.raises(InputError, match=told):
            from_sources(train, good, class_names=["a"], **settings)
    data = from_sources(good, [(good[0][0], 1)], class_names=["a"], name="own")
    assert data.train[0][0].shape == (224, 224, 3)
    with pytest.raises(InputError, match=r"own test image 0 has the label 1"):
        data.test[0]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("stream:", "wanted stream:tfds:NAME or stream:folder:PATH"),
        ("stream:npz:x", "cannot stream 'npz:x'"),
        ("stream:digits", "cannot stream 'digits'"),
        ("stream:tfds:imagenet2021", "did you mean 'imagenet2012'"),
        ("stream:folder:/absent@9", "folder:/absent is no directory"),
        ("stream", "wanted stream:tfds:NAME or stream:folder:PATH"),
    ],
)
def test_unknown_streams(name, told):
    refuses(told, name)


def test_without_grain_only_streams_are_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(InputError, match=r"pip install 'darts-jax\[stream\]'"):
        numbers(Counted())


def test_grain_is_imported_where_a_stream_is_read():
    code = "import sys, darts_jax.data; sys.exit('grain' in sys.modules)"
    assert not subprocess.run([sys.executable, "-c", code], check=False).returncode
