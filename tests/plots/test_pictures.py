"""Pictures: what they hold is what was measured, told twice and without overlap."""

import html
import io
import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from PIL import Image

from darts_jax.analysis.measures import MEASURES, find_measure
from darts_jax.analysis.pareto import pareto_front
from darts_jax.bilevel.discretization import softmax_weights
from darts_jax.errors import InputError
from darts_jax.plots.agreement import plot_agreement
from darts_jax.plots.alphas import plot_alpha, plot_heatmap
from darts_jax.plots.cells import draw_genotype, draw_supernet
from darts_jax.plots.curves import plot_curves
from darts_jax.plots.front import plot_front
from darts_jax.plots.heatmap import SHADES
from darts_jax.plots.scatter import draw_scatter
from darts_jax.plots.style import (
    img_tag,
    operation_styles,
    place_apart,
    save_pictures,
    series_style,
    svg_text,
)
from darts_jax.spaces import get_space
from darts_jax.spaces.published import PUBLISHED
from tests.support.tiny import ragged_space, tiny_space

EPOCHS = 12
PLOTS = ("losses", "accuracies", "entropy", "skips", "eigenvalue", "gap", "truth")
COLUMN = {
    "losses": "loss",
    "accuracies": "accuracy",
    "entropy": "entropy",
    "skips": "skips",
    "eigenvalue": "eigenvalue",
    "gap": "discretization_gap",
    "truth": "benchmark_accuracy",
}


def history(seed=0):
    """An epoch a row, with all that a search may record."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"epoch": np.arange(1, EPOCHS + 1)})
    for column in MEASURES:
        frame[column] = rng.uniform(0.1, 0.9, EPOCHS)
    frame["skips"] = rng.integers(0, 8, EPOCHS)
    frame["entropy"] = np.linspace(1.0, 0.31, EPOCHS)
    frame["benchmark_accuracy"] = rng.uniform(60, 94, EPOCHS)
    rare = np.where(frame["epoch"] % 4 == 0, frame["eigenvalue"], np.nan)
    # As read from JSON: None where it was not measured.
    frame["eigenvalue"] = [None if np.isnan(v) else v for v in rare]
    return frame


def several(names, seeds=1):
    frames = [
        history(10 * i + seed).assign(run=name, seed=seed)
        for i, name in enumerate(names)
        for seed in range(seeds)
    ]
    return pd.concat(frames, ignore_index=True)


def curves_of(axes):
    """The lines that stand for data, by their label."""
    return {
        line.get_label(): line
        for line in axes.lines
        if not line.get_label().startswith("_")
    }


class Text(str):
    """Text that is written, and whether it is tilted."""

    def __new__(cls, artist):
        text = super().__new__(cls, artist.get_text())
        text.tilt = artist.get_rotation()
        return text


def texts(figure):
    """Every text that is drawn, with its extent in pixels."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    found = [*figure.texts]
    for legend in figure.legends:
        found += legend.texts
    for axes in figure.axes:
        found += [*axes.texts, axes.title, axes._left_title, axes.xaxis.label]
        if axes.axison:
            found += [*tick_labels(axes.xaxis), *tick_labels(axes.yaxis)]
    found = [artist for artist in found if artist.get_text().strip()]
    return [(Text(a), a.get_window_extent(renderer)) for a in found]


def tick_labels(axis):
    low, high = sorted(axis.get_view_interval())
    for tick in axis.get_major_ticks():
        if low <= tick.get_loc() <= high:
            yield from (t for t in (tick.label1, tick.label2) if t.get_visible())


def assert_readable(figure):
    """No text on another, none beyond the figure."""
    found = texts(figure)
    assert found
    for text, extent in found:
        assert figure.bbox.x0 - 1 <= extent.x0, text
        assert extent.x1 <= figure.bbox.x1 + 1, text
        assert figure.bbox.y0 - 1 <= extent.y0, text
        assert extent.y1 <= figure.bbox.y1 + 1, text
    for (one, a), (other, b) in itertools.combinations(found, 2):
        if one.tilt and other.tilt and abs(a.y0 - b.y0) < 1:
            # Their boxes meet, they are parallel: it is their lines that count.
            assert (b.x0 - a.x0) * np.sin(np.pi / 4) > 1.3 * 8 / 72 * figure.dpi
            continue
        # A pixel of air in a letter's box is no overlap.
        overlap = a.intersection(a, b)
        assert overlap is None or min(overlap.width, overlap.height) <= 1, (one, other)


def logits(space, epochs=EPOCHS):
    rng = np.random.default_rng(1)
    steps = {k: rng.normal(size=(epochs, *c.shape)) for k, c in space.cells.items()}
    return {kind: np.cumsum(values, axis=0) * 0.4 for kind, values in steps.items()}


