"""Death at any change of the disk: run again, the training ends as if nothing had happened, and leaves nothing else.

The child process dies right before its k-th creation, truncation, rename, removal or flush of a file, wherever in the
code that is: an audit hook of the interpreter sees the calls, `os.fsync` is replaced.
"""

import itertools
import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.config.experiments import Run
from harness.training import history
from harness.training.loop import TrainingStopped
from tests.training import tiny

CHANGES = {"os.rename", "os.remove", "os.truncate", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
DEATH = 9


def small() -> Run:
    """Three steps, with a snapshot, a row of history and a checkpoint at each."""
    return tiny.run(
        length_nimg=24,
        n_critic=1,
        generator_batch=8,
        log_every_nimg=8,
        checkpoint_every_nimg=8,
        snapshots_nimg=(8, 16),
        grids_nimg=(0, 16),
    )


def changes_of(folder: Path, train: Callable[[], None], death: int | None = None) -> int:
    """Train in a child that dies before change number `death`; return how many changes it made if it did not."""
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        counter, fsync, seen = itertools.count(), os.fsync, 0

        def change() -> None:
            nonlocal seen
            seen = next(counter)
            if seen == death:
                os._exit(DEATH)

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event not in CHANGES and not (event == "open" and arguments[2] & WRITING):
                return
            if isinstance(arguments[0], str | os.PathLike) and str(arguments[0]).startswith(str(folder)):
                change()

        def counted_fsync(descriptor: int) -> None:
            change()
            fsync(descriptor)

        os.fsync = counted_fsync
        sys.addaudithook(hook)
        train()
        os.write(send, str(seen + 1).encode())
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as handle:
        text = handle.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code == (0 if text else DEATH), f"the child left with {code}"
    return int(text or 0)


def train_whole(folder: Path) -> Callable[[], None]:
    return lambda: tiny.fit(small(), folder)


def train_stopped(folder: Path) -> Callable[[], None]:
    """Stop after two steps, then go on to the end."""

    def train() -> None:
        with pytest.raises(TrainingStopped):
            tiny.fit(small(), folder, stop_nimg=16)
        tiny.fit(small(), folder)

    return train


def content(folder: Path) -> dict[str, Any]:
    """Everything below a folder, without what two equal trainings do not share: clocks, and hashes of them."""
    found: dict[str, Any] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = str(path.relative_to(folder))
        if path.name == "history.csv":
            found[name] = [{k: v for k, v in row.items() if k not in history.TIMING} for row in history.read(path)]
        elif path.name == "train.json":
            record = json.loads(path.read_text())
            found[name] = {
                k: v for k, v in record.items() if k not in ("cost", "provenance", "history_sha256", "sha256")
            }
        elif path.suffix == ".json" and path.stem.isdigit():
            record = json.loads(path.read_text())
            found[name] = [record["nimg"], record["tensors_sha256"], record["beside"]["weights_sha256"]]
        elif path.name != "lock":
            found[name] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("undisturbed")
    tiny.fit(small(), folder)
    return content(folder)


def die_and_go_on(folder: Path, train: Callable[[Path], Callable[[], None]], death: int) -> dict[str, Any]:
    assert changes_of(folder, train(folder), death) == 0
    for published in ("weights", "train/grids"):
        assert not list((folder / "out" / published).glob(".*")), f"a temporary in {published}, which a pipeline hashes"
    tiny.fit(small(), folder)
    return content(folder)


def test_the_undisturbed_training_leaves_only_its_files(undisturbed: dict[str, Any]) -> None:
    names = set(undisturbed)
    assert {n for n in names if n.startswith("out/weights/")} == {
        f"out/weights/{n}.safetensors" for n in ("8", "16", "last")
    }
    assert not [name for name in names if "part" in name or "stopped" in name]
    assert [row["nimg"] for row in undisturbed["out/train/history.csv"]] == ["8", "16", "24"]


@pytest.mark.parametrize("draw", range(10))
def test_death_at_a_drawn_change(draw: int, tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    death = random.Random(draw).randrange(180)
    assert die_and_go_on(tmp_path, train_whole, death) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("train", [train_whole, train_stopped])
def test_death_at_every_change(train: Any, tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    count = changes_of(tmp_path / "count", train(tmp_path / "count"))
    assert count >= 180
    for death in range(count):
        assert die_and_go_on(tmp_path / str(death), train, death) == undisturbed, f"death at change {death} of {count}"
