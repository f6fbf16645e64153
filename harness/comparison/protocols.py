"""Which measured score may be held against which reported one: protocols compared field by field.

The result is numbers and names of fields; whether a score is within tolerance is the business of
`harness.comparison.verdicts`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.comparison import reported
from harness.comparison.reported import COLUMN_FIELDS, Effect, Ledger, Protocol, family, reported_rows_for
from harness.config import schema
from harness.errors import HarnessError
from harness.metrics import jackknife
from harness.records import results
from harness.records.score_record import METRICS, compared_fields

Datasets = Mapping[str, Mapping[str, Any]]  # definitions of `experiments/datasets.yaml`, by name

COLUMNS = (
    "scale",
    "experiment",
    "snapshot",
    "nimg",
    "scorer",
    "protocol",
    "protocol_id",
    "seed",
    "table",
    "model",
    "variant",
    "metric",
    "confidence",
    "released",
    "reported",
    "reported_low",
    "reported_high",
    "reported_std",
    "measured",
    "is_std",
    "evaluation_sd",
    "n_fake",
    "blocking_fields",
    "presumed_fields",
    "declared_fields",
    "reason",
)
OF_RUN = ("scale", "experiment", "snapshot", "nimg", "scorer", "protocol", "protocol_id", "seed", "n_fake")
REPORTED = ("reported", "reported_low", "reported_high", "reported_std")
NO_ROW = "no paper row"


@dataclass(frozen=True)
class Comparability:
    """Whether two protocols can be compared.

    `low` and `high` bound the reported score, brought to the measured protocol under every presumption. `blocking`
    holds the fields that forbid the comparison, each with its reason; `presumed` those that the source does not state,
    `declared` those that are the word of whoever gave the samples.
    """

    low: float
    high: float
    blocking: dict[str, str]
    presumed: tuple[str, ...] = ()
    declared: tuple[str, ...] = ()

    @property
    def comparable(self) -> bool:
        """No field forbids it."""
        return not self.blocking


def compare(
    measured: Mapping[str, Any], row: Mapping[str, Any], ledger: Ledger, datasets: Datasets, released: bool = False
) -> Comparability:
    """Compare one measured score (a row of `Results.scores`) with one reported score (a row of `Ledger.rows`).

    Stand-ins, partial runs, other data, stated differences and whatever is unknown forbid a comparison; presumed fields
    widen the reported score to [low, high] by the ledger's effects, and forbid it where no effect is known.
    """
    metric = row["metric"]
    fields = compared_fields(metric)
    blocking = _against_checkout(measured, fields, datasets) | _against_columns(measured, row) | unfit(measured)
    if ledger.protocols[row["protocol"]].fields["inception"].values == ("stand-in",):
        blocking.pop("stand_in_inception", None)  # the row was scored with one, and `inception` is compared below
    if row["confidence"] == "unverified":
        blocking["confidence"] = "the reported number is unverified"
    low = high = float(row["value"])
    presumed = []
    for name in (name for name in fields if name in reported.FIELDS):
        if name == "snapshot" and released:
            continue  # the author's own weights, whichever they are
        field, mine = ledger.protocols[row["protocol"]].fields[name], plain(measured[name])
        said = " or ".join(map(str, field.values)) or "unknown"
        if not any(equal(ledger, name, mine, value) for value in field.values):
            blocking.setdefault(name, f"{'unknown' if mine is None else mine}, reported {said}")
        elif field.kind == "presumed":
            presumed.append(name)
            bounds = _bounds(ledger, name, metric, float(row["value"]), field.values, mine)
            if bounds is None:
                blocking.setdefault(name, f"presumed {said}, effect unknown")
            else:
                low, high = low + bounds[0], high + bounds[1]
    declared = [name for name in plain(measured["declared"]) or () if name in fields]
    return Comparability(low, high, blocking, tuple(presumed), tuple(declared))


def plain(value: Any) -> Any:
    """Return a cell of a frame as a Python value; None where nothing is known."""
    if isinstance(value, tuple | list | dict | str):
        return value
    return None if pd.isna(value) else value.item() if hasattr(value, "item") else value


def unfit(measured: Mapping[str, Any]) -> dict[str, str]:
    """Return why a score can be held against no reported one, whatever it is: stand-ins, partial runs, absent seeds."""
    blocking = {}
    for name, words in (("stand_in_data", "drawn pictures"), ("stand_in_inception", "random weights")):
        if plain(measured[name]) is not False:
            blocking[name] = words if plain(measured[name]) else "unknown"
    partial = plain(measured["partial"])
    if partial is not False:
        nimg, length = plain(measured["nimg"]), plain(measured["planned_nimg"])
        blocking["partial"] = f"{nimg:.0f} of {length:.0f} images" if partial and length else "unknown"
    if absent := plain(measured.get("absent_seeds")):
        blocking["seeds"] = absent
    return blocking


def _against_checkout(measured: Mapping[str, Any], fields: tuple[str, ...], datasets: Datasets) -> dict[str, str]:
    """Return the fields that differ from what the checkout knows of the data set: how it is resized, its pixels."""
    dataset = plain(measured["dataset"])
    if dataset is None or dataset not in datasets:
        return {"dataset": "unknown" if dataset is None else f"'{dataset}' is not defined in experiments/datasets.yaml"}
    blocking, definition = {}, datasets[dataset]
    if definition.get("source") == "standin":
        blocking["stand_in_data"] = f"'{dataset}' is drawn pictures"
    resize = plain(measured["resize"])
    if resize != definition.get("resize", "none"):
        blocking["resize"] = f"{resize or 'unknown'}, '{dataset}' is {definition.get('resize', 'none')}"
    pinned, pixels = definition.get("pixels_sha256"), plain(measured["real_pixels_sha256"])
    if "real_pixels_sha256" in fields:
        whole = plain(measured["n_real"]) == definition.get("count")
        if pixels is None and "dataset" not in (plain(measured["declared"]) or ()):
            blocking["real_pixels_sha256"] = "unknown"
        elif pixels is not None and pinned is not None and whole and pixels != pinned:
            blocking["real_pixels_sha256"] = f"{pixels[:12]}, '{dataset}' is {pinned[:12]}"
    return blocking


def _against_columns(measured: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields that differ from the reported row's own columns."""
    blocking = {}
    for name in COLUMN_FIELDS:
        mine, theirs = plain(measured[name]), plain(row[name])
        if mine is None:
            blocking[name] = f"unknown, reported {theirs}"
        elif theirs is not None and (family(mine) if name == "dataset" else mine) != theirs:
            blocking[name] = f"{mine}, reported {theirs}"
    return blocking


