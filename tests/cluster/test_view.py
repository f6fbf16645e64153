"""What a launch shows."""

import io
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.cluster.driver import Row
from harness.cluster.resources import Resources
from harness.cluster.view import Lines, summary, table


def row(folder: Path, name: str, state: str, **more: Any) -> Row:
    return Row(
        name=name, folder=folder, gpus=1, state=state, stage=None, after=set(), resources=Resources(gpus=1), **more
    )  # type: ignore[arg-type]


def test_a_table_of_what_runs_and_what_ended_last(tmp_path: Path) -> None:
    (tmp_path / "2.log").write_text("begun\n[red]35%\r40%\n")
    rows = [
        row(tmp_path, "train@a", "running", attempt=2, host="node7", started=1.0),
        row(tmp_path, "train@[b]", "failed", attempt=1, note="exit 1"),
        row(tmp_path, "later", "waiting"),
        row(tmp_path, "old", "up to date"),
    ]
    console = Console(width=200, file=io.StringIO(), force_terminal=False)
    console.print(table(rows, ["train@[b]"]))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "1 of 4 done, 1 failed, 1 running, 1 waiting" in text
    shown = {line.split()[1]: line for line in text.splitlines() if "train" in line}
    assert "node7" in shown["train@a"]
    assert "40%" in shown["train@a"]
    assert "exit 1" in shown["train@[b]"]
    assert "later" not in text


def test_a_line_for_each_change_but_not_for_what_was_up_to_date(tmp_path: Path) -> None:
    stream = io.StringIO()
    view = Lines(stream)
    view.tell(row(tmp_path, "a", "failed"), "exit 1")
    view.tell(row(tmp_path, "b", "up to date"), "")
    assert stream.getvalue().endswith(" a failed: exit 1\n")
    assert stream.getvalue().count("\n") == 1


def test_nothing_to_do_is_all_done(tmp_path: Path) -> None:
    assert summary([row(tmp_path, "a", "recorded"), row(tmp_path, "b", "restored")]) == "2 of 2 done"
