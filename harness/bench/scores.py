"""Speed of the scorers beside the field's packages: the same images, the same weights, one run.

Every contender works in a process of its own with the same number of threads, and they take turns, round by round, so
that a machine whose speed drifts treats all alike; the fastest round of each counts. What is timed leads from stored
images to statistics (mean, covariance and, where the contender has one, the Inception score), after one batch that is not
timed; the matrix root is in none of them, it is a race of its own. Contenders that should see the same pixels must first
agree on the mean feature, so that nobody is fast by computing something else.
"""

import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.files import write_json, write_text

BATCH = 50  # pytorch-fid's default
ROUNDS = 3
RESOLUTION = 32
CHANNELS = 2048
_FRECHET_ROWS = 4096  # rows behind the covariances of the Frechet race: full rank


@dataclass(frozen=True)
class Race:
    """Ours against peers; `target` is the ratio to reach, `tolerance` how far the statistics may differ (relative)."""

    title: str
    ours: str
    peers: tuple[str, ...]
    target: float
    tolerance: float | None  # None: the peer resizes in its own way


RACES = (
    Race("IS + FID statistics", "tf", ("torch-fidelity",), 1.8, 1e-3),
    Race("IS + FID statistics", "tf", ("pytorch-fid",), 1.8, None),
    Race("clean-fid statistics", "clean", ("clean-fid", "clean-fid, workers"), 1.4, 1e-3),
    Race("Frechet distance", "frechet", ("clean-fid frechet_distance",), 5.0, 1e-6),
    Race("Frechet distance, real side kept", "frechet, kept", ("clean-fid frechet_distance",), 5.0, 1e-6),
)


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


# ---------------------------------------------------------------- the run


def run(images: int, out: Path) -> dict[str, Any]:
    """Race the scorers and write `scores.json` and `scores.md` into `out`.

    Args:
        images: number of images that each contender turns into statistics in each round.
        out: folder of the tables.

    Raises:
        HarnessError: too few images, a missing peer, a contender that fails, or statistics that differ.
    """
    from tqdm import tqdm

    if images < BATCH:
        raise HarnessError(f"--images {images}: give at least one batch of {BATCH}.")
    Path(out).mkdir(parents=True, exist_ok=True)
    threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    machine = _machine(threads)
    names = list(dict.fromkeys(name for race in RACES for name in (race.ours, *race.peers)))
    laps: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(dir=out) as folder, tqdm(total=ROUNDS * len(names), unit="lap") as bar:
        work = Work(Path(folder), threads)
        prepare(work, images)
        for _ in range(ROUNDS):
            for name in names:
                bar.set_description(name)
                laps[name].append(_in_own_process(name, work))
                bar.update()
    machine["load_average_after"] = _load()
    rows = [_row(race, peer, laps) for race in RACES for peer in race.peers]
    record = {"images": images, "resolution": RESOLUTION, "batch": BATCH, "rounds": ROUNDS, "weights": "stand-in"}
    record |= {"races": rows, "machine": machine}
    write_json(Path(out) / "scores.json", record)
    write_text(Path(out) / "scores.md", markdown(record))
    return record


def prepare(work: Work, images: int) -> None:
    """Write images, weights in every format and the covariances of the Frechet race."""
    import torch
    from PIL import Image

    from harness.metrics import clean_scorer, weights
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
    clean_scorer.find_script(found, work.cache)
    torch.save(port_state_dict(found.parameters), work.port)
    scales = np.geomspace(1, 1e-3, CHANNELS)
    sides: dict[str, np.ndarray] = {}
    for side in (1, 2):
        moments = Moments(CHANNELS)
        moments.update(rng.standard_normal((_FRECHET_ROWS, CHANNELS)) * scales * side)
        sides |= {f"mean{side}": moments.mean, f"cov{side}": moments.covariance}
    np.savez(work.folder / "gaussians.npz", **sides)


def port_state_dict(parameters: Any) -> dict[str, Any]:
    """Return weights (`inception.Parameters` to layer 2048) as the state dict of pytorch-fid and torch-fidelity."""
    import torch

    from harness.metrics.inception import NETWORK

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


def _in_own_process(name: str, work: Work) -> dict[str, Any]:
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(lap, name, work).result()
        except ImportError as error:
            raise HarnessError(f"{name}: {error}; pip install -c constraints.txt -e '.[dev]'.") from None
        except BrokenProcessPool:
            raise HarnessError(f"{name}: its process ended; out of memory? Give fewer --images.") from None


def lap(name: str, work: Work) -> dict[str, Any]:
    """Run one contender: seconds from images to statistics, and the statistics' mean (or the distance)."""
    import torch

    torch.set_num_threads(work.threads)
    statistics = CONTENDERS[name](work)
    statistics(BATCH)
    started = time.perf_counter()
    mean = statistics(len(work.images))
    return {"sec": time.perf_counter() - started, "mean": np.atleast_1d(mean)}


# ---------------------------------------------------------------- contenders: Work -> (n images -> mean of the statistics)

Statistics = Callable[[int], np.ndarray]


