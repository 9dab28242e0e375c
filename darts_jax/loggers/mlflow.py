"""Runs in MLflow: on its server, or in its database.

The place is that of ``MLFLOW_TRACKING_URI``, the experiment that of
``MLFLOW_EXPERIMENT_NAME``; a password is MLflow's own matter, and kept nowhere here.
"""

import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from darts_jax.errors import InputError, first_line
from darts_jax.loggers.logger import (
    PROJECT,
    LoggedRun,
    Logger,
    hide_passwords,
    import_service,
)

# A server that is down is told within seconds: MLflow itself tries for minutes.
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}
_MOST_PARAMETERS = 100  # of one request
_LONGEST_VALUE = 6000  # characters of a parameter
_ALWAYS_WRITTEN = "epoch"  # in every record, so that it tells the last one


class MlflowLogger(Logger):
    """Writer of one run in MLflow."""

    def __init__(self, run: LoggedRun) -> None:
        self._client = _make_client()
        if run.id:
            self.id = run.id
            self.last_step = self._find_last_step()
            self._client.update_run(self.id, status="RUNNING")
        else:
            self._begin(run)

    @classmethod
    def check(cls) -> None:
        client = _make_client()
        try:
            client.get_experiment_by_name(_experiment_name())
        except Exception as error:
            place = import_service("mlflow", "mlflow").get_tracking_uri()
            told = hide_passwords(f"no answer from {place}: {first_line(error)}")
            raise InputError(
                f"log=mlflow: {told}; want MLFLOW_TRACKING_URI, or another log"
            ) from None

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in scalars.items()]
        self._client.log_batch(self.id, metrics=metrics)

    def attach(self, files: Mapping[str, bytes]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                path = Path(folder) / name
                path.write_bytes(content)
                self._client.log_artifact(self.id, str(path))

    def close(self, is_finished: bool) -> None:
        status = "FINISHED" if is_finished else "KILLED"
        self._client.set_terminated(self.id, status)

    def _begin(self, run: LoggedRun) -> None:
        from mlflow.entities import Param

        tags = {
            "group": run.group,
            "verb": run.verb,
            "member": run.member,
            "directory": str(run.directory),
        }
        began = self._client.create_run(
            _find_experiment(self._client),
            run_name=run.name,
            tags={name: value for name, value in tags.items() if value},
        )
        self.id = began.info.run_id
        parameters = [
            Param(key, str(value)[:_LONGEST_VALUE])
            for key, value in run.shown_settings.items()
        ]
        for some in _cut(parameters, _MOST_PARAMETERS):
            self._client.log_batch(self.id, params=some)

    def _find_last_step(self) -> int:
        history = self._client.get_metric_history(self.id, _ALWAYS_WRITTEN)
        return max((metric.step for metric in history), default=0)


def _make_client() -> Any:
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    return import_service("mlflow", "mlflow").MlflowClient()


def _experiment_name() -> str:
    return os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)


def _find_experiment(client: Any) -> str:
    """Returns the experiment's id; it is made where there is none."""
    name = _experiment_name()
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name))
    except Exception:
        # Another process has made it meanwhile.
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)


def _cut(items: list[Any], size: int) -> Iterator[Iterable[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
