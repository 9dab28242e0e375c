"""Needs that are stated for a search, against numbers derived by hand."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import Mesh

import darts_jax
from darts_jax.cli.main import main
from darts_jax.cost import macs
from darts_jax.data.sources import load_dataset
from darts_jax.engine.devices import Layout
from darts_jax.kernels import channelwise, convolution, rectified, sums
from darts_jax.kernels.edges import PLAIN_FORMS
from darts_jax.tasks.registry import make_search
from darts_jax.workflows.estimate import Memory, Trial

TINY = [  # S2 on the digits
    "space=s2",
    "supernet.cells=1",
    "supernet.channels=2",
    "search.batch_size=4",
]
# `darts_jax.estimate` is the function.
module = importlib.import_module("darts_jax.workflows.estimate")


def count(function, *shapes):
    arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return macs.count_macs(jax.make_jaxpr(function)(*arrays))


def xla_conv(groups=1):
    def convolve(x, kernel):
        return lax.conv_general_dilated(
            x,
            kernel,
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )

    return convolve


def test_dense_convolutions():
    shapes = (2, 8, 6, 3), (3, 3, 3, 5)
    by_hand = 2 * 8 * 6 * 3 * 3 * 3 * 5
    assert count(xla_conv(), *shapes) == by_hand
    assert count(convolution.conv, *shapes) == by_hand

    def strided(x, kernel):
        return convolution.conv(x, kernel, stride=(2, 1))

    assert count(strided, *shapes) == by_hand // 2


def test_depthwise_convolutions():
    by_hand = 2 * 8 * 6 * 5 * 5 * 4
    assert count(xla_conv(groups=4), (2, 8, 6, 4), (5, 5, 1, 4)) == by_hand
    assert count(channelwise.depthwise_conv, (2, 8, 6, 4), (5, 5, 4)) == by_hand


@pytest.mark.parametrize(
    ("function", "kernel"),
    [(convolution.conv, (3, 3, 4, 5)), (channelwise.depthwise_conv, (3, 3, 4))],
)
def test_a_gradient_costs_what_its_convolution_does_for_either_argument(
    function, kernel
):
    shapes = (2, 8, 6, 4), kernel
    forward = count(function, *shapes)

    def gradient(x, kernel):
        y, pull = jax.vjp(function, x, kernel)
        return pull(y)

    assert count(gradient, *shapes) == 3 * forward


def test_matrix_products():
    assert count(jnp.matmul, (3, 4), (4, 5)) == 3 * 4 * 5
    assert count(jnp.matmul, (7, 3, 4), (7, 4, 5)) == 7 * 3 * 4 * 5


def test_loops_branches_and_calls():
    def scanned(x, kernels):
        def step(x, kernel):
            return jax.checkpoint(jax.jit(convolution.conv))(x, kernel), None

        return lax.scan(step, x, kernels)[0]

    assert count(scanned, (2, 8, 6, 3), (7, 3, 3, 3, 3)) == 7 * 2 * 48 * 9 * 9

    def branched(x):
        return lax.cond(x[0, 0] > 0, lambda x: x @ x @ x, lambda x: x @ x, x)

    assert count(branched, (3, 3)) == 2 * 27

    def endless(x):
        return lax.while_loop(lambda x: x[0, 0] > 0, lambda x: x @ x, x)

    with pytest.raises(ValueError, match="while"):
        count(endless, (3, 3))
    assert count(lambda x: lax.while_loop(jnp.any, jnp.sin, x), ()) == 0


def test_edges_of_a_vmap_count():
    over_edges = jax.vmap(convolution.conv)
    assert count(over_edges, (5, 1, 4, 4, 2), (5, 1, 1, 2, 3)) == 5 * 16 * 2 * 3


def test_every_primitive_of_a_product_is_counted():
    kinds = (rectified.SEPARABLE, rectified.SEPARABLES, rectified.DENSE)
    assert all(kind.map_p for kind in kinds)  # made when first asked for
    of_images = [kind.of_image for kind in kinds]
    for kind in (*kinds, *of_images, sums.WEIGHTED):
        assert all((kind.change_p, kind.back_p, kind.back_change_p))
    own = {primitive.name for primitive in PLAIN_FORMS}
    no_products = {"max_pool_select", "max_pool_scatter"}
    no_products |= {"max_pool", "moments", "channel_sums", "project", "standardize"}
    no_products |= {"weighted", "weighted_change"}
    no_products |= {"weighted_back", "weighted_back_change"}
    assert own - no_products == set(macs._COUNTS) - {
        "dot_general",
        "conv_general_dilated",
    }


def macs_of_supernet(execution):
    config = darts_jax.load_config(overrides=[*TINY, f"supernet.execution={execution}"])
    dataset = load_dataset("digits", "")
    job = make_search(config, dataset)
    return module.forward_macs(config, dataset, jax.eval_shape(job.init, job.start))


def s2_reduction_cell_on_digits(channels):
    """Counts one reduction cell after the stem: 8x8 pixels to 4x4, four nodes."""
    stem, width = 3 * channels, 2 * channels
    separable = 2 * (16 * 9 * width + 16 * width * width)
    factorized = 16 * width * width  # two halves of the features
    return (
        64 * 9 * stem
        + 2 * 64 * stem * width
        + 8 * (factorized + separable)  # edges from both inputs
        + 6 * separable  # edges between nodes, where a skip is free
        + 4 * width * 10
    )


@pytest.mark.parametrize("execution", ["scan", "batch", "joined"])
def test_a_supernet_is_the_sum_of_its_parts(execution):
    assert macs_of_supernet(execution) == s2_reduction_cell_on_digits(2) == 32_032


def test_shapes_are_those_of_what_a_run_makes():
    layout = Layout(Mesh(np.array(jax.devices()[:1]), ("batch",)), split_state=True)
    state = {"weights": np.zeros((3, 4), np.float32), "step": np.int32(0)}
    data = np.zeros((5, 2), np.uint8)
    made = layout.init(lambda t: t, state), layout.put(data)
    told = layout.state_shapes(state), layout.whole_shapes(data)
    for real, shape in zip(jax.tree.leaves(made), jax.tree.leaves(told), strict=True):
        assert (real.shape, real.dtype) == (shape.shape, shape.dtype)
        assert real.sharding == shape.sharding


@pytest.fixture(scope="module")
def told():
    return darts_jax.estimate(darts_jax.load_config(overrides=TINY))


def test_estimate_of_a_tiny_search(told):
    assert told.parameters == 1_868
    assert told.macs == 32_032
    assert told.fits
    assert told.device_memory > 1e8
    (trial,) = told.trials
    memory = trial.memory
    # A pixel is a byte, a label four; the second half lies there once more.
    count = len(load_dataset("digits", "").train_labels)
    assert memory.images == (64 + 4) * count
    assert memory.beside == (64 + 4) * (count - count // 2)
    # Weights, their momentum, and the images.
    assert memory.arguments > memory.images + 2 * 4 * told.parameters
    assert 0 < memory.aliased <= memory.outputs < memory.arguments
    assert memory.temporaries > 0
    assert "1,868" in str(told)
    assert str(told).endswith("it fits\n")
    assert "CPU's program" not in str(told)


def pretended(monkeypatch, peaks, refused=()):
    """Compilations that say what a table does, by their settings."""

    def attempt(config, dataset, changes):
        values = tuple(changes.values())
        if values in refused:
            return Trial(changes, None, 0.0)
        parts = {"arguments": 0, "images": 0, "outputs": 0, "aliased": 0}
        memory = Memory(peaks[values] * 10**9, beside=0, **parts)
        return Trial(changes, memory, 1.0)

    monkeypatch.setattr(module, "_compile_trial", attempt)


def advised(memory):
    config = darts_jax.load_config(overrides=[*TINY, "search.batch_size=12"])
    return darts_jax.estimate(config, memory=memory)


PEAKS = {
    (): 10,
    ("cell",): 8,
    ("cell", "bfloat16"): 9,  # saves nothing: not kept
    ("cell", 2): 7,
    ("cell", 4): 4,
}


def test_switches_are_tried_in_order_until_the_search_fits(monkeypatch):
    pretended(monkeypatch, PEAKS)
    assert len(advised(10).trials) == 1
    assert advised(8).best.changes == {"supernet.remat": "cell"}
    told = advised(5)
    assert [tuple(trial.changes.values()) for trial in told.trials] == list(PEAKS)
    assert not told.fits
    last = "--config.supernet.remat=cell --config.search.microbatches=4"
    assert str(told).splitlines()[-1] == last
    assert "as given" in str(told)
    # Whose memory was given may be no CPU, and the program is one.
    assert told.platform == "cpu"
    assert "those of the CPU's program" in str(told)


def test_that_nothing_fits_is_told_with_what_lacks(monkeypatch):
    pretended(monkeypatch, PEAKS | {("cell", 6): 3})
    told = advised(1)
    assert told.best.overrides.endswith("microbatches=6")
    assert "needs 2,000.00 MB more than there is" in str(told).splitlines()[-1]


def test_what_the_compiler_refuses_is_too_large(monkeypatch):
    peaks = {("bfloat16",): 9}
    pretended(monkeypatch, PEAKS | peaks, refused=[(), ("cell",)])
    told = advised(9)
    assert told.best.changes == {"supernet.dtype": "bfloat16"}
    assert "too large" in str(told)


def test_settings_that_are_on_are_not_tried():
    config = darts_jax.load_config(
        overrides=[
            *TINY,
            "supernet.remat=cell",
            "supernet.dtype=bfloat16",
            "search.batch_size=96",
            "search.microbatches=3",
        ]
    )
    switches = list(module._switches(config))
    assert switches == [("search.microbatches", n) for n in (6, 12, 24, 48)]
    odd = darts_jax.load_config(overrides=["search.batch_size=25"])
    assert list(module._switches(odd))[2:] == [("search.microbatches", 5)]


def test_command_line_advises_without_running(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    pretended(monkeypatch, PEAKS)
    given = [f"--config.{setting}" for setting in TINY]
    assert main(["estimate", *given, "--memory", "8.5"]) == 0
    told = capsys.readouterr().out
    assert told.splitlines()[-1] == "--config.supernet.remat=cell"
    assert not list(tmp_path.iterdir())
    assert main(["estimate", *given, "--memory", "-1"]) == 2
    assert "want a number above 0" in capsys.readouterr().err


def test_a_compiler_out_of_memory_is_no_crash(monkeypatch, capsys):
    def refuse(job):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Ran out of memory")

    monkeypatch.setattr(module, "_compile", refuse)
    config = darts_jax.load_config(overrides=TINY)
    told = darts_jax.estimate(config, memory=1)
    assert told.best.peak == float("inf")
    assert str(told).endswith("none fits\n")
    assert "too large" in capsys.readouterr().err
