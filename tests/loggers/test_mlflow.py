"""Runs in MLflow: in a database, and on its own server on this machine."""

import contextlib
import math
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from darts_jax.errors import InputError
from darts_jax.loggers import LoggedRun
from darts_jax.loggers.mlflow import MlflowLogger

mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed")
pytest.importorskip(
    "sqlalchemy", reason="SQLAlchemy, in which MLflow keeps runs, is not installed"
)


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)  # where artifacts lie
    place = f"sqlite:///{tmp_path}/runs.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", place)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    return place


@contextlib.contextmanager
def serve(folder: Path, database: str, port: int) -> Iterator[None]:
    """Runs MLflow's server with one worker until the block ends."""
    options = {
        "--port": port,
        "--backend-store-uri": database,
        "--workers": 1,
        "--artifacts-destination": folder / "artifacts",
    }
    words = [str(word) for option in options.items() for word in option]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"},
    )
    try:
        give_up = time.monotonic() + 120
        while True:
            assert time.monotonic() < give_up, "the server does not begin"
            assert server.poll() is None, "the server has ended"
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health").close()
                break
            time.sleep(0.2)
        yield
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


def write_and_go_on(folder: Path) -> str:
    """Writes a run, goes on with it and reads it; returns its id."""
    MlflowLogger.check()
    settings = {f"search.{i}": i for i in range(250)} | {"data.name": "x" * 7000}
    told = LoggedRun(folder, "search", "seed 1", "ablation", settings)
    first = MlflowLogger(told)
    first.write(10, {"epoch": 1, "loss": 0.5})
    first.write(20, {"epoch": 2, "loss": math.nan})
    first.close(is_finished=False)
    client = mlflow.MlflowClient()
    assert client.get_run(first.id).info.status == "KILLED"

    # The server knows the last step; a file that is older does not matter.
    again = MlflowLogger(LoggedRun(folder, "search", id=first.id, sent=10))
    assert (again.id, again.last_step) == (first.id, 20)
    again.write(30, {"epoch": 3, "loss": 0.125})
    again.attach({"genotype.json": b"{}"})
    again.close(is_finished=True)

    run = client.get_run(first.id)
    assert run.info.run_name == f"{folder.name} search seed 1"
    assert run.info.status == "FINISHED"
    assert (run.data.tags["group"], run.data.tags["verb"]) == ("ablation", "search")
    assert len(run.data.params) == 251
    assert run.data.params["search.249"] == "249"
    history = client.get_metric_history(first.id, "loss")
    assert [metric.step for metric in history] == [10, 20, 30]
    values = [metric.value for metric in history]
    assert (values[0], values[2]) == (0.5, 0.125)
    assert math.isnan(values[1])
    assert [file.path for file in client.list_artifacts(first.id)] == ["genotype.json"]
    (experiment,) = client.search_experiments(filter_string="name = 'darts-jax'")
    assert experiment.experiment_id == run.info.experiment_id
    return str(first.id)


def test_a_run_in_a_database_goes_on(tmp_path: Path) -> None:
    write_and_go_on(tmp_path)


@pytest.mark.slow
def test_a_run_on_a_server_goes_on_when_the_server_has_been_away(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    with serve(tmp_path, database, port):
        number = write_and_go_on(tmp_path)
        logger = MlflowLogger(LoggedRun(tmp_path, "search", id=number))
    began = time.monotonic()
    with pytest.raises(Exception, match="Max retries exceeded"):
        logger.write(40, {"epoch": 4, "loss": 0.0625})
    assert time.monotonic() - began < 30
    with serve(tmp_path, database, port):
        logger.write(40, {"epoch": 4, "loss": 0.0625})
        history = mlflow.MlflowClient().get_metric_history(number, "epoch")
    assert [metric.step for metric in history] == [10, 20, 30, 40]


def test_a_server_that_is_down_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with pytest.raises(
        InputError, match=r"log=mlflow: no answer from http://127"
    ) as it:
        MlflowLogger.check()
    told = str(it.value)
    assert "\n" not in told
    assert "secret" not in told
    assert told.endswith("want MLFLOW_TRACKING_URI, or another log")
