"""Contenders, who take a search step: this package, plain PyTorch, plain Flax."""

import argparse
import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import ours
from measuring import Row, Turn, repeat

from darts_jax.engine.devices import Layout
from darts_jax.tasks.registry import make_search
from darts_jax.workflows.estimate import forward_macs

FRAMEWORKS = ("ours", "torch_nchw", "torch_channels_last", "flax")
GRADIENTS = {"first_order": 2, "exact": 5, "finite_difference": 5}
"""Rule -> gradients in a step."""
NUMBERS = ("float32", "tf32", "bfloat16")
PRECISIONS = {"float32": "highest", "tf32": "tensorfloat32"}
"""Numbers -> the package's setting `precision`, where that is not its default."""
EXECUTIONS = ("batch", "scan")
COMPILED = "compiled"


@dataclasses.dataclass(frozen=True)
class Shape:
    """The search that is measured; ``size`` is the side of its images."""

    space: str
    cells: int
    channels: int
    batch: int
    size: int = 32


@dataclasses.dataclass(frozen=True)
class Contender:
    """Somebody who takes a step, and the way in which it is taken.

    Attributes:
      framework: one of `FRAMEWORKS`.
      rule: a key of `GRADIENTS`.
      numbers: those that are multiplied, of `NUMBERS`. In bfloat16 ours also keeps
        images so, and PyTorch is `torch.autocast`'s. None: as the framework does.
      execution: ours, of `EXECUTIONS`, or "auto".
      compiled: whether PyTorch's network goes through `torch.compile`.
    """

    framework: str
    rule: str
    numbers: str | None = None
    execution: str = "auto"
    compiled: bool = False

    @classmethod
    def parse(cls, text: str) -> "Contender":
        """Reads words such as "torch_nchw first_order bfloat16 compiled"."""
        framework, rule, *others = [*text.split(), "", ""]
        others = [word for word in others if word]
        kinds = {"numbers": NUMBERS, "execution": EXECUTIONS}
        chosen: dict[str, Any] = {}
        for word in others:
            if word == COMPILED:
                chosen["compiled"] = True
                continue
            found = [kind for kind, words in kinds.items() if word in words]
            if not found:
                break
            chosen[found[0]] = word
        known = framework in FRAMEWORKS and rule in GRADIENTS
        if not known or len(chosen) < len(others):
            raise argparse.ArgumentTypeError(
                f"{text!r} is no contender; want one of {', '.join(FRAMEWORKS)}, one "
                f"of {', '.join(GRADIENTS)}, and after these what is not by default: "
                f"{', '.join((*NUMBERS, *EXECUTIONS, COMPILED))}"
            )
        return cls(framework, rule, **chosen)

    def __str__(self) -> str:
        words = [self.framework, self.rule]
        words += [self.numbers] if self.numbers else []
        words += [self.execution] if self.execution != "auto" else []
        return " ".join(words + [COMPILED] * self.compiled)

    def prepare(self, shape: Shape, steps: int) -> tuple[Turn, Row]:
        """A function that takes some steps, and what is known before the first."""
        if self.framework == "ours":
            return self._prepare_ours(shape, steps)
        prepare = _prepare_flax if self.framework == "flax" else _prepare_torch
        step, known = prepare(self, shape)
        return repeat(step, steps), known

    def _prepare_ours(self, shape: Shape, steps: int) -> tuple[Turn, Row]:
        config = ours.settings(
            shape.space,
            shape.cells,
            shape.channels,
            shape.batch,
            self.rule,
            execution=self.execution,
            dtype="bfloat16" if self.numbers == "bfloat16" else "float32",
        )
        config.precision = PRECISIONS.get(self.numbers, "default")
        made = ours.Ours(ours.search_job(config, shape.size, steps))
        return lambda: made.step(steps), made.compilation()


def _prepare_flax(contender: Contender, shape: Shape) -> tuple[Turn, Row]:
    import flax_supernet

    search = flax_supernet.FlaxSearch(*dataclasses.astuple(shape))
    trace_s, compile_s, temporaries = search.compile(contender.rule)
    known = {"trace_s": trace_s, "compile_s": compile_s}
    return search.step, known | {"temporaries_mb": temporaries / 1e6}


def _prepare_torch(contender: Contender, shape: Shape) -> tuple[Turn, Row]:
    import torch_supernet

    search = torch_supernet.TorchSearch(
        *dataclasses.astuple(shape),
        channels_last=contender.framework == "torch_channels_last",
        numbers=contender.numbers,
        compiled=contender.compiled,
    )

    def step() -> float:
        return search.step(contender.rule)

    if not contender.compiled:
        return step, {}
    began = time.perf_counter()
    step()
    return step, {"compile_s": time.perf_counter() - began}


def step_flops(shape: Shape) -> Callable[[str], float]:
    """A function of a rule: FLOPs of a step, counted alike for all contenders.

    A gradient is a forward and a backward pass, 3 times the multiply-accumulates of a
    batch forward, of 2 FLOPs each; what is recomputed to save memory does not count.
    """
    config = ours.settings(
        shape.space, shape.cells, shape.channels, shape.batch, "first_order"
    )
    images = ours.random_images(2 * shape.batch, shape.size)
    job = make_search(config, images, Layout())
    state = jax.eval_shape(job.init, job.start)
    macs = forward_macs(config, images, state)
    assert macs is not None
    return lambda rule: GRADIENTS[rule] * 2.0 * 3 * macs * shape.batch
