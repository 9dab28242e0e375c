"""Oracles of baselines: a table, a supernet's paths, or training from scratch."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from darts_jax.baselines import BatchEvaluate, Evaluate, Evaluation
from darts_jax.bilevel.discretization import one_hot
from darts_jax.data.stream import AnyDataset
from darts_jax.engine.devices import Layout, to_host
from darts_jax.nasbench import Table
from darts_jax.spaces.graph import Genotype
from darts_jax.tasks.image_data import search_halves
from darts_jax.tasks.registry import load_data, require_images
from darts_jax.training.console import print_status
from darts_jax.training.path_scores import make_path_scores
from darts_jax.training.restore import SavedSearch
from darts_jax.workflows.programs import Grid, Program, Step
from darts_jax.workflows.retrain_result import read_retrained


def make_table_oracle(
    known: Table, dataset: str = "cifar10", epochs: int = 0
) -> BatchEvaluate:
    """Makes an oracle of a table: the accuracy that its benchmark tells searches.

    It costs simulated seconds; see `Table.told` of each benchmark. A search may ask for
    trainings of all lengths that the table knows; each costs what it takes from its
    first epoch on.

    Args:
      known: the table.
      dataset: of its accuracies.
      epochs: of a training whose length a search does not say; 0: as the benchmark's
        searches are told.

    Returns:
      genotypes -> validation accuracies in percent, and seconds.

    Raises:
      InputError: the table lacks a column.
    """
    answers = {0: known.answers(dataset, epochs)}

    def evaluate_all(
        genotypes: Sequence[Genotype], epochs: int
    ) -> Iterator[Evaluation]:
        if epochs not in answers:
            answers[epochs] = known.answers(dataset, epochs)
        return (Evaluation(*answers[epochs](genotype)) for genotype in genotypes)

    return BatchEvaluate(evaluate_all, known.lengths(dataset))


def make_path_oracle(
    run: str | Path,
    epoch: int = 0,
    dataset: AnyDataset | None = None,
    overrides: Sequence[str] = (),
) -> Evaluate:
    """Makes an oracle of a search's supernet: accuracy of a path, measured seconds.

    Args:
      run: directory of the search.
      epoch: from 1, one whose checkpoint is kept; 0 for the newest.
      dataset: in place of the one that the run's settings name.
      overrides: settings of ``score``, as ``score.images=500``.

    Returns:
      genotype -> accuracy in percent, and seconds.
    """
    saved = SavedSearch(run, overrides)
    dataset = dataset or load_data(saved.config)
    _, state = saved.restore(epoch, dataset)
    score_paths = make_path_scores(saved.config, dataset, Layout())
    params, stats = Layout().put(to_host((state.params, state.stats)))

    def evaluate(genotype: Genotype) -> Evaluation:
        began = time.perf_counter()
        mixture = one_hot(saved.space, genotype)
        alone = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], mixture)
        (accuracy,) = np.asarray(score_paths(params, stats, alone))
        return Evaluation(100 * float(accuracy), time.perf_counter() - began)

    return evaluate


def make_training_oracle(config: ConfigDict, grid: Grid) -> BatchEvaluate:
    """Makes an oracle of training from scratch: a score, for measured seconds.

    Networks are trained by ``config.retrain`` on the images that train a search, and
    tested on those that validate it: the test images stay unseen. A genotype asked for
    again is read and not trained again. Genotypes that are asked for together are
    trained side by side, if the grid's engine has workers; a network takes the seconds
    of its worker then. A search may ask for shorter trainings than
    ``retrain.epochs``, of one epoch more than their warm-up or longer: each is a
    training from scratch, whose schedule ends with it.

    Args:
      config: settings of the training.
      grid: where networks are trained, a run directory each.

    Returns:
      genotypes -> scores as people are shown them, negative where less is better, and
      seconds.

    Raises:
      InputError: the data are a stream.
    """
    require_images(config, "training as an oracle")
    search_halves(config, grid.dataset)
    whole = config.retrain.epochs
    known: dict[str, int] = {}

    def make_program(genotype: Genotype, epochs: int) -> Program:
        text = genotype.to_json()
        name = f"network_{known.setdefault(text, len(known))}"
        alone = config.copy_and_resolve_references()
        alone.baseline.random_genotypes = 0
        if epochs not in (0, whole):
            name = f"{name}_epochs_{epochs}"
            alone.retrain.epochs = epochs
        arguments = {"genotype": json.loads(text)}
        step = Step("retrain", grid.place / name, alone, arguments, halves=True)
        return Program(name, (step,))

    def train(programs: Sequence[Program]) -> Iterator[Evaluation]:
        new = {program.name: program for program in programs}
        outcomes = grid.run([*new.values()])
        for program in programs:
            began = time.perf_counter()
            trained = read_retrained(program.steps[0].run)
            assert trained is not None
            measure = trained.measure
            print_status(f"{program.name}: {measure.format_score(trained.score)}")
            score = measure.merit(measure.scaled(trained.score))
            spent = time.perf_counter() - began
            if program.name in outcomes:
                spent = outcomes.pop(program.name).seconds
            yield Evaluation(score, spent)

    def evaluate_all(
        genotypes: Sequence[Genotype], epochs: int
    ) -> Iterator[Evaluation]:
        programs = [make_program(genotype, epochs) for genotype in genotypes]
        # In one process the budget is looked at after each.
        if grid.engine.is_here:
            for program in programs:
                yield from train([program])
        else:
            yield from train(programs)

    shortest = config.retrain.warmup_epochs + 1
    return BatchEvaluate(evaluate_all, range(shortest, whole + 1))
