"""Runs in Weights & Biases, written offline and read back from its files."""

import io
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from darts_jax.errors import InputError
from darts_jax.loggers import LoggedRun
from darts_jax.loggers.wandb import WandbLogger

wandb = pytest.importorskip("wandb", reason="Weights & Biases is not installed")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")


def read_records(path: Path) -> Iterator[Any]:
    """Yields wandb's own messages: its file is a log of LevelDB after 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data = path.read_bytes()
    assert data[:4] == b":W&B"
    place, block, message = 7, 32768, b""
    while place < len(data):
        if block - place % block < 7:  # too short for a header: filled up with zeros
            place += block - place % block
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        message += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(message)
            message = b""


def read_run(folder: Path) -> tuple[Any, list[dict[str, str]], list[str], int]:
    """Returns a run, its rows, its files and its exit code."""
    (path,) = folder.glob("*.wandb")
    records = [*read_records(path)]
    (run,) = (r.run for r in records if r.HasField("run"))
    rows = [
        {
            item.key or ".".join(item.nested_key): item.value_json
            for item in r.history.item
        }
        for r in records
        if r.HasField("history")
    ]
    files = [f.path for r in records if r.HasField("files") for f in r.files.files]
    (end,) = (r.exit.exit_code for r in records if r.HasField("exit"))
    return run, rows, files, end


def numbers(rows: list[dict[str, str]]) -> list[tuple[int, float]]:
    return [(int(r["_step"]), float(r["loss"])) for r in rows if "loss" in r]


def test_a_run_is_written_offline_and_goes_on(tmp_path: Path) -> None:
    settings = {"search.epochs": 3, "seed": 1}
    told = LoggedRun(tmp_path, "search", "seed 1", "ablation", settings)
    first = WandbLogger(told)
    beside = WandbLogger(LoggedRun(tmp_path, "search", "seed 2", "ablation", {}))
    first.write(10, {"loss": 0.5})
    beside.write(10, {"loss": 9.0})
    first.write(20, {"loss": 0.25})
    first.close(is_finished=False)
    beside.close(is_finished=True)

    again = WandbLogger(LoggedRun(tmp_path, "search", id=first.id, sent=20))
    assert (again.id, again.last_step) == (first.id, 20)
    again.write(30, {"loss": 0.125})
    picture = io.BytesIO()
    Image.new("L", (2, 2)).save(picture, "png")
    again.attach({"genotype.json": b"{}", "genotype.png": picture.getvalue()})
    again.close(is_finished=True)

    folders = sorted((tmp_path / "wandb").glob(f"offline-run-*-{first.id}"))
    run, rows, _, end = read_run(folders[0])
    assert (run.run_id, run.run_group, run.job_type) == (first.id, "ablation", "search")
    assert run.display_name == f"{tmp_path.name} search seed 1"
    assert run.project == "darts-jax"
    config = {u.key: u.value_json for u in run.config.update}
    assert json.loads(config["search"]) == {"epochs": 3}
    assert numbers(rows) == [(10, 0.5), (20, 0.25)]
    assert end == 1
    run, rows, files, end = read_run(folders[1])
    assert run.run_id == first.id
    assert numbers(rows) == [(30, 0.125)]
    assert {"genotype.json", "genotype.png"} <= {*files}
    assert any("genotype.path" in row for row in rows)  # the picture
    assert end == 0
    (other,) = (tmp_path / "wandb").glob(f"offline-run-*-{beside.id}")
    assert numbers(read_run(other)[1]) == [(10, 9.0)]


def test_without_a_key_one_line_comes_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setattr(wandb, "login", lambda prompt, verify: False)
    with pytest.raises(InputError, match="wandb has no key; want wandb login, WANDB_M"):
        WandbLogger.check()

    def refuse(prompt: bool, verify: bool) -> bool:
        raise wandb.errors.AuthenticationError("no route\nto host")

    monkeypatch.setattr(wandb, "login", refuse)
    with pytest.raises(InputError, match="no answer from its server: no route; want"):
        WandbLogger.check()


def test_offline_needs_no_key() -> None:
    WandbLogger.check()
