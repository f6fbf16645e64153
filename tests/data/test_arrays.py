"""npy and npz files: read in slices, refused with a fitting hint, and never believed about sizes."""

import io
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest

from harness.data.arrays import NpyFile, NpzArray, check_images, read_labels
from harness.data.images import open_images
from harness.errors import HarnessError

IMAGES = np.random.default_rng(2).integers(0, 256, (12, 8, 8, 3), np.uint8)
CAST = "astype('uint8')"


def npy(array: np.ndarray, shape: tuple[int, ...] | None = None, version: tuple[int, int] = (1, 0)) -> bytes:
    """The bytes of an npy file whose header may state another shape."""
    out = io.BytesIO()
    header = np.lib.format.header_data_from_array_1_0(array) | ({"shape": shape} if shape else {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        {(1, 0): np.lib.format.write_array_header_1_0, (2, 0): np.lib.format.write_array_header_2_0}[version](
            out, header
        )
    return out.getvalue() + array.tobytes()


def npz(path, member: bytes, name: str = "images.npy", **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr(name, member)
    return path


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_both_versions_of_the_format_are_read(tmp_path, version):
    (tmp_path / "x.npy").write_bytes(npy(IMAGES, version=version))
    np.testing.assert_array_equal(NpyFile(tmp_path / "x.npy")[3:7], IMAGES[3:7])


def test_an_npz_is_read_in_any_order(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", images=IMAGES, labels=np.arange(12))
    array = NpzArray(tmp_path / "x.npz", ("images",))
    for part in (slice(5, 9), slice(9, 12), slice(0, 2), slice(2, 2), slice(0, 12)):
        np.testing.assert_array_equal(array[part], IMAGES[part])
    assert read_labels(tmp_path / "x.npz", 12).tolist() == list(range(12))


SIZES = {
    "1 TiB of images": npy(IMAGES, (1 << 28, 32, 32, 4)),
    "more images": npy(IMAGES, (13, 8, 8, 3)),
    "fewer images": npy(IMAGES, (11, 8, 8, 3)),
    "a negative number": npy(IMAGES, (-12, 8, 8, 3)),
    "a huge header": npy(IMAGES)[:8] + b"\xff\xff" + b" " * 65535 + IMAGES.tobytes(),
    "a header of 4 GiB": b"\x93NUMPY\x02\0\xff\xff\xff\xff{" + b" " * 50000,
    "another version": b"\x93NUMPY\x09\0" + npy(IMAGES)[8:],
    "a nested header": b"\x93NUMPY\x01\0\x84\x03" + b"(" * 900,
    "code for a header": b"\x93NUMPY\x01\0\x20\0" + b"__import__('os').system('ls')".ljust(32),
    "no array": b"hello",
    "nothing": b"",
}


@pytest.mark.parametrize("form", ["npy", "npz", "npz of zeros"])
@pytest.mark.parametrize("case", SIZES)
def test_a_header_is_not_believed(tmp_path, case, form):
    path = tmp_path / f"x.{form[:3]}"
    if form == "npy":
        path.write_bytes(SIZES[case])
    else:
        npz(path, SIZES[case], compression=zipfile.ZIP_DEFLATED if "zeros" in form else zipfile.ZIP_STORED)
    tracemalloc.start()
    try:
        with pytest.raises(HarnessError, match="not a readable") as error:
            open_images(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert str(path) in str(error.value)
    assert peak < 10e6


def test_pickles_are_not_loaded(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}, {}], object), allow_pickle=True)
    with pytest.raises(HarnessError, match="pickled objects, which could run code"):
        open_images(tmp_path / "x.npy")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_flipped_bit_in_an_npz_is_found_before_the_pass(tmp_path, save):
    save(tmp_path / "x.npz", images=np.concatenate([IMAGES] * 10))
    data = bytearray((tmp_path / "x.npz").read_bytes())
    data[len(data) * 9 // 10] ^= 4  # beyond the images whose values are looked at
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(HarnessError, match="not a readable npz"):
        open_images(tmp_path / "x.npz")


def test_a_zip_bomb_is_refused_by_its_ratio(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.data.arrays._BOMB_BYTES", 10_000)
    np.savez_compressed(tmp_path / "x.npz", images=np.zeros((200, 32, 32, 3), np.uint8))
    with pytest.raises(HarnessError, match=r"grows from .* to 614,528 bytes, more than 200 times"):
        open_images(tmp_path / "x.npz")


def test_two_arrays_of_one_name_are_refused(tmp_path):
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("images.npy", npy(IMAGES))
        archive.writestr("images.npy", npy(IMAGES // 2))
    with pytest.raises(HarnessError, match="holds `images` twice"):
        open_images(tmp_path / "x.npz")


def test_a_password_or_labels_of_another_length_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", images=IMAGES, labels=np.arange(11))
    with pytest.raises(HarnessError, match="expected 12 integers"):
        read_labels(tmp_path / "x.npz", 12)
    data = bytearray(npz(tmp_path / "y.npz", npy(IMAGES)).read_bytes())
    data[6] |= 1  # "encrypted", in the member's header and in the directory
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "y.npz").write_bytes(data)
    with pytest.raises(HarnessError, match="encrypted"):
        open_images(tmp_path / "y.npz")


HINTS = {
    "-1..1": (IMAGES / np.float32(127.5) - 1, f"((x + 1) * 127.5).round().clip(0, 255).{CAST}"),
    "0..1": (IMAGES / np.float64(255), f"(x * 255).round().clip(0, 255).{CAST}"),
    "0..255": (IMAGES.astype(np.float32), f"x.round().{CAST}"),
    "integers": (IMAGES.astype(np.int64), f"x.round().{CAST}"),
    "-128..127": (IMAGES.astype(np.int16) - 128, "the range is none of"),
    "NaN": (np.where(IMAGES > 250, np.nan, IMAGES), "not finite"),
    "truth values": (IMAGES > 127, "dtype bool, expected uint8 in 0..255."),
    "words": (np.array(["a", "b"]), "dtype <U1, expected uint8 in 0..255."),
}


@pytest.mark.parametrize("form", ["npy", "npz"])
@pytest.mark.parametrize("case", HINTS)
def test_the_hint_fits_the_values(tmp_path, case, form):
    values, hint = HINTS[case]
    path = tmp_path / f"x.{form}"
    np.save(path, values) if form == "npy" else np.savez(path, images=values)
    with pytest.raises(HarnessError) as error:
        open_images(path)
    assert hint in str(error.value)
    assert ("127.5" in str(error.value)) == (case == "-1..1")


def test_fortran_order_and_giant_images_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", images=np.asfortranarray(IMAGES))
    with pytest.raises(HarnessError, match="Fortran order"):
        open_images(tmp_path / "x.npz")
    np.save(tmp_path / "y.npy", np.zeros((1, 1, 9000, 3), np.uint8))
    with pytest.raises(HarnessError, match="9000 x 1 pixels"):
        check_images(NpyFile(tmp_path / "y.npy"), tmp_path / "y.npy")
