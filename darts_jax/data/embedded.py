"""Data sets that need no download: scikit-learn's, and signals that are generated.

scikit-learn's have no official split: of a permutation with seed 0, sorted by label,
every fifth is a test image or row. Both parts stand in the order of the permutation.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from darts_jax.data.dataset import Dataset, from_arrays
from darts_jax.data.licences import LICENCES

CHIRPS = ("rising", "falling", "steady", "trembling", "burst", "echo")
"""Classes of `chirps`."""

_CHIRP_STEPS = 128
_CHIRP_COUNTS = (1200, 600)
_CHIRP_NOISE = 0.5


def digits(directory: Path | None = None) -> Dataset:
    """Loads 1,437 + 360 gray images of 8x8 in 10 classes, shipped with scikit-learn.

    Values 0..16 become 0..255.

    Args:
      directory: unused.

    Returns:
      The data set.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    return _split(bunch, images, "digits")


def breast_cancer(directory: Path | None = None) -> Dataset:
    """Loads a table of 569 tumours, 30 numbers each, in 2 classes, of scikit-learn.

    Args:
      directory: unused.

    Returns:
      The data set, 455 + 114 rows.
    """
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    return _split(bunch, bunch.data, "breast_cancer", "tables")


def wine(directory: Path | None = None) -> Dataset:
    """Loads a table of 178 wines, 13 numbers each, in 3 classes, of scikit-learn.

    Args:
      directory: unused.

    Returns:
      The data set, 142 + 36 rows.
    """
    from sklearn.datasets import load_wine

    bunch = load_wine()
    return _split(bunch, bunch.data, "wine", "tables")


def diabetes(directory: Path | None = None) -> Dataset:
    """Loads a table of 442 patients, 10 numbers each, and a number to be predicted.

    It is how far their diabetes had gone on after a year (25 to 346), in the table of
    Efron et al. (2004) that scikit-learn ships, unscaled.

    Args:
      directory: unused.

    Returns:
      The data set, 353 + 89 rows.
    """
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes(scaled=False)
    return _split(bunch, bunch.data, "diabetes", "tables", target="progression")


def _split(
    bunch: Any, values: np.ndarray, name: str, kind: str = "images", target: str = ""
) -> Dataset:
    order = np.random.default_rng(0).permutation(len(values))
    by_class = order[np.argsort(bunch.target[order], kind="stable")]
    chosen = np.isin(order, by_class[::5])
    train = order[~chosen]
    test = order[chosen]
    return from_arrays(
        values[train],
        bunch.target[train],
        values[test],
        bunch.target[test],
        name=name,
        class_names=None if target else [str(known) for known in bunch.target_names],
        licence=LICENCES[name],
        kind=kind,
        columns=list(bunch.feature_names) if kind == "tables" else None,
        target=target,
    )


def chirps(directory: Path | None = None) -> Dataset:
    """Generates 1,200 + 600 signals of 128 steps and one channel in 6 classes.

    Every signal is a tone of random pitch, phase and place under noise: its pitch
    rises, falls, stays or trembles, or it is one short burst or a burst and its echo.
    The draws have seed 0.

    Args:
      directory: unused.

    Returns:
      The data set.
    """
    rng = np.random.default_rng(0)
    parts = []
    for count in _CHIRP_COUNTS:
        labels = rng.permutation(np.arange(count) % len(CHIRPS))
        signals = np.stack([_draw_chirp(rng, CHIRPS[label]) for label in labels])
        parts += [signals, labels]
    train, train_labels, test, test_labels = parts
    return from_arrays(
        train,
        train_labels,
        test,
        test_labels,
        name="chirps",
        class_names=CHIRPS,
        note="generated signals, not measured ones",
        licence=LICENCES["chirps"],
        kind="signals",
    )


def _draw_chirp(rng: np.random.Generator, name: str) -> Float[np.ndarray, " step"]:
    """Returns a tone of a class, with noise."""
    time = np.linspace(0, 1, _CHIRP_STEPS)
    pitch = rng.uniform(13, 17) + np.zeros(_CHIRP_STEPS)
    if name in ("rising", "falling"):
        slope = rng.uniform(14, 20) * (1 if name == "rising" else -1)
        pitch = pitch + slope * (time - 0.5)
    elif name == "trembling":
        swing = np.sin(2 * np.pi * (rng.uniform(2, 4) * time + rng.uniform()))
        pitch = pitch + rng.uniform(6, 9) * swing
    phase = 2 * np.pi * (np.cumsum(pitch) / _CHIRP_STEPS + rng.uniform())
    loudness = np.ones(_CHIRP_STEPS)
    if name in ("burst", "echo"):
        place = rng.uniform(0.15, 0.45)
        width = rng.uniform(0.05, 0.08)
        loudness = 2 * np.exp(-(((time - place) / width) ** 2))
        if name == "echo":
            later = place + rng.uniform(0.3, 0.4)
            loudness = loudness + np.exp(-(((time - later) / width) ** 2))
    noise = rng.normal(0, _CHIRP_NOISE, _CHIRP_STEPS)
    return loudness * np.sin(phase) + noise
