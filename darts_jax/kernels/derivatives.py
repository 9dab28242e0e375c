"""First and second derivatives of a map with native kernels, as primitives.

Three primitives beside the map serve forward and reverse mode: its change along
tangents, the adjoint of that, which is the backward pass, and the change of the
backward pass. Change and adjoint are each other's transposes; derivatives beyond these
are those of the plain forms.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad
from jaxtyping import Array

from darts_jax.kernels.cpu import call_kernel
from darts_jax.kernels.edges import (
    PallasForm,
    in_precision_of_window,
    make_primitive,
    of_any_rank,
)
from darts_jax.kernels.windows import geometry_of

Arrays = Sequence[Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Derivatives:
    """Derivatives of a map from an image and other arrays to an image.

    Attributes:
      name: of the map's native kernel; the names of its derivatives begin with it.
      plain: (*primals, **parameters) -> image, all of them with an edge axis.
      shape: (*primals, **parameters) -> shape of the image.
      moving: number of primals, the first, by which the backward pass differentiates;
        None: all. Second derivatives are by all of them.
      kernels: those of ``change``, ``back`` and ``back_change`` with native kernels.
      constants: name and value of the attributes of these kernels' calls.
      closed: name of a derivative, as in ``kernels``, and its form where no CPU is; the
        others are derived from ``plain``, as all are on CPU.
      pallas: forms by Pallas kernels of the map, as "", and of these derivatives.
    """

    name: str
    plain: Callable[..., Array]
    shape: Callable[..., tuple[int, ...]]
    moving: int | None = None
    kernels: tuple[str, ...] = ("change", "back", "back_change")
    constants: tuple[tuple[str, Any], ...] = ()
    closed: tuple[tuple[str, Callable[..., Any]], ...] = ()
    pallas: Mapping[str, PallasForm] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def change_p(self) -> Primitive:
        """The map's change: (*tangents of what moves, *primals) -> [change]."""

        def shapes(*arrays: Any, **parameters: Any) -> list[tuple[int, ...]]:
            _, primals = self._split(arrays)
            return [self.shape(*primals, **parameters)]

        def plain(*arrays: Array, **parameters: Any) -> list[Array]:
            along, primals = self._split(arrays)
            form, moved = self._form(primals, parameters)
            return [jax.jvp(form, moved, along)[1]]

        def transpose(cts: Arrays, *arrays: Any, **parameters: Any) -> list[Any]:
            _, primals = self._split(arrays)
            backs = self.back_p.bind(cts[0], *primals, **parameters)
            return [*backs, *[None] * len(primals)]

        primitive = self._primitive("change", shapes, plain)
        ad.primitive_jvps[primitive] = _jvp_by(primitive, plain)
        ad.primitive_transposes[primitive] = transpose
        return primitive

    @functools.cached_property
    def back_p(self) -> Primitive:
        """The backward pass: (the image's cotangent, *primals) -> cotangents."""

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
        """The change of `back_p`: (*its tangents, *its arguments) -> changes."""

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
        """Returns the change of the image, for the map's own rule of forward mode."""
        inward = [ad.instantiate_zeros(t) for t in tangents[: self.moving]]
        (change,) = self.change_p.bind(*inward, *primals, **parameters)
        return change

    def _split(self, arrays: Arrays) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Returns the tangents of what moves, and all primals."""
        count = len(arrays) // 2 if self.moving is None else self.moving
        return tuple(arrays[:count]), tuple(arrays[count:])

    def _form(
        self, primals: Arrays, parameters: dict[str, Any]
    ) -> tuple[Callable[..., Array], tuple[Array, ...]]:
        """Returns the plain form as a function of what moves, and its arguments."""
        count = len(primals) if self.moving is None else self.moving

        # A rule of a third derivative traces this where no primitive's lowering does.
        plain = in_precision_of_window(of_any_rank(self.plain))

        def form(*moved: Array) -> Array:
            image: Array = plain(*moved, *primals[count:], **parameters)
            return image

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
        return make_primitive(
            name,
            shape=shapes,
            xla=dict(self.closed).get(suffix, plain),
            xla_cpu=plain,
            native_cpu=native,
            pallas=self.pallas.get(suffix),
            several=True,
        )


def native_results(
    name: str, shapes: Callable[..., Any], **constants: Any
) -> Callable[..., Any]:
    """Returns the form by a native kernel of a primitive with several results.

    Args:
      name: of the kernel.
      shapes: returns the shapes of the results.
      constants: attributes of the call.
    """

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
