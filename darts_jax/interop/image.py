"""Published names of the layers of image networks.

Two code bases name them: DARTS's (Liu et al., 2019), which PC-DARTS (Xu et al., 2020)
and others took over, where cells project their inputs; and that of NAS-Bench-201
(Dong and Yang, 2020) where they do not. Names of a cell's insides follow from the space
or the genotype, those of a module's layers are a table.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from flax import linen as nn

from darts_jax.interop.rows import Layer
from darts_jax.models.functional import Initialized
from darts_jax.models.macro import Head, ImageNetStem, Residual, Stem
from darts_jax.models.mixed_operation import stack_name
from darts_jax.models.network import AuxiliaryHead, Network
from darts_jax.models.operations.image import (
    CrossConv,
    DilConv,
    Pool,
    SepConv,
    make_operation,
)
from darts_jax.models.operations.layers import FactorizedReduce, ReLUConvBN
from darts_jax.models.operations.operation import traits
from darts_jax.models.supernet import Supernet
from darts_jax.spaces.graph import Cell, CellGenotype, Macro
from darts_jax.spaces.structure import POOL
from darts_jax.types import EDGES

MODULES: dict[type[nn.Module], dict[str, str]] = {
    ReLUConvBN: {"Conv_0": "op.1", "BatchNorm_0": "op.2"},
    FactorizedReduce: {"Conv_0": "conv_1", "Conv_1": "conv_2", "BatchNorm_0": "bn"},
    SepConv: {
        "DepthwiseConv_0": "op.1",
        "Conv_0": "op.2",
        "BatchNorm_0": "op.3",
        "DepthwiseConv_1": "op.5",
        "Conv_1": "op.6",
        "BatchNorm_1": "op.7",
    },
    DilConv: {"DepthwiseConv_0": "op.1", "Conv_0": "op.2", "BatchNorm_0": "op.3"},
    CrossConv: {"Conv_0": "1", "Conv_1": "2", "BatchNorm_0": "3"},
    Pool: {"BatchNorm_0": "1"},
    Residual: {
        "ReLUConvBN_0/Conv_0": "conv_a.op.1",
        "ReLUConvBN_0/BatchNorm_0": "conv_a.op.2",
        "ReLUConvBN_1/Conv_0": "conv_b.op.1",
        "ReLUConvBN_1/BatchNorm_0": "conv_b.op.2",
        "project": "downsample.1",
    },
    Stem: {"Conv_0": "stem.0", "BatchNorm_0": "stem.1"},
    ImageNetStem: {
        "Conv_0": "stem0.0",
        "BatchNorm_0": "stem0.1",
        "Conv_1": "stem0.3",
        "BatchNorm_1": "stem0.4",
        "Conv_2": "stem1.1",
        "BatchNorm_2": "stem1.2",
    },
    Head: {"BatchNorm_0": "lastact.0", "Linear_0": "classifier"},
    AuxiliaryHead: {
        "Conv_0": "features.2",
        "BatchNorm_0": "features.3",
        "_ConvValid_0/Conv_0": "features.5",
        "BatchNorm_1": "features.6",
        "Linear_0": "classifier",
    },
}
"""Module -> path of each of its layers below it -> the layer's published name."""

# Layers that are matrices over the pixels of a window: path -> the window's side.
_WINDOWS = {"_ConvValid_0/Conv_0": 2}


@dataclasses.dataclass(frozen=True)
class Scheme:
    """Names that a code base gives operations in cells, and architecture parameters.

    Attributes:
      kept: the ``n``-th operation of a genotype's cell.
      mixed: operation ``op`` of edge ``edge`` in a supernet's, from state ``source`` to
        ``target``.
      alpha: the parameters of cells of a ``kind``.
      beta: their edges' own, where the code base has these.
    """

    kept: str
    mixed: str
    alpha: str
    beta: str | None


DARTS = Scheme(
    "_ops.{n}", "_ops.{edge}._ops.{op}", "alphas_{kind}", beta="betas_{kind}"
)
NASBENCH201 = Scheme(
    "layers.{n}", "edges.{target}<-{source}.{op}", "arch_parameters", beta=None
)


def naming_scheme(macro: Macro) -> Scheme:
    """Returns the naming scheme of a network.

    Args:
      macro: of the network.
    """
    return DARTS if macro.preprocesses else NASBENCH201


@dataclasses.dataclass(frozen=True)
class _Place:
    """Place of a module in both name spaces.

    Attributes:
      ours: path in our trees.
      theirs: published name; empty where its layers' names stand alone.
      index: place in the leading axes of a stack.
    """

    ours: str
    theirs: str
    index: tuple[int, ...] = ()

    def inside(self, ours: str, theirs: str, *index: int) -> "_Place":
        return _Place(
            f"{self.ours}/{ours}", f"{self.theirs}.{theirs}", (*self.index, *index)
        )

    def layers(self, module: nn.Module, twin: str | None = None) -> Iterator[Layer]:
        """Yields the layers of a module that is here.

        Args:
          module: the module.
          twin: published name of the module that is computed in its place, if any.
        """
        for path, name in MODULES.get(type(module), {}).items():
            yield Layer(
                f"{self.theirs}.{name}".removeprefix("."),
                f"{self.ours}/{path}",
                self.index,
                _WINDOWS.get(path, 1),
                twin and f"{twin}.{name}",
            )