def softmax(values):
    powers = np.exp(values - values.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


@pytest.mark.parametrize(("score", "unit"), [("accuracy", "points"), ("rmse", "")])
def test_a_gap_has_the_unit_of_the_scores(score, unit):
    columns = ["epoch", f"held_out_{score}", f"discretized_{score}"]
    figure = plot_curves("gap", history()[[*columns, "discretization_gap"]])
    title = figure.axes[0].get_title(loc="left")
    assert title == "Discretisation gap" + (f", {unit}" if unit else "")


@pytest.mark.parametrize("name", PLOTS)
def test_lines_are_the_history(name):
    own = history()
    figure = plot_curves(name, own)
    measure = find_measure(COLUMN[name], own.columns)
    known = own[own[COLUMN[name]].notna()]
    line = figure.axes[0].lines[0]
    np.testing.assert_array_equal(line.get_xdata(), known["epoch"])
    expected = known[COLUMN[name]].astype(float) * measure.scale
    np.testing.assert_allclose(np.asarray(line.get_ydata(), float), expected)
    assert measure.format(expected.iloc[-1]) in figure.get_label()
    assert_readable(figure)


def test_entropy_is_told_in_a_sentence():
    label = plot_curves("entropy", history()).get_label()
    assert label == f"Entropy falls from 1.00 to 0.31 over {EPOCHS} epochs."


@pytest.mark.parametrize("name", PLOTS)
def test_a_missing_measure_is_an_input_error(name):
    wanted = COLUMN[name]
    other = "loss" if wanted != "loss" else "entropy"
    for frame in (history()[["epoch", other]], history().assign(**{wanted: None})):
        lone = frame[["epoch", other] + ([wanted] if wanted in frame else [])]
        with pytest.raises(InputError, match=f"no {wanted}"):
            plot_curves(name, lone)


def test_eigenvalue_error_names_the_setting():
    with pytest.raises(InputError, match="eigenvalue_every"):
        plot_curves("eigenvalue", history().drop(columns="eigenvalue"))


def test_runs_differ_in_colour_and_dashes_and_are_named():
    names = ["darts", "gdas", "pc_darts", "snas"]
    figure = plot_curves("truth", several(names))
    lines = curves_of(figure.axes[0])
    assert list(lines) == names
    assert len({line.get_color() for line in lines.values()}) == len(names)
    looks = {str(line._unscaled_dash_pattern) for line in lines.values()}
    assert len(looks) == len(names)
    told = " ".join(text for text, _ in texts(figure))
    assert all(name in told and name in figure.get_label() for name in names)
    assert_readable(figure)


@pytest.mark.parametrize(
    "names", [["a"], ["a", "b"], ["a rather long name, of it", "b"]]
)
def test_overview_has_all_panels_and_is_readable(names):
    own = several(names)
    figure = plot_curves("overview", own)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [find_measure(column, own.columns).title for column in MEASURES]
    assert_readable(figure)


def test_runs_that_end_alike_keep_their_names_apart():
    frames = [history().assign(run=f"run {i}") for i in range(11)]
    figure = plot_curves("entropy", pd.concat(frames))
    assert_readable(figure)
    assert "11 runs" in figure.get_label()


def test_seeds_are_a_mean_and_a_band():
    frame = several(["a", "b"], seeds=4)
    (axes,) = plot_curves("entropy", frame.assign(entropy=frame["loss"])).axes
    own = frame[frame["run"] == "b"].pivot(index="epoch", columns="seed", values="loss")
    np.testing.assert_allclose(curves_of(axes)["b"].get_ydata(), own.mean(axis=1))
    band = axes.collections[1].get_paths()[0].vertices
    at_third = band[np.isclose(band[:, 0], 3), 1]
    spreads = own.loc[3].mean() + np.std(own.loc[3], ddof=1) * np.array([-1, 1])
    np.testing.assert_allclose([at_third.min(), at_third.max()], spreads)
    thin = [line for line in axes.lines if line.get_linewidth() == 0.6]
    assert len(thin) == 8


def test_of_an_epoch_told_twice_the_last_counts():
    frame = pd.concat([history(1), history(2)], ignore_index=True)
    line = plot_curves("losses", frame[["epoch", "loss"]]).axes[0].lines[0]
    np.testing.assert_array_equal(line.get_ydata(), history(2)["loss"])


def test_one_epoch_is_drawn():
    figure = plot_curves("overview", history().head(1))
    assert_readable(figure)
    assert (
        "is 1.00 after 1 epoch" in plot_curves("entropy", history().head(1)).get_label()
    )


@pytest.mark.parametrize("space", [tiny_space(), ragged_space()], ids=lambda s: s.name)
def test_alpha_panels_hold_softmaxed_weights(space):
    alpha = logits(space)
    figure = plot_alpha(space, alpha)
    (cell,) = space.cells.values()
    assert len(figure.axes) == len(cell.edges)
    for e, (edge, axes) in enumerate(zip(cell.edges, figure.axes, strict=True)):
        assert axes.get_title(loc="left") == f"{edge.source} -> {edge.target}"
        count = len(edge.operations)
        expected = softmax(alpha["normal"][:, e, :count])
        drawn = curves_of(axes)
        assert tuple(drawn) == edge.operations
        for o, operation in enumerate(edge.operations):
            np.testing.assert_allclose(drawn[operation].get_ydata(), expected[:, o])
    assert_readable(figure)


def test_pruned_operations_weigh_nothing():
    space = tiny_space()
    alpha = logits(space)
    alpha["normal"][5:, 0, 1] = -np.inf
    line = plot_alpha(space, alpha).axes[0].lines[1]
    assert (line.get_ydata()[5:] == 0).all()
    assert line.get_ydata()[4] > 0


@pytest.mark.parametrize("name", ["ragged", "darts", "nasbench201"])
def test_heatmap_tells_the_last_weights(name):
    space = ragged_space() if name == "ragged" else get_space(name)
    alpha = logits(space, 3)
    figure = plot_heatmap(space, alpha)
    assert_readable(figure)
    for (kind, cell), axes in zip(space.cells.items(), figure.axes, strict=True):
        told = {tuple(t.get_position()): t.get_text() for t in axes.texts}
        assert len(told) == sum(len(edge.operations) for edge in cell.edges)
        for e, edge in enumerate(cell.edges):
            weights = softmax(alpha[kind][-1, e, : len(edge.operations)])
            for weight, operation in zip(weights, edge.operations, strict=True):
                column = cell.operations.index(operation)
                assert told[column + 0.5, e + 0.5] == f"{weight:.2f}"


@pytest.mark.parametrize(
    ("name", "kind", "count"), [("darts", "normal", 8), ("mobile_small", "stage_2", 8)]
)
def test_operations_differ_without_colour(name, kind, count):
    styles = operation_styles(get_space(name).cells[kind].operations)
    looks = [(s.dashes, s.marker, s.width) for s in styles.values()]
    assert len(set(looks)) == len(looks) == count


def test_series_differ_without_colour_and_with():
    looks = [series_style(i) for i in range(7)]
    assert len({look.dashes for look in looks}) == 7
    assert len({look.color for look in looks}) == 7
    assert (
        len({(series_style(i).color, series_style(i).dashes) for i in range(49)}) == 49
    )


def test_shades_rise_in_grey():
    grey = [
        np.dot(to_rgb(SHADES(shade)), [0.299, 0.587, 0.114])
        for shade in np.linspace(0, 1, 20)
    ]
    assert np.all(np.diff(grey) > 0)


def networks(count):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "parameters, M": rng.uniform(1, 5, count),
            "accuracy, %": rng.uniform(90, 95, count),
            "name": [f"network {i}" for i in range(count)],
            "group": np.where(np.arange(count) % 2, "searched", "random"),
        }
    )


