"""The published package: one version, files that agree, a wheel that serves alone."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

import darts_jax
from darts_jax.cli.main import main
from darts_jax.settings.experiments import EXPERIMENTS
from darts_jax.settings.methods import METHODS
from darts_jax.settings.table_experiments import TABLE_EXPERIMENTS
from tests.support.paths import ROOT

FACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = FACTS["project"]
EXTRAS = list(PROJECT["optional-dependencies"])
PREFIX = "Programming Language :: Python :: 3."
PYTHONS = [name.rpartition(" ")[2] for name in PROJECT["classifiers"] if PREFIX in name]


def read_yaml(name):
    return yaml.safe_load((ROOT / name).read_text())


def test_the_version_is_that_of_the_package(capsys):
    assert "version" in PROJECT["dynamic"]
    found = FACTS["tool"]["setuptools"]["dynamic"]["version"]
    assert found == {"attr": "darts_jax.__version__"}
    assert read_yaml("CITATION.cff")["version"] == darts_jax.__version__
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"darts_jax {darts_jax.__version__}\n"


def test_the_citation_says_what_the_project_says():
    cited = read_yaml("CITATION.cff")
    assert cited["license"] == PROJECT["license"]
    assert cited["repository-code"] == PROJECT["urls"]["Source"]
    assert cited["authors"] == PROJECT["authors"]


def test_the_changelog_keeps_its_form():
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## (.*)$", text, re.M)
    assert versions[0] == "[Unreleased]"
    for version in versions[1:]:
        assert re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", version)
    for name in re.findall(r"^## \[(.*?)\]", text, re.M):
        assert f"\n[{name}]: {PROJECT['urls']['Source']}/" in text
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", text, re.M)) <= kinds


def test_continuous_integration_runs_every_python_that_is_promised():
    job = read_yaml(".github/workflows/ci.yml")["jobs"]["ci"]
    assert job["strategy"]["matrix"]["python"] == PYTHONS
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
    steps = {step.get("uses", "").split("@")[0]: step for step in job["steps"]}
    set_up = steps["actions/setup-python"]["with"]["python-version"].split("\n")
    assert set_up[:2] == [PYTHONS[-1], "${{ matrix.python }}"]
    assert "bash .ci/run" in [step.get("run") for step in job["steps"]]


def test_hooks_are_the_checks_of_ci():
    (local,) = read_yaml(".pre-commit-config.yaml")["repos"]
    assert all(hook["language"] == "system" for hook in local["hooks"])
    hooks = {hook["entry"] for hook in local["hooks"]}
    script = (ROOT / ".ci" / "run").read_text()
    checks = re.findall(r"/((?:ruff|mypy)[^\n]*)$", script, re.M)
    # A hook writes what it formats; CI only asks, and asks of every file.
    asked = {re.sub(r" (--check|\.)(?=\s|$)", "", check) for check in checks}
    assert hooks == asked


def environment():
    """The tests' own, without this checkout; uv is to use the Pythons that are here."""
    known = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return known | {"UV_PYTHON_DOWNLOADS": "never"}


