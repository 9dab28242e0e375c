"""REINFORCE (Williams, 1992) with a factorised policy, as in NAS-Bench-201."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int

from darts_jax.baselines.evaluation_budget import Proposals, budgeted
from darts_jax.errors import InputError
from darts_jax.spaces.graph import Genotype, Space
from darts_jax.spaces.moves import assemble_genotype, decision_nodes

# Adam as PyTorch has it by default.
_BETA1 = 0.9
_BETA2 = 0.999
_EPSILON = 1e-8
# Standard deviation of the first logits (Dong and Yang, 2020, released code).
_SPREAD = 1e-3


@budgeted
def reinforce(
    space: Space,
    rng: np.random.Generator,
    learning_rate: float = 0.01,
    momentum: float = 0.9,
) -> Proposals:
    """Ascends E[score] by grad log p(genotype) (score - baseline).

    The policy is a softmax over the operations of every edge (Dong and Yang, 2020,
    section 4) and, where a node keeps only some of its edges, a softmax over the sets
    of edges. An edge that is not kept does not learn. Each genotype makes one step of
    Adam (Kingma and Ba, 2015).

    Args:
      space: where genotypes come from.
      rng: source of all random numbers.
      learning_rate: Adam's. NATS-Bench's released commands have 0.01; those of
        NAS-Bench-201 try 0.01 to 0.5, and 0.1 is the best of them.
      momentum: of the baseline, the moving average of all scores up to this one,
        corrected for its start at 0 as Adam's moments are.

    Yields:
      Genotypes to evaluate.

    Raises:
      InputError: a rate not above 0, or a momentum outside [0, 1).
    """
    if not (learning_rate > 0 and 0 <= momentum < 1):
        raise InputError(
            f"learning_rate {learning_rate}, momentum {momentum}; want a rate above 0 "
            "and a momentum in [0, 1)"
        )
    policy = _Policy(space)
    logits = np.where(
        policy.mask, _SPREAD * rng.normal(size=policy.mask.shape), -np.inf
    )
    first = np.zeros(logits.shape)
    second = np.zeros(logits.shape)
    average = 0.0
    step = 0
    while True:
        # The largest of Gumbel-perturbed logits is a draw from their softmax.
        while True:
            actions = (logits + rng.gumbel(size=logits.shape)).argmax(-1)
            genotype, used = policy.decide(actions)
            if space.has(genotype):
                break
        score = (yield genotype).score
        step += 1
        average = momentum * average + (1 - momentum) * score
        advantage = score - average / (1 - momentum**step)
        slope = advantage * _log_slope(logits, actions, used)
        first = _BETA1 * first + (1 - _BETA1) * slope
        second = _BETA2 * second + (1 - _BETA2) * slope**2
        rate = np.sqrt(second / (1 - _BETA2**step)) + _EPSILON
        logits = logits + learning_rate * first / (1 - _BETA1**step) / rate


@dataclasses.dataclass
class _Policy:
    """Maps decisions (operation of an edge, edges of a node) to rows of logits."""

    space: Space

    def __post_init__(self) -> None:
        self.nodes = decision_nodes(self.space)
        self.rows: dict[tuple[int, ...], int] = {}
        sizes: list[int] = []
        for i, node in enumerate(self.nodes):
            options = {(i, s): len(ops) for s, ops in node.operations.items()}
            for place, size in ({(i,): len(node.sources)} | options).items():
                self.rows[place] = len(sizes)
                sizes.append(size)
        self.mask: Bool[np.ndarray, "decision option"] = (
            np.arange(max(sizes)) < np.array(sizes)[:, None]
        )

    def decide(
        self, actions: Int[np.ndarray, " decision"]
    ) -> tuple[Genotype, Bool[np.ndarray, " decision"]]:
        """Returns the genotype of the actions, and the decisions that it depends on."""
        choices = []
        used = np.zeros(len(actions), bool)
        for i, node in enumerate(self.nodes):
            used[self.rows[(i,)]] = True
            for source in node.sources[actions[self.rows[(i,)]]]:
                row = self.rows[i, source]
                used[row] = True
                operation = node.operations[source][actions[row]]
                choices.append((node.kind, node.choice(source, operation)))
        return assemble_genotype(self.space, choices), used


def _log_slope(
    logits: Float[np.ndarray, "decision option"],
    actions: Int[np.ndarray, " decision"],
    used: Bool[np.ndarray, " decision"],
) -> Float[np.ndarray, "decision option"]:
    """Returns the gradient of log p(actions) by the logits; 0 for unused decisions."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    taken = np.arange(logits.shape[1]) == actions[:, None]
    return np.where(used[:, None], taken - powers / powers.sum(-1, keepdims=True), 0.0)
