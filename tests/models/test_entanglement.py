"""Weight entanglement against NumPy, and in the supernet."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import darts_jax
from darts_jax.models.entanglement import entangle, find_entangled
from darts_jax.types import Mixture
from tests.support.tiny import quick_jit, tiny_space

SPACE = tiny_space(("nor_conv_1x1", "nor_conv_3x3"))
KEY = jax.random.key(0)


def test_operations_of_one_name_and_several_sizes_are_entangled() -> None:
    names = ["none", "max_pool_3x3", "sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7"]
    names += [
        "dil_conv_3x3",
        "sep_conv_3x3_stride2",
        "sep_conv_5x5_stride2",
        "conv_3x5",
    ]
    assert find_entangled(names) == {
        "sep_conv_3x3": "sep_conv_7x7",
        "sep_conv_5x5": "sep_conv_7x7",
        "sep_conv_3x3_stride2": "sep_conv_5x5_stride2",
    }


def test_a_smaller_kernel_is_the_middle_of_the_larger_one() -> None:
    rng = np.random.default_rng(0)
    five = rng.normal(size=(2, 3, 5, 5, 4))
    three = rng.normal(size=(2, 3, 3, 3, 4))
    point = rng.normal(size=(2, 2, 3, 1, 1, 4, 4))
    edges = {
        "sep_conv_3x3": {"depth": jnp.array(three), "point": jnp.array(point[0])},
        "sep_conv_5x5": {"depth": jnp.array(five), "point": jnp.array(point[1])},
    }
    tied = entangle({"block": {"edges": edges}, "head": {"bias": jnp.ones(2)}})
    small = tied["block"]["edges"]["sep_conv_3x3"]
    np.testing.assert_array_equal(small["depth"], jnp.array(five)[:, :, 1:4, 1:4])
    np.testing.assert_array_equal(small["point"], jnp.array(point[1]))
    assert tied["block"]["edges"]["sep_conv_5x5"] == edges["sep_conv_5x5"]


def test_fewer_channels_of_a_block_are_the_first_of_more() -> None:
    names = ["mb1_3x3", "mb3_3x3", "mb6_3x3", "mb6_5x5", "mb3_3x3_se", "ir1_3x3"]
    assert find_entangled([*names, "ir3_3x3"], kernels=False, expansions=True) == {
        "mb3_3x3": "mb6_3x3",
        "ir1_3x3": "ir3_3x3",
    }
    both = find_entangled(names, expansions=True)
    assert both == {"mb3_3x3": "mb6_5x5", "mb6_3x3": "mb6_5x5"}
    rng = np.random.default_rng(0)
    large, small = (
        {
            "depthwise": jnp.array(rng.normal(size=(1, 2, side, side, 3 * width))),
            "project": jnp.array(rng.normal(size=(1, 2, 1, 1, 3 * width, 4))),
            "bias": jnp.array(rng.normal(size=(1, 2, 3 * width))),
        }
        for side, width in ((5, 2), (3, 1))
    )
    edges = {"mb3_3x3": small, "mb6_5x5": large}
    tied = entangle({"block": {"edges": edges}}, expansions=True)
    found = tied["block"]["edges"]["mb3_3x3"]
    middle = large["depthwise"][:, :, 1:4, 1:4, :3]
    np.testing.assert_array_equal(found["depthwise"], middle)
    np.testing.assert_array_equal(found["project"], large["project"][:, :, :, :, :3])
    np.testing.assert_array_equal(found["bias"], large["bias"][:, :, :3])


def test_the_supernet_computes_with_one_set_of_weights() -> None:
    def make(entangled: bool) -> darts_jax.Supernet:
        return darts_jax.Supernet(
            SPACE, classes=3, cells=1, channels=2, entangled=entangled
        )

    params, stats = darts_jax.initialize_supernet(make(False), KEY, (4, 4, 3))
    images = jax.random.normal(KEY, (2, 4, 4, 3))
    shape = SPACE.cells["normal"].shape
    mixture = Mixture({"normal": jax.random.uniform(KEY, shape)})

    def logits(entangled: bool) -> Callable[..., tuple[jax.Array, Any]]:
        apply = darts_jax.supernet_apply(make(entangled))

        def total(params: object) -> jax.Array:
            return apply(params, stats, mixture, images, KEY, train=True)[0][:, 0].sum()

        return quick_jit(jax.value_and_grad(total))

    by_hand = jax.tree.map(lambda leaf: leaf, params)
    for block in by_hand.values():
        if "edges" in block:
            large = block["edges"]["nor_conv_3x3"]["Conv_0"]["kernel"]
            small = block["edges"]["nor_conv_1x1"]["Conv_0"]
            small["kernel"] = large[:, :, 1:2, 1:2]
    value, tied = logits(entangled=True)(params)
    same, apart = logits(entangled=False)(by_hand)
    assert value == same
    assert value != logits(entangled=False)(params)[0]
    for name, block in tied.items():
        if "edges" in block:
            own, other = block["edges"], apart[name]["edges"]
            want = np.array(other["nor_conv_3x3"]["Conv_0"]["kernel"])
            want[:, :, 1:2, 1:2] += other["nor_conv_1x1"]["Conv_0"]["kernel"]
            found = own["nor_conv_3x3"]["Conv_0"]["kernel"]
            np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-6)
            np.testing.assert_array_equal(own["nor_conv_1x1"]["Conv_0"]["kernel"], 0)
