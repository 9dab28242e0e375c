"""Published names of every network: there and back, and errors that explain."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from darts_jax import interop
from darts_jax.errors import InputError
from darts_jax.models.network import Network
from darts_jax.models.operations.image import OPERATIONS
from darts_jax.models.operations.layers import Linear
from darts_jax.models.supernet import Supernet
from darts_jax.spaces import get_space
from darts_jax.spaces.darts import MACRO
from darts_jax.spaces.graph import CellGenotype, Genotype, KeptEdge
from darts_jax.spaces.nasbench201 import MACRO as NB201_MACRO
from darts_jax.spaces.published import get_genotype
from tests.support.tiny import ragged_space, tiny_space

NB201 = (
    "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|none~2|"
)
SKIPS = "|skip_connect~0|+|none~0|none~1|+|skip_connect~0|avg_pool_3x3~1|none~2|"


def darts(name, cells, imagenet=False):
    genotype = get_genotype(name)
    return Network(genotype, MACRO, 10, cells, 4, imagenet, auxiliary=True)


def nasbench201(text):
    return Network(Genotype.from_nasbench201(text), NB201_MACRO, 10, 2, 4)


def one_node():
    """Narrow cells, so that equal ones soon follow each other."""
    choices = (KeptEdge(2, 0, "sep_conv_3x3"), KeptEdge(2, 1, "skip_connect"))
    cell = CellGenotype(2, choices, (2,))
    return Genotype("darts", {"normal": cell, "reduce": cell})


NETS = {
    "stacked": lambda: Network(one_node(), MACRO, 10, 12, 4, auxiliary=True),
    "AmoebaNet": lambda: darts("AmoebaNet", 3),
    "ImageNet": lambda: darts("PC_DARTS_image", 3, imagenet=True),
    "PC-DARTS": lambda: Supernet(get_space("darts"), 10, 3, 8, partial=4),
    "S1": lambda: Supernet(get_space("s1"), 10, 3, 4),
    "ragged": lambda: Supernet(ragged_space(), 10, 3, 4),
    "NAS-Bench-201": lambda: Supernet(get_space("nasbench201"), 10, 2, 4),
    "biased": lambda: Supernet(get_space("nasbench201_biased"), 10, 1, 4),
    "network of NAS-Bench-201": lambda: nasbench201(NB201),
    "nothing to learn in its cells": lambda: nasbench201(SKIPS),
}


def small():
    """A network of few arrays, for what is told of them."""
    return nasbench201(SKIPS)


def random_arrays(net, seed=0):
    """Draws arrays of every name, alike where the network shares statistics."""
    random = np.random.default_rng(seed)
    rows = interop.published_rows(net)
    arrays = {r.name: random.normal(size=r.shape).astype(np.float32) for r in rows}
    return {r.name: arrays[r.twin or r.name].copy() for r in rows}


@pytest.mark.parametrize("name", NETS)
def test_there_and_back_no_number_is_lost_or_changed(name):
    net = NETS[name]()
    rows = interop.published_rows(net)
    assert len({row.name for row in rows}) == len(rows)
    sizes = [math.prod(row.shape) for row in rows]
    arrays = {
        row.name: np.arange(stop - size, stop, dtype=np.float32).reshape(row.shape)
        for row, size, stop in zip(rows, sizes, np.cumsum(sizes), strict=True)
    }
    arrays = {r.name: arrays[r.twin or r.name] for r in rows}
    imported = interop.import_weights(net, arrays)
    ours = np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(imported)])
    theirs = np.concatenate([array.ravel() for array in arrays.values()])
    np.testing.assert_array_equal(np.sort(ours), np.sort(theirs))
    exported = interop.export_weights(net, *imported)
    assert exported.keys() == arrays.keys()
    for key, array in arrays.items():
        assert exported[key].dtype == np.float32
        np.testing.assert_array_equal(exported[key], array, err_msg=key)


# Typed off the papers' code and the state dicts that it saves; C = 4, 3 or 5 cells.
PUBLISHED = {
    "AmoebaNet": {
        "stem.0.weight": (12, 3, 3, 3),
        "stem.1.running_var": (12,),
        "cells.0.preprocess0.op.1.weight": (4, 12, 1, 1),
        "cells.2.preprocess0.conv_2.weight": (8, 12, 1, 1),
        "cells.2.preprocess0.bn.bias": (16,),
        "cells.0._ops.2.op.5.weight": (4, 1, 3, 3),
        "cells.1._ops.8.2.weight": (8, 8, 7, 1),
        "auxiliary_head.features.5.weight": (768, 128, 2, 2),
        "auxiliary_head.features.6.running_mean": (768,),
        "classifier.weight": (10, 48),
    },
    "ImageNet": {
        "stem0.3.weight": (4, 2, 3, 3),
        "stem1.2.weight": (4,),
        "auxiliary_head.classifier.weight": (10, 768),
    },
    "PC-DARTS": {
        "cells.0._ops.13._ops.1.1.running_mean": (2,),
        "cells.0._ops.3._ops.4.op.1.weight": (2, 1, 3, 3),
        "cells.1._ops.0._ops.3.conv_1.weight": (2, 4, 1, 1),
    },
    "NAS-Bench-201": {
        "cells.0.edges.1<-0.3.op.1.weight": (4, 4, 3, 3),
        "cells.5.conv_a.op.2.weight": (16,),
        "cells.5.downsample.1.weight": (16, 8, 1, 1),
        "lastact.0.running_var": (16,),
    },
    "network of NAS-Bench-201": {"cells.1.layers.2.op.1.weight": (4, 4, 1, 1)},
    "biased": {"cells.0.edges.3<-2.2.op.1.bias": (4,)},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_names_and_shapes_are_the_published_ones(name):
    shapes = {row.name: row.shape for row in interop.published_rows(NETS[name]())}
    assert PUBLISHED[name].items() <= shapes.items()


def test_absent_are_scales_without_affine_and_a_norm_that_was_left_out():
    supernet = {row.name for row in interop.published_rows(NETS["S1"]())}
    assert "stem.1.weight" in supernet
    assert not any(".bn.weight" in n or ".op.2.bias" in n for n in supernet)
    imagenet = {row.name for row in interop.published_rows(NETS["ImageNet"]())}
    assert not any(".features.6." in name for name in imagenet)


def test_darts_v2_has_as_many_numbers_as_published():
    net = Network(get_genotype("DARTS_V2"), MACRO, 10, 20, 36, auxiliary=True)
    parameters = [r for r in interop.published_rows(net) if "running" not in r.name]
    head = [r for r in parameters if r.name.startswith("auxiliary_head")]
    assert sum(math.prod(r.shape) for r in parameters) == 3_825_768
    assert sum(math.prod(r.shape) for r in head) == 3_825_768 - 3_349_342


def test_every_problem_is_told_in_one_line():
    net, arrays = small(), random_arrays(small())
    for name in ("stem.0.weight", "stem.1.bias", "lastact.0.bias", "lastact.0.weight"):
        del arrays[name]
    arrays["cells.9.op"] = np.zeros(3, np.float32)
    arrays["classifier.weight"] = arrays["classifier.weight"].T
    arrays["classifier.bias"] = arrays["classifier.bias"].astype(np.int64)
    with pytest.raises(InputError) as told:
        interop.import_weights(net, arrays)
    assert str(told.value) == (
        "arrays do not fit this Network: "
        "4 missing (stem.0.weight, stem.1.bias, lastact.0.bias, and 1 more); "
        "1 of another shape (classifier.weight is (16, 10), not (10, 16)); "
        "1 not floating-point (classifier.bias is int64); 1 unknown (cells.9.op)"
    )


def test_statistics_that_the_supernet_shares_must_agree():
    net = Supernet(tiny_space(), 10, 1, 4)
    arrays = random_arrays(net)
    # Two edges leave state 0; the pool of the first serves both.
    arrays["cells.0.edges.2<-0.2.1.running_mean"] += 1
    with pytest.raises(InputError, match=r"1 unlike .*2<-0\.2\.1\.running_mean\)"):
        interop.import_weights(net, arrays)


def test_prefixes_counters_and_architecture_parameters_are_passed_over():
    net = NETS["NAS-Bench-201"]()
    arrays = random_arrays(net)
    decorated = {f"module._{name}": array for name, array in arrays.items()}
    decorated["module.stem.1.num_batches_tracked"] = np.array(3)
    decorated["module.arch_parameters"] = np.zeros((6, 5), np.float32)
    chosen = interop.import_weights(net, decorated)
    jax.tree.map(
        np.testing.assert_array_equal, chosen, interop.import_weights(net, arrays)
    )


def test_trees_of_another_network_are_told():
    net = small()
    params, stats = interop.import_weights(net, random_arrays(net))
    wide = {**params, "stem": jax.tree.map(lambda x: x[..., :2], params["stem"])}
    with pytest.raises(InputError, match=r"what differs: .*BatchNorm_0/bias is \(2,"):
        interop.export_weights(net, wide, stats)
    del stats["stem"]
    with pytest.raises(InputError, match="what differs: stats/stem"):
        interop.export_weights(net, params, stats)


def test_alpha_there_and_back():
    net = NETS["PC-DARTS"]()
    random = np.random.default_rng(1)
    shapes = {"alphas_normal": (14, 8), "alphas_reduce": (14, 8)}
    arrays = {k: random.normal(size=s).astype(np.float32) for k, s in shapes.items()}
    alpha = interop.import_alpha(net, arrays)
    np.testing.assert_array_equal(alpha["reduce"], arrays["alphas_reduce"])
    assert alpha.keys() == {"normal", "reduce"}
    edges = {f"betas_{kind}": random.normal(size=14) for kind in alpha}
    both = interop.import_alpha(net, arrays | edges)
    assert both.keys() == {"normal", "reduce", "normal.edges", "reduce.edges"}
    exported = interop.export_alpha(net, both)
    assert exported.keys() == (arrays | edges).keys()
    np.testing.assert_array_equal(exported["alphas_normal"], arrays["alphas_normal"])


def test_alpha_that_is_not_there_is_told():
    net = Supernet(get_space("darts"), 10, 3, 4)
    with pytest.raises(InputError, match=r"2 missing \(alphas_normal, alphas_reduce"):
        interop.import_alpha(net, {})
    edges = {"betas_normal": np.zeros(14, np.float32)}
    with pytest.raises(InputError, match=r"3 missing .*betas_reduce"):
        interop.import_alpha(net, edges)
    with pytest.raises(InputError, match="a Network has no architecture parameters"):
        interop.import_alpha(small(), {})
    with pytest.raises(InputError, match=r"no published names for alpha's other"):
        interop.export_alpha(net, {"other": jnp.zeros((14, 8))})


class Gated(nn.Module):
    """A user's own operation."""

    @nn.compact
    def __call__(self, x, train):
        del train
        return Linear(x.shape[-1])(x)


def test_modules_without_names_are_told_and_may_be_given_some(monkeypatch):
    monkeypatch.setitem(OPERATIONS, "gated", lambda *_: Gated())
    net = Supernet(tiny_space(("skip_connect", "gated")), 10, 1, 4)
    with pytest.raises(InputError, match=r"for 2 arrays .*edges/gated/Linear_0/bias"):
        interop.published_rows(net)
    monkeypatch.setitem(interop.MODULES, Gated, {"Linear_0": "gate"})
    shapes = {row.name: row.shape for row in interop.published_rows(net)}
    assert shapes["cells.0.edges.2<-1.1.gate.weight"] == (4, 4)
    with pytest.raises(InputError, match="for a Gated; of Network, Supernet"):
        interop.published_rows(Gated())
