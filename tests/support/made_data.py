"""Data made by tests in the formats that real data have."""

import gzip
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image


def pictures(n, size=6, channels=3, seed=0):
    shape = (n, size, size, channels)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    return gzip.compress(header + array.tobytes())


def write_fashion(folder, n=20):
    """Writes a Fashion-MNIST of a few images; its arrays by the names of its files."""
    arrays = {
        "train-images-idx3-ubyte.gz": pictures(n, 28, 1)[..., 0],
        "train-labels-idx1-ubyte.gz": (np.arange(n) % 10).astype(np.uint8),
        "t10k-images-idx3-ubyte.gz": pictures(n, 28, 1, seed=1)[..., 0],
        "t10k-labels-idx1-ubyte.gz": (np.arange(n) % 10).astype(np.uint8),
    }
    for name, array in arrays.items():
        (folder / name).write_bytes(idx(array))
    return arrays


def prepare(
    folder,
    name,
    sizes=(6,),
    splits=("train", "test"),
    version="1.0.0",
    unlabelled=(),
    count=8,
):
    """Writes a TFDS set as array_record; TFDS has no code for it afterwards."""
    import tensorflow_datasets as tfds

    class Prepared(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version(version)

        def _info(self):
            image = tfds.features.Image(shape=(None, None, 3))
            label = tfds.features.ClassLabel(names=["round", "square"])
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict({"image": image, "label": label}),
                supervised_keys=("image", "label"),
            )

        def _split_generators(self, manager):
            return {
                split: self._examples(seed, split in unlabelled)
                for seed, split in enumerate(splits)
            }

        def _generate_examples(self):
            raise NotImplementedError

        def _examples(self, seed, unlabelled):
            for i in range(count):
                # Encoding an array would need TensorFlow; a file does not.
                file = io.BytesIO()
                size = sizes[i % len(sizes)]
                Image.fromarray(pictures(count, size, seed=seed)[i]).save(file, "PNG")
                file.seek(0)
                yield i, {"image": file, "label": -1 if unlabelled else i % 2}

    Prepared.name = name
    builder = Prepared(data_dir=folder, file_format="array_record")
    builder.download_and_prepare(file_format="array_record")
    return Path(builder.data_path)


def make_coco(folder, count=24, size=24):
    """Writes images with a box each in COCO's JSON, to train and to test on."""
    for part in ("train", "test"):
        (folder / part).mkdir(parents=True)
        for i, picture in enumerate(pictures(count, size)):
            Image.fromarray(picture).save(folder / part / f"{i}.png")
        content = {
            "images": [{"id": i, "file_name": f"{i}.png"} for i in range(count)],
            "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "dog"}],
            "annotations": [
                {"image_id": i, "category_id": 1 + i % 2, "bbox": [i % 8, 2, 12, 9]}
                for i in range(count)
            ],
        }
        (folder / f"{part}.json").write_text(json.dumps(content))


def smooth_picture(height, width, seed=0):
    """Returns a picture of large waves, which JPEG and scaling change little."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[:height, :width] / max(height, width)
    waves = [
        np.sin(2 * np.pi * (a * down + b * across + phase))
        for a, b, phase in rng.uniform(0.5, 2, (3, 3))
    ]
    levels = np.round(127.5 + 100 * np.stack(waves, -1)).astype(np.uint8)
    return Image.fromarray(levels)


def write_pictures(folder, classes=3, train=8, test=4, least=40):
    """Writes JPEG files of various sizes and shapes, a folder for each class.

    A class has a colour of its own, so that it can be learned.
    """
    rng = np.random.default_rng(0)
    for half, count in (("train", train), ("val", test)):
        for label in range(classes):
            place = folder / half / f"class_{label}"
            place.mkdir(parents=True)
            for i in range(count):
                height, width = rng.integers(least, 3 * least, 2)
                picture = np.asarray(smooth_picture(height, width, seed=i), float) / 2
                colour = 127 * np.array([(label >> bit) & 1 for bit in range(3)])
                levels = (picture + colour).astype(np.uint8)
                Image.fromarray(levels).save(place / f"{i}.jpg", quality=90)
