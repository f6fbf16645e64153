"""Dumps and references through one scorer: scores, with everything that says how they were made."""

import dataclasses
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.metrics import bootstrap, extras, fid, jackknife
from harness.metrics import reference_statistics as references
from harness.metrics.draft import UNREAD, Known, draft
from harness.metrics.extractors.base import Extractor
from harness.metrics.extractors.registry import open_extractor
from harness.metrics.feature_file import FeatureFile
from harness.metrics.image_pass import First, Pass, Splits, one_pass
from harness.metrics.inception_score import InceptionScore
from harness.metrics.kid import kernel_distance
from harness.metrics.reference_statistics import Reference
from harness.metrics.request import Inputs, Opened, Request, open_inputs
from harness.records.score_record import ScoreRecord, Values

SAME = "the samples are the reference's own images"
Interval = tuple[float, float]
Features = Mapping[Path, FeatureFile]  # of the real images, by their path


def score(request: Request) -> ScoreRecord:
    """Score a dump against a reference; returns the record that `harness score` writes. See `score_all`."""
    return score_all([request])[0]


def score_all(requests: Sequence[Request]) -> list[ScoreRecord]:
    """Score a dump in several ways that share one pass over its images; returns one record a request, in their order.

    The requests share samples, scorer, weights, layer and resizer; they differ in counts, references, splits and biases
    of the Inception Score, KID and the protocol's name. Each reference is read in at most one pass, too.

    Everything that can be refused is refused before the samples' pass begins, and that before the references'.

    Raises:
        HarnessError: unfit images or statistics, missing weights, an undefined combination, or a broken link between
            a file and what a record says of it.
    """
    started = time.perf_counter()
    inputs = open_inputs(requests)
    extractor = open_extractor(requests[0].scorer, requests[0].setup, requests[0].resizer)
    known = _known(inputs, extractor)
    ready = _samples_statistics(inputs.statistics, inputs, extractor) if inputs.statistics is not None else None
    drafts = [draft(one, inputs.sample_record, extractor, its) for one, its in zip(inputs.requests, known, strict=True)]
    _announce(inputs, drafts)
    _check_room(inputs, extractor, known)
    fakes, fake_features = ready or _pass_over_samples(inputs, extractor)
    reals, real_features, real_sec = _passes_over_references(inputs, extractor, known)
    provenance = _provenance(inputs, extractor, real_sec + fakes.device_sec, started)
    distances: dict[tuple[int, int], fid.Frechet] = {}
    intervals: dict[tuple[int, int], Interval | None] = {}
    records = []
    for one, unscored, reference, its in zip(inputs.requests, drafts, reals, known, strict=True):
        fake, pair = fakes.first[len(one.samples)], (id(reference), len(one.samples))
        if pair not in distances:  # protocols may differ in their Inception Scores alone
            distances[pair] = reference.gaussian.distance(fake.mean, fake.covariance)
            intervals[pair] = _frechet_interval(reference, fakes, len(one.samples), distances[pair].value)
        distance = distances[pair]
        if not np.isfinite(distance.value):
            raise HarnessError("The Frechet distance is not finite; check the weights and the reference statistics.")
        values = Values(fid=distance.value, fid_interval=intervals[pair])
        real_rows, fake_rows = _features(real_features, fake_features, one)
        if one.request.kid:
            values = dataclasses.replace(values, **_kernel_distance(real_rows, fake_rows))
        protocol = unscored.protocol
        if fake.sha256 in its.hashes:
            print(f"warning: {SAME}", file=sys.stderr)
            protocol = dataclasses.replace(protocol, caveats=(*protocol.caveats, SAME))
        inception_score = fakes.inception_scores.get(_splits(one))
        if inception_score is None:
            protocol = dataclasses.replace(protocol, is_splits=None, is_bias=None)
        else:
            values = dataclasses.replace(values, **_inception_score(inception_score))
        values = dataclasses.replace(values, interval_by=jackknife.NAME if values.intervals() else None)
        if one.request.extras:
            values = dataclasses.replace(values, **_extras(reference, fakes, real_rows, fake_rows))
        if one.request.bootstrap:
            values = _bootstrapped(values, reference, fake_rows, one.request.bootstrap)
        scored = dataclasses.replace(
            unscored,
            protocol=protocol,
            values=values,
            content=dataclasses.replace(unscored.content, samples_sha256=fake.sha256),
            diagnostics={"rank": distance.rank, "clamped_mass": distance.clamped_mass},
            provenance=provenance,
        )
        records.append(scored)
    return records


