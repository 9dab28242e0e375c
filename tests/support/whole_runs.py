"""Runs of the command line from beginning to end, and their programs."""

import os
import subprocess
import sys
import time

from tests.support.paths import ROOT

TINY = [  # S2 on the digits: seconds to compile
    "--config.space=s2",
    "--config.supernet.cells=1",
    "--config.supernet.channels=2",
    "--config.search.epochs=3",
    "--config.search.batch_size=32",
    "--config.retrain.cells=2",
    "--config.retrain.channels=4",
    "--config.retrain.epochs=1",
    "--config.retrain.pad=0",
    "--config.retrain.cutout=4",
    "--config.retrain.flip=false",
]


def command(verb, run, *more):
    return [sys.executable, "-m", "darts_jax", verb, "--run", str(run), *TINY, *more]


def start(*arguments):
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.02)
