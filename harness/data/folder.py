"""Any folder of images, or an npz with `images` and perhaps `labels`."""

from collections.abc import Iterator
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np

from harness.data.card import Definition
from harness.data.source import Picture, Source, hash_file
from harness.errors import HarnessError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
CHUNK = 256  # images of an npz read at once


def open_source(path: Path, entry: Definition) -> Source:
    """Open a folder of images (searched in depth, sorted by path) or an npz.

    If every image lies in one of two or more subfolders, the subfolders in sorted order are the classes.

    Raises:
        HarnessError: nothing there, or not such a file.
    """
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
        if not files:
            raise HarnessError(f"{path}: no images here ({', '.join(SUFFIXES)}).")
        return Source(len(files), _from_folder(path, files), f"image folder {path.name}")
    if path.suffix == ".npz" and path.is_file():
        return open_npz(path)
    raise HarnessError(f"{path}: neither a folder of images nor an npz.")


def open_npz(path: Path) -> Source:
    """Open an npz with `images` uint8 [N, H, W, 3] and optionally `labels` [N]; the images are streamed from it.

    Raises:
        HarnessError: not an npz, arrays missing, or of another shape or type.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            labels = arrays["labels"] if "labels" in arrays.files else None
        with ZipFile(path) as archive, archive.open("images.npy") as handle:
            shape, fortran, dtype = _header(handle)
    except (OSError, ValueError, KeyError, BadZipFile, EOFError) as error:
        raise HarnessError(f"{path}: not an npz with `images` (and optionally `labels`): {error}.") from None
    if dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or fortran:
        raise HarnessError(f"{path}: `images` is {dtype} {list(shape)}, expected C-ordered uint8 [N, H, W, 3].")
    if labels is not None and (labels.shape != shape[:1] or labels.dtype.kind not in "iu"):
        raise HarnessError(f"{path}: `labels` is {labels.dtype} {list(labels.shape)}, expected {shape[0]} integers.")
    return Source(shape[0], _from_npz(path, labels), f"npz {path.name}", hash_file(path)[1])


def _header(handle: object) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(handle)  # type: ignore[arg-type]
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(handle)  # type: ignore[arg-type]


def _from_npz(path: Path, labels: np.ndarray | None) -> Iterator[Picture]:
    with ZipFile(path) as archive, archive.open("images.npy") as handle:
        count, height, width, channels = _header(handle)[0]
        size = height * width * channels
        for start in range(0, count, CHUNK):
            n = min(CHUNK, count - start)
            block = handle.read(n * size)
            if len(block) < n * size:
                raise EOFError("`images` is shorter than its header says")
            for i, image in enumerate(np.frombuffer(block, np.uint8).reshape(n, height, width, channels)):
                yield image, None if labels is None else int(labels[start + i])


def _from_folder(path: Path, files: list[Path]) -> Iterator[Picture]:
    from PIL import Image

    parents = [file.relative_to(path).parts[:-1] for file in files]
    classes = sorted({parts[0] for parts in parents if parts})
    labelled = len(classes) > 1 and all(parents)
    for file, parts in zip(files, parents, strict=True):
        try:
            with Image.open(file) as image:
                pixels = np.asarray(image.convert("RGB"))
        except OSError as error:
            raise OSError(f"{file}: {error}") from error
        yield pixels, classes.index(parts[0]) if labelled else None
