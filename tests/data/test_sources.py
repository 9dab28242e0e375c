"""Every source with data made here in its real format, and every way it can be bad."""

import gzip
import io
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from darts_jax.data import (
    SOURCES,
    Augmentation,
    augment,
    batch_indices,
    from_arrays,
    load_dataset,
    normalize,
    shuffle,
    split_train,
)
from darts_jax.data import tfds as tfds_source
from darts_jax.data.idx import DEBIAN
from darts_jax.data.jpeg import decode_jpegs
from darts_jax.errors import InputError
from darts_jax.settings.config import default_config
from darts_jax.tasks.image_data import split_search_data
from darts_jax.tasks.registry import load_data
from tests.support.made_data import idx, pictures, prepare, write_fashion


def refuses(told, name, directory=None):
    with pytest.raises(InputError, match=told):
        load_dataset(name, directory)


def test_digits_are_split_by_class_and_keep_their_values():
    data = load_dataset("digits")
    assert len(data.train_images) + len(data.test_images) == 1797
    assert len(data.test_images) == 360
    assert data.image_shape == (8, 8, 1)
    assert data.train_images.max() == 255
    counts = np.bincount(data.test_labels)
    assert counts.min() >= 34
    assert counts.max() <= 38
    # The split is part of every published figure: no version may move it.
    assert data.train_labels[:12].tolist() == [6, 6, 5, 6, 6, 2, 2, 1, 1, 9, 9, 5]
    assert data.test_labels[:12].tolist() == [6, 2, 0, 4, 1, 5, 9, 7, 3, 4, 2, 0]


def test_fashion_mnist_from_idx_files(tmp_path):
    arrays = write_fashion(tmp_path)
    data = load_dataset("fashion_mnist", str(tmp_path))
    want = arrays["train-images-idx3-ubyte.gz"]
    np.testing.assert_array_equal(data.train_images[..., 0], want)
    assert data.class_names[9] == "Ankle boot"


def test_a_truncated_idx_file_is_told(tmp_path):
    arrays = write_fashion(tmp_path)
    name = "train-images-idx3-ubyte.gz"
    whole = gzip.decompress(idx(arrays[name]))
    (tmp_path / name).write_bytes(gzip.compress(whole[:-5]))
    refuses("truncated or damaged", "fashion_mnist", str(tmp_path))
    (tmp_path / name).write_bytes(b"not gzip")
    refuses("cannot read", "fashion_mnist", str(tmp_path))
    (tmp_path / name).write_bytes(idx(arrays["train-labels-idx1-ubyte.gz"]))
    refuses("starts with 00000801, not 00000803", "fashion_mnist", str(tmp_path))


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="dataset-fashion-mnist not installed")
def test_the_real_fashion_mnist():
    data = load_dataset("fashion_mnist")
    assert data.train_images.shape == (60_000, 28, 28, 1)
    assert data.mean[0] == pytest.approx(0.2860, abs=1e-4)
    assert data.std[0] == pytest.approx(0.3530, abs=1e-4)


def test_the_jpeg_copy_of_cifar10(shared):
    with np.load(shared / "data" / "cifar10_jpeg_q75.npz") as archive:
        lengths = archive["test_length"][:8]
        files = archive["test_jpeg"][: lengths.sum()]
        labels = archive["train_label"][:4].tolist()
    images = decode_jpegs(files, lengths)
    assert images.shape == (8, 32, 32, 3)
    start = int(lengths[:3].sum())
    alone = Image.open(io.BytesIO(files[start : start + lengths[3]].tobytes()))
    np.testing.assert_array_equal(images[3], np.asarray(alone.convert("RGB")))
    assert labels == [6, 9, 9, 4]  # the official order: frog, truck, truck, deer


def jpeg_archive(path, n=6, damage=0):
    def jpegs(images):
        files = []
        for image in images:
            file = io.BytesIO()
            Image.fromarray(image).save(file, "JPEG")
            files.append(np.frombuffer(file.getvalue()[damage:], np.uint8))
        return np.concatenate(files), np.array([len(f) for f in files], np.uint16)

    arrays = {"class_names": np.array(["cat", "dog"])}
    for split in ("train", "test"):
        arrays[f"{split}_jpeg"], arrays[f"{split}_length"] = jpegs(pictures(n, 32))
        arrays[f"{split}_label"] = (np.arange(n) % 2).astype(np.uint8)
    np.savez(path, **arrays)


