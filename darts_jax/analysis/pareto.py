"""Pareto front of cost and accuracy."""

import numpy as np
from jaxtyping import Bool, Float


def pareto_front(
    cost: Float[np.ndarray, " point"], accuracy: Float[np.ndarray, " point"]
) -> Bool[np.ndarray, " point"]:
    """Returns which points no other point beats at the same or a lower cost.

    Args:
      cost: cost of each point; lower is better.
      accuracy: accuracy of each point; higher is better.

    Returns:
      A mask. Equal points are all on the front; a point without a cost or an accuracy
      (NaN) never is.
    """
    cost = np.asarray(cost, float)
    accuracy = np.asarray(accuracy, float)
    known = np.isfinite(cost) & np.isfinite(accuracy)
    front = np.zeros(len(cost), bool)
    highest = -np.inf
    cheapest = np.inf
    # Cheapest first, and of these the most accurate.
    for i in np.lexsort((-accuracy, cost)):
        is_equal = (cost[i], accuracy[i]) == (cheapest, highest)
        if known[i] and (accuracy[i] > highest or is_equal):
            front[i] = True
            cheapest = cost[i]
            highest = accuracy[i]
    return front
