"""Programs of their own, whose compilation takes half the time."""

import os
import subprocess
import sys

from tests.support.paths import ROOT

QUICK = "--xla_backend_optimization_level=0"


def run_quickly(code, place):
    """Runs Python code in a folder and returns what it prints; it must not fail."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=place,
        env=os.environ | {"XLA_FLAGS": QUICK, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout
