"""The 2015 network as a TorchScript file: written from the weights; of a file that is given, only tensors are read.

A TorchScript file holds code, so no file of this kind is ever loaded with `torch.jit.load`, save one just written here.
"""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.metrics.inception import topology, torch_module

# ---------------------------------------------------------------- reading tensors

_MAX_PICKLE_BYTES = 1 << 24  # data.pkl names the tensors; the 2015 network's takes 100 kB
_MAX_VALUES = 100_000
_STORAGES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8"}
_LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")


def read_tensors(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    """Return the tensors of a TorchScript archive by the path of attributes that leads to each, as `state_dict` does.

    Its code is not looked at. Of the pickled values only plain ones, tensors and the attributes of modules are built.

    Raises:
        pickle.UnpicklingError, ValueError, ...: damaged, or anything else in it (see `weight_files`).
    """
    entries = {entry.filename.partition("/")[2]: entry for entry in archive.infolist()}
    if entries["data.pkl"].file_size > _MAX_PICKLE_BYTES:
        raise ValueError(f"data.pkl takes {entries['data.pkl'].file_size:,} bytes")
    root = _TensorUnpickler(archive, entries).load()
    found: dict[str, np.ndarray] = {}
    left = [("", root)]
    for _ in range(_MAX_VALUES):
        if not left:
            return found
        path, value = left.pop()
        if isinstance(value, np.ndarray):
            found[path] = value
        elif isinstance(value, _Module):
            left += [(f"{path}.{name}" if path else name, inner) for name, inner in value.attributes.items()]
    raise ValueError(f"more than {_MAX_VALUES:,} values")


class _Module:
    """A pickled module: its attributes, and none of its code."""

    def __init__(self) -> None:
        self.attributes: dict[str, Any] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.attributes = dict(state)


# the unpickler in C takes as much memory as a memo's index says
class _TensorUnpickler(pickle._Unpickler):
    def __init__(self, archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo]):
        super().__init__(BytesIO(archive.read(entries["data.pkl"])))
        self._archive, self._entries = archive, entries

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _Module
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch.jit._pickle" and name in _LISTS:
            return list
        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("torch._utils", "_rebuild_tensor_v2"): _array,
            ("collections", "OrderedDict"): OrderedDict,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no weights need")
        return known[module, name]

    def persistent_load(self, pid: Any) -> np.ndarray:
        _, dtype, key, _, count = pid
        data = self._archive.read(self._entries[f"data/{key}"])
        if len(data) != count * np.dtype(dtype).itemsize:
            raise ValueError(f"data/{key} holds {len(data):,} bytes for {count} values")
        return np.frombuffer(data, dtype)


def _array(storage: np.ndarray, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> np.ndarray:
    """Rebuild a tensor, which must lie within its storage."""
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    if min(offset, *stride, *shape, 0) < 0 or last >= len(storage):
        raise ValueError(f"a tensor {list(shape)} with strides {list(stride)} in {len(storage)} values")
    steps = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False)


# ---------------------------------------------------------------- writing


def write_script(parameters: topology.Parameters, path: Path) -> None:
    """Write weights that reach layer 2048 as a TorchScript with the interface of NVIDIA's file for clean-fid.

    Its `forward` resizes images in 0..255 to 299 px, and its `layers` takes such images, normalised. The batch norms
    stand by themselves, so that its tensors are the graph's.
    """
    weight, bias = parameters.softmax_weights, parameters.softmax_biases
    assert weight is not None and bias is not None, "weights that reach layer 2048 have a classifier"  # noqa: PT018
    network = torch_module.build(parameters, 2048)
    for name, conv in parameters.convs.items():
        network.convs[name] = _with_batch_norm(network.convs[name], conv)
    normalised = _Normalised(network).eval()
    with torch.no_grad():
        layers = torch.jit.trace(normalised, torch.zeros(2, 3, topology.SIZE, topology.SIZE), check_trace=False)
        torch.jit.save(torch.jit.script(_Script(layers, torch.tensor(weight.T), torch.tensor(bias)).eval()), str(path))


def _with_batch_norm(folded: nn.Module, weights_: topology.ConvParameters) -> nn.Module:
    assert isinstance(folded, nn.Conv2d), "the table's convolutions are two-dimensional"
    conv = nn.utils.skip_init(
        nn.Conv2d,
        folded.in_channels,
        folded.out_channels,
        folded.kernel_size,
        folded.stride,
        folded.padding,
        bias=False,
    )
    norm = nn.BatchNorm2d(folded.out_channels, eps=topology.EPSILON)
    state = {"weight": weights_.gamma, "bias": weights_.beta}
    state |= {"running_mean": weights_.mean, "running_var": weights_.variance}
    norm.load_state_dict({key: torch.tensor(value) for key, value in state.items()}, strict=False)
    conv.weight.data.copy_(torch.tensor(weights_.kernel).permute(3, 2, 0, 1))
    return nn.Sequential(conv, norm).requires_grad_(False)


class _Normalised(nn.Module):
    """The network on (pixel - 128) / 128, which is what the library's wrapper feeds."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.network(x * 128 + 128)  # the network normalises again, by powers of two
        return features


class _Script(nn.Module):
    weight: Tensor
    bias: Tensor

    def __init__(self, layers: Any, weight: Tensor, bias: Tensor):
        super().__init__()
        self.layers = layers
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        pixels = _tf1_along(_tf1_along(img, 2, 299), 3, 299)
        features = self.layers((pixels - 128.0) / 128.0)
        if return_features:
            return features
        return nn.functional.linear(features, self.weight, self.bias).softmax(dim=1)


def _tf1_along(x: Tensor, axis: int, size: int) -> Tensor:
    """Resize one axis as `resize.tf1_bilinear` does, in the subset of Python that TorchScript compiles."""
    source = x.shape[axis]
    position = torch.arange(size, dtype=torch.float32, device=x.device) * (source / size)
    lower = position.floor().long()
    upper = (lower + 1).clamp(max=source - 1)
    shape = [1, 1, 1, 1]
    shape[axis] = size
    weight = (position - lower).view(shape)
    return x.index_select(axis, lower) * (1 - weight) + x.index_select(axis, upper) * weight
