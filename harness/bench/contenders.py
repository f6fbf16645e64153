"""The contenders of `harness bench scores`: the harness's scorers and the field's packages, each on its own usual path.

A contender takes what `prepare` left on disk and returns a function from a number of images to the mean of the
statistics (or, of the matrix roots, to the distance).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 50  # pytorch-fid's default
RESOLUTION = 32
CHANNELS = 2048
PROTOCOLS = 5  # that share a pass
_CEILING_PRODUCTS = 20
CEILING_FLOP = _CEILING_PRODUCTS * 2 * 16 * 16 * 16 * CHANNELS * CHANNELS  # of the contender that only multiplies
_FRECHET_ROWS = 4096  # rows behind the covariances of the Frechet distance: full rank

Statistics = Callable[[int], np.ndarray]


@dataclass(frozen=True)
class Work:
    """What a contender finds on disk, and how many threads it has."""

    folder: Path
    threads: int

    @property
    def images(self) -> np.ndarray:
        """uint8 [n, R, R, 3], memory-mapped."""
        return np.load(self.folder / "images.npy", mmap_mode="r")

    @property
    def files(self) -> list[Path]:
        """The same images as PNGs, in order."""
        return sorted((self.folder / "png").iterdir())

    @property
    def cache(self) -> Path:
        """Where the stand-in weights are."""
        return self.folder / "cache"

    @property
    def port(self) -> Path:
        """The same weights as a state dict with pytorch-fid's names."""
        return self.folder / "port.pth"


