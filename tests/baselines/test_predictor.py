"""Predictor-guided search: its encoding of genotypes."""

from darts_jax.baselines.predictor import encode
from tests.support.genotypes import (
    differences,
    draws,
)


def test_encoding_tells_genotypes_apart():
    space, drawn = draws("darts", 40)
    features = encode(space, drawn)
    assert features.shape == (40, 2 * 14 * 7)
    assert (features.sum(1) == 16).all()
    alike = [differences(a, b) == (0, 0) for a in drawn for b in drawn]
    same = (features[:, None] == features).all(-1).ravel()
    assert same.tolist() == alike
