"""Files are whole or absent."""

import json
from pathlib import Path

import numpy as np
import pytest

from harness import files
from harness.errors import HarnessError


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


def test_pixel_hash_does_not_depend_on_chunks_or_layout():
    images = np.arange(7 * 4 * 4 * 3, dtype=np.uint8).reshape(7, 4, 4, 3)
    assert files.sha256_pixels(images, 2) == files.sha256_pixels(np.asfortranarray(images), 5)
    assert files.sha256_pixels(images) != files.sha256_pixels(images[::-1])
