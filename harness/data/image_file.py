"""One image file as 8-bit RGB, or refused. Every image, packed or scored, is read here."""

import io
import struct
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness.errors import HarnessError

MAX_PIXELS = 1 << 26  # of one image: 8192 x 8192
MAX_BYTES = 1 << 28  # of one file

# What is accepted besides 8-bit RGB PNGs if it is asked for. jpeg: decoded (its compression has changed the pixels, and
# with them FID); grey: the one channel becomes red, green and blue; palette: looked up; alpha: laid over white;
# ignore-exif: a rotation noted in the EXIF data is not applied, as in torchvision.
Conversion = Literal["jpeg", "grey", "palette", "alpha", "ignore-exif"]
_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"RIFF": "WebP",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
# The seven passes of an interlaced PNG: first column and row, and the steps between them.
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_AT_ONCE = 1 << 20  # bytes of pixels unpacked at once
_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright


def read_image(path: Path, convert: Collection[str] = ()) -> np.ndarray:
    """Read one file as uint8 [H, W, 3].

    Raises:
        HarnessError: not an undamaged PNG (or declared JPEG) of 8-bit RGB, or larger than the limits.
    """
    return decode_image(_read_bytes(path), str(path), convert)


def check_image(path: Path, convert: Collection[str] = ()) -> tuple[str, tuple[int, int]]:
    """Return format and (height, width) of one file from its header, without decoding it.

    Raises:
        HarnessError: the header says that `read_image` would refuse it.
    """
    from PIL import Image

    with _opened(path) as handle:
        head = handle.read(32)
        form = _check_format(head, str(path), convert)
        handle.seek(0)
        try:
            with Image.open(handle, formats=[form]) as image:
                _check_header(image, head, str(path), convert)
                if form == "JPEG":  # the EXIF data of a PNG may stand behind its pixels
                    _check_rotation(image, str(path), convert)
                return form, (image.height, image.width)
        except (HarnessError, MemoryError):
            raise
        except Exception as error:
            raise _unreadable(str(path), error) from None


def is_jpeg(path: Path) -> bool:
    """Return whether a file begins as a JPEG does; raises as `read_image` where it cannot be opened."""
    with _opened(path) as handle:
        return _SIGNATURES.get(handle.read(3)) == "JPEG"


def decode_image(data: bytes, name: str, convert: Collection[str] = ()) -> np.ndarray:
    """Decode the bytes of one file, called `name` in messages, as uint8 [H, W, 3].

    Raises:
        HarnessError: as `read_image`.
    """
    from PIL import Image

    form = _check_format(data, name, convert)
    if form == "PNG":
        _check_chunks(data, name)
    try:
        with Image.open(io.BytesIO(data), formats=[form]) as image:
            _check_header(image, data, name, convert)
            image.load()
            _check_header(image, data, name, convert)  # a transparent colour may stand behind the pixels
            _check_rotation(image, name, convert)
            return np.asarray(_rgb(image))
    except (HarnessError, MemoryError):
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error, zlib.error and others
        raise _unreadable(name, error) from None


def _opened(path: Path) -> io.BufferedReader:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise HarnessError(f"{path}: {path.stat().st_size:,} bytes; an image file may have {MAX_BYTES:,}.")
        return open(path, "rb")
    except OSError as error:
        raise HarnessError(f"{path}: cannot be read ({error.strerror}).") from None


def _read_bytes(path: Path) -> bytes:
    with _opened(path) as handle:
        try:
            return handle.read(MAX_BYTES)
        except OSError as error:
            raise HarnessError(f"{path}: cannot be read ({error.strerror}).") from None


def _check_format(data: bytes, name: str, convert: Collection[str]) -> str:
    form = next((form for signature, form in _SIGNATURES.items() if data.startswith(signature)), None)
    if form is None:
        raise HarnessError(f"{name}: not a readable image (neither PNG nor JPEG); truncated?")
    if form == "PNG" or (form == "JPEG" and "jpeg" in convert):
        return form
    disguise = " under the name of a PNG" if name.lower().endswith(".png") else ""
    raise HarnessError(f"{name}: is {form}{disguise}; {only(form)}.")


