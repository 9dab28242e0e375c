"""Curvature of a loss by a tree of parameters, from Hessian-vector products alone."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PRNGKeyArray

from darts_jax.bilevel.implicit import hessian_product


def top_eigenvalue(
    function: Callable[[Any], Float[Array, ""]],
    point: Any,
    key: PRNGKeyArray,
    products: int = 20,
) -> Float[Array, ""]:
    """Computes the largest eigenvalue of the Hessian of a function at a point.

    R-DARTS (Zela et al., 2020, section 4.1) watches that of the validation loss by
    alpha.

    Args:
      function: scalar function of a tree of arrays.
      point: tree of arrays of one type.
      key: consumed.
      products: number of Hessian-vector products, each as costly as two gradients.
    """

    def by_hessian(direction: Any) -> Any:
        return hessian_product(function, point, direction)

    return lanczos(by_hessian, point, key, products)


def lanczos(
    product: Callable[[Any], Any], like: Any, key: PRNGKeyArray, products: int = 20
) -> Float[Array, ""]:
    """Computes the largest eigenvalue of a symmetric linear map by Lanczos's method.

    It starts from a random vector (Golub and Van Loan, 2013, algorithm 10.1.1) and
    makes every new one orthogonal to all before. As many products as there are
    parameters give the spectrum's ends themselves, and more are not taken.

    Args:
      product: the map, from a tree of the form of ``like`` to another.
      like: tree of arrays of one type.
      key: consumed.
      products: number of products, 1 or more.

    Raises:
      ValueError: no products.
    """
    if products < 1:
        raise ValueError(f"Lanczos takes at least one product, not {products}")
    flat, unravel = ravel_pytree(like)
    products = min(products, flat.size)
    # Row i is where the iteration starts again if step i finds its space closed.
    spare = jax.random.normal(key, (products + 1, flat.size), flat.dtype)
    small = 10 * jnp.finfo(flat.dtype).eps

    def step(carry: Any, i: Int[Array, ""]) -> Any:
        basis, vector, scale = carry
        basis = basis.at[i].set(vector)
        image, _ = ravel_pytree(product(unravel(vector)))
        scale = jnp.maximum(scale, jnp.linalg.norm(image))
        rest = _orthogonal(image, basis)
        size = jnp.linalg.norm(rest)
        closed = size <= small * scale
        fresh = _unit(_orthogonal(spare[i + 1], basis))
        following = jnp.where(closed, fresh, _unit(rest))
        along = jnp.vdot(vector, image, precision="highest")
        return (basis, following, scale), (along, size)

    start = (jnp.zeros_like(spare[1:]), _unit(spare[0]), jnp.zeros((), flat.dtype))
    _, (diagonal, beside) = jax.lax.scan(step, start, jnp.arange(products))
    off = jnp.diag(beside[:-1], 1)
    values = jnp.linalg.eigvalsh(jnp.diag(diagonal) + off + off.T)
    return values[-1]


def cosine(left: Any, right: Any) -> Float[Array, ""]:
    """Computes the cosine of the angle between two trees; 0 where one is zero.

    Args:
      left: tree of arrays, such as a hypergradient.
      right: tree of the same form.
    """
    norms = optax.tree.norm(left) * optax.tree.norm(right)
    return optax.tree.vdot(left, right) / jnp.where(norms > 0, norms, 1)


def _orthogonal(
    vector: Float[Array, " n"], basis: Float[Array, "k n"]
) -> Float[Array, " n"]:
    # Once leaves what cancellation lost; twice is enough (Parlett, 1998).
    for _ in range(2):
        along = jnp.matmul(basis, vector, precision="highest")
        vector = vector - jnp.matmul(basis.T, along, precision="highest")
    return vector


def _unit(vector: Float[Array, " n"]) -> Float[Array, " n"]:
    norm = jnp.linalg.norm(vector)
    return vector / jnp.where(norm > 0, norm, 1)
