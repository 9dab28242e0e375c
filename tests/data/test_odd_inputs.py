"""Hundreds of odd sets of images: each is read right, or refused in one line."""

import functools
import io
import tempfile
import warnings
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from darts_jax.data import from_arrays, from_sources, load_dataset
from darts_jax.data.reading import Reading, format_size
from darts_jax.errors import DataWarning, InputError

FORMATS = {
    "L": (".png", ".jpg", ".tif", ".bmp", ".pgm"),
    "RGB": (".png", ".jpg", ".TIFF", ".gif", ".ppm", ".webp", ".txt"),
    "RGBA": (".png", ".tif", ".webp"),
    "LA": (".png",),
    "1": (".png", ".tif", ".pbm"),
    "P": (".png", ".gif"),
    "CMYK": (".jpg", ".tif"),
    "I;16": (".png", ".tif"),
    "F": (".tif",),
}
DAMAGES = ("none",) * 6 + ("cut", "flipped", "empty", "text", "link")

AXES = ("nhwc", "nhwc", "nhw", "nchw", "nk", "ragged", "n", "")
LAYOUTS = ("flat", "flat", "train test", "train val", "Train Testing")

everywhere = functools.partial(
    settings,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@functools.cache
def stored(mode, suffix, shape, damage, orientation):
    """The bytes of a file."""
    rng = np.random.default_rng(len(mode) + shape[0])
    height, width = shape
    if mode == "I;16":
        picture = Image.fromarray(rng.integers(0, 5000, shape).astype(np.uint16))
    elif mode == "F":
        picture = Image.fromarray(rng.normal(size=shape).astype(np.float32))
    else:
        noise = rng.integers(0, 256, (height, width, 4)).astype(np.uint8)
        picture = Image.fromarray(noise).convert(mode)
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    kind = {".jpg": "JPEG", ".tif": "TIFF", ".txt": "PNG"}.get(suffix.lower()[:4])
    kind = kind or {".p": "PPM"}.get(suffix[:2] if suffix != ".png" else "")
    given = {"exif": exif} if kind in ("JPEG", "TIFF") else {}
    picture.save(file, kind or suffix[1:].upper(), **given)
    whole = bytearray(file.getvalue())
    if damage == "cut":
        return bytes(whole[: len(whole) // 2])
    if damage == "flipped":
        for i in rng.integers(0, len(whole), 4):
            whole[i] ^= 0xFF
    return {"empty": b"", "text": b"no image"}.get(damage, bytes(whole))


sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))
modes = st.sampled_from(["L", "L", "RGB", "RGB", *FORMATS])


@st.composite
def files(draw):
    mode = draw(modes)
    return (
        mode,
        draw(st.sampled_from(FORMATS[mode])),
        draw(st.sampled_from([(6, 6), (6, 6), (6, 6), (7, 4), (1, 9)])),
        draw(st.sampled_from(DAMAGES)),
        draw(st.sampled_from([1, 1, 1, 3, 6, 99])),
    )


@st.composite
def classes(draw):
    """Lists of files, by class: all of one kind but for a few, or of any."""
    if draw(st.integers(0, 7)) == 0:
        return draw(st.lists(st.lists(files(), max_size=4), max_size=4))
    mode, suffix, shape, _, orientation = draw(files())
    counts = draw(st.lists(st.sampled_from([5, 2, 3, 6, 1, 0]), min_size=1, max_size=3))
    same = (mode, suffix, shape, "none", orientation)
    of_classes = [[same] * count for count in (draw(st.sampled_from([3, 5])), *counts)]
    for _ in range(draw(st.sampled_from([0, 0, 1, 3]))):
        of_classes[0][draw(st.integers(0, 2))] = draw(files())
    return of_classes


readings = st.builds(
    Reading,
    size=st.one_of(st.none(), sizes),
    fit=st.sampled_from(["crop", "squeeze"]),
    channels=st.sampled_from([0, 0, 1, 3]),
    bits=st.sampled_from([8, 12, 16]),
    background=st.sampled_from([0, 255]),
    skip_unreadable=st.booleans(),
)


def write(folder, of_classes, inner):
    folder.mkdir(parents=True, exist_ok=True)
    for name, own in zip("abcd", of_classes, strict=False):
        for i, (mode, suffix, shape, damage, orientation) in enumerate(own):
            place = folder / name / (inner if i % 2 else "")
            place.mkdir(parents=True, exist_ok=True)
            path = place / f"{i}{suffix}"
            if damage == "link":
                path.symlink_to("nowhere")
            else:
                path.write_bytes(stored(mode, suffix, shape, damage, orientation))
        (folder / name).mkdir(exist_ok=True)


def outcome(load):
    """A data set that is right, or None where it is refused in one line."""
    line = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", DataWarning)
            data = load()
            check(data)
    except InputError as error:
        data, line = None, str(error)
    assert (data is None) == bool(line)
    assert "\n" not in line
    return data


def check(data):
    height, width, channels = data.image_shape
    assert min(height, width, channels) >= 1
    assert data.classes >= 2
    if hasattr(data, "train"):
        parts = [
            [source[i] for i in range(len(source))]
            for source in (data.train, data.test)
        ]
        labels = [[label for _, label in part] for part in parts]
        images = [np.stack([image for image, _ in part]) for part in parts]
    else:
        labels = [data.train_labels.tolist(), data.test_labels.tolist()]
        images = [data.train_images, data.test_images]
        assert data.mean.shape == (channels,)
    for some, of_them in zip(images, labels, strict=True):
        assert some.dtype == np.uint8
        assert some.shape == (len(of_them), height, width, channels)
        assert set(of_them) <= set(range(data.classes))


def is_sound(of_classes, reading, streamed):
    """Returns whether nothing is wrong with a folder: it must be read then."""
    every = [file for own in of_classes for file in own]
    readable = all(damage == "none" for *_, damage, _ in every)
    shallow = all(mode not in ("F", "I;16") for mode, *_ in every)
    sized = streamed or reading.size or len({file[2:] for file in every}) == 1
    learned = len(of_classes) > 1 and min(map(len, of_classes)) > 1
    return bool(readable and shallow and sized and learned)


def count(data):
    test = data.test if hasattr(data, "train") else data.test_labels
    return data.train_size + len(test)


ended = {"read": 0, "refused": 0}


def tally(data):
    ended["refused" if data is None else "read"] += 1


@everywhere(max_examples=140)
@given(
    of_classes=classes(),
    layout=st.sampled_from(
        ["flat", "flat", "train test", "train val", "Train Testing"]
    ),
    inner=st.sampled_from(["", "", "more", "x/y"]),
    reading=readings,
    streamed=st.booleans(),
)
def folders(of_classes, layout, inner, reading, streamed):
    with tempfile.TemporaryDirectory() as place:
        halves = [""] if layout == "flat" else layout.split()
        for half in halves:
            write(Path(place) / half, of_classes, inner)
        name = f"folder:{place}"
        if streamed:
            size = reading.size or (5, 8)
            name = f"stream:{name}@{format_size(size)}"
        data = outcome(lambda: load_dataset(name, reading=reading))
        tally(data)
        listed = [[file for file in own if file[1] != ".txt"] for own in of_classes]
        deep = len(halves) * sum(
            file[0] in ("F", "I;16") for own in listed for file in own
        )
        if data is None:
            assert not is_sound(listed, reading, streamed)
            return
        # No image is lost in silence, and without the switch none at all.
        whole = len(halves) * sum(len(own) for own in listed)
        broken = len(halves) * sum(file[3] != "none" for own in listed for file in own)
        least = whole if not reading.skip_unreadable else whole - broken - deep
        assert least <= count(data) <= whole
        if reading.size or streamed:
            assert data.image_shape[:2] == (reading.size or (5, 8))
        if reading.channels:
            assert data.image_shape[2] == reading.channels


def test_folders_and_streams_of_them():
    ended.update(read=0, refused=0)
    folders()
    # A generator whose sets are all refused, or none, would show little.
    assert min(ended.values()) >= 20


numbers = st.sampled_from(
    ["uint8", "uint8", "uint8", "uint16", "int64", "float32", "?"]
)
kinds = st.sampled_from(
    ["plain"] * 5
    + ["column"]
    + ["one hot", "soft", "several", "float", "text", "gap", "one", "huge"]
    + ["negative", "short", "ragged", "none"]
)


def labels_of(kind, n):
    plain = np.arange(n) % 3
    return {
        "plain": plain,
        "column": plain[:, None],
        "one hot": np.eye(3)[plain],
        "soft": np.full((n, 3), 1 / 3),
        "several": np.ones((n, 3), int),
        "float": plain * 1.0,
        "text": plain.astype(str),
        "gap": plain + 1,
        "one": plain * 0,
        "huge": plain * 2**61,
        "negative": plain - 1,
        "short": plain[1:],
        "ragged": [[0], [1, 2]],
        "none": None,
    }[kind]


@st.composite
def arrays(draw):
    """Images, labels, and whether nothing is wrong with them."""
    height, width = draw(sizes)
    if draw(st.integers(0, 3)):
        shape = (6, height, width, draw(st.sampled_from([1, 3])))
        images = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
        return images, labels_of(draw(st.sampled_from(["plain", "column"])), 6), True
    dtype = draw(numbers)
    n = draw(st.sampled_from([6, 6, 6, 3, 1, 0]))
    axes = draw(st.sampled_from(AXES))
    channels = draw(st.sampled_from([1, 3, 5]))
    shape = {
        "nhwc": (n, height, width, channels),
        "nhw": (n, height, width),
        "nchw": (n, channels, height, width),
        "nk": (n, height * width * channels),
        "n": (n,),
    }.get(axes, ())
    rng = np.random.default_rng(n)
    top = draw(st.sampled_from([1, 255, 4095]))
    images = (top * rng.random(shape)).astype(dtype)
    if axes == "ragged":
        images = [np.zeros((2, 2)), np.zeros((3, 3))]
    return images, labels_of(draw(kinds), n), False


NPZ_NAMES = ("train_images", "x_train", "val_images", "arrays", "arrays", "odd")


@everywhere(max_examples=90)
@given(
    train=arrays(),
    test=st.one_of(st.none(), st.none(), st.none(), arrays()),
    names=st.sampled_from(NPZ_NAMES),
    reading=readings,
)
def given_arrays(train, test, names, reading):
    *train, well = train
    *test, also = test or (*train, well)
    sound = well and also and train[0].shape[1:] == test[0].shape[1:]
    if names == "arrays":
        data = outcome(lambda: from_arrays(*train, *test))
        tally(data)
        assert data is not None or not sound
        return
    keys = {
        "train_images": ["train_images", "train_labels", "test_images", "test_labels"],
        "x_train": ["x_train", "y_train", "x_test", "y_test"],
        "val_images": ["train_images", "train_labels", "val_images", "val_labels"],
        "odd": ["a", "b", "c", "d"],
    }[names]
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "own.npz"
        saved = dict(zip(keys, map(as_saved, (*train, *test)), strict=True))
        np.savez(path, **saved)
        data = outcome(lambda: load_dataset(f"npz:{path}", reading=reading))
        tally(data)
        assert data is None or names != "odd"
        assert data is not None or not sound or names == "odd"
        if data is not None:
            assert count(data) == len(train[1]) + len(test[1])
            if reading.size:
                assert data.image_shape[:2] == reading.size


def as_saved(values):
    try:
        return np.asarray(values)
    except ValueError:
        return np.array([None, values], object)


def test_arrays_and_files_of_them():
    ended.update(read=0, refused=0)
    given_arrays()
    assert min(ended.values()) >= 20


@everywhere(max_examples=60)
@given(
    items=st.lists(st.tuples(files(), st.integers(-1, 3)), max_size=4),
    shape=st.tuples(sizes, st.sampled_from([1, 3, 3, 2])),
    reading=readings,
)
def sources(items, shape, reading):
    (height, width), channels = shape
    source = [(stored(*file), label) for file, label in items]
    outcome(
        lambda: from_sources(
            source,
            source,
            class_names=["a", "b"],
            image_shape=(height, width, channels),
            mean=[0.5] * channels,
            std=[1.0] * channels,
            reading=reading,
        )
    )


def test_sources_of_ones_own():
    sources()
