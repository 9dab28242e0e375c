"""Public names: lazy, typed, without ``Any``, and usable under ``mypy --strict``."""

import ast
import importlib
import inspect
import re
import subprocess
import sys

import pytest

import darts_jax
from tests.support.paths import ROOT
from tests.support.programs import run_quickly

MODULE = ast.parse((ROOT / "darts_jax" / "__init__.py").read_text())
PAGE = (ROOT / "docs" / "library.md").read_text()
MYPY = """
[mypy]
strict = true
follow_imports = silent
ignore_missing_imports = true
# The types of other libraries take ten times as long.
[mypy-jax.*,flax.*,optax.*,chex.*,numpy.*,pandas.*,matplotlib.*,orbax.*,ml_collections.*]
follow_imports = skip
"""
USER = """
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

import darts_jax
from darts_jax import (
    HYPERGRADIENTS, RELAXATIONS, SPACES, STOP_RULES, TERMS, Alpha, Examples, Genotype,
    Hypergradient, InputError, Mixture, Relaxation, Search, SearchState, Space,
    Supernet, Training, get_space, initialize_supernet, search_scalars, supernet_apply,
)


def halved(
    key: PRNGKeyArray,
    logits: Float[Array, "edge op"],
    mask: Bool[Array, "edge op"],
    temperature: Float[Array, ""],
) -> Float[Array, "edge op"]:
    weights = RELAXATIONS["softmax"].function(key, logits, mask, temperature)
    return weights / 2


RELAXATIONS["halved"] = Relaxation(halved)
first: Hypergradient = HYPERGRADIENTS["first_order"]


def make(space: Space) -> tuple[Search, SearchState]:
    net = Supernet(space, classes=10, cells=1, channels=4)
    mask = {kind: np.array(cell.mask) for kind, cell in space.cells.items()}
    search = Search(supernet_apply(net), RELAXATIONS["halved"], first, mask)
    params, stats = initialize_supernet(net, jax.random.key(0), (8, 8, 3))
    alpha: Alpha = {k: jnp.zeros(cell.shape) for k, cell in space.cells.items()}
    key = jax.random.key_data(jax.random.key(0))
    return search, search.init(key, params, stats, alpha)


def step(search: Search, state: SearchState, batch: Examples) -> SearchState:
    scalars = search_scalars(darts_jax.default_config().search, 0)
    state, sums = jax.jit(search.step)(state, batch, batch, scalars)
    print(float(sums["loss"]))
    return state


def found() -> Genotype:
    try:
        result = darts_jax.search(darts_jax.load_config(), "runs/one")
    except InputError as error:
        raise SystemExit(str(error)) from None
    darts_jax.draw_genotype(result.genotype, "cells.svg")
    return result.genotype


names: list[str] = [*SPACES, *TERMS, *STOP_RULES, get_space("darts").name]
wrong: int = found()
"""


def test_typed_imports_are_those_of_run_time():
    (block,) = (node for node in MODULE.body if isinstance(node, ast.If))
    typed = {alias.name: node.module for node in block.body for alias in node.names}
    lazy = {name: f"darts_jax.{m}" for name, m in darts_jax._PUBLIC.items()}
    assert typed == lazy
    assert all(alias.asname == alias.name for n in block.body for alias in n.names)
    assert set(darts_jax.__all__) == set(lazy)
    assert set(lazy) < set(dir(darts_jax))
    for name, module in lazy.items():
        assert getattr(darts_jax, name) is getattr(
            importlib.import_module(module), name
        )
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = darts_jax.nothing


def test_import_loads_no_library():
    code = (
        "import sys, darts_jax\n"
        "print(*{m.split('.')[0] for m in sys.modules} & {'jax', 'numpy', 'flax'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []


def annotations(node):
    """Yields every annotation of a function, or of a class's fields and methods."""
    if isinstance(node, ast.ClassDef):
        for part in node.body:
            public = not getattr(part, "name", "").startswith("_")
            if isinstance(part, ast.FunctionDef) and (
                public or part.name == "__call__"
            ):
                yield from annotations(part)
            elif isinstance(part, ast.AnnAssign):
                yield part.annotation
    else:
        arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        yield from (a.annotation for a in arguments if a.annotation)
        yield node.returns


@pytest.mark.parametrize("name", darts_jax.__all__)
def test_no_signature_says_any(name):
    thing = getattr(darts_jax, name)
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return
    (node,) = ast.parse(inspect.getsource(thing)).body
    for annotation in annotations(node):
        assert not re.search(r"\bAny\b", ast.unparse(annotation)), ast.unparse(
            annotation
        )


def test_a_users_code_passes_mypy_strict(tmp_path):
    (tmp_path / "user.py").write_text(USER)
    (tmp_path / "mypy.ini").write_text(MYPY)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", "cache", "user.py"],
        cwd=tmp_path,
        env={"MYPYPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    # The one mistake in it proves that names are typed, not `Any`.
    lines = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert len(lines) == 1, done.stdout + done.stderr
    assert "wrong: int" in USER.splitlines()[int(lines[0].split(":")[1]) - 1]


def test_the_page_of_the_library_runs(tmp_path):
    """`Search.step` in a loop of one's own, with two networks."""
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S))
    assert "skip_connect" in run_quickly(code, tmp_path)