def prepare(work: Work, images: int) -> None:
    """Write images, weights in every format and the covariances of the Frechet distance."""
    import torch
    from PIL import Image

    from harness.metrics.inception import weights
    from harness.metrics.moments import Moments

    rng = np.random.default_rng(0)
    # colour blobs with noise: images that differ, without a data set
    tiles = rng.uniform(0, 255, (images, 4, 4, 3)).repeat(RESOLUTION // 4, 1).repeat(RESOLUTION // 4, 2)
    pixels = np.clip(tiles + rng.normal(0, 25, tiles.shape), 0, 255).astype(np.uint8)
    np.save(work.folder / "images.npy", pixels)
    (work.folder / "png").mkdir()
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(work.folder / "png" / f"{i:06d}.png")
    found = weights.load("stand-in", work.cache)
    torch.save(port_state_dict(found.parameters), work.port)
    scales = np.geomspace(1, 1e-3, CHANNELS)
    for side in (1, 2):
        moments = Moments(CHANNELS)
        moments.update(rng.standard_normal((_FRECHET_ROWS, CHANNELS)) * scales * side)
        np.save(work.folder / f"mean{side}.npy", moments.mean)
        np.save(work.folder / f"cov{side}.npy", moments.covariance)


def port_state_dict(parameters: Any) -> dict[str, Any]:
    """Return weights (`inception.Parameters` to layer 2048) as the state dict of pytorch-fid and torch-fidelity."""
    import torch

    from harness.metrics.inception.topology import NETWORK

    state = {}
    for layer in NETWORK:
        if layer.op == "conv":
            conv = parameters.convs[layer.name]
            vectors = {"weight": conv.gamma, "bias": conv.beta}
            vectors |= {"running_mean": conv.mean, "running_var": conv.variance}
            state[f"{layer.port}.conv.weight"] = torch.tensor(conv.kernel).permute(3, 2, 0, 1).contiguous()
            state |= {f"{layer.port}.bn.{key}": torch.tensor(value) for key, value in vectors.items()}
    state["fc.weight"] = torch.tensor(parameters.softmax_weights.T.copy())
    state["fc.bias"] = torch.tensor(parameters.softmax_biases)
    return state


def _ours(scorer: str, shared: bool = False) -> Callable[[Work], Statistics]:
    """Return a contender of ours: a pass as `harness score` makes it, for one protocol or for `PROTOCOLS` of them."""

    def prepared(work: Work) -> Statistics:
        from harness.data.images import Images
        from harness.metrics.extractors.base import Setup
        from harness.metrics.extractors.registry import open_extractor
        from harness.metrics.image_pass import Splits, one_pass

        setup = Setup(weights="stand-in", batch=BATCH, threads=work.threads, cache=work.cache)
        extractor = open_extractor(scorer, setup)

        def statistics(n: int) -> np.ndarray:
            images = Images(work.images[:n], work.folder / "images.npy")
            # as 5,000, 10,000, 20,000 and 50,000 images are of the largest, which is scored in two ways
            counts = [n // 10, n // 5, 2 * n // 5, n] if shared else [n]
            scores = [Splits(count, min(10, count)) for count in counts] + [Splits(n, 10, bias=True)] * shared
            assert not shared or len(scores) == PROTOCOLS, "as the comparison is called"
            done = one_pass(images, extractor, setup, "bench", counts=counts, scores=scores)
            assert done.first[n].covariance.shape == (CHANNELS, CHANNELS), "the covariance is part of the work"
            return done.first[n].mean

        return statistics

    return prepared


def _ceiling(work: Work) -> Statistics:
    """Return float32 multiply-adds at the pace of this machine's best kernels, `CEILING_FLOP` for whatever number.

    A 1 x 1 convolution of 2,048 channels, by oneDNN, whose kernels TensorFlow's and torch's networks run, too: no
    padding, no edges, nothing but a matrix product.
    """
    import torch

    convolution = torch.nn.Conv2d(CHANNELS, CHANNELS, 1, bias=False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(16, CHANNELS, 16, 16).contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def statistics(n: int) -> np.ndarray:
        for _ in range(_CEILING_PRODUCTS):
            convolution(images)
        return np.zeros(1)

    return statistics


def inception_flop(channels: int = CHANNELS) -> int:
    """Operations of one image through the network to a layer, two for a multiply-add."""
    import torch

    from harness.metrics.inception import topology, torch_module
    from harness.networks import operations

    network = torch_module.build(topology.stand_in(), channels)
    return 2 * operations.macs(network, torch.empty(1, 3, topology.SIZE, topology.SIZE))


def _mean_of(features: np.ndarray) -> np.ndarray:
    """Mean and, because it is part of the work, the covariance, as every peer computes them."""
    np.cov(features, rowvar=False)
    return features.mean(axis=0)


def _torch_fidelity(work: Work) -> Statistics:
    import torch
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.utils import create_feature_extractor, get_featuresdict_from_dataset

    wanted = ["2048", "logits_unbiased"]
    path = str(work.port)
    network = create_feature_extractor("inception-v3-compat", wanted, cuda=False, feature_extractor_weights_path=path)
    pixels = torch.from_numpy(np.array(work.images)).permute(0, 3, 1, 2)

    class Pixels(torch.utils.data.Dataset):
        def __init__(self, n: int):
            self.n = n

        def __len__(self) -> int:
            return self.n

        def __getitem__(self, i: int) -> torch.Tensor:
            return pixels[i]

    def statistics(n: int) -> np.ndarray:
        # no loader processes: the images are in memory
        found = get_featuresdict_from_dataset(Pixels(n), network, BATCH, cuda=False, save_cpu_ram=True, verbose=False)
        isc_features_to_metric(found["logits_unbiased"], splits=10, shuffle=False)
        return _mean_of(found["2048"].numpy())

    return statistics


def _pytorch_fid(work: Work) -> Statistics:
    import pytorch_fid.inception
    import torch
    from pytorch_fid.fid_score import get_activations

    # the package downloads its weights by address; it gets the bench's instead
    pytorch_fid.inception.load_state_dict_from_url = lambda *_, **__: torch.load(work.port, weights_only=True)
    network = pytorch_fid.inception.InceptionV3([3]).eval()
    files = work.files
    workers = min(8, work.threads)  # as its command line does

    def statistics(n: int) -> np.ndarray:
        return _mean_of(get_activations(files[:n], network, BATCH, CHANNELS, "cpu", workers))

    return statistics


def _clean_fid(workers_per_thread: int) -> Callable[[Work], Statistics]:
    def prepared(work: Work) -> Statistics:
        from harness.metrics.extractors import clean_fid
        from harness.metrics.inception import weights

        network = clean_fid.library_network(weights.load("stand-in", work.cache).parameters)
        files, workers = work.files, workers_per_thread * work.threads

        def statistics(n: int) -> np.ndarray:
            return _mean_of(clean_fid.library_folder_features(files[:n], network, BATCH, workers))

        return statistics

    return prepared


def _frechet(kept: bool) -> Callable[[Work], Statistics]:
    def prepared(work: Work) -> Statistics:
        from harness.metrics.fid import GaussianStatistics

        mean1, cov1, mean2, cov2 = _gaussians(work)
        side = GaussianStatistics(mean1, cov1)
        return lambda _: np.array((side if kept else GaussianStatistics(mean1, cov1)).distance(mean2, cov2).value)

    return prepared


def _clean_fid_frechet(work: Work) -> Statistics:
    from harness.metrics.extractors import clean_fid

    gaussians = _gaussians(work)
    return lambda _: np.array(clean_fid.library_frechet_distance(*gaussians))


def _gaussians(work: Work) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    mean1, cov1, mean2, cov2 = (np.load(work.folder / f"{name}.npy") for name in ("mean1", "cov1", "mean2", "cov2"))
    return mean1, cov1, mean2, cov2


CEILING = "float32 ceiling"
CONTENDERS: dict[str, Callable[[Work], Statistics]] = {
    CEILING: _ceiling,
    "tf": _ours("tf"),
    "tf, five protocols": _ours("tf", shared=True),
    "clean": _ours("clean"),
    "torch-fidelity": _torch_fidelity,
    "pytorch-fid": _pytorch_fid,
    "clean-fid": _clean_fid(0),
    "clean-fid, workers": _clean_fid(1),
    "frechet": _frechet(kept=False),
    "frechet, kept": _frechet(kept=True),
    "clean-fid frechet_distance": _clean_fid_frechet,
}
