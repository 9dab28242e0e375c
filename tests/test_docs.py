"""Every command and code block of README and docs runs, on configs made small."""

import json
import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.support.made_data import make_coco, pictures, prepare, write_fashion
from tests.support.paths import ROOT, SHARED

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
SETUP = "python3 -m venv .venv"
"""Begins the two commands that .ci/run takes out of the README."""

NEEDS_DATA = ("cifar10", "nasbench201", "runs/nb", "ptb", "configs/chars")
OFFICIAL = "NATS-tss"
"""Gigabytes; tests/test_nasbench201.py converts a stand-in of the same format."""

SMALL = """
import runpy

def get_config():
    config = runpy.run_path({path!r})["get_config"]()
    if config.space == "darts":
        config.space = "s2"  # of the same cells; compiles in a third of the time
    config.data.images = 64
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
    """Where the pages' paths are: configs made small, sets of a few images."""
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
    """Its commands, one after another, and then its code, which is one program."""
    for command in commands(page):
        needs = any(word in command for word in NEEDS_DATA)
        if OFFICIAL in command or (needs and not SHARED.is_dir()):
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


QUICK = "--xla_backend_optimization_level=0"
"""Programs run once or twice here: they are compiled in half the time."""
ONE_DEVICE = {"XLA_FLAGS": f"{QUICK} --xla_force_host_platform_device_count=1"}
