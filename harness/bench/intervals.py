"""Do the intervals beside scores cover what they say, and what do they cost?

A "generator" whose samples are cheap to draw and never end: training images of the data set, drawn at random, flipped
and shifted at random, and blurred by halving their side, which real images are not. Its dumps are scored as any other:
features of the Inception network at 192 channels (of the images as they are, not enlarged to 299 px: a hundredth of
the work), moments in blocks, distance to the real images. An interval covers if it holds the mean score of all dumps.
Scores that need logits are of a fixed linear classifier of the features, as the network has none at that depth.
"""

import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from harness import progress, provenance
from harness.bench import page
from harness.data.images import Images, open_images
from harness.errors import HarnessError
from harness.files import write_json, write_text
from harness.metrics import jackknife
from harness.metrics.extractors.base import Setup, parts
from harness.metrics.fid import GaussianStatistics
from harness.metrics.image_pass import one_pass
from harness.metrics.inception_score import InceptionScore
from harness.metrics.jackknife import Prefix
from harness.metrics.kid import kernel_distance
from harness.metrics.moments import Moments

DUMPS, IMAGES, REALS = 200, 1000, 10_000
FEWER = 150  # of each dump, which are fewer than there are channels
LAYER = 192
CLASSES = 100  # of the classifier in place of the network's own
KID_SUBSETS = 1  # of all images of a dump; the usual 100 would take an hour here
COVERED = (0.90, 0.98)  # by nominal 95 %: what the intervals may be called without "approximate"
ALLOWED_SHARE = 0.02  # of a pass over 50,000 images
PASS_IMAGES = 50_000

Network = Callable[[np.ndarray], np.ndarray]  # uint8 [n, R, R, 3] -> float32 [n, channels]


def run(out: Path, reference: Path, weights: str, cache: Path) -> dict[str, Any]:
    """Measure coverage and cost and write `intervals.json` and `intervals.md` into `out`.

    Args:
        reference: a packed data set, or what else `harness score` takes as one.
        weights: of Inception, as `harness score` takes them.
        cache: where named weights are kept.

    Raises:
        HarnessError: fewer than `REALS` images, or missing weights.
    """
    images = open_images(reference)
    if len(images) < REALS:
        raise HarnessError(f"{reference}: {len(images)} images; give at least {REALS:,}.")
    pixels = np.asarray(images.pixels[: len(images)])
    machine = provenance.collect(device="cpu", threads=1) | {"cpu": provenance.processor()}
    machine["load_average_before"] = [round(x, 2) for x in os.getloadavg()]
    record = {
        "dumps": DUMPS,
        "images": IMAGES,
        "reals": REALS,
        "channels": LAYER,
        "side": images.resolution,
        "weights": weights,
        "kid_subsets": KID_SUBSETS,
        "coverage": coverage(pixels, network(weights, cache), DUMPS, (IMAGES, FEWER), REALS),
        "cost": cost(cache),
        "machine": machine,
    }
    write_json(Path(out) / "intervals.json", record)
    write_text(Path(out) / "intervals.md", markdown(record))
    return record


def network(weights: str, cache: Path) -> Network:
    """Return the Inception network to `LAYER`, without a resize before it; one thread."""
    import torch

    from harness.metrics.inception import torch_module
    from harness.metrics.inception import weights as known

    torch.set_num_threads(1)
    found = torch_module.build(known.load(weights, cache).parameters, LAYER).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def features(images: np.ndarray) -> np.ndarray:
        planes = (torch.from_numpy(np.array(part)).permute(0, 3, 1, 2).float() for part in parts(images, "cpu"))
        return np.concatenate([found(x.contiguous(memory_format=torch.channels_last)).numpy() for x in planes])

    return features


# ---------------------------------------------------------------- coverage


