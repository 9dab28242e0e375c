"""Pictures hold what they were given, can be told apart and say what they show."""

import io
import itertools

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny import ragged_space

from darts_jax.analysis import curves
from darts_jax.analysis.agreement import plot_agreement
from darts_jax.analysis.alphas import plot_alpha, plot_heatmap
from darts_jax.analysis.draw import draw_genotype, draw_supernet
from darts_jax.analysis.front import pareto, plot_front
from darts_jax.analysis.scatter import draw_scatter
from darts_jax.analysis.style import (
    COLORS,
    line_look,
    picture_bytes,
    renderer_of,
    svg_text,
    text_of,
)
from darts_jax.bilevel.discretization import softmax_weights
from darts_jax.errors import InputError
from darts_jax.spaces import get_space
from darts_jax.spaces.published import get_genotype

COLUMNS = {
    "loss": (2.3, 0.4),
    "accuracy": (0.1, 0.9),
    "held_out_accuracy": (0.1, 0.8),
    "discretized_accuracy": (0.1, 0.3),
    "discretization_gap": (0.0, 0.5),
    "entropy": (1.0, 0.4),
    "skips": (0, 5),
    "skip_share": (0.12, 0.4),
    "gradient_norm": (0.1, 0.2),
}


def history(epochs=6, **columns):
    rows = {name: np.linspace(*ends, epochs) for name, ends in COLUMNS.items()}
    return pd.DataFrame({"epoch": range(1, epochs + 1), **rows, **columns})


def weights(space, epochs=4, seed=0):
    rng = np.random.default_rng(seed)
    return {
        kind: np.stack(
            [softmax_weights(cell, rng.normal(size=cell.shape)) for _ in range(epochs)]
        )
        for kind, cell in space.cells.items()
    }


def drawn(figure):
    return {
        axes.get_title(): {line.get_label(): line.get_ydata() for line in axes.lines}
        for axes in figure.axes
    }


def test_curves_are_the_columns_in_their_units():
    frame = history()
    panels = drawn(curves.plot_accuracies(frame))
    lines = panels["Accuracy of the supernet"]
    assert len(lines) == 3
    np.testing.assert_allclose(
        lines["validation half"], 100 * frame["held_out_accuracy"]
    )
    loss = drawn(curves.plot_losses(frame))["Loss"]
    np.testing.assert_allclose(loss["training half"], frame["loss"])


def test_an_overview_has_a_frame_for_all_that_was_recorded():
    shown = drawn(curves.plot_overview(history()))
    assert {"Loss", "Skip connections", "Entropy of the edges"} <= set(shown)
    assert not any("eigenvalue" in title for title in shown)
    sparse = history(eigenvalue=[np.nan, 0.2, np.nan, 0.4, np.nan, np.nan])
    (line,) = drawn(curves.plot_eigenvalue(sparse)).values()
    np.testing.assert_allclose(line["eigenvalue"], [0.2, 0.4])


def test_what_was_not_recorded_is_told_with_what_would_record_it():
    with pytest.raises(InputError, match="eigenvalue_every asks for it"):
        curves.plot_eigenvalue(history())
    with pytest.raises(InputError, match="its table is at hand"):
        curves.plot_truth(history())


def test_seeds_of_a_run_are_a_mean_and_a_band():
    frames = [
        history(run=name, seed=seed).assign(loss=lambda f, s=seed, k=k: f.loss + s + k)
        for k, name in enumerate(("one", "other"))
        for seed in (0, 1, 5)
    ]
    figure = curves.plot_losses(pd.concat(frames))
    (axes,) = [axes for axes in figure.axes if axes.lines]
    single = history()["loss"]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), single + 2)
    np.testing.assert_allclose(axes.lines[1].get_ydata(), single + 3)
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert np.isclose(band.min(), single.min())
    assert np.isclose(band.max(), single.max() + 5)


def luminance(color):
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_lines_can_be_told_apart_without_colour():
    looks = [line_look(number) for number in range(8)]
    dashes = [look["linestyle"][1] for look in looks]
    assert len(set(dashes)) == 8
    shades = sorted(luminance(color) for color in COLORS)
    assert shades[-1] < 190  # readable on white


