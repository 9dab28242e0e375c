"""Subnets with the weights of a supernet, against its one-hot mixture."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import darts_jax
from darts_jax.bilevel.discretization import one_hot
from darts_jax.errors import InputError
from darts_jax.models.functional import (
    initialize_supernet,
    network_apply,
    supernet_apply,
)
from darts_jax.models.subnet import make_subnet, take_subnet
from darts_jax.models.supernet import Supernet
from darts_jax.spaces.mobile import BlockStage, block_names, mobile_space
from darts_jax.spaces.moves import sample_genotype
from tests.support.tiny import quick_jit

KEY = jax.random.key(0)
SHAPE = (8, 8, 3)
ELASTIC = mobile_space(
    "elastic",
    [
        BlockStage(8, 1, 1, ("mb1_3x3",)),
        BlockStage(16, 3, 2, block_names((3, 6), (3, 5))),
    ],
    stem=8,
    features=16,
    stem_stride=1,
)
ENTANGLED = {"entangled": True, "entangled_expansions": True}
NETS = {
    "elastic": (lambda: Supernet(ELASTIC, 3, 1, 8, **ENTANGLED), 3),
    "darts_no_none": (lambda: _darts("darts_no_none"), 1),
    "nasbench201": (lambda: _darts("nasbench201"), 2),
}


def _darts(name):
    return Supernet(darts_jax.get_space(name), 3, 2, 4)


def with_statistics(net, seed=1):
    """Weights at random, and statistics as if it had been trained."""
    params, stats = initialize_supernet(net, KEY, SHAPE)
    rng = np.random.default_rng(seed)
    stats = jax.tree.map(
        lambda leaf: jnp.asarray(rng.uniform(0.5, 1.5, leaf.shape), leaf.dtype), stats
    )
    return params, stats


def without_pooling(genotype):
    """Says whether no pooling is kept, which has batch norm in a supernet alone."""
    return not any(
        "pool_3x3" in choice.operation
        for cell in genotype.cells.values()
        for choice in cell.choices
    )


@pytest.mark.parametrize(
    "name",
    ["elastic", *(pytest.param(n, marks=pytest.mark.slow) for n in list(NETS)[1:])],
)
def test_a_subnet_computes_what_the_supernet_does(name):
    make, count = NETS[name]
    net = make()
    space = net.space
    params, stats = with_statistics(net)
    images = jax.random.normal(KEY, (4, *SHAPE))
    rng = np.random.default_rng(0)
    drawn = (sample_genotype(space, rng) for _ in range(3000))
    whole_of = filter(without_pooling, drawn)
    genotypes = list(itertools.islice(whole_of, count))
    assert len(genotypes) == count
    whole = quick_jit(supernet_apply(net), static_argnames="train")
    for genotype in genotypes:
        mixture = one_hot(space, genotype)
        want, _ = whole(params, stats, mixture, images, KEY, train=False)
        own, fresh = take_subnet(net, genotype, params, stats, SHAPE)
        subnet = network_apply(make_subnet(net, genotype))
        apply = quick_jit(subnet, static_argnames="train")
        got, _ = apply(own, fresh, images, jnp.zeros(()), KEY, train=False)
        scale = np.abs(want).max()
        np.testing.assert_allclose(got.main / scale, want / scale, atol=1e-6)


def test_a_pooling_with_batch_norm_is_refused():
    net = _darts("darts_no_none")
    shapes = jax.eval_shape(lambda: initialize_supernet(net, KEY, SHAPE))
    rng = np.random.default_rng(0)
    drawn = (sample_genotype(net.space, rng) for _ in range(9))
    pooling = next(g for g in drawn if not without_pooling(g))
    with pytest.raises(InputError, match="has batch norm in the supernet and none"):
        take_subnet(net, pooling, *shapes, SHAPE)


def test_what_the_supernet_computes_otherwise_is_refused():
    small = darts_jax.get_space("mobile_small")
    net = Supernet(small, 3, 1, 8)
    shapes = jax.eval_shape(lambda: initialize_supernet(net, KEY, SHAPE))
    rng = np.random.default_rng(0)
    narrow = next(
        g
        for g in (sample_genotype(small, rng) for _ in range(100))
        if any(cell.width_share < 1 for cell in g.cells.values())
    )
    with pytest.raises(InputError, match="want a genotype of full widths"):
        take_subnet(net, narrow, *shapes, SHAPE)
    with pytest.raises(InputError, match="partial channels"):
        take_subnet(net.clone(partial=2), narrow, *shapes, SHAPE)
