"""Everything a scale reads, in one tar, for machines without internet; nothing is put in place before all is whole."""

import hashlib
import io
import json
import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from harness import config
from harness.errors import HarnessError
from harness.files import replacing, sha256_file

MANIFEST = "manifest.json"  # the first member: {schema, scale, files: {path: {sha256, bytes}}}
ROOMS = ("data", "cache")  # first part of every path in a bundle; `cache` is .cache, or HARNESS_CACHE
CHUNK = 1 << 20


def create(out: Path, params: config.Params, root: Path, cache: Path) -> dict[str, Any]:
    """Pack the scale's data sets, Inception weights and whatever reference statistics there are; return the manifest.

    Data sets and weights that are missing are fetched first.

    Raises:
        HarnessError: something cannot be fetched or is damaged, or `out` cannot be written.
    """
    files = {**_data(params, root), **_weights(params, cache)}
    files |= _references(params, files, cache)
    entries = {name: {"sha256": sha256_file(path), "bytes": path.stat().st_size} for name, path in files.items()}
    manifest = {"schema": 1, "scale": params.scale, "files": entries}
    text = json.dumps(manifest, indent=2, sort_keys=True).encode()
    with replacing(out) as temporary, tarfile.open(temporary, "w") as archive:
        info = tarfile.TarInfo(MANIFEST)
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text))
        for name, path in _progress(files, "packing"):
            archive.add(path, arcname=name, recursive=False)
    return manifest


def unpack(bundle: Path, root: Path, cache: Path) -> dict[str, Any]:
    """Verify every file of a bundle, then move all of them to their places; return the manifest.

    Raises:
        HarnessError: not a bundle, truncated, or a file that is not what the manifest says; nothing was changed then.
    """
    part = root / f".{bundle.name}.part"
    shutil.rmtree(part, ignore_errors=True)  # left by a killed process
    try:
        manifest = _extract(bundle, part)
        cards = [name for name in manifest["files"] if name.endswith("/card.json")]
        for name in cards:  # from here until its card is back a folder is no data set
            _place(name, root, cache).unlink(missing_ok=True)
        for name in [*(manifest["files"].keys() - cards), *cards]:
            target = _place(name, root, cache)
            target.parent.mkdir(parents=True, exist_ok=True)
            _move(part / name, target)
    except (tarfile.TarError, EOFError) as error:
        raise HarnessError(f"{bundle}: truncated or not a bundle ({error}); copy it again.") from None
    except OSError as error:
        why = error.strerror or error
        raise HarnessError(f"{bundle}: could not be unpacked ({why}); free disk space or fix permissions.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return manifest


# ---------------------------------------------------------------- what goes in


def _data(params: config.Params, root: Path) -> dict[str, Path]:
    from harness.data import CARD, IMAGES, LABELS
    from harness.data.fetch import prepare

    out: dict[str, Path] = {}
    for name in sorted({run.dataset for run in params.runs.values()}):
        folder = root / "data" / name
        prepare(name, folder, root)
        out |= {f"data/{name}/{f}": folder / f for f in (IMAGES, LABELS, CARD) if (folder / f).exists()}
    return out


def _weights(params: config.Params, cache: Path) -> dict[str, Path]:
    """The weights under the name by which they are found in the cache of the other machine."""
    from harness.metrics import weights

    found = weights.load(params.scoring.weights, cache)
    if params.scoring.weights not in weights.NAMES:
        raise HarnessError(
            f"scoring.weights is the file {found.path}, which no other machine finds by that name; "
            f"copy it yourself, or use one of {', '.join(weights.NAMES)}."
        )
    canonical = {
        ("trunk", ".npz"): weights.TRUNK_NAME,
        ("official", ".pb"): weights.OFFICIAL_GRAPH,
        ("official", ".pth"): weights.PORT_NAME,
    }
    name = canonical.get((found.kind, found.path.suffix), found.path.name)
    out = {f"cache/inception/{name}": found.path}
    record = found.path.with_suffix(".sha256")  # beside a stand-in
    return out | ({f"cache/inception/{record.name}": record} if record.is_file() else {})


def _references(params: config.Params, files: dict[str, Path], cache: Path) -> dict[str, Path]:
    """Kept statistics of this scale's layer and number of reals, made of these pixels: their content says so."""
    from harness.data import IMAGES
    from harness.files import sha256_pixels

    arrays = [np.load(path, mmap_mode="r") for name, path in files.items() if name.endswith(f"/{IMAGES}")]
    pixels = {sha256_pixels(images[: params.scoring.n_real]) for images in arrays}
    out = {}
    for path in sorted((cache / "references").glob("*.npz")):
        content = _content(path)
        if content.get("layer") == params.scoring.layer and content.get("pixels_sha256") in pixels:
            out[f"cache/references/{path.name}"] = path
    return out


def _content(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            content: dict[str, Any] = json.loads(str(arrays["content"]))
            return content
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}  # damaged, or not ours: the scorer would not use it either


# ---------------------------------------------------------------- what comes out


def _extract(bundle: Path, part: Path) -> dict[str, Any]:
    with tarfile.open(bundle) as archive:
        members = iter(archive)
        first = next(members, None)
        source = archive.extractfile(first) if first is not None and first.name == MANIFEST else None
        if source is None:
            raise HarnessError(f"{bundle}: not a bundle: its first member is not {MANIFEST}.")
        manifest = _manifest(source.read(), bundle)
        missing = dict(manifest["files"])
        for info in members:
            expected = missing.pop(info.name, None)
            source = archive.extractfile(info) if expected is not None and info.isreg() else None
            if source is None or expected is None:
                raise HarnessError(f"{bundle}: {info.name} is not a file of its manifest; do not trust this bundle.")
            if _write(source, part / info.name) != expected["sha256"]:
                raise HarnessError(f"{bundle}: {info.name} has not the sha256 of the manifest; copy the bundle again.")
    if missing:
        raise HarnessError(f"{bundle}: {len(missing)} files are missing, e.g. {min(missing)}; copy the bundle again.")
    return manifest


def _manifest(data: bytes, bundle: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(data)
        files = {PurePosixPath(name): entry["sha256"] for name, entry in manifest["files"].items()}
        manifest["scale"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HarnessError(f"{bundle}: its {MANIFEST} cannot be read ({error!r}); copy the bundle again.") from None
    for name in files:
        if name.is_absolute() or ".." in name.parts or name.parts[0] not in ROOMS or len(name.parts) < 2:
            raise HarnessError(f"{bundle}: {name} would be written outside data and cache; do not trust this bundle.")
    result: dict[str, Any] = manifest
    return result


def _write(source: Any, path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with open(path, "wb") as handle:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            handle.write(chunk)
        handle.flush()
        os.fsync(handle.fileno())
    return digest.hexdigest()


def _place(name: str, root: Path, cache: Path) -> Path:
    room, *rest = PurePosixPath(name).parts
    return (cache if room == "cache" else root / "data").joinpath(*rest)


def _move(source: Path, target: Path) -> None:
    if source.stat().st_dev == target.parent.stat().st_dev:
        os.replace(source, target)
    else:  # the cache may lie on another disk
        with replacing(target) as temporary:
            shutil.copyfile(source, temporary)


def _progress(files: dict[str, Path], what: str) -> Iterator[tuple[str, Path]]:
    from tqdm import tqdm

    yield from tqdm(files.items(), desc=what, unit="file", disable=None)