def only(form: str) -> str:
    """Say what to do with images of a format that is not read."""
    if form == "JPEG":
        return (
            "JPEG changes the pixels, and with them FID: write samples losslessly as PNG, "
            "or declare it (`--allow-jpeg` in scoring, `convert: [jpeg]` in a data set's definition)"
        )
    return "only PNG and declared JPEG are read: write the images losslessly as PNG"


def _check_chunks(data: bytes, name: str) -> None:
    """Compare the checksum of every chunk of a PNG and the number of its pixels.

    Pillow leaves out the checksums of the pixels, and fills up with black where pixels are missing.
    """
    at, pixels = 8, []
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, body, end = data[at + 4 : at + 8], memoryview(data)[at + 8 : at + 8 + length], at + 12 + length
        if end > len(data):
            break
        if zlib.crc32(body, zlib.crc32(kind)) != struct.unpack(">I", data[end - 4 : end])[0]:
            raise HarnessError(f"{name}: not a readable image (a checksum of the PNG is wrong); damaged?")
        if kind == b"IDAT":
            pixels.append(body)
        if kind == b"IEND":
            return _check_pixels(data, pixels, name)
        at = end
    raise HarnessError(f"{name}: not a readable image (the PNG ends too early); truncated?")


def _check_pixels(data: bytes, compressed: list[memoryview], name: str) -> None:
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    if width * height > MAX_PIXELS:
        raise HarnessError(f"{name}: {width} x {height} pixels; an image may have {MAX_PIXELS:,}.")
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1)
    expected = 0
    for x, y, dx, dy in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = max(0, -((x - width) // dx)), max(0, -((y - height) // dy))
        expected += rows * (1 + (columns * bits + 7) // 8) if columns else 0
    stream, found = zlib.decompressobj(), 0
    try:
        for part in compressed:
            left: bytes | memoryview = part
            full = False  # more may come without more input
            while (left or full) and not stream.eof and found <= expected:
                piece = stream.decompress(left, _AT_ONCE)
                found, left, full = found + len(piece), stream.unconsumed_tail, len(piece) == _AT_ONCE
    except zlib.error as error:
        raise _unreadable(name, error) from None
    if not stream.eof or found != expected:
        raise HarnessError(f"{name}: not a readable image (its pixels are not {width} x {height}); truncated?")


def _check_header(image: Any, data: bytes, name: str, convert: Collection[str]) -> None:
    """Refuse what the header says is too large or not 8-bit RGB. `data`: at least the first 32 bytes."""
    if image.width * image.height > MAX_PIXELS:
        raise HarnessError(f"{name}: {image.width} x {image.height} pixels; an image may have {MAX_PIXELS:,}.")
    if image.format == "PNG" and data[24] == 16:  # Pillow cuts 16-bit RGB to 8 bits
        raise _unfit(name, "16 bits a channel")
    if getattr(image, "is_animated", False):
        raise _unfit(name, f"{getattr(image, 'n_frames', 'several')} frames")
    if image.mode in ("RGBA", "LA") or "transparency" in image.info:
        if "alpha" not in convert:
            raise _unfit(name, "with alpha", "alpha")
    elif image.mode in ("L", "1"):
        if "grey" not in convert:
            raise _unfit(name, "grey", "grey")
    elif image.mode == "P":
        if "palette" not in convert:
            raise _unfit(name, "palette", "palette")
    elif image.mode != "RGB":
        raise _unfit(name, f"mode {image.mode}")


def _check_rotation(image: Any, name: str, convert: Collection[str]) -> None:
    if "ignore-exif" not in convert and image.getexif().get(_ORIENTATION, 1) != 1:
        raise _unfit(name, "with a rotation in its EXIF data", "ignore-exif")


def _rgb(image: Any) -> Any:
    from PIL import Image

    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in ("RGBA", "LA") or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _unfit(name: str, what: str, conversion: str = "") -> HarnessError:
    how = f" (a data set's definition may ask for `convert: [{conversion}]`)" if conversion else ""
    return HarnessError(f"{name}: {what}, expected 8-bit RGB; convert it on purpose, it is not guessed here{how}.")


def _unreadable(name: str, error: Exception) -> HarnessError:
    return HarnessError(f"{name}: not a readable image ({error}); truncated?")
