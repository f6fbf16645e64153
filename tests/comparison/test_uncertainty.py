"""The two uncertainties of a score: each from its own source, in every table, and unknown where there is none."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.comparison import check, tables, uncertainty
from harness.records import results
from tests.records import score_trees

HALF = 3.794583  # Student's, of 10, 11 and 13: 4.302653 * 1.527525 / sqrt(3)


def frame(tmp_path: Path, fids: tuple[float, ...], **changes: Any) -> pd.DataFrame:
    for seed, fid in enumerate(fids):
        score_trees.add(tmp_path, seed=seed, fid=fid, fid_interval=(fid - 0.1 * seed, fid + 0.1 * seed), **changes)
    return results.load(tmp_path).scores


def test_each_has_its_own_source(tmp_path: Path) -> None:
    part = frame(tmp_path, (10.0, 11.0, 13.0))
    assert uncertainty.training(part, "fid") == pytest.approx(HALF, abs=1e-6)
    assert uncertainty.evaluation(part, "fid") == pytest.approx(0.2), "the widest of the seeds"
    assert uncertainty.evaluation(part, "is_mean") is None
    wider = part.assign(fid_high=part["fid_high"] + 5)
    assert uncertainty.training(wider, "fid") == uncertainty.training(part, "fid")
    apart = part.assign(fid=part["fid"] * 2)
    assert uncertainty.evaluation(apart, "fid") == uncertainty.evaluation(part, "fid")


@pytest.mark.parametrize("changes", [{"weights_sha256": "ab" * 32}, None], ids=["one training twice", "one seed"])
def test_training_is_unknown_where_seeds_are_not_several(tmp_path: Path, changes: dict[str, Any] | None) -> None:
    part = frame(tmp_path, (10.0,) if changes is None else (10.0, 11.0), **(changes or {}))
    assert uncertainty.training(part, "fid") is None


def test_words_say_unknown_and_never_zero() -> None:
    say = uncertainty.said("training", {"fid": "FID", "is": "IS"})
    row: dict[str, Any] = {"fid": 10.0, "fid_training": None, "is": 8.0, "is_training": float("nan")}
    assert say(row) == "unknown"
    assert say(row | {"fid_training": 0.1234}) == "FID ± 0.12, IS unknown"
    assert say(row | {"fid": None, "is_training": 0.05}) == "IS ± 0.05"
    assert say(row | {"fid": None, "is": None}) == "—"


def test_both_are_columns_of_every_table_and_never_mixed(tmp_path: Path) -> None:
    out = tmp_path / "results/test"
    frame(out, (10.0, 11.0, 13.0), experiment="t4-transgan-s", is_mean=None)
    score_trees.add(out, experiment="t4-transgan-m", fid=9.0, is_mean=None)
    scale = score_trees.scale_of(out)
    made = {table.name: table for table in tables.measure(scale).tables}
    for name, key in (("sizes", "fid"), ("runs", "tf_fid"), ("protocol", "fid")):
        data, said = made[name].data.set_index("experiment"), made[name].frame.set_index("experiment")
        several, one = (data.loc[[name]].iloc[-1] for name in ("t4-transgan-s", "t4-transgan-m"))
        assert several[f"{key}_training"] == pytest.approx(HALF, abs=1e-6)
        assert several[f"{key}_evaluation"] == pytest.approx(0.2)
        assert one[[f"{key}_training", f"{key}_evaluation"]].isna().all()
        assert "FID ± 3.8" in said.loc[["t4-transgan-s"], "95 % training"].iloc[-1]
        assert "FID ± 0.2" in said.loc[["t4-transgan-s"], "95 % evaluation"].iloc[-1]
        assert list(said.loc["t4-transgan-m", ["95 % training", "95 % evaluation"]]) == ["unknown", "unknown"]
    verdicts = check.check(scale).verdicts.query("metric == 'fid'").set_index("experiment")
    assert verdicts["evaluation_sd"]["t4-transgan-s"].max() == pytest.approx(0.2 / 2.262157, rel=1e-6)
