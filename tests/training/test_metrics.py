"""Records are neither lost nor doubled when a run goes on."""

import os
from pathlib import Path

import pytest

from darts_jax.errors import InputError
from darts_jax.training.directory import (
    RunDirectory,
)
from darts_jax.training.metrics import MetricsLog, read_metrics
from tests.support.files import full_disk


def test_metrics_resume_without_duplicates(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    log = MetricsLog(run, "search")
    for step in (1, 2, 3):
        log.write(step, {"loss": 1 / step, "genotype": "text"})
    log = MetricsLog(run, "retrain")
    log.write(9, {"loss": 0.5})
    log = MetricsLog(run, "search")
    log.truncate_after(1)
    log.write(2, {"loss": 0.25})
    assert read_metrics(run.metrics) == [
        {"verb": "search", "step": 1, "loss": 1.0, "genotype": "text"},
        {"verb": "retrain", "step": 9, "loss": 0.5},
        {"verb": "search", "step": 2, "loss": 0.25},
    ]
    assert len(list((run.events / "search").iterdir())) == 2
    assert len(list((run.events / "retrain").iterdir())) == 1


def test_torn_last_line(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert read_metrics(run.metrics) == []
    run.metrics.write_bytes(b'{"step": 1}\n{"step": 2, "lo\xc3')
    assert read_metrics(run.metrics) == [{"step": 1}]
    log = MetricsLog(run, "search")
    log.write(2, {"loss": 1.0})
    assert [record["step"] for record in read_metrics(run.metrics)] == [1, 2]
    run.metrics.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(InputError, match=r"line 2 of .* is not a JSON record"):
        read_metrics(run.metrics)


def test_metrics_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory(tmp_path)
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(InputError, match=f"no room on disk for {run.metrics}"):
        MetricsLog(run, "search").write(1, {"loss": 1.0})
