"""What each field of a protocol is worth: one dump, scored in ways that differ in one field.

The dump is a folder with a file for each quantisation, all of one drawing, so ways that differ in the resizer or the
quantisation see the same images, and their difference has an interval of its own: a jackknife of the difference, block
by block, which is far narrower than the difference of two intervals. Counts are nested, so theirs has none.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import provenance
from harness.data.images import open_images
from harness.errors import HarnessError
from harness.files import write_json, write_text
from harness.metrics import jackknife
from harness.metrics.extractors.base import Setup
from harness.metrics.extractors.registry import open_extractor
from harness.metrics.fid import GaussianStatistics
from harness.metrics.image_pass import Pass, Splits, one_pass
from harness.records.sample_record import VARIANTS

SCORER = "torch"  # it has every resizer but clean-fid's
PARTS = (2, 5)  # counts are these parts of the base's
RESIZERS = ("torch-bilinear", "pil-bicubic")  # beside the 2015 graph's own


@dataclass(frozen=True)
class Way:
    """One way of scoring: which file of which dump, against which images, how many of both, and how."""

    dump: Path
    reference: str
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


def ways(base: Way, test: str | None, other: Path | None) -> dict[str, list[tuple[str, Way]]]:
    """Return the ways that differ from `base` in one field: the field -> what it says there, and the way.

    Args:
        base: rounded images through the 2015 graph's own resizer.
        test: images of another split, None: not compared.
        other: the dump of another snapshot.
    """
    out: dict[str, list[tuple[str, Way]]] = {
        "resizer": [(name, replace(base, resizer=name)) for name in RESIZERS],
        "quantisation": [
            (said, replace(base, variant=variant))
            for variant, said in VARIANTS.items()
            if variant != base.variant and _file(base.dump, variant).is_file()
        ],
        "n_fake": [(f"{base.n_fake // part:,}", replace(base, n_fake=base.n_fake // part)) for part in PARTS],
        "n_real": [(f"{base.n_real // part:,}", replace(base, n_real=base.n_real // part)) for part in PARTS],
        "is_splits": [("1", replace(base, is_splits=1))],
        "is_bias": [("with softmax/biases", replace(base, is_bias=True))],
    }
    if test is not None:
        out["split"] = [(Path(test).name, replace(base, reference=test))]
    if other is not None:
        out["snapshot"] = [(str(other), replace(base, dump=other))]
    return out


def run(out: Path, base: Way, setup: Setup, test: str | None = None, other: Path | None = None) -> dict[str, Any]:
    """Score every way and write `effects-<layer>.json` and `.md` into `out`.

    Args:
        base: the way that the others are held against.
        setup: weights, layer and batch.

    Raises:
        HarnessError: too few images, missing files or weights.
    """
    load = [round(x, 2) for x in os.getloadavg()]
    least = max(PARTS) * jackknife.LEAST
    if base.n_fake < least:
        raise HarnessError(f"{base.n_fake} samples: a part of them is scored in blocks, too; give at least {least}.")
    scorer = _Scorer(setup, base)
    first = scorer.score(base)
    rows = [
        row
        for field, others in ways(base, test, other).items()
        for said, way in others
        for row in _rows(field, said, base, way, first, scorer)
    ]
    machine = provenance.collect(device="cpu", threads=setup.threads) | {"cpu": provenance.processor()}
    record = {
        "n_fake": base.n_fake,
        "n_real": base.n_real,
        "weights": scorer.weights,
        "layer": setup.layer,
        "fid": first.fid,
        "is": first.inception_score,
        "rows": rows,
        "machine": machine | {"load_average_before": load},
    }
    write_json(Path(out) / f"effects-{setup.layer}.json", record)
    write_text(Path(out) / f"effects-{setup.layer}.md", markdown(record))
    return record


class _Scorer:
    """Scores ways; what several of them share is computed once."""

    def __init__(self, setup: Setup, base: Way):
        self._setup, self._base = setup, base
        self._passes: dict[tuple[Path, str], Pass] = {}
        self.weights = ""

    def score(self, way: Way) -> Scored:
        fakes = self._pass(_file(way.dump, way.variant), way, self._base.n_fake, with_blocks=True)
        reals = self._pass(Path(way.reference), way, self._base.n_real, with_blocks=False).first[way.n_real]
        reference, whole = GaussianStatistics(reals.mean, reals.covariance), fakes.prefixes[way.n_fake]
        value = reference.distance(whole.mean, whole.covariance).value
        without = jackknife.frechet_without(reference, whole, fakes.prefixes, value)
        found = fakes.inception_scores.get(Splits(way.n_fake, way.is_splits, way.is_bias))
        return Scored(value, without, found.result()[0] if found else None, found.without() if found else [])

    def _pass(self, path: Path, way: Way, total: int, with_blocks: bool) -> Pass:
        key = (path, way.resizer)
        if key not in self._passes:
            images = open_images(path, known_range=True, floats=with_blocks and way.variant == "float").first(total)
            extractor = open_extractor(SCORER, self._setup, way.resizer)
            self.weights = extractor.kind
            of_base = way.resizer == self._base.resizer
            of_base &= path in (_file(self._base.dump, self._base.variant), Path(self._base.reference))
            counts = [total // part for part in (1, *PARTS)] if of_base else [total]
            kinds = [(10, False), (1, False), (10, True)] if with_blocks and extractor.biases is not None else []
            scores = [Splits(n, splits, bias) for n in counts for splits, bias in kinds]
            self._passes[key] = one_pass(
                images, extractor, self._setup, path.name, counts=counts, scores=scores, with_blocks=with_blocks
            )
        return self._passes[key]


def _file(dump: Path, variant: str) -> Path:
    return dump / f"{variant}.npy"


def _rows(field: str, said: str, base: Way, way: Way, first: Scored, scorer: _Scorer) -> list[dict[str, Any]]:
    """Return a row for each metric that the field can move."""
    found = scorer.score(way)
    metrics = {
        "fid": (first.fid, found.fid, first.fid_without, found.fid_without),
        "is": (first.inception_score, found.inception_score, first.is_without, found.is_without),
    }
    if field in ("is_splits", "is_bias"):
        del metrics["fid"]
    elif field in ("n_real", "split"):
        del metrics["is"]
    paired = way.n_fake == base.n_fake and way.dump == base.dump
    out = []
    for metric, (before, after, without, left) in metrics.items():
        if before is None or after is None:
            continue
        low = high = None
        if paired:
            pairs = [b - a for a, b in zip(without, left, strict=True)]
            low, high = jackknife.interval(after - before, pairs)
        row = {"field": field, "says": said, "metric": metric, "score": after, "change": after - before}
        out.append(row | {"share": (after - before) / before, "low": low, "high": high})
    return out


def markdown(record: dict[str, Any]) -> str:
    """Return the table of a record in Markdown, with what the ways have in common above it."""
    scores = f"FID {record['fid']:.3f}" + (f", IS {record['is']:.3f}" if record["is"] is not None else "")
    lines = [
        f"{record['n_fake']:,} rounded samples against {record['n_real']:,} images, {record['weights']} Inception at "
        f"{record['layer']} channels, the graph's own resize: {scores}. Intervals of differences: {jackknife.NAME}.",
        "",
        "| field | says instead | score | change | 95 % | of the score |",
        "| --- | --- | --- | ---: | --- | ---: |",
    ]
    for row in record["rows"]:
        sure = "not paired" if row["low"] is None else f"{row['low']:+.4f} to {row['high']:+.4f}"
        lines.append(
            f"| {row['field']} | {row['says']} | {row['metric'].upper()} {row['score']:.3f} | {row['change']:+.4f} "
            f"| {sure} | {row['share']:+.2%} |"
        )
    return "\n".join(lines) + "\n"
