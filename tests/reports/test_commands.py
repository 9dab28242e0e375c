"""Recipe of a run in a report: its method is known, its command lines repeat it."""

import shlex

import pytest

from darts_jax.reports.commands import reproduction_commands
from darts_jax.settings.config import config_to_json
from darts_jax.settings.config_files import load_config
from darts_jax.settings.methods import METHODS, apply_method, method_of
from darts_jax.training.directory import RunDirectory


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_known_by_its_choices(name):
    made = apply_method(load_config(), name, ["search.epochs=7"])
    assert method_of(made) == name


def test_a_mixture_of_methods_is_none_of_them():
    made = apply_method(load_config(), "gdas", ["search.hook=alignment"])
    assert method_of(made) is None


def test_command_lines_give_the_same_settings(tmp_path):
    run = RunDirectory(tmp_path / "a run")
    run.path.mkdir()
    made = apply_method(load_config(), "p_darts", ["data.flip=true", "search.warmup=0"])
    run.config.write_text(config_to_json(made))
    for command in reproduction_commands(run, made, ["search"]).values():
        program, verb, *words = shlex.split(command.replace("\\\n", ""))
        assert (program, verb) == ("darts-jax", "search")
        given = [w.removeprefix("--config.") for w in words if "--config." in w]
        source = words[words.index("--config") + 1] if "--config" in words else None
        assert load_config(source, given) == made
        assert words[words.index("--run") + 1] == f"{run.path}-again"
    both = reproduction_commands(run, made, ["search", "retrain"])
    assert all(command.startswith("darts-jax run ") for command in both.values())
