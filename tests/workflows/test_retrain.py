"""Genotypes given to `retrain`: their random networks, and warnings about them."""

import json

import numpy as np
import pytest

import darts_jax
from darts_jax.bilevel.discretization import random_genotype
from darts_jax.cli.main import main
from darts_jax.errors import InputError
from darts_jax.spaces.graph import Genotype
from darts_jax.spaces.published import get_genotype
from darts_jax.tasks.registry import get_task
from darts_jax.training.shared_job import make_shared_training
from darts_jax.workflows import retrain as verb
from darts_jax.workflows.random_networks import draw_comparable

DEAD = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
ALIVE = "|nor_conv_1x1~0|+|none~0|skip_connect~1|+|skip_connect~0|none~1|none~2|"
SMALL = [
    *("data.name=digits", "retrain.cells=1", "retrain.channels=2", "retrain.epochs=1"),
    *("retrain.pad=0", "retrain.cutout=0", "retrain.auxiliary_weight=0"),
]


def given(*settings):
    return [f"--config.{setting}" for setting in (*SMALL, *settings)]


def test_random_networks_are_of_the_genotypes_space_and_that_is_said(tmp_path, capsys):
    """The space of the settings is DARTS's, as it is unless one says another."""
    run = ["--run", str(tmp_path), "--genotype", DEAD]
    assert main(["retrain", *run, *given("baseline.random_genotypes=1")]) == 0
    told = capsys.readouterr()
    assert "random genotypes are drawn from space 'nasbench201'" in told.err
    assert "and not from config.space, 'darts'" in told.err
    assert "1 random genotypes of space nasbench201: mean" in told.out
    other = darts_jax.read_genotype(tmp_path / "random_0.json")
    assert other.space == "nasbench201"
    assert len(other.cells["normal"].choices) == 6
    # The warning comes before the first epoch.
    lines = told.err.splitlines()
    (warned,) = [i for i, line in enumerate(lines) if line.startswith("warning: ")]
    assert "no path without `none` leads through the normal cell" in lines[warned]
    assert warned < min(i for i, line in enumerate(lines) if " 1/1 " in line)


@pytest.mark.parametrize("costs", ["", "parameters"])
@pytest.mark.parametrize(
    ("space", "genotype"),
    [
        ("nasbench201", get_genotype("DARTS_V2")),
        ("darts", Genotype.from_nasbench201(ALIVE)),
        ("s2", Genotype.from_nasbench201(ALIVE)),
    ],
)
def test_what_is_compared_is_of_one_space(
    space, genotype, costs, tmp_path, monkeypatch, capsys
):
    """Whatever the settings say, and at equal cost too; no network is trained here."""
    config = darts_jax.load_config(None, [s.removeprefix("--config.") for s in given()])
    config.space, config.search.discretization = space, "argmax"
    config.baseline.update(random_genotypes=3, equal_cost=costs)

    def untrained(networks, name, job, directory):
        del job, directory
        return verb.TrainedNetwork(name, networks.genotypes[name], 1, 0.5)

    monkeypatch.setattr(verb, "_train", untrained)
    monkeypatch.setattr(verb, "make_training", lambda *given: Job())
    result = darts_jax.retrain(config, tmp_path / "run", genotype)
    spaces = {trained.genotype.space for trained in result.baselines}
    assert spaces == {genotype.space}
    assert len(result.baselines) == 3
    for trained in result.baselines:
        for kind, cell in genotype.cells.items():
            assert len(trained.genotype.cells[kind].choices) == len(cell.choices)
        if costs:
            assert 0.6 < trained.cost / result.network.cost <= 1
    assert f"3 random genotypes of space {genotype.space}: mean" in str(result)
    assert "not from config.space" in capsys.readouterr().err


class Job:
    """Part of a job that the result of a training reads."""

    score = get_task(darts_jax.default_config()).scores[0]


def test_random_networks_of_the_settings_space_are_those_of_before():
    """Seeds draw what they drew where both spaces are one."""
    config = darts_jax.default_config()
    config.baseline.random_genotypes = 2
    genotype = get_genotype("DARTS_V1")
    _, drawn = draw_comparable(config, None, genotype)
    rng = np.random.default_rng(config.seed)
    space = darts_jax.get_space("darts")
    assert drawn == [random_genotype(space, rng) for _ in range(2)]


@pytest.mark.parametrize("name", ["NASNet", "sparse"])
def test_repeats_that_no_mixture_is_are_not_trained_as_one(name):
    """The shared network has every state of its space; these cells have others."""
    sparse = [["skip_connect", source, 2] for source in (0, 1)]
    cell = {"inputs": 2, "edges": sparse, "output": [2]}
    tree = {"space": "darts", "cells": {"normal": cell, "reduce": cell}}
    genotype = (
        get_genotype(name)
        if name in darts_jax.PUBLISHED
        else Genotype.from_json(json.dumps(tree))
    )
    config = darts_jax.load_config(None, [s.removeprefix("--config.") for s in given()])
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (8, 8, 8), dtype=np.uint8)
    data = darts_jax.from_arrays(images, np.arange(8) % 2, images, np.arange(8) % 2)
    config.retrain.drop_path = 0.0
    with pytest.raises(InputError, match="other states than its space; want baseline"):
        make_shared_training(config, data, [genotype])


def test_every_training_of_a_genotype_has_a_seed_of_its_own():
    config = darts_jax.load_config(None, SMALL)
    genotype = get_genotype("DARTS_V2")
    names = ("retrain", "retrain_1", "retrain_2", "random_0")
    networks = verb._Networks(
        config, darts_jax.load_dataset("digits"), dict.fromkeys(names, genotype)
    )
    seeds = [int(networks.make_job(name).start) for name in names]
    assert len(set(seeds[:3])) == 3
    assert seeds[0] == seeds[3] == config.seed
