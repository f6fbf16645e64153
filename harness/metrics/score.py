"""A dump and a reference through one extractor, in one pass, into a JSON that says how the score was made."""

import dataclasses
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.config.reader import digest
from harness.data.images import Images, open_dump, open_images
from harness.errors import HarnessError, nearest
from harness.files import replacing
from harness.metrics import reference_statistics as references
from harness.metrics.extractors.base import LAYERS, Extractor, Setup
from harness.metrics.extractors.registry import open_extractor
from harness.metrics.fid import Frechet, GaussianStatistics
from harness.metrics.inception_score import InceptionScore
from harness.metrics.kid import SUBSET_SIZE, SUBSETS, kernel_distance
from harness.metrics.moments import Moments
from harness.records.score_record import Content, Protocol, Run, ScoreRecord, Values

FOREIGN = "custom"  # protocol name of samples that no scale of ours made
DECLARED = ("dataset", "split", "crop", "resize", "stand_in_data", "real_pixels_sha256")


@dataclass(frozen=True)
class Request:
    """What is scored, and how. `n`, `n_real`: the first so many images (None: all)."""

    samples: Path
    reference: str  # folder, npy, npz, statistics npz, packed data set, or the name of one in data/
    scorer: str = "tf"
    setup: Setup = field(default_factory=Setup)
    record: Path | None = None  # samples.json of the dump, when it is not beside it
    n: int | None = None
    n_real: int | None = None
    is_splits: int = 10
    kid: bool = False
    protocol_name: str | None = None  # default: the scale's name, or `custom` for samples from elsewhere
    declared: dict[str, Any] = field(default_factory=dict)  # protocol of an imported reference; keys of DECLARED


@dataclass(frozen=True)
class Pass:
    """What one pass over images leaves in memory; it does not grow with their number."""

    moments: Moments
    inception_score: tuple[float, float] | None
    device_sec: float


def score(request: Request) -> ScoreRecord:
    """Score a dump against a reference; returns the record that `harness score` writes.

    Raises:
        HarnessError: unfit images or statistics, missing weights, an undefined combination.
    """
    started = time.perf_counter()
    _check(request)
    images, described = open_dump(request.samples, request.record)
    images = images.first(request.n)
    target = find_reference(request.reference)
    imported = references.is_statistics(target)
    real = None if imported else open_images(target).first(request.n_real)
    if real is not None and real.resolution != images.resolution:
        raise HarnessError(
            f"{images.path} has {images.resolution} px and {target} {real.resolution} px; score images of one size."
        )
    if request.declared and real is not None and real.card:
        raise HarnessError(f"--declare: {target / 'card.json'} already says what these images are; leave it out.")
    if imported and request.kid:
        raise HarnessError(f"{target}: statistics hold no features, which KID needs; give the real images.")

    extractor = open_extractor(request.scorer, request.setup)
    real_features, fake_features, real_sec = None, None, 0.0
    if real is None:
        reference = references.load_statistics(target, extractor, request.setup.layer, request.n_real)
    else:
        reference, real_features, real_sec = real_side(real, extractor, request)
    if request.kid:
        fake_features = _features_path(request.setup.cache, _content(images, extractor, request))
    fake = one_pass(images, extractor, request.setup, "samples", fake_features, request.is_splits)
    distance = reference.side.distance(fake.moments.mean, fake.moments.covariance)
    kid: tuple[float | None, float | None] = (None, None)
    if real_features is not None and fake_features is not None:
        kid = kernel_distance(np.load(real_features, mmap_mode="r"), np.load(fake_features, mmap_mode="r"))
    provenance = _provenance(request, images, described, real_sec + fake.device_sec, started)
    made = protocol(request, images, real, reference, extractor, described, fake.inception_score is not None)
    return ScoreRecord(
        run=Run(**{f.name: described.get(f.name) for f in dataclasses.fields(Run)}),
        protocol=made,
        values=_values(distance, fake, kid),
        content=Content(
            samples_sha256=provenance.pop("samples_sha256"),
            weights_sha256=described.get("weights_sha256"),
            real_pixels_sha256=made.real_pixels_sha256,
        ),
        diagnostics={"rank": distance.rank, "clamped_mass": distance.clamped_mass},
        provenance=provenance,
    )


def find_reference(reference: str) -> Path:
    """Return the path of a reference given as a path or as the name of a packed data set under data/.

    Raises:
        HarnessError: neither; names the nearest packed data set.
    """
    if Path(reference).exists():
        return Path(reference)
    packed = {p.parent.name: p.parent for p in Path("data").glob("*/card.json")}
    if reference in packed:
        return packed[reference]
    hint = nearest(reference, packed) if packed else " None is packed yet: `harness data NAME --out data/NAME`."
    raise HarnessError(f"--reference {reference}: no such file, folder or data set in data/.{hint}")


def real_side(
    images: Images, extractor: Extractor, request: Request
) -> tuple[references.Reference, Path | None, float]:
    """Return the reference statistics, kept or computed now, the features' file if KID needs it, and device seconds."""
    cache = request.setup.cache
    described = _content(images, extractor, request)
    features = _features_path(cache, described) if request.kid else None
    found = references.find(cache, described)
    if found is not None and (features is None or features.is_file()):
        return found, features, 0.0
    done = one_pass(images, extractor, request.setup, "reals", features)
    side = GaussianStatistics(done.moments.mean, done.moments.covariance)
    reference = references.Reference(side, len(images), described)
    references.save(references.path_of(cache, described), reference)
    return reference, features, done.device_sec


