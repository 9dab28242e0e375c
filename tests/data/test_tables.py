"""Tables and signals from arrays and CSV files, and their way to the network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import darts_jax
from darts_jax.data.embedded import CHIRPS
from darts_jax.data.identity import identify
from darts_jax.data.pipeline import Augmentation, augment_numbers, standardize
from darts_jax.data.reading import Reading
from darts_jax.data.remembered import make_blank_dataset, match_training_data
from darts_jax.data.sources import load_dataset
from darts_jax.errors import DataWarning, InputError

TRAIN = [
    ["1", "red", "5"],
    ["3", "blue", ""],
    ["5", "red", "9"],
    ["7", "", "10"],
]
TEST = [["2", "green", "6"], ["NA", "blue", "?"]]
TABLES = Reading(kind="tables")
SIGNALS = Reading(kind="signals")


def table(**changes):
    given = {"name": "t", "kind": "tables", "columns": ["size", "colour", "age"]}
    return darts_jax.from_arrays(TRAIN, [0, 1, 0, 1], TEST, [0, 1], **given | changes)


def test_numbers_and_words_become_columns_and_missing_numbers_the_mean():
    with pytest.warns(DataWarning, match="'green', which no training row has"):
        data = table()
    nan = np.nan
    assert data.columns == ("size", "colour=blue", "colour=red", "age", "age missing")
    rows = [[1, 0, 1, 5, 0], [3, 1, 0, nan, 1], [5, 0, 1, 9, 0], [7, 0, 0, 10, 0]]
    assert data.image_shape == (1, 1, 5)
    np.testing.assert_array_equal(data.train_images[:, 0, 0], np.float32(rows))
    want = [[2, 0, 0, 6, 0], [nan, 1, 0, nan, 1]]
    np.testing.assert_array_equal(data.test_images[:, 0, 0], np.float32(want))
    mean = np.nanmean(np.array(rows), axis=0)
    std = np.nanstd(np.array(rows), axis=0)
    np.testing.assert_allclose(data.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(data.std, std, rtol=1e-6)
    seen = standardize(jnp.asarray(data.train_images), data.mean, data.std)[:, 0, 0]
    wanted = np.nan_to_num((np.array(rows) - mean) / std)
    np.testing.assert_allclose(seen, wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["1"], ["x"], ["3"], ["4"]], "'x' is no number, as 3 others are"),
        ([["", "1"], ["", "1"], ["NA", "1"], ["?", "2"]], "column 1' has no value"),
        ([["1", "2"], ["1"], ["1", "2"], ["1", "2"]], "rows of unequal lengths"),
        ([["inf"], ["1"], ["1"], ["2"]], "is not finite"),
        ([1, 2, 3, 4], r"must be \[n, column\]"),
    ],
)
def test_cells_that_cannot_be_are_told_in_one_line(rows, message):
    with pytest.raises(InputError, match=message) as told:
        darts_jax.from_arrays(rows, [0, 1, 0, 1], rows, [0, 1, 0, 1], kind="tables")
    assert "\n" not in str(told.value)


def test_signals_have_one_length_and_no_gaps():
    signals = np.arange(24).reshape(4, 6)
    labels = [0, 1, 0, 1]
    data = darts_jax.from_arrays(signals, labels, signals, labels, kind="signals")
    assert data.image_shape == (1, 6, 1)
    assert data.train_images.dtype == np.float32
    gap = signals.astype(float)
    gap[2, 3] = np.nan
    with pytest.raises(InputError, match="signal 2 at step 3, channel 0"):
        darts_jax.from_arrays(gap, labels, signals, labels, kind="signals")
    with pytest.raises(InputError, match=r"\[n, length, channel\]"):
        darts_jax.from_arrays(signals[0], labels, signals, labels, kind="signals")
    with pytest.raises(InputError, match="unknown kind of data 'signal'"):
        darts_jax.from_arrays(signals, labels, signals, labels, kind="signal")


def test_signals_are_shifted_over_their_mean_and_noise_is_drawn_by_the_key():
    rng = np.random.default_rng(0)
    signals = jnp.asarray(rng.normal(3, 2, (64, 1, 10, 2)), jnp.float32)
    mean = jnp.full(2, 3.0)
    std = jnp.full(2, 2.0)
    key = jax.random.key(0)
    plain = np.asarray(standardize(signals, mean, std))
    np.testing.assert_allclose(plain, (np.asarray(signals) - 3) / 2, atol=1e-6)
    shifted = augment_numbers(key, signals, Augmentation(pad=2), mean, std)
    wide = np.pad(plain, ((0, 0), (0, 0), (2, 2), (0, 0)))
    seen = set()
    for own, got in zip(wide, np.asarray(shifted), strict=True):
        offsets = [i for i in range(5) if (own[:, i : i + 10] == got).all()]
        assert len(offsets) == 1
        seen.update(offsets)
    assert seen == {0, 1, 2, 3, 4}
    noisy = augment_numbers(key, signals, Augmentation(noise=0.5), mean, std)
    noise = np.asarray(noisy) - plain
    assert abs(noise.std() - 0.5) < 0.02
    again = augment_numbers(key, signals, Augmentation(noise=0.5), mean, std)
    np.testing.assert_array_equal(noisy, again)


def test_a_folder_and_a_file_of_csv_are_read(tmp_path):
    text = "size;class;colour\n" + "\n".join(
        f"{i};{'yes' if i % 2 else 'no'};{'red' if i % 3 else 'blue'}"
        for i in range(20)
    )
    (tmp_path / "train.csv").write_text(text, encoding="utf-8-sig")
    (tmp_path / "val.csv").write_text("size;class;colour\n3;no;red\n")
    data = load_dataset(f"csv:{tmp_path}", reading=TABLES)
    assert data.class_names == ("no", "yes")
    assert data.columns == ("size", "colour=blue", "colour=red")
    assert (data.train_size, len(data.test_labels)) == (20, 1)
    one = load_dataset(f"csv:{tmp_path / 'train.csv'}", reading=TABLES)
    assert (one.train_size, len(one.test_labels)) == (16, 4)
    assert sorted(np.bincount(one.test_labels)) == [2, 2]
    assert one.train_images[0, 0, 0, 0] != one.test_images[0, 0, 0, 0]


def test_signals_of_csv_are_rows_or_files(tmp_path):
    rows = "label,t0,t1,t2\n1,0.5,1,2\n0,3,4,5\n"
    for part in ("train", "test"):
        (tmp_path / f"{part}.csv").write_text(rows)
    data = load_dataset(f"csv:{tmp_path}", reading=SIGNALS)
    np.testing.assert_array_equal(
        data.train_images[:, 0, :, 0], [[0.5, 1, 2], [3, 4, 5]]
    )
    assert data.train_labels.tolist() == [1, 0]
    files = tmp_path / "files"
    for part in ("train", "test"):
        for name in ("calm", "storm"):
            (files / part / name).mkdir(parents=True)
            signal = "wind,rain\n1,2\n3,4\n5,6\n"
            (files / part / name / "a.csv").write_text(signal)
    data = load_dataset(f"csv:{files}", reading=SIGNALS)
    assert data.image_shape == (1, 3, 2)
    assert data.class_names == ("calm", "storm")
    np.testing.assert_array_equal(data.train_images[0, 0], [[1, 2], [3, 4], [5, 6]])
    (files / "test" / "calm" / "a.csv").write_text("wind,rain\n1,2\n3,4\n")
    with pytest.raises(InputError, match="want signals of one length"):
        load_dataset(f"csv:{files}", reading=SIGNALS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,class\n1,x\n2\n", "line 3 has 1 cells, and the first line 2 names"),
        ("a,b\n1,2\n", "no column label or class or target; want --config.data.label"),
        ("a,a,class\n1,2,x\n", "names two columns 'a'"),
        ("a,class\n", "has no rows"),
        (b"a,class\n\xff,x\n", "is not UTF-8 at byte 8"),
        ("a,class\n1,x\n2,\n", "a row has no class"),
    ],
)
def test_a_csv_file_that_cannot_be_is_told(tmp_path, text, message):
    data = text if isinstance(text, bytes) else text.encode()
    for part in ("train", "test"):
        (tmp_path / f"{part}.csv").write_bytes(data)
    with pytest.raises(InputError, match=message) as told:
        load_dataset(f"csv:{tmp_path}", reading=TABLES)
    assert "\n" not in str(told.value)


def test_a_name_that_the_space_has_no_use_for_is_told(tmp_path):
    with pytest.raises(InputError, match="the space takes images"):
        load_dataset(f"csv:{tmp_path}")
    with pytest.raises(InputError, match="want csv:"):
        load_dataset(f"folder:{tmp_path}", reading=TABLES)
    with pytest.raises(InputError, match=r"want train\.csv and test\.csv in it"):
        load_dataset(f"csv:{tmp_path}", reading=TABLES)
    with pytest.raises(InputError, match=r"data.size and data.channels are of images"):
        Reading(kind="signals", size=(4, 4))


def test_npz_holds_signals_and_tables(tmp_path):
    path = tmp_path / "own.npz"
    values = np.arange(24.0).reshape(4, 6)
    np.savez(path, x_train=values, y_train=[0, 1, 0, 1], x_test=values, y_test=[0] * 4)
    signals = load_dataset(f"npz:{path}", reading=SIGNALS)
    rows = load_dataset(f"npz:{path}", reading=TABLES)
    assert (signals.image_shape, rows.image_shape) == ((1, 6, 1), (1, 1, 6))
    assert rows.columns[0] == "column 1"


def test_a_run_knows_a_table_by_its_columns():
    with pytest.warns(DataWarning):
        data = table()
    known = identify(data)
    blank = make_blank_dataset(known)
    assert (blank.kind, blank.columns) == ("tables", data.columns)
    assert blank.train_images.dtype == np.float32
    with pytest.warns(DataWarning):
        other = table(columns=["size", "colour", "years"])
    assert known.differences(identify(other)) == ["a table of other columns"]
    with pytest.raises(InputError, match=r"without age.*with years"):
        match_training_data(other, known)
    with pytest.raises(InputError, match="trained on a table; these data are images"):
        match_training_data(load_dataset("digits").first(20), known)


def test_the_embedded_sets_are_what_they_say():
    chirps = load_dataset("chirps")
    assert chirps.image_shape == (1, 128, 1)
    assert chirps.class_names == CHIRPS
    assert "generated" in chirps.note
    np.testing.assert_array_equal(
        chirps.train_images, load_dataset("chirps").train_images
    )
    for name, shape, counts in (
        ("breast_cancer", (1, 1, 30), (455, 114)),
        ("wine", (1, 1, 13), (142, 36)),
        ("diabetes", (1, 1, 10), (353, 89)),
    ):
        data = load_dataset(name)
        assert data.kind == "tables"
        assert data.image_shape == shape
        assert (data.train_size, len(data.test_labels)) == counts
        assert len(data.columns) == shape[2]