def test_the_archive_is_decoded_once_and_says_what_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DARTS_JAX_DATA_DIR", str(tmp_path))
    jpeg_archive(tmp_path / "cifar10_jpeg_q75.npz")
    first = load_dataset("cifar10")
    assert "not comparable" in first.note
    assert first.train_images.shape == (6, 32, 32, 3)
    kept = {file.suffix for file in (tmp_path / "cache" / "darts_jax").iterdir()}
    assert kept == {".npy"}
    monkeypatch.setattr("darts_jax.data.jpeg.decode_jpegs", None)
    again = load_dataset("cifar10")
    np.testing.assert_array_equal(again.train_images, first.train_images)


def test_a_damaged_archive_is_told_and_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    jpeg_archive(tmp_path / "cifar10_jpeg_q75.npz", damage=9)
    refuses("JPEG 0 cannot be decoded", "cifar10", str(tmp_path))
    assert not (tmp_path / "cache").exists()
    (tmp_path / "cifar10_jpeg_q75.npz").write_bytes(b"no zip")
    refuses("cannot read", "cifar10", str(tmp_path))


def test_a_folder_of_images(tmp_path):
    images = pictures(10)
    for split, part in (("train", images[:6]), ("test", images[6:])):
        for i, image in enumerate(part):
            folder = tmp_path / split / ("cat", "dog")[i % 2]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{i}.png")
    data = load_dataset(f"folder:{tmp_path}")
    assert data.class_names == ("cat", "dog")
    stored = {image.tobytes() for image in data.train_images}
    assert stored == {image.tobytes() for image in images[:6]}
    Image.fromarray(pictures(1, 9)[0]).save(tmp_path / "train" / "cat" / "z.png")
    refuses(r"\(9, 9\)", f"folder:{tmp_path}")
    (tmp_path / "test" / "cow").mkdir()
    refuses(r"has test/cow/ and no train/cow/", f"folder:{tmp_path}")


def test_a_folder_without_a_split_is_split_by_hash(tmp_path):
    for i, image in enumerate(pictures(20, channels=1)[..., 0]):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "ab"[i % 2] / f"{i}.png")
    data = load_dataset(f"folder:{tmp_path}")
    assert data.image_shape == (6, 6, 1)
    assert np.bincount(data.train_labels).tolist() == [8, 8]
    assert np.bincount(data.test_labels).tolist() == [2, 2]
    assert (np.diff(data.train_labels) < 0).any()  # not sorted by class
    again = load_dataset(f"folder:{tmp_path}")
    np.testing.assert_array_equal(again.train_images, data.train_images)
    (tmp_path / "a" / "broken.png").write_bytes(b"no image")
    refuses(r"cannot read the image .*broken\.png", f"folder:{tmp_path}")


def test_folders_that_are_none(tmp_path):
    refuses("no directory", f"folder:{tmp_path / 'absent'}")
    refuses("no sub-folders", f"folder:{tmp_path}")
    (tmp_path / "train" / "cat").mkdir(parents=True)
    refuses(r"has train/ only", f"folder:{tmp_path}")
    (tmp_path / "test").mkdir()
    refuses("no sub-folders", f"folder:{tmp_path}")


def test_npz(tmp_path):
    path = tmp_path / "own.npz"
    arrays = {
        "train_images": pictures(8),
        "train_labels": np.arange(8) % 2,
        "test_images": pictures(4),
        "test_labels": np.arange(4) % 2,
    }
    np.savez(path, **arrays)
    data = load_dataset(f"npz:{path}")
    np.testing.assert_array_equal(data.test_images, arrays["test_images"])
    del arrays["test_labels"]
    np.savez(path, **arrays)
    refuses("lacks test_labels", f"npz:{path}")