def equal(ledger: Ledger, field: str, a: Any, b: Any) -> bool:
    """Return whether two values of a protocol field are one, or names of one by the ledger."""
    return a == b or any(s.field == field and a in s.values and b in s.values for s in ledger.aids.same)


def _bounds(
    ledger: Ledger, field: str, metric: str, value: float, presumed: tuple[Any, ...], measured: Any
) -> tuple[float, float] | None:
    """Return what the presumed values of a field may add to a reported score: (at least, at most); None: unknown."""
    low = high = 0.0
    for other in presumed:
        if equal(ledger, field, measured, other):
            continue
        change = shift(ledger, field, metric, value, reported=other, measured=measured)
        if change is None:
            return None
        low, high = low + min(0.0, change[0]), high + max(0.0, change[1])
    return low, high


def shift(
    ledger: Ledger, field: str, metric: str, value: float, reported: Any, measured: Any
) -> tuple[float, float] | None:
    """Return bounds of what to add to a reported `value` to bring `field` to its measured value; None if unknown."""
    for effect in ledger.aids.effects:
        if (effect.field, effect.metric) != (field, metric):
            continue
        if effect.per_image is not None:
            a, b = (bound * (1 / measured - 1 / reported) for bound in effect.per_image)
            return min(a, b), max(a, b)
        direction = _direction(ledger, effect, reported, measured)
        if direction and effect.share is not None:
            a, b = (direction * bound * value for bound in effect.share)
            return min(a, b), max(a, b)
    return None


def _direction(ledger: Ledger, effect: Effect, reported: Any, measured: Any) -> int:
    first, second = effect.values
    if equal(ledger, effect.field, reported, first) and equal(ledger, effect.field, measured, second):
        return 1
    if equal(ledger, effect.field, reported, second) and equal(ledger, effect.field, measured, first):
        return -1
    return 0


def groups(scores: pd.DataFrame) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """Return scores that differ by seed only: (the first row, all rows by seed). Unknown values group like others."""
    parts = [part.sort_values("seed") for _, part in scores.groupby([*results.GROUP], sort=True, dropna=False)]
    return [(part.iloc[0].to_dict(), part) for part in parts]


def check_links(experiments: Mapping[str, schema.Experiment], ledger: Ledger) -> None:
    """Raise HarnessError, naming experiment and link, if an experiment names a ledger row that is not there."""
    for name, experiment in experiments.items():
        for link in experiment.reported:
            try:
                reported.find(ledger, link)
            except HarnessError as error:
                raise HarnessError(f"experiment {name}: reported: {error}") from None


def comparisons(
    scores: pd.DataFrame, experiments: Mapping[str, schema.Experiment], ledger: Ledger, datasets: Datasets
) -> pd.DataFrame:
    """Hold measured scores against the ledger rows of their experiment: one line per pair, metric and seed.

    A row is judged under its own protocol (see `judged_under`). The clean scorer is held only against rows scored with
    its resizer, the others only against the rest: a resizer is not compared with one it never meant to match. An
    experiment without any such row has lines too, comparable with nothing. The numbers of unverified rows are left out.
    """
    lines: list[dict[str, Any]] = []
    common = common_protocols(scores)
    for name, of_experiment in scores.groupby("experiment", sort=True, dropna=False):
        experiment = experiments.get(str(name))
        links = experiment.reported if experiment else ()
        rows = [r for link in links for r in reported_rows_for(ledger, link, experiment).to_dict("records")]  # type: ignore[arg-type]
        released = experiment is not None and experiment.recipe in ledger.aids.released_weights
        found: list[dict[str, Any]] = []
        for named in dict.fromkeys(r["protocol"] for r in rows):
            theirs = ledger.protocols[named]
            for first, part in groups(judged_under(of_experiment, theirs, common)):
                if (first["scorer"] == "clean") == _is_clean(theirs):
                    mine = [r for r in rows if r["protocol"] == named]
                    found += lines_of(part, mine, ledger, datasets, released)
        lines += found or lines_without_a_row(of_experiment)
    return pd.DataFrame(lines, columns=COLUMNS)