@pytest.mark.parametrize("count", [1, 12, 80])
def test_front_labels_lie_on_nothing(count):
    points = networks(count)
    figure = plot_front(points, "parameters, M", "accuracy, %", "name")
    assert_readable(figure)
    (axes,) = figure.axes
    written = {text.get_text() for text in axes.texts}
    assert written <= set(points["name"])
    assert count > 12 or len(written) == count
    dots = [c for c in axes.collections if len(c.get_offsets())]
    shown = axes.transData.transform(np.concatenate([c.get_offsets() for c in dots]))
    assert len(shown) == count
    for text, extent in texts(figure):
        if text in written:
            assert not any(extent.contains(*place) for place in shown), text


def test_front_is_a_line_of_steps_and_groups_are_marks():
    points = networks(12)
    figure = plot_front(points, "parameters, M", "accuracy, %", "name")
    (axes,) = figure.axes
    cost, accuracy = points["parameters, M"], points["accuracy, %"]
    best = points[pareto_front(cost, accuracy)].sort_values("parameters, M")
    line = axes.lines[0]
    assert line.get_drawstyle() == "steps-post"
    # It goes on to where the dearest of all is, at the height of its own last point.
    known = best["parameters, M"].to_list(), best["accuracy, %"].to_list()
    assert cost.max() > known[0][-1]
    np.testing.assert_array_equal(line.get_xdata(), [*known[0], cost.max()])
    np.testing.assert_array_equal(line.get_ydata(), [*known[1], known[1][-1]])
    (legend,) = figure.legends
    assert {t.get_text() for t in legend.texts} == {
        "searched",
        "random",
        "Pareto front",
    }
    marks = {c.get_paths()[0].vertices.tobytes() for c in axes.collections}
    assert len(marks) == 2
    assert best["name"].iloc[0] in figure.get_label()