@pytest.mark.parametrize("test_split", ["test", "validation"])
def test_a_tfds_set_by_name_without_tensorflow(tmp_path, test_split):
    prepare(tmp_path, "tiny_shapes", splits=("train", test_split))
    data = load_dataset("tiny_shapes", str(tmp_path))
    assert data.class_names == ("round", "square")
    stored = {image.tobytes() for image in data.train_images}
    assert stored == {image.tobytes() for image in pictures(8, seed=0)}
    assert data.test_labels.tolist().count(1) == 4
    assert "tensorflow" not in sys.modules


def test_cifar10_of_tfds_goes_before_the_archive(tmp_path):
    (tmp_path / "cifar10_jpeg_q75.npz").write_bytes(b"not to be read")
    prepare(tmp_path, "cifar10", version="3.0.2")
    assert load_dataset("cifar10", str(tmp_path)).note == ""


def test_tfds_sets_that_cannot_be_used(tmp_path):
    prepare(tmp_path, "ragged", sizes=(6, 7))
    refuses("only one size can be used", "tfds:ragged", str(tmp_path))
    info = prepare(tmp_path, "cifar100", version="3.0.2") / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    refuses("TFDS cannot give cifar100 as array_record", "cifar100", str(tmp_path))
    prepare(tmp_path, "lone", splits=("train",))
    refuses("has the splits train; wanted train and test", "lone", str(tmp_path))


def test_no_network_for_a_download_is_told_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds_source, "is_reachable", lambda url: False)
    began = time.monotonic()
    refuses(r"cannot be reached.*nor is there .*q75", "cifar10", str(tmp_path))
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("fashon_mnist", "did you mean 'fashion_mnist'"),
        ("tfds:mnits", "did you mean 'mnist'"),
        ("folder", "did you mean 'folder:PATH'"),
        ("", "known: digits, "),
        ("tfds:", "known: digits, "),
        ("npz:", "did you mean 'npz:PATH'"),
    ],
)
def test_unknown_names(name, told):
    refuses(told, name)


def test_a_source_of_ones_own(monkeypatch, tmp_path):
    own = from_arrays(pictures(4), np.arange(4), pictures(4), np.arange(4))
    monkeypatch.setitem(SOURCES, "own", lambda place: own if place else None)
    assert load_dataset("own", str(tmp_path)) is own


@pytest.mark.parametrize(
    ("images", "labels", "told"),
    [
        (pictures(4) / 255, [0, 1, 0, 1], "must be uint8"),
        (pictures(4), [0, 1, 0], "3 for 4 images"),
        (pictures(4), [0, 1, 0, -1], "out of range: -1"),
        (pictures(4)[0, 0], [0, 1], "must be \\[n, height"),
        (pictures(0), [], "empty"),
        (pictures(4), [0.0, 1.0, 0.0, 1.0], "must be integers"),
    ],
)
def test_bad_arrays(images, labels, told):
    with pytest.raises(InputError, match=told):
        from_arrays(images, np.array(labels), pictures(4), np.array([0, 1, 0, 1]))


def test_normalize_is_the_definition():
    data = from_arrays(pictures(50), np.arange(50) % 2, pictures(4), np.arange(4) % 2)
    flat = data.train_images.reshape(-1, 3) / 255
    np.testing.assert_allclose(data.mean, flat.mean(0), rtol=1e-6)
    np.testing.assert_allclose(data.std, flat.std(0), rtol=1e-5)
    got = normalize(jnp.asarray(data.train_images), data.mean, data.std)
    want = (data.train_images / 255 - flat.mean(0)) / flat.std(0)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    flat = np.full((4, 6, 6, 1), 7, np.uint8)
    constant = from_arrays(flat, np.arange(4), flat, np.arange(4))
    assert constant.std.tolist() == [1]  # one can divide by it


def test_every_augmented_image_is_a_crop_perhaps_mirrored():
    images, pad = pictures(40, 5), 2
    mean = np.zeros(3, np.float32)
    std = np.ones(3, np.float32) / 255
    got = np.asarray(
        augment(
            jax.random.key(1), jnp.asarray(images), Augmentation(pad, True), mean, std
        )
    )
    offsets, mirrors = set(), set()
    for image, result in zip(images, got.round().astype(int), strict=True):
        padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
        found = [
            (i, j, flip)
            for i in range(2 * pad + 1)
            for j in range(2 * pad + 1)
            for flip in (False, True)
            if np.array_equal(
                padded[i : i + 5, j : j + 5][:, :: -1 if flip else 1], result
            )
        ]
        assert len(found) == 1
        offsets.add(found[0][:2])
        mirrors.add(found[0][2])
    assert len(offsets) > 12
    assert mirrors == {False, True}


