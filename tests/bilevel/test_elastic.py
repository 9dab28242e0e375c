"""Progressive shrinking: which operations take part, epoch by epoch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import darts_jax
from darts_jax.errors import InputError
from darts_jax.settings.config import with_overrides
from darts_jax.settings.scalars import search_scalars
from darts_jax.spaces.mobile import BlockStage, block_names, mobile_space
from darts_jax.tasks.search_job import full_mask, make_elastic

STAGES = [
    BlockStage(16, 1, 1, ("mb1_3x3",)),
    BlockStage(24, 3, 2, block_names((3, 6), (3, 5, 7)), (0.5, 0.75, 1.0)),
]


@pytest.fixture(scope="module")
def space():
    return mobile_space("elastic", STAGES, stem=16, features=32)


def taking_part(space, **allowed):
    """Names that take part on each edge of the second stage."""
    none = dict.fromkeys(("kernel", "depth", "expansion", "width"), 0.0)
    mask = make_elastic(space).narrow(full_mask(space), none | allowed)
    edges = space.cells["stage_2"].edges
    rows = np.asarray(mask["stage_2"])
    return [
        {name for name, kept in zip(edge.operations, row, strict=False) if kept}
        for edge, row in zip(edges, rows, strict=True)
    ]


def test_smaller_choices_join_one_by_one(space):
    assert taking_part(space) == [{"mb6_7x7"}] * 3 + [{"width_1"}]
    kernels = {"mb6_7x7", "mb6_5x5"}
    assert taking_part(space, kernel=1.0) == [kernels] * 3 + [{"width_1"}]
    # The last block may be left out first, and the first one never.
    assert taking_part(space, depth=1.0)[:3] == [
        {"mb6_7x7"},
        {"mb6_7x7"},
        {"mb6_7x7", "skip_connect"},
    ]
    assert "skip_connect" in taking_part(space, depth=2.0)[1]
    both = taking_part(space, kernel=np.inf, expansion=np.inf)
    assert both[0] == set(block_names((3, 6), (3, 5, 7)))
    assert taking_part(space, width=1.0)[3] == {"width_1", "width_0.75"}
    every = dict.fromkeys(("kernel", "depth", "expansion", "width"), np.inf)
    assert taking_part(space, **every) == [
        set(edge.operations) for edge in space.cells["stage_2"].edges
    ]


def test_an_edge_is_never_left_without_an_operation(space):
    elastic = make_elastic(space)
    mask = {kind: own.copy() for kind, own in full_mask(space).items()}
    pruned = mask["stage_2"]
    pruned[0] = False
    pruned[0, 0] = True  # mb3_3x3 alone, the smallest
    none = dict.fromkeys(("kernel", "depth", "expansion", "width"), 0.0)
    kept = np.asarray(elastic.narrow(mask, none)["stage_2"])
    np.testing.assert_array_equal(kept[0], pruned[0])


def test_phases_are_settings_of_epochs(monkeypatch, space):
    monkeypatch.setitem(darts_jax.SPACES, "elastic", space)
    config = darts_jax.default_config()
    phases = ["kernel=1", "depth=2", "expansion=4", "every=1"]
    settings = ["space=elastic", "search.epochs=8"]
    config = with_overrides(config, settings + [f"search.elastic.{p}" for p in phases])
    ranks = [search_scalars(config.search, epoch)["elastic"] for epoch in range(6)]
    assert [r["kernel"] for r in ranks] == [0, 1, 2, 3, 4, 5]
    assert [r["depth"] for r in ranks] == [0, 0, 1, 2, 3, 4]
    assert [r["expansion"] for r in ranks] == [0, 0, 0, 0, 1, 2]
    assert all(r["width"] == np.inf for r in ranks)
    at_once = with_overrides(config, ["search.elastic.every=0"])
    assert search_scalars(at_once.search, 1)["elastic"]["kernel"] == np.inf
    assert "elastic" not in search_scalars(darts_jax.default_config().search, 0)


def test_what_cannot_shrink_is_refused():
    with pytest.raises(InputError, match="is for a space with several sizes"):
        with_overrides(
            darts_jax.default_config(), ["space=darts", "search.elastic.expansion=2"]
        )


def test_ranks_are_compared_inside_a_program(space):
    elastic = make_elastic(space)
    scalars = dict.fromkeys(("kernel", "depth", "expansion", "width"), jnp.inf)
    found = jax.jit(elastic.narrow)(full_mask(space), scalars)
    jax.tree.map(np.testing.assert_array_equal, found, full_mask(space))
