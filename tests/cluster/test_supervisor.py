"""A supervisor by itself, with no engine around it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cluster import attempt_folder as state
from harness.cluster import supervisor

HURRIED = "import sys; from harness.cluster import supervisor as s; s.UNREACHABLE_SEC = 1.5; sys.exit(s.main())"


def hang(folder: Path) -> None:
    """A read of the lease never returns, as from a network folder whose server is gone."""
    os.mkfifo(folder / "pipe")
    os.replace(folder / "pipe", folder / "lease.json")


def fail(folder: Path) -> None:
    """A read of the lease is an error."""
    folder.rename(folder.with_name("gone"))
    folder.touch()


@pytest.mark.parametrize("cut", [hang, fail])
def test_a_supervisor_that_cannot_reach_the_folder_ends_its_stage(tmp_path: Path, cut: Callable[[Path], None]) -> None:
    folder = tmp_path / "stage"
    folder.mkdir()
    commands = [["sh", "-c", "trap 'echo told > told; exit 143' TERM; sleep 60 & wait"]]
    job = {"attempt": 1, "commands": commands, "folder": str(tmp_path), "environment": {}, "inputs": None}
    state.write(folder / "job.json", job)
    state.grant(folder, 1)
    line = [sys.executable, "-c", HURRIED, "supervisor", str(folder), "1", "5", str(os.getpid())]
    process = subprocess.Popen(line, stdin=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not (folder / "running.json").exists() or not supervisor.marked(f"{folder}#"):
        assert time.monotonic() < until
        time.sleep(0.05)
    lock = state.open_lock(folder)
    try:
        assert not state.try_lock(lock)
        time.sleep(0.3)
        cut(folder)
        begun = time.monotonic()
        assert process.wait(30) == state.LOST
        assert time.monotonic() - begun > 0.3, "it gave the folder no time to come back"
        assert (tmp_path / "told").exists()
        assert supervisor.marked(f"{folder}#") == []
        assert state.try_lock(lock)
    finally:
        process.kill()
        os.close(lock)