@pytest.fixture(scope="module")
def uv():
    """Makes environments and resolves for any Python, where a registry answers."""
    tool = pytest.importorskip(
        "uv", reason="uv, which makes the environment, is not installed"
    ).find_uv_bin()
    asked = subprocess.run(
        [tool, "pip", "compile", "--quiet", "--no-cache", "-"],
        env=environment(),
        input="pip",
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode:
        pytest.skip(f"no package registry answers: {asked.stderr.strip()[-200:]}")
    return tool


def told(*command, place=ROOT):
    """Returns what a command prints."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=place,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}"
    return done.stdout


RESOLVED = [(extra, p) for extra in EXTRAS for p in (PYTHONS[0], PYTHONS[-1])]


@pytest.fixture(scope="module")
def resolving(uv):
    """All resolutions at once: each waits for the registry more than it computes."""
    by = (uv, "pip", "compile", "--quiet", "pyproject.toml")
    on = ("--python-platform", "x86_64-manylinux_2_35")  # libtpu has no older wheels
    with ThreadPoolExecutor(4) as pool:
        yield {
            (extra, python): pool.submit(
                told, *by, *on, "--python-version", python, "--extra", extra
            )
            for extra, python in RESOLVED
        }


@pytest.mark.registry
@pytest.mark.parametrize(("extra", "python"), RESOLVED)
def test_every_extra_resolves(resolving, extra, python):
    """Resolves by metadata alone: CUDA and torch are gigabytes to download."""
    chosen = resolving[extra, python].result()
    for dependency in PROJECT["optional-dependencies"][extra]:
        name = re.split(r"[\[<>=]", dependency)[0].replace("_", "-").lower()
        assert name == "darts-jax" or f"\n{name}==" in chosen
    assert extra != "cuda" or "\njax-cuda13-plugin==" in chosen


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what distributions are made of: builds leave files behind."""
    copy = tmp_path_factory.mktemp("source")
    ignore = shutil.ignore_patterns("__pycache__", "*.so")
    for name in ("darts_jax", "configs"):
        shutil.copytree(ROOT / name, copy / name, ignore=ignore)
    for path in ROOT.iterdir():
        if path.suffix in (".toml", ".py", ".in", ".cff", ".md"):
            shutil.copy(path, copy)
    shutil.copy(ROOT / "LICENSE", copy)
    return copy


@pytest.fixture(scope="module")
def distributions(uv, source, tmp_path_factory):
    """An sdist, and the wheel that is built from that."""
    made = tmp_path_factory.mktemp("dist")
    told(uv, "build", "--quiet", "--python", sys.executable, "--out-dir", made, source)
    return made


@pytest.fixture(scope="module")
def installed(uv, distributions, tmp_path_factory):
    """The programs of a fresh environment that has the wheel and what it asks for."""
    place = tmp_path_factory.mktemp("environment") / "venv"
    told(uv, "venv", "--quiet", "--python", sys.executable, place)
    programs = place / ("Scripts" if os.name == "nt" else "bin")
    (wheel,) = distributions.glob("*.whl")
    told(uv, "pip", "install", "--quiet", "--python", programs / "python", wheel)
    return programs


@pytest.mark.registry
def test_the_wheel_has_every_file_of_the_package(source, distributions):
    (wheel,) = distributions.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = {n for n in opened.namelist() if n.startswith("darts_jax/")}
    wanted = {
        folder + path.relative_to(source).as_posix()
        for top, folder in (("darts_jax", ""), ("configs", "darts_jax/"))
        for path in (source / top).rglob("*")
        if path.is_file()
    }
    assert names == wanted


@pytest.mark.registry
def test_distributions_may_be_uploaded(uv, distributions):
    files = sorted(distributions.glob("darts_jax-*"))
    assert len(files) == 2
    checked = told(uv, "tool", "run", "--quiet", "twine", "check", "--strict", *files)
    assert checked.count("PASSED") == 2
    assert "WARNING" not in checked


IN_PYTHON = """
import importlib.metadata
import darts_jax
from darts_jax.settings.experiments import EXPERIMENTS, experiment_config
from darts_jax.settings.methods import METHODS

assert importlib.metadata.version("darts-jax") == darts_jax.__version__
for name in ("digits", "ptb", *METHODS):
    darts_jax.load_config(name)
for experiment in EXPERIMENTS.values():
    experiment_config(experiment, 0)
print(darts_jax.load_config("digits").supernet.channels, darts_jax.__file__)
"""


@pytest.mark.registry
def test_configs_are_found_by_an_installed_package(uv, installed, tmp_path):
    said = told(installed / "python", "-c", IN_PYTHON, place=tmp_path)
    assert said.startswith("8 ")
    assert str(ROOT) not in said
    told(uv, "pip", "check", "--quiet", "--python", installed / "python")


@pytest.mark.registry
def test_configs_are_found_by_an_editable_install(uv, source, tmp_path):
    place, empty = tmp_path / "venv", tmp_path / "empty"
    empty.mkdir()
    told(uv, "venv", "--quiet", "--python", sys.executable, place)
    python = place / ("Scripts" if os.name == "nt" else "bin") / "python"
    told(uv, "pip", "install", "--quiet", "--python", python, "-e", source)
    said = told(python, "-c", IN_PYTHON, place=empty)
    assert said == f"8 {source / 'darts_jax' / '__init__.py'}\n"


TINY = (
    "data.images=64",
    "space=nasbench201",
    "supernet.cells=1",
    "supernet.channels=4",
    "search.epochs=1",
    "search.batch_size=16",
    "retrain.cells=1",
    "retrain.channels=4",
    "retrain.epochs=1",
    "retrain.batch_size=16",
    "baseline.random_genotypes=1",
)


@pytest.mark.registry
def test_an_installed_package_serves_from_an_empty_directory(installed, tmp_path):
    def said(*given):
        return told(installed / "darts-jax", *given, place=tmp_path)

    resolved = json.loads(said("settings", "--config", "pc_darts"))
    assert resolved["supernet"]["partial_channels"] == 4
    listed = said("reproduce", "list").splitlines()
    names = [line for line in listed if line[0] != " "]
    assert names == [*EXPERIMENTS, *TABLE_EXPERIMENTS]
    methods = said("methods")
    assert all(f"{name}: " in methods for name in METHODS)
    assert "auxiliary head" in said("cost", "DARTS_V2")
    assert said("draw", "DARTS_V2", "--out", "cells") == "cells.svg\ncells.png\n"
    assert list(tmp_path.glob("configs")) == []

    tiny = [f"--config.{setting}" for setting in TINY]
    assert "random_0" in said("run", "--config", "digits", "--run", "run", *tiny)
    said("report", "run", "--out", "report.html")
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert "load.py" in said("export", "run", "--out", "exported")
