"""The sentences at the head of the page follow from the scores by a rule."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.comparison import check
from harness.config import experiments
from harness.files import read_json
from harness.paths import ScaleFolder
from harness.records import results
from harness.report import charts, drawing, finding
from tests.comparison.test_check import autogan
from tests.comparison.test_tables import STAND_IN
from tests.paths import ROOT
from tests.records import score_trees


def curve(out: Path, experiment: str, points: dict[int, float], scorer: str = "tf", **changes: object) -> None:
    for nimg, fid in points.items():
        last = nimg == max(points)
        snapshot = "last" if last else str(nimg)
        run = {"snapshot": snapshot, "nimg": nimg, "planned_nimg": max(points), "partial": not last}
        score_trees.add(out, scorer, experiment=experiment, fid=fid, **run, **changes)


def train_on(out: Path, experiment: str, dataset: str, seed: int = 0) -> None:
    """Let a training's record name another data set; `score_trees.add` writes one anew, so call this after it."""
    path = ScaleFolder(out).train_record(experiment, seed)
    score_trees.edit(path, run=read_json(path)["run"] | {"dataset": dataset})


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Two curves that share 2,000 images, one point of a third model, and a control; the scorers disagree."""
    curve(tmp_path, "mini-transgan", {1000: 9.0, 2000: 5.0})
    curve(tmp_path, "mini-conv", {2000: 6.0, 4000: 2.0})
    curve(tmp_path, "mini-transgan", {1000: 9.0, 2000: 5.5}, "clean")
    curve(tmp_path, "mini-conv", {2000: 4.5, 4000: 2.5}, "clean")
    score_trees.add(tmp_path, experiment="t4-transgan-s", fid=1.0)
    score_trees.add(tmp_path, experiment="mini-untrained", nimg=0, planned_nimg=0, fid=20.0)
    return tmp_path


def test_best_and_worst_are_those_at_the_largest_shared_count(out: Path) -> None:
    (said,) = finding.findings(results.load(out))
    assert said.startswith("Trained on cifar10, at 2,000 images seen, the largest count that all these curves share: ")
    assert "mini-transgan has the lowest FID, 5.00, and mini-conv the highest, 6.00" in said
    assert "; the untrained control mini-untrained has 20.00" in said
    assert "50,000 samples against 50,000 train images of cifar10, 2048 channels; one seed each" in said
    assert "clean-fid gives 5.50, 4.50, and others in front: mini-conv is lowest, mini-transgan highest" in said


def test_seeds_are_averaged_and_counted(out: Path) -> None:
    for name, points in (("mini-transgan", {1000: 9.0, 2000: 7.0}), ("mini-conv", {2000: 8.0, 4000: 2.0})):
        curve(out, name, points, seed=1)
    (said,) = finding.findings(results.load(out))
    assert "lowest FID, 6.00, and mini-conv the highest, 7.00" in said
    assert "means of 2 seeds" in said


def test_curves_without_a_shared_count_are_not_ranked(tmp_path: Path) -> None:
    curve(tmp_path, "mini-transgan", {1000: 9.0, 2000: 5.0})
    curve(tmp_path, "mini-conv", {3000: 6.0, 4000: 2.0})
    assert finding.findings(results.load(tmp_path)) == [
        "The curves of models trained on cifar10 share no image count, so they are not ranked."
    ]


def test_models_trained_on_other_images_are_ranked_apart(out: Path) -> None:
    """Those on the data set of most models first; an untrained control with its own."""
    curve(out, "mini-1k-conv", {1000: 2.0, 2000: 1.0})
    train_on(out, "mini-1k-conv", "cifar10-1k")
    main, other = finding.findings(results.load(out), {"cifar10": 50_000, "cifar10-1k": 1000})
    assert main.startswith("Trained on cifar10 (50,000 images), at 2,000 images seen, the largest count ")
    assert "mini-transgan has the lowest FID, 5.00, and mini-conv the highest" in main
    assert "the untrained control mini-untrained has 20.00" in main
    assert "mini-1k-conv" not in main
    assert other == (
        "Trained on cifar10-1k (1,000 images), at 2,000 images seen: mini-1k-conv, the only curve, has FID 1.00 "
        "(scored alike; one seed each, so without an interval)."
    )
    train_on(out, "mini-untrained", "cifar10-1k")
    main, other = finding.findings(results.load(out))
    assert "untrained" not in main
    assert "the untrained control mini-untrained has 20.00" in other


def test_a_score_whose_training_is_not_known_counts_for_its_own_data_set(out: Path) -> None:
    ScaleFolder(out).train_record("mini-conv", 0).unlink()
    found = results.load(out).scores
    assert set(finding.trained_on(found)) == {"cifar10"}
    assert found["trained_on"].isna().any()


LINE = {"claim": "c", "contrast": "d", "says": "it helps", "smallest": 0.38, "whole": True, "images_seen": 1000}
LINE |= {"effect": 0.07, "low": -0.22, "high": 0.37, "verdict": "contradicted", "claim_verdict": "contradicted"}
LINE |= {"reason": "", "protocol": "p", "presumed": ""}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Contradicted at this scale: it helps: effect +0.07 (-0.22 to 0.37), more than 0.38 was needed: "
             "right sign, too small (protocol p)."),
        ({"effect": -0.1}, "Contradicted at this scale: it helps: effect -0.10 (-0.22 to 0.37), more than 0.38 was "
                           "needed: wrong sign or none (protocol p)."),
        ({"effect": -5.0, "low": -6.0, "high": -4.0, "smallest": -3.0}, "Contradicted at this scale: it helps: effect "
         "-5.00 (-6.00 to -4.00), more than -3 was needed (protocol p)."),
        ({"verdict": "supported", "claim_verdict": "supported", "smallest": -0.3}, "Supported at this scale: it helps: "
         "effect +0.07 (-0.22 to 0.37), more than -0.3 was needed (protocol p)."),
        ({"whole": False, "presumed": "T1/a; T1/b"}, "Contradicted at this scale: it helps: effect +0.07 "
         "(-0.22 to 0.37), more than 0.38 was needed: right sign, too small (protocol p; 0.38 presumes what nobody has "
         "seen in its source: T1/a and T1/b; all after 1,000 images, not whole runs)."),
    ],
)  # fmt: skip
def test_a_decided_claim_is_told_with_its_effect(changes: dict[str, Any], said: str) -> None:
    assert finding.answers(pd.DataFrame([LINE | changes])) == [said]


def test_of_several_contrasts_those_that_decide_are_named() -> None:
    undecided = {"contrast": "e", "verdict": "undecidable", "effect": None, "reason": "x: one seed"}
    (said,) = finding.answers(pd.DataFrame([LINE, LINE | undecided]))
    assert said.startswith("Contradicted at this scale: it helps: d: effect +0.07 ")
    assert said.count("effect") == 1


def test_undecidable_claims_are_counted_with_the_chief_reasons(tmp_path: Path) -> None:
    open_ = LINE | {"verdict": "undecidable", "claim_verdict": "undecidable"}
    reasons = {
        "a": ["not scored: x, y", "not scored: x, z"],
        "b": ["not scored: x", "mini-conv: one seed"],
        "f": ["mini-conv: one seed"],
        "g": ["", ""],
        "h": [""],
        "i": [""],
        "j": ["mini-conv: stand_in_data: drawn pictures; layer: 3"],
    }
    lines = [open_ | {"claim": claim, "reason": one} for claim, every in reasons.items() for one in every]
    frame = pd.DataFrame([LINE, *lines])
    said = finding.answers(frame)
    assert len(said) == 2
    assert said[1] == (
        "Undecidable at this scale: 7 of 8 claims (the interval holds what was needed: 3; rows not scored: 2; "
        "one seed: 2)."
    )
    frame.to_csv(tmp_path / "claims.csv", index=False)
    assert finding.answers(pd.read_csv(tmp_path / "claims.csv")) == said, "README reads the file"
    (said,) = finding.answers(frame[frame["claim"] == "j"])
    assert "(stand-in data: 1)" in said


def test_stand_ins_find_nothing(tmp_path: Path) -> None:
    drawn = {key: value for key, value in STAND_IN.items() if key not in ("experiment", "fid")}
    curve(tmp_path, "mini-transgan", {1000: 9.0, 2000: 5.0}, **drawn)
    assert finding.findings(results.load(tmp_path)) == [finding.STAND_INS]


def test_one_point_is_no_curve(tmp_path: Path) -> None:
    score_trees.add(tmp_path, experiment="mini-conv")
    assert finding.findings(results.load(tmp_path)) == [finding.NO_CURVE]


def test_scores_under_two_protocols_share_no_panel(tmp_path: Path) -> None:
    curve(tmp_path, "mini-transgan", {1000: 9.0, 2000: 5.0})
    curve(tmp_path, "mini-conv", {1000: 9.0, 2000: 5.0}, layer=768)
    found = finding.panels(results.load(tmp_path).scores)
    assert [set(panel.curves["experiment"]) for panel in found] == [{"mini-transgan"}, {"mini-conv"}]


def test_comparability_names_its_reasons(tmp_path: Path) -> None:
    scale, other = tmp_path / "a/results/test", tmp_path / "b/results/test"
    curve(scale, "mini-transgan", {1000: 9.0, 2000: 5.0}, layer=768)
    assert finding.comparability(check.check(score_trees.scale_of(scale))) == (
        "Nothing here can be compared with the paper's numbers: 768-channel features, no reported row, "
        "scored before the recipe's end."
    )
    said = finding.comparability(check.check(score_trees.scale_of(autogan(other, 12.4))))
    assert said == "6 of 8 comparisons with a reported number are possible: 6 within."


def test_a_model_has_one_colour_everywhere(out: Path) -> None:
    found = results.load(out)
    places = drawing.colour_indices(found.scores)
    assert places == {"mini-untrained": None, "mini-conv": 0, "mini-transgan": 1, "t4-transgan-s": 2}
    panels = charts.fid_charts(found, check_comparisons(found))
    assert [chart.name for chart in panels] == ["fid-cifar10-tf", "fid-cifar10-clean"]
    for chart in panels:
        for name, place in (("mini-conv", 0), ("mini-transgan", 1)):
            assert re.search(rf"fill: {drawing.LIGHT[place]}[^>]*>{name}</text>", chart.svg)
            assert re.search(rf"fill: var\(--m{place}\)[^>]*>{name}</text>", chart.inline)
        assert drawing.LIGHT[2] not in chart.svg


def test_no_two_of_thirty_models_look_alike() -> None:
    looks = {(one["color"], one["ls"], one["marker"]) for one in map(drawing.look, [None, *range(30)])}
    assert len(looks) == 31
    for place in range(22):
        assert drawing.look(place)["color"] == drawing.look(place + 8)["color"]
        assert drawing.look(place)["marker"] != drawing.look(place + 8)["marker"], "a scatter has no dashes"


def test_lines_to_thirty_names_do_not_cross(tmp_path: Path) -> None:
    """Right of the panel: the heights where they start and where they end are in the same order."""
    names = [name for name in experiments.load(ROOT) if "untrained" not in name][:30]
    rng = np.random.default_rng(0)
    for name in names:
        points = {1000: 9.0, int(rng.integers(2, 9)) * 1000: float(rng.uniform(1, 9))}
        curve(tmp_path, name, points)
    (panel,) = finding.panels(results.load(tmp_path).scores)
    assert panel.curves["experiment"].nunique() == 30
    drawn: list[Any] = []
    with drawing.figure(1, height=8) as (_, (axis,)):
        axis.set_ylim(0, 10)
        axis.set_xlim(0, 10)
        last = panel.curves[panel.curves["snapshot"] == "last"]
        points = last[["nimg", "fid", "experiment"]].itertuples(index=False)
        charts._direct_labels(axis, [(nimg / 1000, fid, name, "#000000") for nimg, fid, name in points])
        drawn = [(text.xy, text.xyann) for text in axis.texts]
        ends = {text.arrowprops["relpos"] for text in axis.texts}
    assert {x for (x, _), _ in drawn} == {1}, "from the border"
    assert ends == {(0, 0.5)}, "to where a name begins: to its middle, a line would strike out the names between"
    starts, ends_ = [y for (_, y), _ in drawn], [y for _, (_, y) in drawn]
    assert [ends_[i] for i in np.argsort(starts, kind="stable")] == sorted(ends_)
    assert min(np.diff(sorted(ends_))) > 0.01


def check_comparisons(found: results.Results):  # type: ignore[no-untyped-def]
    return found.scores.assign(metric="fid", blocking_fields=[("reported",)] * len(found.scores), reported=None)


def test_a_reported_value_is_drawn_where_protocols_allow(out: Path) -> None:
    found = results.load(out)
    able = check_comparisons(found).assign(blocking_fields=[()] * len(found.scores), reported=7.0)
    for comparisons, drawn in ((able, True), (check_comparisons(found), False)):
        panel = charts.fid_charts(found, comparisons)[0]
        assert ("mini-conv, reported" in panel.svg) is drawn


def test_the_interval_over_seeds_is_a_band(tmp_path: Path) -> None:
    for seed in (0, 1):
        curve(tmp_path, "mini-transgan", {n: 9.0 + seed - n / 1000 for n in (1000, 2000, 3000, 4000)}, seed=seed)
        found = results.load(tmp_path)
        (panel,) = charts.fid_charts(found, check_comparisons(found))
        if not seed:
            one_seed = panel
    several = panel
    assert "FID against images seen: mini-transgan from 8.50 to 5.50 at 4k" in several.svg
    assert several.title.startswith("Trained on cifar10: TensorFlow Inception, 50,000 samples")
    assert "Bands: 95 % interval" in several.svg
    assert "Bands" not in one_seed.svg


def test_labels_are_spread() -> None:
    """As little as can be: two that are too near part by as much on either side."""
    assert charts.spread([2.0, 2.2, 5.0], 1.0, 9.0) == pytest.approx([1.6, 2.6, 5.0])
    assert charts.spread([0.0], 1.0, 9.0) == [0.5]
    assert charts.spread([5.0, 4.9, 1.0], 1.0, 5.0) == pytest.approx([5.0, 4.0, 1.0])


@pytest.mark.parametrize("values", [[0.28, 0.57, 3.21], [12.1, 12.4], [3.0, 400.0], [0.0, 2.0]])
def test_an_axis_of_fids_shows_all_and_has_numbers(values: list[float]) -> None:
    with drawing.figure(1, height=3) as (_, (axis,)):
        low, high = drawing.logarithmic(axis, "y", values)
        assert axis.get_yscale() == "log"
        assert low < max(drawing.LEAST, min(values))
        assert high > max(values)
        assert len([tick for tick in axis.get_yticks() if low <= tick <= high]) >= 2


@pytest.mark.parametrize(("palette", "ground"), [(drawing.LIGHT, "#fefefe"), (drawing.DARK, "#19212c")])
def test_colours_can_be_read(palette: tuple[str, ...], ground: str) -> None:
    """At least 4.5 : 1 (WCAG 2.1, contrast of text, level AA)."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for colour in palette:
        high, low = sorted((luminance(colour), luminance(ground)), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, colour