def test_augmentation_is_its_numpy_reference():
    images, key = pictures(16, 7), jax.random.key(5)
    mean = np.float32([0.4, 0.5, 0.6])
    std = np.float32([0.2, 0.3, 0.1])
    crop_key, flip_key, cutout_key = jax.random.split(key, 3)
    offsets = np.asarray(jax.random.randint(crop_key, (16, 2), 0, 5))
    flips = np.asarray(jax.random.bernoulli(flip_key, shape=(16, 1, 1, 1))).ravel()
    centres = np.asarray(jax.random.randint(cutout_key, (16, 2), 0, 7))
    want = np.zeros(images.shape)
    for out, image, (i, j), flip, (y, x) in zip(
        want, images, offsets, flips, centres, strict=True
    ):
        crop = np.pad(image, ((2, 2), (2, 2), (0, 0)))[i : i + 7, j : j + 7]
        out[:] = ((crop[:, ::-1] if flip else crop) / 255 - mean) / std
        out[max(y - 2, 0) : y + 2, max(x - 2, 0) : x + 2] = 0
    step = jax.jit(lambda *given: augment(*given, Augmentation(2, True, 4), mean, std))
    got = step(key, jnp.asarray(images))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(step(key, jnp.asarray(images)), got)
    plain = augment(key, jnp.asarray(images), Augmentation(), mean, std)
    np.testing.assert_array_equal(plain, normalize(jnp.asarray(images), mean, std))
    with pytest.raises(InputError, match="pad=-1 must be 0"):
        Augmentation(pad=-1)


def test_an_epochs_batches_are_a_partition_and_epochs_differ():
    key = jax.random.key(3)
    orders = [np.asarray(shuffle(key, epoch, 20)) for epoch in (0, 1, 0)]
    assert sorted(orders[0]) == list(range(20))
    np.testing.assert_array_equal(orders[0], orders[2])
    assert not np.array_equal(orders[0], orders[1])
    take = jax.jit(lambda order, step: batch_indices(order, step, 6))
    batches = [take(jnp.asarray(orders[0]), i) for i in range(3)]
    assert len(np.unique(np.concatenate(batches))) == 18
    assert batches[0].dtype == jnp.int32
    with pytest.raises(InputError, match="batch size 21 is more than the 20 images"):
        batch_indices(jnp.asarray(orders[0]), 0, 21)


def test_halves_are_the_published_ones():
    train, valid = split_train(50_000, 0.5)
    assert (train[0], train[-1], valid[0], valid[-1]) == (0, 24_999, 25_000, 49_999)
    with pytest.raises(InputError, match="both parts must hold some"):
        split_train(1, 0.5)


def test_the_beginning_of_a_set_is_its_first_images(tmp_path):
    whole = load_dataset("digits")
    config = default_config()
    config.data.images = 7
    few = load_data(config)
    assert (few.train_images.shape[0], few.test_images.shape[0]) == (7, 7)
    np.testing.assert_array_equal(few.train_images, whole.train_images[:7])
    np.testing.assert_array_equal(few.test_labels, whole.test_labels[:7])
    assert few.classes == whole.classes
    config.data.images = 10**6
    assert len(load_data(config).train_images) == len(whole.train_images)


def test_a_search_may_validate_on_half_of_the_test_images():
    whole, config = load_dataset("digits"), default_config()
    dataset, train, valid = split_search_data(config, whole)
    assert dataset is whole
    np.testing.assert_array_equal([*train, *valid], np.arange(len(whole.train_labels)))
    config.search.validation = "test"
    dataset, train, valid = split_search_data(config, whole)
    np.testing.assert_array_equal(dataset.train_images[train], whole.train_images)
    half = len(whole.test_labels) // 2
    np.testing.assert_array_equal(dataset.train_images[valid], whole.test_images[:half])
    np.testing.assert_array_equal(dataset.train_labels[valid], whole.test_labels[:half])
