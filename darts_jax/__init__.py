"""Differentiable architecture search in JAX.

config = darts_jax.load_config("configs/digits.py")
found = darts_jax.search(config, "runs/digits")
darts_jax.draw_genotype(found.genotype, "cells.svg")
print(darts_jax.retrain(config, "runs/digits"))

Every name is imported when it is first used, so that ``import darts_jax`` is quick.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from darts_jax.baselines import BASELINES as BASELINES
    from darts_jax.baselines import EXTRAPOLATIONS as EXTRAPOLATIONS
    from darts_jax.baselines import PREDICTORS as PREDICTORS
    from darts_jax.baselines import Budget as Budget
    from darts_jax.baselines import Evaluation as Evaluation
    from darts_jax.baselines import Prediction as Prediction
    from darts_jax.baselines import Question as Question
    from darts_jax.baselines import improvement as improvement
    from darts_jax.bilevel.alignment import WEIGHT_HOOKS as WEIGHT_HOOKS
    from darts_jax.bilevel.alignment import WeightHook as WeightHook
    from darts_jax.bilevel.architecture import (
        ARCHITECTURE_UPDATES as ARCHITECTURE_UPDATES,
    )
    from darts_jax.bilevel.architecture import ArchitectureUpdate as ArchitectureUpdate
    from darts_jax.bilevel.cost_constraint import BUDGET_RULES as BUDGET_RULES
    from darts_jax.bilevel.cost_constraint import CostConstraint as CostConstraint
    from darts_jax.bilevel.discretization import DISCRETIZATIONS as DISCRETIZATIONS
    from darts_jax.bilevel.hypergradient import HYPERGRADIENTS as HYPERGRADIENTS
    from darts_jax.bilevel.losses import Criterion as Criterion
    from darts_jax.bilevel.paths import PATH_RULES as PATH_RULES
    from darts_jax.bilevel.paths import PathRule as PathRule
    from darts_jax.bilevel.perturbation import PERTURBATIONS as PERTURBATIONS
    from darts_jax.bilevel.perturbation import Perturbation as Perturbation
    from darts_jax.bilevel.regime import REGIMES as REGIMES
    from darts_jax.bilevel.regime import Regime as Regime
    from darts_jax.bilevel.regularization import TERMS as TERMS
    from darts_jax.bilevel.regularization import Term as Term
    from darts_jax.bilevel.relaxation import RELAXATIONS as RELAXATIONS
    from darts_jax.bilevel.relaxation import Relaxation as Relaxation
    from darts_jax.bilevel.relaxation import relax as relax
    from darts_jax.bilevel.selection import SELECTIONS as SELECTIONS
    from darts_jax.bilevel.selection import TrainedSupernet as TrainedSupernet
    from darts_jax.bilevel.step import Search as Search
    from darts_jax.bilevel.stopping import STOP_RULES as STOP_RULES
    from darts_jax.bilevel.stopping import EpochRecord as EpochRecord
    from darts_jax.bilevel.stopping import Stop as Stop
    from darts_jax.bilevel.weight_training import Training as Training
    from darts_jax.choices.adapters import Functions as Functions
    from darts_jax.choices.decisions import decided as decided
    from darts_jax.choices.decisions import mixed as mixed
    from darts_jax.choices.modules import Choice as Choice
    from darts_jax.choices.modules import InputChoice as InputChoice
    from darts_jax.choices.modules import ValueChoice as ValueChoice
    from darts_jax.choices.space import ModuleSpace as ModuleSpace
    from darts_jax.choices.space import decide as decide
    from darts_jax.choices.space import space_of as space_of
    from darts_jax.data.dataset import Dataset as Dataset
    from darts_jax.data.dataset import from_arrays as from_arrays
    from darts_jax.data.sources import SOURCES as SOURCES
    from darts_jax.data.sources import load_dataset as load_dataset
    from darts_jax.data.stream import StreamedDataset as StreamedDataset
    from darts_jax.data.stream import from_sources as from_sources
    from darts_jax.errors import DataWarning as DataWarning
    from darts_jax.errors import InputError as InputError
    from darts_jax.interop import export_weights as export_weights
    from darts_jax.interop import import_weights as import_weights
    from darts_jax.interop import read_arrays as read_arrays
    from darts_jax.interop import write_arrays as write_arrays
    from darts_jax.models.functional import initialize_supernet as initialize_supernet
    from darts_jax.models.functional import network_apply as network_apply
    from darts_jax.models.functional import supernet_apply as supernet_apply
    from darts_jax.models.network import Network as Network
    from darts_jax.models.operations.image import OPERATIONS as OPERATIONS
    from darts_jax.models.supernet import Supernet as Supernet
    from darts_jax.nasbench import load_table as load_table
    from darts_jax.plots.cells import draw_genotype as draw_genotype
    from darts_jax.proxies import PROXIES as PROXIES
    from darts_jax.proxies import UntrainedNetwork as UntrainedNetwork
    from darts_jax.reports.report import report as report
    from darts_jax.settings.config import default_config as default_config
    from darts_jax.settings.config_files import load_config as load_config
    from darts_jax.settings.methods import METHODS as METHODS
    from darts_jax.settings.methods import Method as Method
    from darts_jax.settings.methods import apply_method as apply_method
    from darts_jax.settings.scalars import search_scalars as search_scalars
    from darts_jax.settings.scalars import training_scalars as training_scalars
    from darts_jax.spaces import SPACES as SPACES
    from darts_jax.spaces import get_space as get_space
    from darts_jax.spaces.graph import Cell as Cell
    from darts_jax.spaces.graph import CellGenotype as CellGenotype
    from darts_jax.spaces.graph import Edge as Edge
    from darts_jax.spaces.graph import Genotype as Genotype
    from darts_jax.spaces.graph import KeptEdge as KeptEdge
    from darts_jax.spaces.graph import Macro as Macro
    from darts_jax.spaces.graph import Space as Space
    from darts_jax.spaces.published import PUBLISHED as PUBLISHED
    from darts_jax.spaces.published import get_genotype as get_genotype
    from darts_jax.spaces.reading import read_genotype as read_genotype
    from darts_jax.spaces.scaling import scaled as scaled
    from darts_jax.tasks.module.problem import Problem as Problem
    from darts_jax.tasks.module.problem import make_problem as make_problem
    from darts_jax.tasks.registry import TASKS as TASKS
    from darts_jax.tasks.registry import register_task as register_task
    from darts_jax.tasks.task import Task as Task
    from darts_jax.types import Alpha as Alpha
    from darts_jax.types import Examples as Examples
    from darts_jax.types import Hypergradient as Hypergradient
    from darts_jax.types import Mask as Mask
    from darts_jax.types import Mixture as Mixture
    from darts_jax.types import Scalars as Scalars
    from darts_jax.types import SearchState as SearchState
    from darts_jax.types import SupernetApply as SupernetApply
    from darts_jax.types import TrainState as TrainState
    from darts_jax.workflows.ablate import ablate as ablate
    from darts_jax.workflows.compare import compare as compare
    from darts_jax.workflows.compare import load_run as load_run
    from darts_jax.workflows.diagnose import diagnose as diagnose
    from darts_jax.workflows.estimate import estimate as estimate
    from darts_jax.workflows.evaluate import evaluate as evaluate
    from darts_jax.workflows.export import export as export
    from darts_jax.workflows.front import front as front
    from darts_jax.workflows.population import population as population
    from darts_jax.workflows.proxies import score_untrained as score_untrained
    from darts_jax.workflows.retrain import retrain as retrain
    from darts_jax.workflows.score import score as score
    from darts_jax.workflows.search import search as search
    from darts_jax.workflows.select import select as select

# Module -> its public names, by what they are for.
_MODULES = {
    # Verbs: each is a command, too.
    "workflows.ablate": ("ablate",),
    "workflows.compare": ("compare", "load_run"),
    "workflows.diagnose": ("diagnose",),
    "workflows.estimate": ("estimate",),
    "workflows.evaluate": ("evaluate",),
    "workflows.export": ("export",),
    "workflows.front": ("front",),
    "workflows.population": ("population",),
    "workflows.proxies": ("score_untrained",),
    "reports.report": ("report",),
    "workflows.retrain": ("retrain",),
    "workflows.score": ("score",),
    "workflows.search": ("search",),
    "workflows.select": ("select",),
    "plots.cells": ("draw_genotype",),
    # Settings.
    "settings.config": ("default_config",),
    "settings.config_files": ("load_config",),
    "settings.methods": ("METHODS", "Method", "apply_method"),
    "settings.scalars": ("search_scalars", "training_scalars"),
    # Data.
    "data.dataset": ("Dataset", "from_arrays"),
    "data.stream": ("StreamedDataset", "from_sources"),
    "data.sources": ("SOURCES", "load_dataset"),
    # Spaces and genotypes.
    "spaces": ("SPACES", "get_space"),
    "spaces.graph": (
        "Cell",
        "CellGenotype",
        "Edge",
        "Genotype",
        "KeptEdge",
        "Macro",
        "Space",
    ),
    "spaces.published": ("PUBLISHED", "get_genotype"),
    "spaces.reading": ("read_genotype",),
    "spaces.scaling": ("scaled",),
    # Choices in a network of one's own.
    "choices.modules": ("Choice", "InputChoice", "ValueChoice"),
    "choices.space": ("ModuleSpace", "decide", "space_of"),
    "choices.decisions": ("decided", "mixed"),
    "choices.adapters": ("Functions",),
    "tasks.module.problem": ("Problem", "make_problem"),
    # Choices of a method: tables that users extend.
    "bilevel.relaxation": ("RELAXATIONS", "Relaxation", "relax"),
    "bilevel.hypergradient": ("HYPERGRADIENTS",),
    "bilevel.architecture": ("ARCHITECTURE_UPDATES", "ArchitectureUpdate"),
    "bilevel.regime": ("REGIMES", "Regime"),
    "bilevel.regularization": ("TERMS", "Term"),
    "bilevel.paths": ("PATH_RULES", "PathRule"),
    "bilevel.perturbation": ("PERTURBATIONS", "Perturbation"),
    "bilevel.alignment": ("WEIGHT_HOOKS", "WeightHook"),
    "bilevel.cost_constraint": ("BUDGET_RULES", "CostConstraint"),
    "bilevel.discretization": ("DISCRETIZATIONS",),
    "bilevel.selection": ("SELECTIONS", "TrainedSupernet"),
    "bilevel.stopping": ("STOP_RULES", "EpochRecord", "Stop"),
    # The step and its networks.
    "bilevel.step": ("Search",),
    "bilevel.weight_training": ("Training",),
    "bilevel.losses": ("Criterion",),
    "models.supernet": ("Supernet",),
    "models.network": ("Network",),
    "models.functional": ("initialize_supernet", "network_apply", "supernet_apply"),
    "models.operations.image": ("OPERATIONS",),
    "types": (
        "Alpha",
        "Examples",
        "Hypergradient",
        "Mask",
        "Mixture",
        "Scalars",
        "SearchState",
        "SupernetApply",
        "TrainState",
    ),
    # Tasks and baselines.
    "tasks.registry": ("TASKS", "register_task"),
    "tasks.task": ("Task",),
    "baselines": (
        "BASELINES",
        "EXTRAPOLATIONS",
        "PREDICTORS",
        "Budget",
        "Evaluation",
        "Prediction",
        "Question",
        "improvement",
    ),
    "proxies": ("PROXIES", "UntrainedNetwork"),
    # Known truth, published weights, errors.
    "nasbench": ("load_table",),
    "interop": ("export_weights", "import_weights", "read_arrays", "write_arrays"),
    "errors": ("DataWarning", "InputError"),
}
_PUBLIC = {name: module for module, names in _MODULES.items() for name in names}
__all__ = list(_PUBLIC)
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'darts_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(f"darts_jax.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
