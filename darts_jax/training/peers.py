"""Watch over the processes of one program: where one is lost, the others end at once.

A collective waits for ever for a process that died without a word, and JAX notices it
late, in many lines, and aborts. So process 0 is linked with every other process. A link
that closes before a farewell, or is silent for too long, tells that the process at its
other end is lost; process 0 tells the rest. Each then prints one line and ends.
"""

import atexit
import contextlib
import os
import secrets
import selectors
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

PEER_TIMEOUT = 60.0
"""Seconds without a sign of life after which another process is taken for lost."""

LOST_STATUS = 75
"""Exit status of a process that ends because another is lost: EX_TEMPFAIL."""

FAILED_STATUS = 1
"""Exit status of a process that ends because another ended with an error."""

_ALIVE, _FINISHED, _FAILED, _LOST = b"afxl"
_MESSAGE = struct.Struct("!BH")  # one of these, and the process that it is about
_GREETING = struct.Struct("!IH")  # a number that strangers don't know, and who greets
_BEATS = 5  # signs of life in the time after which a silent process is lost
_GRACE = 3.0  # seconds for an error that all processes share to be told by each

last_acts: list[Callable[[], None]] = []
"""Functions called, last one first, before a process ends because of another."""


class Watch(threading.Thread):
    """Thread that reads the links of this process with others.

    Args:
      links: process -> connected socket: every other one in process 0, and process 0
        in the others.
      index: of this process.
      count: number of processes.
      timeout: seconds of silence after which a process is lost.
      end: ends this process; takes a line and the exit status.
    """

    def __init__(
        self,
        links: Mapping[int, socket.socket],
        index: int,
        count: int,
        timeout: float,
        end: Callable[[str, int], None],
    ) -> None:
        super().__init__(name="watch over peers", daemon=True)
        self.links = dict(links)
        self.index = index
        self.count = count
        self.timeout = timeout
        self._end = end
        self._over = False
        self._finished: set[int] = set()
        self._failed: dict[int, float] = {}
        self._heard = dict.fromkeys(links, time.monotonic())
        self._unread = dict.fromkeys(links, b"")

    def run(self) -> None:
        """Reads, and gives signs of life, until no link is left."""
        pause = min(self.timeout / _BEATS, _GRACE) / 2
        beat = 0.0
        with selectors.DefaultSelector() as selector:
            for peer, link in self.links.items():
                selector.register(link, selectors.EVENT_READ, peer)
            while not self._over and (self.links or self._failed):
                for key, _ in selector.select(pause):
                    if not self._read(key.data):
                        selector.unregister(key.fileobj)
                        self._close(key.data)
                now = time.monotonic()
                if now >= beat:
                    beat = now + self.timeout / _BEATS
                    self.tell(_ALIVE, self.index)
                self._judge(now)

    def say_farewell(self, status: int) -> None:
        """Tells the others that this process ends of its own accord.

        Args:
          status: its exit status; other than 0, the others end too.
        """
        self.tell(_FAILED if status else _FINISHED, self.index)

    def tell(self, kind: int, about: int) -> None:
        """Sends a message by every link.

        Args:
          kind: of message.
          about: a process.
        """
        message = _MESSAGE.pack(kind, about)
        for link in [*self.links.values()]:
            with contextlib.suppress(OSError):  # reading tells of its end
                link.sendall(message)

    def _read(self, peer: int) -> bool:
        """Reads what has come by a link; returns whether the link is still open."""
        try:
            data = self.links[peer].recv(4096)
        except OSError:
            data = b""
        self._heard[peer] = time.monotonic()
        read = self._unread[peer] + data
        whole = len(read) - len(read) % _MESSAGE.size
        self._unread[peer] = read[whole:]
        for kind, about in _MESSAGE.iter_unpack(read[:whole]):
            self._obey(kind, about)
        return bool(data)

    def _obey(self, kind: int, about: int) -> None:
        if kind == _FINISHED:
            self._finished.add(about)
        elif kind == _FAILED:
            self._failed[about] = time.monotonic()
            self._pass_on(kind, about)
        elif kind == _LOST:
            self._lose(about, "is gone")

    def _close(self, peer: int) -> None:
        self.links.pop(peer).close()
        if peer not in self._finished and peer not in self._failed:
            self._lose(peer, "is gone")

    def _judge(self, now: float) -> None:
        for peer in [*self.links]:
            if now - self._heard[peer] > self.timeout and peer not in self._finished:
                self._lose(peer, f"gave no sign of life for {self.timeout:g} s")
        for peer, since in self._failed.items():
            if now - since > _GRACE and not self._over:
                self._over = True
                self._end(
                    f"process {peer} of {self.count} ended with an error, which its "
                    "own output tells; this one ends too",
                    FAILED_STATUS,
                )

    def _lose(self, peer: int, what: str) -> None:
        self._pass_on(_LOST, peer)
        if not self._over:
            self._over = True
            self._end(
                f"process {peer} of {self.count} {what}; this one ends too, and the "
                "same command goes on from the last checkpoint",
                LOST_STATUS,
            )

    def _pass_on(self, kind: int, about: int) -> None:
        if self.index == 0:
            self.tell(kind, about)


