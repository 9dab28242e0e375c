"""Every pair of choices: a step with it runs, or it is refused with a reason."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import darts_jax
from darts_jax.bilevel.alignment import WEIGHT_HOOKS
from darts_jax.bilevel.architecture import ARCHITECTURE_UPDATES
from darts_jax.bilevel.discretization import DISCRETIZATIONS
from darts_jax.bilevel.hypergradient import HYPERGRADIENTS
from darts_jax.bilevel.paths import PATH_RULES
from darts_jax.bilevel.perturbation import PERTURBATIONS
from darts_jax.bilevel.regime import REGIMES
from darts_jax.bilevel.regularization import TERMS
from darts_jax.bilevel.relaxation import RELAXATIONS
from darts_jax.bilevel.selection import SELECTIONS
from darts_jax.bilevel.stopping import STOP_RULES, EpochRecord
from darts_jax.engine.devices import Layout, to_host
from darts_jax.engine.job import scalar_arrays
from darts_jax.errors import InputError
from darts_jax.models.operations.corruption import CORRUPTIONS
from darts_jax.settings.combinations import refuse_illegal
from darts_jax.settings.config import flatten, with_overrides
from darts_jax.settings.scalars import search_scalars
from darts_jax.tasks.image_networks import make_supernet
from darts_jax.tasks.registry import make_search
from darts_jax.tasks.search_job import (
    initial_alpha,
    make_discretization,
    make_method,
    make_stop,
)
from darts_jax.types import Examples
from tests.support.small_runs import BATCH, images
from tests.support.tiny import quick_jit

pytestmark = pytest.mark.usefixtures("tiny")

SHAPE = 2, 3  # edges, operations
# Choice -> the settings of each of its values, out of the tables themselves.
# What changes the network:
NETWORK = {
    "partial": [{"supernet.partial_channels": k} for k in (1, 2)],
    "execution": [{"supernet.execution": n} for n in ("scan", "batch")],
    "dtype": [{"supernet.dtype": n} for n in ("float32", "bfloat16")],
    "microbatches": [{"search.microbatches": n} for n in (1, 2)],
    "operation stop": [{"search.operation_stop.window": n} for n in (0, 1)],
    "corruption": [{}]
    + [
        {"search.corruption.kind": n, "search.corruption.strength": "0.2"}
        for n in CORRUPTIONS
    ],
}
# What is arithmetic outside it:
STEP = {
    "relaxation": [{"search.relaxation": n} for n in RELAXATIONS],
    "temperature": [{"search.temperature": t} for t in ("1", "5:0.1:exponential")],
    "edge_weights": [{"search.edge_weights": b} for b in (False, True)],
    "auxiliary": [{"search.auxiliary_skip": t} for t in ("0", "1:0")],
    "hypergradient": [{"search.hypergradient": n} for n in HYPERGRADIENTS],
    "rule": [{"search.architecture.rule": n} for n in ARCHITECTURE_UPDATES],
    "regime": [{"search.regime": n} for n in REGIMES],
    "warmup": [{"search.warmup": share} for share in (0.0, 0.5)],
    "nesterov": [{"search.weights.nesterov": b} for b in (False, True)],
    "first": [{"search.first_step": n} for n in ("architecture", "weights")],
    "paths": [{"search.paths.rule": n} for n in ("none", *PATH_RULES)],
    "decisions": [
        {"search.decisions.every": n, "search.decisions.first": 0} for n in (0, 1)
    ],
    "flood": [{"search.flood": t} for t in ("0", "9")],
    "perturbation": [
        {"search.perturbation": n, "search.radius": "0.1"} for n in PERTURBATIONS
    ],
    "hook": [{"search.hook": n, "search.hook_weight": "0.1"} for n in WEIGHT_HOOKS],
    **{f"term {n}": [{}, {f"search.terms.{n}": "0.1"}] for n in TERMS},
}
# And what looks at a step's result, which needs no program of its own.
AFTER = {
    "stop": [{"search.stop": "none"}]
    + [
        {"search.stop": n, "search.diagnostics.eigenvalue_every": int("eigen" in n)}
        for n in STOP_RULES
    ],
    "discretization": [
        {"search.discretization": n} for n in ("auto", *DISCRETIZATIONS, *SELECTIONS)
    ],
}
PROGRAM = NETWORK | STEP
ALL = PROGRAM | AFTER
DEFAULTS = dict(flatten(darts_jax.default_config()))
VALUES = [(c, i) for c, values in ALL.items() for i in range(len(values))]
PAIRS = {
    frozenset(pair) for pair in itertools.combinations(VALUES, 2)
    if pair[0][0] != pair[1][0]
}  # fmt: skip
OF_NETWORK = {pair for pair in PAIRS if dict(pair).keys() & NETWORK.keys()}


def config_of(row):
    """The config of one value of some of the choices."""
    config = darts_jax.default_config()
    config.space = "tiny"
    config.supernet.update(cells=2, channels=4)
    config.search.update(epochs=4, batch_size=BATCH)
    settings = {}
    for choice, i in row.items():
        settings |= ALL[choice][i]
    return with_overrides(config, [f"{k}={v}" for k, v in settings.items()])


TRIES, ENOUGH = 400, 20


@functools.cache
def covering_rows():
    """Rows that hold every pair there is a legal row with.

    Returns:
      Rows for the supernet, which hold the pairs that it takes part in; rows for any
      network, which hold the others; and the pairs that no legal row holds.
    """
    of_network, refused = covered(OF_NETWORK, rare=0.15)
    of_step, others = covered(PAIRS - OF_NETWORK, rare=0.5)
    return of_network, of_step, refused + others


def covered(pairs, rare):
    """Rows for pairs, and the pairs without one.

    Args:
      rare: how often a choice of the step is another than its first.
    """
    rng, rows, refused, left = np.random.default_rng(0), [], [], set(pairs)
    sheet = config_of({})
    sheet.unlock()
    # Those that need a program first: the others find theirs among them.
    for pair in sorted(pairs, key=lambda p: (len(dict(p).keys() & AFTER), sorted(p))):
        if pair not in left:
            continue
        legal = []
        for _ in range(TRIES):
            row = drawn_row(pair, rows, rare, rng)
            legal += [row] if is_legal(sheet, row) else []
            if len(legal) == ENOUGH:
                break
        if not legal:
            refused.append(dict(sorted(pair)))
            continue
        row = max(legal, key=lambda r: len(pairs_of(r) & left))
        left -= pairs_of(row)
        rows.append(row)
    return rows, refused


def drawn_row(pair, rows, rare, rng):
    """A row of all choices with these two values, the others at random.

    If there is a row with the part of them that needs a program, its program is used.
    """
    row = {c: int(rng.integers(len(values))) for c, values in ALL.items()}
    for choice in STEP:
        row[choice] *= int(rng.random() < rare)
    before = [r for r in rows if all(r[c] == i for c, i in pair if c in PROGRAM)]
    if before and dict(pair).keys() & AFTER.keys():
        old = before[rng.integers(len(before))]
        row |= {c: old[c] for c in PROGRAM}
    return row | dict(pair)


def is_legal(sheet, row):
    for choice, i in row.items():
        for key in {key for value in ALL[choice] for key in value}:
            set_in(sheet, key, ALL[choice][i].get(key, DEFAULTS[key]))
    try:
        refuse_illegal(sheet)
    except InputError:
        return False
    return True


def set_in(sheet, key, value):
    *path, last = key.split(".")
    for name in path:
        sheet = sheet[name]
    sheet[last] = value


def pairs_of(row):
    return {frozenset(pair) for pair in itertools.combinations(row.items(), 2)}


def of_supernet(config):
    """Architecture after a step of the whole search."""
    job = make_search(config, images(), Layout())
    state = quick_jit(job.init)(job.start)
    _, data = next(job.feed.open(job.layout)(0, 0))
    bounds = np.int32(0), np.int32(0), np.int32(1)
    arguments = job.empty_totals(), data, job.scalars(job.epochs - 1), *bounds
    state, totals = quick_jit(job.run)(state, *arguments)
    assert np.isfinite(totals["loss"]), config.search
    return state


def of_plain_network(config):
    """Traces a step with a network that is one line: methods do not know it."""

    def apply(params, stats, mixture, images, key, *, train):
        weights = jnp.broadcast_to(mixture.weights["normal"], (2, *SHAPE))
        each = jnp.tanh(jnp.einsum("bc,leocd->leobd", images.mean((1, 2)), params))
        return jnp.einsum("leo,leobd->bd", weights, each), stats

    search = make_method(config, make_supernet(config, images()), (4, 4))
    # Its weights do not say which operation they are of.
    search = dataclasses.replace(search, apply=apply, operation_stop=None)
    params = jax.random.normal(jax.random.key(0), (2, *SHAPE, 3, 3))
    alpha = initial_alpha(darts_jax.get_space("tiny"), config.search, 0, 0.1)
    state = search.init(jax.random.key_data(jax.random.key(1)), params, {}, alpha)
    rng = np.random.default_rng(0)
    batches = [
        Examples(rng.normal(size=(BATCH, 4, 4, 3)).astype("f4"), np.arange(BATCH) % 3)
        for _ in range(2)
    ]
    scalars = scalar_arrays(search_scalars(config.search, config.search.epochs - 1))
    state, metrics = quick_jit(search.step)(state, *batches, scalars)
    assert np.isfinite(metrics["loss"]), config.search
    return state


def run_rows(rows, step):
    """A step of each program, and all that is done with its result."""
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row[c] for c in PROGRAM), []).append(row)
    space = darts_jax.get_space("tiny")
    for group in groups.values():
        state = step(config_of(group[0]))
        alpha = to_host(state.alpha)
        assert int(state.step) == 1
        assert all(np.isfinite(a).all() for a in alpha.values()), group[0]
        for row in group:
            config = config_of(row)
            genotype = make_discretization(config)(space, alpha)
            stop = make_stop(config)
            if stop is not None:
                stop(space, [EpochRecord(1, alpha, genotype, 1.0)])


PARTS = 4
in_parts = pytest.mark.parametrize("part", range(PARTS))


@pytest.mark.slow
@in_parts
def test_every_pair_with_a_choice_of_the_network_runs_a_step(part):
    run_rows(covering_rows()[0][part::PARTS], of_supernet)


@pytest.mark.slow
@in_parts
def test_every_other_pair_runs_a_step(part):
    run_rows(covering_rows()[1][part::PARTS], of_plain_network)


def test_a_pair_that_never_runs_is_refused_with_a_reason():
    of_network, of_step, refused = covering_rows()
    held = set().union(*map(pairs_of, of_network)) & OF_NETWORK
    held |= set().union(*map(pairs_of, of_step)) - OF_NETWORK
    assert held | {frozenset(pair.items()) for pair in refused} == PAIRS
    assert len(refused) < len(PAIRS) / 10
    for pair in refused:
        with pytest.raises(InputError, match="want") as told:
            config_of(pair)
        assert "\n" not in str(told.value)
