"""Features on disk: what is read is what was written, or nothing."""

import dataclasses
import shutil

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.metrics.feature_file import FeatureFile

ROWS = np.random.default_rng(0).standard_normal((10, 6)).astype(np.float32)


@pytest.fixture
def kept(tmp_path) -> FeatureFile:
    file = FeatureFile(tmp_path / "features" / "a.bin", 10, 6, {"pixels_sha256": "a" * 64})
    with file.writing() as append:
        append(ROWS[:4])
        append(ROWS[4:])
    return file


def test_rows_come_back_read_only(kept):
    found = kept.read()
    np.testing.assert_array_equal(found, ROWS)
    assert not found.flags.writeable
    assert [p.name for p in kept.path.parent.iterdir()] == ["a.bin"]


def test_an_absent_cut_longer_or_foreign_file_is_not_read(kept, tmp_path):
    other = dataclasses.replace(kept, path=tmp_path / "b.bin", content={"pixels_sha256": "b" * 64})
    assert other.read() is None
    shutil.copy(kept.path, other.path)
    assert other.read() is None, "the features of other pixels"
    assert dataclasses.replace(kept, count=6, channels=10).read() is None
    data = kept.path.read_bytes()
    for changed in (b"", data[:-1], data[: 5 * 24] + data[-32:], data + b"\0"):
        kept.path.write_bytes(changed)
        assert kept.read() is None


def test_200_flipped_bits_are_noticed(kept):
    data = kept.path.read_bytes()
    for position in np.random.default_rng(1).integers(0, 8 * len(data), 200):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        kept.path.write_bytes(flipped)
        assert kept.read() is None


def test_a_write_that_breaks_off_or_is_too_short_leaves_what_was_there(kept):
    with pytest.raises(AssertionError, match="expected"), kept.writing() as append:
        append(ROWS[:, :5])
    with pytest.raises(AssertionError, match="4 of 10 rows"), kept.writing() as append:
        append(ROWS[:4])
    np.testing.assert_array_equal(kept.read(), ROWS)
    assert [p.name for p in kept.path.parent.iterdir()] == ["a.bin"]


def test_a_full_disk_is_a_sentence(kept):
    resource = pytest.importorskip("resource")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))  # as a full disk: write() fails after 100 bytes
    try:
        with pytest.raises(HarnessError, match=r"a\.bin: could not be written"), kept.writing() as append:
            append(ROWS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    np.testing.assert_array_equal(kept.read(), ROWS)
