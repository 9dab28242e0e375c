"""Reports: pages that any browser reads, of whatever a run directory holds."""

import dataclasses
import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pytest

import darts_jax
from darts_jax.cli.main import main
from darts_jax.errors import InputError
from tests.support.small_runs import config, images

pytestmark = pytest.mark.usefixtures("tiny")

HOSTILE = "</pre></svg><script>alert(1)</script><img src='http://x.test/'>&quot;\"$x$_{"

# Pages


def searched(place, **settings):
    """A search and its retraining, seconds in all."""
    sizes = {"cells": 1, "channels": 2, "epochs": 1, "batch_size": 8, "cutout": 0}
    small = {f"retrain.{name}": value for name, value in sizes.items()}
    quiet = {"retrain.drop_path": 0.0, "retrain.auxiliary_weight": 0.0}
    made = config(**small, **quiet, **settings)
    return made, darts_jax.search(made, place, images())


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Directories: retrained and scored, plain, other settings."""
    place = tmp_path_factory.mktemp("runs")
    counted = {"baseline.random_genotypes": 1}
    made, _ = searched(place / "whole", **counted, **{"data.pad": 0})
    darts_jax.retrain(made, place / "whole", dataset=images())
    for name, seed in (("plain", 1), ("other", 2)):
        searched(place / name, seed=seed)
    truth = np.linspace(80, 90, 30)
    accuracy = np.linspace(0.2, 0.6, 30)[np.random.default_rng(0).permutation(30)]
    np.savez(place / "whole" / "scores.npz", accuracy=accuracy, truth=truth)
    told = {"kendall": 0.1, "spearman": 0.2, "regret": {"1": 2.5, "10": 0.5}}
    told |= {"epoch": 2, "paths": 30, "truth": "made up", "protocol": "made up"}
    (place / "whole" / "scores.json").write_text(json.dumps(told))
    return place


@pytest.fixture(scope="module")
def written(runs):
    """Name -> a page: of a search, of three, and of a run that means ill."""
    hostile = runs / "<b>ill & 'well'"
    shutil.copytree(runs / "whole", hostile)
    poison(hostile)
    pages = {
        "one": darts_jax.report(runs / "whole", dataset=images()),
        "three": darts_jax.report(
            [runs / n for n in ("whole", "plain", "other")],
            runs / "three.html",
            images(),
        ),
        "hostile": darts_jax.report(hostile, dataset=images()),
    }
    assert pages["one"] == runs / "whole" / "report.html"
    return pages


def poison(run):
    """Puts markup wherever a run directory has text."""
    for name in ("versions.json", "summary.json", "scores.json"):
        path = run / name
        path.write_text(json.dumps(poisoned(json.loads(path.read_text()))))
    by_class = json.loads((run / "evaluation.json").read_text())
    by_class["data"] = HOSTILE
    for one in by_class["classes"]:
        one["name"] = HOSTILE
    (run / "evaluation.json").write_text(json.dumps(by_class))
    settings = json.loads((run / "config.json").read_text())
    settings["data"]["name"] = settings["data"]["directory"] = HOSTILE
    (run / "config.json").write_text(json.dumps(settings))


KEPT = {"operations", "space", "edges", "name", "output", "inputs", "cells"}


def poisoned(tree, key=""):
    if isinstance(tree, dict):
        kept = {k: poisoned(v, k) if k not in KEPT else v for k, v in tree.items()}
        return kept | {HOSTILE: HOSTILE} if key in ("search", "retrain") else kept
    return HOSTILE if isinstance(tree, str) else tree


class Tags(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    handle_startendtag = handle_starttag


def test_pages_hold_all_they_need_and_no_more(written):
    for path in written.values():
        page = path.read_text()
        assert len(page) < 3e6
        tags = Tags(page).found
        ids = Counter(a["id"] for _, a in tags if "id" in a)
        assert ids
        assert max(ids.values()) == 1
        pointed = re.findall(r"url\(#([^)]*)\)", page)
        pointed += [a["href"][1:] for _, a in tags if a.get("href", "#")[0] == "#" != ""
                    and "href" in a]  # fmt: skip
        assert set(pointed) <= set(ids)
        assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in tags}
        loads = [v for _, a in tags for k, v in a.items() if k in ("src", "href")]
        loads += [a["xlink:href"] for _, a in tags if "xlink:href" in a]
        assert all(v.startswith(("#", "data:image/png;base64,")) for v in loads)


def test_nothing_in_a_run_is_markup(written):
    page = written["hostile"].read_text()
    assert "<script" not in page
    assert "http://x.test" in page
    assert "<img" not in page
    assert "&lt;b&gt;ill &amp; &#39;well&#39;</h1>" in page
    plain = Counter(tag for tag, _ in Tags(written["one"].read_text()).found)
    ill = Counter(tag for tag, _ in Tags(page).found)
    assert set(ill) <= set(plain) | {"p", "pre", "h3"}


def test_a_page_says_what_was_found(written):
    page = written["one"].read_text()
    assert "one random cell trained alike" in page
    assert "tau over 30 paths is 0.10" in page
    titles = ["Verdict", "Cells", "Supernet against truth", "Beside random cells"]
    for title in (*titles, "Results by class"):
        assert f">{title}</h2>" in page
    three = written["three"].read_text()
    assert "Not known" in three
    assert "Where their settings differ" in three
    assert all(f">{name}<" in three for name in ("whole", "plain", "other"))


def test_what_is_not_there_is_told(runs, tmp_path):
    place = tmp_path / "partly"
    shutil.copytree(runs / "plain", place)
    for name in ("genotype.json", "genotype.png", "metrics.jsonl"):
        (place / name).unlink()
    page = darts_jax.report(place, tmp_path / "page.html", images()).read_text()
    assert "unfinished, 2 of 2" in page
    assert "No epoch" in page
    assert "darts-jax retrain" in page  # what would make it known
    assert "Not known" in page
    both = [place, runs / "plain"]
    assert darts_jax.report(both, tmp_path / "both.html", images()).exists()


def without_numbers(run, epoch=2, value=np.nan):
    """Writes a value into a stored alpha; where its file is."""
    place = run / "architecture" / f"epoch_{epoch:04d}.npz"
    with np.load(place) as stored:
        alpha = {kind: stored[kind] for kind in stored.files}
    alpha["normal"][1, 1] = value
    np.savez(place, **alpha)
    return place


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_parameters_that_are_no_numbers_are_told(runs, tmp_path, capsys, value):
    run = tmp_path / "run"
    shutil.copytree(runs / "plain", run)
    place = without_numbers(run, value=value)
    with pytest.raises(InputError, match="are NaN or infinite"):
        darts_jax.select(run, "best_of_policy", dataset=images())
    for rule in ("argmax", "two_strongest"):
        assert main(["select", str(run), "--rule", rule]) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert f"of the normal cell in {place} are NaN or infinite" in told
    assert main(["select", str(run), "--rule", "argmax", "--epoch", "1"]) == 0
    page = darts_jax.report(run, dataset=images()).read_text()
    assert "Are its architecture parameters numbers?" in page
    assert "After epoch 2 of 2 they are NaN or infinite" in page
    assert "Weights of every edge" not in page
    both = darts_jax.report([run, runs / "other"], tmp_path / "b.html", images())
    assert "After epoch 2 of 2 they are NaN or infinite" in both.read_text()
    found = darts_jax.load_run(run)
    for plot in (found.plot_alpha, found.plot_heatmap, found.draw_supernet):
        with pytest.raises(InputError, match="NaN or infinite"):
            plot()


def test_parameters_that_become_no_numbers_end_a_search(tmp_path):
    """The loss of random paths does not depend on them, and stays finite."""
    start = {"search.architecture.init_scale": 3e38}
    made = config(1, **{"search.relaxation": "uniform_one_hot"}, **start)
    with pytest.raises(InputError, match="normal cell after epoch 1 are NaN"):
        darts_jax.search(made, tmp_path / "run", images())


def test_a_network_without_a_search_has_a_page(runs, tmp_path):
    shutil.copytree(runs / "whole", tmp_path / "only")
    shutil.rmtree(tmp_path / "only" / "architecture")
    versions = json.loads((runs / "whole" / "versions.json").read_text())
    del versions["search"]
    (tmp_path / "only" / "versions.json").write_text(json.dumps(versions))
    page = darts_jax.report(tmp_path / "only", dataset=images()).read_text()
    assert "There is no search in this directory" in page
    assert "--genotype" in page


def test_a_population_has_a_page(tmp_path):
    grid = {"seed": [0, 1], "search.architecture.learning_rate": [0.1]}
    darts_jax.population(config(1), grid, tmp_path / "p", images())
    page = darts_jax.report(tmp_path / "p", dataset=images()).read_text()
    assert "2 searches that ran side by side" in page
    assert "--grid seed=0,1 " in page
    assert "--grid search.architecture.learning_rate=0.1 " in page


def test_no_run_no_page(runs, tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert f"no run in {tmp_path}" in capsys.readouterr().err
    shutil.copytree(runs / "whole", tmp_path / "a")
    for damaged in ("{", "[]", '{"kendall": "much"}'):
        (tmp_path / "a" / "scores.json").write_text(damaged)
        with pytest.raises(InputError, match="is damaged"):
            darts_jax.report(tmp_path / "a", dataset=images())
    with pytest.raises(InputError, match="nothing to report on"):
        darts_jax.report([])


# In a browser


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium, of the system: nothing is downloaded."""
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="Selenium, which opens the page, is not installed"
    )
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("no Chromium with its driver here: chromium, chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage"):
        options.add_argument(f"--{argument}")
    options.set_capability(
        "goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"}
    )
    service = webdriver.chrome.service.Service(driver)
    opened = webdriver.Chrome(options, service)
    yield opened
    opened.quit()


