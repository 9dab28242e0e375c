"""Examples of one's own: arrays, sources, loaders; what is refused."""

import numpy as np
import pytest

from darts_jax.data.examples import make_example_set
from darts_jax.data.identity import identify, read_identity
from darts_jax.data.remembered import match_training_data
from darts_jax.errors import InputError

INPUTS = np.arange(20.0).reshape(10, 2)
LABELS = np.arange(10)


class Source:
    """Single examples by number, as Grain's and PyTorch's data sets have them."""

    def __len__(self):
        return len(LABELS)

    def __getitem__(self, i):
        return {"x": INPUTS[i], "y": LABELS[i]}


def loader():
    """Yields batches of 4, 4 and 2, as a loader does."""
    for start in range(0, 10, 4):
        yield INPUTS[start : start + 4], LABELS[start : start + 4]


def test_all_kinds_of_data_are_arrays():
    pairs = make_example_set((INPUTS, LABELS), (INPUTS[:3], LABELS[:3]))
    loaded = make_example_set(loader(), loader())
    source = make_example_set(Source(), Source())
    for x, y in (
        pairs.train,
        loaded.train,
        (source.train["x"], source.train["y"]),
    ):
        np.testing.assert_array_equal(x, INPUTS)
        np.testing.assert_array_equal(y, LABELS)
        # Without 64 bits, as the devices have them.
        assert (x.dtype, y.dtype) == (np.float32, np.int32)
    assert len(pairs.test[0]) == 3


def test_grains_loader_and_source():
    grain = pytest.importorskip(
        "grain.python", reason="Grain, whose order is compared with, is not installed"
    )
    loaded = grain.MapDataset.source(Source()).batch(5, drop_remainder=True)
    found = make_example_set(iter(loaded.to_iter_dataset()), Source()).train
    np.testing.assert_array_equal(found["x"], INPUTS)


def test_the_last_fifth_tests():
    found = make_example_set((INPUTS, LABELS))
    np.testing.assert_array_equal(found.train[1], LABELS[:8])
    np.testing.assert_array_equal(found.test[1], LABELS[8:])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ((INPUTS, LABELS[:4]), "want one first axis"),
        ((INPUTS[:0], LABELS[:0]), "want one first axis"),
        ([], "shapes nothing"),
        (iter([]), "holds no examples"),
        (iter([(INPUTS, LABELS), {"x": INPUTS}]), "different forms"),
        (iter([INPUTS, LABELS]), "different shapes"),
        ({"x": np.array(["a"])}, "want numbers"),
        (object(), "want arrays, a source"),
    ],
)
def test_what_is_no_data_is_refused(data, words):
    with pytest.raises(InputError, match=words) as caught:
        make_example_set(data)
    assert "\n" not in str(caught.value)


def test_a_test_of_another_form_is_refused():
    with pytest.raises(InputError, match="want one form"):
        make_example_set((INPUTS, LABELS), (INPUTS[:, :1], LABELS))


def test_a_run_knows_its_examples_again(tmp_path):
    first = make_example_set((INPUTS, LABELS))
    path = tmp_path / "data.json"
    path.write_text(identify(first).to_json())
    known = read_identity(path)
    assert known.differences(identify(first)) == []
    assert match_training_data(first, known) is first
    other = identify(make_example_set((INPUTS + 1, LABELS)))
    assert known.differences(other) == [
        "other examples of the training examples",
        "other examples of the test examples",
    ]
    fewer = identify(make_example_set((INPUTS[:5], LABELS[:5])))
    assert "8 training examples -> 4" in known.differences(fewer)
