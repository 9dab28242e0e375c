"""Numbers to be predicted: read where they are asked for, and nowhere else."""

import numpy as np
import pytest

import darts_jax
from darts_jax.data.identity import identify, read_identity
from darts_jax.data.reading import Reading
from darts_jax.data.remembered import make_blank_dataset, match_training_data
from darts_jax.data.sources import load_dataset
from darts_jax.errors import InputError

NUMBERS = Reading(kind="tables", labels="numbers", label="price")
ROWS = [[float(i), float(i % 3)] for i in range(10)]
PRICES = [3.5, 1.0, 2.0, 9.0, 4.0, 8.0, 0.5, 7.0, 6.0, 5.0]


def priced(**changes):
    named = {"kind": "tables", "target": "price", "columns": ["size", "rooms"]}
    return darts_jax.from_arrays(ROWS, PRICES, ROWS, PRICES, **named | changes)


def write(path, rows, names=("size", "rooms", "price")):
    lines = [",".join(names), *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def priced_file(tmp_path):
    rows = [[*row, price] for row, price in zip(ROWS, PRICES, strict=True)]
    return write(tmp_path / "homes.csv", rows)


def test_a_column_of_numbers_is_read_as_such_where_it_is_asked_for(tmp_path):
    path = priced_file(tmp_path)
    data = load_dataset(f"csv:{path}", reading=NUMBERS)
    assert data.has_numbers
    assert (data.class_names, data.classes) == (("price",), 1)
    assert data.columns == ("size", "rooms")
    assert data.train_labels.dtype == np.float32
    # Every fifth in the order of the prices is a test row.
    np.testing.assert_array_equal(sorted(data.test_labels), [0.5, 5.0])
    assert sorted([*data.train_labels, *data.test_labels]) == sorted(PRICES)
    mean, deviation = data.target_scale
    np.testing.assert_allclose(mean, np.mean(data.train_labels), rtol=1e-6)
    np.testing.assert_allclose(deviation, np.std(data.train_labels), rtol=1e-6)


def test_classes_that_are_digits_stay_classes(tmp_path):
    rows = [[*row, int(price > 4)] for row, price in zip(ROWS, PRICES, strict=True)]
    path = write(tmp_path / "homes.csv", rows)
    reading = Reading(kind="tables", label="price")
    data = load_dataset(f"csv:{path}", reading=reading)
    assert not data.has_numbers
    assert data.class_names == ("0", "1")
    assert data.train_labels.dtype == np.int32
    numbers = load_dataset(f"csv:{path}", reading=NUMBERS)
    assert numbers.has_numbers
    with pytest.raises(InputError, match="or task=regression"):
        load_dataset(f"csv:{priced_file(tmp_path)}", reading=reading)


def test_a_file_of_arrays_has_numbers_under_the_usual_names(tmp_path):
    path = tmp_path / "homes.npz"
    rows = np.array(ROWS)
    np.savez(path, X_train=rows, y_train=PRICES, X_test=rows, y_test=PRICES)
    data = load_dataset(f"npz:{path}", reading=NUMBERS)
    np.testing.assert_array_equal(data.train_labels, np.float32(PRICES))
    assert data.class_names == ("target",)
    with pytest.raises(InputError, match="task=regression, by which"):
        load_dataset(f"npz:{path}", reading=Reading(kind="tables"))


@pytest.mark.parametrize(
    ("prices", "message"),
    [
        (["dear", *PRICES[1:]], "want one number for each|must be numbers"),
        ([np.nan, *PRICES[1:]], "nan in place 1 is no finite number"),
        ([1e39, *PRICES[1:]], "1e\\+39 in place 1 is no finite number"),
        (PRICES[1:], "are 9 for 10 examples"),
        ([[p, p] for p in PRICES], "several at once cannot be predicted"),
        ([4.0] * 10, "all 10 training labels are 4; wanted numbers that differ"),
        ([1e9 + p for p in PRICES], "float32 rounds away; subtract a constant"),
    ],
)
def test_numbers_that_cannot_be_predicted_are_told_in_one_line(prices, message):
    with pytest.raises(InputError, match=message) as told:
        darts_jax.from_arrays(ROWS, prices, ROWS, PRICES, kind="tables", target="price")
    assert "\n" not in str(told.value)


def test_a_cell_that_is_no_number_is_named(tmp_path):
    path = write(tmp_path / "homes.csv", [[1, 2, 3.5], [2, 3, "cheap"]])
    with pytest.raises(InputError, match="'cheap' in row 2 of column 'price' is no"):
        load_dataset(f"csv:{path}", reading=NUMBERS)
    for name in ("folder:there", "stream:folder:there"):
        with pytest.raises(InputError, match="want csv:PATH or npz:PATH"):
            load_dataset(name, reading=Reading(labels="numbers"))
    for part in ("train", "test"):
        (tmp_path / part / "rising").mkdir(parents=True)
    signals = Reading(kind="signals", labels="numbers")
    with pytest.raises(InputError, match="a folder for each class"):
        load_dataset(f"csv:{tmp_path}", reading=signals)


def test_a_run_remembers_what_it_predicts(tmp_path):
    data = priced()
    known = identify(data)
    path = tmp_path / "data.json"
    path.write_text(known.to_json())
    assert read_identity(path) == known
    assert known.target == data.target_scale
    blank = make_blank_dataset(known)
    assert blank.has_numbers
    assert blank.target_scale == data.target_scale
    # Other prices are told by the scale of the training's.
    dearer = darts_jax.from_arrays(
        ROWS,
        2 * np.array(PRICES),
        ROWS,
        PRICES,
        kind="tables",
        target="price",
        columns=["size", "rooms"],
    )
    assert match_training_data(dearer, known).target_scale == data.target_scale
    assert known.differences(identify(dearer))
    labelled = darts_jax.from_arrays(
        ROWS, [0, 1] * 5, ROWS, [0, 1] * 5, kind="tables", columns=["size", "rooms"]
    )
    with pytest.raises(InputError, match="trained to predict numbers; the labels"):
        match_training_data(labelled, known)
    with pytest.raises(InputError, match="trained to predict classes; the labels"):
        match_training_data(data, identify(labelled))
    with pytest.raises(InputError, match="trained to predict 'price'; these data"):
        match_training_data(priced(target="rent"), known)
    told = known.differences(identify(labelled))
    assert told == ["numbers to be predicted (price) -> 2 classes"]
