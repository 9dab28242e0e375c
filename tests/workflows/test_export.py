"""A retrained network runs where this package is out of reach, and its card is true."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export as jax_export

import darts_jax
from darts_jax.cli.main import main
from darts_jax.cost.networks import network_cost
from darts_jax.data.licences import LICENCES, USERS_OWN
from darts_jax.interop.artifact import to_jax_export, trace_program
from darts_jax.models.functional import network_apply
from darts_jax.models.operations.image import OPERATIONS, make_operation
from darts_jax.models.operations.layers import draw
from darts_jax.settings.config_files import load_config
from darts_jax.spaces.graph import Genotype
from darts_jax.tasks.image_networks import make_network
from darts_jax.tasks.registry import load_data
from tests.support.paths import ROOT
from tests.support.tiny import quick_jit, tiny_genotype, tiny_space

GENOTYPE = tiny_genotype()
RETRAIN = (
    "space=tiny",
    "data.images=96",
    "retrain.cells=2",
    "retrain.channels=4",
    "retrain.epochs=1",
    "retrain.batch_size=32",
    "retrain.pad=0",
    "retrain.cutout=0",
    "retrain.flip=false",
    "baseline.random_genotypes=1",
)

# Reads images from a file, and writes logits: with this package out of reach.
STRANGER = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("darts_jax", "flax", "optax"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
sys.path[:0] = sys.argv[4:]
import numpy as np
from jax import export
try:
    import darts_jax
except ImportError:
    pass
else:
    raise SystemExit("darts_jax was imported")
with open(sys.argv[1], "rb") as file:
    model = export.deserialize(bytearray(file.read()))
with np.load(sys.argv[2]) as batches:
    logits = {name: np.asarray(model.call(batches[name])) for name in batches.files}
np.savez(sys.argv[3], **logits)
assert not any(name.split(".")[0] == "darts_jax" for name in sys.modules)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "retrained"
    darts_jax.SPACES["tiny"] = tiny_space()
    darts_jax.retrain(load_config(None, RETRAIN), path, GENOTYPE)
    yield path
    del darts_jax.SPACES["tiny"]


@pytest.fixture(scope="module")
def out(run):
    folder = run.parent / "exported"
    assert main(["export", str(run), "--out", str(folder)]) == 0
    return folder


def strangers(code, *arguments, cwd):
    """Isolated: no PYTHONPATH, no folder of the script, and packages on request."""
    packages = [p for p in sys.path if Path(p).resolve() not in (ROOT, ROOT / "tests")]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-I", *code, *map(str, arguments), *packages],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment | {"JAX_PLATFORMS": "cpu"},
    )


def own_logits(run, images):
    """Computes logits by the parameters as Orbax has them on disk, normalised here."""
    import orbax.checkpoint as ocp

    folders = (run / "checkpoints" / "retrain").iterdir()
    last = max(folders, key=lambda path: int(path.name))
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        flat = checkpointer.restore(last.absolute() / "state")
    trees = {"params": {}, "stats": {}}
    for name, leaf in flat.items():
        _, kind, *path = name.split(".")
        if kind in trees:
            node = trees[kind]
            for key in path[:-1]:
                node = node.setdefault(key, {})
            node[path[-1]] = jnp.asarray(leaf)
    config = load_config(run / "config.json")
    dataset = load_data(config)
    net = make_network(config, dataset, GENOTYPE)
    pixels = (images / 255 - dataset.mean) / dataset.std
    logits, _ = network_apply(net)(
        trees["params"],
        trees["stats"],
        jnp.asarray(pixels, jnp.float32),
        jnp.zeros(()),
        jax.random.key(7),
        train=False,
    )
    return np.asarray(logits.main)


def test_a_process_without_this_package_gives_the_same_logits(run, out, tmp_path):
    images = load_data(load_config(run / "config.json")).test_images
    batches = {"small": images[:3], "large": images[3:40]}
    np.savez(tmp_path / "batches.npz", **batches)
    given = [
        out / "model.jax_export",
        tmp_path / "batches.npz",
        tmp_path / "logits.npz",
    ]
    done = strangers(["-c", STRANGER], *given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "logits.npz") as found:
        for name, batch in batches.items():
            wanted = own_logits(run, batch)
            assert found[name].dtype == np.float32
            assert np.ptp(wanted) > 0.1
            np.testing.assert_allclose(found[name], wanted, atol=1e-5, rtol=0)


def test_the_loading_example_runs_alone(run, out, tmp_path):
    lines = (out / "load.py").read_text().split('"""')[2].strip().splitlines()
    assert sum(bool(line) and "import" not in line for line in lines) <= 10
    images = load_data(load_config(run / "config.json")).test_images[:6]
    np.save(tmp_path / "images.npy", images)
    path = tmp_path / "elsewhere"
    path.mkdir()
    code = "import runpy, sys; sys.argv.pop(0); sys.path += sys.argv[{}:]; "
    code += "del sys.argv[{}:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    for given, rows in (([tmp_path / "images.npy"], 6), ([], 4)):
        count = 1 + len(given)
        done = strangers(
            ["-c", code.format(count, count), out / "load.py"], *given, cwd=path
        )
        assert done.returncode == 0, done.stderr
        predicted = [
            line.split()[0] for line in done.stdout.splitlines() if "[" in line
        ]
        assert len(predicted) == rows
        if given:
            wanted = own_logits(run, images).argmax(-1)
            assert predicted == [str(label) for label in wanted]


