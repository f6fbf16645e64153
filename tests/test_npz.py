"""Arrays of an npz: whole and as large as they say, or refused before they take memory."""

import io
import struct
import zipfile

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.npz import read_npz

ARRAYS = {
    "rows": np.arange(12, dtype=np.float32).reshape(3, 4),
    "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "words": np.array("some words"),
}


def saved(arrays=ARRAYS, save=np.savez) -> bytes:
    out = io.BytesIO()
    save(out, **arrays)
    return out.getvalue()


def read(data: bytes, limit: int = 10_000, names=None):
    return read_npz(io.BytesIO(data), "some.npz", limit, names)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back(save, tmp_path):
    found = read(saved(save=save))
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    assert list(read(saved(save=save), names={"rows", "others"})) == ["rows"]
    (tmp_path / "x.npz").write_bytes(saved(save=save))
    assert list(read_npz(tmp_path / "x.npz", "x", 10_000)) == list(ARRAYS)


def header_only(shape: str, descr: str = "<f4", content: bytes = b"") -> bytes:
    """One entry whose header says `shape`."""
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + content)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (header_only("(1000000000000,)"), "more than 10,000 bytes in all"),
        (header_only("(100,)", content=bytes(40)), r"\[100\] of float32, but holds"),
        (header_only("(100,)", content=bytes(396)), "holds 396 bytes"),
        (header_only("(2,)", content=bytes(9)), "holds 9 bytes"),
        (header_only("(-5,)"), "npz"),
        (header_only("(2,)", descr="O"), "Python objects"),
        (saved({"a": np.zeros(1500, np.float32), "b": np.zeros(1500, np.float32)}), "b is .* more than 10,000 bytes"),
        (saved({"a": np.zeros(1 << 20)}, np.savez_compressed), "more than 10,000 bytes in all"),
        (b"<html></html>", "some.npz: not a readable npz"),
        (saved()[:-30], "some.npz: not a readable npz"),
    ],
)
def test_lies_and_damage_are_refused(data, message):
    with pytest.raises(HarnessError, match=message):
        read(data)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_200_flipped_bits_never_give_other_values(save):
    data = saved(save=save)
    for position in np.random.default_rng(0).integers(0, 8 * len(data), 200):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        try:
            found = read(bytes(flipped))
        except HarnessError:
            continue
        for name in found.keys() & ARRAYS.keys():  # a name may be another
            np.testing.assert_array_equal(found[name], ARRAYS[name])
