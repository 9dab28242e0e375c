"""Class weights of the criterion, for data in which some classes are rare."""

import numpy as np
from jaxtyping import Float, Int
from ml_collections import ConfigDict

from darts_jax.data.dataset import Dataset
from darts_jax.data.stream import AnyDataset
from darts_jax.errors import InputError
from darts_jax.settings.setting import class_weight_numbers


def class_weights(
    config: ConfigDict, dataset: AnyDataset
) -> Float[np.ndarray, " class"] | None:
    """Returns the weight of an image of each class in the loss.

    Weights are relative: they are scaled so that their mean over the training images is
    1, and a learning rate means the same with them and without. ``balanced`` gives
    ``n / (k n_c)`` for a class of n_c of n images, of k classes that have any (King and
    Zeng, 2001).

    Args:
      config: settings of a run, of which ``data.class_weights`` is read.
      dataset: images by class.

    Returns:
      float32 [class]; None where all images weigh the same.

    Raises:
      InputError: another number of weights than of classes, or the classes that have
        training images all weigh 0.
    """
    named = config.data.class_weights
    if named == "none":
        return None
    counts = training_counts(dataset)
    if named == "balanced":
        present = np.count_nonzero(counts)
        weights = counts.sum() / (present * np.maximum(counts, 1))
        return np.where(counts > 0, weights, 0).astype(np.float32)
    given = np.array(class_weight_numbers(named))
    if len(given) != dataset.classes:
        raise InputError(
            f"setting data.class_weights has {len(given)} numbers, and "
            f"{dataset.name!r} has {dataset.classes} classes "
            f"({_named(dataset.class_names)}); want one for each, or balanced"
        )
    total = float(given @ counts)
    if total <= 0:
        raise InputError(
            f"setting data.class_weights is {named}: every class of {dataset.name!r} "
            "that has training images weighs 0; want one above 0"
        )
    return (given * (counts.sum() / total)).astype(np.float32)


def training_counts(dataset: AnyDataset) -> Int[np.ndarray, " class"]:
    """Returns the number of training images of each class.

    Args:
      dataset: images by class. A stream's labels are read one by one, which decodes no
        image.
    """
    if isinstance(dataset, Dataset):
        labels = dataset.train_labels
    else:
        labels = np.array([dataset.train_label(i) for i in range(dataset.train_size)])
    return np.bincount(labels, minlength=dataset.classes)


def _named(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown}, ..."