def test_the_card_says_what_the_run_and_the_costs_say(run, out):
    card = json.loads((out / "card.json").read_text())
    summary = json.loads((run / "summary.json").read_text())
    network, other = summary["networks"]
    config = load_config(run / "config.json")
    dataset = load_data(config)
    assert card["test_accuracy"] == network["test_accuracy"]
    assert card["random_test_accuracies"] == [other["test_accuracy"]]
    assert card["cost"]["parameters"] == network["parameters"]
    net = make_network(config, dataset, GENOTYPE).clone(auxiliary=False)
    assert tuple(card["cost"].values()) == tuple(network_cost(net, dataset.image_shape))
    assert Genotype.from_json(json.dumps(card["genotype"])) == GENOTYPE
    assert card["data"]["licence"] == LICENCES["digits"]
    assert card["input"]["shape"] == ["batch", 8, 8, 1]
    assert card["output"]["classes"] == [str(i) for i in range(10)]
    readable = (out / "card.md").read_text()
    for fact in (
        f"{100 * network['test_accuracy']:.2f} %",
        f"{100 * other['test_accuracy']:.2f} %",
        f"parameters: {network['parameters']:,}",
        "CC BY 4.0",
        str(GENOTYPE),
    ):
        assert fact in readable, fact
    assert "</svg>" in (out / "genotype.svg").read_text()


def test_one_artifact_for_three_platforms_and_any_batch(out):
    model = jax_export.deserialize(bytearray((out / "model.jax_export").read_bytes()))
    assert model.platforms == ("cpu", "cuda", "tpu")
    (images,), (logits,) = model.in_avals, model.out_avals
    assert str(images.str_short()) == "uint8[batch,8,8,1]"
    assert str(logits.str_short()) == "float32[batch,10]"
    assert "threefry" not in model.mlir_module()


@pytest.mark.slow
def test_every_operation_exports_with_a_free_batch():
    rng, key = np.random.default_rng(0), jax.random.key(0)
    images = rng.integers(0, 256, (3, 7, 8, 4), np.uint8)
    modules = [make_operation(name, 4, 2, discrete=True) for name in OPERATIONS]

    def init(module):
        streams = {"params": key, "noise": key}
        return draw(key, module.init(streams, jnp.zeros(images.shape), False))

    shapes = jax.eval_shape(lambda: [init(module) for module in modules])
    made = jax.tree.map(lambda x: rng.uniform(0.1, 1, x.shape).astype(x.dtype), shapes)

    def function(images):
        pixels = images.astype(jnp.float32) / 255
        outputs = [
            module.apply(variables, pixels, False, rngs={"noise": key})
            for module, variables in zip(modules, made, strict=True)
        ]
        # Those that no stride changes have other sizes than the others.
        flat = [out.reshape(images.shape[0], -1) for out in outputs]
        sizes[:] = [out.shape[1] for out in flat]
        return jnp.concatenate(flat, axis=1)

    sizes = []
    program = trace_program(function, images.shape[1:])
    found = jax_export.deserialize(bytearray(to_jax_export(program))).call(images)
    wanted = quick_jit(function)(images)
    ends = np.cumsum(sizes)[:-1]
    pairs = (np.split(np.asarray(each), ends, axis=1) for each in (found, wanted))
    for name, one, other in zip(OPERATIONS, *pairs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5, err_msg=name)


def test_onnx_gives_the_same_logits(run, tmp_path):
    pytest.importorskip(
        "jax2onnx", reason="jax2onnx, which writes ONNX files, is not installed"
    )
    runtime = pytest.importorskip(
        "onnxruntime", reason="ONNX Runtime, which runs ONNX files, is not installed"
    )
    given = ["export", str(run), "--out", str(tmp_path / "x")]
    assert main([*given, "--onnx"]) == 0
    session = runtime.InferenceSession(tmp_path / "x" / "model.onnx")
    images = load_data(load_config(run / "config.json")).test_images
    for batch in (images[:3], images[3:40]):
        (found,) = session.run(["logits"], {"images": batch})
        np.testing.assert_allclose(found, own_logits(run, batch), atol=1e-4)
    assert main(given) == 0  # an export is replaced, and no old model stays behind
    assert not (tmp_path / "x" / "model.onnx").exists()


def test_refusals_are_one_line(run, out, tmp_path, capsys):
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.tex").write_text("mine")
    for given, told in (
        (["export", str(tmp_path), "--out", str(tmp_path / "x")], "no retrained net"),
        (["export", str(run), "--out", str(full)], "is no export"),
        (["export", str(run), "--out", str(full), "--config.seed=1"], "no settings"),
    ):
        assert main(given) == 2
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1
    assert [path.name for path in full.iterdir()] == ["thesis.tex"]
    with pytest.raises(
        darts_jax.InputError, match="unknown format 'onx'; did you mean"
    ):
        darts_jax.export(run, out, also=["onx"])


def test_licences_stand_beside_the_sources(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 8, 8), np.uint8)
    labels = [0, 1, 0, 1]
    assert darts_jax.from_arrays(images, labels, images, labels).licence == USERS_OWN
    path = tmp_path / "cifar10.npz"  # a file's name is no claim
    arrays = dict.fromkeys(("train_images", "test_images"), images)
    np.savez(path, **arrays, train_labels=labels, test_labels=labels)
    assert darts_jax.load_dataset(f"npz:{path}").licence == USERS_OWN
