"""Where the Inception weights come from, and what they are: official, the trunk, a stand-in or some other file."""

import os
import tarfile
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError, nearest
from harness.files import replacing, sha256_file, write_text
from harness.metrics.inception import frozen_graph, graphdef
from harness.metrics.inception.topology import ConvParameters, Parameters, convolutions, layers, stand_in, unfolded

ENVIRONMENT = "HARNESS_INCEPTION"  # a file, or a folder with files of the names below
NAMES = ("stand-in", "trunk", "official")

OFFICIAL_URL = "http://download.tensorflow.org/models/image/imagenet/inception-2015-12-05.tgz"
OFFICIAL_ARCHIVE, OFFICIAL_GRAPH = "inception-2015-12-05.tgz", "classify_image_graph_def.pb"
OFFICIAL_SHA256 = "009d6814d1bc560d4e7b236e170e9b2d5ca6f4b57bd8037f6db05776204415c6"  # of the .pb; a public LFS pointer
PORT_NAME = "pt_inception-2015-12-05-6726825d.pth"
PORT_SHA256_START = "6726825d"  # pytorch-fid's port carries its hash in its name
TRUNK_NAME = "inception-2015-12-05-trunk.npz"  # the official convolutions up to mixed_7, batch norm folded
TRUNK_SHA256 = "356ffb608e78d2d6849161b00eb5e5b094f908cc29b2b70d302327a668c666fb"
_TIMEOUT_SEC = 60  # without any byte from the host
STAND_IN_VERSION = 1  # bumped when the stand-in's weights change


@dataclass(frozen=True)
class Weights:
    """One file of Inception weights. `kind` is official, trunk, stand-in or file; `sha256` is that of the file."""

    kind: str
    path: Path
    sha256: str

    @cached_property
    def parameters(self) -> Parameters:
        """The weights as arrays, whatever the format, checked against the topology table."""
        return self._contents[0]

    @cached_property
    def feature_nodes(self) -> dict[int, str]:
        """For each feature layer that the weights reach, the node of `graph_bytes` that computes it."""
        return self._contents[1]

    @cached_property
    def graph_bytes(self) -> bytes:
        """The frozen graph: a .pb's own bytes; for other formats written through the same topology table."""
        if self.path.suffix == ".pb":
            return self.path.read_bytes()
        written: bytes = frozen_graph.build(self.parameters).SerializeToString(deterministic=True)
        return written

    @cached_property
    def _contents(self) -> tuple[Parameters, dict[int, str]]:
        if self.path.suffix == ".pb":
            return frozen_graph.convert(graphdef.parse(self.graph_bytes, str(self.path)), str(self.path))
        parameters = _READERS[self.path.suffix](self.path)
        return parameters, {c: name for c, name in frozen_graph.FEATURE_NODES.items() if c <= parameters.deepest}

    def require(self, layer: int) -> None:
        """Raise HarnessError unless the weights reach feature layer `layer` (64, 192, 768 or 2048)."""
        if layer > self.parameters.deepest:
            raise HarnessError(
                f"{self.path}: these weights end at layer {self.parameters.deepest}, --layer {layer} lies beyond; "
                f"use --layer {self.parameters.deepest}, or --weights official."
            )


def load(spec: str, cache: Path) -> Weights:
    """Find weights by name (`stand-in`, `trunk`, `official`) or file (.pb, .tgz, .pth, .pt, .npz).

    `official` and `trunk` are looked for in HARNESS_INCEPTION and in `cache`/inception; `official` is then downloaded,
    and `stand-in` is drawn from its seed. Both named ones are verified by sha256.

    Raises:
        HarnessError: not found, truncated, or not what its name says.
    """
    folder = Path(cache) / "inception"
    if spec == "stand-in":
        return _stand_in(folder)
    if spec == "trunk":
        path = _local(folder, (TRUNK_NAME,))
        if path is None:
            raise HarnessError(
                f"--weights trunk: {TRUNK_NAME} was not found; set {ENVIRONMENT} to it, or put it into {folder}."
            )
        return _demand("trunk", path, folder)
    if spec == "official":
        path = _local(folder, (OFFICIAL_GRAPH, OFFICIAL_ARCHIVE, PORT_NAME)) or _download(folder)
        return _demand("official", path, folder)
    path = Path(spec)
    if not path.is_file():
        hint = nearest(spec, NAMES) if path.suffix == "" else ""
        raise HarnessError(f"--weights {spec}: no such file.{hint}")
    return _open(path, folder)


