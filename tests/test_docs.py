"""Pages: commands and code run, links lead somewhere, and names are in the package."""

import ast
import importlib
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import darts_jax
from tests.support.made_data import make_coco, pictures, prepare, write_fashion
from tests.support.paths import ROOT, SHARED

DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), DOCS / "api" / "index.md"])
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
BLOCK = re.compile(r"^```(\w+|{code-cell} python)\n(.*?)^```$", re.M | re.S)
CODE_SPAN = re.compile(r"`([^`\n]+)`")
ROOMS = {
    path.stem
    for path in (ROOT / "darts_jax").iterdir()
    if not path.name.startswith("_")
    and ((path / "__init__.py").exists() or path.suffix == ".py")
}
SECTIONS = set(darts_jax.default_config())
"""Sections of a config: `data.size` is a setting, and no name of the room `data`."""
SETUP = "python3 -m venv .venv"
"""Begins the two commands that .ci/run takes out of the README."""

NEEDS_DATA = ("cifar10", "nasbench201", "runs/nb", "ptb", "configs/chars")
NEEDS = {"--engine ray": "ray", "--engine slurm": "submitit"}
"""Part of a command -> the package of an extra, which all of .ci/run has."""
OFFICIAL = "NATS-tss"
"""Gigabytes; tests/test_nasbench201.py converts a stand-in of the same format."""

SMALL = """
import runpy

def get_config():
    config = runpy.run_path({path!r})["get_config"]()
    if config.space == "darts":
        config.space = "s2"  # of the same cells; compiles in a third of the time
    config.data.update(images=64, workers=0, top=min(config.data.top, 1))
    config.supernet.update(cells=1, channels=4)
    config.search.update(epochs=1, batch_size=8)
    config.search.selection.samples = 3
    config.retrain.update(cells=2, channels=4, epochs=1, batch_size=16)
    config.baseline.random_genotypes = 1
    config.detection.update(side=24, channels=4, scenes=32, test_scenes=16)
    config.language.update(tokens=2000)
    for part in (config.language.supernet, config.language.network):
        part.units = 8
    config.score.update(images=8, batch_size=8, calibration=8, paths=12)
    if config.retrain.schedule == "flattened":  # which wants more than 5 epochs
        config.retrain.schedule = "linear"
    config.retrain.warmup_epochs = 0
    if config.data.name.startswith("stream:"):  # of the two dozen images made here
        config.search.batch_size = 4
    return config
"""


def blocks(page, language):
    return [
        text for found, text in BLOCK.findall(page.read_text()) if found == language
    ]


