"""Notebooks hold what their last run showed; .ci/notebooks runs them from scratch."""

import hashlib
import json

import pytest

from tests.support.paths import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def code_cells(path):
    cells = json.loads(path.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_there_are_notebooks():
    assert len(NOTEBOOKS) == 10


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_of_this_code_from_top_to_bottom(path):
    cells = code_cells(path)
    sources = "\0".join("".join(cell["source"]) for cell in cells)
    stored = json.loads(path.read_text())["metadata"]["source_hash"]
    assert stored == hashlib.sha256(sources.encode()).hexdigest()
    counts = [cell["execution_count"] for cell in cells]
    assert counts == list(range(1, len(cells) + 1))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_no_errors_and_pictures_are_there(path):
    outputs = [output for cell in code_cells(path) for output in cell["outputs"]]
    assert not [o for o in outputs if o["output_type"] == "error"]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert kinds & {"image/png", "image/svg+xml", "text/html"}
    assert path.stat().st_size < 3_000_000
    text = path.read_text()
    assert "/work/" not in text
    assert "/root/" not in text
