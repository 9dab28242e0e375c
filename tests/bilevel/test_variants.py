"""Entries of the tables are pure: equal compiled, under vmap and on host arrays."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import parameterized

from darts_jax.bilevel.cost_constraint import BUDGET_RULES
from darts_jax.bilevel.hypergradient import HYPERGRADIENTS
from darts_jax.bilevel.perturbation import PERTURBATIONS
from darts_jax.bilevel.regularization import TERMS
from darts_jax.bilevel.relaxation import RELAXATIONS
from darts_jax.types import Mixture

KEYS = jax.random.split(jax.random.key(0), 3)
MASK = jnp.array([[True, True, True], [True, True, False]])
ALPHA = jax.random.uniform(jax.random.key(1), (3, 2, 3))  # of 3 members
COSTS = jnp.array([[0.0, 1.0, 2.0], [0.5, 3.0, 0.0]])
WEIGHTS = jnp.array([0.3, -0.2])

forms = chex.variants(with_jit=True, without_device=True)


def training(w, alpha):
    return jnp.sum((w - alpha["edge"][:, 0]) ** 2)


def validation(w, alpha):
    return jnp.sum(jnp.sin(w) * alpha["edge"].sum(-1)) + jnp.sum(w**2)


def inner_step(gradient, w):
    return w - 0.1 * gradient


class VariantsTest(chex.TestCase):
    def check(self, function, *members):
        """Compares a form of a function under vmap with the function, one by one."""
        got = self.variant(jax.vmap(function))(*members)
        one_by_one = [function(*member) for member in zip(*members, strict=True)]
        want = jax.tree.map(lambda *leaves: jnp.stack(leaves), *one_by_one)
        chex.assert_trees_all_close(got, want, rtol=2e-5, atol=1e-6)

    @forms
    @parameterized.parameters(*RELAXATIONS)
    def test_relaxations(self, name):
        function = RELAXATIONS[name].function
        temperature = jnp.float32(0.7)
        self.check(lambda k, a: function(k, a, MASK, temperature), KEYS, ALPHA)

    @forms
    @parameterized.parameters(*TERMS)
    def test_terms(self, name):
        def value(alpha):
            weights = jnp.where(MASK, jax.nn.softmax(alpha), 0)
            return TERMS[name](alpha, MASK, weights, COSTS)

        self.check(jax.value_and_grad(value), ALPHA)

    @forms
    @parameterized.parameters(*HYPERGRADIENTS)
    def test_hypergradients(self, name):
        def gradient(alpha):
            return HYPERGRADIENTS[name](
                training, validation, WEIGHTS, {"edge": alpha}, inner_step
            )

        self.check(gradient, ALPHA)

    @forms
    @parameterized.parameters(*PERTURBATIONS)
    def test_perturbations(self, name):
        def perturbed(key, alpha):
            mixture = Mixture(
                {"edge": jax.nn.softmax(jnp.where(MASK, alpha, -jnp.inf))}
            )
            return PERTURBATIONS[name](
                key,
                lambda m: jnp.sum(COSTS * m.weights["edge"] ** 2),
                mixture,
                {"edge": MASK},
                jnp.float32(0.05),
            )

        self.check(perturbed, KEYS, ALPHA)

    @forms
    @parameterized.parameters(*BUDGET_RULES)
    def test_budget_rules(self, name):
        numbers = jnp.asarray(np.linspace(0, 1, 3, dtype=np.float32))
        self.check(BUDGET_RULES[name], numbers, numbers - 0.5, numbers)