def commands(page):
    """Lines of its shell blocks; such as end in a backslash go on in the next."""
    for text in blocks(page, "sh"):
        for line in text.replace("\\\n", " ").splitlines():
            command = line.partition("  #")[0].strip()
            if command and not command.startswith(("#", SETUP)):
                yield command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    prose = BLOCK.sub("", page.read_text())
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", prose):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def has_name(name):
    """Returns whether a module, or what a module defines, has this dotted name."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            fields = getattr(found, "__dataclass_fields__", {})
            if not hasattr(found, part) and part not in fields:
                return False
            found = getattr(found, part, None)
        return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_of_the_package_exist(page):
    text = page.read_text()
    names = set(re.findall(r"\bdarts_jax(?:\.[A-Za-z_]\w*)+", text))
    spans = CODE_SPAN.findall(BLOCK.sub("", text))
    for span in spans:
        room, dot, _ = span.partition(".")
        if dot and room in ROOMS - SECTIONS and re.fullmatch(r"[\w.]+", span):
            names.add(f"darts_jax.{span}")
    files = {span for span in spans if re.fullmatch(r"[\w/]+/\w+\.py", span)}
    missing = {
        name for name in names if not name.endswith(".py") and not has_name(name)
    }
    missing |= {
        file
        for file in files
        if not (ROOT / file).exists() and not (ROOT / "darts_jax" / file).exists()
    }
    assert not missing, f"{page.name} names what is not there: {sorted(missing)}"


def python_sources(path):
    """Yields Python code of a page or notebook, without options and magic commands."""
    texts = [*blocks(path, "python"), *blocks(path, "{code-cell} python")]
    if path.suffix == ".ipynb":
        cells = json.loads(path.read_text())["cells"]
        texts = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    for text in texts:
        yield re.sub(r"^[:%!].*", "", text, flags=re.M)


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS], ids=lambda page: page.name)
def test_names_that_code_takes_from_the_package_exist(page):
    """A name that a page imports, or takes as `darts_jax.NAME`, is there."""
    names = set()
    for node in (n for text in python_sources(page) for n in ast.walk(ast.parse(text))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Attribute):
            names.add(ast.unparse(node))
    ours = {name for name in names if re.match(r"darts_jax(\.\w+)+$", name)}
    missing = {name for name in ours if not has_name(name)}
    assert not missing, f"{page.name} takes what is not there: {sorted(missing)}"


def test_the_api_has_every_exported_name_and_every_room():
    text = (DOCS / "api" / "index.md").read_text()
    entries = re.findall(r"^\.\. auto\w+:: darts_jax\.(\w+)$", text, re.M)
    assert sorted(entries) == sorted(darts_jax.__all__)
    rooms = re.findall(r"<modules/(\w+)>$", text, re.M)
    assert sorted(rooms) == sorted(ROOMS)


def test_every_guide_is_in_the_table_of_contents():
    trees = re.findall(
        r"^```{toctree}\n(.*?)^```$", (DOCS / "index.md").read_text(), re.M | re.S
    )
    listed = {line for tree in trees for line in tree.splitlines()}
    assert {page.stem for page in DOCS.glob("*.md")} - {"index"} <= listed


def test_the_quickstart_is_a_part_of_the_readme():
    readme = (ROOT / "README.md").read_text()
    marks = re.findall(r"<!-- .* -->", (DOCS / "quickstart.md").read_text())
    assert len(marks) == 2
    assert all(readme.count(mark) == 1 for mark in marks)


def test_links_of_copied_pages_are_mended(monkeypatch):
    pytest.importorskip(
        "sphinx", reason="Sphinx, which builds the site, is not installed"
    )
    monkeypatch.syspath_prepend(DOCS)
    pages = importlib.import_module("pages")
    notebook = next(page for page in pages.COPIES if page.suffix == ".ipynb")
    for text, page, mended in (
        ("[a](../docs/own.md#b)", notebook, "[a](../own.md#b)"),
        ("[a](docs/own.md)", "project/contributing.md", "[a](../own.md)"),
        ("[a](../REPRODUCTION.md)", "evidence.md", "[a](project/reproduction.md)"),
        (f"[a](../notebooks/{notebook.name})", "own.md", f"[a]({notebook})"),
        ("[a](https://jax.dev)", "own.md", "[a](https://jax.dev)"),
        ("![a](none.svg)", notebook, "`none.svg`"),
    ):
        assert pages.mend_links(text, Path(page)) == mended
    outside = pages.mend_links("[a](../configs/digits.py)", Path("own.md"))
    assert outside == f"[a]({pages.REPOSITORY}/blob/main/configs/digits.py)"


def test_ci_runs_the_two_commands_of_the_readme():
    text = (ROOT / "README.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith(SETUP)]
    script = (ROOT / ".ci" / "run").read_text()
    assert len(lines) == 2
    for line, end in zip(lines, ("--run runs/digits", "-m pytest"), strict=True):
        assert line.endswith(end)
        assert f"{end}$" in script


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_json_blocks_are_json(page):
    for text in blocks(page, "json"):
        json.loads(text)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Makes the pages' paths: configs made small, sets of a few images."""
    for path in (ROOT / "configs").rglob("*.py"):
        small = tmp_path / path.relative_to(ROOT)
        small.parent.mkdir(parents=True, exist_ok=True)
        small.write_text(SMALL.format(path=str(path)))
    for part in ("train", "test"):
        for label in ("cat", "dog"):
            folder = tmp_path / "pets" / part / label
            folder.mkdir(parents=True)
            for i, picture in enumerate(pictures(24, 16)):
                Image.fromarray(picture).save(folder / f"{i}.png")
    make_coco(tmp_path / "scenes")
    words = np.random.default_rng(0).choice(["once", "upon", "a", "time"], (500, 8))
    tale = "\n".join(" ".join(line) for line in words)
    (tmp_path / "tale.txt").write_text(tale)
    np.save(tmp_path / "images.npy", pictures(3, 8, channels=1))
    data = tmp_path / "data"
    data.mkdir()
    if SHARED.is_dir():
        for path in (SHARED / "data").iterdir():
            (data / path.name).symlink_to(path)
        table = "nasbench201_table.npz"
        (tmp_path / table).symlink_to(SHARED / "data" / table)
    write_fashion(data, 64)
    prepare(data, "imagenet2012", sizes=(300,), version="5.1.0", count=32)
    monkeypatch.setenv("DARTS_JAX_DATA_DIR", str(data))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("XLA_FLAGS", QUICK)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command, place, told):
    done = subprocess.run(
        command,
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, f"{told}\n{done.stdout.decode()[-3000:]}"


def is_here(package):
    return importlib.util.find_spec(package) is not None


def here(command):
    """The words of a command, on this Python and this machine."""
    for there, at_hand in (("host0:1234", "localhost:12399"), ("=DIR", "=data")):
        command = command.replace(there, at_hand)
    program, *words = shlex.split(command)
    if program == "python":
        return [sys.executable, *words]
    assert program == "darts-jax", command
    return [sys.executable, "-m", "darts_jax", *words]


@pytest.mark.docs
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_says_runs(page, place):
    """Commands run one after another, and then the code, which is one program."""
    for command in commands(page):
        needs = any(word in command for word in NEEDS_DATA)
        if OFFICIAL in command or (needs and not SHARED.is_dir()):
            continue
        if any(word in command and not is_here(NEEDS[word]) for word in NEEDS):
            continue
        if "--process 0" in command:
            other = here(command.replace("--process 0", "--process 1"))
            with subprocess.Popen(other, cwd=place, env=os.environ | ONE_DEVICE):
                run(here(command), place, command)
        else:
            run(here(command), place, command)
    code = "\n".join(blocks(page, "python"))
    if "nasbench201_table" in code and not SHARED.is_dir():
        pytest.skip("no NAS-Bench-201 table beside this checkout")
    if code:
        (place / "page.py").write_text(code)
        run([sys.executable, "page.py"], place, page.name)
    cells = "\n".join(blocks(page, "{code-cell} python"))
    if cells:
        pytest.importorskip("IPython", reason="IPython is not installed")
        (place / "cells.py").write_text(re.sub(r"^:.*$", "", cells, flags=re.M))
        # Sphinx executes them in the folder of the page.
        run([sys.executable, str(place / "cells.py")], page.parent, page.name)


QUICK = "--xla_backend_optimization_level=0"
"""Programs run once or twice here: they are compiled in half the time."""
ONE_DEVICE = {"XLA_FLAGS": f"{QUICK} --xla_force_host_platform_device_count=1"}
