"""A damaged checkpoint is never used and never silently replaced."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.training import checkpoint
from harness.training.loop import TrainingStopped
from tests.training import tiny


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Outcome of the MLP run without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    tiny.fit(tiny.run(), folder)
    return tiny.outcome(folder)


def newest(folder: Path) -> tuple[Path, Path]:
    tensors = max((folder / "work").glob("*/*/*.safetensors"))
    return tensors, tensors.with_suffix(".json")


def truncate(tensors: Path, record: Path) -> None:
    tensors.write_bytes(tensors.read_bytes()[:-100])


def flip_bit(tensors: Path, record: Path) -> None:
    data = bytearray(tensors.read_bytes())
    data[len(data) // 2] ^= 4
    tensors.write_bytes(data)


def edit_scalar(tensors: Path, record: Path) -> None:
    record.write_text(record.read_text().replace('"nimg": ', '"nimg": 1'))


def cut_json(tensors: Path, record: Path) -> None:
    record.write_text(record.read_text()[:30])


def foreign(tensors: Path, record: Path) -> None:
    body = json.loads(record.read_text())
    body.pop("digest")
    checkpoint.save(tensors.parent, "0123456789abcdef", body["nimg"], {"x": torch.zeros(1)}, body["scalars"])


def missing(tensors: Path, record: Path) -> None:
    tensors.unlink()


@pytest.mark.parametrize("damage", [truncate, flip_bit, edit_scalar, cut_json, foreign, missing])
def test_damaged_checkpoint_falls_back_loudly(
    damage: Any, tmp_path: Path, whole: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(TrainingStopped):
        tiny.fit(tiny.run(), tmp_path, stop_nimg=120)
    damage(*newest(tmp_path))
    tiny.fit(tiny.run(), tmp_path)
    err = capsys.readouterr().err
    assert "000000000120.json is damaged" in err
    assert "resuming at 80 of 160" in err
    tiny.assert_same(whole, tiny.outcome(tmp_path))


def test_all_checkpoints_damaged_starts_afresh_loudly(
    tmp_path: Path, whole: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(TrainingStopped):
        tiny.fit(tiny.run(), tmp_path, stop_nimg=120)
    for path in (tmp_path / "work").glob("*/*/*.safetensors"):
        path.write_bytes(b"")
    tiny.fit(tiny.run(), tmp_path)
    assert capsys.readouterr().err.count("is damaged") == 2
    tiny.assert_same(whole, tiny.outcome(tmp_path))


def test_two_checkpoints_are_kept(tmp_path: Path) -> None:
    tiny.fit(tiny.run(), tmp_path)
    stems = sorted(int(p.stem) for p in (tmp_path / "work").glob("*/*/*.safetensors"))
    assert stems == [120, 160]
