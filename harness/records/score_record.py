"""A score with everything that defines it, as a type: validated when it is written and when it is read.

Every field of `Protocol` says how it is treated when a measured score is held against another one: it is compared, for
the metrics that depend on it, or it is irrelevant, with the reason. A new field is one edit, here.
"""

import dataclasses
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.config import reader
from harness.config.ranges import NAME
from harness.errors import HarnessError
from harness.files import write_json
from harness.records import seal

SCHEMA = 2
SCORERS = ("tf", "torch", "clean")
METRICS = {"fid": "fid", "is": "is_mean", "kid": "kid"}  # metric of the ledger -> field of `Values`
REFERENCE_METRICS = ("fid", "kid")  # those that need reference images
ALL = tuple(METRICS)
SHA256 = re.compile(r"[0-9a-f]{64}")


def compared(*metrics: str) -> Any:
    """Return a field that must agree before scores of `metrics` (default: all) are compared with each other."""
    return field(metadata={"metrics": metrics or ALL})


def irrelevant(because: str) -> Any:
    """Return a field that is recorded but decides no comparison."""
    return field(metadata={"metrics": (), "because": because})


@dataclass(frozen=True)
class Run:
    """Which generator the samples came from; every field is None for samples from elsewhere."""

    scale: str | None = None
    experiment: str | None = None
    seed: int | None = None
    snapshot: str | None = None
    nimg: int | None = None
    planned_nimg: int | None = None
    partial: bool | None = None  # cut short by the scale, or an earlier snapshot than the last


@dataclass(frozen=True)
class Protocol:
    """How a score was made. None: the samples, the reference or the source does not say."""

    name: str = irrelevant("a label; the fields below are what it stands for, and they are compared")
    version: int = irrelevant("counts changes of the named protocol; the fields below are compared")
    # the samples
    n_fake: int = compared()
    resolution: int = compared()
    quantisation: str | None = compared()  # `uint8, rounded` | `uint8, truncated` | `uint8, min-max stretched` | float
    ema: bool | None = compared()
    snapshot: str | None = compared()  # last | best | an image count | checkpoint
    selection: str | None = irrelevant("how `best` was chosen; that it was chosen is the field `snapshot`")
    # the reference
    dataset: str | None = compared()
    split: str | None = compared(*REFERENCE_METRICS)
    crop: str | None = compared()  # of the training images too, so the Inception Score depends on it
    resize: str | None = compared()
    n_real: int | None = compared(*REFERENCE_METRICS)
    real_pixels_sha256: str | None = compared(*REFERENCE_METRICS)  # of the n_real images used
    reference: str = irrelevant("images | statistics; statistics of the same images give the same score")
    statistics_sha256: str | None = irrelevant("of a statistics file; names what the reference's pixels should name")
    stand_in_data: bool | None = compared()
    # the features
    scorer: str = irrelevant("tf and torch compute the same features to rounding (tested); resizer and weights differ")
    resizer: str = compared()
    inception: str = compared()  # official | trunk | stand-in | file
    inception_sha256: str = irrelevant("named weights are verified by content; `file` never equals a named one")
    stand_in_inception: bool = compared()
    layer: int = compared(*REFERENCE_METRICS)
    is_splits: int | None = compared("is")
    is_bias: bool | None = compared("is")
    kid_subsets: int | None = compared("kid")
    kid_subset_size: int | None = compared("kid")
    scorer_versions: dict[str, str] = irrelevant("oracle tests hold for the pinned versions")  # noqa: RUF009
    # what was taken on trust
    declared: tuple[str, ...] = irrelevant("marks fields above whose value is the user's word; verdicts say so")
    caveats: tuple[str, ...] = irrelevant("remarks for the reader, such as JPEG samples or a singular covariance")

    def identity(self) -> dict[str, Any]:
        """Return what two scores must share to be pooled as seeds of one protocol: every field but remarks."""
        return {k: v for k, v in dataclasses.asdict(self).items() if k not in ("caveats", "scorer_versions")}

    @property
    def protocol_id(self) -> str:
        """Eight hexadecimal digits that differ when any field of `identity` does."""
        return reader.digest(self.identity())[:8]


@dataclass(frozen=True)
class Values:
    """The scores. None: not defined here, or not asked for; records made before there were intervals have none.

    Intervals are (low, high) at 95 % of the evaluation alone: what other samples of the same generator would change.
    """

    fid: float | None = None
    is_mean: float | None = None
    is_std: float | None = None  # over the splits
    kid: float | None = None
    kid_std: float | None = None  # over the subsets
    fid_interval: tuple[float, float] | None = None
    is_interval: tuple[float, float] | None = None
    kid_interval: tuple[float, float] | None = None
    interval_by: str | None = None  # how the intervals were made, and what they hold fixed
    fid_infinity: float | None = None  # extrapolated to infinitely many samples
    inception_precision: float | None = None  # improved precision and recall, k = 3, on the scorer's own features,
    inception_recall: float | None = None  # which are not the VGG-16 features of their paper

    def intervals(self) -> dict[str, tuple[float, float]]:
        """Return the intervals that there are, by metric."""
        found = {metric: getattr(self, f"{metric}_interval") for metric in METRICS}
        return {metric: interval for metric, interval in found.items() if interval is not None}


@dataclass(frozen=True)
class Content:
    """What was read in the pass, by sha256: pixels in C order, and the generator's weights (None: from elsewhere).

    `samples_sha256` is of the images that were scored; `dump_sha256` of the recorded dump that they are the first of
    (None: they are all of it).
    """

    samples_sha256: str
    weights_sha256: str | None = None
    real_pixels_sha256: str | None = None
    dump_sha256: str | None = None


