"""harness check: exit codes, JUnit, the summary, and what can never pass."""

import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from harness.commands.check import command
from harness.commands.tables import command as tables_command
from harness.comparison import check, verdicts
from harness.errors import HarnessError
from tests.comparison.test_tables import STAND_IN
from tests.paths import ROOT
from tests.records import score_trees

TOLERANCES = ROOT / "experiments" / "tolerances.yaml"
NO_HISTORY = Path("does-not-exist.csv")


def tables(out: Path) -> None:
    done = CliRunner().invoke(tables_command, ["--out-dir", str(out)], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def run(out: Path, *options: str) -> Result:
    return CliRunner().invoke(command, ["--out-dir", str(out), *options], catch_exceptions=False)


def autogan(out: Path, fid: float, **changes: object) -> Path:
    for seed in range(3):
        score_trees.add(out, experiment="t1-autogan-autogan", seed=seed, fid=fid + 0.1 * seed, is_mean=8.5, **changes)
    tables(out)
    return out


@pytest.mark.parametrize(
    ("fid", "changes", "code", "word"),
    [
        (12.4, {}, 0, "within (presumed)"),
        (30.0, {}, 1, "outside (presumed)"),
        (6.0, {}, 1, "too-good (presumed)"),
        (12.4, {"layer": 768}, 0, "not-comparable (layer)"),  # the Inception Scores still decide
        (12.4, {"nimg": 1000}, 2, "not-comparable (partial run)"),
        (12.4, {"stand_in_data": True, "dataset": "standin-cifar10"}, 2, "not-comparable (dataset"),
        (12.4, {"stand_in_inception": True, "inception": "stand-in"}, 2, "not-comparable (inception)"),
    ],
)
def test_exit_code(tmp_path: Path, fid: float, changes: dict[str, object], code: int, word: str) -> None:
    autogan(tmp_path, fid, **changes)
    assert run(tmp_path, "--write").exit_code == 0
    done = run(tmp_path)
    assert done.exit_code == code, done.output
    assert word in done.output


def test_the_quick_scale_has_a_verdict_that_decides_nothing(tmp_path: Path) -> None:
    """Scores that answer no reported row are listed as not comparable, and the command line exits with 2."""
    score_trees.add(tmp_path, **STAND_IN)
    tables(tmp_path)
    found = check.write(tmp_path, TOLERANCES, NO_HISTORY)
    assert list(found["reason"]) == ["dataset: stand-in data; inception: stand-in; no reported row"] * 2
    done = subprocess.run(
        [sys.executable, "-m", "harness", "check", "--out-dir", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert "not-comparable (dataset, inception, no reported row)" in done.stdout
    assert "0 pass, 0 fail, 0 undecided, 2 none" in done.stdout


def test_a_required_experiment_needs_a_verdict(tmp_path: Path) -> None:
    autogan(tmp_path, 12.4)
    run(tmp_path, "--write")
    assert run(tmp_path, "--require", "t1-autogan-autogan").exit_code == 0
    done = run(tmp_path, "--require", "t4-transgan-s")
    assert done.exit_code == 1
    assert "required: t4-transgan-s has no verdict" in done.output
    with pytest.raises(HarnessError, match=r"unknown experiment 't4-transgan-z'\. Did you mean 't4-transgan-"):
        run(tmp_path, "--require", "t4-transgan-z")


def test_reading_before_writing_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="harness check --write"):
        run(tmp_path)
    with pytest.raises(HarnessError, match="run `harness tables` first"):
        run(tmp_path, "--write")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A control that passes, a model that fails, a stand-in with a dream score."""
    out = tmp_path_factory.mktemp("mixed")
    for seed in range(3):
        score_trees.add(out, experiment="t4-transgan-s", seed=seed, fid=40.0 + seed, is_mean=8.2)
    score_trees.add(out, **{**STAND_IN, "experiment": "t2-transgan-diffaug"})
    autogan(out, 12.4)
    check.write(out, TOLERANCES, NO_HISTORY)
    return out


def test_junit_counts_what_it_lists(mixed: Path) -> None:
    root = ET.parse(mixed / "check" / "junit.xml").getroot()
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["control", "training"]
    for suite in root:
        assert suite.get("tests") == str(len(suite.findall("testcase")))
        assert suite.get("failures") == str(len(suite.findall("testcase/failure")))
        assert suite.get("skipped") == str(len(suite.findall("testcase/skipped")))
    assert suites["control"].get("failures") == "0"
    failures = suites["training"].findall("testcase/failure")
    assert failures
    assert all("outside" in (f.get("message") or "") for f in failures)


def test_summary_and_tables_carry_the_verdicts(mixed: Path) -> None:
    summary = (mixed / "check" / "summary.md").read_text(encoding="utf-8")
    assert summary.startswith("## harness check")
    sizes = pd.read_csv(mixed / "check" / "tables" / "sizes.csv", dtype=str).set_index("model")
    assert sizes.loc["TransGAN-S", "verdict FID"] == "outside (presumed)"
    assert sizes.loc["TransGAN-S", "verdict IS"] == "within (presumed)"
    assert sizes.loc["TransGAN-M", "verdict FID"] == "not run"
    assert "verdict FID" in summary


def test_a_stand_in_never_passes_however_good(mixed: Path) -> None:
    found = check.read(mixed)
    mine = found[found["experiment"] == "t2-transgan-diffaug"]
    assert len(mine)
    assert set(mine["verdict"]) == {"not-comparable"}
    assert set(mine["status"]) == {"none"}
    assert all("stand-in" in reason for reason in mine["reason"])


def test_the_control_lane_comes_first(mixed: Path) -> None:
    found = check.read(mixed)
    assert found["lane"].iloc[0] == "control"
    assert set(found.loc[found["lane"] == "control", "status"]) == {"pass"}


def test_the_same_input_gives_the_same_bytes(mixed: Path, tmp_path: Path) -> None:
    again = Path(shutil.copytree(mixed / "tables", tmp_path / "tables")).parent
    check.write(again, TOLERANCES, NO_HISTORY)
    for path in sorted(p for p in (mixed / "check").rglob("*") if p.is_file()):
        assert (again / path.relative_to(mixed)).read_bytes() == path.read_bytes(), path.name


def test_another_tolerance_changes_the_check_and_not_the_tables(mixed: Path, tmp_path: Path) -> None:
    again = Path(shutil.copytree(mixed / "tables", tmp_path / "tables")).parent
    before = {p.name: p.read_bytes() for p in (again / "tables").iterdir()}
    text = TOLERANCES.read_text()
    assert text.count("min_seeds: {value: 3") == 2
    strict = tmp_path / "strict.yaml"
    strict.write_text(text.replace("min_seeds: {value: 3", "min_seeds: {value: 4"))
    found = check.write(again, strict, NO_HISTORY)
    assert set(found["verdict"]) == {"insufficient-runs", "not-comparable"}
    assert {p.name: p.read_bytes() for p in (again / "tables").iterdir()} == before


# ---------------------------------------------------------------- our own history


def test_history_records_and_finds_a_regression(tmp_path: Path) -> None:
    history = tmp_path / "history.csv"
    good = autogan(tmp_path / "good", 12.4)
    scores = pd.read_csv(good / "tables" / "scores.csv", dtype={"snapshot": str, "protocol_id": str})
    assert check.record(scores, history) == 6
    assert check.record(scores, history) == 0  # the same runs are not counted twice
    tolerances = verdicts.load(TOLERANCES)
    known = check.read_history(history)

    def lane(out: Path) -> pd.DataFrame:
        now = pd.read_csv(out / "tables" / "scores.csv", dtype={"snapshot": str, "protocol_id": str})
        return check.regressions(now, known, tolerances).set_index("metric")

    assert list(lane(good)["verdict"]) == ["within", "within"]
    worse = lane(autogan(tmp_path / "worse", 14.0))
    assert worse.loc["fid", "verdict"] == "outside"
    assert worse.loc["is", "verdict"] == "within"
    other = lane(autogan(tmp_path / "other", 12.4, n_fake=10_000))
    assert set(other["verdict"]) == {"not-comparable"}
    assert other.loc["fid", "reason"].startswith("protocol")


def test_stand_ins_and_partial_runs_are_never_recorded(tmp_path: Path) -> None:
    out = tmp_path / "out"
    score_trees.add(out, **STAND_IN)
    score_trees.add(out, nimg=1000)
    tables(out)
    scores = pd.read_csv(out / "tables" / "scores.csv", dtype={"snapshot": str})
    assert check.record(scores, tmp_path / "history.csv") == 0


def test_a_foreign_history_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(HarnessError, match=r"history\.csv, line 1: expected the columns scale"):
        check.read_history(path)


def test_the_committed_history_is_readable() -> None:
    check.read_history(ROOT / "results" / "history.csv")


# ---------------------------------------------------------------- the pytest entry


def test_a_project_can_demand_verdicts(mixed: Path, tmp_path: Path) -> None:
    demands = {
        "good": ("t1-autogan-autogan", ("within",)),
        "bad": ("t4-transgan-s", ("within", "near")),
        "one_metric": ("t4-transgan-s", ("within",), "is"),
        "stand_in": ("t2-transgan-diffaug", ("within",)),
    }
    body = "".join(f"def test_{k}(harness_verdict):\n    harness_verdict(*{v!r})\n\n" for k, v in demands.items())
    (tmp_path / "test_scores.py").write_text(body)
    options = [
        "-q",
        "-rA",
        "-p",
        "harness.comparison.pytest_plugin",
        "-p",
        "no:cacheprovider",
        "--harness-out",
        str(mixed),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "test_scores.py"], cwd=tmp_path, capture_output=True, text=True
    )
    outcome = {name: word for word, name in re.findall(r"^(PASSED|FAILED) \S+::test_(\w+)", done.stdout, re.M)}
    assert outcome == {"good": "PASSED", "bad": "FAILED", "one_metric": "PASSED", "stand_in": "FAILED"}, done.stdout
    assert "t4-transgan-s: not within or near" in done.stdout
    assert "t2-transgan-diffaug: no verdict" in done.stdout
