"""Folders, files and arrays as people have them: read as meant, or told in one line."""

import io
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from darts_jax import load_config
from darts_jax.cli.main import main
from darts_jax.data import SOURCES, from_arrays, from_sources, load_dataset
from darts_jax.data.reading import PLAIN, Reading, fit, parse_size
from darts_jax.errors import DataWarning, InputError
from darts_jax.tasks.registry import load_data
from tests.support.made_data import pictures, prepare


def told(name, reading=PLAIN):
    """Returns the message with which a data set is refused."""
    with pytest.raises(InputError) as caught:
        load_dataset(name, reading=reading)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write(folder, images, start=0, suffix=".png", **settings):
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images, start):
        Image.fromarray(np.squeeze(image)).save(folder / f"{i}{suffix}", **settings)


def pets(folder, count=10, **settings):
    """Two classes, not split."""
    for name in ("cat", "dog"):
        write(folder / name, pictures(count, **settings))
    return f"folder:{folder}"


def deep_png(path, numbers):
    """Writes RGB of 16 bits a channel, which Pillow does not."""

    def chunk(kind, content):
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    height, width, _ = numbers.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in numbers)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


# --- Folders -----------------------------------------------------------------------


def test_sub_folders_of_a_class_and_all_endings_are_read(tmp_path):
    images = pictures(12)
    write(tmp_path / "cat", images[:4])
    write(tmp_path / "cat" / "2019" / "may", images[4:6], suffix=".tif")
    write(tmp_path / "cat" / "2020", images[6:8], suffix=".TIFF")
    write(tmp_path / "dog", images[8:])
    (tmp_path / "dog" / "more").mkdir()
    (tmp_path / "dog" / "more" / "a.jfif").write_bytes(
        (tmp_path / "dog" / "0.png").read_bytes()
    )
    data = load_dataset(f"folder:{tmp_path}")
    assert (len(data.train_images), len(data.test_images)) == (10, 3)
    stored = {i.tobytes() for i in (*data.train_images, *data.test_images)}
    assert stored == {image.tobytes() for image in images}
    assert data.note == ""


def test_a_folder_that_leads_back_to_itself_is_read_once(tmp_path):
    pets(tmp_path)
    (tmp_path / "cat" / "again").symlink_to(tmp_path / "cat")
    (tmp_path / "dog" / "loop").symlink_to(tmp_path / "dog" / "loop")
    os.mkfifo(tmp_path / "dog" / "pipe.png")  # which a reader would wait for
    data = load_dataset(f"folder:{tmp_path}")
    assert len(data.train_images) + len(data.test_images) == 20


def test_what_is_left_out_of_a_folder_is_counted(tmp_path):
    name = pets(tmp_path)
    for file in ("cat/a.txt", "cat/b.TXT", "dog/c.csv", "dog/LICENCE", "labels.csv"):
        (tmp_path / file).write_text("no image")
    for junk in ("__MACOSX", ".git"):
        (tmp_path / junk).mkdir()
        (tmp_path / junk / "._0.png").write_text("no image")
    (tmp_path / "cat" / "._0.png").write_text("no image")
    (tmp_path / "cat" / "Thumbs.db").write_text("no image")
    with pytest.warns(DataWarning) as caught:
        data = load_dataset(name)
    (line,) = [str(warning.message) for warning in caught]
    assert line == f"{name}: {data.note}"
    assert data.class_names == ("cat", "dog")
    for counted in (
        "2 end in .txt",
        "1 end in .csv",
        "1 have no ending",
        "1 lie outside",
    ):
        assert counted in data.note


@pytest.mark.parametrize("streamed", [False, True])
def test_a_half_may_be_called_val(tmp_path, streamed):
    parts = ("Train", "val")
    for part, seed in zip(parts, (0, 1), strict=True):
        pets(tmp_path / part, count=3, seed=seed)
    name = f"stream:folder:{tmp_path}@6" if streamed else f"folder:{tmp_path}"
    with pytest.warns(DataWarning, match="tested on val/, as there is no test/"):
        data = load_dataset(name)
    images = [data.test[i][0] for i in range(6)] if streamed else data.test_images
    assert {i.tobytes() for i in images} == {i.tobytes() for i in pictures(3, seed=1)}
    pets(tmp_path / "test", count=4, seed=2)
    with pytest.warns(DataWarning, match="not used: val/"):
        data = load_dataset(name)
    assert len(data.test if streamed else data.test_labels) == 8
    assert data.train_size == 6


