"""Searches that differ in scalars, as one program over an axis of members."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from ml_collections import ConfigDict

from darts_jax.data.stream import AnyDataset, StreamedDataset
from darts_jax.engine.devices import Layout, make_layout
from darts_jax.engine.job import Job, scalar_arrays
from darts_jax.errors import InputError
from darts_jax.settings.config import flatten, with_overrides
from darts_jax.settings.scalars import active_terms, search_scalars
from darts_jax.settings.schedules import Schedule
from darts_jax.settings.schema import scheduled_settings
from darts_jax.training.search_job import make_search, search_start


def make_population(members: Sequence[ConfigDict], dataset: AnyDataset) -> Job:
    """Searches that differ in scalars only, as one program over an axis of members.

    Raises:
      InputError: as `make_search`; or the devices cannot share the members evenly, or
        seeds differ that would have to share the order of a stream.
    """
    first = members[0]
    streamed = isinstance(dataset, StreamedDataset)
    if streamed and len({member.seed for member in members}) > 1:
        raise InputError(
            f"members read the stream {dataset.name!r} in one order, so their seed "
            "cannot differ; search each seed by itself, or load the set into memory"
        )
    layout = make_layout(first.devices, len(members), "the members", members=True)
    common = _common(members)
    job = make_search(common, dataset, Layout())
    terms = active_terms(common.search)
    over = layout.over_members(_one_run(job), member_execution(first))

    def scalars(epoch: int) -> Any:
        each = [search_scalars(m.search, epoch) for m in members]
        for one in each:
            one["terms"] = {name: one["terms"].get(name, 0.0) for name in terms}
        return scalar_arrays(jax.tree.map(lambda *values: np.array(values), *each))

    return dataclasses.replace(
        job,
        layout=layout,
        start=jax.tree.map(lambda *x: np.stack(x), *map(search_start, members)),
        init=lambda start: lax.map(job.init, start),
        run=lambda state, totals, data, scalars, *bounds: over(
            (state, totals, scalars), (data, bounds)
        ),
        scalars=scalars,
        model=lambda state, scalars: lax.map(lambda x: job.model(*x), (state, scalars)),
        evaluate=lambda model, *data: lax.map(
            lambda member: job.evaluate(member, *data), model
        ),
        probes={name: _of_each(probe) for name, probe in job.probes.items()},
        per_step=len(members) * job.per_step,
        members=len(members),
    )


def member_execution(config: ConfigDict) -> str:
    """How members are walked: "map" or "vmap"."""
    execution: str = config.population.execution
    if execution == "auto":
        return "map" if jax.default_backend() == "cpu" else "vmap"
    return execution


def _one_run(job: Job) -> Callable[[Any, Any], Any]:
    def run(member: Any, shared: Any) -> Any:
        (state, totals, scalars), (data, bounds) = member, shared
        return job.run(state, totals, data, scalars, *bounds)

    return run


def _common(members: Sequence[ConfigDict]) -> ConfigDict:
    """The first member's settings, with every slot that some member fills."""
    scheduled = scheduled_settings()
    filled = {
        key: value
        for member in members
        for key, value in flatten(member)
        if key in scheduled and not Schedule.parse(value).is_zero
    }
    return with_overrides(members[0], [f"{k}={v}" for k, v in filled.items()])


def _of_each(probe: Callable[..., Any]) -> Callable[..., Any]:
    """A measurement of one search, of each member of a population."""

    def run(state: Any, data: Any, scalars: Any, epoch: Any, step: Any) -> Any:
        def of_one(member: Any) -> Any:
            state, scalars = member
            return probe(state, data, scalars, epoch, step)

        return lax.map(of_one, (state, scalars))

    return run