@dataclass(frozen=True)
class Claim:
    """What whoever gave samples from elsewhere says they are, and the ledger's rows that they are held against."""

    kind: str  # released (the authors' samples or weights) | retrained
    rows: tuple[str, ...]  # links `table/model/variant`


CLAIMS = ("released", "retrained")


@dataclass(frozen=True)
class ScoreRecord:
    """One dump, one scorer, one protocol. `claim`: None but for samples that were given with one."""

    run: Run
    protocol: Protocol
    values: Values
    content: Content
    diagnostics: dict[str, Any]
    provenance: dict[str, Any]
    schema: int = SCHEMA
    claim: Claim | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be: see `problems`."""
        found = problems(self)
        if found:
            raise HarnessError(f"not a score record: {'; '.join(found)}.")

    def to_json(self) -> dict[str, Any]:
        """Return mappings and lists for JSON, sealed: `sha256` is the digest of all the rest."""
        value = dataclasses.asdict(self)
        return seal.sealed(value)


def problems(record: ScoreRecord) -> list[str]:
    """Return what is wrong with a record, in words; nothing for a sound one."""
    run, protocol, values, content = record.run, record.protocol, record.values, record.content
    found = []
    if record.schema != SCHEMA:
        found.append(f"schema is {record.schema}, expected {SCHEMA}")
    if protocol.scorer not in SCORERS:
        found.append(f"protocol.scorer is '{protocol.scorer}', expected one of {', '.join(SCORERS)}")
    if problem := NAME.problem(protocol.name):
        found.append(f"protocol.name '{protocol.name}' {problem}")
    if protocol.version < 1:
        found.append(f"protocol.version is {protocol.version}, expected at least 1")
    for name, count in (("n_fake", protocol.n_fake), ("n_real", protocol.n_real), ("layer", protocol.layer)):
        if count is not None and count < 1:
            found.append(f"protocol.{name} is {count}, expected at least 1")
    numbers = ("fid", "is_mean", "is_std", "kid", "kid_std", "fid_infinity", "inception_precision", "inception_recall")
    flat = {name: getattr(values, name) for name in numbers}
    for metric, interval in values.intervals().items():
        flat |= {f"{metric}_interval[{i}]": bound for i, bound in enumerate(interval)}
        if not interval[0] <= interval[1]:
            found.append(f"values.{metric}_interval is {list(interval)}, its ends are in the wrong order or no numbers")
    found += [f"values.{key} is {number}" for key, number in flat.items() if number is not None and not _finite(number)]
    if all(getattr(values, key) is None for key in METRICS.values()):
        found.append("values holds no score")
    hashes = {f"content.{key}": value for key, value in dataclasses.asdict(content).items()}
    hashes |= {"protocol.inception_sha256": protocol.inception_sha256}
    hashes |= {f"protocol.{key}": getattr(protocol, key) for key in ("real_pixels_sha256", "statistics_sha256")}
    for key, value in hashes.items():
        if value is not None and not SHA256.fullmatch(value):
            found.append(f"{key} is '{value}', not a sha256")
    if record.claim is not None and (record.claim.kind not in CLAIMS or not record.claim.rows):
        found.append(f"claim is '{record.claim.kind}' of {len(record.claim.rows)} rows, expected {' or '.join(CLAIMS)}")
    if content.real_pixels_sha256 != protocol.real_pixels_sha256:
        found.append("content and protocol name different reference pixels")
    return found + _run_problems(run, protocol)


def _run_problems(run: Run, protocol: Protocol) -> list[str]:
    fields = dataclasses.asdict(run)
    missing = [key for key, value in fields.items() if value is None]
    if len(missing) == len(fields):
        return []
    if missing:
        return [f"run.{', run.'.join(missing)} is missing"]
    assert run.nimg is not None and run.planned_nimg is not None, "no field is missing"  # noqa: PT018
    found = []
    if run.nimg < 0 or run.planned_nimg < 0 or run.nimg > run.planned_nimg:
        found.append(f"run.nimg is {run.nimg} of {run.planned_nimg} planned images")
    if run.snapshot != "best" and run.nimg < run.planned_nimg and not run.partial:
        found.append(f"run.partial is false with {run.nimg} of {run.planned_nimg} planned images")
    if protocol.snapshot != run.snapshot:
        found.append(f"run.snapshot is '{run.snapshot}', protocol.snapshot '{protocol.snapshot}'")
    return found


def _finite(number: float) -> bool:
    return isinstance(number, int | float) and math.isfinite(number)


def read(path: Path) -> ScoreRecord:
    """Read and validate one record.

    Raises:
        HarnessError: missing, not JSON, an unknown or missing key, a wrong type, an impossible value, or changed since
            it was written.
    """
    return seal.read(ScoreRecord, path, "Delete the file and run its stage again.")


def validate(record: ScoreRecord, where: str) -> ScoreRecord:
    """Return the record if every field has the type that it declares.

    Raises:
        HarnessError: a field has another type, naming `where`.
    """
    value = record.to_json()
    value.pop(seal.KEY)
    if reader.read(ScoreRecord, value, where) != record:
        raise HarnessError(f"{where}: a field of the record has another type than it declares.")
    return record


def write(path: Path, record: ScoreRecord) -> None:
    """Write one record atomically.

    Raises:
        HarnessError: a field of another type, or the file cannot be written.
    """
    write_json(path, validate(record, str(path)).to_json())


# Fields that belong to the training: models may differ in them and still be ranked by one protocol.
OF_TRAINING = ("ema", "snapshot", "selection")


def compared_fields(metric: str) -> tuple[str, ...]:
    """Return the protocol fields that decide whether two scores of `metric` can be compared."""
    return tuple(f.name for f in dataclasses.fields(Protocol) if metric in f.metadata["metrics"])
