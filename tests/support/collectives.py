"""Program that counts the messages between devices of a search step.

    python collectives.py DEVICES BATCH_NORM

Prints, as JSON, kind -> number in a first-order step of NAS-Bench-201's space, one cell
a stage, compiled for CPU.
"""

import collections
import json
import re
import sys

import jax
import numpy as np

from darts_jax import default_config, from_arrays
from darts_jax.tasks.registry import make_search
from darts_jax.training.loop import compile_job

COLLECTIVES = (
    "all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter|"
    "collective-broadcast"
)


def main(devices, batch_norm):
    images = np.zeros((64, 8, 8, 3), np.uint8)
    labels = np.arange(len(images)) % 10
    config = default_config()
    config.update(space="nasbench201", batch_norm=batch_norm, devices=int(devices))
    config.supernet.update(cells=1, channels=4, execution="batch")
    config.search.batch_size = 16
    job = make_search(config, from_arrays(images, labels, images, labels))
    state = jax.eval_shape(job.init, job.start)
    shapes = job.layout.state_shapes((state, job.empty_totals()))
    program, _ = compile_job(job, *shapes)
    found = re.findall(rf" ({COLLECTIVES})(?:-start)?\(", program.as_text())
    print(json.dumps(collections.Counter(found)))


if __name__ == "__main__":
    main(*sys.argv[1:])