def drawn(pixels: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Return a dump of the "generator": uint8 [n, R, R, 3] from images uint8 [N, R, R, 3]; R is even."""
    random = np.random.Generator(np.random.PCG64(seed))
    side = pixels.shape[1]
    chosen = pixels[random.integers(0, len(pixels), n)].astype(np.uint16)
    halved = (chosen[:, ::2, ::2] + chosen[:, 1::2, ::2] + chosen[:, ::2, 1::2] + chosen[:, 1::2, 1::2] + 2) // 4
    blurred = halved.astype(np.uint8).repeat(2, axis=1).repeat(2, axis=2)
    rows, columns = (np.clip(np.arange(side) + random.integers(-2, 3, (n, 1)), 0, side - 1) for _ in range(2))
    columns = np.where(random.random((n, 1)) < 0.5, columns, columns[:, ::-1])
    return blurred[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


def coverage(pixels: np.ndarray, features: Network, dumps: int, counts: tuple[int, ...], n_real: int) -> list[Any]:
    """Return how often the intervals cover: a row a metric and number of images.

    `covered`: the part of dumps whose interval holds the mean score of all of them; `sd` of the scores, and `claimed`,
    the root mean square of what the intervals take it to be.

    Args:
        pixels: the real images, uint8 [N, R, R, 3]; the first `n_real` are the reference.
        counts: the first so many images of each dump are scored.
    """
    real = features(pixels[:n_real])
    moments = Moments(real.shape[1])
    moments.update(real)
    reference = GaussianStatistics(*moments.gaussian())
    classifier = np.random.Generator(np.random.PCG64(0)).standard_normal((real.shape[1], CLASSES))
    classifier *= 2 / real.std(axis=0)[:, None] / real.shape[1] ** 0.5
    found: dict[tuple[str, int], list[tuple[float, tuple[float, float]]]] = {}
    with progress.bar(dumps, "dump", "coverage") as bar:
        for seed in range(dumps):
            rows = features(drawn(pixels, max(counts), seed))
            for n in counts:
                for metric, score in _scores(rows[:n], real, reference, (rows[:n] - real.mean(axis=0)) @ classifier):
                    found.setdefault((metric, n), []).append(score)
            bar.update()
    return [_row(metric, n, real.shape[1], scores) for (metric, n), scores in found.items()]


def _scores(
    rows: np.ndarray, real: np.ndarray, reference: GaussianStatistics, logits: np.ndarray
) -> Iterator[tuple[str, tuple[float, tuple[float, float]]]]:
    """Yield each metric's score and interval, as a record would have them."""
    n, moments = len(rows), Moments(rows.shape[1])
    ends, prefixes = jackknife.bounds(n), dict[int, Prefix]()
    for start, end in itertools.pairwise(ends):
        moments.update(rows[start:end])
        prefixes[int(end)] = Prefix(int(end), *moments.gaussian())
    value = reference.distance(*moments.gaussian()).value
    yield (
        "fid",
        (
            value,
            jackknife.interval(value, jackknife.frechet_without(reference, prefixes[n], prefixes, value)),
        ),
    )
    inception_score = InceptionScore(10, n)
    inception_score.update(logits)
    mean = inception_score.result()[0]
    yield "is", (mean, jackknife.interval(mean, inception_score.without()))
    blocks = jackknife.blocks(n)
    kid = kernel_distance(real, rows, subsets=KID_SUBSETS, blocks=blocks)
    yield "kid", (kid.mean, jackknife.interval(kid.mean, kid.without))


def _row(metric: str, n: int, channels: int, scores: list[tuple[float, tuple[float, float]]]) -> dict[str, Any]:
    values = np.array([value for value, _ in scores])
    low, high = np.array([interval for _, interval in scores]).T
    error = jackknife.sd_of(low, high)
    covered = float(((low <= values.mean()) & (values.mean() <= high)).mean())
    return {
        "metric": metric,
        "images": n,
        "channels": channels,
        "mean": float(values.mean()),
        "sd": float(values.std(ddof=1)),
        "claimed_sd": float(np.sqrt(np.square(error).mean())),
        "covered": covered,
        "as_named": COVERED[0] <= covered <= COVERED[1],
    }


# ---------------------------------------------------------------- cost


class _NoNetwork:
    """An extractor whose features are there already, so that a pass takes what is done with them."""

    scorer, resizer, kind, weights_sha256, device_used = "tf", "none", "stand-in", "0" * 64, "cpu"
    biases: np.ndarray | None = None

    def __init__(self, channels: int, batch: int):
        self.versions: dict[str, str] = {}
        random = np.random.Generator(np.random.PCG64(0))
        self._rows = random.standard_normal((batch, channels)).astype(np.float32)

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        self._rows = self._rows[:, np.roll(np.arange(self._rows.shape[1]), 1)]
        return self._rows[: len(images)], None


def cost(cache: Path, channels: int = 2048, images: int = 100) -> dict[str, Any]:
    """Return the processor seconds that the interval of a distance adds to a pass, and their share of 50,000 images.

    What is kept where blocks end does not depend on the number of images, so a pass of 5,000 shows it.

    Args:
        cache: where the stand-in weights are kept.
        channels: of the features.
        images: that the TensorFlow scorer with stand-in weights is timed on, after one batch.
    """
    setup = Setup(weights="stand-in", layer=channels, batch=50, threads=1, cache=cache)
    empty = Images(np.zeros((5000, 2, 2, 3), dtype=np.uint8), Path("none.npy"))
    sec = {}
    for with_blocks in (False, True):
        started = time.process_time()
        done = one_pass(empty, _NoNetwork(channels, 50), setup, "bench", with_blocks=with_blocks)
        sec[with_blocks] = time.process_time() - started
    whole = done.prefixes[len(empty)]
    reference = GaussianStatistics(whole.mean + 0.01, whole.covariance)
    value = reference.distance(whole.mean, whole.covariance).value  # factors the reference, as a score does anyway
    started = time.process_time()
    jackknife.interval(value, jackknife.frechet_without(reference, whole, done.prefixes, value))
    distances = time.process_time() - started
    pass_sec = PASS_IMAGES * _sec_an_image(setup, images)
    return {
        "channels": channels,
        "moments_sec": sec[True] - sec[False],
        "distances_sec": distances,
        "pass_sec": pass_sec,
        "share": (sec[True] - sec[False] + distances) / pass_sec,
        "allowed_share": ALLOWED_SHARE,
    }


def _sec_an_image(setup: Setup, images: int) -> float:
    from harness.metrics.extractors.registry import open_extractor

    extractor = open_extractor("tf", setup)
    pixels = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (setup.batch, 32, 32, 3), dtype=np.uint8)
    extractor(pixels)
    started = time.process_time()
    for _ in range(images // setup.batch):
        extractor(pixels)
    return (time.process_time() - started) / (images // setup.batch * setup.batch)


# ---------------------------------------------------------------- the table


def markdown(record: dict[str, Any]) -> str:
    """Return the tables of a record in Markdown, with the machine named above them."""
    machine, cost = record["machine"], record["cost"]
    rows = [
        (
            row["metric"].upper(),
            f"{row['images']:,}",
            row["channels"],
            f"{row['mean']:.5g}",
            f"{row['sd']:.3g}",
            f"{row['claimed_sd']:.3g}",
            f"{row['covered']:.1%}",
            "yes" if row["as_named"] else "no: approximate",
        )
        for row in record["coverage"]
    ]
    lines = [
        f"{machine['cpu']}, 1 thread; load average {machine['load_average_before'][0]:.1f} before. "
        f"{record['dumps']} disjoint dumps of {record['images']:,} images, drawn from CIFAR-10 with flips, shifts and "
        f"a blur, against its first {record['reals']:,} train images; {record['channels']} channels of the "
        f"{record['weights']} at {record['side']} px. Nominal 95 %, {jackknife.NAME}. KID: {record['kid_subsets']} "
        f"subsets; IS: {CLASSES} classes of a fixed linear classifier, 10 splits.",
        "",
        page.table("score | images: | channels: | mean: | sd over dumps: | sd claimed: | covered: | 90 to 98 %", rows),
        "",
        f"An interval of FID at {cost['channels']} channels adds {cost['moments_sec'] + cost['distances_sec']:.1f} "
        f"processor seconds to a pass ({cost['moments_sec']:.1f} for moments where blocks end, "
        f"{cost['distances_sec']:.1f} for ten distances): {cost['share']:.2%} of the {cost['pass_sec']:,.0f} that "
        f"{PASS_IMAGES:,} images take the TensorFlow scorer. Allowed are {cost['allowed_share']:.0%}.",
    ]
    return "\n".join(lines) + "\n"
