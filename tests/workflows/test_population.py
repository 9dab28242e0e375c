"""Populations: members equal runs alone, and a lost one does not stop the others."""

import json

import numpy as np
import pytest
from sklearn.datasets import load_digits

from darts_jax import from_arrays, get_genotype, load_config, population, search
from darts_jax.cli.main import main
from darts_jax.workflows.population import agreement
from tests.support import small_runs

TINY = (
    "space=s2",
    "supernet.cells=1",
    "supernet.channels=2",
    "search.epochs=4",
    "search.batch_size=32",
)


@pytest.fixture(scope="module")
def digits():
    digits = load_digits()
    images = (digits.images * 15.9).astype(np.uint8)
    return from_arrays(
        images[:256], digits.target[:256], images[:64], digits.target[:64]
    )


@pytest.fixture(scope="module")
def config():
    return load_config(None, [*TINY, "search.epochs=2"])


GRID = {"seed": [3, 4], "search.weights.learning_rate": [0.025, 0.5]}


@pytest.mark.slow
@pytest.mark.parametrize("execution", ["map", "vmap"])
def test_members_of_a_population_equal_the_runs_alone(
    tmp_path, config, digits, execution
):
    changed = config.copy_and_resolve_references()
    changed.population.execution = execution
    found = population(changed, GRID, tmp_path / "all", digits)
    assert len(found.members) == 4
    for i in (0, 3):
        alone = config.copy_and_resolve_references()
        alone.seed = found.members[i].settings["seed"]
        rate = found.members[i].settings["search.weights.learning_rate"]
        alone.search.weights.learning_rate = rate
        lone = search(alone, tmp_path / f"alone_{i}", digits)
        for kind, alpha in lone.alpha.items():
            np.testing.assert_allclose(
                found.members[i].alpha[kind], alpha, rtol=0, atol=1e-5
            )
        assert found.members[i].genotype == lone.genotype
        curve = [record["loss"] for record in lone.records]
        np.testing.assert_allclose(found.members[i].curves["loss"], curve, rtol=1e-3)
    assert "agreement" in str(found)


@pytest.mark.slow
def test_a_member_that_turns_nan_does_not_stop_the_others(tmp_path, config, digits):
    grid = {"search.weights.learning_rate": [0.025, 1e38]}
    found = population(config, grid, tmp_path / "run", digits)
    sound, lost = found.members
    assert sound.genotype is not None
    assert np.isfinite(sound.curves["loss"]).all()
    assert lost.genotype is None
    assert not np.isfinite(lost.curves["loss"]).all()
    assert np.isnan(found.agreement[0, 1])


def test_agreement_counts_choices_in_common():
    one = get_genotype("DARTS_V1")
    other = get_genotype("DARTS_V2")
    matrix = agreement([one, other, None])
    shared = {
        (kind, choice) for kind, cell in one.cells.items() for choice in cell.choices
    } & {(kind, c) for kind, cell in other.cells.items() for c in cell.choices}
    assert matrix[0, 0] == 1
    assert matrix[0, 1] == len(shared) / 16
    assert np.isnan(matrix[2]).all()


@pytest.mark.parametrize(
    ("grid", "told"),
    [
        ("supernet.cells=1,2", "cannot differ within a population"),
        ("seed=", "needs values"),
        ("seed=a", "want an integer"),
    ],
)
def test_bad_grids_get_one_line(tmp_path, capsys, grid, told):
    given = [f"--config.{setting}" for setting in TINY]
    arguments = ["population", "--run", str(tmp_path / "r"), *given, "--grid", grid]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_members_may_differ_in_every_schedule(tiny, tmp_path):
    grid = {"search.terms.logsumexp": ["0", "0:2"], "search.temperature": ["1", "4"]}
    data = small_runs.images()
    together = population(small_runs.config(), grid, tmp_path / "all", data)
    for member in together.members:
        alone = search(
            small_runs.config(**member.settings),
            tmp_path / json.dumps(member.settings).replace("/", ""),
            data,
        )
        np.testing.assert_allclose(
            member.alpha["normal"], alone.alpha["normal"], rtol=1e-4, atol=1e-6
        )
        assert member.genotype == alone.genotype
    alphas = [m.alpha["normal"] for m in together.members]
    assert not np.allclose(alphas[0], alphas[2], atol=1e-4)
