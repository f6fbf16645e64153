"""The report page: whole, static, honest about stand-ins."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from harness.comparison import check, field_worth
from harness.comparison.table_formats import NONE, Table
from harness.config import experiments
from harness.config.experiments import Scale, open_scale
from harness.errors import HarnessError
from harness.files import sha256_file, write_text
from harness.paths import ScaleFolder
from harness.records import results
from harness.report import charts, page, pictures
from harness.sampling.grid import grid_png
from tests.comparison.test_check import autogan
from tests.comparison.test_field_worth import RECORD, WITHOUT_LOGITS
from tests.comparison.test_tables import STAND_IN
from tests.paths import ROOT
from tests.records import score_trees
from tests.report.test_finding import curve, train_on


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
        score_trees.add(folder, experiment="mini-conv", snapshot=snapshot, nimg=nimg, planned_nimg=2000, layer=768)
    grid(folder / "records" / "mini-conv" / "seed0" / "2000" / "grid.png")
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
def html(scale: Scale, checked: check.Checked) -> str:
    return page.write(scale, checked).read_text(encoding="utf-8")


def test_the_head_counts_seeds_a_model(tmp_path: Path) -> None:
    for seed in (0, 1):
        score_trees.add(tmp_path, experiment="mini-conv", seed=seed)
    assert ("Seeds", "2 each") in page.facts("mini", results.load(tmp_path))
    score_trees.add(tmp_path, experiment="mini-transgan", seed=4)
    assert ("Seeds", "1 to 2 each") in page.facts("mini", results.load(tmp_path))


def test_the_page_asks_nobody_for_anything(out: Path, html: str) -> None:
    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert sources
    beside = {path.name for path in (out / "report").glob("*.svg")}
    assert all(s.startswith(("data:", "#")) or s in beside for s in sources)
    assert "<script src" not in html
    assert "@import" not in html
    assert "url(http" not in html


def test_no_pixel_of_a_data_set_is_in_the_page_or_beside_it(out: Path, html: str) -> None:
    assert {path.suffix for path in (out / "report").iterdir()} == {".html", ".svg"}
    assert html.count("data:image/png") == html.count("<img") == html.count('alt="16 samples of ')


def test_the_page_is_well_formed(html: str) -> None:
    class Tags(HTMLParser):
        void = ("meta", "img", "path", "use", "br", "rect", "link")

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
    alarm = html.split('class="alarm"')[1].split("</div>")[0]
    assert "STAND-IN DATA" in alarm
    assert "STAND-IN INCEPTION" in alarm
    assert "768-channel layer" in alarm
    rows = [row.split("</tr>")[0] for row in html.split("<tr>") if "quick-cifar10-transgan" in row.split("</tr>")[0]]
    flags = "STAND-IN DATA, STAND-IN INCEPTION, average holds 43 % of the first weights"
    assert sum(f'<span class="flag">{flags}</span>' in row for row in rows) == 2
    assert sum("not-comparable (stand_in_data, stand_in_inception, no reported row)" in row for row in rows) == 2
    assert not any("pill good" in row for row in rows)


def test_verdicts_have_their_colours(html: str) -> None:
    assert '<span class="pill good">within (presumed)</span>' in html
    assert '<span class="pill none">insufficient-runs (presumed)</span>' in html
    assert "not run<" not in html, "those rows are apart, without a verdict"


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


def test_samples_are_shown_early_in_the_middle_and_at_the_end(html: str) -> None:
    section = html.split('id="samples"')[1].split("</section>")[0]
    block = section.split("quick-cifar10-transgan")[1].split("<h3>")[0]
    assert re.findall(r"<figcaption>([\d.]+k?) images seen</figcaption>", section)[-3:] == ["256", "1k", "2k"]
    assert "<details" in section.split("quick-cifar10-transgan")[0], "stand-in data are folded"
    assert ", trained on standin-cifar10, seed 0" in block


def test_samples_name_the_data_set_that_was_trained_on(tmp_path: Path) -> None:
    """Not the one that they were scored against; those on the data set of most models come first."""
    for name, nimg in (("mini-1k-conv", 9), ("mini-conv", 9), ("mini-untrained", 0)):
        score_trees.add(tmp_path, experiment=name, nimg=nimg, planned_nimg=nimg)
        grid(tmp_path / f"records/{name}/seed0/last/grid.png")
    train_on(tmp_path, "mini-1k-conv", "cifar10-1k")
    rows = pictures.rows(ScaleFolder(tmp_path), results.load(tmp_path).scores)
    assert [(row["experiment"], row["trained_on"], row["untrained"]) for row in rows] == [
        ("mini-conv", "cifar10", False),
        ("mini-untrained", "cifar10", True),
        ("mini-1k-conv", "cifar10-1k", False),
    ]


def test_the_first_screen_answers_the_question(scale: Scale, checked: check.Checked, html: str) -> None:
    """Claims first, then how the models rank."""
    head = html.split("</header>")[0]
    assert head.index("Undecidable at this scale: ") < head.index("Trained on cifar10-16 (50,000 images), at ")
    assert "<h3>Claims</h3>" in html, "some of them the paper does not make"


def test_figures_lie_beside_the_page_and_in_it(out: Path, html: str) -> None:
    names = sorted(path.name for path in (out / "report").glob("*.svg"))
    assert names == ["fid-cifar10-tf.svg", "losses-cifar10-16.svg", "losses-cifar10.svg", "losses-standin-cifar10.svg"]
    assert html.count("<svg") == html.count("</desc>") == 4
    panel = (out / "report" / "fid-cifar10-tf.svg").read_text()
    assert "trained on cifar10-16: mini-conv 14.30 at 2k, 14.30 at 1k" in panel
    assert "t4-transgan-s" not in panel, "one point is no curve"


def test_the_same_input_gives_the_same_page(scale: Scale, checked: check.Checked, html: str) -> None:
    first = {path.name: path.read_bytes() for path in page.write(scale, checked).parent.iterdir()}
    (scale.folder.report / "fid-gone.svg").write_text("of an earlier page")
    assert {path.name: path.read_bytes() for path in page.write(scale, checked).parent.iterdir()} == first


def test_a_run_is_partial_only_if_its_training_is(out: Path, checked: check.Checked, tmp_path: Path) -> None:
    """Whole runs with scores on the way are not named; a training cut short is."""
    assert "PARTIAL RUNS" not in " ".join(page.warnings(checked.measured.results))
    score_trees.add(tmp_path, experiment="mini-conv", nimg=1000, planned_nimg=2000)
    score_trees.add(tmp_path, experiment="mini-transgan", snapshot="1000", nimg=1000, planned_nimg=2000)
    train = tmp_path / "records" / "mini-transgan" / "seed0" / "train" / "train.json"
    score_trees.edit(train, nimg=2000, partial=False, recipe={"length_nimg": 2000})
    assert page.cut_short(results.load(tmp_path)) == ["mini-conv"]


def test_what_protocol_fields_are_worth_has_a_section_where_it_was_measured(
    scale: Scale, checked: check.Checked, html: str
) -> None:
    assert "What each protocol field is worth" not in html, "this checkout has no such record"
    assert "#fields" not in html
    rows = [page.view(field_worth.table(record)) for record in (WITHOUT_LOGITS, RECORD)]
    made = page.render(page.context(scale, checked, []) | {"fields": rows})
    assert 'href="#fields"' in made
    part = made.split('<section id="fields">')[1].split("</section>")[0]
    assert re.findall(r"<h([23])>(.*?)</h", part) == [
        ("2", "What each protocol field is worth"),
        ("3", "trunk Inception at 768 channels"),
        ("3", f"stand-in Inception at 2048 channels{field_worth.STAND_IN}"),
    ]
    assert part.count("<caption") == part.count("<table") == 2
    assert '<th scope="col" class="num">FID</th>' in part
    assert '<td class="num">+50.00%</td>' in part
    assert "snapshot last (16,000 images of tiny seen)" in part


def test_what_tests_verified_stands_at_the_foot(scale: Scale, checked: check.Checked, html: str) -> None:
    assert "claims about this code are verified" not in html, "this checkout has no recorded test run"
    rows = [("it adds up", True), ("it is <fast>", False)]
    made = page.render(page.context(scale, checked, []) | {"claims_verified": rows})
    foot = made.split('id="provenance"')[1]
    assert "1 of 2 claims about this code are verified" in foot
    assert (
        '<th scope="row" class="long">it is &lt;fast&gt;</th><td><span class="pill none">? not yet</span></td>' in foot
    )


def thirty(folder: Path, points: dict[int, float]) -> None:
    """30 models with samples of noise, which no format packs, and histories as long as those of the paper's recipes."""
    picture = io.BytesIO()
    Image.fromarray(noise(4 * 34 + 2, 4 * 34 + 2, 3)).save(picture, "PNG")
    counts = np.arange(1, 1001) * 10_000
    losses = np.random.default_rng(0).normal(size=(len(counts), 2))
    lines = "\n".join(f"{n},{one:.6f},{other:.6f}" for n, (one, other) in zip(counts, losses, strict=True))
    for name in [name for name in experiments.load(ROOT) if score_trees.length_of(name) > 0][:30]:
        curve(folder, name, points)
        training = ScaleFolder(folder).training(name, 0)
        write_text(training.history, f"nimg,discriminator_loss,generator_loss\n{lines}\n")
        score_trees.edit(training.record, history_sha256=sha256_file(training.history))
        training.grids.mkdir()
        for nimg in (500, 1000, 2000):
            (training.grids / f"{nimg:09d}.png").write_bytes(picture.getvalue())


