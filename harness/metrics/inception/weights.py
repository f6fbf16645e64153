"""Where the Inception weights come from, and what they are: official, the trunk, the stand-in or some other file."""

import gzip
import hashlib
import os
import tarfile
import tempfile
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from harness import progress
from harness.errors import HarnessError, nearest
from harness.files import replacing
from harness.metrics.inception import weight_files
from harness.metrics.inception.topology import Parameters, stand_in

ENVIRONMENT = "HARNESS_INCEPTION"  # a file, or a folder with files of the names below
NAMES = ("stand-in", "trunk", "official")

# The same object of one storage bucket, by TLS and by the address that TensorFlow's tutorials gave; either is verified.
OFFICIAL_URLS = (
    "https://storage.googleapis.com/download.tensorflow.org/models/image/imagenet/inception-2015-12-05.tgz",
    "http://download.tensorflow.org/models/image/imagenet/inception-2015-12-05.tgz",
)
OFFICIAL_ARCHIVE, OFFICIAL_GRAPH = "inception-2015-12-05.tgz", "classify_image_graph_def.pb"
PORT_NAME = "pt_inception-2015-12-05-6726825d.pth"
TRUNK_NAME = "inception-2015-12-05-trunk.npz"  # the official convolutions up to mixed_7, batch norm folded

# Source: a public Git LFS pointer to classify_image_graph_def.pb.
OFFICIAL_SHA256 = "009d6814d1bc560d4e7b236e170e9b2d5ca6f4b57bd8037f6db05776204415c6"
PORT_SHA256_START = "6726825d"  # Source: pytorch-fid's port carries the start of its sha256 in its name.
TRUNK_SHA256 = "356ffb608e78d2d6849161b00eb5e5b094f908cc29b2b70d302327a668c666fb"  # Source: the file, computed.
# Of the parameters, whatever file holds them. Source: `topology.stand_in().sha256()`.
STAND_IN_SHA256 = "5b56a94c971d50e2bb976014c9697609c6af2373ed31315ecf444a422bf7fc38"
_TIMEOUT_SEC = 60  # without any byte from the host


@dataclass(frozen=True)
class Weights:
    """Verified Inception weights. `kind` is official, trunk, stand-in or file; `where` says which file, for messages.

    `sha256` is that of the file, or of the parameters where they are drawn from their seed.
    """

    kind: str
    where: str
    sha256: str
    parameters: Parameters

    def require(self, layer: int) -> None:
        """Raise HarnessError unless the weights reach feature layer `layer` (64, 192, 768 or 2048)."""
        if layer > self.parameters.deepest:
            raise HarnessError(
                f"{self.where}: these weights end at layer {self.parameters.deepest}, --layer {layer} lies beyond; "
                f"use --layer {self.parameters.deepest}, or --weights official."
            )


def load(spec: str, cache: Path) -> Weights:
    """Find weights by name (`stand-in`, `trunk`, `official`) or file (.pb, .tgz, .pth, .pt, .npz).

    `official` and `trunk` are looked for in HARNESS_INCEPTION and in `cache`/inception, and must have the sha256 pinned
    here; `official` is then downloaded. `stand-in` is drawn from its seed and never read from a file.

    Raises:
        HarnessError: not found, truncated, or not what its name says.
    """
    folder = Path(cache) / "inception"
    if spec == "stand-in":
        return _drawn()
    if spec == "trunk":
        path = _local(folder, (TRUNK_NAME,))
        if path is None:
            raise HarnessError(
                f"--weights trunk: {TRUNK_NAME} was not found; set {ENVIRONMENT} to it, or put it into {folder}."
            )
        return _open(path, "trunk")
    if spec == "official":
        path = _local(folder, (OFFICIAL_GRAPH, OFFICIAL_ARCHIVE, PORT_NAME)) or _download(folder)
        return _open(path, "official")
    path = Path(spec)
    if not path.is_file():
        hint = nearest(spec, NAMES) if path.suffix == "" else ""
        raise HarnessError(f"--weights {spec}: no such file.{hint}")
    return _open(path)


def _drawn() -> Weights:
    parameters = stand_in()
    sha256 = parameters.sha256()
    if sha256 != STAND_IN_SHA256:
        raise HarnessError(
            f"--weights stand-in: NumPy {np.__version__} draws other weights here (sha256 {sha256}, expected "
            f"{STAND_IN_SHA256}), so scores would not compare; pip install -c constraints.txt numpy."
        )
    return Weights("stand-in", "stand-in, drawn from its seed", sha256, parameters)


