"""Every source with data made here in its real format, and every way it can be bad."""

import gzip
import io
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from darts_jax.data import (
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

RNG = np.random.default_rng(0)


def pictures(n, size=6, channels=3, seed=0):
    shape = (n, size, size, channels)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    return gzip.compress(header + array.tobytes())


def write_fashion(folder, n=20):
    arrays = {
        "train-images-idx3-ubyte.gz": pictures(n, 28, 1)[..., 0],
        "train-labels-idx1-ubyte.gz": (np.arange(n) % 10).astype(np.uint8),
        "t10k-images-idx3-ubyte.gz": pictures(n, 28, 1, seed=1)[..., 0],
        "t10k-labels-idx1-ubyte.gz": (np.arange(n) % 10).astype(np.uint8),
    }
    for name, array in arrays.items():
        (folder / name).write_bytes(idx(array))
    return arrays


def test_digits_are_split_by_class_and_keep_their_values():
    data = load_dataset("digits")
    assert len(data.train_images) + len(data.test_images) == 1797
    assert len(data.test_images) == 360
    assert data.image_shape == (8, 8, 1)
    assert data.train_images.max() == 255
    counts = np.bincount(data.test_labels)
    assert counts.min() >= 34
    assert counts.max() <= 38


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
    with pytest.raises(InputError, match="truncated or damaged"):
        load_dataset("fashion_mnist", str(tmp_path))
    (tmp_path / name).write_bytes(b"not gzip")
    with pytest.raises(InputError, match="cannot read"):
        load_dataset("fashion_mnist", str(tmp_path))


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
    with pytest.raises(InputError, match=r"\(9, 9\)"):
        load_dataset(f"folder:{tmp_path}")


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
    with pytest.raises(InputError, match="lacks test_labels"):
        load_dataset(f"npz:{path}")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A TFDS set, written as array_record by a builder of its own."""
    tfds = pytest.importorskip("tensorflow_datasets")

    class TinyShapes(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            image = tfds.features.Image(shape=(6, 6, 3))
            label = tfds.features.ClassLabel(names=["round", "square"])
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict({"image": image, "label": label}),
                supervised_keys=("image", "label"),
            )

        def _split_generators(self, manager):
            return {"train": self._examples(8, 0), "test": self._examples(4, 1)}

        def _generate_examples(self):
            raise NotImplementedError

        def _examples(self, n, seed):
            for i, image in enumerate(pictures(n, seed=seed)):
                # Encoding an array would need TensorFlow; a file does not.
                file = io.BytesIO()
                Image.fromarray(image).save(file, "PNG")
                file.seek(0)
                yield i, {"image": file, "label": i % 2}

    folder = tmp_path_factory.mktemp("tfds")
    builder = TinyShapes(data_dir=folder, file_format="array_record")
    builder.download_and_prepare(file_format="array_record")
    return folder


def test_a_tfds_set_by_name_without_tensorflow(prepared):
    data = load_dataset("tiny_shapes", str(prepared))
    assert data.class_names == ("round", "square")
    stored = {image.tobytes() for image in data.train_images}
    assert stored == {image.tobytes() for image in pictures(8, seed=0)}
    assert data.test_labels.tolist().count(1) == 2


def test_no_network_for_a_download_is_told_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds_source, "answers", lambda url: False)
    began = time.monotonic()
    with pytest.raises(InputError, match="cannot be reached"):
        load_dataset("cifar10", str(tmp_path))
    assert time.monotonic() - began < 10


def test_unknown_names():
    with pytest.raises(InputError, match="did you mean 'fashion_mnist'"):
        load_dataset("fashon_mnist")


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


def test_every_augmented_image_is_a_crop_perhaps_mirrored():
    images, pad = pictures(40, 5), 2
    mean, std = np.zeros(3, np.float32), np.ones(3, np.float32) / 255
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


def test_cutout_clears_a_clipped_square():
    images = jnp.full((64, 8, 8, 1), 200, jnp.uint8)
    mean, std = np.zeros(1, np.float32), np.ones(1, np.float32)
    out = augment(jax.random.key(0), images, Augmentation(cutout=4), mean, std)
    holes = np.asarray(out[..., 0]) == 0
    sides = {(h.any(1).sum(), h.any(0).sum()) for h in holes}
    for hole in holes:
        rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
        assert hole.sum() == len(rows) * len(columns)
        assert np.ptp(rows) + 1 == len(rows)
        assert len(rows) == 4 or rows[0] == 0 or rows[-1] == 7
    assert (4, 4) in sides
    assert len(sides) > 1


def test_an_epochs_batches_are_a_partition_and_epochs_differ():
    key = jax.random.key(3)
    orders = [np.asarray(shuffle(key, epoch, 20)) for epoch in (0, 1, 0)]
    assert sorted(orders[0]) == list(range(20))
    np.testing.assert_array_equal(orders[0], orders[2])
    assert not np.array_equal(orders[0], orders[1])
    batches = [batch_indices(jnp.asarray(orders[0]), i, 6) for i in range(3)]
    assert len(np.unique(np.concatenate(batches))) == 18


def test_halves_are_the_published_ones():
    train, valid = split_train(50_000, 0.5)
    assert (train[0], train[-1], valid[0], valid[-1]) == (0, 24_999, 25_000, 49_999)
    with pytest.raises(InputError, match="both parts must hold some"):
        split_train(1, 0.5)
