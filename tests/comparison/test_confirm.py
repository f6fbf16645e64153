"""The ledger in a person's hands: lists, a checklist, and confirmations that enter verdicts, all on a copy."""

import csv
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness import cli
from harness.comparison import confirm, reported
from harness.errors import HarnessError
from harness.paths import MARKER
from tests.paths import ROOT

ROW = "T1-pairing/G=AutoGAN D=Transformer/no DA"
CHECK = confirm.Check("A. Reader", "arXiv:2102.07074v2, table 1", "2026-01-31")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with a copy of the ledger."""
    shutil.copytree(ROOT / "results" / "reported", tmp_path / "results" / "reported")
    (tmp_path / MARKER).parent.mkdir()
    (tmp_path / MARKER).write_text("{}\n")
    return tmp_path


@pytest.fixture
def folder(root: Path) -> Path:
    return root / "results" / "reported"


def run(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli.group, ["reported", *arguments, "--root", str(root)])


def raw(folder: Path, place: str) -> dict[str, str]:
    """The cells of one line of a file, as written."""
    file, line = place.split(":")
    with open(folder / file, newline="", encoding="utf-8") as handle:
        rows = csv.reader(handle)
        header = next(rows)
        return next(dict(zip(header, cells, strict=True)) for cells in rows if rows.line_num == int(line))


def place_of(folder: Path, metric: str) -> str:
    rows = confirm.select(reported.load(folder), ROW, metric=metric).to_dict("records")
    assert len(rows) == 1
    return f"{rows[0]['file']}:{rows[0]['line']}"


def test_the_checklist_has_every_unverified_number_with_its_place(root: Path, folder: Path) -> None:
    done = run(root, "--unverified")
    ledger = reported.load(folder)
    unverified = ledger.rows[ledger.rows["confidence"] == "unverified"]
    assert done.output.count("[ ]") == len(unverified) > 0
    for row in unverified.to_dict("records"):
        line = next(line for line in done.output.splitlines() if f" {row['file']}:{row['line']} " in line)
        assert row["printed"] in line
        assert row["model"] in line
        cells = raw(folder, f"{row['file']}:{row['line']}")
        assert (cells["model"], cells["metric"], cells["confidence"]) == (row["model"], row["metric"], "unverified")


def test_rows_are_listed_by_name_place_and_column(root: Path, folder: Path) -> None:
    listed = run(root, "T4-model-scaling", "--metric", "fid").output
    assert listed.count("T4-model-scaling/") == 4
    assert "4 verified, 0 secondary, 0 unverified" in listed
    (row,) = json.loads(run(root, place_of(folder, "fid"), "--json").output)
    assert (row["row"], row["metric"], row["value"], row["confidence"]) == (ROW, "fid", 49.83, "unverified")
    assert row["checked_by"] is None
    every = json.loads(run(root, "--json").output)
    assert len(every) == len(reported.load(folder).rows)
    unknown = run(root, "T7")
    assert isinstance(unknown.exception, HarnessError)
    assert "no row of the ledger is called 'T7'" in str(unknown.exception)


def test_a_confirmed_row_is_verified_and_says_who_checked_it(root: Path, folder: Path) -> None:
    before = {path.name: path.read_text().splitlines() for path in folder.glob("*.csv")}
    options = ("--by", CHECK.by, "--against", str(CHECK.against))
    done = run(root, "--confirm", ROW, *options)
    assert done.exit_code == 0, done.exception
    assert done.output.count("verified (checked by A. Reader against arXiv:2102.07074v2, table 1 on ") == 2
    rows = reported.find(reported.load(folder), ROW)
    assert set(rows["confidence"]) == {"verified"}
    assert set(rows["checked_by"]) == {"A. Reader"}
    assert list(rows["printed"]) == ["6.17 ± 0.12", "49.83"], "the numbers stay"
    changed = [
        (name, i)
        for name, lines in before.items()
        for i, (old, new) in enumerate(zip(lines, (folder / name).read_text().splitlines(), strict=True), 1)
        if old != new
    ]
    assert [f"{name}:{i}" for name, i in changed] == [place_of(folder, "is"), place_of(folder, "fid")]
    assert "A. Reader, " in run(root, ROW).output


def test_a_confirmed_row_enters_the_verdicts(tmp_path: Path) -> None:
    """Mixed pairings have no verified number: their comparison is forbidden until somebody confirms it."""
    from harness.comparison import tables
    from tests.records import score_trees

    out = tmp_path / "results" / "test"
    shutil.copytree(ROOT / "results" / "reported", tmp_path / "results" / "reported")
    score_trees.add(out, experiment="t1-autogan-transgan", fid=50.0, is_mean=6.2)
    scale = score_trees.scale_of(out)

    def blocking() -> set[str]:
        lines = tables.measure(scale).comparisons
        return {name for fields in lines.loc[lines["table"] == "T1-pairing", "blocking_fields"] for name in fields}

    assert "confidence" in blocking()
    confirm.confirm(tmp_path / "results" / "reported", [ROW], CHECK)
    assert "confidence" not in blocking()
    shown = next(table for table in tables.measure(scale).tables if table.name == "pairing").frame
    assert "49.83" in set(shown["FID reported"])


def test_a_wrong_value_is_corrected_and_what_it_was_stays_in_the_note(folder: Path) -> None:
    place = place_of(folder, "is")
    (row,) = confirm.confirm(folder, [place], CHECK, value="6.20", std="0.10")
    assert (row["printed"], row["confidence"], row["checked_on"]) == ("6.20 ± 0.10", "verified", "2026-01-31")
    note = raw(folder, place)["note"]
    assert note.startswith("Before it was checked: ")
    assert note.endswith("; the number was 6.17 ± 0.12.")
    (row,) = confirm.confirm(folder, [ROW], CHECK, value="50.10", metric="fid")
    assert row["printed"] == "50.10"
    (row,) = confirm.confirm(folder, [place], CHECK, value="6.17")
    assert row["printed"] == "6.17 ± 0.10", "what is not given stays"


def test_a_whole_table_is_confirmed_at_once_and_verified_rows_stay(folder: Path) -> None:
    found = confirm.confirm(folder, ["T3-mtct-localinit", place_of(folder, "fid")], CHECK)
    listed = confirm.select(reported.load(ROOT / "results/reported"), "T3-mtct-localinit", confidence="unverified")
    assert len(found) == len(listed) + 1
    again = reported.load(folder).rows
    assert set(again[again["table"] == "T3-mtct-localinit"]["confidence"]) == {"verified", "secondary"}
    with pytest.raises(HarnessError, match="none of its numbers is left to confirm"):
        confirm.confirm(folder, ["T3-mtct-localinit"], CHECK)


def test_two_people_at_once_lose_nothing(folder: Path) -> None:
    rows = confirm.select(reported.load(folder), confidence="unverified").to_dict("records")[:6]
    places = [f"{row['file']}:{row['line']}" for row in rows]
    with ThreadPoolExecutor(len(places)) as pool:
        list(pool.map(lambda place: confirm.confirm(folder, [place], CHECK), places))
    again = reported.load(folder).rows
    assert (again["checked_by"] == CHECK.by).sum() == len(places)
    assert not list(folder.glob(".*")), "nothing is left behind"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            ROW,
            {"value": "6.2"},
            r"a value is of one number, these are 2: transgan\.csv:\d+ \(is\), .*name one by its line",
        ),
        ("T1", {}, "'T1' is no row or table; name what you checked: T1-pairing/"),
        ("T9-nothing", {}, "no row of the ledger is called 'T9-nothing'"),
        ("transgan.csv:1", {}, "transgan.csv:1: no row of the ledger begins there"),
        (ROW, {"value": "4x", "metric": "fid"}, r"transgan\.csv:\d+: `value` is '4x', expected number"),
        (ROW, {"value": "-1", "metric": "fid"}, "`value` is '-1', expected at least 0"),
        (ROW, {"value": "", "metric": "fid"}, "`value` is empty"),
        (ROW, {"check": confirm.Check("a\x07")}, "`checked_by` holds a control character"),
        (ROW, {"check": confirm.Check("a", "b", "31.1.2026")}, "`checked_on` is '31.1.2026', expected YYYY-MM-DD"),
        (ROW, {"check": confirm.Check(" ")}, "nobody is named; say who"),
    ],
)
def test_what_cannot_be_recorded_changes_nothing(
    folder: Path, name: str, options: dict[str, object], message: str
) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    check = options.pop("check", CHECK)
    with pytest.raises(HarnessError, match=message):
        confirm.confirm(folder, [name], check, **options)  # type: ignore[arg-type]
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_wrong_command_lines(root: Path) -> None:
    for wrong in (["--by", "x"], ["--confirm", ROW, "--unverified"], [ROW, "--confirm", ROW], ["--value", "3"]):
        assert run(root, *wrong).exit_code != 0, wrong
