"""Every product of a program has the precision that the setting names."""

import re
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from jax import export

from darts_jax import default_config, from_arrays, get_genotype
from darts_jax.engine.devices import Layout
from darts_jax.errors import InputError
from darts_jax.kernels import PRECISIONS, describe_precision
from darts_jax.tasks.classification.task import CLASSIFICATION
from darts_jax.tasks.image_jobs import make_inference
from darts_jax.tasks.registry import make_search, make_training


@pytest.fixture(scope="module")
def dataset():
    images = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3), np.uint8)
    labels = np.arange(16) % 10
    return from_arrays(images, labels, images, labels)


def tiny_config(precision, **search):
    config = default_config()
    config.precision = precision
    config.space = "s2"
    config.supernet.update(cells=1, channels=4)
    config.retrain.update(cells=1, channels=4, batch_size=8)
    config.search.update(batch_size=8)
    config.search.update(search)
    return config


def program(job):
    """The text of a job's program for an accelerator."""
    state = jax.eval_shape(job.init, job.start)
    zero = np.int32(0)
    run = job.layout.jit(job.run, state, job.empty_totals())
    arguments = (state, job.empty_totals(), job.feed.shapes(job.layout), job.scalars(0))
    return export.export(run, platforms=["cuda"])(
        *arguments, zero, zero, zero
    ).mlir_module()


def products(text):
    """Precision of both operands of each (convolution or product) of a program."""
    found = re.findall(r"stablehlo\.(convolution|dot_general)(\(| )(.*)", text)
    assert len(found) == len(re.findall(r"stablehlo\.(?:convolution|dot)", text))
    stated = []
    for kind, _, rest in found:
        named = re.search(r"precision(?:_config)? = \[(.*?)\]", rest)
        words = re.findall(r"[A-Z]+", named[1]) if named else ["DEFAULT"] * 2
        stated.append((kind, *words))
    return stated


@pytest.mark.parametrize(
    ("name", "stated"),
    [
        ("highest", "HIGHEST"),
        pytest.param("bfloat16_3x", "HIGH", marks=pytest.mark.slow),
    ],
)
def test_every_product_of_a_search_step_says_its_precision(dataset, name, stated):
    job = make_search(tiny_config(name), dataset, Layout())
    found = products(program(job))
    assert {kind for kind, *_ in found} == {"convolution", "dot_general"}
    assert {precision for _, *both in found for precision in both} == {stated}


@pytest.mark.slow
@pytest.mark.parametrize(
    "search",
    [
        {"hypergradient": "exact"},
        {"hypergradient": "conjugate_gradient", "hook": "alignment"},
        {"hypergradient": "unrolled"},
    ],
)
def test_no_product_of_another_method_is_forgotten(dataset, search):
    config = tiny_config("highest", **search)
    if "hook" in search:
        config.search.hook_weight = "0.1"
        config.space = "nasbench201"  # three cells of one kind, which align in pairs
    job = make_search(config, dataset, Layout())
    found = products(program(job))
    assert {precision for _, *both in found for precision in both} == {"HIGHEST"}


def test_pytorch_means_tf32_in_convolutions_and_float32_in_products(dataset):
    config = tiny_config("pytorch")
    genotype = get_genotype("PC_DARTS_cifar")
    found = products(program(make_training(config, dataset, genotype)))
    # 1x1 convolutions are products, with the precision of convolutions.
    assert {p for kind, *both in found if kind == "convolution" for p in both} == {
        "HIGH"
    }
    assert len({tuple(both) for _, *both in found}) == 2
    highest = [kind for kind, *both in found if both == ["HIGHEST", "HIGHEST"]]
    # The classifier and the auxiliary head's, forward, and backward by both operands.
    assert highest == ["dot_general"] * 6


def test_a_test_and_an_export_have_it_too(dataset):
    config = tiny_config("highest")
    job = make_search(config, dataset, Layout())
    state = jax.eval_shape(job.init, job.start)
    model = jax.eval_shape(job.model, state, job.scalars(0))
    data = job.held_out.shapes(job.layout)
    evaluate = jax.jit(job.evaluate_on(job.held_out))
    zero = np.int32(0)
    tested = export.export(evaluate, platforms=["tpu"])(model, data, zero, zero)
    genotype = get_genotype("DARTS_V2")
    trained = make_training(config, dataset, genotype)
    infer = jax.jit(make_inference(CLASSIFICATION.objective, config, dataset, genotype))
    images = jax.ShapeDtypeStruct((2, 8, 8, 3), np.uint8)
    state = jax.eval_shape(trained.init, trained.start)
    left = export.export(infer, platforms=["cuda"])(state, images)
    for exported in (tested, left):
        found = products(exported.mlir_module())
        assert found
        assert {p for _, *both in found for p in both} == {"HIGHEST"}


@pytest.mark.slow
def test_by_default_nothing_is_said(dataset):
    job = make_search(tiny_config("default"), dataset, Layout())
    assert {p for _, *both in products(program(job)) for p in both} == {"DEFAULT"}


def device(platform, version="", capability=None):
    client = SimpleNamespace(platform_version=version)
    more = {} if capability is None else {"compute_capability": capability}
    return SimpleNamespace(platform=platform, client=client, **more)


H100 = device("gpu", "PJRT C API\ncuda 13000", "9.0")
V100 = device("gpu", "PJRT C API\ncuda 12080", "7.0")
MI300 = device("gpu", "PJRT C API\nrocm 60000")
V5E = device("tpu", "PJRT C API\nTFRT TPU v5 lite")
HERE = device("cpu", "cpu")


@pytest.mark.parametrize(
    ("name", "on", "words"),
    [
        ("default", HERE, "float32"),
        ("default", V5E, "bfloat16"),
        ("default", H100, "tensorfloat32"),
        ("default", V100, "float32"),
        ("default", MI300, "float32"),
        ("bfloat16_3x", V5E, "bfloat16_3x"),
        ("highest", V5E, "float32"),
        ("highest", H100, "float32"),
        ("pytorch", H100, "tensorfloat32 in convolutions, float32 in other products"),
        ("pytorch", V100, "float32"),
    ],
)
def test_words_say_what_is_multiplied(name, on, words):
    assert describe_precision(name, on) == words


def test_words_follow_jax_own_setting():
    with jax.default_matmul_precision("highest"):
        assert describe_precision("default", V5E) == "float32"


@pytest.mark.parametrize(
    ("name", "on", "choices"),
    [
        ("tensorfloat32", V5E, "default, bfloat16, bfloat16_3x, highest on tpu"),
        ("bfloat16", H100, "default, tensorfloat32, pytorch, highest on cuda"),
        ("pytorch", HERE, "default, highest on cpu"),
    ],
)
def test_a_platform_without_it_is_told_in_one_line(name, on, choices):
    with pytest.raises(InputError, match=f"want {choices}$"):
        describe_precision(name, on)


def test_every_name_is_jax_own():
    for precision in PRECISIONS.values():
        for name in (precision.products, precision.convolutions):
            with jax.default_matmul_precision(name):
                jax.eval_shape(jax.numpy.matmul, *[np.zeros((2, 2), np.float32)] * 2)
