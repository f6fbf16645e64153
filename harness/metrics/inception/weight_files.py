"""Inception weights read from files: .pb, .npz, .pth and .pt. Nothing in a file is executed, whatever it holds."""

import zipfile
from io import BytesIO

import numpy as np

from harness import npz
from harness.errors import HarnessError
from harness.metrics.inception import frozen_graph, graphdef
from harness.metrics.inception.topology import (
    CLASSES,
    EPSILON,
    FEATURE_NODES,
    ConvParameters,
    Parameters,
    convolutions,
    layers,
    unfolded,
)

MAX_BYTES = 1 << 28  # of a file; the 2015 network's weights take 96 MB in float32
SUFFIXES = (".pb", ".npz", ".pth", ".pt")
_PORT_VECTORS = ("weight", "bias", "running_mean", "running_var")  # gamma, beta, mean, variance


def read(data: bytes, suffix: str, where: str) -> Parameters:
    """Return the weights in a file's bytes, checked against the topology table.

    Raises:
        HarnessError: damaged, another network, or values that no network of this kind has; names `where`.
    """
    if suffix == ".pb":
        parameters = frozen_graph.convert(graphdef.parse(data, where), where)
    elif suffix == ".npz":
        parameters = _from_folded(data, where)
    else:
        parameters = _from_port(_torch_arrays(data, where), where)
    for name, array in parameters.arrays():
        if not np.isfinite(array).all() or (name.endswith("/variance") and (array <= -EPSILON).any()):
            raise HarnessError(f"{where}: {name} holds NaN, infinity or a negative variance; the file is damaged.")
    return parameters


def _from_folded(data: bytes, where: str) -> Parameters:
    """Read folded weights: `<scope>/weights` (HWIO) and `<scope>/bias`, to any layer; perhaps `softmax/*`."""
    names = {f"{scope}/{part}" for scope in (*convolutions(), "softmax") for part in ("weights", "bias", "biases")}
    arrays = npz.read_npz(BytesIO(data), where, MAX_BYTES, names)
    convs = {}
    for name, shape in _reached(where, {n for n in convolutions() if f"{n}/weights" in arrays}).items():
        kernel = _array(arrays, f"{name}/weights", shape, where)
        convs[name] = unfolded(kernel, _array(arrays, f"{name}/bias", shape[3:], where))
    return Parameters(convs, *_softmax(arrays, "softmax/weights", "softmax/biases", where))


def _from_port(arrays: dict[str, np.ndarray], where: str) -> Parameters:
    """Take weights by pytorch-fid's names: `Conv2d_1a_3x3.conv.weight`, ..."""
    ports = {layer.name: layer.port for layer in layers() if layer.op == "conv"}
    convs = {}
    for name, shape in _reached(where, {n for n, port in ports.items() if f"{port}.conv.weight" in arrays}).items():
        height, width, cin, out = shape
        kernel = _array(arrays, f"{ports[name]}.conv.weight", (out, cin, height, width), where).transpose(2, 3, 1, 0)
        vectors = (_array(arrays, f"{ports[name]}.bn.{key}", (out,), where) for key in _PORT_VECTORS)
        convs[name] = ConvParameters(np.ascontiguousarray(kernel), *vectors)
    if "fc.weight" in arrays:
        arrays = {**arrays, "fc.weight": arrays["fc.weight"].T}
    return Parameters(convs, *_softmax(arrays, "fc.weight", "fc.bias", where))


def _torch_arrays(data: bytes, where: str) -> dict[str, np.ndarray]:
    """Return the tensors of a state dict or a TorchScript, by name."""
    import torch

    from harness.metrics.inception.torchscript import read_tensors

    try:
        if zipfile.is_zipfile(BytesIO(data)):
            with zipfile.ZipFile(BytesIO(data)) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES or archive.testzip() is not None:
                    raise ValueError("an archive of another size or content than it says")
                if any(entry.filename.endswith("/constants.pkl") for entry in archive.infolist()):
                    return read_tensors(archive)
        state = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
        return {name: value.numpy() for name, value in state.items() if isinstance(value, torch.Tensor)}
    except Exception as error:  # whatever pickle, zipfile and torch raise on bytes that are no such file
        kind = type(error).__name__
        raise HarnessError(f"{where}: no torch file of plain tensors ({kind}); truncated, or another format.") from None


def _reached(where: str, found: set[str]) -> dict[str, tuple[int, int, int, int]]:
    """Return the kernel shapes up to the deepest layer whose convolutions are all in the file."""
    complete = [c for c in FEATURE_NODES if convolutions(c).keys() <= found]
    if not complete:
        raise HarnessError(f"{where}: holds none of the 2015 Inception's convolutions under known names.")
    return convolutions(max(complete))


def _array(arrays: dict[str, np.ndarray], name: str, shape: tuple[int, ...], where: str) -> np.ndarray:
    if name not in arrays:
        raise HarnessError(f"{where}: missing array {name}; the file is damaged or not the 2015 Inception.")
    array = arrays[name]
    if array.shape != shape or array.dtype.kind != "f":
        raise HarnessError(f"{where}: {name} is {array.dtype} {list(array.shape)}, expected float {list(shape)}.")
    return np.ascontiguousarray(array, dtype=np.float32)


def _softmax(
    arrays: dict[str, np.ndarray], weights: str, biases: str, where: str
) -> tuple[np.ndarray | None, np.ndarray | None]:
    if weights not in arrays:
        return None, None
    return _array(arrays, weights, (2048, CLASSES), where), _array(arrays, biases, (CLASSES,), where)
