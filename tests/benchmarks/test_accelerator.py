"""The script for one visit to an accelerator, tried without one."""

import argparse
import dataclasses
import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.support.paths import ROOT

# Benchmarks are commands, which find each other in their own folder.
sys.path.insert(0, str(ROOT / "benchmarks"))

import accelerator
import contenders
import kernel_cases
import measuring
import parts

# A part that does as its name says; "--part" and the name are its last arguments.
ACTOR = """
import json, sys, time
name = sys.argv[-1]
if name == "breaks":
    raise MemoryError("RESOURCE_EXHAUSTED: no room")
if name == "compiles":
    time.sleep(60)
print("a library says something")
print(json.dumps({"ready": {"compile_s": 1.5}}), flush=True)
seconds = float(sys.stdin.readline())
if name == "measures long":
    time.sleep(60)
print(json.dumps({"measured": [{"step_s": 0.5, "given": seconds}]}), flush=True)
"""


def visit(folder, monkeypatch, names, **options):
    script = folder / "actor.py"
    script.write_text(ACTOR)
    monkeypatch.setattr(sys, "argv", [str(script)])
    chosen = [parts.Part(name, "steps", 0.2, None) for name in names]
    given = argparse.Namespace(**{"out": folder, "minutes": 0.1, "jobs": 2} | options)
    return accelerator.Visit(given, chosen).run()


def test_a_part_that_breaks_or_takes_too_long_leaves_the_others(tmp_path, monkeypatch):
    names = ["breaks", "measures", "measures long", "compiles", "measures too"]
    rows = visit(tmp_path, monkeypatch, names)
    found = {row["part"]: row for row in rows}
    assert set(found) == set(names)
    for name in ("measures", "measures too"):
        assert found[name]["step_s"] == 0.5
        assert found[name]["compile_s"] == 1.5
        assert 0 < found[name]["given"] <= 0.2 * 6
    assert "RESOURCE_EXHAUSTED" in found["breaks"]["failure"]
    assert found["measures long"]["failure"] == "not measured in 1 seconds"
    assert found["compiles"]["failure"] == "not compiled at the end of 0.1 minutes"
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == rows


def test_parts_for_which_no_time_is_left_are_told(tmp_path, monkeypatch):
    names = ["compiles", "measures"]
    rows = visit(tmp_path, monkeypatch, names, jobs=1, minutes=0.01)
    assert [row["failure"].split(" at ")[0] for row in rows] == [
        "not compiled",
        "not begun",
    ]


def test_every_part_has_a_name_of_its_own_and_steps_are_contenders():
    names = [part.name for part in parts.all_parts(parts.Sizes())]
    assert len(set(names)) == len(names)
    assert set(parts.STEPS) < set(names)
    for name in parts.STEPS:
        space, words = name.split(maxsplit=1)
        assert hasattr(parts.SMALL, space)
        assert str(contenders.Contender.parse(words)) == words


@pytest.mark.parametrize(
    "words", ["", "ours", "ours third_order", "torch first_order", "flax exact half"]
)
def test_what_is_no_contender_is_told(words):
    with pytest.raises(argparse.ArgumentTypeError, match="want one of ours"):
        contenders.Contender.parse(words)


def test_a_table_has_the_columns_that_some_row_has():
    rows = [{"part": "a", "step_s": 0.25}, {"part": "long", "failure": "none left"}]
    text = measuring.format_table(rows, ("part", "case", "step_s", "failure"))
    assert text.splitlines() == [
        "part  step_s  failure",
        "a       0.25",
        "long          none left",
    ]


def test_a_kernel_that_is_wrong_does_not_agree():
    right = kernel_cases.conv_case(1, 1, 1, 3, 3)
    wrong = dataclasses.replace(
        right, ours=lambda x, kernel: right.ours(x, 1.001 * kernel)
    )
    size = kernel_cases.Size(edges=2, batch=2, side=4, channels=3)
    for case, agrees in ((right, "yes"), (wrong, "NO")):
        checks = kernel_cases.prepare("float32", size, [case])
        assert {check.measure(1)["agrees"] for check in checks} == {agrees}
    assert kernel_cases.error([np.nan], [1.0]) == np.inf


@pytest.mark.slow
def test_the_script_runs_on_cpu_and_kernels_agree(tmp_path):
    chosen = ["kernels float32", "nasbench201 ours first_order tf32"]
    if importlib.util.find_spec("torch"):
        chosen += ["nasbench201 torch_nchw first_order tf32"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "benchmarks" / "accelerator.py"), "--small"]
    command += ["--out", str(tmp_path), "--minutes", "10", "--parts", *chosen]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert {row["part"] for row in rows} == set(chosen)
    assert not [row for row in rows if "failure" in row]
    checks = [row for row in rows if row["table"] == "kernels"]
    assert {row["agrees"] for row in checks} == {"yes"}
    assert len(checks) == 3 * 4
    steps = [row for row in rows if row["table"] == "steps"]
    assert all(row["step_s"] > 0 and row["peak_mb"] > 0 for row in steps)
