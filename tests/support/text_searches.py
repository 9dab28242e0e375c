"""Steps of searches on text, whose choices are those of images."""

from typing import Any

import numpy as np

from darts_jax.settings.config_files import load_config
from darts_jax.tasks.registry import load_data, make_search
from darts_jax.training import loop
from tests.support.tiny import quick_jit

CHOICES = {
    "exact": ["search.hypergradient=exact"],
    "rewards": [
        "search.architecture.rule=reinforce",
        "search.relaxation=sampled_gumbel",
    ],
    "perturbed": [
        "search.relaxation=dirichlet",
        "search.perturbation=random",
        "search.radius=0.1",
        "search.edge_weights=true",
        "search.terms.entropy=0.1",
    ],
}


def learn_two_steps(settings: list[str], kind: str) -> Any:
    """Returns the state after two steps, which change the parameters of a kind."""
    config = load_config(None, settings)
    job = make_search(config, load_data(config))
    state = loop.initial_tree(job)["state"]
    ((_, data),) = job.feed.open(job.layout)(0, 0)
    bounds = (np.int32(n) for n in (0, 0, 2))
    new, totals = quick_jit(job.run)(
        state, job.empty_totals(), data, job.scalars(0), *bounds
    )
    assert np.isfinite(float(totals["loss"]))
    assert np.isfinite(new.alpha[kind]).all()
    assert not np.array_equal(new.alpha[kind], state.alpha[kind])
    return new
