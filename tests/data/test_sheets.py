"""Sheets are lossless and say how many images they hold."""

from pathlib import Path

import numpy as np
import pytest

from harness.data import sheets
from harness.errors import HarnessError


def noise(count: int, side: int = 8) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, side, side, 3), np.uint8)


@pytest.mark.parametrize("count", [1, 25, 26, 1000, 1001, 2500])
def test_a_round_trip_returns_every_byte(tmp_path: Path, count: int):
    images = noise(count)
    paths = sheets.write(images, tmp_path)
    assert [p.name for p in paths][:1] == [f"000000-{min(count, 1000)}.webp"]
    assert len(paths) == -(-count // 1000)
    assert np.array_equal(sheets.read(tmp_path), images)


def test_tiles_lie_row_by_row():
    images = noise(30)
    sheet = sheets.tile(images)
    assert sheet.shape == (2 * 8, 25 * 8, 3)
    assert np.array_equal(sheet[:8, 8:16], images[1])
    assert np.array_equal(sheet[8:, :8], images[25])
    assert not sheet[8:, 5 * 8 :].any()


def test_reading_stops_at_the_first_gap_and_names_what_is_wrong(tmp_path: Path):
    images = noise(2100, side=4)
    _, second, third = sheets.write(images, tmp_path)
    second.unlink()
    assert np.array_equal(sheets.read(tmp_path), images[:1000])
    wrong = tmp_path / "wrong" / "000000-999.webp"
    wrong.parent.mkdir()
    third.rename(wrong)
    with pytest.raises(HarnessError, match="100 tiles"):
        sheets.read(wrong.parent)
    wrong.write_bytes(b"RIFF")
    with pytest.raises(HarnessError, match="not a readable sheet"):
        sheets.read(wrong.parent)
    with pytest.raises(HarnessError, match="no sheet"):
        sheets.read(tmp_path / "empty")


@pytest.mark.shared
def test_the_real_sheets_have_this_layout(shared_dir: Path):
    from PIL import Image

    source = shared_dir / "mirror" / "cifar10" / "train_00.webp"
    with Image.open(source) as image:
        sheet = np.asarray(image.convert("RGB"))
    assert np.array_equal(sheets.tile(sheets.untile(sheet, 1000)), sheet)
