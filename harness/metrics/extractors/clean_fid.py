"""The clean-fid scorer: the library's own network behind the exact separable resize. Alone in importing cleanfid.

clean-fid 0.1.35 (GaParmar/clean-fid) runs NVIDIA's TorchScript of the 2015 network, 2048 channels only, and looks for
it in /tmp; its wrapper `InceptionV3W` takes it from any folder, which is what happens here. Without that file (offline,
stand-in weights) a TorchScript with the same interface is written from the same graph. Other layers use the harness's
torch module.
"""

import hashlib
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.config.reader import digest
from harness.errors import HarnessError, nearest
from harness.files import replacing
from harness.metrics.extractors import resize
from harness.metrics.extractors.base import Extractor, Setup
from harness.metrics.inception import topology, torch_module, weights

LIBRARY_VERSION = "0.1.35"
SCRIPT_NAME = "inception-2015-12-05.pt"  # the name that the library's wrapper reads
RESIZERS = {"clean": "clean-bicubic", "legacy_tensorflow": "tf1-bilinear"}  # clean-fid's modes
_WRITTEN_VERSION = 1  # bumped when `write_script` writes another file for the same weights
_DOWNLOAD_TIMEOUT_SEC = 30


class CleanExtractor:
    """Features as clean-fid computes them; it defines no Inception Score, so there are no logits."""

    scorer = "clean"

    def __init__(self, setup: Setup):
        if setup.clean_mode not in RESIZERS:
            raise HarnessError(f"clean-fid mode {setup.clean_mode}: unknown.{nearest(setup.clean_mode, RESIZERS)}")
        if setup.device.startswith("cuda") and not torch.cuda.is_available():
            raise HarnessError(f"--device {setup.device}: torch sees no CUDA device; use --device cpu.")
        self.versions = {"clean-fid": _library_version(), "torch": str(torch.__version__)}
        torch.set_num_threads(setup.threads)
        found = weights.load(setup.weights, setup.cache)
        found.require(setup.layer)
        self.kind, self.weights_sha256 = found.kind, found.sha256
        self.resizer = RESIZERS[setup.clean_mode]
        self._device = torch.device(setup.device)
        if setup.layer == 2048:
            script, source = find_script(found, setup.cache)
            self.versions["torchscript"] = source
            self._features = library_features(script, setup.clean_mode, self._device)
        else:
            self._features = module_features(found, setup.layer, setup.clean_mode, self._device)

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, None]:
        """Return features; see `harness.metrics.extractors.base.Extractor`."""
        # TF32 convolutions, cuDNN's default, would make the score depend on the kind of GPU
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            features = self._features(images)
        return features.float().cpu().numpy(), None


def open_extractor(setup: Setup) -> Extractor:
    """Open the clean-fid scorer.

    Raises:
        HarnessError: clean-fid is not the pinned version, an unknown mode, or weights that are missing, damaged or too
            shallow for the layer.
    """
    return CleanExtractor(setup)


# ---------------------------------------------------------------- networks


def library_features(script: Path, mode: str, device: torch.device) -> Callable[[np.ndarray], Tensor]:
    """Return uint8 [n, R, R, 3] -> features [n, 2048] through the library's wrapper of a TorchScript.

    In mode `clean` the resize is ours (the library's takes one channel of one image at a time), and the script is
    frozen, which folds the batch norms into the convolutions, and run channels last: faster on a CPU, with features
    equal to rounding. In mode `legacy_tensorflow` the script resizes.
    """
    legacy = mode == "legacy_tensorflow"
    network = library_network(script, resize_inside=legacy).to(device)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if not legacy:
        network.layers = torch.jit.freeze(network.layers)
        return lambda images: network(_channels_last(resize.clean_bicubic(images, device=device)))
    return lambda images: network(_channels_last(torch.tensor(images).to(device).permute(0, 3, 1, 2).float()))


def module_features(
    found: weights.Weights, layer: int, mode: str, device: torch.device
) -> Callable[[np.ndarray], Tensor]:
    """Return uint8 [n, R, R, 3] -> features [n, layer] through the harness's own module behind clean-fid's resize."""
    network = torch_module.build(found.parameters, layer).eval().to(device)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    filter_ = resize.clean_bicubic if mode == "clean" else resize.tf1_bilinear
    return lambda images: network(_channels_last(filter_(images, device=device)))


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


# ---------------------------------------------------------------- the library's own path, to compare with


def library_folder_features(files: list[Path], network: nn.Module, batch: int, workers: int) -> np.ndarray:
    """Return features float32 [n, 2048] of image files as the library makes them in mode `clean`, on the CPU."""
    from cleanfid.fid import get_files_features

    features: np.ndarray = get_files_features(
        [str(f) for f in files],
        network,
        num_workers=workers,
        batch_size=batch,
        device=torch.device("cpu"),
        mode="clean",
        verbose=False,
    )
    return features


def library_network(script: Path, resize_inside: bool = False) -> nn.Module:
    """Return the library's wrapper of a TorchScript, untouched, in evaluation mode on the CPU."""
    from cleanfid.inception_torchscript import InceptionV3W

    network: nn.Module = InceptionV3W(str(script.parent), download=False, resize_inside=resize_inside)
    return network.eval()


