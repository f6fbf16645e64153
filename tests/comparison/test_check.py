"""harness check: exit codes, JUnit, the summary, and what can never pass."""

import dataclasses
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pandas as pd
import pytest

from harness.comparison import check, junit, reported, table_formats, tables, verdicts
from harness.config import experiments
from harness.errors import HarnessError
from tests.comparison.test_tables import STAND_IN
from tests.paths import ROOT
from tests.records import score_trees

TOLERANCES = ROOT / "experiments" / "tolerances.yaml"


def checked(out: Path) -> check.Checked:
    return check.check(score_trees.scale_of(out))


def scale(folder: Path) -> Path:
    """The folder of a scale in a checkout of its own."""
    return folder / "results" / "test"


def autogan(out: Path, fid: float, **changes: object) -> Path:
    for seed in range(3):
        score_trees.add(out, experiment="t1-autogan-autogan", seed=seed, fid=fid + 0.1 * seed, is_mean=8.5, **changes)
    return out


@pytest.mark.parametrize(
    ("fid", "changes", "code", "word"),
    [
        (12.4, {}, 0, "within (presumed)"),
        (30.0, {}, 1, "outside (presumed)"),
        (6.0, {}, 1, "too-good (presumed)"),
        (12.4, {"layer": 768}, 0, "not-comparable (layer)"),  # the Inception Scores still decide
        (12.4, {"nimg": 1000}, 2, "not-comparable (partial)"),
        (12.4, {"stand_in_data": True, "dataset": "standin-cifar10"}, 2, "not-comparable (stand_in_data"),
        (12.4, {"stand_in_data": None}, 2, "not-comparable (stand_in_data"),
        (12.4, {"stand_in_inception": True, "inception": "stand-in"}, 2, "not-comparable (stand_in_inception"),
        (12.4, {"samples_sha256": "ab" * 32}, 2, "not-comparable (samples_sha256)"),
        (12.4, {"declared": ("split",)}, 0, "within (presumed; declared: split)"),
    ],
)
def test_exit_code(tmp_path: Path, fid: float, changes: dict[str, object], code: int, word: str) -> None:
    found = checked(autogan(scale(tmp_path), fid, **changes)).verdicts
    assert check.exit_code(found) == code
    assert any(word in verdict for verdict in check.listing(found).frame["verdict"])


def test_a_seed_without_fid_leaves_neither_line_out(tmp_path: Path) -> None:
    """Two whole seeds and one without FID: too few runs for both metrics, and a line that says why."""
    out = autogan(scale(tmp_path), 12.4)
    score_trees.add(out, experiment="t1-autogan-autogan", seed=2, fid=None, is_mean=8.5)
    found = checked(out).verdicts
    mine = found[(found["table"] == "autogan-cifar10") & (found["metric"] == "fid")]
    assert sorted(mine["verdict"]) == ["insufficient-runs", "not-comparable"]
    assert "fid: not scored" in set(mine["reason"])
    assert check.exit_code(found) == 2