def open_listener() -> socket.socket:
    """Returns a socket of process 0 to which the others link, on a free port."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(
            ("", 0), family=socket.AF_INET6, dualstack_ipv6=True
        )
    return socket.create_server(("", 0))


def new_secret() -> int:
    """Returns a number of 31 bits by which process 0 knows the others."""
    return secrets.randbits(31)


def accept_links(
    listener: socket.socket, secret: int, count: int, patience: float
) -> dict[int, socket.socket]:
    """Accepts the links of the other processes; returns those that came.

    Args:
      listener: as `open_listener` returns it; closed.
      secret: that they know.
      count: number of processes.
      patience: seconds to wait for all of them.
    """
    links: dict[int, socket.socket] = {}
    until = time.monotonic() + patience
    with listener:
        while len(links) < count - 1 and time.monotonic() < until:
            listener.settimeout(max(until - time.monotonic(), 0.01))
            with contextlib.suppress(OSError, struct.error):
                link, _ = listener.accept()
                link.settimeout(1.0)
                told, peer = _GREETING.unpack(link.recv(_GREETING.size))
                if told == secret:
                    links[peer] = link
                else:
                    link.close()
    return links


def open_link(
    host: str, port: int, secret: int, index: int, patience: float
) -> dict[int, socket.socket]:
    """Links this process with process 0; returns the link, or nothing without one.

    Args:
      host: of process 0.
      port: of its listener.
      secret: that it knows this process by.
      index: of this process.
      patience: seconds to wait for it.
    """
    with contextlib.suppress(OSError):
        link = socket.create_connection((host, port), timeout=patience)
        link.sendall(_GREETING.pack(secret, index))
        return {0: link}
    return {}


def start_watch(
    links: Mapping[int, socket.socket], index: int, count: int, timeout: float
) -> None:
    """Starts the watch of this process, which lasts until it ends.

    Args:
      links: as `Watch` takes them.
      index: of this process.
      count: number of processes.
      timeout: seconds of silence after which a process is lost.
    """
    for link in links.values():
        link.settimeout(timeout)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    watch = Watch(links, index, count, timeout, _end_process)
    watch.start()
    usual = sys.excepthook

    def explain(kind: type[BaseException], *error: Any) -> None:
        # A collective fails at the same moment as the watch sees why: it may explain.
        time.sleep(1.0)
        usual(kind, *error)
        leave_processes(130 if issubclass(kind, KeyboardInterrupt) else 1)

    sys.excepthook = explain
    _watches.append(watch)
    # Called before JAX's, registered earlier, which waits for the others.
    atexit.register(watch.say_farewell, 0)


def leave_processes(status: int) -> None:
    """Takes leave of the other processes; alone, it does nothing.

    Args:
      status: exit status of this process. Other than 0, it ends here: JAX would wait
        for the others, which wait for this one.
    """
    if _watches and status:
        _watches[0].say_farewell(status)
        _flush()
        os._exit(status)


_watches: list[Watch] = []


def _end_process(line: str, status: int) -> None:
    _flush()
    begin = "\n" if sys.stderr.isatty() else ""
    print(f"{begin}darts-jax: {line}", file=sys.stderr, flush=True)
    for act in reversed([*last_acts]):
        with contextlib.suppress(Exception):
            act()
    os._exit(status)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def start_relay(address: tuple[str, int]) -> int:
    """Starts a relay between ports of this machine and an address elsewhere.

    Where the far side is lost, the near side stays open and silent. JAX's client aborts
    the process at once, in many lines, when its connection to process 0 is closed;
    behind a relay it leaves the last word to the `Watch`.

    Args:
      address: host and port of the far side.

    Returns:
      The port of the near side.
    """
    server = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            near, _ = server.accept()
            threading.Thread(
                target=_join_ends, args=(near, address), daemon=True
            ).start()

    threading.Thread(target=accept, name="relay", daemon=True).start()
    port: int = server.getsockname()[1]
    return port


def _join_ends(near: socket.socket, address: tuple[str, int]) -> None:
    """Carries bytes to the far side, and a thread carries them back."""
    try:
        far = socket.create_connection(address, timeout=10.0)
    except OSError:
        near.close()  # the client tries again
        return
    far.settimeout(None)
    for end in (near, far):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=_carry_back, args=(far, near), daemon=True).start()
    with near, far:
        # Where the far side is lost, what still comes is read and dropped.
        while data := _receive(near):
            with contextlib.suppress(OSError):
                far.sendall(data)
        with contextlib.suppress(OSError):
            far.shutdown(socket.SHUT_RDWR)


def _carry_back(far: socket.socket, near: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := _receive(far):
            near.sendall(data)


def _receive(link: socket.socket) -> bytes:
    """Returns what has come; nothing once the link is closed."""
    try:
        return link.recv(65536)
    except OSError:
        return b""
