"""The record of a score before it is computed: its protocol, from what is known and what is declared."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.config.reader import check_name
from harness.errors import HarnessError
from harness.metrics import fid
from harness.metrics.extractors.base import Extractor
from harness.metrics.inception.weights import NAMES
from harness.metrics.kid import SUBSET_SIZE, SUBSETS
from harness.metrics.reference_statistics import Reference
from harness.metrics.request import CUSTOM, OF_SAMPLES, Opened
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
UNREAD = "0" * 64  # stands for a hash until the images are read
UNKNOWN = "unknown"  # resizer or Inception of statistics from elsewhere; it equals that of no other score


@dataclass(frozen=True)
class Known:
    """What is known of a reference before the pass: its `reference_statistics.content`, {} for a file from elsewhere.

    `statistics` is the file, None for images. `hashes`: sha256 of what samples must not be: its images, the first of
    them that are as many as the samples, its file.
    """

    content: dict[str, Any]
    statistics: Reference | None
    hashes: frozenset[str | None] = frozenset()

    @property
    def is_foreign(self) -> bool:
        """Whether it is statistics that this harness did not make."""
        return self.statistics is not None and not self.content


def draft(one: Opened, sample_record: dict[str, Any], extractor: Extractor, known: Known) -> ScoreRecord:
    """Return the record as it will be, without scores; what it cannot hold is refused now.

    Raises:
        HarnessError: the samples' record holds what no run can be, or a declaration contradicts what is known.
    """
    where = str(one.request.record or one.request.samples)
    if sample_record.get("scale") is not None:
        check_name(sample_record["scale"], where)
    protocol = _protocol(one, sample_record, extractor, known)
    whole = one.samples.recorded if len(one.samples) < len(one.samples.whole or one.samples.pixels) else None
    content = Content(
        UNREAD,
        sample_record.get("weights_sha256"),
        protocol.real_pixels_sha256,
        whole.sha256 if whole is not None else None,
    )
    made = ScoreRecord(
        run=Run(**{f.name: sample_record.get(f.name) for f in dataclasses.fields(Run)}),
        protocol=protocol,
        values=Values(fid=0.0),
        content=content,
        diagnostics={},
        provenance={},
    )
    return score_record.validate(made, where)


def _protocol(one: Opened, sample_record: dict[str, Any], extractor: Extractor, known: Known) -> Protocol:
    """Return everything that defines the score; None where a foreign set or statistics file does not say.

    Resizer and Inception are the scorer's. Of statistics from elsewhere they are UNKNOWN unless they are declared.
    """
    request, setup, statistics = one.request, one.request.setup, known.statistics
    planned = request.planned
    if planned is not None and planned.inception in NAMES and planned.inception != extractor.kind:
        raise HarnessError(
            f"--weights {setup.weights}: is no {planned.inception} Inception, which protocol '{planned.protocol}' "
            "says; give its file, or leave --protocol out."
        )
    n_real = statistics.count if statistics is not None else known.content["n"]
    of_samples = {key: sample_record.get(key) for key in OF_SAMPLES}
    of_samples |= {"n_fake": len(one.samples), "resolution": one.samples.resolution, **one.stated}
    of_samples["quantisation"] = one.samples.quantisation
    of_reference = {key: known.content.get(name) for key, name in FACTS.items()} | {"n_real": n_real}
    made = {"resizer": extractor.resizer, "inception": extractor.kind}
    foreign = [side for side, its in (("samples", one.is_samples_foreign), ("reference", known.is_foreign)) if its]
    of_scorer = dict.fromkeys(made) if foreign else made
    facts, declared = _declare(one, of_samples | of_reference | of_scorer, made)
    n_real = facts["n_real"]
    if not known.content and request.n_real is not None:
        declared = (*declared, "n_real")
    known_or_not: dict[str, Any] = {key: facts[key] or UNKNOWN for key in made}
    return Protocol(
        **(facts | known_or_not),
        name=request.protocol_name or CUSTOM,
        version=request.protocol_version,
        selection=sample_record.get("selection"),
        reference="statistics" if statistics is not None else "images",
        statistics_sha256=statistics.file_sha256 if statistics is not None else None,
        scorer=extractor.scorer,
        inception_sha256=extractor.weights_sha256,
        stand_in_inception=extractor.kind == "stand-in",
        layer=setup.layer,
        is_splits=request.is_splits,
        is_bias=request.is_bias,
        kid_subsets=SUBSETS if request.kid else None,
        kid_subset_size=min(SUBSET_SIZE, len(one.samples), n_real or 0) if request.kid else None,
        scorer_versions=extractor.versions,
        declared=tuple(sorted(declared)),
        caveats=(
            *one.caveats,
            *(f"{side}: {_foreign_caveat(facts, made)}" for side in foreign),
            *fid.caveats(setup.layer, n_real, len(one.samples)),
        ),
    )


def _foreign_caveat(facts: Mapping[str, Any], made: Mapping[str, str]) -> str:
    unknown = " and ".join(key for key in made if facts[key] is None)
    if not unknown:
        return "statistics from elsewhere; that they were made as this score was is the user's word"
    return f"statistics from elsewhere, {unknown} unknown; this score's own are {' and '.join(made.values())}"


def _declare(one: Opened, facts: dict[str, Any], made: Mapping[str, str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Lay the user's declarations over what is unknown; return the facts and the names of those declared.

    Args:
        made: resizer and Inception of the scorer, which those of statistics must equal.

    Raises:
        HarnessError: a declaration contradicts what the harness knows itself, naming both.
    """
    new = {}
    for key, value in one.request.declared.items():
        if key in made and value != made[key]:
            option = {"resizer": "--resizer", "inception": "--weights"}[key]
            raise HarnessError(
                f"--declare {key}={value}: the score is made with {made[key]}, and features of two kinds have no "
                f"distance; score with {option} {value}, or against statistics made with {made[key]}."
            )
        if facts[key] is None:
            new[key] = value
        elif facts[key] != value:
            where = one.samples.path if key in OF_SAMPLES else one.target
            raise HarnessError(
                f"--declare {key}={value}: {where} already says {facts[key]}; leave the declaration out."
            )
    return facts | new, tuple(new)