def test_the_quick_scale_has_a_verdict_that_decides_nothing(tmp_path: Path) -> None:
    """Scores that no reported row is held against are listed as not comparable, and the command line exits with 2."""
    score_trees.add(scale(tmp_path), **STAND_IN)
    score_trees.scale_of(scale(tmp_path))
    command = [sys.executable, "-m", "harness", "check", "--params", str(scale(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stdout.count("not-comparable (stand_in_data, stand_in_inception, no reported row)") == 2
    assert "0 pass, 0 fail, 0 undecided, 2 none" in done.stdout


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A control that passes, a model that fails, a stand-in with a dream score; tables and check written."""
    out = scale(tmp_path_factory.mktemp("mixed"))
    for seed in range(3):
        score_trees.add(out, experiment="t4-transgan-s", seed=seed, fid=40.0 + seed, is_mean=8.2)
    score_trees.add(out, **{**STAND_IN, "experiment": "t2-transgan-diffaug"})
    autogan(out, 12.4)
    opened = score_trees.scale_of(out)
    tables.write(opened, tables.measure(opened))
    check.write(opened, check.check(opened))
    return out


@pytest.fixture(scope="module")
def found(mixed: Path) -> pd.DataFrame:
    return checked(mixed).verdicts


def copy(mixed: Path, folder: Path) -> Path:
    shutil.copytree(mixed.parent.parent, folder, symlinks=True, dirs_exist_ok=True)
    return scale(folder)


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


def test_junit_is_well_formed_whatever_the_names_hold(found: pd.DataFrame) -> None:
    hostile = found.assign(model="a\x00\x1b\x08]]><x>&\ud800\ufffe", experiment="\x0b", reason="\x1f\ufffe")
    assert len(list(ET.fromstring(junit.junit(hostile)).iter("testcase"))) == len(found)


def test_summary_and_tables_carry_the_verdicts(mixed: Path) -> None:
    summary = (mixed / "check" / "summary.md").read_text(encoding="utf-8")
    assert summary.startswith("## harness check")
    sizes = pd.read_csv(mixed / "check" / "tables" / "sizes.csv", dtype=str).set_index("model")
    assert sizes.loc["TransGAN-S", "fid_verdict"] == "outside (presumed)"
    assert sizes.loc["TransGAN-S", "is_verdict"] == "within (presumed)"
    assert sizes.loc["TransGAN-M", "fid_verdict"] == "not run"
    assert "verdict FID" in summary


def test_a_stand_in_never_passes_however_good(found: pd.DataFrame) -> None:
    mine = found[found["experiment"] == "t2-transgan-diffaug"]
    assert len(mine)
    assert set(mine["verdict"]) == {"not-comparable"}
    assert set(mine["status"]) == {"none"}
    assert all("stand_in_data" in fields for fields in mine["blocking_fields"])


def test_controls_come_first(found: pd.DataFrame) -> None:
    assert found["kind"].iloc[0] == "control"
    assert set(found.loc[found["kind"] == "control", "status"]) == {"pass"}


def test_every_comparison_is_in_a_verdict(mixed: Path) -> None:
    """No line is dropped between comparisons and verdicts: the seeds add up."""
    both = checked(mixed)
    assert both.verdicts["seeds"].sum() == len(both.measured.comparisons)


def test_an_unverified_row_never_decides(found: pd.DataFrame) -> None:
    mine = found[found["confidence"] == "unverified"]
    assert len(mine)
    assert set(mine["status"]) == {"none"}
    assert mine["reported"].isna().all()


def test_the_same_input_gives_the_same_bytes(mixed: Path, tmp_path: Path) -> None:
    again = copy(mixed, tmp_path)
    shutil.rmtree(again / "check")
    opened = score_trees.scale_of(again)
    check.write(opened, check.check(opened))
    files = sorted(p for p in (mixed / "check").rglob("*") if p.is_file())
    assert files
    for path in files:
        assert (again / path.relative_to(mixed)).read_bytes() == path.read_bytes(), path.name


def test_a_verdict_is_made_from_the_records_and_an_edited_one_is_named(mixed: Path, tmp_path: Path) -> None:
    again = copy(mixed, tmp_path)
    path = again / "check" / "verdicts.csv"
    path.write_text(path.read_text().replace("outside", "within").replace("fail", "pass"))
    opened = score_trees.scale_of(again)
    whole = check.check(opened)
    assert check.exit_code(whole.verdicts) == 1
    assert "check: stale or edited (verdicts.csv)" in check.stale(opened, whole)[-1]
    autogan(again, 300.0)
    whole = check.check(opened)
    assert set(whole.verdicts[whole.verdicts["kind"] == "control"]["status"]) == {"fail", "pass"}
    said = [sentence.split(": stale or edited")[0].rsplit("/")[-1] for sentence in check.stale(opened, whole)]
    assert said[-2:] == ["tables", "check"]
    tables.write(opened, whole.measured)
    check.write(opened, whole)
    assert check.stale(opened, whole) == []
    edited = opened.folder.metrics / "t1-autogan-autogan-seed0-last.json"
    edited.write_text(edited.read_text().replace("300.0", "3.0"))
    (sentence,) = check.stale(opened, whole)
    assert f"metrics: stale or edited ({edited.name}); run `harness tables`" in sentence


def test_another_tolerance_changes_the_verdicts_and_not_the_numbers(
    mixed: Path, found: pd.DataFrame, tmp_path: Path
) -> None:
    text = TOLERANCES.read_text()
    assert text.count("min_seeds: {value: 3") == 2
    strict = tmp_path / "strict.yaml"
    strict.write_text(text.replace("min_seeds: {value: 3", "min_seeds: {value: 4"))
    comparisons = tables.measure(score_trees.scale_of(mixed)).comparisons
    again = check.judge_all(comparisons, verdicts.load(strict))
    assert set(again["verdict"]) == {"insufficient-runs", "not-comparable"}
    numbers = ["experiment", "table", "metric", "measured", "seeds", "blocking_fields"]
    pd.testing.assert_frame_equal(
        again[numbers].sort_values(numbers[:3], ignore_index=True),
        found[numbers].sort_values(numbers[:3], ignore_index=True),
    )


def test_a_control_is_a_row_that_an_experiment_is_held_against() -> None:
    tolerances, ledger = verdicts.load(TOLERANCES), reported.load(ROOT / "results" / "reported")
    check.check_controls(tolerances, ledger, "tolerances.yaml")
    linked = {link.rstrip("/") for experiment in experiments.load(ROOT).values() for link in experiment.reported}
    assert {*tolerances.control.rows, *tolerances.control.secondary} <= linked
    wrong = dataclasses.replace(tolerances, control=dataclasses.replace(tolerances.control, rows=("mimicry/SNGA",)))
    with pytest.raises(HarnessError, match=r"tolerances.yaml: control: no ledger row 'mimicry/SNGA'\. Did you mean"):
        check.check_controls(wrong, ledger, "tolerances.yaml")


def test_a_project_can_demand_verdicts(mixed: Path, tmp_path: Path) -> None:
    demands = {
        "good": ("t1-autogan-autogan", ("within",)),
        "bad": ("t4-transgan-s", ("within", "near")),
        "one_metric": ("t4-transgan-s", ("within",), "is"),
        "one_word": ("t1-autogan-autogan", "within"),
        "stand_in": ("t2-transgan-diffaug", ("within",)),
        "experiment": ("t4-transgn-s", ("within",)),
        "metric": ("t4-transgan-s", ("within",), "FID"),
        "allowed": ("t1-autogan-autogan", ("withn",)),
        "not_scored": ("t4-transgan-s", ("within",), "kid"),
    }
    body = "".join(f"def test_{k}(harness_verdict):\n    harness_verdict(*{v!r})\n\n" for k, v in demands.items())
    (tmp_path / "test_scores.py").write_text(body)
    options = ["-q", "-rA", "-p", "harness.comparison.pytest_plugin", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, "--harness-params", str(mixed), "test_scores.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    outcome = {name: word for word, name in re.findall(r"^(PASSED|FAILED) \S+::test_(\w+)", done.stdout, re.M)}
    passed = ("good", "one_metric", "one_word")
    assert outcome == {name: "PASSED" if name in passed else "FAILED" for name in demands}, done.stdout
    assert "t4-transgan-s: not within or near" in done.stdout
    assert "t2-transgan-diffaug: not-comparable" in done.stdout
    for said in (
        "params.yaml: unknown experiment 't4-transgn-s'. Did you mean 't4-transgan-s'?",
        "params.yaml: unknown metric 'FID'. Valid: fid, is, kid.",
        "params.yaml: unknown verdict in allow: 'withn'. Did you mean 'within'?",
        "t4-transgan-s: no verdict;",
    ):
        assert said in done.stdout, said
    assert "During handling" not in done.stdout


def test_a_table_is_aligned_for_a_terminal(found: pd.DataFrame) -> None:
    lines = table_formats.plain(check.listing(found)).splitlines()
    assert len({line.index("within") for line in lines if " within " in line}) == 1
    assert lines[-1].startswith("8 pass, 2 fail")
