"""A dump and a reference through one scorer: scores, with everything that says how they were made."""

import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.metrics import fid
from harness.metrics import reference_statistics as references
from harness.metrics.extractors.base import Extractor
from harness.metrics.extractors.registry import open_extractor
from harness.metrics.image_pass import Pass, one_pass
from harness.metrics.kid import SUBSET_SIZE, SUBSETS, kernel_distance
from harness.metrics.reference_statistics import Reference
from harness.metrics.request import FOREIGN, OF_SAMPLES, Inputs, Request, open_inputs
from harness.records import score_record
from harness.records.score_record import Content, Protocol, Run, ScoreRecord, Values

FACTS = {  # what a declaration may say -> its entry in a reference's content
    "dataset": "name",
    "split": "split",
    "crop": "crop",
    "resize": "resize",
    "stand_in_data": "stand_in",
    "real_pixels_sha256": "pixels_sha256",
}
UNKNOWN = "0" * 64  # stands for a hash until the images are read


def score(request: Request) -> ScoreRecord:
    """Score a dump against a reference; returns the record that `harness score` writes.

    Everything that can be refused is refused before the samples' pass begins, and that before the reference's.

    Raises:
        HarnessError: unfit images or statistics, missing weights, an undefined combination, or a broken link between
            a file and what a record says of it.
    """
    started = time.perf_counter()
    inputs = open_inputs(request)
    extractor = open_extractor(request.scorer, request.setup)
    reference = None
    if inputs.reals is None:
        reference = references.load_statistics(inputs.target, extractor, request.setup.layer, request.n_real)
        known = reference.content
    else:
        known = references.content_of(inputs.reals, extractor, request.setup.layer)
    draft = _draft(request, inputs, extractor, known, reference)
    print(f"samples: {inputs.samples.found}", file=sys.stderr)
    if inputs.reals is not None:
        print(f"reference: {inputs.reals.found}", file=sys.stderr)
    for text in draft.protocol.caveats:
        print(f"warning: {text}", file=sys.stderr)
    fake, fake_features = _pass_over_samples(request, inputs, extractor)
    real_sec, kid, kid_std = 0.0, None, None
    if inputs.reals is not None:
        reference, features, real_sec = references.of_images(inputs.reals, known, extractor, request.setup, request.kid)
        if fake_features is not None and features is not None:
            kid, kid_std = _kernel_distance(features, fake_features)
    assert reference is not None, "a reference is a file of statistics or images"
    distance = reference.gaussian.distance(fake.moments.mean, fake.moments.covariance)
    if not np.isfinite(distance.value):
        raise HarnessError("The Frechet distance is not finite; check the weights and the reference statistics.")
    is_mean, is_std = fake.inception_score or (None, None)
    protocol = draft.protocol
    if fake.inception_score is None:
        protocol = dataclasses.replace(protocol, is_splits=None, is_bias=None)
    return dataclasses.replace(
        draft,
        protocol=protocol,
        values=Values(fid=distance.value, is_mean=is_mean, is_std=is_std, kid=kid, kid_std=kid_std),
        content=dataclasses.replace(draft.content, samples_sha256=fake.sha256),
        diagnostics={"rank": distance.rank, "clamped_mass": distance.clamped_mass},
        provenance=_provenance(request, inputs, extractor, real_sec + fake.device_sec, started),
    )


def _pass_over_samples(
    request: Request, inputs: Inputs, extractor: Extractor
) -> tuple[Pass, references.FeatureFile | None]:
    """Run the samples through the extractor; their features are kept on disk if KID needs them."""
    images, setup, features = inputs.samples, request.setup, None
    if request.kid:
        key = references.content(images.sha256(), {}, len(images), extractor, setup.layer)
        features = references.feature_file(setup.cache, key)
    sha256 = features.content["pixels_sha256"] if features is not None else None
    done = one_pass(images, extractor, setup, "samples", sha256=sha256, features=features, splits=request.is_splits)
    return done, features


