"""Statistics of the real images, kept under a key of everything they depend on, so that none is used by mistake."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.config.reader import digest
from harness.errors import HarnessError
from harness.files import replacing
from harness.metrics.extractors.base import Extractor
from harness.metrics.fid import GaussianStatistics

_VERSION = 1  # bumped when the statistics of the same content change


@dataclass(frozen=True)
class Reference:
    """The real side of a score: its Gaussian, how many images made it (None: undeclared), and what it depends on."""

    side: GaussianStatistics
    count: int | None
    content: dict[str, Any]


def content(pixels_sha256: str, card: dict[str, Any], n: int, extractor: Extractor, layer: int) -> dict[str, Any]:
    """Return everything that reference statistics depend on; its digest is their file's name."""
    return {
        "version": _VERSION,
        "pixels_sha256": pixels_sha256,  # of the n images used
        "split": card.get("split"),
        "crop": card.get("crop"),
        "resize": card.get("resize"),
        "n": n,
        "scorer": extractor.scorer,
        "resizer": extractor.resizer,
        "weights_sha256": extractor.weights_sha256,
        "layer": layer,
    }


def path_of(cache: Path, described: dict[str, Any]) -> Path:
    """Return where statistics of that content are kept."""
    return Path(cache) / "references" / f"{digest(described)}.npz"


def save(path: Path, reference: Reference) -> None:
    """Write mu, sigma, the factor of sigma, the count and the content as one npz."""
    side = reference.side
    with replacing(path) as temporary, open(temporary, "wb") as handle:
        np.savez(
            handle,
            mu=side.mean,
            sigma=side.covariance,
            factor=side.factor,
            count=np.array(reference.count if reference.count is not None else -1),
            content=np.array(json.dumps(reference.content, sort_keys=True)),
        )


def find(cache: Path, described: dict[str, Any]) -> Reference | None:
    """Return the kept statistics of exactly that content, or None; a damaged file counts as absent."""
    path = path_of(cache, described)
    if not path.is_file():
        return None
    try:
        arrays = _read(path)
    except HarnessError:
        return None
    # the name is a digest of the content; the content itself decides
    if json.loads(str(arrays["content"])) != described:
        return None
    return _reference(arrays, described)


def load_statistics(path: Path, extractor: Extractor, layer: int, n: int | None) -> Reference:
    """Read statistics from a file: kept by this harness, or TTUR-style `fid_stats_*.npz` with `mu` and `sigma`.

    The harness's own files say how they were made, and are refused under another protocol. A foreign file says nothing:
    its layer is checked by its size, its number of images is `n` if declared, the rest is the user's word.

    Raises:
        HarnessError: damaged, no finite mu [d] and sigma [d, d], or another layer, scorer, resizer, weights or count.
    """
    arrays = _read(path)
    mean, covariance = arrays["mu"], arrays["sigma"]
    if mean.shape != (layer,) or covariance.shape != (layer, layer):
        raise HarnessError(
            f"{path}: mu {list(mean.shape)} and sigma {list(covariance.shape)}; layer {layer} needs [{layer}] and "
            f"[{layer}, {layer}]. Give statistics of that layer, or the --layer they were made at."
        )
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise HarnessError(f"{path}: mu or sigma holds NaN or infinity; make the statistics again.")
    if not np.allclose(covariance, covariance.T, rtol=1e-6, atol=1e-9):
        raise HarnessError(f"{path}: sigma is not symmetric; it is no covariance.")
    if "content" not in arrays:
        return Reference(GaussianStatistics(mean, covariance), n, {"imported": path.name})
    described = json.loads(str(arrays["content"]))
    wanted = {
        "scorer": extractor.scorer,
        "resizer": extractor.resizer,
        "weights_sha256": extractor.weights_sha256,
        "layer": layer,
        "n": described.get("n") if n is None else n,
    }
    for key, value in wanted.items():
        if described.get(key) != value:
            raise HarnessError(f"{path}: made with {key} {described.get(key)}, asked for {value}; make them again.")
    return _reference(arrays, described)


def is_statistics(path: Path) -> bool:
    """Return whether `path` is an npz with `mu` and `sigma`."""
    if path.suffix != ".npz" or not path.is_file():
        return False
    try:
        with np.load(path, allow_pickle=False) as file:
            return {"mu", "sigma"} <= set(file.files)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return False


def _reference(arrays: dict[str, np.ndarray], described: dict[str, Any]) -> Reference:
    side = GaussianStatistics(arrays["mu"], arrays["sigma"])
    side.factor = arrays["factor"]  # a cached property: filled, it is not computed again
    return Reference(side, int(arrays["count"]), described)


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise HarnessError(f"{path}: not readable statistics ({error}); truncated? Make or fetch them again.") from None
