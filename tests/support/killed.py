"""A search that was killed and resumed, beside one that was not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ml_collections import ConfigDict

import darts_jax
from darts_jax.training.search_observer import SearchObserver


def search_with_and_without_a_kill(
    config: ConfigDict,
    folder: Path,
    data: Any,
    monkeypatch: pytest.MonkeyPatch,
    epoch: int = 2,
) -> tuple[Any, Any]:
    """Returns what a search finds, and what it finds killed in an epoch and resumed."""
    whole = darts_jax.search(config, folder / "whole", data)
    measure = SearchObserver.measure

    def killed(self: SearchObserver, moment: Any) -> Any:
        if moment.epoch == epoch:
            raise KeyboardInterrupt
        return measure(self, moment)

    with monkeypatch.context() as patch:
        patch.setattr(SearchObserver, "measure", killed)
        with pytest.raises(KeyboardInterrupt):
            darts_jax.search(config, folder / "killed", data)
    return whole, darts_jax.search(config, folder / "killed", data)


def assert_same_end(whole: Any, again: Any) -> None:
    """Requires the bits of the architecture, and the genotype, of one another."""
    for kind, values in whole.alpha.items():
        np.testing.assert_array_equal(again.alpha[kind], values)
    assert again.genotype == whole.genotype
