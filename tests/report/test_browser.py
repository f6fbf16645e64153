"""The report page in a real browser: nothing is missing, nothing is asked of a network, a phone can read it."""

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.comparison.test_check import autogan
from tests.comparison.test_tables import STAND_IN
from tests.paths import ROOT
from tests.records import score_trees
from tests.report.test_finding import curve
from tests.report.test_page import grid

pytestmark = pytest.mark.browser
NAMES = ("chromium", "chromium-browser", "google-chrome")
AXE = "HARNESS_AXE"  # path of axe-core's axe.min.js, which `npm install axe-core` brings
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: the dev extra has it")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"needs a browser on PATH: {', '.join(NAMES)}")
    sandbox = [] if os.geteuid() else ["--no-sandbox"]  # Chromium refuses to run as root with one
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=sandbox)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with all that it can hold: curves, seeds, verdicts, stand-ins, a control, samples."""
    from harness.comparison import check
    from harness.report import page

    out = tmp_path_factory.mktemp("browser") / "results" / "test"
    score_trees.add(out, **STAND_IN)
    whole = score_trees.length_of("mini-conv")  # a shorter run would shorten the scale, and so what it plans
    for seed in (0, 1):
        curve(out, "mini-conv", {whole // 2: 6.0 + seed, whole: 2.0 + seed}, seed=seed, layer=768)
    score_trees.add(out, experiment="mini-untrained", nimg=0, planned_nimg=0, fid=20.0, layer=768)
    autogan(out, 12.4)
    grid(out / "records/mini-conv/seed0/last/grid.png")
    grid(out / "records/quick-cifar10-transgan/seed0/last/grid.png")
    scale = score_trees.scale_of(out)
    made = page.write(scale, check.check(scale))
    assert "pill good" in made.read_text()
    return made


@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_opens_without_a_fault(browser: Any, report: Path, viewport: dict[str, int], scheme: str) -> None:
    page = browser.new_page(viewport=viewport, color_scheme=scheme)
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: faults.append(request.url) if request.url.startswith("http") else None)
    page.goto(report.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
    assert faults == []
    images = page.eval_on_selector_all("img", "all => all.map((one) => one.naturalWidth)")
    assert len(images) == 2
    assert all(images)
    assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
    heights = page.eval_on_selector_all("table, svg", "all => all.map((one) => one.getBoundingClientRect().height)")
    assert len(heights) > 10
    assert min(heights) > 20
    page.close()


def test_the_finding_is_on_the_first_screen(browser: Any, report: Path) -> None:
    page = browser.new_page(viewport=PHONE)
    page.goto(report.as_uri())
    box = page.locator(".finding").first.bounding_box()
    assert box["y"] + box["height"] < PHONE["height"]
    page.close()


def test_the_score_table_sorts_with_the_keyboard(browser: Any, report: Path) -> None:
    page = browser.new_page(viewport=DESK)
    page.goto(report.as_uri())

    table = page.locator("table.sortable").first

    def values() -> list[str]:
        found = table.locator("tbody tr").evaluate_all("all => all.map((row) => row.cells[3].dataset.value)")
        return [value for value in found if value]

    button = table.locator("th button", has_text="FID, TF")
    button.focus()
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("FID, TF")
    rising = [float(value) for value in values()]
    assert rising == sorted(rising)
    assert len(set(rising)) > 1
    page.keyboard.press("Enter")
    assert [float(value) for value in values()] == rising[::-1]
    page.close()


def test_headings_are_in_order_and_tables_are_labelled(browser: Any, report: Path) -> None:
    page = browser.new_page(viewport=DESK)
    page.goto(report.as_uri())
    levels = page.eval_on_selector_all("h1, h2, h3, h4, h5, h6", "all => all.map((one) => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert page.locator("table:not(:has(caption))").count() == 0
    assert page.locator("th:not([scope])").count() == 0
    assert page.locator("svg:not(:has(title)), svg:not(:has(desc)), img:not([alt])").count() == 0
    page.close()


SMALLEST = """
all => all.map((svg) => {
  const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
  const sizes = [...svg.querySelectorAll("text")].map((one) => parseFloat(getComputedStyle(one).fontSize));
  return scale * Math.min(...sizes);
})"""


def test_a_phone_shows_the_dot_plot_with_letters_of_11_pixels(browser: Any, report: Path) -> None:
    page = browser.new_page(viewport=PHONE)
    for place in (report, ROOT / "results/mini/report/index.html"):
        page.goto(place.as_uri())
        sizes = page.eval_on_selector_all('#curves svg[aria-labelledby^="fid-"]', SMALLEST)
        assert sizes
        assert min(sizes) >= 11
    page.close()


OVERLAPS = """
all => all.flatMap((svg) => {
  const boxes = [...svg.querySelectorAll("text")].map((one) => [one.textContent, one.getBoundingClientRect()]);
  const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3;  // a box has room above and below its letters
  return boxes.flatMap(([text, box], i) => boxes.slice(i + 1).filter((o) => meet(box, o[1])).map((o) => [text, o[0]]));
})"""


def test_no_two_texts_of_a_figure_overlap(browser: Any, report: Path) -> None:
    page = browser.new_page(viewport=DESK)
    page.goto(report.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
    assert page.locator("svg text").count() > 20
    assert page.eval_on_selector_all("svg", OVERLAPS) == []
    page.close()


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core."""
    place = Path(os.environ.get(AXE) or ROOT / "node_modules/axe-core/axe.min.js")
    if not place.is_file():
        pytest.skip(f"needs axe-core: `npm install axe-core`, or {AXE}=FILE (its axe.min.js)")
    return place.read_text(encoding="utf-8")


@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("scale", ["test", "mini", "short"])
def test_axe_finds_nothing_serious(
    browser: Any, report: Path, axe: str, viewport: dict[str, int], scheme: str, scale: str
) -> None:
    """On a page with all that there can be, and on those that are published."""
    place = report if scale == "test" else ROOT / f"results/{scale}/report/index.html"
    page = browser.new_page(viewport=viewport, color_scheme=scheme)
    page.goto(place.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
    page.evaluate(axe)
    found = page.evaluate("axe.run()")
    assert len(found["passes"]) > 20, "it looked"
    grave = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert not grave, [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in grave]
    page.close()
