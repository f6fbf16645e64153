"""Files are whole or absent."""

import errno
import hashlib
import json
import os
import signal
import stat
from pathlib import Path

import numpy as np
import pytest
import torch

from harness import files
from harness.errors import HarnessError
from harness.networks.generator_file import save_tensors


def test_a_failed_write_leaves_the_old_file_and_nothing_beside(tmp_path: Path):
    path = tmp_path / "a.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_a_sentence(tmp_path: Path):
    path = tmp_path / "a.npy"

    def full() -> None:
        with files.replacing(path):
            raise OSError(28, "No space left on device")

    with pytest.raises(HarnessError, match="No space left on device"):
        full()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", '{"a": ', "\xff"])
def test_a_corrupt_json_is_named(tmp_path: Path, text: str):
    path = tmp_path / "a.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(HarnessError, match="not valid JSON"):
        files.read_json(path)


def test_a_missing_json_says_what_to_do(tmp_path: Path):
    with pytest.raises(HarnessError, match="dvc repro"):
        files.read_json(tmp_path / "b.json")


def test_pixel_hash_does_not_depend_on_chunks_or_layout(monkeypatch):
    images = np.arange(7 * 4 * 4 * 3, dtype=np.uint8).reshape(7, 4, 4, 3)
    whole = hashlib.sha256(images.tobytes()).hexdigest()
    for at_once in (1, 100, 500, 1 << 24):  # bytes; an image has 48
        monkeypatch.setattr(files, "_HASHED_AT_ONCE", at_once)
        assert files.sha256_pixels(images) == files.sha256_pixels(np.asfortranarray(images)) == whole
    assert files.sha256_pixels(images[:0]) == hashlib.sha256().hexdigest()
    assert files.sha256_pixels(images) != files.sha256_pixels(images[::-1])


def test_the_umask_decides_who_may_read(tmp_path: Path):
    for umask, mode in ((0o022, 0o644), (0o077, 0o600), (0o002, 0o664)):
        old = os.umask(umask)
        try:
            files.write_text(tmp_path / "a.txt", "a")
            save_tensors(tmp_path / "a.safetensors", {"x": torch.zeros(1)})
        finally:
            os.umask(old)
        for name in ("a.txt", "a.safetensors"):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode, name
            (tmp_path / name).unlink()


def test_two_writers_of_one_name_do_not_share_a_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "getpid", lambda: 1)  # as in two containers
    path = tmp_path / "a.txt"
    with files.replacing(path) as one, files.replacing(path) as other:
        one.write_text("one")
        other.write_text("other")
        assert one.read_text() == "one"
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_temporaries_of_the_dead_are_swept_and_of_the_living_are_not(tmp_path: Path):
    path = tmp_path / "a.txt"
    dead = [tmp_path / ".a.txt.1234.part", tmp_path / ".a.txt.0123456789abcdef.part"]
    other = tmp_path / ".b.txt.1234.part"
    for file in (*dead, other):
        file.write_text("half")
    with files.replacing(path) as living:
        assert not any(file.exists() for file in dead)
        assert other.exists(), "another file's temporary is not this writer's matter"
        files.sweep(tmp_path)
        assert living.exists()
        living.write_text("whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt"]


def test_a_killed_writer_leaves_a_temporary_that_the_next_one_sweeps(tmp_path: Path):
    path = tmp_path / "a.txt"
    pid = os.fork()
    if pid == 0:
        with files.replacing(path) as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert len(list(tmp_path.glob(".a.txt.*.part"))) == 1
    files.write_text(path, "whole")
    assert list(tmp_path.iterdir()) == [path]


def test_temporaries_lie_where_they_are_asked_for(tmp_path: Path):
    published = tmp_path / "published"
    with files.replacing(published / "a.txt", tmp_path) as temporary:
        assert temporary.parent == tmp_path
        assert not list(published.iterdir())
        temporary.write_text("a")
    assert (published / "a.txt").read_text() == "a"


@pytest.mark.parametrize("failing", ["open", "unlink", "replace", "fsync"])
def test_a_read_only_disk_is_a_sentence_whatever_fails_besides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
):
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    files.write_text(tmp_path / "a.txt", "old")
    monkeypatch.setattr(os, "replace", read_only)
    monkeypatch.setattr(os, failing, read_only)
    with pytest.raises(HarnessError, match=r"a\.txt: could not be written \(Read-only file system\)"):
        files.write_text(tmp_path / "a.txt", "new")
    monkeypatch.undo()
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_symbolic_link_is_replaced_and_its_target_kept(tmp_path: Path):
    target, link = tmp_path / "cache" / "a.txt", tmp_path / "a.txt"
    files.write_text(target, "of a cache")
    link.symlink_to(target)
    files.write_text(link, "new")
    assert (link.read_text(), link.is_symlink(), target.read_text()) == ("new", False, "of a cache")


def test_a_name_reaches_the_disk_after_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The temporary is flushed before the rename, its folder after it."""
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def noted_replace(source: Path, target: Path) -> None:
        calls.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    files.write_text(tmp_path / "a.txt", "a")
    assert calls == ["file", "rename", "folder"]


def test_a_lock_is_held_by_one_process_and_names_it(tmp_path: Path):
    path = tmp_path / "run" / "lock"
    with files.locked(path):
        pid = os.fork()
        if pid == 0:
            try:
                with files.locked(path):
                    os._exit(0)
            except HarnessError as error:
                os._exit(7 if f"run: process {os.getppid()} on" in str(error) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    with files.locked(path):
        pass


def test_a_lock_that_cannot_be_taken_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files.fcntl, "flock", unsupported)
    with (
        pytest.raises(HarnessError, match=r"lock: cannot be locked \(No locks available\)"),
        files.locked(tmp_path / "lock"),
    ):
        pass
    files.write_text(tmp_path / "a.txt", "a")  # needs no lock
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="could not be written"), files.locked(tmp_path / "file" / "lock"):
        pass


def test_a_copy_of_something_else_is_not_made(tmp_path: Path):
    files.write_text(tmp_path / "a.txt", "a")
    files.copy(tmp_path / "a.txt", tmp_path / "b.txt", files.sha256_file(tmp_path / "a.txt"))
    with pytest.raises(HarnessError, match=r"a\.txt: has sha256 .* it changed on the disk"):
        files.copy(tmp_path / "a.txt", tmp_path / "c.txt", "0" * 64)
    assert not (tmp_path / "c.txt").exists()