def test_samples_and_losses_of_thirty_models_fit_a_page(tmp_path: Path) -> None:
    thirty(tmp_path, {2000: 5.0})
    found = results.load(tmp_path)
    rows = pictures.rows(ScaleFolder(tmp_path), found.scores)
    assert [len(row["pictures"]) for row in rows] == [3] * 30
    assert {one["alt"].split()[0] for row in rows for one in row["pictures"]} == {"4"}, "as many as there is room for"
    (losses,) = charts.loss_charts(found)
    assert "Of 1,000 points of a training each 8 neighbours are averaged." in losses.caption
    embedded = sum(len(one["uri"]) for row in rows for one in row["pictures"])
    assert embedded + len(losses.inline) < 2_000_000, "a third is left for tables and curves"


@pytest.mark.slow
def test_a_page_with_thirty_models_stays_below_3_mb(tmp_path: Path) -> None:
    thirty(tmp_path / "results" / "test", {1000: 9.0, 2000: 5.0})
    scale = score_trees.scale_of(tmp_path / "results" / "test")
    made = page.write(scale, check.check(scale))
    assert made.stat().st_size < 3_000_000
    assert made.read_text(encoding="utf-8").count('alt="4 samples of ') == 90


def test_text_is_escaped(scale: Scale, checked: check.Checked) -> None:
    context = page.context(scale, checked, [])
    assert "&lt;b&gt;&amp;" in page.render(context | {"findings": ["<b>&"]})


