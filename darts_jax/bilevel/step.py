"""Step of a search: by default the architecture's step, then the weights' step.

Liu et al. (2019), algorithm 1. With a training batch T and a validation batch V,

    a <- a - architecture update of  dV(w*(a), a)/da + sum_i s_i dR_i/da + m dC/da
    w <- w - SGD update of           dT(w, p(a) + noise)/dw + h * hook

for terms R_i of weight s_i, a cost C of multiplier m and a hook of weight h. `Search`
has one slot for each choice. Everything here is pure and knows no network.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray, UInt

from darts_jax.bilevel import optimizers
from darts_jax.bilevel.alignment import WeightHook, no_hook
from darts_jax.bilevel.architecture import (
    ARCHITECTURE_UPDATES,
    ArchitectureUpdate,
    next_baseline,
    reinforce_gradient,
)
from darts_jax.bilevel.cost_constraint import (
    CostConstraint,
    choice_probabilities,
    hard_choices,
    next_multiplier,
)
from darts_jax.bilevel.decisions import Decisions
from darts_jax.bilevel.elastic import Elastic
from darts_jax.bilevel.losses import CLASSIFICATION_CRITERION, Criterion, flood, flooded
from darts_jax.bilevel.microbatches import scan_microbatches
from darts_jax.bilevel.operation_stop import OperationStop, stopped_share
from darts_jax.bilevel.paths import Paths, slope_over_paths
from darts_jax.bilevel.perturbation import Perturbation, no_perturbation
from darts_jax.bilevel.regime import Regime, split
from darts_jax.bilevel.regularization import Term, penalty
from darts_jax.bilevel.relaxation import (
    Relaxation,
    assert_shapes,
    dropping_edges,
    relax,
)
from darts_jax.bilevel.weight_training import Optimizer, make_sgd
from darts_jax.types import (
    Alpha,
    AnyArray,
    Batch,
    Hypergradient,
    InnerStep,
    Loss,
    Mask,
    Metrics,
    Mixture,
    Outputs,
    Params,
    RelaxationFunction,
    Scalars,
    SearchState,
    Stats,
    SupernetApply,
    Targets,
    step_key,
)

Scalar = Float[Array, ""]


@dataclasses.dataclass(frozen=True)
class Search:
    """A search method: one function or table entry for each slot of the step.

    docs/library.md trains one in a loop of its own.

    Example:
      >>> search = darts_jax.Search(
      ...     apply=lambda params, stats, mixture, inputs, key, *, train: (
      ...         mixture.weights["edge"][0, 0] * inputs @ params, stats
      ...     ),
      ...     relaxation=darts_jax.RELAXATIONS["softmax"],
      ...     hypergradient=darts_jax.HYPERGRADIENTS["exact"],
      ...     mask={"edge": [[True, True]]},  # the second operation gives nothing
      ... )
      >>> params, alpha = np.eye(2, dtype="f"), {"edge": np.zeros((1, 2), "f")}
      >>> key = jax.random.key_data(jax.random.key(0))
      >>> state = search.init(key, params, {}, jax.tree.map(jax.numpy.array, alpha))
      >>> batch = darts_jax.Examples(np.eye(2, dtype="f"), np.arange(2))
      >>> scalars = darts_jax.search_scalars(darts_jax.default_config().search, 0)
      >>> state, sums = jax.jit(search.step)(state, batch, batch, scalars)
      >>> bool(state.alpha["edge"][0, 0] > state.alpha["edge"][0, 1])
      True

    Attributes:
      apply: forward pass of the supernet, as `supernet_apply` makes it.
      relaxation: entry of ``RELAXATIONS``: mixing weights from alpha.
      hypergradient: entry of ``HYPERGRADIENTS``: gradient of V by alpha.
      mask: kind -> [edge, op], False where there is no operation.
      microbatches: number of equal parts in which a batch is computed.
      update: entry of ``ARCHITECTURE_UPDATES``: change of alpha from its gradient.
      regime: entry of ``REGIMES``: loss that the architecture descends.
      terms: entries of ``TERMS`` by name, added to that loss.
      perturbation: entry of ``PERTURBATIONS``: mixture of the weights' step.
      weight_hook: entry of ``WEIGHT_HOOKS``: addition to the gradient of the weights.
      hook_cells: kind of the cells that the hook compares and their number; None adds
        nothing.
      freezes_architecture: True if it rests where ``architecture.learns`` is 0.
      drops_edges: True if the mask may leave an edge no operation; it has no weight.
      targets: kind -> state in which each edge ends; for alpha with parameters of
        edges, and for ``edges_per_node``.
      skips: kind -> [edge, op], 1.0 where the operation is a skip connection and gets
        the auxiliary weight; an absent kind gets none.
      costs: kind -> cost of each operation [edge, op], for ``TERMS["expected_cost"]``.
      cost_constraint: limit on the cost of the genotype; None is no limit.
      criterion: loss, metrics and rewards of the supernet's outputs.
      edges_per_node: edges into each node of a drawn network; 0 keeps all.
      optimizer: change of the weights from their gradient, from the scalars of a step;
        its initial state depends on none. ``lambda scalars: optax.adamw(1e-3)`` is one.
      weights_first: True if the architecture's gradient is taken at the new weights.
      decisions: decides about edges while the search goes on; None decides nothing.
      operation_stop: brings weights of single operations to rest; None brings none.
      floods: True if the weights ascend a training loss below the scalar ``flood``.
      paths: on which the weights train in one step; None: on one mixture.
      elastic: lets smaller operations take part later; None: all do at once.
    """

    apply: SupernetApply
    relaxation: Relaxation
    hypergradient: Hypergradient
    mask: Mask
    microbatches: int = 1
    update: ArchitectureUpdate = ARCHITECTURE_UPDATES["adam"]
    regime: Regime = split
    terms: Mapping[str, Term] = dataclasses.field(default_factory=dict)
    perturbation: Perturbation = no_perturbation
    weight_hook: WeightHook = no_hook
    hook_cells: tuple[str, int] | None = None
    freezes_architecture: bool = False
    drops_edges: bool = False
    targets: Targets = dataclasses.field(default_factory=dict)
    skips: Mapping[str, Float[AnyArray, "edge op"]] = dataclasses.field(
        default_factory=dict
    )
    costs: Mapping[str, Float[AnyArray, "edge op"]] | None = None
    cost_constraint: CostConstraint | None = None
    criterion: Criterion = CLASSIFICATION_CRITERION
    edges_per_node: int = 0
    optimizer: Optimizer = make_sgd
    weights_first: bool = False
    decisions: Decisions | None = None
    operation_stop: OperationStop | None = None
    floods: bool = False
    paths: Paths | None = None
    elastic: Elastic | None = None

    def init(
        self,
        key: UInt[Array, " key"],
        params: Params,
        stats: Stats,
        alpha: Alpha,
        mask: Mask | None = None,
    ) -> SearchState:
        """Returns the state before the first step.

        Args:
          key: raw uint32 data of the run's key, as ``jax.random.key_data`` gives it.
          params: initial weights of the supernet.
          stats: initial running statistics of the supernet.
          alpha: initial architecture parameters.
          mask: kind -> [edge, op], False for pruned operations; by default the
            search's own.

        Raises:
          AssertionError: the shapes of alpha are not those of the mask.
        """
        given = {k: jnp.asarray(m) for k, m in (mask or self.mask).items()}
        assert_shapes(alpha, given)
        dtype = jax.tree.leaves(alpha)[0].dtype
        blank = optimizers.blank_scalars()
        stop = self.operation_stop
        return SearchState(
            step=jnp.zeros((), jnp.int32),
            key=key,
            params=params,
            stats=stats,
            alpha=alpha,
            mask=given,
            baseline=jnp.zeros((), dtype),
            multiplier=jnp.zeros((), dtype),
            weight_optimizer=self.optimizer(blank).init(params),
            alpha_optimizer=self.update.transformation(blank).init(alpha),
            matching=None if stop is None else stop.init(params),
        )

    def step(
        self, state: SearchState, train: Batch, valid: Batch, scalars: Scalars
    ) -> tuple[SearchState, Metrics]:
        """Returns the state after one step of the architecture and of the weights.

        Args:
          state: of `init` or of the step before.
          train: batch of the training half, from which the weights learn.
          valid: batch of the validation half, from which the architecture learns.
          scalars: tree of numbers, as `settings.scalars.search_scalars` makes it.

        Returns:
          The new state, and sums over the examples of ``train``: the criterion's
          metrics, ``gradient_norm`` of the architecture, ``multiplier`` of a cost
          constraint and ``stopped``, the share of operations that rest.

        Raises:
          AssertionError: the shapes of alpha are not those of the mask, or a scalar is
            an array.
        """
        assert_shapes(state.alpha, state.mask)
        chex.assert_rank(jax.tree.leaves(scalars), 0)
        keys = jax.random.split(step_key(state.key, state.step), 4)

        if self.decisions is not None:
            count = scalars["decisions"]
            mask = self.decisions.decide(state.alpha, state.mask, count)
            state = state.replace(mask=mask)

        def learn_architecture(state: SearchState) -> tuple[SearchState, Scalar]:
            new, norm = self._architecture_step(
                state, train, valid, scalars, train_key=keys[0], valid_key=keys[1]
            )
            if self.decisions is not None:
                alpha = self.decisions.rest(state.alpha, new.alpha, state.mask)
                new = new.replace(alpha=alpha)
            return new, norm

        def learn_weights(state: SearchState) -> tuple[SearchState, Metrics]:
            return self._weight_step(
                state, train, valid, scalars, key=keys[2], noise_key=keys[3]
            )

        if self.weights_first:
            new, metrics = learn_weights(state)
            new, norm = learn_architecture(new)
        else:
            new, norm = learn_architecture(state)
            new, metrics = learn_weights(new)
        means = {"gradient_norm": norm}
        if self.cost_constraint is not None:
            means["multiplier"] = new.multiplier
        if new.matching is not None:
            means["stopped"] = stopped_share(new.matching)
        count = metrics["count"]
        means = {k: mean.astype(jnp.float32) * count for k, mean in means.items()}
        return new, metrics | means

    def mixture(
        self,
        key: PRNGKeyArray,
        alpha: Alpha,
        mask: Mask,
        scalars: Scalars,
        function: RelaxationFunction | None = None,
    ) -> Mixture:
        """Returns the weights with which the supernet mixes its operations.

        Args:
          key: of random weights; consumed.
          alpha: architecture parameters.
          mask: kind -> [edge, op], False for operations without weight.
          scalars: of the step.
          function: replaces the function of the search's own relaxation.
        """
        function = function or self.relaxation.function
        if self.elastic is not None:
            mask = self.elastic.narrow(mask, scalars["elastic"])
        mixture = relax(
            dropping_edges(function) if self.drops_edges else function,
            key,
            alpha,
            mask,
            scalars["temperature"],
            self.targets,
            self.relaxation.edge_function,
            self.edges_per_node,
        )
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
    ) -> tuple[Scalar, tuple[Stats, Outputs]]:
        """Returns the mean loss of a batch, in train mode.

        Args:
          params: weights.
          mixture: weight of every operation.
          stats: running statistics.
          batch: examples.
          key: of random operations; consumed.
          scalars: of the step.

        Returns:
          The loss, and (new statistics, outputs).
        """
        corrupted = mixture.replace(strength=scalars["strength"])

        def forward(
            stats: Stats, part: Batch, key: PRNGKeyArray
        ) -> tuple[Scalar, tuple[Stats, Outputs]]:
            inputs = self.criterion.inputs(part)
            outputs, stats = self.apply(
                params, stats, corrupted, inputs, key, train=True
            )
            return self.criterion.loss(outputs, part, scalars), (stats, outputs)

        return scan_microbatches(forward, self.microbatches)(stats, batch, key)

    def loss_on(
        self, state: SearchState, batch: Batch, key: PRNGKeyArray, scalars: Scalars
    ) -> Loss:
        """Returns the loss of one batch as a function of weights and architecture.

        Args:
          state: with the mask and the running statistics.
          batch: examples.
          key: of random weights and operations; every call uses the same.
          scalars: of the step.
        """

        def loss(params: Params, alpha: Alpha) -> Scalar:
            mixture = self.mixture(key, alpha, state.mask, scalars)
            return self.loss(params, mixture, state.stats, batch, key, scalars)[0]

        return loss

    def inner_step(self, state: SearchState, scalars: Scalars) -> InnerStep:
        """Returns the step of the weights that a hypergradient differentiates.

        Args:
          state: with the state of the optimizer of the weights.
          scalars: of the step.
        """

        def inner_step(gradient: Params, params: Params) -> Params:
            optimizer = self.optimizer(scalars)
            updates, _ = optimizer.update(gradient, state.weight_optimizer, params)
            return optax.apply_updates(params, updates)

        return inner_step

    def _weight_step(
        self,
        state: SearchState,
        train: Batch,
        valid: Batch,
        scalars: Scalars,
        *,
        key: PRNGKeyArray,
        noise_key: PRNGKeyArray,
    ) -> tuple[SearchState, Metrics]:
        """Returns the state with its next weights, and the criterion's metrics."""
        mixture = self._perturbed_mixture(state, train, scalars, key, noise_key)
        slope = jax.value_and_grad(self.loss, has_aux=True)
        if self.paths is not None:
            slope = slope_over_paths(self, self.paths, state)
        (value, (stats, outputs)), gradient = slope(
            state.params, mixture, state.stats, train, key, scalars
        )
        stop, matching = self.operation_stop, state.matching
        if stop is not None and matching is not None:
            _, other = slope(state.params, mixture, state.stats, valid, key, scalars)
            least = scalars["operation_stop"]["least"]
            matching = stop.observe(matching, gradient, other, least)
            gradient = stop.silence(matching, gradient)
        if self.floods:
            sign = jax.grad(flood)(value, scalars["flood"])
            gradient = optax.tree.scale(sign, gradient)
        if self.hook_cells is not None:
            kind, cells = self.hook_cells
            hook = self._hook_gradient(kind, cells, state, mixture, train, scalars, key)
            gradient = optax.tree.add_scale(gradient, scalars["hook"], hook)
        updates, weight_optimizer = self.optimizer(scalars).update(
            gradient, state.weight_optimizer, state.params
        )
        params = optax.apply_updates(state.params, updates)
        if stop is not None and matching is not None:
            params = stop.keep(matching, state.params, params)
        new = state.replace(
            step=state.step + 1,
            params=params,
            stats=stats,
            weight_optimizer=weight_optimizer,
            matching=matching,
        )
        return new, self.criterion.metrics(value, outputs, train)

    def _architecture_step(
        self,
        state: SearchState,
        train: Batch,
        valid: Batch,
        scalars: Scalars,
        *,
        train_key: PRNGKeyArray,
        valid_key: PRNGKeyArray,
    ) -> tuple[SearchState, Scalar]:
        """Returns the state with its next architecture, and the gradient's norm."""

        def learn(state: SearchState) -> tuple[dict[str, Any], Scalar]:
            gradient, learned = self._architecture_gradient(
                state, train, valid, scalars, train_key, valid_key
            )
            updates, optimizer = self.update.transformation(
                scalars["architecture"]
            ).update(gradient, state.alpha_optimizer, state.alpha)
            alpha = optax.apply_updates(state.alpha, updates)
            learned |= {"alpha": alpha, "alpha_optimizer": optimizer}
            return learned, optax.tree.norm(gradient)

        def freeze(state: SearchState) -> tuple[dict[str, Any], Scalar]:
            names = ("alpha", "alpha_optimizer", "baseline", "multiplier")
            kept = {name: getattr(state, name) for name in names}
            return kept, jnp.zeros_like(state.baseline)

        if self.freezes_architecture:
            learns = scalars["architecture"]["learns"] > 0
            learned, norm = jax.lax.cond(learns, learn, freeze, state)
        else:
            learned, norm = learn(state)
        return state.replace(**learned), norm

    def _architecture_gradient(
        self,
        state: SearchState,
        train: Batch,
        valid: Batch,
        scalars: Scalars,
        train_key: PRNGKeyArray,
        valid_key: PRNGKeyArray,
    ) -> tuple[Alpha, dict[str, Any]]:
        """Returns the gradient to descend, and the new baseline and multiplier."""
        baseline = state.baseline
        if self.update.rewards:
            gradient, baseline = self._reward_gradient(state, valid, scalars, valid_key)
        else:
            train_loss = self.loss_on(state, train, train_key, scalars)
            valid_loss = self.loss_on(state, valid, valid_key, scalars)
            gradient = self.hypergradient(
                flooded(train_loss, scalars["flood"]) if self.floods else train_loss,
                self.regime(train_loss, valid_loss, scalars["valid_weight"]),
                state.params,
                state.alpha,
                self.inner_step(state, scalars),
            )
        if self.terms:
            slope = jax.grad(self._weighted_penalties)(
                state.alpha, state, valid_key, scalars
            )
            gradient = optax.tree.add(gradient, slope)
        multiplier = state.multiplier
        if self.cost_constraint is not None:
            slope, multiplier = self._constraint_gradient(
                self.cost_constraint, state, valid_key, scalars
            )
            gradient = optax.tree.add(gradient, slope)
        return gradient, {"baseline": baseline, "multiplier": multiplier}

    def _constraint_gradient(
        self,
        constraint: CostConstraint,
        state: SearchState,
        key: PRNGKeyArray,
        scalars: Scalars,
    ) -> tuple[Alpha, Scalar]:
        """Returns the gradient of the expected cost, weighted, and the multiplier."""
        target = scalars["budget"]["target"]
        rate = scalars["budget"]["rate"]

        def expected_excess(alpha: Alpha) -> Scalar:
            # Without an auxiliary skip, which no genotype keeps.
            mixture = relax(
                constraint.relaxation,
                key,
                alpha,
                state.mask,
                scalars["temperature"],
                self.targets,
                self.relaxation.edge_function,
            )
            return constraint.excess(choice_probabilities, mixture, state.mask, target)

        read = relax(
            constraint.read,
            key,
            state.alpha,
            state.mask,
            targets=self.targets,
            edge_function=self.relaxation.edge_function,
        )
        excess = constraint.excess(hard_choices, read, state.mask, target)
        slope = jax.grad(expected_excess)(state.alpha)
        weight = constraint.rule(state.multiplier, excess, rate)
        return (
            optax.tree.scale(weight, slope),
            next_multiplier(state.multiplier, excess, rate),
        )

    def _reward_gradient(
        self, state: SearchState, valid: Batch, scalars: Scalars, key: PRNGKeyArray
    ) -> tuple[Alpha, Scalar]:
        """Returns REINFORCE's gradient from one sampled architecture, and baseline."""
        settings = scalars["architecture"]
        sample = relax(
            self.relaxation.function,
            key,
            state.alpha,
            state.mask,
            scalars["temperature"],
        )
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
        self, alpha: Alpha, state: SearchState, key: PRNGKeyArray, scalars: Scalars
    ) -> Scalar:
        mixture = self.mixture(
            key, alpha, state.mask, scalars, self.relaxation.cost_relaxation
        )
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
        key: PRNGKeyArray,
        noise_key: PRNGKeyArray,
    ) -> Mixture:
        """Returns the mixture at which the weights take their step."""

        def loss(mixture: Mixture) -> Scalar:
            return self.loss(state.params, mixture, state.stats, train, key, scalars)[0]

        mixture = self.mixture(
            key, state.alpha, state.mask, scalars, self.relaxation.weight_relaxation
        )
        return self.perturbation(
            noise_key, loss, mixture, state.mask, scalars["radius"]
        )

    def _hook_gradient(
        self,
        kind: str,
        cells: int,
        state: SearchState,
        mixture: Mixture,
        train: Batch,
        scalars: Scalars,
        key: PRNGKeyArray,
    ) -> Params:
        """Returns the hook's addition, with a mixture for each cell of the kind."""

        def loss(params: Params, each: Float[Array, "cell edge op"]) -> Scalar:
            given = mixture.replace(weights={**mixture.weights, kind: each})
            return self.loss(params, given, state.stats, train, key, scalars)[0]

        one = mixture.weights[kind]
        each = jnp.broadcast_to(one, (cells, *one.shape))
        return self.weight_hook(loss, state.params, each)