def test_train_alone_is_told_the_way_out(tmp_path):
    name = pets(tmp_path / "train")
    assert f"{name} is split by itself" in told(f"folder:{tmp_path}")
    assert load_dataset(name).train_size == 16


def test_a_folder_is_split_within_each_class(tmp_path):
    for name, count in (("a", 7), ("b", 5), ("c", 2), ("d", 1)):
        write(tmp_path / name, pictures(count))
    with pytest.warns(DataWarning, match="no test images of the classes d"):
        data = load_dataset(f"folder:{tmp_path}")
    assert np.bincount(data.train_labels).tolist() == [5, 4, 1, 1]
    assert np.bincount(data.test_labels, minlength=4).tolist() == [2, 1, 1, 0]


@pytest.mark.parametrize("prefix", ["folder:", "stream:folder:"])
def test_classes_that_nothing_is_learned_of_are_named(tmp_path, prefix):
    pets(tmp_path)
    (tmp_path / "cow").mkdir()
    (tmp_path / "emu").mkdir()
    (tmp_path / "emu" / "1.heic").write_text("")
    line = told(f"{prefix}{tmp_path}")
    assert "no training images of 2 of its classes: cow, emu" in line
    assert "1 end in .heic" in line
    whole = tmp_path / "whole"
    pets(whole / "inner")
    line = told(f"{prefix}{whole}")
    assert "one class, 'inner' with 16 training images" in line
    assert f"did you mean folder:{whole / 'inner'}?" in line


def test_a_name_that_is_no_utf8_is_read(tmp_path):
    pets(tmp_path)
    odd = tmp_path / "cat" / os.fsdecode(b"\xff.png")
    odd.write_bytes((tmp_path / "cat" / "0.png").read_bytes())
    assert load_dataset(f"folder:{tmp_path}").train_size == 16


# --- Damaged and huge files --------------------------------------------------------


def damaged_files(folder):
    """Files that Pillow answers with different types of exception."""
    folder.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()
    Image.fromarray(pictures(1)[0]).save(file, "PNG")
    whole = file.getvalue()
    at = whole.index(b"IDAT")
    files = {
        "broken_chunk.png": whole[: at + 4] + b"\0\0" + whole[at + 6 :],
        "chunk_name.png": whole[:at] + b"\1\2\3\4" + whole[at + 4 :],
        "cut.png": whole[: at + 8],
        "header.pgm": b"P5 x y 255\n",
        "huge.pgm": b"P5 99999999999 2 255\n" + bytes(9),
        "header.bmp": b"BM" + bytes(12) + struct.pack("<I", 99) + bytes(60),
        "empty.jpg": b"",
        "text.gif": b"GIF89a",
        "bomb.ppm": b"P6 20000 20000 255\n",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    return [*files, "gone.png"]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_damaged_or_huge_file_is_told_by_its_name(tmp_path):
    whole = pets(tmp_path / "whole", count=2)
    for name in damaged_files(tmp_path / "aside"):
        placed = (tmp_path / "aside" / name).rename(tmp_path / "whole" / "cat" / name)
        assert f"cannot read the image {placed}: " in told(whole)
        placed.unlink()


@pytest.mark.parametrize("name", ["folder:{}", "stream:folder:{}@6"])
def test_unreadable_files_are_left_out_and_listed_where_asked(tmp_path, name):
    pets(tmp_path)
    clean = load_dataset(name.format(tmp_path))
    names = damaged_files(tmp_path / "dog")
    skip = Reading(skip_unreadable=True)
    with pytest.warns(DataWarning, match=f"left out {len(names)} that cannot be read"):
        data = load_dataset(name.format(tmp_path), reading=skip)
    assert all(f"dog/{file}" in data.note for file in names)
    sizes = [
        size + len(set_.test if hasattr(set_, "test") else set_.test_labels)
        for set_ in (clean, data)
        for size in [set_.train_size]
    ]
    assert sizes == [20, 20]
    (tmp_path / "worst").mkdir()
    (tmp_path / "worst" / "one.png").write_text("no image")
    line = told(name.format(tmp_path), skip)
    assert "no training images of 1 of its classes: worst" in line
    assert "worst/one.png" in line


# --- Pixels ------------------------------------------------------------------------


def test_images_are_brought_to_one_size_in_memory_as_in_a_stream(tmp_path):
    for name in ("cat", "dog"):
        for i in range(6):
            write(tmp_path / name, [pictures(1, 31, seed=i)[0][: 9 + 2 * i]], i, ".jpg")
    line = told(f"folder:{tmp_path}")
    assert "data.size=" in line
    assert "stream:folder:PATH@SIDE" in line
    for text, how in (("10", "crop"), ("7x12", "crop"), ("7x12", "squeeze")):
        reading = Reading(size=parse_size(text), fit=how)
        data = load_dataset(f"folder:{tmp_path}", reading=reading)
        stream = load_dataset(f"stream:folder:{tmp_path}@{text}", reading=reading)
        assert data.image_shape == stream.image_shape == (*parse_size(text), 3)
        for i, image in enumerate(data.train_images):
            np.testing.assert_array_equal(stream.train[i][0], image)


def test_squeezing_keeps_what_cropping_cuts():
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, :20], wide[:, 40:] = [200, 0, 0], [0, 0, 200]
    cropped = fit(wide, (10, 10, 3), "", Reading(fit="crop"))
    squeezed = fit(wide, (10, 10, 3), "", Reading(fit="squeeze"))
    assert cropped[:, 1:-1].max() == 0
    assert squeezed[5, 1].tolist() == [200, 0, 0]
    assert squeezed[5, 8].tolist() == [0, 0, 200]


