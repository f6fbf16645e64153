"""Names, leases and locks of a stage's attempts."""

import os
from pathlib import Path

import pytest

from harness.cluster import attempt_folder as state


@pytest.mark.parametrize("name", ["train@e-seed0", "results/paper/dvc.yaml:train@x", "..", ".hidden", "a%2Fb", "é b"])
def test_a_name_becomes_a_folder_and_comes_back(name: str) -> None:
    folder = state.escaped(name)
    assert state.unescaped(folder) == name
    assert "/" not in folder
    assert not folder.startswith(".")


def test_a_lease_names_one_attempt_and_numbers_are_not_used_twice(tmp_path: Path) -> None:
    assert (state.lease(tmp_path), state.last_attempt(tmp_path)) == (0, 0)
    state.grant(tmp_path, 3)
    assert (state.lease(tmp_path), state.last_attempt(tmp_path)) == (3, 3)
    state.revoke(tmp_path)
    assert (state.lease(tmp_path), state.last_attempt(tmp_path)) == (0, 3)


def test_a_lock_is_held_by_who_inherited_it(tmp_path: Path) -> None:
    first, second = state.open_lock(tmp_path), state.open_lock(tmp_path)
    inherited = os.dup(first)
    try:
        assert state.try_lock(first)
        os.close(first)
        assert not state.try_lock(second)
        os.close(inherited)
        assert state.try_lock(second)
    finally:
        os.close(second)


def test_locks_are_tried_before_they_are_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert state.locks_work(tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(state.fcntl, "flock", lambda *_: None)  # a file system where everybody gets every lock
    assert not state.locks_work(tmp_path)


def test_the_last_line_of_a_log_is_what_a_progress_bar_shows(tmp_path: Path) -> None:
    log = tmp_path / "1.log"
    assert state.last_line(log) == ""
    log.write_bytes(b"begun\n 10%\r 20%\x1b[0m\r\n\n")
    assert state.last_line(log) == "20%[0m"
