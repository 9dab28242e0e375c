"""Loggers of a run's records: none stops the run, and none is given a step twice.

A service that fails is warned of once. What it lacks is kept, and given to it later: at
one of the next epochs, at the run's end, or when the same command is called again, as
``metrics.jsonl`` has every record. ``logged.json`` has the services' own names of the
runs, and the last step that each was given. A run that goes on from a checkpoint makes
the same records again, so that those which a service has already are left out.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from darts_jax.errors import InputError, first_line
from darts_jax.files import open_place
from darts_jax.loggers import LoggedRun, Logger, list_loggers
from darts_jax.loggers.logger import hide_passwords
from darts_jax.settings.config import flatten
from darts_jax.settings.config_files import load_config
from darts_jax.settings.schema import SCHEMA
from darts_jax.training.console import print_status
from darts_jax.training.directory import RunDirectory, atomic_write, read_by_verb
from darts_jax.training.processes import is_writer

Record = Mapping[str, Any]
Files = Mapping[str, bytes]
"""Name -> content."""


def check_loggers(config: ConfigDict) -> None:
    """Raises InputError, in one line, where a logger of the settings cannot write.

    Args:
      config: all settings.
    """
    for logger in list_loggers(config.log).values():
        logger.check()


def in_group(config: ConfigDict, run: str | Path) -> ConfigDict:
    """Returns the settings of a grid's programs, whose runs stand together.

    Args:
      config: all settings; the group that it may name stays.
      run: directory of the grid, which the group is named after.
    """
    grouped = ConfigDict(config.to_dict()).lock()
    grouped.log_group = config.log_group or open_place(run).name
    return grouped


class RunLoggers:
    """Loggers of one verb's records, those that ``config.log`` of the run names.

    Args:
      run: the directory.
      verb: whose records they are.
      done: steps of the checkpoint that the run goes on from; None where it does not.
      before: records of the verb up to it.
    """

    def __init__(
        self,
        run: RunDirectory,
        verb: str,
        done: int | None = None,
        before: Sequence[Record] = (),
    ) -> None:
        self._services = []
        if not is_writer():
            return
        config = load_config(run.config) if run.config.exists() else None
        text = str(SCHEMA["log"].default) if config is None else config.log
        self._services = [
            _Service(name, make, _Origin(run, verb, config, done), list(before))
            for name, make in list_loggers(text).items()
        ]

    def write(self, step: int, record: Record) -> None:
        """Gives a record to all loggers.

        Args:
          step: number of steps done.
          record: name -> number, text or list; a list is of a population's members.

        Raises:
          InputError: a logger cannot write to a disk.
        """
        for service in self._services:
            service.write(step, record)

    def attach(self, files: Sequence[Files]) -> None:
        """Gives loggers what they lack of this verb: records, and files.

        Args:
          files: of each member; of the one run that there is, otherwise.
        """
        for service in self._services:
            service.attach(files)

    def close(self, is_finished: bool) -> None:
        """Ends the writing.

        Args:
          is_finished: whether the run has ended, or goes on later.
        """
        for service in self._services:
            service.close(is_finished)


@dataclasses.dataclass(frozen=True)
class _Origin:
    """Source of a verb's records.

    Attributes:
      run: the directory.
      verb: whose records they are.
      config: all settings; None of a directory that has none.
      done: steps of the checkpoint that the run goes on from; None where it does not.
    """

    run: RunDirectory
    verb: str
    config: ConfigDict | None
    done: int | None

    def describe(self, sent: Mapping[str, Any], member: int | None) -> LoggedRun:
        """Returns what a logger is told.

        Args:
          sent: its entry of ``logged.json``.
          member: number of the member that it is of; None where it is of all.
        """
        settings = {} if self.config is None else dict(flatten(self.config))
        own = {} if member is None else self._own_settings(member)
        words = ", ".join(f"{k.rpartition('.')[2]} {v}" for k, v in own.items())
        return LoggedRun(
            directory=self.run.path,
            verb=self.verb,
            member="" if member is None else words or str(member),
            group=settings.get("log_group") or self.run.path.name,
            settings=settings | own,
            id=sent.get("id", ""),
            sent=sent.get("step", 0),
            done=self.done,
        )

    def _own_settings(self, member: int) -> dict[str, Any]:
        path = self.run.members
        if self.verb != "population" or not path.exists():
            return {}
        return dict(json.loads(path.read_text())[member])


class _Service:
    """Loggers of one service: of the run, or of each of its members.

    Args:
      name: of the service.
      make: its logger.
      origin: of the records.
      backlog: records that it may not have.
    """

    def __init__(
        self, name: str, make: type[Logger], origin: _Origin, backlog: list[Record]
    ) -> None:
        self._name = name
        self._make = make
        self._origin = origin
        self._backlog = backlog
        self._loggers: dict[int | None, Logger] = {}  # by member
        self._failures = 0
        self._rest = 0

    def write(self, step: int, record: Record) -> None:
        """Gives the service a record, and those that it lacks."""
        self._backlog.append({"step": step, **record})
        # One that is down is asked more and more rarely: asking takes seconds.
        if self._rest:
            self._rest -= 1
            return
        self._send(())

    def attach(self, files: Sequence[Files]) -> None:
        """Gives the service records that it lacks, and files unless it has some."""
        entries = self._entries().values()
        last = max((record["step"] for record in self._backlog), default=0)
        is_complete = all(e["step"] >= last and e["has_files"] for e in entries)
        if entries and is_complete:
            self._backlog.clear()
            return
        self._send(files)

    def close(self, is_finished: bool) -> None:
        """Ends the writing; tells what the service has not taken."""
        if self._failures and self._backlog and not self._send(()):
            print_status(
                f"{self._origin.verb}: {self._name} lacks {len(self._backlog)} "
                "records; metrics.jsonl has them, and the same command sends them"
            )
        for logger in self._loggers.values():
            try:
                logger.close(is_finished)
            except Exception as error:
                self._warn(error)
        self._loggers = {}

    def _send(self, files: Sequence[Files]) -> bool:
        """Gives the service what it lacks, and returns whether it has taken it."""
        try:
            self._open()
            for record in self._backlog:
                for member, logger in self._loggers.items():
                    if record["step"] > logger.last_step:
                        logger.write(record["step"], _scalars(record, member))
                        logger.last_step = record["step"]
            for member, logger in self._loggers.items():
                if files:
                    logger.attach(_own_files(files, member))
        except InputError:
            raise
        except Exception as error:
            self._warn(error)
            self._failures += 1
            self._rest = 2**self._failures - 1
            return False
        self._failures = 0
        self._backlog.clear()
        self._remember(has_files=bool(files))
        return True

    def _open(self) -> None:
        """Makes the loggers, once it is known how many members there are."""
        if self._loggers or not self._backlog:
            return
        entries = self._entries()
        count = _count_members(self._backlog[-1])
        members = range(count) if self._make.by_member and count else [None]
        for member in members:
            sent = entries.get(self._key(member), {})
            self._loggers[member] = self._make(self._origin.describe(sent, member))

    def _key(self, member: int | None) -> str:
        verb = self._origin.verb
        return verb if member is None else f"{verb}/{member}"

    def _entries(self) -> dict[str, dict[str, Any]]:
        """Returns this verb's entries of ``logged.json``, by `_key`."""
        known = read_by_verb(self._origin.run.logged).get(self._name, {})
        return {k: e for k, e in known.items() if k.split("/")[0] == self._origin.verb}

    def _remember(self, has_files: bool) -> None:
        with_id = {m: logger for m, logger in self._loggers.items() if logger.id}
        if not with_id:
            return
        path = self._origin.run.logged
        every = read_by_verb(path)
        known = every.setdefault(self._name, {})
        for member, logger in with_id.items():
            had_files = known.get(self._key(member), {}).get("has_files", False)
            known[self._key(member)] = {
                "id": logger.id,
                "step": logger.last_step,
                "has_files": had_files or has_files,
            }
        atomic_write(path, json.dumps(every, indent=1, sort_keys=True) + "\n")

    def _warn(self, error: Exception) -> None:
        if not self._failures:
            told = hide_passwords(first_line(error))
            print_status(
                f"{self._origin.verb}: warning: {self._name}: {told}; the run goes on, "
                "and what is missing there is sent later"
            )


def _count_members(record: Record) -> int:
    """Returns the number of members that a record is of; 0 of a run alone."""
    return max((len(v) for v in record.values() if isinstance(v, list)), default=0)


def _scalars(record: Record, member: int | None) -> dict[str, float]:
    """Returns the numbers of a record: those of all, and a member's own."""
    scalars = {}
    for name, value in record.items():
        own = value
        if isinstance(value, list) and member is not None:
            own = value[member]
        is_number = isinstance(own, int | float) and not isinstance(own, bool)
        if is_number and name != "step":
            scalars[name] = own
    return scalars


def _own_files(files: Sequence[Files], member: int | None) -> dict[str, bytes]:
    if member is not None:
        return dict(files[member])
    return {name: content for own in files for name, content in own.items()}
