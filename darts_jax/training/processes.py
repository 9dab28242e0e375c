"""Agreement of several processes that run one program; process 0 writes for all."""

import math
import os
import sys
from collections.abc import Callable
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from darts_jax.errors import InputError
from darts_jax.training import peers

_LATER = 60  # seconds
_FIND_SECONDS = 300  # to wait for the coordinator's name on a pod

_Result = TypeVar("_Result")


def join_processes(
    coordinator: str | None = None,
    count: int | None = None,
    index: int | None = None,
    timeout: float = peers.PEER_TIMEOUT,
) -> None:
    """Joins this process to the others of its cluster; alone, it does nothing.

    Must come before anything is computed. Without arguments a TPU pod and SLURM are
    recognised. From here on the processes share their fate: where one is lost, or ends
    with an error, the others end with a line and a status of `peers`.

    Args:
      coordinator: "host:port" of process 0.
      count: number of processes.
      index: of this process, from 0.
      timeout: seconds without a sign of life after which a process is lost; one whose
        machine still runs is missed at once.

    Raises:
      InputError: some of the three are missing, or not in range.
    """
    given = (coordinator, count, index)
    if all(value is None for value in given):
        if not _in_cluster():
            return
        coordinator, count, index = _find_cluster()
    if coordinator is None or count is None or index is None:
        raise InputError(
            "several processes need --coordinator HOST:PORT, --processes and --process"
        )
    host, _, port = coordinator.rpartition(":")
    if not (host and port.isdecimal() and 0 <= index < count and timeout > 0):
        raise InputError(
            f"no process {index} of {count} at {coordinator}: want --coordinator "
            "HOST:PORT, --process from 0 to --processes - 1, --peer-timeout above 0"
        )
    _connect(host.strip("[]"), int(port), count, index, timeout)


def _connect(host: str, port: int, count: int, index: int, timeout: float) -> None:
    """Makes JAX's connections, and the links of the watch."""
    near = f"{host}:{port}"
    if index:
        near = f"127.0.0.1:{peers.start_relay((host, port))}"
    # Until the loop listens, a signal ends a process; JAX's service would swallow it.
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(
        near,
        count,
        index,
        # JAX's own end of a process that misses another, in many lines, comes last.
        heartbeat_timeout_seconds=math.ceil(timeout) + _LATER,
    )
    listener = None if index else peers.open_listener()
    own = listener.getsockname()[1] if listener else 0
    door = broadcast_from_process_zero(own)
    secret = broadcast_from_process_zero(0 if index else peers.new_secret())
    if listener:
        links = peers.accept_links(listener, secret, count, timeout)
    else:
        links = peers.open_link(host, door, secret, index, timeout)
    if len(links) < (1 if index else count - 1):
        print(
            f"darts-jax: warning: not every process reaches port {door} of {host}: "
            "where one is lost, the others may wait for minutes",
            file=sys.stderr,
        )
    peers.start_watch(links, index, count, timeout)


def _in_cluster() -> bool:
    workers = os.environ.get("TPU_WORKER_HOSTNAMES", "").split(",")
    return len(workers) > 1 or int(os.environ.get("SLURM_NTASKS", "1")) > 1


def _find_cluster() -> tuple[str | None, int | None, int | None]:
    """Returns coordinator, count and index, as JAX finds them on pods and SLURM."""
    # `jax.distributed.initialize` asks it, but has no way to tell the answer.
    from jax._src.clusters import ClusterEnv

    detect = ClusterEnv.auto_detect_unset_distributed_params
    coordinator, count, index, _ = detect(None, None, None, None, None, _FIND_SECONDS)
    return coordinator, count, index


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
