"""Where the arrays of a job live: one device, a mesh that shares a batch, or members.

Everything runs under `jit` with global arrays, so that N devices compute what one does:
batch norm sees the whole batch, and random numbers don't depend on their number.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from darts_jax.errors import InputError

AXIS = "device"

PyTree = Any


@dataclasses.dataclass(frozen=True)
class Layout:
    """How arrays are laid out over devices.

    Attributes:
      mesh: of one axis; None for a single device.
      split_state: whether parameters and optimizer are divided among the devices
        rather than repeated on each.
      members: whether the leading axis of the state is that of a population, which
        the devices share out.
    """

    mesh: Mesh | None = None
    split_state: bool = False
    members: bool = False

    def spread(self, batch: PyTree) -> PyTree:
        """Divides the leading axis among the devices, inside a program."""
        if self.mesh is None:
            return batch
        sharding = NamedSharding(self.mesh, PartitionSpec(AXIS))
        return jax.tree.map(lambda x: lax.with_sharding_constraint(x, sharding), batch)

    def put(self, tree: PyTree) -> PyTree:
        """Host arrays to every device."""
        if self.mesh is None:
            return jax.tree.map(jax.device_put, tree)
        return jax.device_put(tree, NamedSharding(self.mesh, PartitionSpec()))

    def init(self, function: Callable[[PyTree], PyTree], start: PyTree) -> PyTree:
        """A first state, made where it will live."""
        if self.mesh is None:
            return jax.jit(function)(start)
        shardings = self._shardings(jax.eval_shape(function, start))
        return jax.jit(function, out_shardings=shardings)(start)

    def put_steps(self, tree: PyTree) -> PyTree:
        """Batches of some steps, of which this process has read its `share`.

        Processes don't wait for each other, so that a thread may call it.

        Args:
          tree: host arrays [step, batch, ...].
        """
        if self.mesh is None:
            return jax.device_put(tree)
        sharding = NamedSharding(self.mesh, self._of_steps)
        _, count = self.share()

        def put(mine: np.ndarray) -> jax.Array:
            step, batch, *rest = mine.shape
            whole = step, batch * count, *rest
            return jax.make_array_from_process_local_data(sharding, mine, whole)

        return jax.tree.map(put, tree)

    def share(self) -> tuple[int, int]:
        """(index, count): which part of every batch of a stream this process reads.

        Raises:
          InputError: the processes have not equally many of the devices.
        """
        if self.mesh is None or self.members:
            return 0, 1
        owners = [device.process_index for device in self.mesh.devices.flat]
        readers = sorted(set(owners))
        counts = {owners.count(reader) for reader in readers}
        if len(counts) > 1 or jax.process_index() not in readers:
            raise InputError(
                f"{len(owners)} devices are not the same number in each of "
                f"{jax.process_count()} processes, which a stream needs; want another "
                "number as devices"
            )
        return readers.index(jax.process_index()), len(readers)

    def state_shapes(self, state: PyTree) -> PyTree:
        """What `init` makes, from arrays or shapes, as shapes alone."""
        if self.mesh is None:
            return jax.eval_shape(lambda tree: tree, state)
        return jax.tree.map(_placed, state, self._shardings(state))

    def whole_shapes(self, tree: PyTree) -> PyTree:
        """The same of `put`."""
        return self._shapes(tree, PartitionSpec())

    def step_shapes(self, tree: PyTree) -> PyTree:
        """The same of `put_steps`, from whole batches."""
        return self._shapes(tree, self._of_steps)

    def jit(self, run: Callable[..., Any], state: PyTree, totals: PyTree) -> Any:
        """Jits ``run(state, totals, ...) -> (state, totals)``; both are donated."""
        if self.mesh is None:
            return jax.jit(run, donate_argnums=(0, 1))
        shardings = self._shardings(state), self._shardings(totals)
        return jax.jit(run, donate_argnums=(0, 1), out_shardings=shardings)

    def over_members(
        self, one: Callable[[PyTree, PyTree], PyTree], execution: str
    ) -> Callable[[PyTree, PyTree], PyTree]:
        """A function of one member as that of all, which the devices share out.

        Args:
          one: ``(member, shared) -> result``.
          execution: "map", one after the other, or "vmap", side by side.

        Returns:
          The same with a leading axis of members on the first argument and the result.
        """

        def all_members(members: PyTree, shared: PyTree) -> PyTree:
            def of_one(member: PyTree) -> PyTree:
                return one(member, shared)

            if execution == "map":
                return lax.map(of_one, members)
            return jax.vmap(of_one)(members)

        if self.mesh is None:
            return all_members
        mine, everyone = PartitionSpec(AXIS), PartitionSpec()
        return jax.shard_map(
            all_members,
            mesh=self.mesh,
            in_specs=(mine, everyone),
            out_specs=mine,
            check_vma=False,
        )

    @property
    def _of_steps(self) -> PartitionSpec:
        # The members of a population all need the whole batch.
        return PartitionSpec() if self.members else PartitionSpec(None, AXIS)

    def _shapes(self, tree: PyTree, spec: PartitionSpec) -> PyTree:
        if self.mesh is None:
            return jax.eval_shape(lambda tree: tree, tree)
        sharding = NamedSharding(self.mesh, spec)
        return jax.tree.map(lambda leaf: _placed(leaf, sharding), tree)

    def _shardings(self, tree: PyTree) -> PyTree:
        mesh = self.mesh
        assert mesh is not None

        def sharding(leaf: Any) -> NamedSharding:
            if self.members:
                return NamedSharding(mesh, PartitionSpec(AXIS))
            axes = [i for i, n in enumerate(leaf.shape) if n % mesh.size == 0]
            if not (self.split_state and axes):
                return NamedSharding(mesh, PartitionSpec())
            largest = max(axes, key=lambda i: leaf.shape[i])
            return NamedSharding(mesh, PartitionSpec(*[None] * largest, AXIS))

        return jax.tree.map(sharding, tree)


def _placed(leaf: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(
        leaf.shape,
        leaf.dtype,
        sharding=sharding,
        weak_type=getattr(leaf, "weak_type", False),
    )


def make_layout(
    setting: int,
    divide: int,
    what: str,
    *,
    split_state: bool = False,
    members: bool = False,
) -> Layout:
    """The layout for a number of devices.

    Args:
      setting: how many devices; 0 for as many as there are, or as divide the work.
      divide: what the devices share out: images of a batch, members.
      what: its name, for the error.

    Raises:
      InputError: there are fewer devices, or they cannot share the work evenly.
    """
    devices = jax.devices()
    if setting > len(devices):
        raise InputError(
            f"setting devices is {setting}; there are {len(devices)}: want 1 to "
            f"{len(devices)}, or 0 for all"
        )
    count = setting or len(devices)
    if not setting and jax.process_count() == 1:
        count = max(n for n in range(1, count + 1) if divide % n == 0)
    if divide % count:
        raise InputError(
            f"{count} devices cannot share {what}, {divide}, evenly; want a multiple "
            f"of {count}, or another number as devices"
        )
    if count == 1:
        return Layout()
    # Devices of one process side by side, so that its part of a batch is one piece.
    chosen = sorted(devices[:count], key=lambda device: device.process_index)
    return Layout(Mesh(np.array(chosen), (AXIS,)), split_state, members)


def to_host(tree: PyTree) -> PyTree:
    """Global arrays as NumPy arrays; every process must call it, and gets all."""

    def leaf_to_host(leaf: Any) -> np.ndarray:
        if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
            return np.asarray(leaf)
        if leaf.is_fully_replicated:
            return np.asarray(leaf.addressable_data(0))
        return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))

    return jax.tree.map(leaf_to_host, tree)
