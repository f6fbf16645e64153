"""Score records made elsewhere: rows of their own in tables and verdicts, and nowhere else."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness import cli
from harness.comparison import check, tables
from harness.errors import HarnessError
from harness.files import sha256_json
from harness.records import results, score_record
from harness.records.score_record import Claim, Run
from tests.records import score_trees

AUTOGAN = "autogan-cifar10/AutoGAN-top1"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A scale with one score of its own."""
    out = tmp_path / "results" / "mine"
    score_trees.add(out, experiment="t2-wgan-gp", seed=0)
    return out


def theirs(path: Path, claim: Claim | None, run: Run | None = None, **changes: Any) -> Path:
    """Write a score of samples from elsewhere, which differ by the file's name."""
    record = score_trees.score(**{"is_mean": 8.55, **changes})
    content = dataclasses.replace(record.content, samples_sha256=sha256_json({"of": path.name}))
    content = dataclasses.replace(content, weights_sha256=None)
    protocol = dataclasses.replace(record.protocol, declared=("ema", "quantisation"))
    record = dataclasses.replace(record, run=run or Run(), protocol=protocol, content=content, claim=claim)
    score_record.write(path, record)
    return path


def judged(out: Path, *files: Path) -> pd.DataFrame:
    found = check.check(score_trees.scale_of(out), files).verdicts
    return found[found["kind"] == "foreign"]


@pytest.mark.parametrize(("fid", "verdict", "status"), [(12.4, "within", "pass"), (15.0, "outside", "fail")])
def test_a_score_of_released_samples_is_judged_as_a_checkpoint(
    out: Path, tmp_path: Path, fid: float, verdict: str, status: str
) -> None:
    file = theirs(tmp_path / "theirs.json", Claim("released", (AUTOGAN,)), fid=fid)
    found = judged(out, file)
    line = found[found["metric"] == "fid"].iloc[0]
    assert (line["experiment"], line["table"], line["verdict"], line["status"]) == (
        str(file),
        "autogan-cifar10",
        verdict,
        status,
    )
    assert line["declared_fields"] == ("ema", "quantisation")
    whole = check.check(score_trees.scale_of(out), [file]).verdicts
    assert check.exit_code(whole) == (1 if status == "fail" else 0)


def test_three_files_of_one_claim_are_seeds(out: Path, tmp_path: Path) -> None:
    claim = Claim("retrained", (AUTOGAN,))
    files = [theirs(tmp_path / f"{i}.json", claim, fid=12.4 + i / 10) for i in range(3)]
    line = judged(out, *files).query("metric == 'fid'").iloc[0]
    assert (line["seeds"], line["verdict"]) == (3, "within")
    assert judged(out, *files[:2]).query("metric == 'fid'")["verdict"].item() == "insufficient-runs"


def test_a_score_that_claims_nothing_is_compared_with_nothing(out: Path, tmp_path: Path) -> None:
    found = judged(out, theirs(tmp_path / "theirs.json", None))
    assert set(found["verdict"]) == {"not-comparable"}
    assert set(found["table"]) == {"no paper row"}


def test_a_run_of_another_checkout_is_held_against_its_experiments_rows(out: Path, tmp_path: Path) -> None:
    run = score_trees.score(experiment="t4-transgan-s", seed=3, scale="theirs").run
    found = judged(out, theirs(tmp_path / "theirs.json", None, run))
    assert "T4-model-scaling" in set(found["table"])
    assert set(found["experiment"]) == {"t4-transgan-s"}


def test_it_is_a_row_of_its_own_and_changes_no_other(out: Path, tmp_path: Path) -> None:
    scale = score_trees.scale_of(out)
    file = theirs(tmp_path / "theirs.json", Claim("released", (AUTOGAN,)))
    alone, both = tables.measure(scale), tables.measure(scale, others=[file])
    without, with_it = tables.files(alone, False), tables.files(both, False)
    assert {name for name in with_it if with_it[name] != without[name]} == {
        *("comparisons.csv", "scores.csv", "index.json"),
        *("runs.csv", "runs.md", "runs.tex"),
    }
    for name in ("comparisons.csv", "scores.csv", "runs.csv"):
        own, more = without[name].splitlines(), with_it[name].splitlines()
        assert set(own) < set(more), name
        assert all(str(file) in line and "foreign" in line for line in set(more) - set(own))
    assert json.loads(with_it["index.json"])["foreign"] == [str(file)]
    assert len(both.results.scores) == 1, "history and claims are of the scale's own"


def test_what_is_not_named_stays_out(out: Path, tmp_path: Path) -> None:
    place = out / "records/t2-wgan-gp/seed0/last/tf/theirs.json"
    theirs(place, Claim("released", (AUTOGAN,)))
    with pytest.raises(HarnessError, match=r"theirs\.json: a score of samples from elsewhere; move it out of"):
        results.load(out)


def test_broken_and_repeated_files_are_named(out: Path, tmp_path: Path) -> None:
    file = theirs(tmp_path / "theirs.json", Claim("released", (AUTOGAN,)))
    scale = score_trees.scale_of(out)
    with pytest.raises(HarnessError, match=r"theirs\.json: is named twice"):
        check.check(scale, [file, file])
    unknown = theirs(tmp_path / "unknown.json", Claim("released", ("nowhere/GAN",)))
    with pytest.raises(HarnessError, match=r"unknown\.json: claims a row that this ledger has not: .*nowhere/GAN"):
        check.check(scale, [unknown])
    text = file.read_text()
    file.write_text(text.replace('"released"', '"retrained"'))
    with pytest.raises(HarnessError, match="changed since it was written"):
        check.check(scale, [file])
    with pytest.raises(HarnessError, match="claim is 'mine' of 1 rows"):
        theirs(tmp_path / "mine.json", Claim("mine", (AUTOGAN,)))


def test_both_subcommands_take_it(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score_trees.scale_of(out)
    file = theirs(tmp_path / "theirs.json", Claim("released", (AUTOGAN,)), fid=15.0)
    assert cli.run(["tables", "--params", str(out), "--foreign", str(file)]) == 0
    assert "from 2 scores" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        cli.run(["check", "--params", str(out), "--foreign", str(file)])
    said = capsys.readouterr()
    assert end.value.code == 1
    assert f"foreign   {file}" in said.out
    assert "tables: stale" not in said.err
