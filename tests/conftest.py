"""Strict arithmetic for every test, and where real data may lie."""

import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "allow")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def shared() -> Path:
    """Facts and real data beside the checkout; tests that need them skip without."""
    if not SHARED.is_dir():
        pytest.skip("no shared data beside this checkout")
    return SHARED