def _open(path: Path, demanded: str | None = None) -> Weights:
    """Read a file once; where it must be the official one or the trunk, its sha256 is looked at before its content."""
    if path.suffix in (".tgz", ".gz"):
        data, suffix = _graph_in(path), ".pb"
    elif path.suffix in weight_files.SUFFIXES:
        data, suffix = _bytes_of(path), path.suffix
    else:
        raise HarnessError(f"{path}: weights are read from .pb, .tgz, .pth, .pt and .npz, not '{path.suffix}'.")
    sha256 = hashlib.sha256(data).hexdigest()
    kind = "file"
    if sha256 == OFFICIAL_SHA256 or sha256.startswith(PORT_SHA256_START):
        kind = "official"
    elif sha256 == TRUNK_SHA256:
        kind = "trunk"
    if demanded is not None and kind != demanded:
        expected = {"official": OFFICIAL_SHA256, "trunk": TRUNK_SHA256}[demanded]
        raise HarnessError(
            f"{path}: not the {demanded} Inception weights: sha256 {sha256}, expected {expected} "
            f"({len(data):,} bytes; truncated or another file). Delete it and fetch it again, "
            f"or pass it as --weights {path} to use it as it is."
        )
    parameters = weight_files.read(data, suffix, str(path))
    if kind == "file" and parameters.sha256() == STAND_IN_SHA256:
        kind = "stand-in"
    return Weights(kind, str(path), sha256, parameters)


def _bytes_of(path: Path) -> bytes:
    with open(path, "rb") as handle:
        data = handle.read(weight_files.MAX_BYTES + 1)
    if len(data) > weight_files.MAX_BYTES:
        raise HarnessError(f"{path}: larger than {weight_files.MAX_BYTES:,} bytes; no file of Inception weights is.")
    return data


def _local(folder: Path, names: tuple[str, ...]) -> Path | None:
    place = os.environ.get(ENVIRONMENT)
    if place and not Path(place).exists():
        raise HarnessError(f"{ENVIRONMENT}={place}: no such file or folder; correct or unset it.")
    if place and Path(place).is_file():
        return Path(place)
    folders = ([Path(place)] if place else []) + [folder]
    return next((f / name for f in folders for name in names if (f / name).is_file()), None)


def _download(folder: Path) -> Path:
    """Fetch the official graph; it gets its name in `folder` only when its sha256 is the pinned one."""
    import pooch

    folder.mkdir(parents=True, exist_ok=True)
    errors = []
    with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as part:
        for url in OFFICIAL_URLS:
            shown = progress.Bar(unit="B", unit_scale=True, desc="Inception weights")  # pooch ends it
            fetch = pooch.HTTPDownloader(progressbar=shown, timeout=_TIMEOUT_SEC)
            try:  # no hash of the archive is published: the graph inside is verified instead
                archive = Path(pooch.retrieve(url, None, OFFICIAL_ARCHIVE, part, downloader=fetch))
                data = _graph_in(archive)
            except Exception as error:  # pooch passes on the errors of requests and urllib3, which share no class
                errors.append(f"{url}: {error if isinstance(error, HarnessError) else type(error).__name__}")
                continue
            sha256 = hashlib.sha256(data).hexdigest()
            if sha256 == OFFICIAL_SHA256:
                with replacing(folder / OFFICIAL_GRAPH) as temporary:
                    temporary.write_bytes(data)
                return folder / OFFICIAL_GRAPH
            errors.append(f"{url}: holds a graph of sha256 {sha256}, expected {OFFICIAL_SHA256}")
    raise HarnessError(
        f"The official Inception weights could not be downloaded ({'; '.join(errors)}). Without internet, fetch them "
        f"elsewhere and set {ENVIRONMENT} to {OFFICIAL_ARCHIVE} or {OFFICIAL_GRAPH}, or score with --weights stand-in."
    )


def _graph_in(archive: Path) -> bytes:
    """Return the graph's bytes in an archive; nothing is written, and only a whole archive of bounded size unpacked."""
    try:
        with gzip.open(archive) as stream:
            data = stream.read(weight_files.MAX_BYTES + 1)
        if len(data) > weight_files.MAX_BYTES:
            raise ValueError(f"it unpacks to more than {weight_files.MAX_BYTES:,} bytes")
        with tarfile.open(fileobj=BytesIO(data), mode="r:") as tar:
            member = tar.extractfile(OFFICIAL_GRAPH)
            if member is None:
                raise KeyError(OFFICIAL_GRAPH)
            return member.read(weight_files.MAX_BYTES)
    except (tarfile.TarError, EOFError, OSError, ValueError, KeyError, zlib.error) as error:
        raise HarnessError(
            f"{archive}: no whole {OFFICIAL_GRAPH} in it ({error}); fetch {OFFICIAL_ARCHIVE} again."
        ) from None
