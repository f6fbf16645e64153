"""One flipped bit in what a training reads back: it is refused, or made again, never published."""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.networks.generator_file import open_weights
from harness.training import checkpoint, loop
from harness.training.loop import TrainingStopped
from tests.training import tiny
from tests.training.test_crashes import content, small

FLIPS = 200


def flips(path: Path, seed: int, count: int = FLIPS) -> Iterator[int]:
    """Flip one drawn bit of a file at a time; the file is whole again afterwards."""
    whole, chance = path.read_bytes(), random.Random(seed)
    for _ in range(count):
        bit = chance.randrange(8 * len(whole))
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        yield bit
    path.write_bytes(whole)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("undisturbed")
    tiny.fit(small(), folder)
    return content(folder)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was stopped after two of three steps."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.raises(TrainingStopped):
        tiny.fit(small(), folder, stop_nimg=16)
    return folder


def test_weights_are_refused(tmp_path: Path) -> None:
    tiny.fit(small(), tmp_path)
    record = json.loads((tmp_path / "out/train/train.json").read_text())
    path = tmp_path / "out/weights/last.safetensors"
    for _ in flips(path, 1):
        with pytest.raises(HarnessError, match=r"last\.safetensors"):
            open_weights(path, record["weights_sha256"]["last"])
    open_weights(path, record["weights_sha256"]["last"])


# of the run folder, after the second of three steps
READ_BACK = {
    "snapshot": "weights/8.safetensors",
    "history": "history.csv",
    "checkpoint": "000000000016.json",
    "tensors": "000000000016.safetensors",
}


@pytest.mark.parametrize("part", READ_BACK)
@pytest.mark.parametrize("count", [3, pytest.param(FLIPS, marks=pytest.mark.slow)])
def test_what_a_resumed_training_reads_is_made_again(
    part: str, count: int, tmp_path: Path, stopped: Path, undisturbed: dict[str, Any]
) -> None:
    (source,) = stopped.glob(f"work/*/*/{READ_BACK[part]}")
    for i, bit in enumerate(flips(source, 2, count)):
        shutil.copytree(stopped, tmp_path / str(i))
        tiny.fit(small(), tmp_path / str(i))
        assert content(tmp_path / str(i)) == undisturbed, f"bit {bit} of {source.name}"


@pytest.mark.parametrize("part", READ_BACK)
def test_every_flip_is_noticed_when_a_checkpoint_is_read(part: str, stopped: Path) -> None:
    (folder,) = (path.parent for path in stopped.glob("work/*/*/run.json"))
    whole = checkpoint.load(folder, folder.name)
    assert whole is not None
    for bit in flips(folder / READ_BACK[part], 3):
        found = checkpoint.load(folder, folder.name)
        assert found is None or found.nimg < whole.nimg, f"bit {bit}"


@pytest.mark.parametrize("part", ["weights/8.safetensors", "weights/16.safetensors", "history.csv"])
def test_what_changes_after_it_was_written_is_not_published(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk changes a file between its writing and its publication, in one process."""
    publish = loop.publish

    def damage(*arguments: Any) -> None:
        (path,) = tmp_path.glob(f"work/*/*/{part}")
        next(flips(path, 4))
        publish(*arguments)

    monkeypatch.setattr(loop, "publish", damage)
    with pytest.raises(HarnessError, match="it changed on the disk"):
        tiny.fit(small(), tmp_path)
    assert not (tmp_path / "out/train/train.json").exists()