def library_frechet_distance(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> float:
    """Return the library's Frechet distance, by a complex square root; scores take `harness.metrics.fid`."""
    from cleanfid.fid import frechet_distance

    return float(frechet_distance(mean1, cov1, mean2, cov2))


# ---------------------------------------------------------------- the TorchScript


def find_script(found: weights.Weights, cache: Path) -> tuple[Path, str]:
    """Return a TorchScript of these weights, by the name the library wants, and where it comes from: nvidia | graph.

    For the official weights NVIDIA's file is looked for beside them and in the cache, then downloaded, and must hold
    the graph's tensors. Where it cannot be had, and for any other weights, the script is written from the graph.

    Raises:
        HarnessError: NVIDIA's file holds other tensors than the graph.
    """
    if found.kind == "official":
        script = _nvidia_script(found, Path(cache) / "inception")
        if script is not None:
            verify_script(script, found.parameters)
            return script, "nvidia"
    key = digest({"version": _WRITTEN_VERSION, "weights": found.sha256, "torch": torch.__version__})
    script = Path(cache) / "inception" / f"script-{key}" / SCRIPT_NAME
    if not script.is_file():
        with replacing(script) as temporary:
            write_script(found.parameters, temporary)
    return script, "graph"


def _nvidia_script(found: weights.Weights, folder: Path) -> Path | None:
    import pooch
    from cleanfid.downloads_helper import inception_url

    for place in (found.path.parent, folder):
        if (place / SCRIPT_NAME).is_file():
            return place / SCRIPT_NAME
    fetch = pooch.HTTPDownloader(timeout=_DOWNLOAD_TIMEOUT_SEC)
    try:  # no published hash: the tensors are compared with the graph's instead
        path = pooch.retrieve(inception_url, known_hash=None, fname=SCRIPT_NAME, path=folder, downloader=fetch)
    except Exception as error:  # pooch passes on the errors of requests and urllib3, which share no class
        print(
            f"{inception_url}: not downloaded ({type(error).__name__}); the same weights are taken from {found.path}.",
            file=sys.stderr,
        )
        return None
    return Path(path)


def verify_script(script: Path, parameters: topology.Parameters) -> None:
    """Check tensor by tensor that a TorchScript holds exactly the graph's weights, whatever names it gives them.

    Batch-norm scales that are all one may be missing (the 2015 graph does not scale), and further tensors may only be
    constant ones or zeros or shorter than any weight.

    Raises:
        HarnessError: unreadable, a weight of the graph is missing, or a tensor is not in the graph.
    """
    try:
        state = torch.jit.load(str(script), map_location="cpu").state_dict()
    except Exception as error:  # torch.jit raises RuntimeError, and others on a truncated archive
        raise HarnessError(f"{script}: not a readable TorchScript ({type(error).__name__}); delete it.") from None
    held = Counter(_fingerprint(tensor.numpy()) for tensor in state.values() if tensor.is_floating_point())
    for name, array in _graph_tensors(parameters).items():
        key = _fingerprint(array)
        if held[key] > 0:
            held[key] -= 1
        elif not (name.endswith("/gamma") and (array == 1).all()):
            raise HarnessError(f"{script}: {name} of the graph is not in it; delete it, or fetch {SCRIPT_NAME} again.")
    for name, tensor in state.items():
        constant = tensor.numel() < 32 or bool((tensor == tensor.flatten()[0]).all())  # 32: the narrowest layer
        if tensor.is_floating_point() and held[_fingerprint(tensor.numpy())] > 0 and not constant:
            raise HarnessError(f"{script}: its tensor {name} is not in the graph; delete it, it is another network.")


def _graph_tensors(parameters: topology.Parameters) -> dict[str, np.ndarray]:
    """Return the graph's weights by name, in torch's layouts: kernels [out, in, height, width], matrices [out, in]."""
    tensors = {}
    for scope, conv in parameters.convs.items():
        tensors[f"{scope}/kernel"] = conv.kernel.transpose(3, 2, 0, 1)
        vectors = {"beta": conv.beta, "mean": conv.mean, "variance": conv.variance, "gamma": conv.gamma}
        tensors |= {f"{scope}/{name}": vector for name, vector in vectors.items()}
    if parameters.softmax_weights is not None and parameters.softmax_biases is not None:
        tensors |= {"softmax/weights": parameters.softmax_weights.T, "softmax/biases": parameters.softmax_biases}
    return tensors


def _fingerprint(array: np.ndarray) -> tuple[tuple[int, ...], str]:
    return array.shape, hashlib.sha256(np.ascontiguousarray(array, dtype=np.float32).tobytes()).hexdigest()


def write_script(parameters: topology.Parameters, path: Path) -> None:
    """Write a TorchScript with the interface of NVIDIA's file: a forward that resizes, and `layers` that does not.

    As in that file the batch norms stand by themselves, so that its tensors are the graph's.
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


def _library_version() -> str:
    import importlib.metadata

    try:
        version = importlib.metadata.version("clean-fid")
    except importlib.metadata.PackageNotFoundError:
        version = "none"
    if version != LIBRARY_VERSION:
        raise HarnessError(
            f"--scorer clean needs clean-fid {LIBRARY_VERSION}, found {version}: scores of other versions are not "
            f"comparable. pip install clean-fid=={LIBRARY_VERSION}, or use --scorer tf."
        )
    return version
