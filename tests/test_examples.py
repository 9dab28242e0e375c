"""Examples of networks of one's own run as their first lines say."""

import os
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def test_every_example_is_in_the_guide():
    page = (ROOT / "docs" / "modules.md").read_text()
    assert EXAMPLES
    assert [path.name for path in EXAMPLES if path.name not in page] == []


@pytest.mark.docs
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_searches_and_retrains(path, tmp_path):
    done = subprocess.run(
        [sys.executable, path],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert ("width = " if path.stem == "own_loop" else "random_0") in done.stdout
