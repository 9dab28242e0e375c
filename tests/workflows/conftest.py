"""A finished search with every measure, which tests read."""

import pytest

import darts_jax
from tests.support.small_runs import competing, config, images


@pytest.fixture(scope="session")
def found(tmp_path_factory):
    measured = {
        "search.diagnostics.eigenvalue_every": 2,
        "search.diagnostics.cosine_every": 1,
        "search.diagnostics.products": 6,
        "search.warmup": 0.5,
    }
    run = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(darts_jax.SPACES, "tiny", competing())
        return darts_jax.search(config(**measured), run, images())


@pytest.fixture
def finished(found):
    return found.run.path
