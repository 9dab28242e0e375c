"""The section ``benchmark`` of a config: true accuracies, where they are known."""

from ml_collections import ConfigDict

from darts_jax.nasbench.known import Known, find_known


def known_accuracies(config: ConfigDict) -> Known | None:
    """Returns the accuracies of ``config.benchmark``, if it knows the space.

    Args:
      config: settings of a run.

    Raises:
      InputError: the table that is named is missing, damaged or lacks the column.
    """
    settings = config.benchmark
    return find_known(
        config.space,
        config.data.name,
        dataset="" if settings.dataset == "auto" else settings.dataset,
        table=settings.table,
        directory=config.data.directory,
        split=settings.split,
        epochs=settings.epochs,
    )