def common_protocols(scores: pd.DataFrame) -> dict[str, str]:
    """Return the protocol that most experiments share, for each scorer; the first by name of equals."""
    found = {}
    for scorer, part in scores.groupby("scorer"):
        found[str(scorer)] = str(part.groupby("protocol")["experiment"].nunique().sort_index().idxmax())
    return found


def judged_under(scores: pd.DataFrame, theirs: Protocol, common: Mapping[str, str]) -> pd.DataFrame:
    """Return those of an experiment's scores that rows of a reported protocol are held against.

    Of a snapshot that was scored under the named protocol that scores as the source did (`scored_as`), these. Of the
    others, each scorer's under the scale's common protocol, so that a row says which field forbids a comparison.
    """
    kept = []
    for _, part in scores.groupby(["scale", "snapshot"], sort=False, dropna=False):
        own = part["protocol"] == theirs.scored_as
        if own.any():
            kept.append(part[own])
            continue
        for scorer, of_scorer in part.groupby("scorer", sort=False):
            shared = of_scorer["protocol"] == common.get(str(scorer))
            kept.append(of_scorer[shared] if shared.any() else of_scorer)
    return pd.concat(kept).sort_index() if kept else scores


def _is_clean(protocol: Protocol) -> bool:
    return any(str(value).startswith("clean") for value in protocol.fields["resizer"].values)


def lines_of(
    part: pd.DataFrame, rows: list[dict[str, Any]], ledger: Ledger, datasets: Datasets, released: bool
) -> list[dict[str, Any]]:
    """Return one line per reported row and seed of a group."""
    shared = not_distinct(part, released)
    lines = []
    for row in rows:
        for score in part.to_dict("records"):
            found = compare(score, row, ledger, datasets, released)
            blocking = found.blocking | shared | missing(score, part, row["metric"])
            verified = row["confidence"] != "unverified"
            values = (row["value"], found.low, found.high, row["std"]) if verified else (None,) * 4
            lines.append(
                _line(score, row["metric"], blocking)
                | {key: row[key] for key in ("table", "model", "variant", "confidence")}
                | {"released": released, "presumed_fields": found.presumed, "declared_fields": found.declared}
                | dict(zip(REPORTED, values, strict=True))
            )
    return lines


def _line(score: Mapping[str, Any], metric: str, blocking: dict[str, str]) -> dict[str, Any]:
    return {
        **{key: score[key] for key in OF_RUN},
        "metric": metric,
        "measured": score[METRICS[metric]],
        "is_std": score["is_std"] if metric == "is" else None,
        "evaluation_sd": jackknife.sd_of(score[f"{metric}_low"], score[f"{metric}_high"]),
        "blocking_fields": tuple(blocking),
        "reason": "; ".join(f"{name}: {words}" for name, words in blocking.items()),
    }


def lines_without_a_row(scores: pd.DataFrame) -> list[dict[str, Any]]:
    """Return lines of an experiment that no reported row can be held against; of the clean scorer if there is no other.

    Lines of a metric that none of its scores has are left out.
    """
    others = scores[scores["scorer"] != "clean"]
    lines = []
    for _, part in groups(scores if others.empty else others):
        for metric in (m for m, column in METRICS.items() if m != "kid" and part[column].notna().any()):
            for score in part.to_dict("records"):
                blocking = unfit(score) | missing(score, part, metric) | {"reported": "no row"}
                line = _line(score, metric, blocking) | {"table": NO_ROW, "model": "", "variant": "", "confidence": ""}
                lines.append(line | {"released": False, "presumed_fields": (), "declared_fields": ()})
    return lines


def not_distinct(part: pd.DataFrame, released: bool) -> dict[str, str]:
    """Return why the seeds of a group are not as many trainings: repeated or unknown seeds, samples, weights.

    Released weights are sampled several times; only the samples must differ then.
    """
    problems = results.distinct_trainings(part.assign(weights_sha256=None) if released else part)
    if part["samples_sha256"].isna().any():
        problems["samples_sha256"] = "unknown"
    return problems


def missing(score: Mapping[str, Any], part: pd.DataFrame, metric: str) -> dict[str, str]:
    """Return the metrics that a score lacks: `metric`, and whatever other seeds of its group have."""
    wanted = [name for name, column in METRICS.items() if name == metric or part[column].notna().any()]
    return {name: "not scored" for name in wanted if plain(score[METRICS[name]]) is None}
