"""Places of a job's arrays: one device, a mesh that shares a batch, or members.

Everything runs under `jit` with global arrays, so that N devices compute what one does.
A network itself is mapped over the parts of a batch, as kernels are calls that can't be
divided. By the name of that axis its layers know whether batch norm is over the whole
batch, and random numbers do not depend on the number of devices; or each device has
batch statistics and random numbers of its own.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.experimental import multihost_utils
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from darts_jax.errors import InputError
from darts_jax.models.batch_axis import BATCH_NORMS, DEVICE

PyTree = Any


MEMBER = "member"
"""Name of the axis of devices that share out members, or paths, each a whole one."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """The placement of arrays on devices.

    Attributes:
      mesh: mesh of one axis; None for a single device.
      split_state: whether parameters and optimizer are divided among the devices
        rather than repeated on each.
      members: whether the leading axis of the state is that of a population, which
        the devices share out.
    """

    mesh: Mesh | None = None
    split_state: bool = False
    members: bool = False

    @property
    def axis(self) -> str:
        """Name of the mesh's axis."""
        assert self.mesh is not None
        name: str = self.mesh.axis_names[0]
        return name

    def spread(self, batch: PyTree) -> PyTree:
        """Divides the leading axis among the devices, inside a program."""
        if self.mesh is None:
            return batch
        sharding = NamedSharding(self.mesh, PartitionSpec(self.axis))
        return jax.tree.map(lambda x: lax.with_sharding_constraint(x, sharding), batch)

    def put(self, tree: PyTree) -> PyTree:
        """Puts host arrays on every device."""
        if self.mesh is None:
            return jax.tree.map(jax.device_put, tree)
        return jax.device_put(tree, NamedSharding(self.mesh, PartitionSpec()))

    def init(self, function: Callable[[PyTree], PyTree], start: PyTree) -> PyTree:
        """Makes a first state where it will live.

        Args:
          function: start -> state.
          start: arrays.
        """
        if self.mesh is None:
            return jax.jit(function)(start)
        shardings = self._shardings(jax.eval_shape(function, start))
        return jax.jit(function, out_shardings=shardings)(start)

    def put_steps(self, tree: PyTree) -> PyTree:
        """Puts batches of some steps on the devices; each process has its `share`.

        Processes don't wait for each other, so that a thread may call it.

        Args:
          tree: host arrays [step, batch, ...].
        """
        if self.mesh is None:
            return jax.device_put(tree)
        sharding = NamedSharding(self.mesh, self._step_spec)
        _, count = self.share()

        def put(mine: np.ndarray) -> jax.Array:
            step, batch, *rest = mine.shape
            whole = step, batch * count, *rest
            return jax.make_array_from_process_local_data(sharding, mine, whole)

        return jax.tree.map(put, tree)

    def share(self) -> tuple[int, int]:
        """Returns (index, count) of the part of every batch that this process reads.

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
        """Returns the shapes of the state that `init` makes, from arrays or shapes."""
        if self.mesh is None:
            return jax.eval_shape(lambda tree: tree, state)
        return jax.tree.map(_placed, state, self._shardings(state))

    def whole_shapes(self, tree: PyTree) -> PyTree:
        """Returns the shapes of the arrays that `put` places."""
        return self._shapes(tree, PartitionSpec())

    def step_shapes(self, tree: PyTree) -> PyTree:
        """Returns the shapes that `put_steps` places, from those of whole batches."""
        return self._shapes(tree, self._step_spec)

    def jit(self, run: Callable[..., Any], state: PyTree, totals: PyTree) -> Any:
        """Jits ``run(state, totals, ...) -> (state, totals)``; both are donated."""
        if self.mesh is None:
            return jax.jit(run, donate_argnums=(0, 1))
        shardings = self._shardings(state), self._shardings(totals)
        return jax.jit(run, donate_argnums=(0, 1), out_shardings=shardings)

    def over_members(
        self, one: Callable[[PyTree, PyTree], PyTree], execution: str
    ) -> Callable[[PyTree, PyTree], PyTree]:
        """Maps a function over members, which the devices share out.

        Args:
          one: ``(member, shared) -> result``.
          execution: "map", one after the other, or "vmap", side by side.

        Returns:
          The same with a leading axis of members on the first argument and the result.
        """

        def all_members(members: PyTree, shared: PyTree) -> PyTree:
            def one_member(member: PyTree) -> PyTree:
                return one(member, shared)

            if execution == "map":
                return lax.map(one_member, members)
            return jax.vmap(one_member)(members)

        if self.mesh is None:
            return all_members
        split = PartitionSpec(self.axis)
        return jax.shard_map(
            all_members,
            mesh=self.mesh,
            in_specs=(split, PartitionSpec()),
            out_specs=split,
            check_vma=False,
        )

    def over_batch(
        self, apply: Callable[..., Any], place: int, *, divisible: bool
    ) -> Callable[..., Any]:
        """Maps a network over the parts of a batch, one a device.

        What all devices read is handed to them as one vector an argument, so that its
        gradient is joined by one message.

        Args:
          apply: ``(*arguments, key, train=...) -> (outputs, statistics)``.
          place: number of the argument that is the batch [example, ...].
          divisible: whether layers go by `models.batch_axis`, so that parts give what
            the whole batch gives. Else the compiler divides it, if batch norm is
            global.

        Returns:
          The same function of whole batches. If batch norm is by device, each part has
          a key of its own, and statistics are the mean of the devices'.
        """
        mesh = self.mesh
        if mesh is None or self.members:
            return apply
        alone = self.axis == DEVICE
        if not (alone or divisible):
            return apply
        split = PartitionSpec(self.axis)
        whole = PartitionSpec()

        def mapped(*arguments: PyTree, train: bool) -> tuple[PyTree, PyTree]:
            *shared, key = arguments
            batch = shared.pop(place)
            _require_even(batch, mesh.size)
            if self.split_state:
                # Or each piece of the vectors below would travel by itself.
                everywhere = NamedSharding(mesh, whole)
                shared = lax.with_sharding_constraint(shared, everywhere)
            flat = [ravel_pytree(argument) for argument in shared]

            def part(
                vectors: list[jax.Array], batch: PyTree, key: jax.Array
            ) -> tuple[PyTree, PyTree]:
                given = [
                    restore(vector)
                    for vector, (_, restore) in zip(vectors, flat, strict=True)
                ]
                given.insert(place, batch)
                outputs, stats = apply(*given, key[0] if alone else key, train=train)
                return outputs, self._join(stats) if alone else stats

            return jax.shard_map(
                part,
                mesh=mesh,
                in_specs=(whole, split, split if alone else whole),
                out_specs=(split, whole),
                check_vma=False,
            )(
                [vector for vector, _ in flat],
                batch,
                jax.random.split(key, mesh.size) if alone else key,
            )

        return mapped

    def _join(self, stats: PyTree) -> PyTree:
        """Returns the mean of the devices' statistics, by one message."""
        vector, restore = ravel_pytree(stats)
        return restore(lax.pmean(vector, self.axis)) if vector.size else stats

    @property
    def _step_spec(self) -> PartitionSpec:
        # The members of a population all need the whole batch, as one device does.
        is_whole = self.members or self.mesh is None
        return PartitionSpec() if is_whole else PartitionSpec(None, self.axis)

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
                return NamedSharding(mesh, PartitionSpec(self.axis))
            axes = [i for i, n in enumerate(leaf.shape) if n % mesh.size == 0]
            if not (self.split_state and axes):
                return NamedSharding(mesh, PartitionSpec())
            largest = max(axes, key=lambda i: leaf.shape[i])
            return NamedSharding(mesh, PartitionSpec(*[None] * largest, self.axis))

        return jax.tree.map(sharding, tree)