def _open(path: Path, folder: Path) -> Weights:
    if path.suffix in (".tgz", ".gz"):
        path = _extract(path, folder)
    if path.suffix != ".pb" and path.suffix not in _READERS:
        raise HarnessError(f"{path}: weights are read from .pb, .tgz, .pth, .pt and .npz, not '{path.suffix}'.")
    sha256 = sha256_file(path)
    if sha256 == OFFICIAL_SHA256 or sha256.startswith(PORT_SHA256_START):
        kind = "official"
    elif sha256 == TRUNK_SHA256:
        kind = "trunk"
    elif path.suffix == ".pb" and frozen_graph.is_stand_in(graphdef.parse(path.read_bytes(), str(path))):
        kind = "stand-in"
    else:
        kind = "file"
    return Weights(kind, path, sha256)


def _demand(kind: str, path: Path, folder: Path) -> Weights:
    """Open a file that must be the official one, or the trunk; a truncated or another file is refused by its sha256."""
    weights = _open(path, folder)
    if weights.kind != kind:
        expected = {"official": OFFICIAL_SHA256, "trunk": TRUNK_SHA256}[kind]
        raise HarnessError(
            f"{path}: not the {kind} Inception weights: sha256 {weights.sha256}, expected {expected} "
            f"({path.stat().st_size:,} bytes; truncated or another file). Delete it and fetch it again, "
            f"or pass it as --weights {path} to use it as it is."
        )
    return weights


def _local(folder: Path, names: tuple[str, ...]) -> Path | None:
    place = os.environ.get(ENVIRONMENT)
    if place and not Path(place).exists():
        raise HarnessError(f"{ENVIRONMENT}={place}: no such file or folder; correct or unset it.")
    if place and Path(place).is_file():
        return Path(place)
    folders = ([Path(place)] if place else []) + [folder]
    return next((f / name for f in folders for name in names if (f / name).is_file()), None)


def _download(folder: Path) -> Path:
    import pooch

    fetch = pooch.HTTPDownloader(progressbar=True, timeout=_TIMEOUT_SEC)
    try:
        # no published hash of the archive: the graph inside is verified instead, by `_demand`
        archive = pooch.retrieve(OFFICIAL_URL, known_hash=None, fname=OFFICIAL_ARCHIVE, path=folder, downloader=fetch)
    except Exception as error:  # pooch passes on the errors of requests and urllib3, which share no class
        raise HarnessError(
            f"{OFFICIAL_URL}: could not be downloaded ({type(error).__name__}). Without internet, fetch it elsewhere "
            f"and set {ENVIRONMENT} to {OFFICIAL_ARCHIVE} or {OFFICIAL_GRAPH}, or score with --weights stand-in."
        ) from error
    try:
        return _extract(Path(archive), folder)
    except HarnessError:
        Path(archive).unlink()  # a download that broke off must not be found by the next run
        raise


def _extract(archive: Path, folder: Path) -> Path:
    try:
        with tarfile.open(archive) as tar:
            member = tar.extractfile(OFFICIAL_GRAPH)
            if member is None:
                raise KeyError(OFFICIAL_GRAPH)
            data = member.read()
    except (tarfile.TarError, EOFError, OSError, KeyError) as error:
        raise HarnessError(
            f"{archive}: no whole {OFFICIAL_GRAPH} in it ({error}); fetch {OFFICIAL_ARCHIVE} again."
        ) from None
    path = folder / OFFICIAL_GRAPH
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return path


