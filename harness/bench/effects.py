"""What each field of a protocol is worth: samples of one trained row, scored in ways that differ in one field.

They are drawn once and kept in every quantisation, and another snapshot draws of the same latents. So ways that differ
in anything but the count hold image against image, and their difference has an interval of its own: a jackknife of the
difference, block by block, which is far narrower than the difference of two intervals. Counts are nested, so theirs has
none.
"""

import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from harness import provenance
from harness.bench import page
from harness.comparison import field_worth
from harness.config.experiments import Run, Scale
from harness.data.images import open_images
from harness.errors import HarnessError
from harness.files import write_json, write_text
from harness.metrics import jackknife
from harness.metrics.extractors.base import Setup
from harness.metrics.extractors.registry import open_extractor
from harness.metrics.fid import GaussianStatistics
from harness.metrics.image_pass import Pass, Splits, one_pass
from harness.metrics.request import find_reference
from harness.networks import registry
from harness.paths import run_name, weights_folder
from harness.pipeline.sample import load_snapshot, write_dump
from harness.records.sample_record import VARIANTS
from harness.sampling import draw

SCORER = "torch"  # it has every resizer but clean-fid's
PARTS = (2, 5)  # counts are these parts of the base's
RESIZERS = ("torch-bilinear", "pil-bicubic")  # beside the 2015 graph's own


@dataclass(frozen=True)
class Way:
    """One way of scoring: which file of which dump, against which images, how many of both, and how."""

    dump: Path
    reference: Path
    n_fake: int
    n_real: int
    variant: str = "rounded"
    resizer: str = "tf1-bilinear"
    is_splits: int = 10
    is_bias: bool = False


@dataclass(frozen=True)
class Scored:
    """FID and Inception Score of one way (None: no logits), and both without each block of images."""

    fid: float
    fid_without: list[float]
    inception_score: float | None
    is_without: list[float]


