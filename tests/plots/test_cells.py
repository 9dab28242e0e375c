"""Drawings: complete, readable, the same each time, and whole or absent on disk."""

import io
import itertools
from collections import Counter
from xml.etree import ElementTree

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from darts_jax.errors import InputError
from darts_jax.models.operations.activations import ACTIVATIONS
from darts_jax.models.operations.image import OPERATIONS
from darts_jax.models.operations.sequence import SEQUENCE_OPERATIONS
from darts_jax.plots.cells import draw_genotype, save_drawing
from darts_jax.plots.style import OPERATION_STYLES, operation_kind
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import CellGenotype, Genotype, KeptEdge
from darts_jax.spaces.published import PUBLISHED
from darts_jax.spaces.widths import LEAVE_OUT, TAKE

BENCHMARK = Genotype.from_nasbench201(
    "|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"
)
GENOTYPES = {**PUBLISHED, "NAS-Bench-201": BENCHMARK}
SHOWN = ("DARTS_V2", "NASNet", "NAS-Bench-201", "ProxylessNAS_GPU")

shown = pytest.mark.parametrize("name", SHOWN)


def operations(genotype):
    return sorted(c.operation for cell in genotype.cells.values() for c in cell.choices)


def boxes(figure):
    """The extents in pixels of every text inside the axes, titles excepted."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    return [
        [(t.get_text(), t.get_window_extent(renderer)) for t in axes.texts]
        for axes in figure.axes
    ]


@shown
def test_files_hold_the_whole_drawing(name, tmp_path):
    genotype = GENOTYPES[name]
    svg, png = save_drawing(genotype, tmp_path / "cell.v2")
    assert sorted(tmp_path.iterdir()) == [png, svg]
    assert (svg.name, png.name) == ("cell.v2.svg", "cell.v2.png")
    texts = ["".join(e.itertext()).strip() for e in ElementTree.parse(svg).iter()]
    written = Counter(text for text in texts if text in OPERATIONS)
    # An element and its parent may hold the same text, and so may the legend.
    assert written >= Counter(operations(genotype))
    assert set(written) == set(operations(genotype))
    with Image.open(png) as image:
        image.load()
        assert image.width > 400
        assert image.height > 300


def test_svg_is_deterministic(tmp_path):
    first, _ = save_drawing(PUBLISHED["DARTS_V2"], tmp_path / "first")
    second, _ = save_drawing(PUBLISHED["DARTS_V2"], tmp_path / "second")
    assert first.read_bytes() == second.read_bytes()
    assert b"<dc:date>" not in first.read_bytes()


@pytest.mark.parametrize("name", GENOTYPES)
def test_labels_are_disjoint_and_inside(name):
    figure = draw_genotype(GENOTYPES[name])
    labels = boxes(figure)
    assert operations(GENOTYPES[name]) == sorted(
        text for cell in labels for text, _ in cell if text in OPERATIONS
    )
    for cell in labels:
        for (one, a), (other, b) in itertools.combinations(cell, 2):
            assert not a.overlaps(b), (one, other)
    for _, extent in itertools.chain.from_iterable(labels):
        assert figure.bbox.x0 <= extent.x0
        assert extent.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= extent.y0
        assert extent.y1 <= figure.bbox.y1


@shown
def test_legend_fits_and_names_the_kinds(name):
    figure = draw_genotype(GENOTYPES[name])
    (legend,) = figure.legends
    renderer = FigureCanvasAgg(figure).get_renderer()
    extent = legend.get_window_extent(renderer)
    assert figure.bbox.x0 <= extent.x0
    assert extent.x1 <= figure.bbox.x1
    for axes in figure.axes:
        assert extent.y1 <= axes.get_window_extent(renderer).y0
    kinds = {operation_kind(operation) for operation in operations(GENOTYPES[name])}
    assert {text.get_text() for text in legend.texts} == kinds | {"output"}


def test_kinds_differ_in_greyscale():
    looks = [(style.dashes, style.width) for style in OPERATION_STYLES.values()]
    assert len(set(looks)) == len(OPERATION_STYLES)
    widths = get_space("mobile_small").cells["stage_2"].operations
    columns = TAKE, LEAVE_OUT
    tables = OPERATIONS, ACTIVATIONS, SEQUENCE_OPERATIONS, widths, columns
    every = {operation_kind(operation) for table in tables for operation in table}
    assert every == set(OPERATION_STYLES) - {"output"}


def test_sparse_cell_is_drawn():
    sparse = CellGenotype(2, (KeptEdge(4, 1, "skip_connect"),), (3, 4))
    (axes,) = draw_genotype(Genotype("none", {"sparse": sparse})).axes
    assert axes.get_title() == "sparse cell"
    assert "skip_connect" in [text.get_text() for text in axes.texts]


def test_cell_without_operations_is_drawn():
    figure = draw_genotype(Genotype("none", {"normal": CellGenotype(2, (), (1,))}))
    figure.savefig(io.BytesIO())


def test_path_names_the_format(tmp_path):
    draw_genotype(BENCHMARK, tmp_path / "cell.pdf")
    assert (tmp_path / "cell.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(InputError, match=r"cell\.doc"):
        draw_genotype(BENCHMARK, str(tmp_path / "cell.doc"))
    assert [path.name for path in tmp_path.iterdir()] == ["cell.pdf"]


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    svg, _ = save_drawing(BENCHMARK, tmp_path / "cell")
    before = svg.read_bytes()

    def full(self, target):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(InputError, match=r"cannot write .*disk full"):
        save_drawing(PUBLISHED["DARTS_V2"], tmp_path / "cell")
    assert svg.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"cell.svg", "cell.png"}
