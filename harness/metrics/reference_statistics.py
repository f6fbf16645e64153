"""Statistics of the real images, kept under a key of everything they depend on, so that none is used by mistake."""

import hashlib
import io
import json
import sys
import zipfile
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.config.reader import digest
from harness.data.images import Images
from harness.errors import HarnessError
from harness.files import replacing
from harness.metrics.extractors.base import Extractor, Setup
from harness.metrics.feature_file import FeatureFile
from harness.metrics.fid import GaussianStatistics
from harness.metrics.image_pass import one_pass
from harness.npz import read_npz

_VERSION = 2  # bumped when the statistics of the same content change
_LIMIT_BYTES = 256 << 20  # mean, covariance and factor of 2048 channels take 67 MB
_NEGATIVE = 1e-6  # of the largest variance: what rounding of a covariance in float32 may leave below 0, measured 1e-8
_ARRAYS = ("mu", "sigma", "factor", "count", "content", "sha256")


@dataclass(frozen=True)
class Reference:
    """The reference of a score: its Gaussian, and how many images made it (None: undeclared).

    `content` is what the statistics depend on, {} for a file from elsewhere; `file_sha256` is of a file that was given.
    """

    gaussian: GaussianStatistics
    count: int | None
    content: dict[str, Any]
    file_sha256: str | None = None


def content(pixels_sha256: str, card: dict[str, Any], n: int, extractor: Extractor, layer: int) -> dict[str, Any]:
    """Return everything that reference statistics depend on, and what they are of; its digest is their file's name."""
    return {
        "version": _VERSION,
        "pixels_sha256": pixels_sha256,  # of the n images used
        **{key: card.get(key) for key in ("name", "stand_in", "split", "crop", "resize")},
        "n": n,
        "scorer": extractor.scorer,
        "resizer": extractor.resizer,
        "weights_sha256": extractor.weights_sha256,
        "layer": layer,
    }


def contents_of(images: Images, counts: Collection[int], extractor: Extractor, layer: int) -> dict[int, dict[str, Any]]:
    """Return `content` of the first so many images, for each count; the pixels are hashed in one reading.

    Raises:
        HarnessError: the pixels are not those of their card.
    """
    return {n: content(sha256, images.card, n, extractor, layer) for n, sha256 in images.hashes(counts).items()}


def content_of(images: Images, extractor: Extractor, layer: int) -> dict[str, Any]:
    """Return `content` of all images; see `contents_of`."""
    return contents_of(images, [len(images)], extractor, layer)[len(images)]


def path_of(cache: Path, key: dict[str, Any]) -> Path:
    """Return where statistics of that content are kept."""
    return Path(cache) / "references" / f"{digest(key)}.npz"


def feature_file(cache: Path, key: dict[str, Any]) -> FeatureFile:
    """Return where the features of that content are kept."""
    return FeatureFile(Path(cache) / "features" / f"{digest(key)}.features", key["n"], key["layer"], key)


def of_images(
    images: Images, keys: Collection[dict[str, Any]], extractor: Extractor, setup: Setup, kid: int | None = None
) -> tuple[dict[int, Reference], FeatureFile | None, float]:
    """Return the statistics of the first so many images by their count, the file of features, and the device seconds.

    Kept entries are used if they are whole; those that are missing or damaged are computed in one pass.

    Args:
        keys: `content_of` the first so many images; `n` is their count.
        kid: keep the features of the first so many, which is one of the counts; None: keep none.

    Statistics that cannot be saved are returned all the same, with a warning.

    Raises:
        HarnessError: the pixels changed since they were hashed; the features cannot be kept.
    """
    by_count = {key["n"]: key for key in keys}
    found = {n: kept for n, key in by_count.items() if (kept := find(setup.cache, key)) is not None}
    features = feature_file(setup.cache, by_count[kid]) if kid is not None else None
    missing = set(by_count) - set(found)
    if features is not None and features.read() is None:
        if features.path.exists():
            _warn_damaged(features.path)
        missing.add(features.count)
        keep: FeatureFile | None = features
    else:
        keep = None
    if not missing:
        return found, features, 0.0
    hashes = {n: by_count[n]["pixels_sha256"] for n in missing}
    done = one_pass(images.first(max(missing)), extractor, setup, "reals", sha256=hashes, features=keep)
    for n in missing:
        first = done.first[n]
        found[n] = Reference(GaussianStatistics(first.mean, first.covariance), n, by_count[n])
        path = path_of(setup.cache, by_count[n])
        try:
            save(path, found[n])
        except HarnessError as error:  # what was computed is not lost with the place for it
            print(f"warning: statistics are not kept: {error}", file=sys.stderr)
    return found, features, done.device_sec


def save(path: Path, reference: Reference) -> None:
    """Write mu, sigma, the factor of sigma, the count, the content and a digest of all of it as one npz."""
    gaussian = reference.gaussian
    arrays = {
        "mu": gaussian.mean,
        "sigma": gaussian.covariance,
        "factor": gaussian.factor,
        "count": np.array(reference.count if reference.count is not None else -1),
        "content": np.array(json.dumps(reference.content, sort_keys=True)),
    }
    with replacing(path) as temporary, open(temporary, "wb") as handle:
        np.savez(handle, **arrays, sha256=np.array(_seal(arrays)))  # type: ignore[arg-type]  # its flags are no arrays


