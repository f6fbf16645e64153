"""A scale under an overlay says so wherever its scores stand, and is not held against scores made without one."""

from pathlib import Path

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from harness.cli import group
from harness.comparison import check, history, tables
from harness.config import experiments
from harness.errors import HarnessError
from harness.report import page
from tests.comparison.test_check import autogan, scale
from tests.records import score_trees


def laid_over(out: Path, overlay: str) -> experiments.Scale:
    path = score_trees.scale_of(out).path
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"overlay": overlay}))
    scale = experiments.open_scale(path)
    score_trees.as_planned(scale)
    return scale


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return autogan(scale(tmp_path), 12.4)


@pytest.mark.parametrize("overlay", ["fast", ""])
def test_every_table_names_the_overlay(out: Path, overlay: str) -> None:
    found = laid_over(out, overlay)
    checked = check.check(found)
    files = tables.files(checked.measured, unverified=False) | check.files(checked)
    texts = {name: text for name, text in files.items() if name not in ("index.json", "tables/index.json", "junit.xml")}
    shown = ("pairing", "runs", "protocol", "scores", "comparisons", "verdicts", "claims", "summary")
    assert {name.split("/")[-1].split(".")[0] for name in texts} >= {*shown}
    for name, text in texts.items():
        assert ("overlay" in text) == bool(overlay), name
    for table in (*checked.tables, checked.listing(), checked.claims_table()):
        assert ("overlay" in table.frame) == bool(overlay), table.name
        assert table.title.endswith("(overlay: fast)") == bool(overlay), table.name
    measured = next(table.frame for table in checked.tables if table.name == "pairing")
    if overlay:
        by_row = dict(zip(measured["experiment"], measured["overlay"], strict=True))
        assert by_row == {"not run": "—", "t1-autogan-autogan": "fast"}
    assert ("OVERLAY fast: bfloat16" in page.write(found, checked).read_text()) == bool(overlay)


def test_what_was_recorded_without_an_overlay_judges_no_scores_under_one(out: Path) -> None:
    plain = laid_over(out, "")
    measured = tables.measure(plain).results.scores
    for setting in ("1 thread", "2 threads"):
        history.record(measured, plain.checkout.history, setting)
    kinds = {overlay: set(check.check(laid_over(out, overlay)).verdicts["kind"]) for overlay in ("", "fast")}
    assert "regression" in kinds[""]
    assert "regression" not in kinds["fast"]
    done = CliRunner().invoke(group, ["check", "--params", str(out), "--record", "1 thread"])
    assert isinstance(done.exception, HarnessError)
    assert "has the overlay 'fast'" in str(done.exception)
    assert len(pd.read_csv(plain.checkout.history)) == 2 * 6
