"""The clean-fid scorer: the library's own network behind the exact separable resize. The only module that imports cleanfid.

clean-fid 0.1.35 (GaParmar/clean-fid) runs NVIDIA's TorchScript of the 2015 network, 2048 channels only, and looks for it in
/tmp; its wrapper `InceptionV3W` takes it from any folder, which is what happens here. Without that file (offline, stand-in
weights) a TorchScript with the same interface is written from the same graph. Other layers use the harness's torch module.
"""

import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.config import digest
from harness.errors import HarnessError, nearest
from harness.files import replacing
from harness.metrics import inception, inception_torch, resize, weights
from harness.metrics.extractor import Extractor, Setup

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
        self.versions = {"clean-fid": _library_version(), "torch": torch.__version__}
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
        """Return features; see `harness.metrics.extractor.Extractor`."""
        with torch.inference_mode():
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

    In mode `clean` the resize is ours (the library's takes one channel of one image at a time), and the script is frozen
    (batch norm folded into the convolutions) and run channels last: about half again as fast on a CPU, features equal to
    rounding. In mode `legacy_tensorflow` the script resizes.
    """
    from cleanfid.inception_torchscript import InceptionV3W

    legacy = mode == "legacy_tensorflow"
    network = InceptionV3W(str(script.parent), download=False, resize_inside=legacy)
    network = network.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if not legacy:
        network.layers = torch.jit.freeze(network.layers)
        return lambda images: network(_channels_last(resize.clean_bicubic(images, device=device)))
    return lambda images: network(_channels_last(torch.tensor(images).to(device).permute(0, 3, 1, 2).float()))


def module_features(
    found: weights.Weights, layer: int, mode: str, device: torch.device
) -> Callable[[np.ndarray], Tensor]:
    """Return uint8 [n, R, R, 3] -> features [n, layer] through the harness's own module behind clean-fid's resize."""
    network = inception_torch.build(found.parameters, layer).eval().to(device)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    filter_ = resize.clean_bicubic if mode == "clean" else resize.tf1_bilinear
    return lambda images: network(_channels_last(filter_(images, device=device)))


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


# ---------------------------------------------------------------- the TorchScript


def find_script(found: weights.Weights, cache: Path) -> tuple[Path, str]:
    """Return a TorchScript of these weights, by the name the library wants, and where it comes from: nvidia | graph.

    For the official weights NVIDIA's file is looked for beside them and in the cache, then downloaded, and must hold the
    graph's tensors. Where it cannot be had, and for any other weights, the script is written from the graph.

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


def verify_script(script: Path, parameters: inception.Parameters) -> None:
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


def _graph_tensors(parameters: inception.Parameters) -> dict[str, np.ndarray]:
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
