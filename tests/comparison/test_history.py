"""Our own recorded scores: what is recorded, what is compared with it, and that a change of the code shows."""

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.comparison import check, history, verdicts
from harness.errors import HarnessError
from harness.records import results
from tests.paths import ROOT
from tests.records.score_trees import score

TOLERANCES = verdicts.load(ROOT / "experiments" / "tolerances.yaml")
STAND_IN = {"stand_in_data": True, "stand_in_inception": True, "inception": "stand-in", "dataset": "standin-cifar10"}
SETTINGS = {"1 thread": 14.30, "2 threads": 14.31, "4 threads": 14.29, "no vector instructions": 14.32}


def frame(*changes: dict[str, Any], commit: str | None = "0" * 40, dirty: bool | None = False) -> pd.DataFrame:
    records = [score(**one) for one in changes]
    made = {"git_commit": commit, "git_dirty": dirty}
    records = [dataclasses.replace(one, provenance=one.provenance | made) for one in records]
    return results.frame([results.row(one, Path(f"{i}.json")) for i, one in enumerate(records)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Scores on stand-ins, recorded under several settings."""
    for setting, fid in SETTINGS.items():
        history.record(frame(STAND_IN | {"fid": fid}), tmp_path / "history.csv", setting)
    return tmp_path / "history.csv"


def found(path: Path, **changes: Any) -> pd.DataFrame:
    return history.regressions(frame(STAND_IN | changes), history.read(path), TOLERANCES).set_index("metric")


def test_the_same_run_under_the_same_setting_is_recorded_once(path: Path) -> None:
    known = history.read(path)
    assert len(known) == 2 * len(SETTINGS)
    assert set(known["setting"]) == set(SETTINGS)
    assert history.record(frame(STAND_IN | {"fid": 99.0}), path, "1 thread") == 0
    pd.testing.assert_frame_equal(history.read(path), known)


def test_the_spread_over_settings_is_told(path: Path, tmp_path: Path) -> None:
    assert history.spread(history.read(path)) == "FID up to 0.210%, IS up to 0.000%"
    history.record(frame(STAND_IN), tmp_path / "one.csv", "1 thread")
    assert history.spread(history.read(tmp_path / "one.csv")) == "one setting only"


def test_an_unchanged_code_passes(path: Path) -> None:
    assert dict(found(path, fid=14.30)["status"]) == {"fid": "pass", "is": "pass"}
    assert set(found(path, fid=14.30)["kind"]) == {"regression"}


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("a learning rate of twice the value", {"fid": 15.9, "is_mean": 7.9}),
        ("a wrong resizer that makes scores better", {"fid": 13.4}),
        ("a swapped colour channel", {"fid": 21.0, "is_mean": 8.19}),
    ],
)
def test_a_change_of_the_code_turns_it_red(path: Path, what: str, changes: dict[str, Any]) -> None:
    assert check.exit_code(found(path, **changes)) == 1, what


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"n_fake": 40_000}, "protocol_id"),
        ({"resizer": "torch-bilinear"}, "protocol_id"),
        ({"nimg": 5, "planned_nimg": 5}, "nimg"),
        ({"inception_sha256": "12" * 32}, "protocol_id"),
        ({"real_pixels_sha256": "12" * 32}, "protocol_id"),
        ({"experiment": "another"}, "measured"),
        ({"fid": None}, "measured"),
    ],
)
def test_other_conditions_are_not_comparable_and_named(path: Path, changes: dict[str, Any], field: str) -> None:
    line = found(path, **changes).loc["fid"]
    assert (line["verdict"], line["status"], line["blocking_fields"]) == ("not-comparable", "none", (field,))
    assert line["reason"].startswith(field)


def test_another_scale_has_another_history(path: Path) -> None:
    assert history.regressions(frame({"scale": "other"}), history.read(path), TOLERANCES).empty


def test_seeds_are_held_against_their_own_record(tmp_path: Path) -> None:
    """Seed 1 scores as seed 0 did: a change that the spread over seeds would hide."""
    path = tmp_path / "history.csv"
    for setting in SETTINGS:
        for seed, fid in ((0, 14.3), (1, 15.9)):
            history.record(frame(STAND_IN | {"seed": seed, "fid": fid}), path, setting)
    assert found(path, seed=1, fid=15.9).loc["fid", "verdict"] == "within"
    assert found(path, seed=1, fid=14.3).loc["fid", "verdict"] == "too-good"


@pytest.mark.parametrize(
    ("commit", "dirty"), [("0" * 40, True), ("0" * 40, None), (None, False)], ids=["dirty", "unknown", "no commit"]
)
def test_only_scores_of_a_clean_commit_are_recorded(tmp_path: Path, commit: str | None, dirty: bool | None) -> None:
    with pytest.raises(HarnessError, match=r"0\.json: made from uncommitted changes or from no commit"):
        history.record(frame({}, commit=commit, dirty=dirty), tmp_path / "history.csv", "a")
    assert not (tmp_path / "history.csv").exists()


def test_scores_of_two_commits_are_not_recorded_together(tmp_path: Path) -> None:
    both = pd.concat([frame({}), frame({"seed": 1}, commit="1" * 40)])
    with pytest.raises(HarnessError, match="several commits"):
        history.record(both, tmp_path / "history.csv", "a")


def test_scores_of_another_commit_are_no_further_setting(tmp_path: Path) -> None:
    """Else a change that moves a score would be recorded beside what it moved, and pass."""
    path = tmp_path / "history.csv"
    history.record(frame({}), path, "1 thread")
    before = path.read_bytes()
    with pytest.raises(HarnessError, match=r"are of commit 00000000, these of 11111111; .* remove the scale's lines"):
        history.record(frame({"fid": 30.0}, commit="1" * 40), path, "2 threads")
    assert path.read_bytes() == before
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[-1].replace("0" * 40, "1" * 40).replace("1 thread", "2")]) + "\n")
    with pytest.raises(HarnessError, match="scores of scale 'test' of several commits"):
        history.read(path)


@pytest.mark.parametrize("setting", ["", " ", "a\nb", "a\x07"])
def test_a_setting_is_one_line_of_text(tmp_path: Path, setting: str) -> None:
    with pytest.raises(HarnessError, match="--record"):
        history.record(frame({}), tmp_path / "history.csv", setting)


def spoil(path: Path, row: int, column: str, value: str) -> None:
    lines = path.read_text().splitlines()
    cells = lines[row].split(",")
    cells[history.COLUMNS.index(column)] = value
    lines[row] = ",".join(cells)
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("value", "nan"),
        ("value", "inf"),
        ("value", ""),
        ("value", "-1"),
        ("value", "12,4"),
        ("metric", "fidd"),
        ("nimg", "-5"),
        ("seed", "0.5"),
        ("experiment", "../x"),
        ("samples_sha256", "12"),
        ("git_commit", "main"),
    ],
)
def test_a_line_that_cannot_be_is_refused_with_its_place(path: Path, column: str, value: str) -> None:
    spoil(path, 2, column, value)
    with pytest.raises(HarnessError, match=r"history\.csv.*restore it from git"):
        history.read(path)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "\xff\x00", '"'])
def test_a_cut_or_foreign_history_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "history.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(HarnessError, match=r"history\.csv.*restore it from git"):
        history.read(path)


def test_a_line_that_is_there_twice_is_refused(path: Path) -> None:
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[1]]) + "\n")
    with pytest.raises(HarnessError, match="the same run as a line before"):
        history.read(path)


def test_the_committed_history_is_readable() -> None:
    history.read(ROOT / "results" / "history.csv")
