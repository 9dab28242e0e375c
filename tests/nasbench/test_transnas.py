"""TransNAS-Bench-101: its official file in both formats, and its two spaces."""

import itertools
import pickle

import numpy as np
import pytest

from darts_jax.baselines import BASELINES, Budget
from darts_jax.errors import InputError
from darts_jax.nasbench import load_table
from darts_jax.nasbench.convert import convert
from darts_jax.nasbench.transnas import TASKS
from darts_jax.spaces import get_space
from darts_jax.workflows.oracles import make_table_oracle
from tests.nasbench.test_nasbench201 import Runs

EPOCHS = {"jigsaw": 10, "normal": 30, "autoencoder": 30}
MICRO = [
    f"64-41414-{a}_{b}{c}_{d}{e}{f}"
    for a, b, c, d, e, f in itertools.product("0123", repeat=6)
]
MACRO = [
    f"64-{''.join(digits)}-basic"
    for size in (4, 5, 6)
    for digits in itertools.product("1234", repeat=size)
    if 1 <= sum(d in "24" for d in digits) <= 3
    and 1 <= sum(d in "34" for d in digits) <= 4
]


def results(number):
    """Results of one network on all tasks, each measure a line over the epochs."""
    found = {}
    for t, (task, measure) in enumerate(TASKS.items()):
        epochs = EPOCHS.get(task, 25)
        lines = {
            f"{split}_{measure}": np.linspace(0, number + t + s / 10, epochs).tolist()
            for s, split in enumerate(("train", "valid", "test"))
        }
        elapsed = [2.0, 1.0] * (epochs // 2) + [3.0] * (epochs % 2)
        if task == "jigsaw":
            elapsed = np.cumsum(elapsed).tolist()
        found[task] = {
            "metrics": lines | {"time_elapsed": elapsed},
            "total_epochs": epochs,
            "model_info": {"model_params": 5},
        }
    return found


def whole(micro, macro):
    return {
        "metrics_dict": {},
        "info_names": [],
        "task_list": list(TASKS),
        "data": {
            "macro": {text: results(i) for i, text in enumerate(macro)},
            "micro": {text: results(i) for i, text in enumerate(micro)},
        },
    }


@pytest.fixture(scope="module", params=["zip", "legacy"])
def official(request, tmp_path_factory):
    torch = pytest.importorskip(
        "torch", reason="PyTorch, which is compared with, is not installed"
    )
    path = tmp_path_factory.mktemp("transnas") / "transnas-bench_v10141024.pth"
    zipped = request.param == "zip"
    tree = whole(MICRO[::100], MACRO[::100])
    torch.save(tree, path, _use_new_zipfile_serialization=zipped)
    return path


@pytest.mark.parametrize("space", ["micro", "macro"])
def test_a_table_has_the_official_numbers(official, tmp_path, space):
    np.savez(tmp_path / "table.npz", **convert(f"transnas_{space}", official))
    table = load_table(tmp_path / "table.npz")
    texts = {"micro": MICRO, "macro": MACRO}[space][::100]
    assert len(table) == len(texts)
    assert table.datasets == list(TASKS)
    for row in range(len(texts)):
        genotype = table.genotype(row)
        assert get_space(f"transnas_{space}").has(genotype)
        assert table.row(genotype) == row
        for t, task in enumerate(TASKS):
            for s, split in enumerate(("train", "valid", "test")):
                if split != "train":
                    got = table.accuracy(genotype, task, split)
                    assert got == pytest.approx(row + t + s / 10)
        epochs = table.longest("class_scene"), table.longest("jigsaw")
        assert epochs == (25, 10)
        assert table.told("class_scene").seconds[row] == 12 * 3 + 3
        assert table.told("jigsaw").seconds[row] == 5 * 3


def test_the_benchmarks_words_are_understood(official, tmp_path):
    np.savez(tmp_path / "table.npz", **convert("transnas_micro", official))
    arrays = dict(np.load(tmp_path / "table.npz"))
    arrays["arch"] = np.array(["64-41414-1_02_333", *arrays["arch"][1:]])
    np.savez(tmp_path / "micro.npz", **arrays)
    assert str(load_table(tmp_path / "micro.npz").genotype(0)) == (
        "normal 1 = skip_connect(0)\n"
        "normal 2 = none(0) + nor_conv_1x1(1)\n"
        "normal 3 = nor_conv_3x3(0) + nor_conv_3x3(1) + nor_conv_3x3(2)"
    )
    for text, told in (
        ("64-41414-1_02_334", "is no network of TransNAS"),
        ("64-1234-basic", "is no network of TransNAS"),
        (str(arrays["arch"][1]), "has a network twice"),
    ):
        changed = arrays | {"arch": np.array([text, *arrays["arch"][1:]])}
        np.savez(tmp_path / f"{told[:5]}{text}.npz", **changed)
        with pytest.raises(InputError, match=told) as caught:
            load_table(tmp_path / f"{told[:5]}{text}.npz")
        assert "\n" not in str(caught.value)


def test_bad_files_get_one_line(official, tmp_path):
    data = official.read_bytes()
    for number, (given, told) in enumerate(
        (
            (data[: len(data) // 2], "is damaged"),
            (pickle.dumps(Runs()), "posix.system, which is no number"),
            (b"", "is damaged"),
            (
                b"".join(pickle.dumps(x) for x in (1, 2, 3, {"data": {}})),
                "lacks 'micro'",
            ),
        )
    ):
        path = tmp_path / f"{number}.pth"
        path.write_bytes(given)
        with pytest.raises(InputError, match=told) as caught:
            convert("transnas_micro", path)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no TransNAS-Bench-101 data at"):
        convert("transnas_macro", tmp_path / "absent.pth")


@pytest.mark.parametrize("space", ["micro", "macro"])
@pytest.mark.parametrize("by", ["random_search", "evolution", "reinforce"])
def test_baselines_search_the_table(tmp_path, space, by):
    texts = {"micro": MICRO, "macro": MACRO}[space]
    assert len(texts) == {"micro": 4096, "macro": 3256}[space]
    scores = np.random.default_rng(0).permutation(len(texts)).astype(np.float32)
    np.savez(
        tmp_path / "table.npz",
        benchmark=f"transnas_{space}",
        arch=np.array(texts),
        jigsaw_valid_10=scores,
        jigsaw_test_10=scores + 1,
        train_seconds_10_jigsaw=np.ones(len(texts)),
    )
    known = load_table(tmp_path / "table.npz")
    evaluate = make_table_oracle(known, "jigsaw")
    rng = np.random.default_rng(0)
    place = get_space(f"transnas_{space}")
    trace = BASELINES[by](place, evaluate, Budget(evaluations=40), rng)
    assert trace.cost == 40
    best = known.accuracy(trace.best.genotype, "jigsaw", "test")
    assert best == trace.best.score + 1