def find(cache: Path, key: dict[str, Any]) -> Reference | None:
    """Return the kept statistics of exactly that content, or None; a damaged file is named and counts as absent."""
    path = path_of(cache, key)
    if not path.is_file():
        return None
    try:
        reference = _reference(path, *_read(path))
    except HarnessError:
        _warn_damaged(path)
        return None
    # the name is a digest of the content; the content itself decides
    return reference if reference.content == key else None


def load_statistics(path: Path, extractor: Extractor, layer: int, n: int | None) -> Reference:
    """Read statistics from a file: kept by this harness, or TTUR-style `fid_stats_*.npz` with `mu` and `sigma`.

    The harness's own files say how they were made, and are refused under another protocol. A foreign file says nothing:
    its layer is checked by its size, its number of images is `n` if declared; its `content` is {}, so that whoever
    scores against it takes resizer and weights for unknown.

    Raises:
        HarnessError: damaged, no finite mu [d] and sigma [d, d], or another layer, scorer, resizer, weights or count.
    """
    arrays, file_sha256 = _read(path)
    mean, covariance = arrays["mu"], arrays["sigma"]
    if mean.shape != (layer,) or covariance.shape != (layer, layer):
        raise HarnessError(
            f"{path}: mu {list(mean.shape)} and sigma {list(covariance.shape)}; layer {layer} needs [{layer}] and "
            f"[{layer}, {layer}]. Give statistics of that layer, or the --layer they were made at."
        )
    reference = _reference(path, arrays, file_sha256)
    if not reference.content:
        return replace(reference, count=n)
    wanted = {
        "scorer": extractor.scorer,
        "resizer": extractor.resizer,
        "weights_sha256": extractor.weights_sha256,
        "layer": layer,
        "n": reference.count if n is None else n,
    }
    for name, value in wanted.items():
        found = reference.content.get(name)
        if found != value:
            raise HarnessError(f"{path}: made with {name} {found}, asked for {value}; make them again.")
    return reference


def count(path: Path) -> int | None:
    """Return how many images made the statistics of a file of this harness; None for one from elsewhere.

    Raises:
        HarnessError: damaged, or no statistics.
    """
    return _reference(path, *_read(path)).count


def content_in(path: Path) -> dict[str, Any]:
    """Return what the statistics of a file of this harness are of; {} for one from elsewhere; raises as `count`."""
    return _reference(path, *_read(path)).content


def is_statistics(path: Path) -> bool:
    """Return whether `path` is an npz with `mu` and `sigma`."""
    if path.suffix != ".npz" or not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return {"mu.npy", "sigma.npy"} <= set(archive.namelist())
    except Exception:  # zipfile raises whatever it likes on damaged bytes; then it is no npz
        return False


def _read(path: Path) -> tuple[dict[str, np.ndarray], str]:
    """Return the arrays of one file, mu and sigma among them, and its sha256: what is parsed is what is hashed."""
    try:
        if path.stat().st_size > _LIMIT_BYTES:
            raise HarnessError(f"{path}: {path.stat().st_size:,} bytes; statistics of one layer are far smaller.")
        data = path.read_bytes()
    except OSError as error:
        raise HarnessError(f"{path}: cannot be read ({error.strerror or error}).") from None
    arrays = read_npz(io.BytesIO(data), str(path), _LIMIT_BYTES, _ARRAYS)
    for name in ("mu", "sigma"):
        if name not in arrays:
            raise HarnessError(f"{path}: holds no `{name}`; expected mu [d] and sigma [d, d].")
        if arrays[name].dtype.kind != "f":
            raise HarnessError(
                f"{path}: `{name}` is {arrays[name].dtype}, expected floating-point numbers; whole ones are no moments "
                "of features. Make the statistics again."
            )
    return arrays, hashlib.sha256(data).hexdigest()


def _reference(path: Path, arrays: dict[str, np.ndarray], file_sha256: str) -> Reference:
    mean, covariance = arrays["mu"], arrays["sigma"]
    if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
        raise HarnessError(f"{path}: mu {list(mean.shape)} and sigma {list(covariance.shape)} do not fit.")
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise HarnessError(f"{path}: mu or sigma holds NaN or infinity; make the statistics again.")
    if not np.allclose(covariance, covariance.T, rtol=1e-6, atol=1e-9):
        raise HarnessError(f"{path}: sigma is not symmetric; it is no covariance.")
    gaussian = GaussianStatistics(mean, covariance)
    if arrays.keys() == {"mu", "sigma"}:
        variances = np.linalg.eigvalsh(gaussian.covariance)
        if variances[0] < -_NEGATIVE * max(variances[-1], 0.0):
            raise HarnessError(
                f"{path}: sigma has a variance of {variances[0]:.3g}, the largest is {variances[-1]:.3g}: no "
                "covariance. Make the statistics again."
            )
        return Reference(gaussian, None, {}, file_sha256)
    seal = str(arrays.pop("sha256", None))
    if seal != _seal(arrays):
        raise HarnessError(f"{path}: not as it was written: its digest is another one. Make the statistics again.")
    gaussian.factor = arrays["factor"]  # a cached property: filled, it is not computed again
    return Reference(gaussian, int(arrays["count"]), json.loads(str(arrays["content"])), file_sha256)


def _seal(arrays: dict[str, np.ndarray]) -> str:
    """Return the sha256 of the arrays' names, types, shapes and values."""
    whole = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        whole.update(f"{name} {array.dtype.str} {array.shape}".encode())
        whole.update(np.ascontiguousarray(array).tobytes())
    return whole.hexdigest()


def _warn_damaged(path: Path) -> None:
    print(f"warning: {path} is damaged; computing it again.", file=sys.stderr)