def test_front_without_a_column_is_an_input_error():
    with pytest.raises(InputError, match="no column latency"):
        plot_front(networks(3), "latency", "accuracy, %", "name")


@pytest.mark.parametrize("names", ["abcd", ["one rather long name", "b", "c", "d"]])
def test_agreement_has_a_number_for_each_pair(names):
    shares = np.array(
        [
            [1.0, 0.25, 0.5, np.nan],
            [0.25, 1.0, 0.75, np.nan],
            [0.5, 0.75, 1.0, np.nan],
            [np.nan] * 4,
        ]
    )
    figure = plot_agreement(shares, list(names))
    assert_readable(figure)
    (axes,) = figure.axes
    told = {tuple(t.get_position()): t.get_text() for t in axes.texts}
    assert len(told) == 9
    assert told[1.5, 2.5] == "0.75"
    assert "0.50 of their choices" in figure.get_label()
    with pytest.raises(InputError, match="3 labels of 4"):
        plot_agreement(shares, list("abc"))


@pytest.mark.parametrize("name", ["darts", "nasbench201"])
def test_supernet_has_every_edge_with_its_strongest(name):
    space = get_space(name)
    weights = {k: softmax(v[-1]) for k, v in logits(space).items()}
    figure = draw_supernet(space, weights)
    assert_readable(figure)
    for (kind, cell), axes in zip(space.cells.items(), figure.axes, strict=True):
        best = weights[kind].argmax(-1)
        expected = sorted(
            f"{edge.operations[i]} {weights[kind][e, i]:.2f}"
            for e, (edge, i) in enumerate(zip(cell.edges, best, strict=True))
        )
        told = sorted(t.get_text() for t in axes.texts if "_" in t.get_text()[1:])
        told = [text for text in told if not text.startswith("$")]
        none = [t.get_text() for t in axes.texts if t.get_text().startswith("none")]
        assert sorted(told + none) == expected


@pytest.mark.parametrize("name", ["mobile_small", "fbnet"])
def test_chains_are_drawn_as_other_cells_are(name):
    space = get_space(name)
    alpha = logits(space, 3)
    last = {k: softmax_weights(c, alpha[k][-1]) for k, c in space.cells.items()}
    for figure in (plot_alpha(space, alpha), plot_heatmap(space, alpha)):
        assert_readable(figure)
    figure = draw_supernet(space, last)
    assert_readable(figure)
    assert len(figure.axes) == len(space.cells)


def test_stronger_edges_are_thicker_and_darker():
    space = tiny_space()
    shares = np.full(space.cells["normal"].shape, 0.1)
    shares[:, 1] = 0.2, 0.5, 0.7
    (axes,) = draw_supernet(space, {"normal": shares}).axes
    edges = [p for p in axes.patches if type(p).__name__ == "PathPatch"][:3]
    assert [p.get_linewidth() for p in edges] == sorted(
        {p.get_linewidth() for p in edges}
    )
    assert edges[0].get_alpha() < edges[1].get_alpha() <= edges[2].get_alpha()


def test_scatter_and_genotype_have_alternatives_and_room():
    rng = np.random.default_rng(0)
    truth = rng.uniform(60, 94, 200)
    title = "NAS-Bench-201, cifar10 test after 200 epochs, mean over its seeds"
    figure = draw_scatter(truth / 100, truth, title)
    assert "Kendall tau 1.00" in figure.get_label()
    assert_readable(figure)
    label = draw_genotype(PUBLISHED["DARTS_V2"]).get_label()
    assert "5 sep_conv_3x3" in label


def test_alternative_is_the_title_of_the_svg(tmp_path):
    figure = plot_curves("entropy", history())
    svg, png = save_pictures(figure, tmp_path / "entropy")
    assert f"<title>{figure.get_label()}</title>" in svg.read_text()
    assert png.stat().st_size > 5000
    assert svg_text(figure) == svg_text(plot_curves("entropy", history()))
    figure.savefig(io.BytesIO())


def test_a_picture_shows_itself_in_a_notebook():
    figure = plot_curves("losses", history())
    bundle = figure._repr_mimebundle_()
    assert bundle["text/plain"] == figure.get_label()
    with Image.open(io.BytesIO(bundle["image/png"])) as image:
        assert image.width > 300
    assert html.escape(figure.get_label()) in img_tag(figure)


def test_spread_keeps_distances_and_bounds():
    places = place_apart([0.9, 0.95, 1.0], [0.2] * 3, 0.0, 1.0)
    np.testing.assert_allclose(places, [0.6, 0.8, 1.0])
    assert place_apart([0.0, 5.0], [1.0, 1.0]) == [0.0, 5.0]
