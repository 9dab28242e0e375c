"""Conversion of a trained network to ONNX, by jax2onnx and checked by onnxruntime."""

import contextlib
import logging
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import primitives
from jaxtyping import Array

from darts_jax import jaxprs
from darts_jax.errors import InputError, first_line
from darts_jax.interop.artifact import Program, replay
from darts_jax.kernels import PLAIN_FORMS

TOLERANCE = 1e-4  # of logits, by their largest: rounding differs, nothing else may


def to_onnx(program: Program) -> bytes:
    """Converts a program to an ONNX model of any batch.

    Args:
      program: see `trace_program`.

    Returns:
      The serialised model, with the input ``images`` and the output ``logits``.

    Raises:
      InputError: the converter is not installed, an operation has no ONNX form, or the
        model gives other logits than the network.
    """
    try:
        import jax2onnx
        import onnxruntime
    except ImportError as error:
        raise InputError(
            f"ONNX needs {error.name}: pip install 'darts-jax[onnx]'"
        ) from None

    def in_plain_forms(images: Array) -> Array:
        forms = {**PLAIN_FORMS, primitives.pad_p: _pad}
        (logits,) = replay(program.closed, forms, [images])
        return logits

    # Traced here: the converter's patches of jax would end in jax's own caches.
    plain = jax.make_jaxpr(in_plain_forms)(program.images)
    with _silenced():
        try:
            model = jax2onnx.to_onnx(
                lambda images: jaxprs.run(plain, images)[0],
                [program.images],
                model_name="darts_jax",
                input_names=["images"],
                output_names=["logits"],
            ).SerializeToString()
            quiet = onnxruntime.SessionOptions()
            quiet.log_severity_level = 3
            session = onnxruntime.InferenceSession(model, quiet)
        except Exception as error:  # one kind or another for each operation
            raise InputError(f"no ONNX form: {first_line(error)}") from None
    _require_equal_logits(program, session)
    return bytes(model)


def _pad(
    x: Array, value: Array, *, padding_config: Sequence[tuple[int, int, int]]
) -> Array:
    """Pads by concatenation, as the converter's own `lax.pad` needs a fixed batch."""
    if any(min(axis) < 0 or axis[2] for axis in padding_config):
        return jax.lax.pad(x, value, padding_config)
    for axis, (before, behind, _) in enumerate(padding_config):
        margins = [
            jnp.broadcast_to(value, (*x.shape[:axis], size, *x.shape[axis + 1 :]))
            for size in (before, behind)
        ]
        parts = [part for part in (margins[0], x, margins[1]) if part.shape[axis]]
        x = jnp.concatenate(parts, axis)
    return x


def _require_equal_logits(program: Program, session: object) -> None:
    rng = np.random.default_rng(0)
    for batch in (1, 3):
        shape = (batch, *program.images.shape[1:])
        images = rng.integers(0, 256, shape).astype(program.images.dtype)
        if program.examples is not None:
            images = program.examples[:batch]
        (found,) = session.run(["logits"], {"images": images})  # type: ignore[attr-defined]
        wanted = np.asarray(jax.jit(program.logits)(images))
        error = np.abs(found - wanted).max() / np.abs(wanted).max()
        if not error <= TOLERANCE:
            raise InputError(f"the ONNX model's logits differ by {error:.2g}; want 0")


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Silences the converter, which logs its every step."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
