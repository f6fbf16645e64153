"""A miniature's score stands beside the row that it stands for, and is compared with nothing."""

from pathlib import Path

import pytest

from harness.comparison import check, tables
from harness.comparison.table_formats import Table, markdown
from harness.config import experiments
from harness.report import page
from tests.paths import ROOT
from tests.records import score_trees

SMALL = {"layer": 768, "n_fake": 2000, "n_real": 10_000, "dataset": "cifar10-16", "resolution": 16}


@pytest.fixture
def pairing(tmp_path: Path) -> Table:
    """Table 1 of a scale with two seeds of one miniature, with another protocol and snapshot of it beside."""
    out = tmp_path / "results/test"
    for seed in (0, 1):
        score_trees.add(out, experiment="mini-conv", seed=seed, fid=0.5 + seed / 10, **SMALL)
    score_trees.add(out, experiment="mini-conv", snapshot="80000", nimg=80_000, fid=9.0, **SMALL)
    score_trees.add(out, "clean", experiment="mini-conv", fid=8.0, **SMALL)
    measured = tables.measure(score_trees.scale_of(out))
    return next(table for table in measured.tables if table.name == "pairing")


def test_it_stands_beside_its_row(pairing: Table) -> None:
    rows = pairing.frame.set_index("model")
    row = rows.loc["G=AutoGAN D=AutoGAN"]
    assert row["miniature"] == "mini-conv"
    said = "0.55 ± 0.07 (cifar10-16, 768 channels, "
    assert row["its FID, never comparable"].startswith(said)
    assert row["FID reported"] == "12.42"
    assert (row["FID"], row["ΔFID"], row["experiment"]) == ("—", "—", "not run")
    others = rows.drop(index="G=AutoGAN D=AutoGAN")
    assert set(others["miniature"]) == set(others["its FID, never comparable"]) == {"—"}
    assert "never comparable with the reported one" in pairing.note
    assert said in markdown(pairing)
    assert float(pairing.data["miniature_fid"].dropna().iloc[0]) == pytest.approx(0.55)


def test_the_page_shows_it_unfolded_and_without_a_verdict(pairing: Table) -> None:
    shown = page.view(pairing)
    assert [row[0]["text"] for row in shown["rows"]] == ["G=AutoGAN D=AutoGAN"]
    assert "experiment" not in shown["columns"]
    assert len(shown["unmeasured"]["rows"]) == len(pairing.data) - 1
    assert "miniature" not in shown["unmeasured"]["columns"]


def test_nothing_compares_the_two(tmp_path: Path) -> None:
    out = tmp_path / "results/test"
    score_trees.add(out, experiment="mini-conv", fid=12.42)
    checked = check.check(score_trees.scale_of(out))
    assert set(checked.verdicts["verdict"]) == {"not-comparable"}
    assert checked.verdicts["reported"].isna().all()


def test_tables_without_a_miniature_have_no_columns_for_one(tmp_path: Path) -> None:
    out = tmp_path / "results/test"
    score_trees.add(out, experiment="t1-autogan-autogan", fid=12.42)
    measured = tables.measure(score_trees.scale_of(out))
    assert not any("miniature" in " ".join(table.data.columns) for table in measured.tables)


def test_what_the_scale_mini_stands_for_answers_a_row() -> None:
    known = experiments.load(ROOT)
    small = {name: one.stands_for for name, one in known.items() if one.stands_for}
    assert small["mini-conv"] == "t1-autogan-autogan"
    assert all(known[name].reported for name in small.values())