def _require_even(batch: PyTree, devices: int) -> None:
    size = jax.tree.leaves(batch)[0].shape[0]
    if size % devices:
        raise InputError(
            f"{devices} devices cannot share {size} images, a batch or a part of one, "
            "evenly; want another number as devices"
        )


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
    batch_norm: str = "global",
) -> Layout:
    """Makes the layout for a number of devices.

    Args:
      setting: number of devices; 0 for as many as there are, or as divide the work.
      divide: number of things that the devices share out: images of a batch, members.
      what: name of these things, for the error.
      split_state: whether parameters and optimizer are divided among the devices.
      members: whether a population's members are shared out, and not a batch.
      batch_norm: batch that batch norm is over, a key of `BATCH_NORMS`.

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
    # A member's batch is whole on its device, so that no layer may join parts of it.
    axis = MEMBER if members else BATCH_NORMS[batch_norm]
    return Layout(Mesh(np.array(chosen), (axis,)), split_state, members)


def to_host(tree: PyTree) -> PyTree:
    """Returns global arrays as NumPy arrays; every process must call it.

    Args:
      tree: arrays, of which each process may hold a part.
    """

    def leaf_to_host(leaf: Any) -> np.ndarray:
        if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
            return np.asarray(leaf)
        if leaf.is_fully_replicated:
            return np.asarray(leaf.addressable_data(0))
        return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))

    for leaf in jax.tree.leaves(tree):
        if isinstance(leaf, jax.Array) and leaf.is_fully_addressable:
            leaf.copy_to_host_async()
    return jax.tree.map(leaf_to_host, tree)