def test_arrays_and_named_sets_are_brought_to_a_size(tmp_path, monkeypatch):
    config = load_config(None, ["data.size=5x9", "data.channels=3", "data.images=4"])
    data = load_data(config)
    assert data.train_images.shape == (4, 5, 9, 3)
    digits = load_dataset("digits")
    want = fit(digits.train_images[3], (5, 9, 3), "")
    np.testing.assert_array_equal(data.train_images[3], want)
    many = pictures(6, 8, channels=5)
    own = from_arrays(many, np.arange(6), many, np.arange(6))
    monkeypatch.setitem(SOURCES, "own", lambda place: own)
    bands = load_dataset("own", reading=Reading(size=(4, 4))).train_images
    assert bands.shape == (6, 4, 4, 5)
    for band in range(5):
        want = fit(many[0, ..., band], (4, 4, 1), "")[..., 0]
        np.testing.assert_array_equal(bands[0, ..., band], want)
    assert "have 5 channels" in told("own", Reading(channels=3))
    prepare(tmp_path, "uneven", sizes=(6, 9, 12), count=6)
    loaded = load_dataset("tfds:uneven", str(tmp_path), Reading(size=(6, 6)))
    stream = load_dataset("stream:tfds:uneven@6", str(tmp_path))
    np.testing.assert_array_equal(loaded.train_images[2], stream.train[2][0])
    with pytest.raises(InputError, match=r"data\.size=\d+ brings all to it"):
        load_dataset("tfds:uneven", str(tmp_path))


def test_streams_may_be_gray_and_not_square(tmp_path):
    name = f"stream:{pets(tmp_path, size=20)}"
    gray = load_dataset(f"{name}@6x9", reading=Reading(channels=1))
    image, _ = gray.train[0]
    assert image.shape == gray.image_shape == (6, 9, 1)
    assert gray.mean == pytest.approx([0.4590], abs=1e-3)
    assert gray.std == pytest.approx([0.2256], abs=1e-3)
    assert load_dataset(name, reading=Reading(size=(5, 4))).image_shape == (5, 4, 3)
    line = told(f"{name}@6x9", Reading(size=(5, 4)))
    assert "names a size, and data.size is 5x4" in line


