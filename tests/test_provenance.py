"""Where results come from, and why that is not known where it is not."""

import subprocess
from pathlib import Path

import pytest

from harness import provenance


def repository(folder: Path) -> Path:
    """One commit."""
    (folder / "file").write_text("a\n")
    user = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    for command in (["init", "-q"], ["add", "-A"], [*user, "commit", "-qm", "one"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def test_the_commit_and_whether_it_was_changed(tmp_path: Path) -> None:
    found = provenance.commit(repository(tmp_path))
    assert (len(found["git_commit"]), found["git_dirty"]) == (40, False)
    (tmp_path / "untracked").write_text("b\n")
    assert provenance.commit(tmp_path)["git_dirty"] is False
    (tmp_path / "file").write_text("b\n")
    assert provenance.commit(tmp_path)["git_dirty"] is True


@pytest.mark.parametrize("folder", provenance.DECIDES)
def test_an_untracked_file_that_decides_a_result_is_a_change(tmp_path: Path, folder: str) -> None:
    """A model or an experiment that is in no commit: nobody could make the result again."""
    (repository(tmp_path) / folder).mkdir()
    (tmp_path / folder / "new.py").write_text("b\n")
    assert provenance.commit(tmp_path)["git_dirty"] is True
    (tmp_path / ".git/info/exclude").write_text("new.py\n")
    assert provenance.commit(tmp_path)["git_dirty"] is False, "what git ignores is no source"


def unknown(folder: Path) -> str:
    found = provenance.commit(folder)
    assert (found["git_commit"], found["git_dirty"]) == (None, None)
    return str(found["git_commit_unknown"])


def test_no_repository(tmp_path: Path) -> None:
    assert "not a git repository" in unknown(tmp_path)


def test_a_repository_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository(tmp_path)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    why = unknown(tmp_path)
    assert "dubious ownership" in why
    assert f"git config --global --add safe.directory {tmp_path}" in why


def test_no_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert unknown(tmp_path) == "git is not installed"