def test_a_picture_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "grid.png").write_text("no picture")
    with pytest.raises(HarnessError, match=r"grid\.png: not a readable picture"):
        pictures.samples(tmp_path / "grid.png", 32)


@pytest.mark.parametrize(("most", "size"), [(16, (8 * 34 + 2, 2 * 34 + 2)), (4, (4 * 34 + 2, 34 + 2))])
def test_samples_are_cut_from_a_grid(tmp_path: Path, most: int, size: tuple[int, int]) -> None:
    """They are the first samples, with the borders that `harness.sampling.grid` draws."""
    images = noise(100, 32, 32, 3)
    grid_png(images, tmp_path / "grid.png")
    uri = pictures.samples(tmp_path / "grid.png", 32, most)
    with Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))) as image:
        assert image.size == size
        assert np.array_equal(np.asarray(image)[2:34, 2:34], images[0])
        assert np.array_equal(np.asarray(image)[-34:-2, -34:-2], images[most - 1])


@pytest.mark.parametrize("columns", [8, 10])
def test_a_grid_may_have_as_many_columns_as_it_likes_but_no_other_size(tmp_path: Path, columns: int) -> None:
    images = noise(64, 16, 16, 3)
    grid_png(images, tmp_path / "grid.png", columns)
    uri = pictures.samples(tmp_path / "grid.png", 16)
    with Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))) as image:
        assert np.array_equal(np.asarray(image)[2:18, -18:-2], images[7])
        assert np.array_equal(np.asarray(image)[-18:-2, -18:-2], images[15])
    with pytest.raises(HarnessError, match="pixels are no grid of samples of 32"):
        pictures.samples(tmp_path / "grid.png", 32)


