"""Draws of genotypes by a tree of Parzen estimators, as Optuna has it."""

import warnings
from typing import Any

from darts_jax.errors import InputError
from darts_jax.spaces.graph import Genotype, Space
from darts_jax.spaces.moves import assemble_genotype, decision_nodes

_TRIES = 100


class TreeSampler:
    """Draws genotypes that resemble the best so far (Bergstra et al., 2011).

    Decisions are the set of edges that a node keeps, and the operation of each edge; of
    an edge that a genotype does not keep, nothing is learnt from it.

    Args:
      space: where genotypes come from.
      seed: of all random numbers.

    Attributes:
      told: number of genotypes that it has heard of.

    Raises:
      InputError: Optuna is not installed.
    """

    def __init__(self, space: Space, seed: int) -> None:
        try:
            import optuna
        except ImportError:
            raise InputError(
                "drawing by Parzen estimators needs optuna: pip install "
                "'darts-jax[optuna]'"
            ) from None
        self.told = 0
        self._space = space
        self._nodes = decision_nodes(space)
        self._optuna = optuna
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            # A draw of all decisions together is marked as experimental.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                n_startup_trials=1, multivariate=True, seed=seed
            )
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        sizes = {}
        for i, node in enumerate(self._nodes):
            sizes[f"{i}"] = len(node.sources)
            sizes |= {f"{i}.{s}": len(ops) for s, ops in node.operations.items()}
        self._distributions: dict[str, Any] = {
            name: optuna.distributions.CategoricalDistribution(range(size))
            for name, size in sizes.items()
            if size > 1
        }

    def tell(self, genotype: Genotype, score: float) -> None:
        """Learns the score of a genotype.

        Args:
          genotype: of the space.
          score: the higher the better.
        """
        chosen = {
            name: value
            for name, value in self._encode(genotype).items()
            if name in self._distributions
        }
        trial = self._optuna.trial.create_trial(
            params=chosen,
            distributions={name: self._distributions[name] for name in chosen},
            value=score,
        )
        self._study.add_trial(trial)
        self.told += 1

    def draw(self) -> Genotype:
        """Returns a genotype.

        Raises:
          InputError: no draw is a genotype of the space.
        """
        for _ in range(_TRIES):
            trial = self._study.ask(self._distributions)
            genotype = self._decode(trial.params)
            # An open trial would be taken for a training that is still running.
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
            if self._space.has(genotype):
                return genotype
        raise InputError(f"{_TRIES} draws, and none is of space {self._space.name!r}")

    def _encode(self, genotype: Genotype) -> dict[str, int]:
        chosen = {}
        for i, node in enumerate(self._nodes):
            kept = {
                choice.source: choice.operation
                for choice in genotype.cells[node.kind].choices
                if node.targets.get(choice.source) == choice.target
            }
            chosen[f"{i}"] = node.sources.index(tuple(sorted(kept)))
            for source, operation in kept.items():
                chosen[f"{i}.{source}"] = node.operations[source].index(operation)
        return chosen

    def _decode(self, chosen: dict[str, Any]) -> Genotype:
        choices = []
        for i, node in enumerate(self._nodes):
            for source in node.sources[chosen.get(f"{i}", 0)]:
                operation = node.operations[source][chosen.get(f"{i}.{source}", 0)]
                choices.append((node.kind, node.choice(source, operation)))
        return assemble_genotype(self._space, choices)
