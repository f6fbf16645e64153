"""Which measured score may be held against which reported one: protocols compared field by field.

The result is numbers and reasons only; whether a score is within tolerance is the business of
`harness.comparison.verdicts`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.comparison import reported
from harness.comparison.reported import Effect, Ledger, Protocol
from harness.config import schema
from harness.errors import HarnessError

MEASURED = {"fid": "fid", "is": "is_mean", "kid": "kid"}  # metric of the ledger -> entry of a score's JSON
COMMON = ("crop", "n_fake", "inception", "resizer", "quantisation", "ema", "snapshot")
COMPARED = {
    "fid": (*COMMON, "split", "n_real", "layer"),
    "kid": (*COMMON, "split", "n_real", "layer"),
    "is": (*COMMON, "is_splits", "is_bias"),  # no reference images, always the logits
}
COLUMNS = (
    "experiment",
    "scorer",
    "snapshot",
    "protocol_id",
    "table",
    "model",
    "variant",
    "metric",
    "confidence",
    "released",
    "reported",
    "reported_low",
    "reported_high",
    "values",
    "seeds",
    "is_std",
    "n_fake",
    "comparable",
    "presumed",
    "reason",
)


@dataclass(frozen=True)
class Comparability:
    """Whether two protocols can be compared. `reason` names the fields that forbid it, `presumed` those taken on trust.

    `low` and `high` bound the reported score, brought to the measured protocol under every presumption.
    """

    low: float
    high: float
    presumed: str
    reason: str

    @property
    def comparable(self) -> bool:
        """No field forbids it."""
        return not self.reason


def compare(
    measured: Mapping[str, Any],
    metric: str,
    value: float,
    dataset: str,
    resolution: Any,
    protocol: Protocol,
    book: Ledger,
    released: bool = False,
) -> Comparability:
    """Compare one measured protocol (a row of `Results.scores`) with the protocol of one reported score.

    Stand-ins, partial runs, other data, stated differences and unknown fields forbid a comparison; presumed fields
    widen the reported score to [low, high] by the ledger's effects, and forbid it where no effect is known.
    """
    reasons = unfit(measured)
    if pd.isna(measured["dataset"]):
        reasons.append("dataset: not declared")
    elif not measured["stand_in_data"]:
        if family(measured["dataset"]) != dataset:
            reasons.append(f"dataset: {measured['dataset']}, reported {dataset}")
        elif pd.notna(resolution) and measured["resolution"] != resolution:
            reasons.append(f"resolution: {measured['resolution']}, reported {resolution}")
    low, high, presumed = value, value, []
    for name in COMPARED[metric]:
        field, mine = protocol.fields[name], measured[name]
        if name == "snapshot" and released:
            continue  # the author's own weights, whichever they are
        if name == "inception" and measured["stand_in_inception"]:
            continue  # said above
        if field.kind == "unknown":
            reasons.append(f"{name}: reported unknown")
            continue
        if not any(_equal(book, name, mine, v) for v in field.values):
            reasons.append(f"{name}: {mine}, reported {' or '.join(map(str, field.values))}")
            continue
        if field.kind == "stated":
            continue
        presumed.append(f"{name} {' or '.join(map(str, field.values))}")
        for other in field.values:
            if _equal(book, name, mine, other):
                continue
            change = shift(book, name, metric, value, reported=other, measured=mine)
            if change is None:
                reasons.append(f"{name}: presumed {' or '.join(map(str, field.values))}, effect unknown")
                break
            low, high = low + min(0.0, change[0]), high + max(0.0, change[1])
    return Comparability(low, high, "; ".join(presumed), "; ".join(reasons))


def unfit(measured: Mapping[str, Any]) -> list[str]:
    """Why a score can be held against no reported one, whatever it is: stand-ins and partial runs."""
    reasons = []
    if measured["stand_in_data"]:
        reasons.append("dataset: stand-in data")
    if measured["stand_in_inception"]:
        reasons.append("inception: stand-in")
    if measured["partial"]:
        reasons.append(f"partial run: {measured['nimg']} of {measured['planned_nimg']} images")
    return reasons


def family(dataset: str) -> str:
    """Ledger name of a packed data set: `cifar10-test` -> `cifar10`, `celeba64-plain` -> `celeba`."""
    return dataset.removeprefix("standin-").split("-")[0].removesuffix("64")


def answered(book: Ledger, link: str, experiment: schema.Experiment) -> pd.DataFrame:
    """Ledger rows that a link of an experiment names: those of its data set, if the link has rows of several."""
    rows = reported.find(book, link)
    own = rows[rows["dataset"] == family(experiment.dataset)]
    return rows if own.empty else own


def _equal(book: Ledger, field: str, a: Any, b: Any) -> bool:
    return a == b or any(s.field == field and a in s.values and b in s.values for s in book.same)


def shift(
    book: Ledger, field: str, metric: str, value: float, reported: Any, measured: Any
) -> tuple[float, float] | None:
    """Bounds of what to add to a reported `value` to bring `field` to its measured value; None if nobody knows."""
    for effect in book.effects:
        if (effect.field, effect.metric) != (field, metric):
            continue
        if effect.per_image is not None:
            a, b = (bound * (1 / measured - 1 / reported) for bound in effect.per_image)
            return min(a, b), max(a, b)
        direction = _direction(book, effect, reported, measured)
        if direction and effect.share is not None:
            a, b = (direction * bound * value for bound in effect.share)
            return min(a, b), max(a, b)
    return None


def _direction(book: Ledger, effect: Effect, reported: Any, measured: Any) -> int:
    first, second = effect.values
    if _equal(book, effect.field, reported, first) and _equal(book, effect.field, measured, second):
        return 1
    if _equal(book, effect.field, reported, second) and _equal(book, effect.field, measured, first):
        return -1
    return 0


def groups(scores: pd.DataFrame) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """Scores that differ by seed only: (the first row, all rows by seed)."""
    keys = ["experiment", "scorer", "snapshot", "protocol_id", "partial"]
    parts = [group.sort_values("seed") for _, group in scores.groupby(keys, sort=True)]
    return [(part.iloc[0].to_dict(), part) for part in parts]


def check_links(experiments: Mapping[str, schema.Experiment], book: Ledger) -> None:
    """Raise HarnessError, naming experiment and link, if an experiment answers a ledger row that is not there."""
    for name, experiment in experiments.items():
        for link in experiment.reported:
            try:
                reported.find(book, link)
            except HarnessError as error:
                raise HarnessError(f"experiment {name}: reported: {error}") from None


def table(
    scores: pd.DataFrame, experiments: Mapping[str, schema.Experiment], book: Ledger, unverified: bool = False
) -> pd.DataFrame:
    """Hold every measured score against every ledger row its experiment answers, one line per pair and metric.

    `values` has the seeds' scores, joined by spaces. The clean scorer is held only against rows scored with its
    resizer, the others only against the rest: a resizer is not compared with one it never meant to match. Unverified
    rows are left out unless asked for. An experiment that answers no row has a line too, comparable with nothing.
    """
    lines = []
    for first, part in groups(scores):
        experiment = experiments.get(first["experiment"])
        if experiment is None or not experiment.reported:
            lines += _unanswering(first, part)
            continue
        released = experiment.recipe in book.released
        for link in experiment.reported:
            for row in answered(book, link, experiment).to_dict("records"):
                protocol = book.protocols[row["protocol"]]
                if row["confidence"] == "unverified" and not unverified:
                    continue
                values = part[MEASURED[row["metric"]]].astype(float)
                if values.isna().any() or (first["scorer"] == "clean") != _is_clean(protocol):
                    continue
                verdict = compare(
                    first, row["metric"], row["value"], row["dataset"], row["resolution"], protocol, book, released
                )
                lines.append(
                    {
                        **{key: first[key] for key in ("experiment", "scorer", "snapshot", "protocol_id", "n_fake")},
                        **{key: row[key] for key in ("table", "model", "variant", "metric", "confidence")},
                        "released": released,
                        "reported": row["value"],
                        "reported_low": verdict.low,
                        "reported_high": verdict.high,
                        "values": _joined(values),
                        "seeds": len(values),
                        "is_std": part["is_std"].astype(float).mean() if row["metric"] == "is" else None,
                        "comparable": verdict.comparable,
                        "presumed": verdict.presumed,
                        "reason": verdict.reason,
                    }
                )
    return pd.DataFrame(lines, columns=COLUMNS)


def _is_clean(protocol: Protocol) -> bool:
    return any(str(value).startswith("clean") for value in protocol.fields["resizer"].values)


def _unanswering(first: dict[str, Any], part: pd.DataFrame) -> list[dict[str, Any]]:
    """Lines of scores whose experiment answers no ledger row: never comparable, but never passed over either."""
    reason = "; ".join([*unfit(first), "no reported row"])
    lines = []
    for metric in ("is", "fid"):
        values = part[MEASURED[metric]].astype(float)
        if first["scorer"] == "clean" or values.isna().any():
            continue
        keys = ("experiment", "scorer", "snapshot", "protocol_id", "n_fake")
        line = {key: first[key] for key in keys} | {"model": "", "variant": "", "confidence": ""}
        line |= {"table": "no paper row", "metric": metric, "values": _joined(values), "seeds": len(values)}
        lines.append(line | {"released": False, "comparable": False, "presumed": "", "reason": reason})
    return lines


def _joined(values: pd.Series) -> str:
    return " ".join(repr(float(v)) for v in values)
