"""The door: names and numbers of a config become functions, and here config ends."""

from darts_jax.build.budget import (
    Limit,
    Pricing,
    has_budget,
    make_expected,
    make_pricing,
)
from darts_jax.build.classification import make_inference
from darts_jax.build.detection import make_detector
from darts_jax.build.feed import Chunks
from darts_jax.build.job import Job
from darts_jax.build.known import Known, known_accuracies
from darts_jax.build.methods import (
    bound,
    full_mask,
    make_discretization,
    make_stop,
)
from darts_jax.build.networks import make_network, make_supernet
from darts_jax.build.paths import STATISTICS, make_path_scores
from darts_jax.build.population import make_population
from darts_jax.build.search import make_search, search_start
from darts_jax.build.shared import count_network_parameters, make_shared_training
from darts_jax.build.sizes import blank_retrained
from darts_jax.build.task import Problem, Score, Supermodel, Task
from darts_jax.build.tasks import (
    TASKS,
    dataset_of,
    require_images,
    score_of,
    task_of,
)
from darts_jax.build.training import make_training

__all__ = [
    "STATISTICS",
    "TASKS",
    "Chunks",
    "Job",
    "Known",
    "Limit",
    "Pricing",
    "Problem",
    "Score",
    "Supermodel",
    "Task",
    "blank_retrained",
    "bound",
    "count_network_parameters",
    "dataset_of",
    "full_mask",
    "has_budget",
    "known_accuracies",
    "make_detector",
    "make_discretization",
    "make_expected",
    "make_inference",
    "make_network",
    "make_path_scores",
    "make_population",
    "make_pricing",
    "make_search",
    "make_shared_training",
    "make_stop",
    "make_supernet",
    "make_training",
    "require_images",
    "score_of",
    "search_start",
    "task_of",
]
