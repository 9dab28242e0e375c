"""All that one visit to an accelerator should tell, unattended, within a time limit.

    bash benchmarks/accelerator.sh results              makes an environment first
    python benchmarks/accelerator.py --out results      in one that is there
    python benchmarks/accelerator.py --out results --small     tiny, on any machine

Parts (`parts.py`) are begun in the order of their worth, each in a process of its own,
so that one that fails or runs out of memory leaves the rest. Some compile at the same
time (``--jobs``), but only one measures, and all others are stopped meanwhile. What a
part tells is added to ``OUT/results.jsonl`` as it comes; ``OUT/<part>.log`` has what it
says besides. A part that does not fit the time that is left, or its own share of the
limit, says so. At the end come a table of each kind, and ``OUT/results.json``.

``compile_s`` is beside other compilations and has what falls into it of ``stopped_s``,
the time in which others measured; by ``--jobs 1`` it is alone.
"""

import argparse
import dataclasses
import json
import os
import platform
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measuring import Row, format_table
from parts import SMALL, Part, Sizes, all_parts

COLUMNS = (
    "part",
    "case",
    "derivative",
    "error",
    "plain_error",
    "agrees",
    "ours_us",
    "plain_us",
    "of_plain",
    "members",
    "trace_s",
    "compile_s",
    "compile_cpu_s",
    "stopped_s",
    "calls",
    "step_s",
    "lone_s",
    "population_s",
    "further_member_per_lone_run",
    "run_s",
    "images_per_second",
    "held_out_accuracy",
    "temporaries_mb",
    "estimate_mb",
    "peak_mb",
    "failure",
)
READY, MEASURED = "ready", "measured"


