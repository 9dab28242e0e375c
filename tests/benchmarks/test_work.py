"""Work of a compiled program, counted from its text."""

import sys

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from tests.support.paths import ROOT

# Benchmarks are commands, which find each other in their own folder.
sys.path.insert(0, str(ROOT / "benchmarks"))

import launches
import work

TEXT = """HloModule jit_run, is_scheduled=true

%fused_add (param_0: f32[4,8], param_1: f32[4,8]) -> f32[4,8] {
  %param_0 = f32[4,8]{1,0} parameter(0)
  %param_1 = f32[4,8]{1,0} parameter(1)
  ROOT %add.1 = f32[4,8]{1,0} add(%param_0, %param_1)
}

%gemm (param_2: f32[4,8], param_3: f32[8,8]) -> f32[4,8] {
  %param_2 = f32[4,8]{1,0} parameter(0)
  %param_3 = f32[8,8]{1,0} parameter(1)
  ROOT %dot.1 = f32[4,8]{1,0} dot(%param_2, %param_3), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

%body (arg: (s32[], f32[4,8], f32[8,8])) -> (s32[], f32[4,8], f32[8,8]) {
  %arg = (s32[], f32[4,8]{1,0}, f32[8,8]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%arg), index=0
  %x = f32[4,8]{1,0} get-tuple-element(%arg), index=1
  %w = f32[8,8]{1,0} get-tuple-element(%arg), index=2
  %gemm_fusion = f32[4,8]{1,0} fusion(%x, %w), kind=kCustom, calls=%gemm, metadata={op_name="jit(run)/while/body/a{b}/dot_general"}, backend_config={"fusion_backend_config":{"kind":"__triton_gemm"}}
  %sum = f32[4,8]{1,0} fusion(%gemm_fusion, %x), kind=kLoop, calls=%fused_add
  %all-reduce-start = f32[4,8]{1,0} all-reduce-start(%sum), to_apply=%add
  %all-reduce-done = f32[4,8]{1,0} all-reduce-done(%all-reduce-start)
  ROOT %out = (s32[], f32[4,8]{1,0}, f32[8,8]{1,0}) tuple(%i, %all-reduce-done, %w)
}

%condition (arg.1: (s32[], f32[4,8], f32[8,8])) -> pred[] {
  %arg.1 = (s32[], f32[4,8]{1,0}, f32[8,8]{1,0}) parameter(0)
  %i.1 = s32[] get-tuple-element(%arg.1), index=0
  %limit = s32[] constant(7)
  ROOT %less = pred[] compare(%i.1, %limit), direction=GT
}

ENTRY %main (p0: f32[4,8], p1: f32[8,8], p2: f32[2,6,6,4], p3: f32[3,3,1,4]) -> f32[4,8] {
  %p0 = f32[4,8]{1,0} parameter(0)
  %p1 = f32[8,8]{1,0} parameter(1)
  %p2 = f32[2,6,6,4]{3,2,1,0} parameter(2)
  %p3 = f32[3,3,1,4]{3,2,1,0} parameter(3)
  %zero = s32[] constant(0)
  %copy.1 = f32[4,8]{1,0} copy(%p0)
  %conv = (f32[2,6,6,4]{3,2,1,0}, u8[0]{0}) custom-call(%p2, %p3), window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_01io->b01f, feature_group_count=4, custom_call_target="__cudnn$convForward"
  %back = (f32[3,3,1,4]{3,2,1,0}, u8[0]{0}) custom-call(%p2, %p2), window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_01io->b01f, feature_group_count=4, custom_call_target="__cudnn$convBackwardFilter"
  %start = (s32[], f32[4,8]{1,0}, f32[8,8]{1,0}) tuple(%zero, %copy.1, %p1)
  %while.1 = (s32[], f32[4,8]{1,0}, f32[8,8]{1,0}) while(%start), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"7"}}
  ROOT %result = f32[4,8]{1,0} get-tuple-element(%while.1), index=1
}
"""  # noqa: E501
TAPS = 16 * 16  # pairs of a tap and a pixel that meet: 3 * 6 - 2 along each side


@pytest.fixture(scope="module")
def program():
    return work.Program(TEXT)


def test_kernels_are_counted_by_kind_and_as_often_as_loops_run(program):
    assert launches.kernels_by_kind(program) == {
        "fusions": 7,
        "triton": 7,
        "cudnn": 2,
        "cublas": 0,
        "copies": 1,
        "collectives": 7,
        "others": 0,
        "grouped": 2,
    }
    assert not program.unbounded


def test_products_and_bytes_of_a_step(program):
    cost = program.cost()
    products = 7 * 4 * 8 * 8 + 2 * (2 * 4 * TAPS)
    image = 4 * 2 * 6 * 6 * 4
    kernel = 4 * 3 * 3 * 4
    row = 4 * 4 * 8
    loop = (2 * row + 4 * 8 * 8) + 3 * row + 2 * row
    assert cost.products == 2 * products
    assert cost.all == 2 * row + (2 * image + kernel) * 2 + 7 * loop


def test_collectives_by_kind_and_bytes(program):
    assert program.collectives() == {"all-reduce": (7, 7 * 4 * 4 * 8)}


def test_the_dearest_kernels_name_what_they_come_from(program):
    first, *_ = launches.dearest(program, 10)
    assert first == {
        "gb": 0.0,
        "launches": 7,
        "kind": "triton",
        "results": "4x8",
        "source": "jit(run)/a{b}/dot_general",
    }


def test_a_scan_compiled_here_counts_every_turn():
    def run(x, w):
        return lax.scan(lambda x, _: (x @ w, None), x, length=5)[0]

    x = jnp.ones((16, 32))
    w = jnp.ones((32, 32))
    text = jax.jit(run).lower(x, w).compile().as_text()
    cost = work.Program(text).cost()
    assert cost.products == 5 * 2 * 16 * 32 * 32
