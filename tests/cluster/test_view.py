"""What a launch shows."""

import io
from pathlib import Path

from rich.console import Console

from harness.cluster import attempt_folder as state
from harness.cluster.view import Lines, summary, table
from tests.cluster.helpers import row


def test_a_table_of_what_runs_and_what_ended_last(tmp_path: Path) -> None:
    (tmp_path / "2.log").write_text("begun\n[red]35%\r40%\n")
    began = state.now() - 3600
    rows = [
        row("train@a", gpus=1, state="running", attempt=2, host="node7", started=began, hours=3, folder=tmp_path),
        row("train@[b]", state="failed", attempt=1, note="exit 1", hours=8),
        row("later", gpus=1, hours=1.5),
        row("on a CPU", hours=100),
        row("old", gpus=1, state="up to date", hours=50),
    ]
    console = Console(width=200, file=io.StringIO(), force_terminal=False)
    console.print(table(rows, ["train@[b]"]))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "1 of 5 done, 1 failed, 1 running, 2 waiting; 3.5 GPU-hours left" in text
    shown = {line.split()[1]: line for line in text.splitlines() if "train" in line}
    assert "node7" in shown["train@a"]
    assert "40%" in shown["train@a"]
    assert "3600 s │        2.0 │" in shown["train@a"]
    assert "exit 1" in shown["train@[b]"]
    assert "later" not in text


def test_a_line_for_each_change_but_not_for_what_was_up_to_date() -> None:
    stream = io.StringIO()
    view = Lines(stream)
    view.tell(row("a", state="failed"), "exit 1")
    view.tell(row("b", state="up to date"), "")
    assert stream.getvalue().endswith(" a failed: exit 1\n")
    assert stream.getvalue().count("\n") == 1


def test_nothing_to_do_is_all_done() -> None:
    assert summary([row("a", state="recorded", hours=1), row("b", state="restored")]) == "2 of 2 done"


def test_without_a_gpu_all_hours_count() -> None:
    assert summary([row("a", hours=1), row("b", hours=2.25, state="queued")]).endswith("; 3.2 hours left")