@dataclasses.dataclass
class Running:
    """A part's process.

    Attributes:
      process: leads a group of its own, which is stopped as one.
      messages: lines that it prints; None: it has ended.
      known: what it told when it was ready; None: it is not.
      stopped_s: time in which it was stopped.
    """

    part: Part
    process: subprocess.Popen[str]
    messages: "queue.SimpleQueue[str | None]"
    known: Row | None = None
    stopped_s: float = 0.0

    @classmethod
    def begin(cls, part: Part, options: argparse.Namespace) -> "Running":
        """Starts the process, which compiles."""
        # A part takes the memory that it needs, so that others can compile beside it.
        environment = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} | os.environ
        log = options.out / f"{part.name.replace(' ', '_')}.log"
        with log.open("w") as complaints:
            process = subprocess.Popen(
                [sys.executable, *sys.argv, "--part", part.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
                env=environment,
                start_new_session=True,
            )
        running = cls(part, process, queue.SimpleQueue())
        threading.Thread(target=running._listen, daemon=True).start()
        return running

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.messages.put(line)
        self.messages.put(None)

    def signal(self, number: int) -> None:
        """Sends a signal to the process and to all that it has started."""
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return

    def read(self, timeout: float) -> tuple[str, Any] | None:
        """The next message; ("failed", None) where it has ended; None: in time none."""
        deadline = time.perf_counter() + timeout
        while True:
            try:
                left = max(0.0, deadline - time.perf_counter())
                line = self.messages.get(timeout=left)
            except queue.Empty:
                return None
            if line is None:
                return "failed", None
            try:
                ((kind, content),) = json.loads(line).items()
            except (ValueError, AttributeError, TypeError):
                continue  # something else that a library printed
            if kind in (READY, MEASURED):
                return kind, content

    def measure(self, timeout: float) -> tuple[str, Any] | None:
        """Tells the process to measure, and in what time; then as `read`."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(f"{timeout}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return "failed", None
        return self.read(timeout)

    def end(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait()


class Visit:
    """All parts, from the first to the end of the time."""

    def __init__(self, options: argparse.Namespace, parts: Sequence[Part]) -> None:
        self.options = options
        self.limit = 60.0 * options.minutes
        self.began = time.perf_counter()
        self.waiting = list(parts)
        self.running: list[Running] = []
        self.rows: list[Row] = []

    def left(self) -> float:
        return self.limit - (time.perf_counter() - self.began)

    def run(self) -> list[Row]:
        """Rows of all parts, as they came."""
        try:
            while (self.waiting or self.running) and self.left() > 0:
                self._begin_parts()
                self._look_for_messages()
        finally:
            for running in self.running:
                running.end()
        minutes = f"of {self.options.minutes:g} minutes"
        for running in self.running:
            self._give_up(running.part, f"not compiled at the end {minutes}")
        for part in self.waiting:
            self._give_up(part, f"not begun at the end {minutes}")
        return self.rows

    def _begin_parts(self) -> None:
        while self.waiting and len(self.running) < self.options.jobs:
            self.running.append(Running.begin(self.waiting.pop(0), self.options))

    def _look_for_messages(self) -> None:
        for running in list(self.running):
            message = running.read(0.05)
            if message is None:
                continue
            kind, content = message
            if kind == READY:
                running.known = content
                self._measure(running)
            else:
                self._fail(running)
            self.running.remove(running)
            running.end()

    def _measure(self, running: Running) -> None:
        """Lets one part have the machine."""
        others = [other for other in self.running if other is not running]
        for other in others:
            other.signal(signal.SIGSTOP)
        began = time.perf_counter()
        share = min(running.part.share * self.limit, self.left())
        message = running.measure(share)
        stopped = time.perf_counter() - began
        for other in others:
            other.signal(signal.SIGCONT)
            other.stopped_s += stopped
        known = (running.known or {}) | {"stopped_s": running.stopped_s}
        if message is None:
            self._give_up(running.part, f"not measured in {share:.0f} seconds", **known)
        elif message[0] == "failed":
            self._fail(running, **known)
        else:
            for row in message[1]:
                self._add(running.part, **known, **row)
            self._tell(running.part, f"measured in {stopped:.1f} s")

    def _fail(self, running: Running, **known: Any) -> None:
        log = self.options.out / f"{running.part.name.replace(' ', '_')}.log"
        lines = [line for line in log.read_text().splitlines() if line.strip()]
        said = [line for line in lines if "Error" in line or "EXHAUSTED" in line]
        status = running.process.wait()
        failure = (said or lines or [f"ended with status {status}"])[-1]
        self._give_up(running.part, failure.strip()[:160], **known)

    def _add(self, part: Part, **values: Any) -> None:
        row = {"table": part.table, "part": part.name, **values}
        self.rows.append(row)
        with (self.options.out / "results.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    def _give_up(self, part: Part, failure: str, **known: Any) -> None:
        self._add(part, **known, failure=failure)
        self._tell(part, failure)

    def _tell(self, part: Part, told: str) -> None:
        print(f"{self.limit - self.left():6.0f} s  {part.name}: {told}", flush=True)


def run_part(part: Part) -> None:
    """Compiles, waits for its turn, measures: the process of one part."""
    known, measure = part.prepare()
    print(json.dumps({READY: known}), flush=True)
    seconds = float(sys.stdin.readline())
    print(json.dumps({MEASURED: measure(seconds)}), flush=True)


def describe_machine() -> Row:
    """Tells what the figures are of, by a process that ends and holds no memory."""
    program = (
        "import jax, json, importlib.metadata as m; d = jax.devices()[0]; "
        "from darts_jax.kernels import describe_kernels; "
        "print(json.dumps({'device': d.device_kind, 'platform': d.platform, "
        "'kernels': describe_kernels(), "
        "'jax': jax.__version__, 'flax': m.version('flax')}))"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    machine: Row = json.loads(told.stdout.splitlines()[-1])
    try:
        from importlib.metadata import version

        machine["torch"] = version("torch")
    except ImportError:
        machine["torch"] = None
    python = platform.python_version()
    return machine | {"python": python, "cores": os.cpu_count()}


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("accelerator"))
    parser.add_argument("--minutes", type=float, default=8.0, help="of all parts")
    parser.add_argument(
        "--jobs",
        type=int,
        default=max(1, (os.cpu_count() or 1) // 4),
        help="parts that compile at the same time",
    )
    parser.add_argument("--small", action="store_true", help="tiny, to try the script")
    parser.add_argument(
        "--parts", nargs="+", default=[""], help="beginnings of the names of some"
    )
    parser.add_argument("--part", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = parse_options()
    parts = all_parts(SMALL if options.small else Sizes())
    if options.part:
        run_part(next(part for part in parts if part.name == options.part))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    machine = describe_machine()
    print(json.dumps(machine), flush=True)
    chosen = [part for part in parts if part.name.startswith(tuple(options.parts))]
    rows = Visit(options, chosen).run()
    for table in dict.fromkeys(row["table"] for row in rows):
        of_table = [row for row in rows if row["table"] == table]
        print(f"\n{table}\n{format_table(of_table, COLUMNS)}")
    result = {"machine": machine, "minutes": options.minutes, "rows": rows}
    (options.out / "results.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
