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
from darts_jax.tasks.registry import make_search
from darts_jax.tasks.search_job import search_start
from darts_jax.types import Scalars


def make_population(members: Sequence[ConfigDict], dataset: AnyDataset) -> Job:
    """Makes one job of searches that differ in scalars only.

    Args:
      members: settings of each search.
      dataset: the data set that all of them read.

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
    common = _fill_slots(members)
    job = make_search(common, dataset, Layout())
    terms = active_terms(common.search)

    def scalars(epoch: int) -> Scalars:
        each = [search_scalars(m.search, epoch) for m in members]
        for one in each:
            one["terms"] = {name: one["terms"].get(name, 0.0) for name in terms}
        stacked: Scalars = scalar_arrays(_stack(each))
        return stacked

    def model(state: Any, scalars: Scalars) -> Any:
        def member_model(member: tuple[Any, Scalars]) -> Any:
            state, scalars = member
            return job.model(state, scalars)

        return lax.map(member_model, (state, scalars))

    return dataclasses.replace(
        map_over_members(job, layout, len(members), member_execution(first)),
        start=_stack([search_start(member) for member in members]),
        scalars=scalars,
        model=model,
        probes={name: _map_probe(probe) for name, probe in job.probes.items()},
    )


def map_over_members(
    job: Job,
    layout: Layout,
    members: int,
    execution: str,
    own_scalars: Sequence[str] | None = None,
) -> Job:
    """Makes a job of several members out of one member's.

    States, totals and the members' own scalars get a leading axis of members; data and
    other scalars are shared. The caller gives ``start``, ``scalars`` and ``model``.

    Args:
      job: job of one member, on one device.
      layout: devices that share the members out.
      members: number of members.
      execution: "map", one after the other, or "vmap", side by side.
      own_scalars: names of the scalars that differ between members; None: all.
    """

    def run_member(member: Any, common: Any) -> Any:
        state, totals, own = member
        data, shared, (epoch, start, stop) = common
        return job.run(state, totals, data, shared | own, epoch, start, stop)

    over = layout.over_members(run_member, execution)

    def run(
        state: Any,
        totals: Any,
        data: Any,
        scalars: Scalars,
        epoch: Any,
        start: Any,
        stop: Any,
    ) -> Any:
        names = scalars if own_scalars is None else own_scalars
        own = {name: scalars[name] for name in names}
        shared = {name: value for name, value in scalars.items() if name not in own}
        return over((state, totals, own), (data, shared, (epoch, start, stop)))

    return dataclasses.replace(
        job,
        layout=layout,
        init=lambda start: lax.map(job.init, start),
        run=run,
        members=members,
    )


def member_execution(config: ConfigDict) -> str:
    """Returns the way in which members are walked: "map" or "vmap".

    Args:
      config: settings of a run.
    """
    execution: str = config.population.execution
    if execution == "auto":
        return "map" if jax.default_backend() == "cpu" else "vmap"
    return execution


def _fill_slots(members: Sequence[ConfigDict]) -> ConfigDict:
    """Returns the first member's settings, with every slot that some member fills."""
    scheduled = scheduled_settings()
    filled = {
        key: value
        for member in members
        for key, value in flatten(member)
        if key in scheduled and not Schedule.parse(value).is_zero
    }
    return with_overrides(members[0], [f"{k}={v}" for k, v in filled.items()])


def _stack(trees: Sequence[Any]) -> Any:
    """Stacks trees of numbers or arrays along a leading axis of members."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def _map_probe(probe: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a probe of each member out of one member's."""

    def run(state: Any, data: Any, scalars: Any, epoch: Any, step: Any) -> Any:
        def probe_member(member: Any) -> Any:
            state, scalars = member
            return probe(state, data, scalars, epoch, step)

        return lax.map(probe_member, (state, scalars))

    return run