@dataclasses.dataclass(frozen=True)
class Seen:
    """Results of a browser that opens a page."""

    widths: dict[int, tuple[int, int]]
    console: list[str]
    requests: list[str]
    levels: list[int]
    unnamed: int
    pictures: int
    broken: list[str]


LOOK = """
const all = (s) => [...document.querySelectorAll(s)];
const named = (e) => (e.getAttribute('aria-label') || e.alt || '').trim();
const pictures = all('svg, img');
return {
  levels: all('h1, h2, h3, h4, h5, h6').map((h) => Number(h.tagName[1])),
  unnamed: pictures.filter((e) => !named(e) || e.getAttribute('role') != 'img').length,
  pictures: pictures.length,
  broken: all('a').map((a) => a.getAttribute('href'))
    .filter((h) => !h || h[0] != '#' || !document.getElementById(h.slice(1))),
}
"""


@pytest.fixture(scope="module")
def seen(browser, written):
    """Name of a page -> what the browser makes of it."""
    return {name: look(browser, path) for name, path in written.items()}


def look(browser, path):
    widths = {}
    for width in (360, 1280):
        size = {"width": width, "height": 800, "deviceScaleFactor": 1}
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {**size, "mobile": width < 500}
        )
        browser.get(path.as_uri())
        widths[width] = browser.execute_script(
            "return [document.documentElement.scrollWidth, window.innerWidth]"
        )
    events = [
        json.loads(e["message"])["message"] for e in browser.get_log("performance")
    ]
    requests = [
        e["params"]["request"]["url"]
        for e in events
        if e["method"] == "Network.requestWillBeSent"
    ]
    console = [e["message"] for e in browser.get_log("browser")]
    found = browser.execute_script(LOOK)
    return Seen(widths, console, requests, **found)


def test_a_browser_loads_the_page_and_nothing_else(seen, written):
    for name, page in seen.items():
        assert page.console == []
        outside = {u for u in page.requests if not u.startswith("data:")}
        assert outside == {written[name].as_uri()}


def test_pages_fit_a_telephone(seen):
    for page in seen.values():
        for content, window in page.widths.values():
            assert content <= window
        assert page.widths[360][1] == 360


def test_pages_can_be_heard(seen):
    for page in seen.values():
        assert page.pictures >= 5
        assert page.unnamed == 0
        assert page.broken == []
        assert page.levels.count(1) == 1
        assert page.levels[0] == 1
        steps = np.diff(page.levels)
        assert steps.max() <= 1