def _kernel_distance(real: references.FeatureFile, fake: references.FeatureFile) -> tuple[float, float]:
    arrays = real.read(), fake.read()
    for file, array in zip((real, fake), arrays, strict=True):
        if array is None:
            raise HarnessError(f"{file.path}: was damaged or removed after it was written; score again.")
    return kernel_distance(*arrays)  # type: ignore[arg-type]  # checked above


# ---------------------------------------------------------------- the record


def _draft(
    request: Request, inputs: Inputs, extractor: Extractor, known: dict[str, Any], reference: Reference | None
) -> ScoreRecord:
    """Return the record as it will be, without scores; what it cannot hold is refused now.

    `known` is what the reference is (see `reference_statistics.content`), {} for statistics from elsewhere.

    Raises:
        HarnessError: the samples' record holds what no run can be, or a declaration contradicts what is known.
    """
    record = inputs.sample_record
    protocol = _protocol(request, inputs, extractor, known, reference)
    draft = ScoreRecord(
        run=Run(**{f.name: record.get(f.name) for f in dataclasses.fields(Run)}),
        protocol=protocol,
        values=Values(fid=0.0),
        content=Content(UNKNOWN, record.get("weights_sha256"), protocol.real_pixels_sha256),
        diagnostics={},
        provenance={},
    )
    return score_record.validate(draft, str(request.record or request.samples))


def _protocol(
    request: Request, inputs: Inputs, extractor: Extractor, known: dict[str, Any], reference: Reference | None
) -> Protocol:
    """Return everything that defines the score; None where a foreign set or statistics file does not say."""
    record, setup = inputs.sample_record, request.setup
    n_real = reference.count if reference is not None else known["n"]
    of_samples = {key: record.get(key) for key in OF_SAMPLES} | {"n_fake": len(inputs.samples)}
    of_reference = {key: known.get(FACTS[key]) for key in FACTS} | {"n_real": n_real}
    facts, declared = _declare(request, inputs.target, of_samples | of_reference)
    n_real = facts["n_real"]
    if not known and request.n_real is not None:
        declared = (*declared, "n_real")
    return Protocol(
        **facts,
        name=request.protocol_name or record.get("scale") or FOREIGN,
        version=1,
        resolution=inputs.samples.resolution,
        selection=record.get("selection"),
        reference="statistics" if reference is not None else "images",
        statistics_sha256=reference.file_sha256 if reference is not None else None,
        scorer=extractor.scorer,
        resizer=extractor.resizer,
        inception=extractor.kind,
        inception_sha256=extractor.weights_sha256,
        stand_in_inception=extractor.kind == "stand-in",
        layer=setup.layer,
        is_splits=request.is_splits,
        is_bias=setup.is_bias,
        kid_subsets=SUBSETS if request.kid else None,
        kid_subset_size=min(SUBSET_SIZE, len(inputs.samples), n_real or 0) if request.kid else None,
        scorer_versions=extractor.versions,
        declared=tuple(sorted(declared)),
        caveats=(*inputs.caveats, *fid.caveats(setup.layer, n_real, len(inputs.samples))),
    )


def _declare(request: Request, target: Path, facts: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Lay the user's declarations over what is unknown; return the facts and the names of those declared.

    Raises:
        HarnessError: a declaration contradicts what the harness knows itself, naming both.
    """
    new = {}
    for key, value in request.declared.items():
        if facts[key] is None:
            new[key] = value
        elif facts[key] != value:
            where = request.samples if key in OF_SAMPLES else target
            raise HarnessError(
                f"--declare {key}={value}: {where} already says {facts[key]}; leave the declaration out."
            )
    return facts | new, tuple(new)


def _provenance(
    request: Request, inputs: Inputs, extractor: Extractor, device_sec: float, started: float
) -> dict[str, Any]:
    from harness.provenance import collect

    return collect(
        device=extractor.device_used,
        threads=request.setup.threads,
        batch=request.setup.batch,
        seeds={"samples": inputs.sample_record.get("seed")},
        device_sec=round(device_sec, 3),
        wall_sec=round(time.perf_counter() - started, 3),
    )
