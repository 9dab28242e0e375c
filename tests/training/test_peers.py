"""Processes miss each other: one that is lost, is silent, or ended with an error."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from darts_jax.errors import InputError
from darts_jax.training import peers, processes
from darts_jax.training.peers import FAILED_STATUS, LOST_STATUS, Watch
from darts_jax.training.processes import join_processes


class Star:
    """Watches of process 0 and of others, in one process, and what ends them."""

    def __init__(self, count: int, timeout: float) -> None:
        self.ends: dict[int, tuple[str, int]] = {}
        near, far = zip(*(socket.socketpair() for _ in range(1, count)), strict=True)
        links = [dict(enumerate(near, start=1)), *({0: link} for link in far)]
        self.watches = [
            Watch(links[index], index, count, timeout, self._end(index))
            for index in range(count)
        ]

    def _end(self, index: int):
        return lambda line, status: self.ends.__setitem__(index, (line, status))

    def wait(self, *indices: int) -> None:
        until = time.monotonic() + 5
        while not set(indices) <= self.ends.keys() and time.monotonic() < until:
            time.sleep(0.01)
        assert set(indices) == self.ends.keys()


@contextlib.contextmanager
def star(count: int, silent: tuple[int, ...] = (), timeout: float = 30.0):
    made = Star(count, timeout)
    for index, watch in enumerate(made.watches):
        if index not in silent:
            watch.start()
    yield made
    for watch in made.watches:
        for link in [*watch.links.values()]:
            link.close()


def die(watch: Watch) -> None:
    for link in watch.links.values():
        link.shutdown(socket.SHUT_RDWR)


def test_a_lost_process_ends_all_others_at_once() -> None:
    with star(3, silent=(2,)) as stars:
        die(stars.watches[2])
        stars.wait(0, 1)
        assert {status for _, status in stars.ends.values()} == {LOST_STATUS}
        for line, _ in stars.ends.values():
            assert line.startswith("process 2 of 3 is gone; this one ends too")


def test_process_zero_is_missed_as_well() -> None:
    with star(3, silent=(0,)) as stars:
        die(stars.watches[0])
        stars.wait(1, 2)
        assert stars.ends[1][0].startswith("process 0 of 3 is gone")


def test_silence_is_a_loss_and_signs_of_life_are_not() -> None:
    with star(3, silent=(1,), timeout=0.5) as stars:
        stars.wait(0, 2)
        line, status = stars.ends[0]
        assert line.startswith("process 1 of 3 gave no sign of life for 0.5 s")
        assert status == LOST_STATUS
    with star(2, timeout=0.3) as stars:
        time.sleep(1.0)
        stars.wait()


def test_a_farewell_is_no_loss() -> None:
    with star(3, silent=(2,)) as stars:
        stars.watches[2].say_farewell(0)
        die(stars.watches[2])
        time.sleep(0.3)
        stars.wait()


def test_an_error_ends_the_others_once_they_could_tell_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peers, "_GRACE", 0.2)
    with star(3, silent=(2,)) as stars:
        stars.watches[2].say_farewell(2)
        die(stars.watches[2])
        stars.wait(0, 1)
        line, status = stars.ends[1]
        assert line.startswith("process 2 of 3 ended with an error")
        assert status == FAILED_STATUS


@contextlib.contextmanager
def echo() -> Iterator[tuple[tuple[str, int], list[socket.socket]]]:
    taken: list[socket.socket] = []

    def answer(server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            taken.append(server.accept()[0])
            while data := taken[0].recv(100):
                taken[0].sendall(data.upper())

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=answer, args=(server,), daemon=True).start()
        yield server.getsockname()[:2], taken


def test_a_relay_stays_open_where_its_far_side_is_lost() -> None:
    with echo() as (address, taken):
        near = socket.create_connection(("127.0.0.1", peers.start_relay(address)))
        with near:
            near.sendall(b"word")
            assert near.recv(100) == b"WORD"
            taken[0].shutdown(socket.SHUT_RDWR)
            near.settimeout(0.3)
            for _ in range(3):
                near.sendall(b"more")
                with pytest.raises(TimeoutError):
                    near.recv(100)


def test_strangers_are_not_taken_for_peers() -> None:
    listener = peers.open_listener()
    port = listener.getsockname()[1]
    links = []
    for secret in (8, 7):
        links.append(peers.open_link("127.0.0.1", port, secret, 1, 5.0)[0])
    taken = peers.accept_links(listener, 7, 2, 5.0)
    assert taken.keys() == {1}
    links[1].sendall(b"me")
    assert taken[1].recv(2) == b"me"
    for link in (*links, *taken.values()):
        link.close()


def test_slurm_tells_the_processes_of_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "SLURM_JOB_ID": "5",
        "SLURM_STEP_NODELIST": "host[1-2]",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": "1",
        "SLURM_LOCALID": "0",
        "SLURM_STEP_NUM_NODES": "2",
    }.items():
        monkeypatch.setenv(name, value)
    joined: list[tuple[object, ...]] = []
    monkeypatch.setattr(processes, "_connect", lambda *given: joined.append(given))
    join_processes(timeout=7.0)
    ((host, port, *rest),) = joined
    assert (host, *rest) == ("host1", 2, 1, 7.0)
    assert 1024 < port < 65536


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("host:1", None, 0), "several processes need --coordinator HOST:PORT"),
        (("host", 2, 0), "no process 0 of 2 at host: want --coordinator HOST:PORT"),
        (("host:1", 2, 2), "no process 2 of 2 at host:1: want .* --process from 0"),
        (("host:1", 2, 0, 0.0), "--peer-timeout above 0"),
    ],
)
def test_wrong_processes_get_one_line(given, message) -> None:
    with pytest.raises(InputError, match=message):
        join_processes(*given)
