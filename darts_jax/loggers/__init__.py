"""Writers of a run's numbers to where people look at them, by name.

To add one: an entry of `LOGGERS`, a class of `logger.Logger`.
"""

from darts_jax.errors import unknown_name_error
from darts_jax.loggers.logger import LoggedRun, Logger
from darts_jax.loggers.mlflow import MlflowLogger
from darts_jax.loggers.tensorboard import TensorBoardLogger
from darts_jax.loggers.wandb import WandbLogger

__all__ = ["LOGGERS", "LoggedRun", "Logger", "list_loggers"]

LOGGERS: dict[str, type[Logger]] = {
    "tensorboard": TensorBoardLogger,
    "wandb": WandbLogger,
    "mlflow": MlflowLogger,
}
"""Name of a setting ``log`` -> its writer."""

NO_LOGGER = "none"


def list_loggers(text: str) -> dict[str, type[Logger]]:
    """Returns the writers that a setting ``log`` names, each once.

    Args:
      text: names separated by commas, or "none".

    Raises:
      InputError: there is no such writer.
    """
    names = [name.strip() for name in text.split(",")]
    if names == [NO_LOGGER]:
        return {}
    for name in names:
        if name not in LOGGERS:
            raise unknown_name_error("log", name, [*LOGGERS, NO_LOGGER])
    return {name: LOGGERS[name] for name in names}
