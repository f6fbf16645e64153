"""The report page: whole, static, honest about stand-ins."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.comparison import check
from harness.config.experiments import Scale
from harness.data import seal
from harness.errors import HarnessError
from harness.files import write_json, write_npy
from harness.records import results
from harness.report import page, pictures
from tests.comparison.test_check import autogan
from tests.comparison.test_tables import STAND_IN
from tests.records import score_trees


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def grid(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(10 * 34 + 2, 10 * 34 + 2, 3)).save(path)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "results" / "test"
    score_trees.add(folder, **STAND_IN)
    records = folder / "records" / "quick-cifar10-transgan" / "seed0"
    grid(records / "last" / "grid.png")
    for nimg in (0, 500, 1000, 1500, 2000):
        grid(records / "train" / "grids" / f"{nimg:09d}.png")
    for snapshot, nimg in (("1000", 1000), ("2000", 2000)):
        score_trees.add(folder, experiment="cpu-sngan", snapshot=snapshot, nimg=nimg, planned_nimg=2000, layer=768)
    grid(folder / "records" / "cpu-sngan" / "seed0" / "2000" / "grid.png")
    score_trees.add(folder, experiment="t4-transgan-s", fid=30.0)
    autogan(folder, 12.4)
    return folder


@pytest.fixture(scope="module")
def scale(out: Path) -> Scale:
    return score_trees.scale_of(out)


@pytest.fixture(scope="module")
def checked(scale: Scale) -> check.Checked:
    return check.check(scale)


@pytest.fixture(scope="module")
def data(out: Path) -> Path:
    folder = out.parent.parent / "data"
    for name in ("standin-cifar10", "cifar10"):
        write_npy(folder / name / "train.npy", noise(50, 32, 32, 3))
        write_json(folder / name / "card.json", seal({"count": 50, "resolution": 32, "labels": False}))
    return folder


@pytest.fixture(scope="module")
def html(scale: Scale, checked: check.Checked, data: Path) -> str:
    return page.write(scale, checked).read_text(encoding="utf-8")


def test_the_page_asks_nobody_for_anything(html: str) -> None:
    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert sources
    assert all(s.startswith(("data:image/png;base64,", "#")) or s == "real-cifar10.png" for s in sources)
    assert "<script" not in html
    assert "@import" not in html
    assert "url(http" not in html


def test_the_page_is_well_formed(html: str) -> None:
    class Tags(HTMLParser):
        void = ("meta", "img", "path", "use", "br", "rect")

        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []

        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in self.void:
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            if tag not in self.void:
                assert self.open.pop() == tag

    tags = Tags()
    tags.feed(html)
    assert tags.open == []


def test_stand_ins_are_loud(html: str) -> None:
    alarm = html.split('role="alert"')[1].split("</div>")[0]
    assert "STAND-IN DATA" in alarm
    assert "STAND-IN INCEPTION" in alarm
    assert "768-channel layer" in alarm
    rows = [row.split("</tr>")[0] for row in html.split("<tr>") if "quick-cifar10-transgan" in row.split("</tr>")[0]]
    assert sum('<span class="flag">STAND-IN DATA, STAND-IN INCEPTION</span>' in row for row in rows) == 2
    assert sum("not-comparable (stand_in_data, stand_in_inception, no reported row)" in row for row in rows) == 2
    assert not any("pill good" in row for row in rows)


def test_verdicts_have_their_colours(html: str) -> None:
    assert '<span class="pill good">within (presumed)</span>' in html
    assert '<span class="pill none">insufficient-runs (presumed)</span>' in html
    assert '<span class="pill absent">not run</span>' in html


@pytest.mark.parametrize(
    ("words", "css"),
    [
        ("within", "good"),
        ("within (presumed)", "good"),
        ("near (presumed)", "fair"),
        ("outside", "bad"),
        ("too-good", "odd"),
        ("within to outside (presumed)", "range"),
        ("within to near", "range"),
        ("not-comparable (layer, n_fake)", "none"),
        ("insufficient-runs", "none"),
        ("not run", "absent"),
        ("within + not-comparable (fid)", "none"),
        ("within (presumed; declared: split)", "good"),
    ],
)
def test_colour_of_a_verdict(words: str, css: str) -> None:
    assert page.verdict_class(words) == css


def test_nothing_but_a_verdict_of_within_is_green() -> None:
    green = [name for name, css in page.VERDICT_CLASSES.items() if css == "good"]
    assert green == ["within"]


def test_samples_stand_beside_real_images_and_training_steps(html: str) -> None:
    block = html.split('id="samples"')[1].split(">standin-cifar10")[1].split("</section>")[0]
    assert "drawn training images" in block
    captions = re.findall(r"<figcaption>([\d.]+k?) images seen</figcaption>", block)
    assert captions == ["0", "500", "1.5k", "2k"]
    assert block.count("<img") == 6


def test_pixels_of_a_data_set_lie_beside_the_page_not_in_it_unless_they_are_drawn(out: Path, html: str) -> None:
    assert [path.name for path in (out / "report").glob("*.png")] == ["real-cifar10.png"]
    assert html.count("data:image/png") == html.count("<img") - 1


def test_real_images_that_are_not_here_are_missed_aloud(
    scale: Scale, checked: check.Checked, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "real_images", lambda folder: None)
    assert "were not on the machine" in page.write(scale, checked).read_text(encoding="utf-8")


def test_curves_are_drawn_with_fid_on_the_way(html: str) -> None:
    assert html.count("<svg") == 3  # losses of both data sets, FID of the run with two snapshots
    assert "FID on the way, cifar10" in html
    assert "cpu-sngan" in html.split("FID on the way, cifar10")[1].split("</svg>")[0]


def test_the_same_input_gives_the_same_page(scale: Scale, checked: check.Checked, html: str) -> None:
    assert page.write(scale, checked).read_bytes() == page.write(scale, checked).read_bytes()


def test_a_run_is_partial_only_if_its_training_is(out: Path, checked: check.Checked, tmp_path: Path) -> None:
    """Whole runs with scores on the way are not named; a training cut short is."""
    assert "PARTIAL RUNS" not in " ".join(page.warnings(checked.measured.results))
    score_trees.add(tmp_path, experiment="cpu-sngan", nimg=1000, planned_nimg=2000)
    score_trees.add(tmp_path, experiment="cpu-transgan", snapshot="1000", nimg=1000, planned_nimg=2000)
    train = tmp_path / "records" / "cpu-transgan" / "seed0" / "train" / "train.json"
    train.write_text(train.read_text().replace('"nimg": 1000', '"nimg": 2000'))
    assert page.cut_short(results.load(tmp_path)) == ["cpu-sngan"]


def test_a_grid_of_released_weights_is_shown_by_its_name(tmp_path: Path) -> None:
    grid(tmp_path / "train" / "grids" / "imported.png")
    assert [step["caption"] for step in page._steps(tmp_path)] == ["imported"]


def test_text_is_escaped() -> None:
    import pandas as pd

    from harness.comparison.table_formats import Table

    view = page.view(Table("t", "T", pd.DataFrame({"model": ["<b>&"]})))
    context = {
        "scale": "s",
        "warnings": [],
        "counts": [],
        "n_scores": 0,
        "n_runs": 0,
        "verdicts": view,
        "galleries": [],
        "charts": [],
        "measured": [],
        "papers": [],
        "provenance": [],
    }
    assert "&lt;b&gt;&amp;" in page.render(context)


def test_a_picture_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "grid.png").write_text("no picture")
    with pytest.raises(HarnessError, match=r"grid\.png: not a readable picture"):
        pictures.samples(tmp_path / "grid.png")


def test_real_and_sampled_grids_have_one_layout(data: Path, tmp_path: Path) -> None:
    """Ten columns, borders of two pixels, four rows, as `harness.sampling.grid` draws them."""
    import base64
    import io

    from harness.sampling.grid import grid_png

    def size(uri: str | None) -> tuple[int, int]:
        assert uri is not None
        return Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).size

    grid_png(noise(100, 32, 32, 3), tmp_path / "grid.png")
    real = pictures.real_images(data / "standin-cifar10")
    assert real is not None
    assert Image.open(io.BytesIO(real)).size == size(pictures.samples(tmp_path / "grid.png"))