def _announce(inputs: Inputs, drafts: Sequence[ScoreRecord]) -> None:
    """Say on stderr what was opened, and what the reader must know of it."""
    print(f"samples: {inputs.samples.found}", file=sys.stderr)
    for images in inputs.reals.values():
        print(f"reference: {images.found}", file=sys.stderr)
    for text in dict.fromkeys(text for one in drafts for text in one.protocol.caveats):
        print(f"warning: {text}", file=sys.stderr)


# ---------------------------------------------------------------- the passes


def _known(inputs: Inputs, extractor: Extractor) -> list[Known]:
    """Return what is known of each request's reference; images are hashed in one reading a reference."""
    layer, wanted = inputs.requests[0].request.setup.layer, {len(one.samples) for one in inputs.requests}
    contents = {
        target: references.contents_of(
            images, inputs.counts(target) | {n for n in wanted if n <= len(images)}, extractor, layer
        )
        for target, images in inputs.reals.items()
    }
    known = []
    for one in inputs.requests:
        if one.reals is None:
            statistics = references.load_statistics(one.target, extractor, layer, one.request.n_real)
            of_file = {statistics.file_sha256, statistics.content.get("pixels_sha256")}
            known.append(Known(statistics.content, statistics, frozenset(of_file)))
        else:
            of_target = contents[one.target]
            first = {of_target[n]["pixels_sha256"] for n in (len(one.reals), len(one.samples)) if n in of_target}
            known.append(Known(of_target[len(one.reals)], None, frozenset(first)))
    return known


def _check_room(inputs: Inputs, extractor: Extractor, known: Sequence[Known]) -> None:
    """Raise HarnessError unless the cache can take the features that are asked for."""
    setup = inputs.requests[0].request.setup
    for one, its in zip(inputs.requests, known, strict=True):
        if one.request.keeps_features:
            of_samples = references.content(UNREAD, {}, len(one.samples), extractor, setup.layer)
            references.feature_file(setup.cache, of_samples).check_room()
        if one.request.keeps_real_features:
            references.feature_file(setup.cache, its.content).check_room()


def _pass_over_samples(inputs: Inputs, extractor: Extractor) -> tuple[Pass, FeatureFile | None]:
    """Run the samples through the extractor; features that are needed as such are kept on disk."""
    images, setup = inputs.samples, inputs.requests[0].request.setup
    n = max((len(one.samples) for one in inputs.requests if one.request.keeps_features), default=None)
    features, hashes = None, {}
    if n is not None:
        hashes = images.hashes([n])
        key = references.content(hashes[n], {}, n, extractor, setup.layer)
        features = references.feature_file(setup.cache, key)
    done = one_pass(
        images,
        extractor,
        setup,
        "samples",
        counts={len(one.samples) for one in inputs.requests},
        sha256=hashes,
        features=features,
        scores={_splits(one) for one in inputs.requests},
        with_blocks=True,
    )
    return done, features


def _samples_statistics(path: Path, inputs: Inputs, extractor: Extractor) -> tuple[Pass, None]:
    """Return what a pass over the samples would leave, from a file of statistics: no Inception Score."""
    n, layer = len(inputs.samples), inputs.requests[0].request.setup.layer
    found = references.load_statistics(path, extractor, layer, n)
    sha256 = found.content.get("pixels_sha256") or str(found.file_sha256)
    return Pass({n: First(found.gaussian.mean, found.gaussian.covariance, sha256)}, {}, 0.0), None


def _splits(one: Opened) -> Splits:
    return Splits(len(one.samples), one.request.is_splits, one.request.is_bias)