def _stand_in(folder: Path) -> Weights:
    path = folder / f"stand-in-v{STAND_IN_VERSION}.pb"
    record = path.with_suffix(".sha256")
    if path.is_file() and record.is_file():
        sha256 = sha256_file(path)
        if record.read_text(encoding="utf-8").strip() == sha256:
            return Weights("stand-in", path, sha256)
    with replacing(path) as temporary:
        temporary.write_bytes(frozen_graph.build(stand_in(), stand_in=True).SerializeToString(deterministic=True))
    sha256 = sha256_file(path)
    write_text(record, sha256 + "\n")
    return Weights("stand-in", path, sha256)


# ---------------------------------------------------------------- formats other than the graph


def _read_npz(path: Path) -> Parameters:
    """Read folded weights: `<scope>/weights` (HWIO) and `<scope>/bias`, to any layer; perhaps `softmax/*`."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise HarnessError(f"{path}: not a readable npz ({error}); truncated? Fetch it again.") from None
    convs = {}
    for name, shape in _reached(path, {n for n in convolutions() if f"{n}/weights" in arrays}).items():
        kernel = _array(arrays, f"{name}/weights", shape, path)
        convs[name] = unfolded(kernel, _array(arrays, f"{name}/bias", shape[3:], path))
    return Parameters(convs, *_softmax(arrays, "softmax/weights", "softmax/biases", path))


def _read_port(path: Path) -> Parameters:
    """Read a state dict (.pth) or TorchScript (.pt) with pytorch-fid's names: `Conv2d_1a_3x3.conv.weight`, ..."""
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True) if path.suffix == ".pth" else _script(path)
        arrays = {name: tensor.numpy() for name, tensor in state.items() if hasattr(tensor, "numpy")}
    except Exception as error:  # torch raises RuntimeError, UnpicklingError, EOFError, AttributeError, ...
        raise HarnessError(f"{path}: not a readable torch file ({type(error).__name__}); truncated?") from None
    ports = {layer.name: layer.port for layer in layers() if layer.op == "conv"}
    convs = {}
    for name, shape in _reached(path, {n for n, port in ports.items() if f"{port}.conv.weight" in arrays}).items():
        height, width, cin, out = shape
        kernel = _array(arrays, f"{ports[name]}.conv.weight", (out, cin, height, width), path).transpose(2, 3, 1, 0)
        vectors = (_array(arrays, f"{ports[name]}.bn.{key}", (out,), path) for key in _PORT_VECTORS)
        convs[name] = ConvParameters(np.ascontiguousarray(kernel), *vectors)
    weights = {"weights": arrays["fc.weight"].T} if "fc.weight" in arrays else {}
    biases = {"biases": arrays["fc.bias"]} if "fc.bias" in arrays else {}
    return Parameters(convs, *_softmax(weights | biases, "weights", "biases", path))


_PORT_VECTORS = ("weight", "bias", "running_mean", "running_var")
_READERS = {".npz": _read_npz, ".pth": _read_port, ".pt": _read_port}


def _script(path: Path) -> dict[str, Any]:
    import torch

    return dict(torch.jit.load(str(path), map_location="cpu").state_dict())


def _reached(path: Path, found: set[str]) -> dict[str, tuple[int, int, int, int]]:
    """Return the kernel shapes up to the deepest layer whose convolutions are all in the file."""
    complete = [c for c in frozen_graph.FEATURE_NODES if convolutions(c).keys() <= found]
    if not complete:
        raise HarnessError(f"{path}: holds none of the 2015 Inception's convolutions under known names.")
    return convolutions(max(complete))


def _array(arrays: dict[str, np.ndarray], name: str, shape: tuple[int, ...], path: Path) -> np.ndarray:
    if name not in arrays:
        raise HarnessError(f"{path}: missing array {name}; the file is damaged or not the 2015 Inception.")
    if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
        raise HarnessError(f"{path}: {name} is {list(arrays[name].shape)}, expected finite values {list(shape)}.")
    return np.ascontiguousarray(arrays[name], dtype=np.float32)


def _softmax(
    arrays: dict[str, np.ndarray], weights: str, biases: str, path: Path
) -> tuple[np.ndarray | None, np.ndarray | None]:
    if weights not in arrays:
        return None, None
    return _array(arrays, weights, (2048, frozen_graph.CLASSES), path), _array(
        arrays, biases, (frozen_graph.CLASSES,), path
    )
