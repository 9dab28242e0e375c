"""The cell of NAS-Bench-201 (Dong and Yang, 2020)."""

from darts_jax.spaces.graph import Cell, Macro, Space, dense_edges

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


def nasbench201_layout(cells: int) -> tuple[str, ...]:
    """Returns the kinds of blocks: three stages, residual reductions between them.

    Args:
      cells: their number in a stage.
    """
    stage = ("normal",) * cells
    return (*stage, "residual", *stage, "residual", *stage)


MACRO = Macro(
    nasbench201_layout,
    reductions=("residual",),
    stem_multiplier=1,
    preprocesses=False,
    final_norm=True,
)
_CELLS = {"normal": Cell(1, 3, dense_edges(1, 3, OPERATIONS), output=(3,))}
_NO_NONE = {"normal": Cell(1, 3, dense_edges(1, 3, OPERATIONS[1:]), output=(3,))}

# The benchmark's own supernet does not normalise after pooling.
NASBENCH201 = Space(
    "nasbench201",
    _CELLS,
    MACRO,
    discretization="argmax",
    supernet_variants={"avg_pool_3x3": "avg_pool_3x3_plain"},
)

# GAEA (Li et al., 2021) leaves `none` out of the supernet.
NASBENCH201_NO_NONE = Space(
    "nasbench201_no_none",
    _NO_NONE,
    MACRO,
    discretization="argmax",
    supernet_variants={"avg_pool_3x3": "avg_pool_3x3_plain"},
)

# Later versions of the benchmark's code give convolutions a bias wherever BN is not
# affine. It changes the count of parameters and no output.
NASBENCH201_BIASED = Space(
    "nasbench201_biased",
    _CELLS,
    MACRO,
    discretization="argmax",
    supernet_variants={
        "avg_pool_3x3": "avg_pool_3x3_plain",
        "nor_conv_1x1": "nor_conv_1x1_biased",
        "nor_conv_3x3": "nor_conv_3x3_biased",
    },
)