def _passes_over_references(
    inputs: Inputs, extractor: Extractor, known: Sequence[Known]
) -> tuple[list[Reference], dict[Path, FeatureFile], float]:
    """Return each request's statistics, the features that KID needs by the reference's path, and the device seconds."""
    found, features, device_sec = {}, {}, 0.0
    for target, images in inputs.reals.items():
        its = [(one, that) for one, that in zip(inputs.requests, known, strict=True) if one.target == target]
        keys = {that.content["n"]: that.content for _, that in its}
        kid = max((that.content["n"] for one, that in its if one.request.keeps_real_features), default=None)
        found[target], kept, sec = references.of_images(
            images, keys.values(), extractor, inputs.requests[0].request.setup, kid
        )
        device_sec += sec
        if kept is not None:
            features[target] = kept
    return (
        [
            that.statistics or found[one.target][that.content["n"]]
            for one, that in zip(inputs.requests, known, strict=True)
        ],
        features,
        device_sec,
    )


# ---------------------------------------------------------------- scores and their intervals


def _frechet_interval(reference: Reference, fakes: Pass, n: int, value: float) -> Interval | None:
    """Return the interval of a distance; None where the samples are too few, or a file of statistics."""
    whole = fakes.prefixes.get(n)
    if whole is None or n < jackknife.LEAST or not np.isfinite(value):
        return None
    return jackknife.interval(value, jackknife.frechet_without(reference.gaussian, whole, fakes.prefixes, value))


def _inception_score(score: InceptionScore) -> dict[str, Any]:
    mean, std = score.result()
    interval = jackknife.interval(mean, score.without()) if score.total >= jackknife.LEAST else None
    return {"is_mean": mean, "is_std": std, "is_interval": interval}


def _kernel_distance(real: np.ndarray, fake: np.ndarray) -> dict[str, Any]:
    enough = min(len(real), len(fake)) >= jackknife.LEAST
    found = kernel_distance(real, fake, blocks=jackknife.blocks(len(fake)) if enough else None)
    interval = jackknife.interval(found.mean, found.without) if enough else None
    return {"kid": found.mean, "kid_std": found.std, "kid_interval": interval}


def _extras(reference: Reference, fakes: Pass, real: np.ndarray, fake: np.ndarray) -> dict[str, Any]:
    if min(len(real), len(fake)) <= extras.NEIGHBOURS:
        raise HarnessError(
            f"--extras: precision and recall need more than {extras.NEIGHBOURS} images a side, "
            f"{len(fake)} and {len(real)} are given."
        )
    precision, recall = extras.precision_and_recall(real, fake)
    at_infinity = None
    if len(fake) >= jackknife.LEAST:
        at_infinity = extras.fid_at_infinity(reference.gaussian, fakes.prefixes, len(fake))
    return {"fid_infinity": at_infinity, "inception_precision": precision, "inception_recall": recall}


def _bootstrapped(values: Values, reference: Reference, rows: np.ndarray, draws: int) -> Values:
    assert values.fid is not None, "every score has a distance"
    interval = bootstrap.frechet_interval(reference.gaussian, rows, values.fid, draws)
    others = f"; IS and KID: {jackknife.NAME}" if values.is_interval or values.kid_interval else ""
    return dataclasses.replace(values, fid_interval=interval, interval_by=f"{bootstrap.name(draws)}{others}")


def _features(reals: Features, fakes: FeatureFile | None, one: Opened) -> tuple[np.ndarray, np.ndarray]:
    """Read the features that a request asks for, of the real images and of the samples; no rows where it does not."""
    real = fake = np.empty((0, 0), dtype=np.float32)
    if one.request.keeps_real_features:
        assert one.reals is not None, "statistics hold no features"
        real = _read(reals[one.target])[: len(one.reals)]
    if one.request.keeps_features:
        assert fakes is not None, "kept by the pass"
        fake = _read(fakes)[: len(one.samples)]
    return real, fake


def _read(file: FeatureFile) -> np.ndarray:
    rows = file.read()
    if rows is None:
        raise HarnessError(f"{file.path}: was damaged or removed after it was written; score again.")
    return rows


# ---------------------------------------------------------------- where it was made


def _provenance(inputs: Inputs, extractor: Extractor, device_sec: float, started: float) -> dict[str, Any]:
    from harness.provenance import collect

    setup = inputs.requests[0].request.setup
    return collect(
        device=extractor.device_used,
        threads=setup.threads,
        batch=setup.batch,
        seeds={"samples": inputs.sample_record.get("seed")},
        scores_of_pass=len(inputs.requests),  # which share the seconds
        device_sec=round(device_sec, 3),
        wall_sec=round(time.perf_counter() - started, 3),
    )