def every_picture():
    darts, ragged = get_space("darts"), ragged_space()
    rng = np.random.default_rng(0)
    points = pd.DataFrame({"cost": rng.random(9), "accuracy": rng.random(9)})
    truth = 80 + 10 * rng.random(50)
    last = {kind: each[-1] for kind, each in weights(darts).items()}
    yield curves.plot_overview(history())
    yield curves.plot_skips(pd.concat([history(run="a"), history(run="b")]))
    yield plot_alpha(ragged, weights(ragged))
    yield plot_heatmap(ragged, {k: w[-1] for k, w in weights(ragged).items()})
    yield plot_front(points, "cost", "accuracy")
    yield plot_agreement(np.eye(3), ["a", "b", "c"])
    yield draw_scatter(rng.random(50), truth, "truth")
    yield draw_genotype(get_genotype("DARTS_V1"))
    yield draw_supernet(darts, last)


@pytest.mark.parametrize("number", range(9))
def test_every_picture_says_what_it_shows_and_shows_itself(number):
    figure = next(itertools.islice(every_picture(), number, None))
    assert len(text_of(figure)) > 30
    bundle = figure._repr_mimebundle_()
    with Image.open(io.BytesIO(bundle["image/png"])) as image:
        assert image.width > 200
    assert bundle["text/plain"] == text_of(figure)
    assert svg_text(figure).startswith("<svg")


def test_frames_of_edges_stand_by_source_and_target():
    space = ragged_space()
    given = weights(space)
    figure = plot_alpha(space, given)
    frames = [axes for axes in figure.axes if axes.get_title()]
    assert [f.get_title() for f in frames] == [
        "0 → 2",
        "0 → 3",
        "1 → 2",
        "1 → 3",
        "2 → 3",
    ]
    cell = space.cells["normal"]
    for number, edge in enumerate(cell.edges):
        (frame,) = [
            f for f in frames if f.get_title() == f"{edge.source} → {edge.target}"
        ]
        assert len(frame.lines) == len(edge.operations)
        for column, line in enumerate(frame.lines):
            np.testing.assert_array_equal(
                line.get_ydata(), given["normal"][:, number, column]
            )


def test_a_heat_map_has_a_number_for_every_operation_and_no_other():
    space = ragged_space()
    last = {kind: each[-1] for kind, each in weights(space).items()}
    figure = plot_heatmap(space, last)
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    given = last["normal"]
    assert sorted(texts) == sorted(f"{w:.2f}" for w in given[given >= 0])


def test_stronger_edges_of_a_supernet_are_drawn_thicker():
    space = get_space("nasbench201")
    cell = space.cells["normal"]
    strong = np.full(cell.shape, 0.2)
    strong[3] = [0.05, 0.05, 0.05, 0.8, 0.05]
    figure = draw_supernet(space, {"normal": strong})
    texts = [t.get_text() for axes in figure.axes for t in axes.texts]
    assert "nor_conv_3x3 0.80" in texts
    widths = sorted(
        patch.get_linewidth()
        for axes in figure.axes
        for patch in axes.patches
        if type(patch).__name__ == "PathPatch"
    )
    assert widths[-1] > 3
    assert widths[-2] < 1.5


def test_pareto_is_that_of_brute_force():
    rng = np.random.default_rng(1)
    cost, accuracy = rng.integers(0, 6, 40), rng.integers(0, 6, 40)
    expected = [
        not any(
            cost[j] <= cost[i]
            and accuracy[j] >= accuracy[i]
            and (cost[j] < cost[i] or accuracy[j] > accuracy[i])
            for j in range(40)
        )
        for i in range(40)
    ]
    assert pareto(cost, accuracy).tolist() == expected


def test_names_of_a_front_do_not_overlap():
    rng = np.random.default_rng(2)
    points = pd.DataFrame(
        {
            "million multiply-accumulates": rng.random(25) * 0.3,
            "accuracy, %": 90 + rng.random(25),
            "name": [f"network {i}" for i in range(25)],
            "group": ["searched", "random"] * 12 + ["searched"],
        }
    )
    figure = plot_front(
        points, "million multiply-accumulates", "accuracy, %", "name", "group"
    )
    renderer = renderer_of(figure)
    texts = figure.axes[0].texts
    boxes = [text.get_window_extent(renderer) for text in texts]
    assert len(boxes) > 5
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    with pytest.raises(InputError, match="no architectures"):
        plot_front(points[:0], "accuracy, %", "accuracy, %")


def test_bytes_are_the_same_each_time():
    one, other = (curves.plot_overview(history()) for _ in range(2))
    assert picture_bytes(one, "svg", 100) == picture_bytes(other, "svg", 100)