def ways(base: Way, tests: Sequence[Path], n_test: int, other: Path | None) -> dict[str, list[Way]]:
    """Return the ways that differ from `base` in one field, by that field.

    Args:
        base: rounded images through the 2015 graph's own resizer; its dump has every quantisation.
        tests: other real images.
        n_test: so many of each, held against as many of the base's.
        other: the dump of another snapshot, a folder of its name.
    """
    out = {
        "resizer": [replace(base, resizer=name) for name in RESIZERS],
        "quantisation": [replace(base, variant=variant) for variant in VARIANTS if variant != base.variant],
        "n_fake": [replace(base, n_fake=base.n_fake // part) for part in PARTS],
        "n_real": [replace(base, n_real=base.n_real // part) for part in PARTS],
        "is_splits": [replace(base, is_splits=1)],
        "is_bias": [replace(base, is_bias=True)],
    }
    if tests:
        out["split"] = [replace(base, reference=test, n_real=n_test) for test in tests]
    if other is not None:
        out["snapshot"] = [replace(base, dump=other)]
    return out


def says(way: Way) -> dict[str, str]:
    """Return what a way says in each field."""
    return {
        "resizer": way.resizer,
        "quantisation": VARIANTS[way.variant],
        "n_fake": f"{way.n_fake:,}",
        "n_real": f"{way.n_real:,}",
        "is_splits": str(way.is_splits),
        "is_bias": f"{'with' if way.is_bias else 'without'} softmax/biases",
        "split": way.reference.name,
        "snapshot": way.dump.name,
    }


def run(
    out: Path,
    scale: Scale,
    row: Run,
    setup: Setup,
    *,
    snapshot: str = "last",
    other: str | None = None,
    reference: str | None = None,
    tests: Sequence[str] = (),
    n_fake: int = 5000,
    n_real: int = 10_000,
) -> dict[str, Any]:
    """Draw from a trained row, score every way and write `effects-<layer>.json` and `.md` into `out`.

    Args:
        row: a training of the scale.
        setup: Inception weights, layer and batch.
        snapshot: of the row, which most ways score.
        other: another one, which is held against it.
        reference: real images, a packed data set or a file; default: what the row is trained on.
        tests: other real images, all cut to the fewest; their names stand in the record, as nobody knows what split a
            file is of.

    Raises:
        HarnessError: missing weights of the generator or of Inception; too few images, or some of another resolution.
    """
    load = [round(x, 2) for x in os.getloadavg()]
    least = max(PARTS) * jackknife.LEAST
    if n_fake < least:
        raise HarnessError(f"{n_fake} samples: a part of them is scored in blocks, too; give at least {least}.")
    real = _reals(reference or row.dataset, scale, row, n_real)[0]
    others = [_reals(test, scale, row, 1) for test in tests]
    n_test = min([n_real, *(count for _, count in others)])
    with tempfile.TemporaryDirectory() as folder:
        base = Way(Path(folder) / snapshot, real, n_fake, n_real)
        drawn = _draw(scale, row, snapshot, base, VARIANTS, setup.threads)
        beside, second = None, None
        if other is not None:
            beside = Path(folder) / other
            second = _draw(scale, row, other, replace(base, dump=beside), [base.variant], setup.threads)
        scorer = _Scorer(setup, base, n_test)
        first = scorer.score(base)
        rows = [
            line
            for field, changed in ways(base, [path for path, _ in others], n_test, beside).items()
            for way in changed
            for line in _rows(field, base, way, first, scorer)
        ]
    machine = provenance.collect(scale.root, device="cpu", threads=setup.threads) | {"cpu": provenance.processor()}
    record = {
        "experiment": row.experiment,
        "seed": row.seed,
        **drawn,
        "dataset": row.dataset,
        "resolution": row.resolution,
        "other": second,
        "reference": real.name,
        "tests": [path.name for path, _ in others],
        "n_fake": n_fake,
        "n_real": n_real,
        "inception": scorer.inception,
        "layer": setup.layer,
        "fid": first.fid,
        "is": first.inception_score,
        "rows": rows,
        "machine": machine | {"load_average_before": load},
    }
    write_json(Path(out) / f"effects-{setup.layer}.json", record)
    write_text(Path(out) / f"effects-{setup.layer}.md", markdown(record))
    return record


def _reals(name: str, scale: Scale, row: Run, n: int) -> tuple[Path, int]:
    """Return path and number of real images; fewer than n are refused now rather than after hours of scoring."""
    path = find_reference(name, scale.root)
    images = open_images(path, known_range=True)
    images.first(n)
    if images.resolution != row.resolution:
        raise HarnessError(
            f"{path}: images of {images.resolution} px; {row.experiment} makes those of {row.resolution}."
        )
    return path, len(images)


def _draw(scale: Scale, row: Run, snapshot: str, way: Way, variants: Iterable[str], threads: int) -> dict[str, Any]:
    """Draw the way's dump from a snapshot, as `harness sample` would, and return what names it."""
    path = scale.folder.weights(row.experiment, row.seed, snapshot)
    if snapshot in row.snapshots and not path.is_file():
        stage = "choose" if weights_folder(snapshot) == "chosen" else "train"
        raise HarnessError(
            f"{path}: no such weights; `dvc repro {stage}@{run_name(row.experiment, row.seed)}` in {scale.path.parent} "
            "makes them."
        )
    torch.set_num_threads(threads)
    generator = registry.build("generator", row.generator, row.resolution, scale.definitions.models)
    weights = load_snapshot(scale, row, snapshot, generator)
    paths = {variant: _file(way.dump, variant) for variant in variants}
    chunks = draw.quantised(generator, way.n_fake, row.seed, paths)
    hashes, _ = write_dump(paths, chunks, (way.n_fake, row.resolution, row.resolution, 3))
    return {
        "snapshot": snapshot,
        "nimg": weights.nimg,
        "weights_sha256": weights.sha256,
        "samples_sha256": hashes[way.variant],
    }


class _Scorer:
    """Scores ways; the passes that several of them share are made once."""

    def __init__(self, setup: Setup, base: Way, n_test: int):
        self._setup, self._base, self._n_test = setup, base, n_test
        self._passes: dict[tuple[Path, str], Pass] = {}
        self.inception = ""

    def score(self, way: Way) -> Scored:
        fakes = self._pass(_file(way.dump, way.variant), way, self._base.n_fake, with_blocks=True)
        n_real = self._base.n_real if way.reference == self._base.reference else self._n_test
        reals = self._pass(way.reference, way, n_real, with_blocks=False).first[way.n_real]
        reference, whole = GaussianStatistics(reals.mean, reals.covariance), fakes.prefixes[way.n_fake]
        value = reference.distance(whole.mean, whole.covariance).value
        without = jackknife.frechet_without(reference, whole, fakes.prefixes, value)
        found = fakes.inception_scores.get(Splits(way.n_fake, way.is_splits, way.is_bias))
        return Scored(value, without, found.result()[0] if found else None, found.without() if found else [])

    def _pass(self, path: Path, way: Way, total: int, with_blocks: bool) -> Pass:
        if (path, way.resizer) in self._passes:
            return self._passes[path, way.resizer]
        images = open_images(path, known_range=True, floats=with_blocks and way.variant == "float").first(total)
        extractor = open_extractor(SCORER, self._setup, way.resizer)
        self.inception = extractor.kind
        shared = way.resizer == self._base.resizer
        shared &= path in (_file(self._base.dump, self._base.variant), self._base.reference)
        counts = {total // part for part in (1, *PARTS)} if shared else {total}
        counts |= {self._n_test} if shared and not with_blocks else set()
        kinds = [(10, False), (1, False), (10, True)] if with_blocks and extractor.biases is not None else []
        scores = [Splits(n, splits, bias) for n in counts for splits, bias in kinds]
        done = one_pass(
            images,
            extractor,
            self._setup,
            path.name,
            counts=sorted(counts, reverse=True),
            scores=scores,
            with_blocks=with_blocks,
        )
        if shared:  # the others are of one way each, and a pass holds hundreds of megabytes at 2048 channels
            self._passes[path, way.resizer] = done
        return done


def _file(dump: Path, variant: str) -> Path:
    return dump / f"{variant}.npy"


def _rows(field: str, base: Way, way: Way, first: Scored, scorer: _Scorer) -> list[dict[str, Any]]:
    """Return a row for each metric that the field can move."""
    of_images = ""
    if field == "split":
        base = replace(base, n_real=way.n_real)
        first = scorer.score(base)
        of_images = f", first {way.n_real:,}"
    said, instead_of = (says(one)[field] + of_images for one in (way, base))
    found = scorer.score(way)
    metrics = {
        "fid": (first.fid, found.fid, first.fid_without, found.fid_without),
        "is": (first.inception_score, found.inception_score, first.is_without, found.is_without),
    }
    if field in ("is_splits", "is_bias"):
        del metrics["fid"]
    elif field in ("n_real", "split"):
        del metrics["is"]
    paired = way.n_fake == base.n_fake  # then image i of both is of the same latents
    out = []
    for metric, (before, after, without, left) in metrics.items():
        if before is None or after is None:
            continue
        low = high = None
        if paired:
            pairs = [b - a for a, b in zip(without, left, strict=True)]
            low, high = jackknife.interval(after - before, pairs)
        moved = {"score": after, "change": after - before, "share": (after - before) / before, "low": low, "high": high}
        out.append({"field": field, "says": said, "instead_of": instead_of, "metric": metric, **moved})
    return out


def markdown(record: dict[str, Any]) -> str:
    """Return the table of a record in Markdown, with what the ways have in common above it."""
    machine, rows = record["machine"], []
    for row in record["rows"]:
        sure = "not paired" if row["low"] is None else f"{row['low']:+z.4f} to {row['high']:+z.4f}"
        score = f"{row['metric'].upper()} {row['score']:.3f}"
        change = (f"{row['change']:+z.4f}", sure, f"{row['share']:+z.2%}")
        rows.append((row["field"], row["says"], row["instead_of"], score, *change))
    return (
        f"{field_worth.made_of(record)}. The generator's weights: sha256 {record['weights_sha256'][:12]}. Intervals of "
        f"differences: {jackknife.NAME}. {machine['cpu']}; threads: {machine['threads']}.\n\n"
        f"{page.table('field | says | instead of | score: | change: | 95 %: | of the score:', rows)}\n"
    )
