"""harness tables, check and report as a user types them: exit codes, what is said and what is written."""

from pathlib import Path

import pytest

from harness import cli
from harness.comparison import history
from tests.comparison.test_check import autogan, scale
from tests.comparison.test_tables import STAND_IN
from tests.records import score_trees


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A scale of one experiment, three seeds, within tolerance."""
    score_trees.scale_of(autogan(scale(tmp_path), 12.4))
    return scale(tmp_path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    try:
        code = cli.run(arguments)
    except SystemExit as end:
        code = int(end.code or 0)
    return code, *capsys.readouterr()


def test_the_three_stages_and_what_is_stale_after_them(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = ("--params", str(out))
    for stage in (("tables",), ("check", "--write"), ("report",)):
        assert run(capsys, *stage, *params)[0] == 0
    assert (out / "report" / "index.html").is_file()
    code, said, notes = run(capsys, "check", *params, "--require", "t1-autogan-autogan")
    assert (code, notes) == (0, "")
    assert "8 none" not in said
    autogan(out, 300.0)
    code, said, notes = run(capsys, "check", *params)
    assert code == 1
    assert "tables: stale or edited" in notes
    assert "check: stale or edited" in notes


def test_a_required_experiment_needs_a_verdict_and_a_wrong_name_is_a_usage_error(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said, _ = run(capsys, "check", "--params", str(out), "--require", "t4-transgan-s")
    why = "has neither a pass nor a fail, or too few runs under a score"
    assert (code, said.splitlines()[-1]) == (1, f"required: t4-transgan-s {why}")
    code, _, notes = run(capsys, "check", "--params", str(out), "--require", "t4-transgan-z")
    assert code == 64
    assert "unknown experiment 't4-transgan-z'. Did you mean 't4-transgan-" in notes
    assert run(capsys, "check", "--out-dir", str(out))[0] == 64


def test_showing_unverified_rows_decides_nothing(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = run(capsys, "check", "--params", str(out))
    assert run(capsys, "tables", "--params", str(out), "--unverified")[0] == 0
    assert "†" in (out / "tables" / "pairing.md").read_text(encoding="utf-8")
    assert run(capsys, "check", "--params", str(out)) == before


def test_a_scale_is_held_against_its_own_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stand-ins: nothing to compare with at first, then a history, then a change of the code."""
    out = scale(tmp_path)
    params = ("--params", str(out))

    def score(fid: float) -> None:
        score_trees.add(out, **STAND_IN | {"fid": fid})

    score(14.3)
    score_trees.scale_of(out)
    assert run(capsys, "check", *params)[0] == 2
    for setting, fid in (("1 thread", 14.3), ("2 threads", 14.31), ("no AVX", 14.32)):
        score(fid)
        assert run(capsys, "check", *params, "--record", setting)[0] == 0
    assert len(history.read(tmp_path / "results" / "history.csv")) == 6
    assert run(capsys, "check", *params)[0] == 0
    score(14.9)
    code, said, _ = run(capsys, "check", *params)
    assert code == 1
    assert "regression" in said


def test_records_that_nobody_planned_are_named(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score_trees.add(out, experiment="t4-transgan-s", fid=500.0)
    for command in ("tables", "check"):
        code, said, notes = run(capsys, command, "--params", str(out))
        assert code == 0
        assert "left out: records/t4-transgan-s/seed0/last/tf/test.json: no dump" in notes
        assert "500.00" not in said


@pytest.mark.parametrize("copied", ["seed0 (copy)", "seed00", "seed3"])
def test_a_copied_folder_is_no_further_seed(out: Path, capsys: pytest.CaptureFixture[str], copied: str) -> None:
    import shutil

    folder = out / "records" / "t1-autogan-autogan"
    shutil.copytree(folder / "seed0", folder / copied)
    code, _, notes = run(capsys, "check", "--params", str(out))
    assert code == 1
    assert copied in notes
    assert "Traceback" not in notes


@pytest.mark.parametrize("text", ["", "scale,experiment\n", "\x00", '"'])
def test_a_cut_history_is_one_sentence(out: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (out.parent / "history.csv").write_text(text)
    code, _, notes = run(capsys, "check", "--params", str(out))
    assert code == 1
    assert notes.startswith("error: ")
    assert "history.csv" in notes
    assert len(notes.splitlines()) == 1