def _ours(scorer: str) -> Callable[[Work], Statistics]:
    def prepared(work: Work) -> Statistics:
        from harness.metrics.extractor import Setup
        from harness.metrics.inception_score import InceptionScore
        from harness.metrics.moments import Moments
        from harness.metrics.score import open_extractor

        setup = Setup(weights="stand-in", batch=BATCH, threads=work.threads, cache=work.cache)
        extractor = open_extractor(scorer, setup)

        def statistics(n: int) -> np.ndarray:
            images = work.images[:n]
            moments, score = Moments(CHANNELS), InceptionScore(10, n)
            for start in range(0, n, BATCH):
                features, logits = extractor(images[start : start + BATCH])
                moments.update(features)
                if logits is not None:
                    score.update(logits)
            if logits is not None:
                score.result()
            assert moments.covariance.shape == (CHANNELS, CHANNELS), "the covariance is part of the work"
            return moments.mean

        return statistics

    return prepared


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
        from harness.metrics import clean_scorer, weights

        script, _ = clean_scorer.find_script(weights.load("stand-in", work.cache), work.cache)
        network = clean_scorer.library_network(script)
        files, workers = work.files, workers_per_thread * work.threads

        def statistics(n: int) -> np.ndarray:
            return _mean_of(clean_scorer.library_folder_features(files[:n], network, BATCH, workers))

        return statistics

    return prepared


def _frechet(kept: bool) -> Callable[[Work], Statistics]:
    def prepared(work: Work) -> Statistics:
        from harness.metrics.frechet import RealSide

        mean1, cov1, mean2, cov2 = _gaussians(work)
        side = RealSide(mean1, cov1)
        return lambda _: np.array((side if kept else RealSide(mean1, cov1)).distance(mean2, cov2).value)

    return prepared


def _clean_fid_frechet(work: Work) -> Statistics:
    from harness.metrics import clean_scorer

    gaussians = _gaussians(work)
    warmed: list[bool] = []

    def statistics(_: int) -> np.ndarray:
        if not warmed:  # its warm-up would take as long as the lap: a corner of the matrices loads the library
            warmed.append(True)
            return np.array(clean_scorer.library_frechet_distance(*(g[(slice(64),) * g.ndim] for g in gaussians)))
        return np.array(clean_scorer.library_frechet_distance(*gaussians))

    return statistics


def _gaussians(work: Work) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    with np.load(work.folder / "gaussians.npz") as file:
        return file["mean1"], file["cov1"], file["mean2"], file["cov2"]


CONTENDERS: dict[str, Callable[[Work], Statistics]] = {
    "tf": _ours("tf"),
    "clean": _ours("clean"),
    "torch-fidelity": _torch_fidelity,
    "pytorch-fid": _pytorch_fid,
    "clean-fid": _clean_fid(0),
    "clean-fid, workers": _clean_fid(1),
    "frechet": _frechet(kept=False),
    "frechet, kept": _frechet(kept=True),
    "clean-fid frechet_distance": _clean_fid_frechet,
}


# ---------------------------------------------------------------- the table


def _row(race: Race, peer: str, laps: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    ours, theirs = laps[race.ours], laps[peer]
    a, b = ours[0]["mean"], theirs[0]["mean"]
    difference = float(np.linalg.norm(a - b) / np.linalg.norm(b))
    if race.tolerance is not None and not difference < race.tolerance:
        raise HarnessError(f"{race.ours} and {peer} differ by {difference:.2g}, relative: no race between them.")
    ours_sec, peer_sec = (min(one["sec"] for one in side) for side in (ours, theirs))
    return {
        "race": race.title,
        "ours": race.ours,
        "peer": peer,
        "ours_sec": ours_sec,
        "peer_sec": peer_sec,
        "ratio": peer_sec / ours_sec,
        "target": race.target,
        "reached": peer_sec / ours_sec >= race.target,
        "ours_rounds_sec": [one["sec"] for one in ours],
        "peer_rounds_sec": [one["sec"] for one in theirs],
        "relative_difference": difference,
        "same_pixels": race.tolerance is not None,
    }


def markdown(record: dict[str, Any]) -> str:
    """Return the table of a record in Markdown, with the machine named above it."""
    machine = record["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    lines = [
        f"{machine['cpu']}, {machine['cpu_count']} cores, {machine['threads']} threads; load average "
        f"{machine['load_average_before']} before, {machine['load_average_after']} after. {record['images']} images of "
        f"{record['resolution']} px, batch {record['batch']}, {record['weights']} weights; the fastest of "
        f"{record['rounds']} rounds of each. {packages}.",
        "",
        "| race | ours | sec | peer | sec | ratio | target | reached |",
        "| --- | --- | ---: | --- | ---: | ---: | ---: | --- |",
    ]
    for row in record["races"]:
        lines.append(
            f"| {row['race']} | {row['ours']} | {row['ours_sec']:.2f} | {row['peer']} | {row['peer_sec']:.2f} "
            f"| {row['ratio']:.2f} | {row['target']:.1f} | {'yes' if row['reached'] else 'no'} |"
        )
    return "\n".join(lines) + "\n"


def _machine(threads: int) -> dict[str, Any]:
    from importlib.metadata import version

    from harness.provenance import collect

    described = collect(device="cpu", threads=threads)
    for peer in ("torch-fidelity", "pytorch-fid"):
        try:
            described["packages"][peer] = version(peer)
        except ImportError:
            raise HarnessError(f"{peer} is not installed; pip install -c constraints.txt -e '.[dev]'.") from None
    return {**described, "cpu": _cpu(), "load_average_before": _load()}


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _load() -> list[float]:
    return [round(x, 2) for x in os.getloadavg()]
