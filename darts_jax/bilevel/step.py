"""One search step, by default of architecture, then weights (Liu et al., alg. 1)."""

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from darts_jax.bilevel import optimizers
from darts_jax.bilevel.alignment import WeightHook, no_hook
from darts_jax.bilevel.architecture import (
    ARCHITECTURE_UPDATES,
    ArchitectureUpdate,
    next_baseline,
    reinforce_gradient,
)
from darts_jax.bilevel.cost_constraint import CostConstraint, next_multiplier
from darts_jax.bilevel.losses import CLASSIFICATION_CRITERION, Criterion
from darts_jax.bilevel.microbatches import scan_microbatches
from darts_jax.bilevel.perturbation import Perturbation, no_perturbation
from darts_jax.bilevel.regime import Regime, split
from darts_jax.bilevel.regularization import Term, penalty
from darts_jax.bilevel.relaxation import relax
from darts_jax.types import (
    Alpha,
    AnyArray,
    Batch,
    Hypergradient,
    Loss,
    Mask,
    Metrics,
    Mixture,
    Params,
    RelaxationFunction,
    Scalars,
    SearchState,
    Stats,
    Targets,
    step_key,
)


@dataclasses.dataclass(frozen=True)
class Search:
    """A method: what fills each slot of the step.

    Attributes:
      apply: the supernet, ``(params, stats, mixture, inputs, key, train) ->
        (outputs, new stats)``.
      mask: kind -> which entries of alpha stand for an operation.
      microbatches: in how many parts a batch is computed.
      weight_relaxation: by what the weights' step mixes, if not by ``relaxation``.
      cost_relaxation: by what the terms do, if not by it.
      update: of alpha by its gradient.
      regime: which losses the architecture descends.
      terms: what is added to them, by name.
      perturbation: of the mixture, in the weight step.
      weight_hook: added to the gradient of the weights.
      hook_cells: the kind of cell that the hook compares, and how many there are; None
        where nothing is added.
      freezes_architecture: whether there are epochs in which the architecture stays
        as it is.
      targets: kind -> the state every edge ends in; where edges are weighed.
      skips: kind -> 1.0 [edge, op] where the operation is a skip connection.
      costs: kind -> cost [edge, op], for the term that asks for it.
      cost_constraint: a hard limit of what the architecture costs; None: there is none.
      criterion: the task's: what outputs are worth.
      nesterov: whether the weights' momentum is Nesterov's.
      weights_first: whether the weights' step comes before the architecture's, which
        then descends at the new weights.
    """

    apply: Any
    relaxation: RelaxationFunction
    hypergradient: Hypergradient
    mask: Mask
    microbatches: int = 1
    weight_relaxation: RelaxationFunction | None = None
    cost_relaxation: RelaxationFunction | None = None
    update: ArchitectureUpdate = ARCHITECTURE_UPDATES["adam"]
    regime: Regime = split
    terms: Mapping[str, Term] = dataclasses.field(default_factory=dict)
    perturbation: Perturbation = no_perturbation
    weight_hook: WeightHook = no_hook
    hook_cells: tuple[str, int] | None = None
    freezes_architecture: bool = False
    targets: Targets = dataclasses.field(default_factory=dict)
    skips: Mapping[str, AnyArray] = dataclasses.field(default_factory=dict)
    costs: Mapping[str, AnyArray] | None = None
    cost_constraint: CostConstraint | None = None
    criterion: Criterion = CLASSIFICATION_CRITERION
    nesterov: bool = False
    weights_first: bool = False

    def init(
        self,
        key: Array,
        params: Params,
        stats: Stats,
        alpha: Alpha,
        mask: Mask | None = None,
    ) -> SearchState:
        """The state before the first step.

        Args:
          key: raw key data.
          mask: which operations take part, if not all that there are.
        """
        some = jax.tree.leaves(alpha)[0]
        return SearchState(
            step=jnp.zeros((), jnp.int32),
            key=key,
            params=params,
            stats=stats,
            alpha=alpha,
            mask={k: jnp.asarray(m) for k, m in (mask or self.mask).items()},
            baseline=jnp.zeros((), some.dtype),
            multiplier=jnp.zeros((), some.dtype),
            # No optimizer's initial state depends on a scalar.
            weight_optimizer=self._sgd({"weights": {"learning_rate": 0.0}}).init(
                params
            ),
            alpha_optimizer=self.update.transformation(
                collections.defaultdict(float)
            ).init(alpha),
        )

    def mixture(
        self,
        key: PRNGKeyArray,
        alpha: Alpha,
        mask: Mask,
        scalars: Scalars,
        relaxation: RelaxationFunction | None = None,
    ) -> Mixture:
        """The weights with which the supernet mixes its operations.

        Args:
          relaxation: in place of the search's own.
        """
        temperature, function = scalars["temperature"], relaxation or self.relaxation
        mixture = relax(function, key, alpha, mask, temperature, self.targets)
        # An auxiliary skip (Chu et al., 2021, DARTS-) joins the one that there is.
        weights = {
            kind: p + scalars["auxiliary_skip"] * self.skips[kind]
            if kind in self.skips
            else p
            for kind, p in mixture.weights.items()
        }
        return mixture.replace(weights=weights)

    def loss(
        self,
        params: Params,
        mixture: Mixture,
        stats: Stats,
        batch: Batch,
        key: PRNGKeyArray,
        scalars: Scalars,
    ) -> tuple[Float[Array, ""], tuple[Stats, Any]]:
        """Of a batch by the supernet in train mode; new statistics and outputs."""
        given = mixture.replace(strength=scalars["strength"])

        def forward(stats: Stats, part: Batch, key: Array) -> Any:
            inputs = self.criterion.inputs(part)
            outputs, stats = self.apply(params, stats, given, inputs, key, train=True)
            return self.criterion.loss(outputs, part, scalars), (stats, outputs)

        return scan_microbatches(forward, self.microbatches)(stats, batch, key)

    def loss_on(
        self, state: SearchState, batch: Batch, key: Array, scalars: Scalars
    ) -> Loss:
        """The loss of a batch by weights and architecture."""

        def loss(params: Params, alpha: Alpha) -> Float[Array, ""]:
            mixture = self.mixture(key, alpha, state.mask, scalars)
            return self.loss(params, mixture, state.stats, batch, key, scalars)[0]

        return loss

    def step(
        self, state: SearchState, train: Batch, valid: Batch, scalars: Scalars
    ) -> tuple[SearchState, Metrics]:
        """One step on a batch of either half of the training data.

        Args:
          train: for the weights, as the network sees it.
          valid: for the architecture.
          scalars: numbers by name, as `settings.scalars.search_scalars` makes them.

        Returns:
          The new state; the criterion's metrics of the weight step, and the norm of
          the architecture's gradient, summed over the batch.
        """
        keys = jax.random.split(step_key(state.key, state.step), 4)
        batches = (train, valid)
        architecture_keys = keys[:2]
        weight_keys = keys[2:]
        if self.weights_first:
            new, metrics = self._weight_step(state, train, scalars, weight_keys)
            new, norm = self._architecture_step(
                new, batches, scalars, architecture_keys
            )
        else:
            new, norm = self._architecture_step(
                state, batches, scalars, architecture_keys
            )
            new, metrics = self._weight_step(new, train, scalars, weight_keys)
        means = {"gradient_norm": norm}
        if self.cost_constraint is not None:
            means["multiplier"] = new.multiplier
        count = metrics["count"]
        means = {k: mean.astype(jnp.float32) * count for k, mean in means.items()}
        return new, metrics | means

    def _weight_step(
        self,
        state: SearchState,
        train: Batch,
        scalars: Scalars,
        keys: PRNGKeyArray,
    ) -> tuple[SearchState, Metrics]:
        """Returns the state with its next weights, and the criterion's metrics."""
        mixture = self._perturbed_mixture(state, train, scalars, keys[0], keys[1])
        (value, (stats, outputs)), gradient = jax.value_and_grad(
            self.loss, has_aux=True
        )(state.params, mixture, state.stats, train, keys[0], scalars)
        if self.hook_cells is not None:
            pull = self._hook_gradient(
                self.hook_cells, state, mixture, train, scalars, keys[0]
            )
            gradient = optax.tree.add_scale(gradient, scalars["hook"], pull)
        updates, weight_optimizer = self._sgd(scalars).update(
            gradient, state.weight_optimizer, state.params
        )
        new = state.replace(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            stats=stats,
            weight_optimizer=weight_optimizer,
        )
        return new, self.criterion.metrics(value, outputs, train)

    def inner_step(self, state: SearchState, scalars: Scalars) -> Any:
        """The step of the weights that a hypergradient looks through."""

        def inner_step(gradient: Params, params: Params) -> Params:
            sgd = self._sgd(scalars)
            updates, _ = sgd.update(gradient, state.weight_optimizer, params)
            return optax.apply_updates(params, updates)

        return inner_step

    def _sgd(self, scalars: Scalars) -> optax.GradientTransformation:
        return optimizers.sgd(**scalars["weights"], nesterov=self.nesterov)

    def _architecture_step(
        self,
        state: SearchState,
        batches: tuple[Batch, Batch],
        scalars: Scalars,
        keys: PRNGKeyArray,
    ) -> tuple[SearchState, Float[Array, ""]]:
        """The state with its next architecture, and the gradient's norm."""

        def learn(state: SearchState) -> tuple[dict[str, Any], Array]:
            gradient, learned = self._architecture_gradient(
                state, batches, scalars, keys
            )
            updates, optimizer = self.update.transformation(
                scalars["architecture"]
            ).update(gradient, state.alpha_optimizer, state.alpha)
            alpha = optax.apply_updates(state.alpha, updates)
            learned |= {"alpha": alpha, "alpha_optimizer": optimizer}
            return learned, optax.tree.norm(gradient)

        def rest(state: SearchState) -> tuple[dict[str, Any], Array]:
            names = ("alpha", "alpha_optimizer", "baseline", "multiplier")
            kept = {name: getattr(state, name) for name in names}
            return kept, jnp.zeros_like(state.baseline)

        if self.freezes_architecture:
            learns = scalars["architecture"]["learns"] > 0
            learned, norm = jax.lax.cond(learns, learn, rest, state)
        else:
            learned, norm = learn(state)
        return state.replace(**learned), norm

    def _architecture_gradient(
        self,
        state: SearchState,
        batches: tuple[Batch, Batch],
        scalars: Scalars,
        keys: PRNGKeyArray,
    ) -> tuple[Alpha, dict[str, Any]]:
        """Gradient to descend; the new baseline of rewards and multiplier by name."""
        (train, valid), (train_key, valid_key) = batches, keys
        baseline = state.baseline
        if self.update.rewards:
            gradient, baseline = self._reward_gradient(state, valid, scalars, valid_key)
        else:
            train_loss = self.loss_on(state, train, train_key, scalars)
            valid_loss = self.loss_on(state, valid, valid_key, scalars)
            gradient = self.hypergradient(
                train_loss,
                self.regime(train_loss, valid_loss, scalars["valid_weight"]),
                state.params,
                state.alpha,
                self.inner_step(state, scalars),
            )
        if self.terms:
            pull = jax.grad(self._weighted_penalties)(
                state.alpha, state, valid_key, scalars
            )
            gradient = optax.tree.add(gradient, pull)
        multiplier = state.multiplier
        if self.cost_constraint is not None:
            held = self._constraint_gradient(
                self.cost_constraint, state, valid_key, scalars
            )
            gradient, multiplier = optax.tree.add(gradient, held[0]), held[1]
        return gradient, {"baseline": baseline, "multiplier": multiplier}

    def _constraint_gradient(
        self, budget: CostConstraint, state: SearchState, key: Array, scalars: Scalars
    ) -> tuple[Alpha, Float[Array, ""]]:
        """The budget's pull at the architecture, and the next multiplier."""
        settings, mask = scalars["budget"], state.mask
        target, how = settings["target"], (scalars["temperature"], self.targets)

        def expected(alpha: Alpha) -> Float[Array, ""]:
            # Without an auxiliary skip, which no genotype keeps.
            mixture = relax(budget.relaxation, key, alpha, mask, *how)
            return budget.expected_excess(mixture, mask, target)

        read = relax(budget.read, key, state.alpha, mask, targets=self.targets)
        given = state.multiplier, budget.excess(read, mask, target), settings["rate"]
        slope = jax.grad(expected)(state.alpha)
        return optax.tree.scale(budget.rule(*given), slope), next_multiplier(*given)

    def _reward_gradient(
        self, state: SearchState, valid: Batch, scalars: Scalars, key: Array
    ) -> tuple[Alpha, Float[Array, ""]]:
        """By the rewards of one sampled architecture (ENAS)."""
        settings = scalars["architecture"]
        temperature = scalars["temperature"]
        sample = relax(self.relaxation, key, state.alpha, state.mask, temperature)
        mixture = self.mixture(key, state.alpha, state.mask, scalars)
        _, (_, outputs) = self.loss(
            state.params, mixture, state.stats, valid, key, scalars
        )
        rewards = self.criterion.rewards(outputs, valid)
        reward = jnp.mean(rewards, dtype=state.baseline.dtype)
        gradient = reinforce_gradient(
            sample, state.alpha, state.mask, reward, state.baseline, settings["entropy"]
        )
        decay = settings["baseline_decay"]
        return gradient, next_baseline(state.baseline, reward, decay)

    def _weighted_penalties(
        self, alpha: Alpha, state: SearchState, key: Array, scalars: Scalars
    ) -> Float[Array, ""]:
        mixture = self.mixture(key, alpha, state.mask, scalars, self.cost_relaxation)
        return optax.tree.sum(
            [
                scalars["terms"][name]
                * penalty(term, alpha, state.mask, mixture, self.costs)
                for name, term in self.terms.items()
            ]
        )

    def _perturbed_mixture(
        self,
        state: SearchState,
        train: Batch,
        scalars: Scalars,
        key: Array,
        noise_key: Array,
    ) -> Mixture:
        def loss(mixture: Mixture) -> Float[Array, ""]:
            return self.loss(state.params, mixture, state.stats, train, key, scalars)[0]

        mixture = self.mixture(
            key, state.alpha, state.mask, scalars, self.weight_relaxation
        )
        return self.perturbation(
            noise_key, loss, mixture, state.mask, scalars["radius"]
        )

    def _hook_gradient(
        self,
        hooked: tuple[str, int],
        state: SearchState,
        mixture: Mixture,
        train: Batch,
        scalars: Scalars,
        key: Array,
    ) -> Params:
        kind, cells = hooked

        def loss(params: Params, each: Array) -> Float[Array, ""]:
            given = mixture.replace(weights={**mixture.weights, kind: each})
            return self.loss(params, given, state.stats, train, key, scalars)[0]

        one = mixture.weights[kind]
        each = jnp.broadcast_to(one, (cells, *one.shape))
        return self.weight_hook(loss, state.params, each)
