"""Agreement of several processes that run one program; process 0 writes for all."""

import os
from collections.abc import Callable
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from darts_jax.errors import InputError

_Result = TypeVar("_Result")


def join_processes(
    coordinator: str | None = None, count: int | None = None, index: int | None = None
) -> None:
    """Joins this process to the others of its cluster; alone, it does nothing.

    Must come before anything is computed. Without arguments a TPU pod and SLURM are
    recognised.

    Args:
      coordinator: "host:port" of process 0.
      count: number of processes.
      index: of this process, from 0.

    Raises:
      InputError: some of the three are missing.
    """
    given = (coordinator, count, index)
    if all(value is None for value in given):
        if _in_cluster():
            jax.distributed.initialize()
        return
    if any(value is None for value in given):
        raise InputError(
            "several processes need --coordinator HOST:PORT, --processes and --process"
        )
    jax.distributed.initialize(coordinator, count, index)


def _in_cluster() -> bool:
    workers = os.environ.get("TPU_WORKER_HOSTNAMES", "").split(",")
    return len(workers) > 1 or int(os.environ.get("SLURM_NTASKS", "1")) > 1


def is_writer() -> bool:
    """Returns whether this is process 0, which alone writes files and prints."""
    return jax.process_index() == 0


def wait_for_all(reason: str) -> None:
    """Returns when every process has called it.

    Args:
      reason: the same in all of them.
    """
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(reason)


def run_in_process_zero(work: Callable[[], _Result], what: str) -> _Result | None:
    """Does work in process 0; every process must call.

    Args:
      work: has no arguments.
      what: names the work in the other processes' error, should it be refused.

    Returns:
      Its result in process 0, None in the others.

    Raises:
      InputError: the work raised it; raised in every process, so that none waits.
    """
    result = None
    refusal = None
    if is_writer():
        try:
            result = work()
        except InputError as error:
            refusal = error
    if not broadcast_from_process_zero(refusal is None):
        raise refusal or InputError(f"process 0 refused, and says why: {what}")
    return result


def is_set_in_any_process(flag: bool) -> bool:
    """Returns whether a flag is set in any process; every process must call.

    Args:
      flag: of this process.
    """
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def broadcast_from_process_zero(number: int) -> int:
    """Returns process 0's number in every process; every process must call.

    Args:
      number: of this process, at most 31 bits.
    """
    if jax.process_count() == 1:
        return number
    return int(multihost_utils.broadcast_one_to_all(np.array(number, np.int32)))
