"""Packages of services, which may be missing."""

import pytest

from darts_jax.errors import InputError
from darts_jax.loggers.logger import import_service


def test_a_package_that_is_missing_is_told_in_one_line() -> None:
    with pytest.raises(InputError) as refusal:
        import_service("no_such_service", "wandb")
    assert str(refusal.value) == (
        "log=wandb needs the package no_such_service (No module named "
        "'no_such_service'); want pip install 'darts-jax[wandb]', or another log"
    )