def test_rows_that_were_not_measured_are_counted_and_folded(html: str) -> None:
    papers = html.split('id="paper"')[1].split("</section>")[0]
    assert "reported rows not measured at this scale</summary>" in papers
    assert "Reported, and not measured at this scale" in papers


def test_published_figures_are_those_of_the_published_records() -> None:
    """README shows one of them."""
    measured = check.check(open_scale(ROOT / "results/mini/params.yaml")).measured
    drawn = charts.every(measured.results, measured.comparisons)
    published = {path.stem: path.read_text() for path in (ROOT / "results/mini/report").glob("*.svg")}
    assert published == {chart.name: chart.svg for chart in drawn}


def test_what_cannot_be_compared_is_folded_and_counted(scale: Scale, checked: check.Checked, html: str) -> None:
    shown = page.context(scale, checked, [])
    barred = int((checked.verdicts["verdict"] == "not-comparable").sum())
    assert len(shown["verdicts"]["rows"]) == len(checked.verdicts) - barred > 0
    section = html.split('id="verdicts"')[1].split("</section>")[0]
    open_part, folded = section.split("What cannot be compared")
    assert folded.startswith(f"<span>{barred} rows</span>")
    assert "not-comparable" in folded
    assert 'pill none">not-comparable' not in open_part


def test_a_note_stands_once(scale: Scale, checked: check.Checked, html: str) -> None:
    shown = page.context(scale, checked, [])
    notes = [table["note"] for table in shown["papers"] + shown["unmeasured"] if table["note"]]
    assert len(notes) > 1
    assert html.count("A question mark: presumed, as the source does not say.") == 1
    twice = [{"rows": [1], "note": "Of all. 2 of this table are hidden."}] * 2
    assert [one["note"] for one in page._noted_once(twice)] == [twice[0]["note"], "2 of this table are hidden."]


def test_numbers_and_their_headings_are_on_one_side() -> None:
    table = Table("t", "", pd.DataFrame({"model": ["a", "b"], "FID": ["12.42", NONE], "experiment": ["x", "y"]}))
    made = page.view(table)
    assert made["numeric"] == ["FID"]
    assert [row[1]["css"] for row in made["rows"]] == ["num", "num"]
    settings = page.view(
        Table("t", "", pd.DataFrame({"field": ["n", "q"], "says": ["400", "float"], "FID": ["+1%", "+2%"]}))
    )
    assert settings["numeric"] == ["FID"]
    assert [row[1]["css"] for row in settings["rows"]] == ["", ""]


def test_scorers_are_held_against_each_other_where_both_scored(out: Path, checked: check.Checked) -> None:
    assert charts.scorer_charts(checked.measured.results) == [], "nothing was scored by clean-fid"
    found = check.check(open_scale(ROOT / "results/mini/params.yaml")).measured.results
    fewer, published = charts.scorer_charts(found)
    assert [fewer.name, published.name] == ["scorers-cifar10-16", "scorers-cifar10-16-2"]
    models = found.scores[found.scores["scorer"] == "clean"]["experiment"].nunique()
    assert f"{models} models and snapshots by both scorers" in published.caption
    assert published.title.endswith("2,000 samples against 10,000 train images of cifar10-16, 768 channels")
