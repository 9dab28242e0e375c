"""Interface of what writes a run's numbers to where people look at them."""

import abc
import dataclasses
import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from darts_jax.errors import InputError, first_line

PROJECT = "darts-jax"
"""Project, or experiment, of runs for which a service's own settings name none."""

_CREDENTIALS = re.compile(r"//[^/@\s]+@")


@dataclasses.dataclass(frozen=True)
class LoggedRun:
    """Records of one verb, and of one member of a population, as a service has them.

    Attributes:
      directory: of the run.
      verb: whose records they are: "search", "retrain" and so on.
      member: of a population, in words; "" of a run alone.
      group: that the run belongs to, as that of an ablation.
      settings: dotted name -> value.
      id: that the service gave it in an earlier call; "" in the first.
      sent: last step that an earlier call has sent, as far as is known here.
      done: steps of the checkpoint that the run goes on from; None where it does not.
    """

    directory: Path
    verb: str
    member: str = ""
    group: str = ""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    id: str = ""
    sent: int = 0
    done: int | None = None

    @property
    def name(self) -> str:
        """Name for people: the directory's, the verb's and the member's."""
        return " ".join(filter(None, (self.directory.name, self.verb, self.member)))

    @property
    def shown_settings(self) -> dict[str, Any]:
        """Settings without a password that the URL of a place may have."""
        return {
            key: hide_passwords(value) if isinstance(value, str) else value
            for key, value in self.settings.items()
        }


class Logger(abc.ABC):
    """Writer of one run to one service.

    An InputError that a method raises ends the run. After any other exception the run
    goes on, and what was not written is written later.

    Args:
      run: whose records are to be written, or go on.

    Attributes:
      by_member: whether each member of a population is a run of its own. Others are
        given the numbers that all members share.
      id: of the run in the service; "" where there is none.
      last_step: last step that has been written; earlier ones are not given again.
    """

    by_member: ClassVar[bool] = True
    id: str = ""
    last_step: int = 0

    @abc.abstractmethod
    def __init__(self, run: LoggedRun) -> None: ...

    @classmethod
    def check(cls) -> None:
        """Raises InputError, in one line, where nothing can be written.

        It is called before anything is computed.
        """
        del cls

    @abc.abstractmethod
    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes the numbers of a step.

        Args:
          step: number of steps done, above that of the last call.
          scalars: name -> number, which may be NaN.
        """

    def attach(self, files: Mapping[str, bytes]) -> None:
        """Writes files that belong to the run, as its genotype and its picture.

        Args:
          files: name -> content.
        """
        del files

    def close(self, is_finished: bool) -> None:
        """Ends the writing.

        Args:
          is_finished: whether the run has ended, or goes on later.
        """
        del is_finished


def hide_passwords(text: str) -> str:
    """Returns a text without the user and password of the URLs in it.

    Args:
      text: for people.
    """
    return _CREDENTIALS.sub("//", text)


def import_service(module: str, extra: str) -> Any:
    """Imports the package of a service.

    Args:
      module: to import.
      extra: of this package, which installs it.

    Raises:
      InputError: it is not installed, or cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        told = first_line(error)
        raise InputError(
            f"log={extra} needs the package {module} ({told}); want pip install "
            f"'darts-jax[{extra}]', or another log"
        ) from None