def test_a_stream_of_ones_own_keeps_its_size(monkeypatch):
    images = [(pictures(1)[0], 0)]
    own = from_sources(images, images, class_names=["a", "b"], image_shape=(6, 6, 3))
    monkeypatch.setitem(SOURCES, "own", lambda place: own)
    assert load_dataset("own", reading=Reading(size=(6, 6))) is own
    assert "cannot make (7, 7, 3)" in told("own", Reading(size=(7, 7)))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_images_stand_as_their_exif_data_say(tmp_path, suffix):
    steps = np.kron(np.arange(6).reshape(2, 3) * 40, np.ones((16, 16))).astype(np.uint8)
    turned = {
        1: steps,
        3: steps[::-1, ::-1],
        6: np.rot90(steps, -1),
        8: np.rot90(steps),
    }
    for orientation, want in turned.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"{orientation}{suffix}"
        Image.fromarray(steps).save(path, exif=exif)
        for shape in (want.shape, (want.shape[0] // 4, want.shape[1] // 4)):
            got = fit(path, (*shape, 1), "")[..., 0]
            small = fit(np.ascontiguousarray(want), (*shape, 1), "")[..., 0]
            assert np.abs(got.astype(int) - small).max() <= 6  # JPEG's loss


def test_what_is_transparent_shows_the_background(tmp_path):
    colour = np.zeros((6, 6, 4), np.uint8)
    colour[..., 0], colour[:, 3:, 3] = 90, 255
    half = np.zeros((6, 6, 2), np.uint8)
    half[..., 0], half[:, 3:, 1] = 90, 255
    for i, name in enumerate(("cat", "dog")):
        write(tmp_path / name, [colour] * 4, 10 * i)
    data = load_dataset(f"folder:{tmp_path}").train_images[0]
    assert data[0, 0].tolist() == [255, 255, 255]
    assert data[0, 5].tolist() == [90, 0, 0]
    dark = load_dataset(f"folder:{tmp_path}", reading=Reading(background=0))
    assert dark.train_images[0, 0, 0].tolist() == [0, 0, 0]
    for image, mode in ((half, "LA"), (colour[..., 0], "L")):
        path = tmp_path / f"{mode}.png"
        settings = {"transparency": 90} if mode == "L" else {}
        Image.fromarray(image).save(path, **settings)
        got = fit(path, (6, 6, 1), "", Reading(background=30))[0, :, 0].tolist()
        assert got == ([30] * 3 + [90] * 3 if mode == "LA" else [30] * 6)


def test_one_bit_and_gray_with_alpha_are_gray(tmp_path):
    gray = pictures(12, channels=1)[..., 0]
    for i, image in enumerate(gray):
        picture = Image.fromarray(image)
        if i % 3 == 0:
            picture = Image.fromarray(image > 127)
        elif i % 3 == 1:
            picture = Image.merge("LA", [picture, Image.new("L", picture.size, 255)])
        folder = tmp_path / "ab"[i % 2]
        folder.mkdir(exist_ok=True)
        picture.save(folder / f"{i}.png")
    data = load_dataset(f"folder:{tmp_path}")
    assert data.image_shape == (6, 6, 1)
    stored = {i.tobytes() for i in (*data.train_images, *data.test_images)}
    want = [255 * (g > 127) if i % 3 == 0 else g for i, g in enumerate(gray)]
    assert stored == {image.astype(np.uint8).tobytes() for image in want}
    coloured = load_dataset(f"folder:{tmp_path}", reading=Reading(channels=3))
    np.testing.assert_array_equal(coloured.train_images, data.train_images.repeat(3, 3))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_files_of_sixteen_bits_are_read_where_asked(tmp_path, suffix):
    numbers = np.random.default_rng(0).integers(0, 4096, (6, 6)).astype(np.uint16)
    path = tmp_path / f"deep{suffix}"
    Image.fromarray(numbers).save(path)
    for bits in (12, 14, 16):
        got = fit(path, (6, 6, 1), "", Reading(bits=bits))[..., 0]
        np.testing.assert_array_equal(got, numbers >> (bits - 8))
    with pytest.raises(InputError, match=r"data\.bits=16 takes the upper 8 of 16"):
        fit(path, (6, 6, 1), "")
    told = rf"numbers from {numbers.min()} to {numbers.max()}, not within the 0 to 2047"
    with pytest.raises(InputError, match=told):
        fit(path, (6, 6, 1), "", Reading(bits=11))


def test_colours_of_sixteen_bits_are_not_read_in_silence(tmp_path):
    numbers = np.random.default_rng(0).integers(0, 2**16, (6, 6, 3))
    path = tmp_path / "deep.png"
    deep_png(path, numbers)
    np.testing.assert_array_equal(
        fit(path, (6, 6, 3), "", Reading(bits=16)), numbers >> 8
    )
    for bits in (8, 12):
        with pytest.raises(InputError, match=r"deep\.png: 16 bits a channel.*bits=16"):
            fit(path, (6, 6, 3), "", Reading(bits=bits))


# --- Arrays ------------------------------------------------------------------------


def labelled(n, classes=2):
    return np.arange(n) % classes


@pytest.mark.parametrize("pattern", [("x_{}", "y_{}"), ("X_{}", "y_{}")])
def test_npz_by_the_names_of_keras(tmp_path, pattern):
    arrays = {}
    for part, count in (("train", 8), ("test", 4)):
        arrays[pattern[0].format(part)] = pictures(count)
        arrays[pattern[1].format(part)] = labelled(count).reshape(-1, 1)
    np.savez(tmp_path / "own.npz", **arrays)
    data = load_dataset(f"npz:{tmp_path / 'own.npz'}")
    np.testing.assert_array_equal(data.train_images, pictures(8))
    np.testing.assert_array_equal(data.test_labels, labelled(4))
    assert data.note == ""


def test_npz_by_the_names_of_medmnist(tmp_path):
    arrays, path = {}, tmp_path / "med.npz"
    for part, count in (("train", 8), ("val", 4), ("test", 6)):
        arrays[f"{part}_images"] = pictures(count, 9, 1)[..., 0]
        arrays[f"{part}_labels"] = labelled(count).reshape(-1, 1)
    np.savez(path, **arrays)
    with pytest.warns(DataWarning, match="not used: val_images, val_labels"):
        data = load_dataset(f"npz:{path}")
    assert (data.train_size, len(data.test_labels), data.image_shape) == (
        8,
        6,
        (9, 9, 1),
    )
    np.savez(path, **{k: a for k, a in arrays.items() if not k.startswith("test")})
    with pytest.warns(DataWarning, match="tested on val_images"):
        data = load_dataset(f"npz:{path}", reading=Reading(size=(5, 5)))
    assert (len(data.test_labels), data.image_shape) == (4, (5, 5, 1))
    del arrays["test_images"], arrays["val_labels"]
    np.savez(path, **arrays)
    assert "lacks test_images; it has train_images" in told(f"npz:{path}")


def test_files_that_are_no_npz(tmp_path):
    np.save(tmp_path / "one.npy", pictures(3))
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    assert "is one array, no file of several" in told(f"npz:{tmp_path / 'one.npz'}")
    objects = np.array([pictures(1)[0], pictures(1, 7)[0]], object)
    np.savez(tmp_path / "objects.npz", train_images=objects)
    assert "lacks train_labels" in told(f"npz:{tmp_path / 'objects.npz'}")
    assert "cannot read npz:" in told(f"npz:{tmp_path}")


def refusal(images, labels):
    with pytest.raises(InputError) as caught:
        from_arrays(images, labels, images, labels)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("dtype", "change"),
    [
        ("uint16", lambda x: x.astype(np.uint16)),
        ("int64", lambda x: x.astype(np.int64)),
        ("float32", lambda x: x.astype(np.float32)),
        ("float64", lambda x: x / 255),
        ("float64", lambda x: x / 127.5 - 1),
        ("uint16", lambda x: x.astype(np.uint16) * 257),
    ],
)
def test_the_hint_for_images_of_another_type_gives_the_pixels_back(dtype, change):
    stored = pictures(4)
    images = change(stored)
    line = refusal(images, labelled(4))
    assert f"are {dtype}, must be uint8" in line
    hint = line.rpartition(" by ")[2]
    again = eval(hint, {"images": images})
    np.testing.assert_array_equal(again, stored)
    from_arrays(again, labelled(4), again, labelled(4))


@pytest.mark.parametrize(
    ("images", "line"),
    [
        (pictures(4) * np.nan, "NaN or infinity"),
        (pictures(4) - 300.0, "as they were before normalization"),
        (pictures(4).astype(int) - 300, "bring them into 0..255"),
        (pictures(4) > 9, "images.astype('uint8') * 255"),
        (pictures(4).astype(str), "want the pixels as they are stored"),
        ([pictures(1)[0], pictures(1, 7)[0]], "shapes (6, 6, 3) and (7, 7, 3)"),
        (pictures(4, 28, 1).reshape(4, -1), "try images.reshape(-1, 28, 28)"),
        (pictures(4, 8).reshape(4, -1), "(-1, 3, 8, 8).transpose(0, 2, 3, 1)"),
        (pictures(4, 16).transpose(0, 3, 1, 2), "try images.transpose(0, 2, 3, 1)"),
        (pictures(4, 16, 1).transpose(0, 3, 1, 2), "try images.transpose(0, 2, 3, 1)"),
    ],
)
def test_the_hint_for_images_of_another_kind(images, line):
    assert line in refusal(images, labelled(len(images)))


@pytest.mark.parametrize(
    ("labels", "line"),
    [
        (np.eye(3)[labelled(6, 3)], "is labels.argmax(axis=1)"),
        (np.eye(3, dtype=int)[labelled(6, 3)], "is labels.argmax(axis=1)"),
        (np.ones((6, 4), int), "several at once cannot be learned"),
        (labelled(6) * 1.0, "convert by labels.astype(int)"),
        (labelled(6) == 1, "convert by labels.astype(int)"),
        (np.array(["a", "b"])[labelled(6)], "np.unique(labels, return_inverse=True)"),
        (labelled(6) + 0.5, "want the number of a class"),
        ([[0], [1, 2], [0], [1], [0], [1]], "want one number for each image"),
        (labelled(6, 3) + 1, "1 (2 images), 2 (2 images), 3 (2 images), and class 0"),
        (255 * labelled(6), "class 1 has no images; number them from 0"),
        (2**40 * labelled(6), "np.unique(labels, return_inverse=True)"),
        (2**63 * labelled(6).astype(np.uint64), "class 1 has no images"),
        (np.zeros(6, int), "all 6 training images are of one class, 0"),
        (np.zeros(6, int) - 1, "-1 is not in [0, 0)"),
    ],
)
def test_the_hint_for_labels(labels, line):
    assert line in refusal(pictures(6), labels)


def test_a_named_class_without_images_is_told():
    names = ["cat", "cow", "dog"]
    images, labels = pictures(4), 2 * labelled(4)
    with pytest.warns(DataWarning, match="no training images of 1 of 3 classes: cow"):
        data = from_arrays(images, labels, images, labels, class_names=names)
    assert data.classes == 3
    # A signal of nine channels is an image of one row.
    signal = pictures(4, 9, 1).reshape(4, 1, 9, 9)[:, :, :6]
    assert from_arrays(signal, labelled(4), signal, labelled(4)).image_shape == (
        1,
        6,
        9,
    )


# --- Settings ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("data.size=0", "side 0, must be 1 or more"),
        ("data.size=32x", "must be SIDE or HEIGHTxWIDTH, as 32 or 48x64"),
        ("data.size=99999", "each 1 to 8192"),
        ("data.fit=pad", "want one of crop, squeeze"),
        ("data.channels=2", "want 1, 3 or 0"),
        ("data.bits=17", "want 8 to 16"),
        ("data.background=256", "want 0 to 255"),
    ],
)
def test_settings_of_data(setting, line):
    with pytest.raises(InputError, match=line) as caught:
        load_config(None, [setting])
    assert "\n" not in str(caught.value)


def test_settings_that_detection_has_its_own_of():
    config = load_config("configs/detection.py", ["data.size=32"])
    with pytest.raises(InputError, match=r"data\.size is 32; detection wants"):
        load_data(config)


def test_the_command_line_tells_what_is_left_out_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    name = pets(tmp_path / "pets")
    (tmp_path / "pets" / "cat" / "a.txt").write_text("no image")
    overrides = [f"--config.data.name={name}", "--config.search.batch_size=99"]
    with pytest.warns(DataWarning) as caught:
        status = main(["search", "--run", str(tmp_path / "run"), *overrides])
    assert status == 2
    (found,) = (warning for warning in caught if warning.category is DataWarning)
    line = warnings.formatwarning(found.message, DataWarning, "x.py", 1)
    assert line == f"darts-jax: {name}: of the files left out 1 end in .txt\n"
    usual = warnings.formatwarning(UserWarning("other"), UserWarning, "x.py", 1)
    assert usual.startswith("x.py:1: UserWarning: other")