def network_layers(net: Network, trees: Initialized) -> Iterator[Layer]:
    """Yields the layers of a genotype's network.

    Args:
      net: the network.
      trees: its parameters and statistics, of arrays or of their shapes.
    """
    scheme = naming_scheme(net.macro)
    cells = net.genotype.cells

    def inside(kind: str, reduces: bool, place: _Place) -> Iterator[Layer]:
        return _kept(scheme, cells[kind], reduces, place)

    stem = ImageNetStem(net.channels) if net.imagenet else Stem(net.channels)
    yield from _Place("stem", "").layers(stem)
    kinds = net.macro.layout(net.cells)
    yield from _blocks(net.macro, kinds, trees, cells, inside, net.imagenet)
    auxiliary = AuxiliaryHead(net.classes, stride=1, final_norm=True)
    yield from _Place("auxiliary", "auxiliary_head").layers(auxiliary)
    yield from _Place("head", "").layers(Head(net.classes, net.macro.final_norm))


def supernet_layers(net: Supernet, trees: Initialized) -> Iterator[Layer]:
    """Yields the layers of a supernet.

    Args:
      net: the supernet.
      trees: its parameters and statistics, of arrays or of their shapes.
    """
    macro = net.space.macro
    cells = net.space.cells
    variants = net.space.supernet_variants

    def inside(kind: str, reduces: bool, place: _Place) -> Iterator[Layer]:
        del reduces  # every edge of the cell says its stride
        return _mixed(naming_scheme(macro), cells[kind], variants, place)

    stem = ImageNetStem(net.channels) if net.imagenet else Stem(net.channels)
    yield from _Place("stem", "").layers(stem)
    kinds = macro.layout(net.cells)
    yield from _blocks(macro, kinds, trees, cells, inside, net.imagenet)
    yield from _Place("head", "").layers(Head(net.classes, macro.final_norm))


def alpha_names(net: Supernet) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Maps published names to our key and the shape of architecture parameters.

    Args:
      net: the supernet.
    """
    scheme = naming_scheme(net.space.macro)
    names: dict[str, tuple[str, tuple[int, ...]]] = {}
    for kind, cell in net.space.cells.items():
        names[scheme.alpha.format(kind=kind)] = (kind, cell.shape)
        if scheme.beta:
            name = scheme.beta.format(kind=kind)
            names[name] = (kind + EDGES, cell.shape[:1])
    return names


def _blocks(
    macro: Macro,
    kinds: Iterable[str],
    trees: Initialized,
    cells: Mapping[str, object],
    inside: Callable[[str, bool, _Place], Iterator[Layer]],
    after_reduction: bool = False,
) -> Iterator[Layer]:
    """Yields the layers of cells and of what is between them.

    Args:
      inside: (kind, whether it reduces, where the cell is) -> what its edges hold.
      after_reduction: whether the first block's inputs differ in size.
    """
    stacks = _stacks(trees)
    for i, kind in enumerate(kinds):
        reduces = kind in macro.reductions
        # A block of operations without parameters has no stack.
        ours, at = stacks.get(i, ("", 0))
        place = _Place(ours, f"cells.{i}", (at,))
        if kind not in cells:
            yield from () if kind == POOL else place.layers(Residual(1))
        else:
            if macro.preprocesses:
                yield from _preprocesses(after_reduction, place)
            yield from inside(kind, reduces, place)
        after_reduction = reduces


def _stacks(trees: Initialized) -> dict[int, tuple[str, int]]:
    """Maps the number of a block to its stack and its place there."""
    stacks: dict[int, tuple[str, int]] = {}
    for name in {*trees.params, *trees.stats}:
        if match := re.fullmatch(r"blocks_(\d+)_(\d+)", name):
            first, last = map(int, match.groups())
            stacks |= {i: (name, i - first) for i in range(first, last + 1)}
    return stacks


def _preprocesses(after_reduction: bool, place: _Place) -> Iterator[Layer]:
    earlier = FactorizedReduce(1) if after_reduction else ReLUConvBN(1)
    yield from place.inside("Preprocess_0/earlier", "preprocess0").layers(earlier)
    yield from place.inside("Preprocess_0/last", "preprocess1").layers(ReLUConvBN(1))


def _kept(
    scheme: Scheme, cell: CellGenotype, reduces: bool, place: _Place
) -> Iterator[Layer]:
    order = sorted(range(len(cell.choices)), key=lambda i: cell.choices[i].target)
    for n, i in enumerate(order):
        choice = cell.choices[i]
        stride = 2 if reduces and choice.source < cell.inputs else 1
        module = make_operation(choice.operation, 1, stride, discrete=True)
        ours = f"edge_{choice.source}_{choice.target}_{i}"
        yield from place.inside(ours, scheme.kept.format(n=n)).layers(module)


def _mixed(
    scheme: Scheme, cell: Cell, variants: Mapping[str, str], place: _Place
) -> Iterator[Layer]:
    done: dict[str, int] = {}
    first: dict[tuple[str, int], str] = {}
    # Stacks are in order of (source, target), names in that of (target, source).
    for e in sorted(range(len(cell.edges)), key=lambda e: (cell.edges[e].source, e)):
        edge = cell.edges[e]
        for op, operation in enumerate(edge.operations):
            made = variants.get(operation, operation)
            module = make_operation(made, 1, edge.stride, discrete=False)
            stack = stack_name(operation, edge.stride)
            at = done.get(stack, 0)
            done[stack] = at + 1
            theirs = scheme.mixed.format(
                edge=e, source=edge.source, target=edge.target, op=op
            )
            here = place.inside(f"edges/{stack}", theirs, at)
            shared = traits(module).edge_independent
            twin = first.setdefault((stack, edge.source), here.theirs)
            yield from here.layers(module, twin if shared else None)
