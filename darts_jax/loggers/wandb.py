"""Runs in Weights & Biases: on its server, or offline, to be sent later.

Project, mode, server and key are wandb's own matter (``WANDB_PROJECT``, ``WANDB_MODE``,
``wandb login``), and the key is kept nowhere here.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from darts_jax.buckets import is_in_bucket
from darts_jax.errors import InputError, first_line
from darts_jax.loggers.logger import PROJECT, LoggedRun, Logger, import_service

_SECONDS_TO_BEGIN = 30
# wandb keeps on disk what its server does not take, and ends then.
_SECONDS_TO_END = 60


class WandbLogger(Logger):
    """Writer of one run in Weights & Biases."""

    def __init__(self, run: LoggedRun) -> None:
        wandb = import_service("wandb", "wandb")
        is_local = "WANDB_DIR" not in os.environ and not is_in_bucket(run.directory)
        self._wandb = wandb
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=run.id or None,
            resume="allow" if run.id else None,
            name=run.name,
            group=run.group or None,
            job_type=run.verb,
            config=_nest(run.shown_settings),
            dir=str(run.directory) if is_local else None,
            reinit="create_new",  # members of a population are runs side by side
            settings=wandb.Settings(
                console="off",
                init_timeout=_SECONDS_TO_BEGIN,
                finish_timeout=_SECONDS_TO_END,
            ),
        )
        self.id = self._run.id
        # An offline run does not know what was written before.
        self.last_step = max(run.sent, self._run.step - 1)

    @classmethod
    def check(cls) -> None:
        wandb = import_service("wandb", "wandb")
        if os.environ.get("WANDB_MODE", "online") != "online":
            return
        try:
            has_key = wandb.login(prompt=False, verify=True)
        except Exception as error:
            raise InputError(
                f"log=wandb: no answer from its server: {first_line(error)}; want "
                "WANDB_MODE=offline, or another log"
            ) from None
        if not has_key:
            raise InputError(
                "log=wandb: wandb has no key; want wandb login, WANDB_MODE=offline, "
                "or another log"
            )

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        self._run.log(dict(scalars), step=step)

    def attach(self, files: Mapping[str, bytes]) -> None:
        for name, content in files.items():
            path = Path(self._run.dir) / name
            path.write_bytes(content)
            self._run.save(str(path), base_path=self._run.dir, policy="now")
            if path.suffix == ".png":
                self._run.log({path.stem: self._wandb.Image(str(path))})

    def close(self, is_finished: bool) -> None:
        self._run.finish(exit_code=0 if is_finished else 1)


def _nest(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a tree of settings: wandb shows its levels."""
    tree: dict[str, Any] = {}
    for key, value in settings.items():
        *path, last = key.split(".")
        place = tree
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return tree