def _content(images: Images, extractor: Extractor, request: Request) -> dict[str, Any]:
    return references.content(images.sha256(), images.card, len(images), extractor, request.setup.layer)


def one_pass(
    images: Images,
    extractor: Extractor,
    setup: Setup,
    label: str,
    features_path: Path | None = None,
    splits: int | None = None,
) -> Pass:
    """Stream images through the extractor once.

    Moments always; Inception Score if `splits` are given and the extractor has logits; features float32 [n, layer] on
    disk if a path is given.
    """
    from tqdm import tqdm

    moments = Moments(setup.layer)
    scores: InceptionScore | None = None
    device_sec = 0.0
    with ExitStack() as stack:
        bar = stack.enter_context(tqdm(total=len(images), unit="image", desc=f"{extractor.scorer}: {label}"))
        shape = (len(images), setup.layer)
        kept = stack.enter_context(_feature_file(features_path, shape)) if features_path is not None else None
        for start in range(0, len(images), setup.batch):
            pixels = images.pixels[start : start + setup.batch]
            before = time.perf_counter()
            features, logits = extractor(pixels)
            device_sec += time.perf_counter() - before
            moments.update(features)
            if kept is not None:
                kept[start : start + len(features)] = features
            if logits is not None and splits is not None:
                scores = scores or InceptionScore(splits, len(images))
                scores.update(logits)
            bar.update(len(pixels))
    return Pass(moments, scores.result() if scores else None, device_sec)


@contextmanager
def _feature_file(path: Path, shape: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield a float32 array on disk that gets its final name when the block has filled it."""
    with replacing(path) as temporary:
        array = np.lib.format.open_memmap(temporary, "w+", np.float32, shape)
        yield array
        array.flush()


def _features_path(cache: Path, described: dict[str, Any]) -> Path:
    return Path(cache) / "features" / f"{digest(described)}.npy"


def protocol(
    request: Request,
    images: Images,
    real: Images | None,
    reference: references.Reference,
    extractor: Extractor,
    described: dict[str, Any],
    has_is: bool,
) -> Protocol:
    """Return everything that defines the score; `None` where a foreign set or statistics file does not say."""
    card = real.card if real is not None else reference.content  # kept statistics carry what they depend on
    real_side = {
        "dataset": card.get("name"),
        "split": card.get("split"),
        "crop": card.get("crop"),
        "resize": card.get("resize"),
        "stand_in_data": card.get("stand_in"),
        "real_pixels_sha256": reference.content.get("pixels_sha256"),
        **request.declared,
    }
    return Protocol(
        **real_side,
        name=request.protocol_name or described.get("scale") or FOREIGN,
        version=1,
        n_fake=len(images),
        resolution=images.resolution,
        quantisation=described.get("quantisation"),
        ema=described.get("ema"),
        snapshot=described.get("snapshot"),
        selection=described.get("selection"),
        n_real=reference.count,
        reference="statistics" if real is None else "images",
        statistics_sha256=None,
        scorer=extractor.scorer,
        resizer=extractor.resizer,
        inception=extractor.kind,
        inception_sha256=extractor.weights_sha256,
        stand_in_inception=extractor.kind == "stand-in",
        layer=request.setup.layer,
        is_splits=request.is_splits if has_is else None,
        is_bias=request.setup.is_bias if has_is else None,
        kid_subsets=SUBSETS if request.kid else None,
        kid_subset_size=min(SUBSET_SIZE, len(images), reference.count or 0) if request.kid else None,
        scorer_versions=extractor.versions,
        declared=tuple(sorted(request.declared)),
        caveats=(),
    )


def _check(request: Request) -> None:
    if request.setup.layer not in LAYERS:
        raise HarnessError(f"--layer {request.setup.layer}: unknown; valid: {', '.join(map(str, LAYERS))}.")
    for key in request.declared:
        if key not in DECLARED:
            raise HarnessError(f"--declare {key}: no such entry of a reference's protocol.{nearest(key, DECLARED)}")
    if request.scorer != "clean" and request.setup.clean_mode != "clean":
        raise HarnessError(f"--clean-mode {request.setup.clean_mode}: only --scorer clean has modes.")
    if request.setup.is_bias and (request.scorer == "clean" or request.setup.layer != 2048):
        raise HarnessError("--bias: the Inception Score exists only at layer 2048 of the tf and torch scorers.")


def _values(distance: Frechet, fake: Pass, kid: tuple[float | None, float | None]) -> Values:
    if not np.isfinite(distance.value):
        raise HarnessError("The Frechet distance is not finite; check the weights and the reference statistics.")
    is_mean, is_std = fake.inception_score or (None, None)
    return Values(fid=distance.value, is_mean=is_mean, is_std=is_std, kid=kid[0], kid_std=kid[1])


def _provenance(
    request: Request, images: Images, described: dict[str, Any], device_sec: float, started: float
) -> dict[str, Any]:
    from harness.provenance import collect

    whole = request.n is None or described.get("n") == request.n
    return collect(
        device=request.setup.device,
        threads=request.setup.threads,
        batch=request.setup.batch,
        seeds={"samples": described.get("seed")},
        samples_sha256=described["samples_sha256"] if described and whole else images.sha256(),
        device_sec=round(device_sec, 3),
        wall_sec=round(time.perf_counter() - started, 3),
    )
