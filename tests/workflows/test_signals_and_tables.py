"""Runs on signals and on a table: search, retraining, evaluation, pages and exports."""

import json

import numpy as np
import pytest
from jax import export, jit

import darts_jax
from darts_jax.data.sources import load_dataset
from darts_jax.errors import InputError

EXPORTED = {
    "signals": ((2, 1, 128, 1), "float32"),
    "tables": ((2, 1, 1, 13), "float32"),
    "numbers": ((2, 1, 1, 10), "float32"),
}
MEASURED = {"signals": "accuracy", "tables": "accuracy", "numbers": "rmse"}


def settings(kind):
    config = darts_jax.default_config()
    if kind == "signals":
        config.space = "nasbench201_1d"
        config.data.update(name="chirps", images=192, pad=4)
        config.retrain.update(cells=1, channels=4)
    elif kind == "numbers":
        config.task = "regression"
        config.space = "mlp_10"
        config.data.update(name="diabetes", noise=0.1)
        config.retrain.update(cells=1, channels=16)
        config.search.weights.learning_rate = 0.1
        config.retrain.weights.learning_rate = 0.1
    else:
        config.space = "mlp_13"
        config.data.update(name="wine", noise=0.1)
        config.retrain.update(cells=1, channels=16)
    config.supernet.update(cells=1, channels=8)
    config.search.update(epochs=2, batch_size=32)
    config.retrain.update(
        epochs=2,
        batch_size=32,
        pad=0,
        flip=False,
        cutout=0,
        drop_path=0.0,
        auxiliary_weight=0.0,
    )
    config.baseline.random_genotypes = 1
    return config


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["signals", "tables", "numbers"])
def test_a_run_goes_from_search_to_export(kind, tmp_path):
    config = settings(kind)
    run = tmp_path / "run"
    found = darts_jax.search(config, run)
    darts_jax.retrain(config, run)
    summary = json.loads((run / "summary.json").read_text())
    ours, random = summary["networks"]
    test = f"test_{MEASURED[kind]}"
    assert kind == "numbers" or 0 <= random[test] <= 1
    assert darts_jax.evaluate(config, run) == ours[test]
    again = darts_jax.search(config, tmp_path / "again")
    assert again.genotype == found.genotype
    files = sorted((run / "architecture").iterdir())
    assert files
    for file in files:
        other = tmp_path / "again" / "architecture" / file.name
        assert file.read_bytes() == other.read_bytes()
    page = darts_jax.report([run])
    assert f"for one {'signal' if kind == 'signals' else 'row'}:" in page.read_text()
    darts_jax.export(run, tmp_path / "exported")
    data = (tmp_path / "exported" / "model.jax_export").read_bytes()
    model = export.deserialize(bytearray(data))
    shape, dtype = EXPORTED[kind]
    assert (model.in_avals[0].shape[1:], model.in_avals[0].dtype) == (shape[1:], dtype)
    logits = np.asarray(jit(model.call)(np.ones(shape, dtype)))
    assert np.isfinite(logits).all()
    card = json.loads((tmp_path / "exported" / "card.json").read_text())
    assert card["input"]["shape"] == ["batch", *shape[1:]]
    assert card["input"]["dtype"] == dtype
    assert card[test] == ours[test]
    if kind != "signals":
        names = card["input"]["columns"]
        taken = found.genotype.columns
        assert card["input"]["read"] == [names[i] for i in taken]


@pytest.mark.slow
def test_a_number_is_predicted_better_than_by_its_mean_and_in_its_own_unit(tmp_path):
    config = settings("numbers")
    config.search.epochs = 1
    config.retrain.epochs = 25
    config.baseline.random_genotypes = 0
    run = tmp_path / "run"
    darts_jax.search(config, run)
    trained = darts_jax.retrain(config, run)
    (network,) = trained.networks
    assert network.also["r2"] > 0.3
    data = load_dataset("diabetes")
    assert network.score < data.test_labels.std()
    darts_jax.export(run, tmp_path / "out")
    model = export.deserialize(
        bytearray((tmp_path / "out" / "model.jax_export").read_bytes())
    )
    told = np.asarray(jit(model.call)(data.test_images))[:, 0]
    error = np.sqrt(np.mean((told - data.test_labels) ** 2))
    np.testing.assert_allclose(error, network.score, rtol=1e-5)
    card = (tmp_path / "out" / "card.md").read_text()
    assert "predictions [batch, 1] of progression in its own unit" in card
    assert "of which less is better" in card


def test_changes_of_images_are_refused_in_one_line(tmp_path):
    config = settings("signals")
    config.retrain.update(flip=True, cutout=16)
    genotype = darts_jax.get_genotype(
        "|nor_conv_3~0|+|skip_connect~0|avg_pool_3~1|+|none~0|nor_conv_1~1|none~2|"
    )
    assert genotype.space == "nasbench201_1d"
    with pytest.raises(InputError, match="flip, cutout are changes of images") as told:
        darts_jax.retrain(config, tmp_path / "run", genotype=genotype)
    assert "want flip=False, cutout=0" in str(told.value)
    config = settings("tables")
    config.data.pad = 2
    with pytest.raises(InputError, match="pad are changes of images, and data 'wine'"):
        darts_jax.search(config, tmp_path / "table")
