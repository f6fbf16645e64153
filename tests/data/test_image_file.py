"""One image file: 8-bit RGB is read, everything else is refused or converted because somebody asked for it."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from harness.data.image_file import MAX_BYTES, check_image, decode_image, read_image
from harness.errors import HarnessError

from .pngs import GREY, PALETTE, RGB, RGBA, SIGNATURE, chunk, png, write

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
EXIF = chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0")  # turned by 90 degrees


def encoded(image: Image.Image, form: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def frames(form: str) -> bytes:
    image = Image.fromarray(PIXELS)
    return encoded(image, form, save_all=True, append_images=[image.rotate(90).resize(image.size)])


UNFIT = {
    "16-bit RGB": (png(PIXELS.astype(np.uint16) * 257), "16 bits a channel"),
    "16-bit grey": (png(PIXELS[..., :1].astype(np.uint16) * 257, GREY), "16 bits a channel"),
    "16-bit RGBA": (png(np.full((5, 6, 4), 9999, np.uint16), RGBA), "16 bits a channel"),
    "grey": (png(PIXELS[..., :1], GREY), "grey"),
    "palette": (png(PIXELS[..., :1] % 2, PALETTE, chunk(b"PLTE", bytes(6))), "palette"),
    "alpha": (png(np.concatenate([PIXELS, PIXELS[..., :1]], 2), RGBA), "with alpha"),
    "a transparent colour": (png(PIXELS, RGB, chunk(b"tRNS", bytes(6))), "with alpha"),
    "a transparent colour behind the pixels": (
        png(PIXELS)[:-12] + chunk(b"tRNS", bytes(6)) + chunk(b"IEND", b""),
        "with alpha",
    ),
    "turned by EXIF": (png(PIXELS, RGB, EXIF), "rotation in its EXIF"),
    "several frames": (frames("PNG"), "2 frames"),
    "GIF": (frames("GIF"), "GIF"),
    "TIFF": (encoded(Image.fromarray(PIXELS), "TIFF"), "TIFF"),
    "WebP": (encoded(Image.fromarray(PIXELS), "WEBP"), "WebP"),
    "BMP": (encoded(Image.fromarray(PIXELS), "BMP"), "BMP"),
    "JPEG": (encoded(Image.fromarray(PIXELS), "JPEG"), "JPEG changes the pixels"),
    "empty": (b"", "neither PNG nor JPEG"),
    "text": (b"hello", "neither PNG nor JPEG"),
    "cut": (png(PIXELS)[:-20], "truncated"),
    "cut in the header": (png(PIXELS)[:20], "truncated"),
    "a bomb": (png(np.zeros((4, 4, 3), np.uint8), size=(100_000, 100_000)), "100000 x 100000|exceeds limit"),
    "a smaller bomb": (png(np.zeros((4, 4, 3), np.uint8), size=(9000, 9000)), "9000 x 9000 pixels; an image may"),
    "a text bomb": (png(PIXELS, RGB, chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 24)))), "not a readable image"),
    "a wrong palette": (png(PIXELS[..., :1], PALETTE), "palette, expected 8-bit RGB"),
    "a colour type that is none": (png(PIXELS, 5), "not a readable image"),
    "too many pixels": (png(PIXELS, size=(4, 6)), "its pixels are not 6 x 4"),
    "too few pixels": (png(PIXELS[:1], size=(5, 6)), "its pixels are not 6 x 5"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_unfit_files_are_refused(tmp_path, case):
    data, message = UNFIT[case]
    path = write(tmp_path / "x.png", data)
    with pytest.raises(HarnessError, match=message) as error:
        read_image(path)
    assert str(path) in str(error.value)


HEADERS = [case for case in UNFIT if not any(word in case for word in ("EXIF", "cut", "wrong", "pixels", "text"))]


@pytest.mark.parametrize("case", HEADERS)
def test_what_the_header_says_is_refused_before_anything_is_decoded(tmp_path, case):
    data, message = UNFIT[case]
    with pytest.raises(HarnessError, match=message):
        check_image(write(tmp_path / "x.png", data))


def test_rgb_is_read_as_it_stands(tmp_path):
    path = write(tmp_path / "x.png", png(PIXELS))
    assert check_image(path) == ("PNG", (5, 6))
    np.testing.assert_array_equal(read_image(path), PIXELS)
    for large in (np.zeros((1000, 800, 3), np.uint8), np.arange(2_100_000, dtype=np.uint8).reshape(700, 1000, 3)):
        np.testing.assert_array_equal(decode_image(png(large), "x"), large)
    gamma = png(PIXELS, RGB, chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"tEXt", b"Title\0x"))
    np.testing.assert_array_equal(decode_image(gamma, "x"), PIXELS)


@pytest.mark.parametrize("side", [1, 2, 5, 9])
def test_interlaced_files_are_whole_files(side):
    """The one interlaced PNG whose bytes are easy to write has the same value everywhere."""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    raw = b""
    for x, y, dx, dy in passes:
        columns, rows = len(range(x, side, dx)), len(range(y, side, dy))
        raw += (b"\0" + bytes([7, 8, 9]) * columns) * rows if columns else b""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, RGB, 0, 0, 1))
    for cut in (0, 1):
        body = chunk(b"IDAT", zlib.compress(raw[: len(raw) - cut]))
        data = SIGNATURE + header + body + chunk(b"IEND", b"")
        if cut:
            with pytest.raises(HarnessError, match="its pixels are not"):
                decode_image(data, "x")
        else:
            assert (decode_image(data, "x") == [7, 8, 9]).all()


CONVERTED = {
    "grey": (UNFIT["grey"][0], PIXELS[..., :1].repeat(3, 2)),
    "palette": (
        png(PIXELS[..., :1] % 2, PALETTE, chunk(b"PLTE", bytes([1, 2, 3, 4, 5, 6]))),
        np.array([[1, 2, 3], [4, 5, 6]])[PIXELS[..., 0] % 2],
    ),
    "alpha": (png(np.concatenate([PIXELS, np.zeros_like(PIXELS[..., :1])], 2), RGBA), np.full_like(PIXELS, 255)),
    "ignore-exif": (png(PIXELS, RGB, EXIF), PIXELS),
    "jpeg": (
        encoded(Image.fromarray(PIXELS), "JPEG"),
        np.asarray(Image.open(io.BytesIO(encoded(Image.fromarray(PIXELS), "JPEG")))),
    ),
}


@pytest.mark.parametrize("conversion", CONVERTED)
def test_conversions_are_asked_for_one_by_one(conversion):
    data, expected = CONVERTED[conversion]
    np.testing.assert_array_equal(decode_image(data, "x", (conversion,)), expected)
    with pytest.raises(HarnessError):
        decode_image(data, "x", set(CONVERTED) - {conversion})


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_a_jpeg_of_other_inks_is_refused(mode):
    data = encoded(Image.fromarray(PIXELS).convert(mode), "JPEG")
    if mode == "YCbCr":  # what every colour JPEG holds
        assert decode_image(data, "x", ("jpeg",)).shape == (5, 6, 3)
        return
    with pytest.raises(HarnessError, match="mode CMYK"):
        decode_image(data, "x", tuple(CONVERTED))


def test_a_phones_picture_of_several_frames_or_turned_by_exif_is_refused(tmp_path):
    image = Image.fromarray(PIXELS)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = write(tmp_path / "x.jpg", encoded(image, "JPEG", exif=exif))
    pair = write(tmp_path / "y.jpg", encoded(image, "MPO", save_all=True, append_images=[image]))
    for read in (read_image, check_image):
        with pytest.raises(HarnessError, match="rotation"):
            read(turned, ("jpeg",))
        with pytest.raises(HarnessError, match="2 frames"):
            read(pair, ("jpeg",))


def test_the_checksum_of_the_pixels_is_compared():
    """Pillow skips it: this file decodes to other pixels without a word."""
    data = bytearray(png(PIXELS))
    at = data.index(b"IDAT") + 4
    length = struct.unpack(">I", data[at - 8 : at - 4])[0]
    raw = bytearray(zlib.decompress(data[at : at + length]))
    raw[40] ^= 1
    changed = zlib.compress(bytes(raw))
    assert len(changed) == length
    data[at : at + length] = changed  # a valid stream under the old checksum
    assert Image.open(io.BytesIO(data)).load() is not None
    with pytest.raises(HarnessError, match="checksum"):
        decode_image(bytes(data), "x")


def test_a_file_that_is_too_large_or_cannot_be_opened_is_refused(tmp_path):
    path = tmp_path / "x.png"
    with open(path, "wb") as handle:
        handle.truncate(MAX_BYTES + 1)
    with pytest.raises(HarnessError, match="an image file may have"):
        read_image(path)
    with pytest.raises(HarnessError, match="cannot be read"):
        read_image(tmp_path / "missing.png")
