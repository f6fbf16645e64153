"""The clean-fid scorer: the library's own wrapper behind the exact separable resize. Alone in importing cleanfid.

clean-fid 0.1.35 (GaParmar/clean-fid) runs a TorchScript of the 2015 network, 2048 channels only, which it downloads
unchecked; its wrapper `InceptionV3W` takes one from any folder. It is given a TorchScript with the same interface,
written from the verified weights for this one process, so that no code from elsewhere runs. Other layers use the
harness's torch module.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from harness.device import check_device
from harness.errors import HarnessError
from harness.metrics.extractors import resize
from harness.metrics.extractors.base import Extractor, Setup, parts
from harness.metrics.inception import torch_module, weights
from harness.metrics.inception.topology import Parameters
from harness.metrics.inception.torchscript import write_script

LIBRARY_VERSION = "0.1.35"
SCRIPT_NAME = "inception-2015-12-05.pt"  # the name that the library's wrapper reads
MODES = {"clean-bicubic": "clean", "tf1-bilinear": "legacy_tensorflow"}  # resizer -> clean-fid's mode of that resize


class CleanExtractor:
    """Features as clean-fid computes them; it defines no Inception Score, so there are no logits."""

    scorer = "clean"

    biases: np.ndarray | None = None

    def __init__(self, setup: Setup, resizer: str):
        self.device_used = check_device(setup.device)
        self.versions = {"clean-fid": _library_version(), "torch": str(torch.__version__)}
        torch.set_num_threads(setup.threads)
        found = weights.load(setup.weights, setup.cache)
        found.require(setup.layer)
        self.kind, self.weights_sha256 = found.kind, found.sha256
        self.resizer = resizer
        features = library_features if setup.layer == 2048 else module_features
        self._features = features(found.parameters, setup.layer, MODES[resizer], torch.device(self.device_used))

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, None]:
        """Return features; see `harness.metrics.extractors.base.Extractor`."""
        # TF32 convolutions, cuDNN's default, would make the score depend on the kind of GPU
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            features = [self._features(part).float().cpu().numpy() for part in parts(images, self.device_used)]
        return np.concatenate(features), None


def open_extractor(setup: Setup, resizer: str = "clean-bicubic") -> Extractor:
    """Open the clean-fid scorer behind one of its resizers.

    Raises:
        HarnessError: clean-fid is not the pinned version, or weights that are missing, damaged or too shallow for the
            layer.
    """
    return CleanExtractor(setup, resizer)


# ---------------------------------------------------------------- networks


def library_features(
    parameters: Parameters, layer: int, mode: str, device: torch.device
) -> Callable[[np.ndarray], Tensor]:
    """Return uint8 [n, R, R, 3] -> features [n, 2048] through the library's wrapper of a TorchScript.

    In mode `clean` the resize is ours (the library's takes one channel of one image at a time), and the script is
    frozen, which folds the batch norms into the convolutions, and run channels last: faster on a CPU, with features
    equal to rounding. In mode `legacy_tensorflow` the script resizes.

    Convolutions take 83 % of the time on a CPU and run at its float32 ceiling. The rest is what torch computes apart
    from them: pooling 9 %, ReLU 2 %, joining of branches 2 % (torch 2.11, two threads). Torch's own fusion,
    `torch.jit.optimize_for_inference`, takes a third longer.
    """
    assert layer == 2048, "the library has no other layer"
    legacy = mode == "legacy_tensorflow"
    network = library_network(parameters, resize_inside=legacy).to(device)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if not legacy:
        network.layers = torch.jit.freeze(network.layers)
        return lambda images: network(_channels_last(resize.clean_bicubic(images, device=device)))
    return lambda images: network(_channels_last(torch.tensor(images).to(device).permute(0, 3, 1, 2).float()))


def module_features(
    parameters: Parameters, layer: int, mode: str, device: torch.device
) -> Callable[[np.ndarray], Tensor]:
    """Return uint8 [n, R, R, 3] -> features [n, layer] through the harness's own module behind clean-fid's resize."""
    network = torch_module.build(parameters, layer).eval().to(device)
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


def library_network(parameters: Parameters, resize_inside: bool = False) -> nn.Module:
    """Return the library's wrapper of a TorchScript of these weights, in evaluation mode on the CPU."""
    from cleanfid.inception_torchscript import InceptionV3W

    with tempfile.TemporaryDirectory(prefix="inception-") as folder:
        write_script(parameters, Path(folder) / SCRIPT_NAME)
        network: nn.Module = InceptionV3W(folder, download=False, resize_inside=resize_inside)
    return network.eval()


def library_frechet_distance(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> float:
    """Return the library's Frechet distance, by a complex square root; scores take `harness.metrics.fid`."""
    from cleanfid.fid import frechet_distance

    return float(frechet_distance(mean1, cov1, mean2, cov2))


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
