"""Derivatives to second order of a map that kernels of ours compute, as primitives.

Three primitives beside the map serve both modes: its change along tangents, the adjoint
of that, which is the backward pass, and the change of the backward pass. Change and
adjoint are each other's transposes; what no primitive is there for has the derivative
of its plain form.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad
from jaxtyping import Array

from darts_jax.kernels.cpu import call_kernel
from darts_jax.kernels.edges import make_primitive, of_any_rank
from darts_jax.kernels.windows import geometry_of

Arrays = Sequence[Any]


@dataclasses.dataclass(frozen=True)
class Derivatives:
    """Of a map from an image and other arrays to an image.

    Attributes:
      name: of the map's kernel of ours; its derivatives' begin with it.
      plain: (*primals, **parameters) -> image, all of them with an edge axis.
      shape: the same, of its result.
      moving: how many of the primals, the first, are differentiated by in the backward
        pass; None: all. Second derivatives are by all of them.
      kernels: which of ``change``, ``back``, ``back_change`` have kernels of ours.
      constants: what these are told, name and number.
    """

    name: str
    plain: Callable[..., Array]
    shape: Callable[..., tuple[int, ...]]
    moving: int | None = None
    kernels: tuple[str, ...] = ("change", "back", "back_change")
    constants: tuple[tuple[str, Any], ...] = ()

    @functools.cached_property
    def change_p(self) -> Primitive:
        """(*tangents that move, *primals) -> (the image's change)."""

        def shapes(*arrays: Any, **parameters: Any) -> list[tuple[int, ...]]:
            _, primals = self._parted(arrays)
            return [self.shape(*primals, **parameters)]

        def plain(*arrays: Array, **parameters: Any) -> list[Array]:
            along, primals = self._parted(arrays)
            form, moved = self._form(primals, parameters)
            return [jax.jvp(form, moved, along)[1]]

        def transpose(cts: Arrays, *arrays: Any, **parameters: Any) -> list[Any]:
            _, primals = self._parted(arrays)
            backs = self.back_p.bind(cts[0], *primals, **parameters)
            return [*backs, *[None] * len(primals)]

        primitive = self._primitive("change", shapes, plain)
        ad.primitive_jvps[primitive] = _jvp_by(primitive, plain)
        ad.primitive_transposes[primitive] = transpose
        return primitive

    @functools.cached_property
    def back_p(self) -> Primitive:
        """(the image's cotangent, *primals) -> those of the primals that move."""

        def shapes(g: Any, *primals: Any, **parameters: Any) -> list[tuple[int, ...]]:
            del g, parameters
            return [array.shape for array in primals[: self.moving]]

        def transpose(
            cts: Arrays, g: Any, *primals: Any, **parameters: Any
        ) -> list[Any]:
            del g
            inward = [ad.instantiate_zeros(ct) for ct in cts]
            (change,) = self.change_p.bind(*inward, *primals, **parameters)
            return [change, *[None] * len(primals)]

        def jvp(primals: Arrays, tangents: Arrays, **parameters: Any) -> Any:
            along = [ad.instantiate_zeros(t) for t in tangents]
            back = primitive.bind(*primals, **parameters)
            return back, self.back_change_p.bind(*along, *primals, **parameters)

        primitive = self._primitive("back", shapes, self._plain_back)
        ad.primitive_jvps[primitive] = jvp
        ad.primitive_transposes[primitive] = transpose
        return primitive

    @functools.cached_property
    def back_change_p(self) -> Primitive:
        """(*tangents, the image's cotangent, *primals) -> the change of `back_p`."""

        def shapes(*arrays: Any, **parameters: Any) -> list[tuple[int, ...]]:
            del parameters
            _, *primals = _later_half(arrays)
            return [array.shape for array in primals[: self.moving]]

        def plain(*arrays: Array, **parameters: Any) -> list[Array]:
            primals = _later_half(arrays)
            form = functools.partial(self._plain_back, **parameters)
            return jax.jvp(form, primals, arrays[: len(primals)])[1]

        def transpose(cts: Arrays, *arrays: Any, **parameters: Any) -> list[Any]:
            primals = _later_half(arrays)

            def linear(*tangents: Array) -> list[Array]:
                return plain(*tangents, *primals, **parameters)

            back = jax.linear_transpose(linear, *primals)
            ct = [ad.instantiate_zeros(ct) for ct in cts]
            return [*back(ct), *[None] * len(primals)]

        primitive = self._primitive("back_change", shapes, plain)
        ad.primitive_jvps[primitive] = _jvp_by(primitive, plain)
        ad.primitive_transposes[primitive] = transpose
        return primitive

    def change(self, primals: Arrays, tangents: Arrays, **parameters: Any) -> Array:
        """The image's change, for the map's own rule."""
        inward = [ad.instantiate_zeros(t) for t in tangents[: self.moving]]
        (change,) = self.change_p.bind(*inward, *primals, **parameters)
        return change

    def _parted(self, arrays: Arrays) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Tangents that move, and all primals."""
        count = len(arrays) // 2 if self.moving is None else self.moving
        return tuple(arrays[:count]), tuple(arrays[count:])

    def _form(
        self, primals: Arrays, parameters: dict[str, Any]
    ) -> tuple[Callable[..., Array], tuple[Array, ...]]:
        """The plain form as a function of what moves, and that."""
        count = len(primals) if self.moving is None else self.moving

        def form(*moved: Array) -> Array:
            return of_any_rank(self.plain)(*moved, *primals[count:], **parameters)

        return form, tuple(primals[:count])

    def _plain_back(self, g: Array, *primals: Array, **parameters: Any) -> list[Array]:
        form, moved = self._form(primals, parameters)
        return list(jax.vjp(form, *moved)[1](g))

    def _primitive(
        self, suffix: str, shapes: Callable[..., Any], plain: Callable[..., Any]
    ) -> Primitive:
        name = f"{self.name}_{suffix}"
        kernel = native_results(name, shapes, **dict(self.constants))
        native = kernel if suffix in self.kernels else None
        return make_primitive(name, shapes, plain, plain, native, several=True)


def native_results(
    name: str, shapes: Callable[..., Any], **constants: Any
) -> Callable[..., Any]:
    """The kernel of that name, of several results."""

    def native(*arrays: Array, **parameters: Any) -> list[Array]:
        of = shapes(*arrays, **parameters)
        if window := parameters.get("window"):
            return call_kernel(
                name, of, *arrays, geometry=geometry_of(window), **constants
            )
        return call_kernel(name, of, *arrays, **constants)

    return native


def _later_half(arrays: Arrays) -> tuple[Any, ...]:
    return tuple(arrays[len(arrays) // 2 :])


def _jvp_by(primitive: Primitive, plain: Callable[..., Any]) -> Callable[..., Any]:
    def rule(primals: Arrays, tangents: Arrays, **parameters: Any) -> Any:
        along = tuple(ad.instantiate_zeros(t) for t in tangents)
        form = functools.partial(plain, **parameters)
        _, changes = jax.jvp(form, tuple(primals), along)
        return primitive.bind(*primals, **parameters), changes

    return rule
