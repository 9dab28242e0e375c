"""Loggers: no record is lost, none is given twice, and none stops a run."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

import darts_jax
from darts_jax.errors import InputError
from darts_jax.loggers import LOGGERS, LoggedRun, Logger
from darts_jax.settings.config import default_config, validate_config
from darts_jax.training.directory import RunDirectory
from darts_jax.training.metrics import MetricsLog, finish_logs
from darts_jax.training.opening import open_run
from tests.support.small_runs import config, images


@dataclasses.dataclass
class Service:
    """Service in this process, which may be down.

    Attributes:
      runs: id -> step -> its numbers.
      told: what each run was begun with.
      files: id -> names of files.
      ended: id -> whether it was finished when it was closed last.
      is_down: whether nothing can be written.
    """

    runs: dict[str, dict[int, dict[str, float]]] = dataclasses.field(
        default_factory=dict
    )
    told: list[LoggedRun] = dataclasses.field(default_factory=list)
    files: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    ended: dict[str, bool] = dataclasses.field(default_factory=dict)
    is_down: bool = False


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    known = Service()

    class Memory(Logger):
        def __init__(self, run: LoggedRun) -> None:
            self._require_service()
            self.id = run.id or f"id{len(known.runs)}"
            self.last_step = run.sent
            known.told.append(run)
            known.runs.setdefault(self.id, {})

        @classmethod
        def check(cls) -> None:
            if known.is_down:
                raise InputError("log=memory: no answer")

        def write(self, step: int, scalars: Mapping[str, float]) -> None:
            self._require_service()
            steps = known.runs[self.id]
            assert step > max(steps, default=0), "a step is given twice"
            steps[step] = dict(scalars)

        def attach(self, files: Mapping[str, bytes]) -> None:
            known.files[self.id] = [*files]

        def close(self, is_finished: bool) -> None:
            known.ended[self.id] = is_finished

        def _require_service(self) -> None:
            if known.is_down:
                raise ConnectionError("no route to memory\nand more")

    monkeypatch.setitem(LOGGERS, "memory", Memory)
    return known


def begin(path: Path, log: str = "memory") -> RunDirectory:
    made = default_config()
    made.log = log
    return open_run(path / "run", made, "search")


def stop(run: RunDirectory, done: int, steps: range) -> None:
    """Writes records of some steps and is stopped, as by a signal."""
    log = MetricsLog(run, "search")
    log.truncate_after(done)
    for step in steps:
        log.write(step, {"loss": 1 / step, "warning": "text"})
    log.__exit__(SystemExit, SystemExit(), None)


def finish(run: RunDirectory, done: int, steps: range) -> None:
    """Writes records of some steps and comes to the end."""
    log = MetricsLog(run, "search")
    log.truncate_after(done)
    with log:
        for step in steps:
            log.write(step, {"loss": 1 / step})
    run.genotype.write_text("{}")
    finish_logs(run, ["search"], [[run.genotype]])


LOSSES = {step: {"loss": 1 / step} for step in range(1, 6)}


def test_a_run_goes_on_as_the_same(tmp_path: Path, service: Service) -> None:
    run = begin(tmp_path, "tensorboard,memory")
    stop(run, done=0, steps=range(1, 5))
    assert service.ended == {"id0": False}
    # Step 4 is behind the checkpoint: it is made again, and not given again.
    finish(run, done=3, steps=range(4, 6))
    assert service.runs == {"id0": LOSSES}
    assert service.files == {"id0": ["genotype.json"]}
    assert service.ended == {"id0": True}
    (first, second) = service.told
    assert (first.group, first.name, first.id) == ("run", "run search", "")
    assert (second.id, second.sent) == ("id0", 4)
    assert first.settings["search.epochs"] == 50
    assert len(list((run.events / "search").iterdir())) == 2
    # Nothing is left to give when the finished run is read.
    finish_logs(run, ["search"], [[run.genotype]])
    assert len(service.told) == 2


def test_a_service_that_fails_is_told_later(
    tmp_path: Path, service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begin(tmp_path)
    log = MetricsLog(run, "search")
    log.truncate_after(0)
    with log:
        for step in range(1, 6):
            service.is_down = step in (2, 3, 4)
            log.write(step, {"loss": 1 / step})
    assert capsys.readouterr().err.splitlines() == [
        "search: warning: memory: no route to memory; the run goes on, and what is "
        "missing there is sent later"
    ]
    finish_logs(run, ["search"])
    assert service.runs == {"id0": LOSSES}


def test_the_same_command_sends_what_a_service_lacks(
    tmp_path: Path, service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begin(tmp_path)
    service.is_down = True
    finish(run, done=0, steps=range(1, 6))
    warning, end = capsys.readouterr().err.splitlines()
    assert "warning" in warning
    assert end == (
        "search: memory lacks 5 records; metrics.jsonl has them, and the same command "
        "sends them"
    )
    service.is_down = False
    finish_logs(run, ["search"], [[run.genotype]])
    assert service.runs == {"id0": LOSSES}
    assert service.files == {"id0": ["genotype.json"]}


def test_members_are_runs_of_one_group(tmp_path: Path, service: Service) -> None:
    run = begin(tmp_path)
    run.members.write_text('[{"seed": 3}, {"seed": 4, "search.radius": "0.1"}]')
    with MetricsLog(run, "population") as log:
        log.write(1, {"loss": [0.5, float("nan")], "epoch": 1, "entropy": [None, 2]})
        log.write(2, {"loss": [0.25, 0.5], "epoch": 2, "entropy": [1, 2]})
    finish_logs(run, ["population"], [[run.members], []])
    first, second = service.told
    assert [first.member, second.member] == ["seed 3", "seed 4, radius 0.1"]
    assert first.group == second.group == "run"
    assert (first.settings["seed"], second.settings["search.radius"]) == (3, "0.1")
    assert service.runs["id0"] == {
        1: {"loss": 0.5, "epoch": 1},
        2: {"loss": 0.25, "epoch": 2, "entropy": 1},
    }
    assert service.runs["id1"][2] == {"loss": 0.5, "epoch": 2, "entropy": 2}
    assert service.files == {"id0": ["members.json"], "id1": []}


def test_a_service_that_is_down_is_told_before_anything_is_touched(
    tmp_path: Path, service: Service
) -> None:
    service.is_down = True
    with pytest.raises(InputError, match="log=memory: no answer"):
        begin(tmp_path)
    assert not (tmp_path / "run").exists()


def test_passwords_of_places_are_not_told() -> None:
    told = LoggedRun(Path(), "", settings={"a": "npz:ftp://me:secret@host/x", "b": 1})
    assert told.shown_settings == {"a": "npz:ftp://host/x", "b": 1}


def test_none_writes_nothing(tmp_path: Path) -> None:
    run = begin(tmp_path, "none")
    finish(run, done=0, steps=range(1, 3))
    assert not run.events.exists()
    assert not run.logged.exists()


@pytest.mark.parametrize("text", ["tensorbord", "none,wandb", ""])
def test_an_unknown_logger_is_refused(text: str) -> None:
    made = default_config()
    made.log = text
    with pytest.raises(InputError, match=r"unknown log '(tensorbord|none|)'"):
        validate_config(made)


def test_a_search_that_dies_behind_a_record_goes_on_as_the_same_run(
    tmp_path: Path, service: Service, tiny: object
) -> None:
    made = config(epochs=3, log="memory")

    def die(record: Mapping[str, object]) -> None:
        if record["epoch"] == 2:
            raise KeyboardInterrupt  # its record is written, its checkpoint is not

    with pytest.raises(KeyboardInterrupt):
        darts_jax.search(made, tmp_path / "run", images(), live=die)
    found = darts_jax.search(made, tmp_path / "run", images())
    (steps,) = service.runs.values()
    assert [step["loss"] for step in steps.values()] == [
        r["loss"] for r in found.records
    ]
    assert service.files == {"id0": ["genotype.json", "genotype.png"]}
    assert service.ended == {"id0": True}


def test_searches_of_an_ablation_are_one_group(
    tmp_path: Path, service: Service, tiny: object
) -> None:
    made = config(epochs=1, log="memory")
    grid = {"search.relaxation": ["softmax", "sigmoid"]}
    darts_jax.ablate(made, grid, (0, 1), tmp_path / "grid", images())
    assert {run.group for run in service.told} == {"grid"}
    told = [(run.settings["search.relaxation"], run.member) for run in service.told]
    assert sorted(told) == [
        (relaxation, f"seed {seed}")
        for relaxation in ("sigmoid", "softmax")
        for seed in (0, 1)
    ]
    assert all(names for names in service.files.values())
