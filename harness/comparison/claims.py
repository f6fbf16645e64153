"""The claims of `experiments/claims.yaml` against a scale's scores: supported, contradicted or undecidable."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from harness.comparison import protocols, reported
from harness.comparison.reported import Ledger
from harness.comparison.run_tables import REFERENCE_SCORERS
from harness.comparison.table_formats import NONE, Table, Words, as_text, data
from harness.config import reader, schema
from harness.errors import HarnessError, nearest
from harness.metrics import jackknife
from harness.records.results import RENAMED
from harness.records.score_record import METRICS, OF_TRAINING, Protocol

if TYPE_CHECKING:
    from harness.config.experiments import Scale

COLUMNS = (
    "claim",
    "contrast",
    "says",
    "metric",
    "scorer",
    "protocol",
    "images_seen",
    "whole",
    "effect",
    "low",
    "high",
    "smallest",
    "presumed",
    "decidable",
    "seeds",
    "seeds_of",
    "seeds_needed",
    "verdict",
    "claim_verdict",
    "reason",
)
SUPPORTED, CONTRADICTED, UNDECIDABLE = "supported", "contradicted", "undecidable"
ALIKE = [  # what must be the same of two scores: the protocol without what belongs to the training
    RENAMED.get(f.name, f.name) for f in dataclasses.fields(Protocol) if f.name not in (*OF_TRAINING, "caveats")
]
POWER = 0.8  # chance that the seeds asked for decide (Cohen 1988: four misses weigh as one false alarm)
MOST_SEEDS = 1000  # a row; more are not counted
EQUAL_NIMG = 0.01  # runs whose lengths differ by more (part) are not compared; whole batches differ by less


@dataclass(frozen=True)
class Because:
    """A number with its reason, and the rows of the ledger (table/model/variant) whose numbers the reason uses."""

    value: float
    because: str
    rests_on: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """One claim: it holds if every contrast (experiment -> coefficient of its mean) is more than `smallest`.

    `smallest_at`: scale -> what counts there instead, where the scale's scores are on another footing than the paper's.
    `only_at`: scales that ask this; none named: all.
    """

    says: str
    metric: Literal["fid", "is", "kid"]
    smallest: Because
    contrasts: dict[str, dict[str, float]]
    snapshot: str = "last"
    smallest_at: dict[str, Because] = dataclasses.field(default_factory=dict)
    only_at: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claims:
    """`experiments/claims.yaml`. `scales`: scale -> paper's experiment -> the one that stands for it there."""

    level: Because
    claims: dict[str, Claim]
    scales: dict[str, dict[str, str]]


@dataclass(frozen=True)
class Interval:
    """A contrast of means: the estimate and its two-sided interval."""

    effect: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """How far an effect must lie from a bound to be told from it with these seeds."""
        return (self.high - self.low) / 2


def load(path: Path, experiments: Mapping[str, schema.Experiment], ledger: Ledger) -> Claims:
    """Read the claims.

    Raises:
        HarnessError: an unknown key, experiment or row of the ledger, a level outside 0..1, or coefficients that do not
            sum to 0.
    """
    claims = reader.read(Claims, reader.read_yaml(path), str(path))
    if not 0 < claims.level.value < 1:
        raise HarnessError(f"{path}: level is {claims.level.value}; write a number between 0 and 1.")
    named = {name for claim in claims.claims.values() for contrast in claim.contrasts.values() for name in contrast}
    for scale, stand_ins in claims.scales.items():
        for name in stand_ins:
            if name not in named:
                raise HarnessError(f"{path}: scales.{scale}: no claim names '{name}'.{nearest(name, named)}")
        named = named | set(stand_ins.values())
    for name in sorted(named):
        if name not in experiments:
            raise HarnessError(f"{path}: unknown experiment '{name}'.{nearest(name, experiments)}")
    for key, claim in claims.claims.items():
        own = {f"smallest_at.{scale}": value for scale, value in claim.smallest_at.items()}
        for name, smallest in {"smallest": claim.smallest, **own}.items():
            if not math.isfinite(smallest.value):
                raise HarnessError(f"{path}: claims.{key}.{name} is {smallest.value}; write a finite number.")
            for link in smallest.rests_on:
                try:
                    reported.find(ledger, link)
                except HarnessError as error:
                    raise HarnessError(f"{path}: claims.{key}.{name}.rests_on: {error}") from None
        for field, scales in (("smallest_at", claim.smallest_at), ("only_at", claim.only_at)):
            for scale in scales:
                if scale not in claims.scales:
                    hint = nearest(scale, claims.scales)
                    raise HarnessError(f"{path}: claims.{key}.{field}: no scale '{scale}' under `scales`.{hint}")
        for contrast, parts in claim.contrasts.items():
            if abs(sum(parts.values())) > 1e-9 or not any(parts.values()):
                raise HarnessError(
                    f"{path}: claims.{key}.contrasts.{contrast}: coefficients sum to {sum(parts.values()):g}; "
                    "a contrast compares scores, so they sum to 0 and are not all 0."
                )
        if not claim.contrasts:
            raise HarnessError(f"{path}: claims.{key} has no contrast.")
    return claims


def contrast_interval(
    groups: Mapping[str, list[float]],
    coefficients: Mapping[str, float],
    level: float,
    evaluation: Mapping[str, float] | None = None,
) -> Interval:
    """Return a contrast of means with Welch's interval (degrees of freedom after Satterthwaite).

    Args:
        groups: experiment -> one score per seed, at least two each.
        coefficients: experiment -> factor of its mean.
        level: of the two-sided interval, 0..1.
        evaluation: experiment -> sd of one score's evaluation; scores that lie closer together by chance count as if
            they had that sd. NaN: not known.

    Source: Satterthwaite (1946); equal to scipy.stats.ttest_ind(equal_var=False) for two groups.
    """
    from scipy import stats

    effect = sum(factor * float(np.mean(groups[name])) for name, factor in coefficients.items())
    spreads = _spreads(groups, coefficients, evaluation)
    error, degrees = _error(spreads, [len(groups[name]) for name in coefficients])
    if error == 0:
        return Interval(effect, effect, effect)
    half = float(stats.t.ppf((1 + level) / 2, degrees)) * error
    return Interval(effect, effect - half, effect + half)


def seeds_needed(spreads: list[float], distance: float, level: float) -> int | None:
    """Return how many seeds a row let the interval exclude a bound with chance `POWER`; None above `MOST_SEEDS`.

    Args:
        spreads: of each row of the contrast, |coefficient| times the sd of its scores.
        distance: between the true effect and the bound, above 0.
        level: of the two-sided interval, 0..1.

    Source: noncentral t with Satterthwaite's degrees of freedom; for two rows of one spread the power of the t test
        (Cohen 1988, Statistical Power Analysis, chapter 2).
    """
    from scipy import stats

    for n in range(2, MOST_SEEDS + 1):
        error, degrees = _error(spreads, [n] * len(spreads))
        if error == 0 or stats.nct.sf(stats.t.ppf((1 + level) / 2, degrees), degrees, distance / error) >= POWER:
            return n
    return None


def _spreads(
    groups: Mapping[str, list[float]], coefficients: Mapping[str, float], evaluation: Mapping[str, float] | None
) -> list[float]:
    """Return |coefficient| times the sd of each row's scores: over seeds, or of evaluation where that is wider."""
    known = evaluation or {}
    sds = {name: max(float(np.std(groups[name], ddof=1)), np.nan_to_num(known.get(name, 0.0))) for name in coefficients}
    return [abs(factor) * float(sds[name]) for name, factor in coefficients.items()]


def _error(spreads: list[float], seeds: list[int]) -> tuple[float, float]:
    """Return the standard error of a contrast and its degrees of freedom (Satterthwaite); of no spread, no error."""
    variances = [spread**2 / n for spread, n in zip(spreads, seeds, strict=True)]
    if not sum(variances):
        return 0.0, math.inf
    freedom = sum(variances) ** 2 / sum(v**2 / (n - 1) for v, n in zip(variances, seeds, strict=True))
    return math.sqrt(sum(variances)), freedom


def verdict(interval: Interval, smallest: float) -> str:
    """Return what an interval says of the claim that the effect is more than `smallest`; NaN decides nothing."""
    if interval.low > smallest:
        return SUPPORTED
    return CONTRADICTED if interval.high < smallest else UNDECIDABLE


def together(found: list[str]) -> str:
    """Return the verdict of a claim from those of its contrasts."""
    if CONTRADICTED in found:
        return CONTRADICTED
    return SUPPORTED if set(found) == {SUPPORTED} else UNDECIDABLE


def of_scale(
    scale: "Scale", scores: pd.DataFrame, experiments: Mapping[str, schema.Experiment], ledger: Ledger
) -> pd.DataFrame:
    """Return `evaluate` of the checkout's claims; empty if it makes none.

    Raises:
        HarnessError: see `load`.
    """
    path = scale.checkout.claims
    if not path.is_file():
        return pd.DataFrame(columns=COLUMNS)
    return evaluate(load(path, experiments, ledger), scores, scale.params.scale, ledger)


def evaluate(claims: Claims, scores: pd.DataFrame, scale: str, ledger: Ledger) -> pd.DataFrame:
    """Return one line per contrast of every claim.

    `presumed`: the rows that the smallest effect rests on and nobody has seen in their source. `decidable`: the
    distance from `smallest` that an effect needs to be decided with these seeds (half the interval). `seeds_needed`: of
    an undecidable contrast, how many seeds a row would tell the claim's smallest effect from none with chance `POWER`;
    where any effect counts, the effect that was measured. Nothing where the spread is not known or `MOST_SEEDS` are too
    few.
    """
    lines: list[dict[str, Any]] = []
    stand_ins = claims.scales.get(scale, {})
    for key, claim in claims.claims.items():
        if claim.only_at and scale not in claim.only_at:
            continue
        limit = claim.smallest_at.get(scale, claim.smallest)
        smallest, presumed = limit.value, [link for link in limit.rests_on if not _seen(ledger, link)]
        level = 1 - (1 - claims.level.value) / len(claim.contrasts)
        mine = []
        for name, parts in claim.contrasts.items():
            coefficients = {stand_ins.get(row, row): factor for row, factor in parts.items()}
            line: dict[str, Any] = {"claim": key, "contrast": name, "says": claim.says, "metric": claim.metric}
            line |= {"smallest": smallest, "presumed": "; ".join(presumed)}
            mine.append(line | _contrast(claim, smallest, coefficients, scores, level))
        whole = together([line["verdict"] for line in mine])
        lines += [line | {"claim_verdict": whole} for line in mine]
    return data(lines, COLUMNS)


def _seen(ledger: Ledger, link: str) -> bool:
    return "unverified" not in set(reported.find(ledger, link)["confidence"])


def _contrast(
    claim: Claim, smallest: float, coefficients: Mapping[str, float], scores: pd.DataFrame, level: float
) -> dict[str, Any]:
    parts, reason = comparable(coefficients, scores[scores["snapshot"] == claim.snapshot], claim.metric)
    line: dict[str, Any] = {"verdict": UNDECIDABLE, "reason": reason}
    seeds = {name: len(part) for name, part in parts.items()}
    line |= {"seeds": min(seeds.values(), default=None), "seeds_of": seeds}
    if reason:
        return line
    first = next(iter(parts.values()))
    groups = {name: list(part[METRICS[claim.metric]].astype(float)) for name, part in parts.items()}
    evaluation = {name: _evaluation_sd(part, claim.metric) for name, part in parts.items()}
    found = contrast_interval(groups, coefficients, level, evaluation)
    line |= {"effect": found.effect, "low": found.low, "high": found.high, "decidable": found.half_width}
    line |= {"scorer": first["scorer"].iloc[0], "protocol": first["protocol"].iloc[0], **_images(parts)}
    if found.half_width == 0:
        return line | {"reason": "seeds do not differ"}
    line["verdict"] = verdict(found, smallest)
    if line["verdict"] == UNDECIDABLE:
        distance = abs(smallest or found.effect)
        line["seeds_needed"] = seeds_needed(_spreads(groups, coefficients, evaluation), distance, level)
    return line


def _evaluation_sd(part: pd.DataFrame, metric: str) -> float:
    """Return the widest sd of evaluation that a row's scores say; NaN if none does."""
    return float(jackknife.sd_of(part[f"{metric}_low"], part[f"{metric}_high"]).astype(float).max())


def comparable(
    coefficients: Mapping[str, float], scores: pd.DataFrame, metric: str
) -> tuple[dict[str, pd.DataFrame], str]:
    """Return the scores of each experiment under one protocol, and why they cannot be held against each other.

    The reason is empty if they can: every experiment has two distinct trainings at least, on real data with a real
    Inception, scored alike, and all are whole or all stopped at the same number of images. The protocol is the one that
    most experiments of the scale share on the same data (`protocols.common_protocols`), so that a score that is not
    there never moves a claim to another protocol.
    """
    reason = ""
    for scorer in REFERENCE_SCORERS:
        mine = scores[scores["scorer"] == scorer]
        theirs = mine[mine["dataset"].isin(set(mine.loc[mine["experiment"].isin(list(coefficients)), "dataset"]))]
        mine = theirs[theirs["protocol"] == protocols.common_protocols(theirs).get(scorer)]
        alike = [repr(fields) for fields in mine[ALIKE].itertuples(index=False, name=None)]
        for _, one in mine.groupby(alike, sort=True):
            parts = {name: one[one["experiment"] == name] for name in coefficients}
            problem = _problem(parts, metric, str(one["protocol"].iloc[0]))
            if not problem:
                return parts, ""
            reason = reason or (problem if any(len(part) for part in parts.values()) else "")
    return {}, reason or "not scored: " + ", ".join(
        name for name in coefficients if not (scores["experiment"] == name).any()
    )


def _problem(parts: Mapping[str, pd.DataFrame], metric: str, protocol: str) -> str:
    absent = [name for name, part in parts.items() if part.empty]
    if absent:
        return f"not scored under {protocol}: {', '.join(absent)}"
    for name, part in parts.items():
        first = part.iloc[0].to_dict()
        blocking = {k: v for k, v in protocols.unfit(first).items() if k != "partial"}
        blocking |= protocols.missing(first, part, metric) | protocols.not_distinct(part, released=False)
        if blocking:
            return f"{name}: " + "; ".join(f"{field}: {why}" for field, why in blocking.items())
        if len(part) < 2:
            return f"{name}: one seed"
        if not part[METRICS[metric]].astype(float).map(math.isfinite).all():
            return f"{name}: a score that is not finite"
    every = pd.concat(parts.values())
    if every["partial"].isna().any():
        return "unknown whether the runs are partial"
    if every["partial"].nunique() > 1:
        return "whole runs beside partial ones"
    if every["partial"].iloc[0] and every["nimg"].max() > (1 + EQUAL_NIMG) * every["nimg"].min():
        return f"stopped at different lengths: {int(every['nimg'].min()):,} to {int(every['nimg'].max()):,} images"
    return ""


def _images(parts: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Return the images that the shortest run saw, and whether all runs are whole ones."""
    every = pd.concat(parts.values())
    return {"images_seen": int(every["nimg"].min()), "whole": not every["partial"].iloc[0]}


def _number(value: Any) -> str:
    return NONE if pd.isna(value) else f"{value:.2f}"


WORDS: Words = {
    "claim": as_text("says"),
    "contrast": as_text("contrast"),
    "protocol": as_text("protocol"),
    "effect": lambda line: _number(line["effect"]),
    "interval": lambda line: f"{_number(line['low'])} to {_number(line['high'])}" if pd.notna(line["low"]) else NONE,
    "needed": lambda line: f"> {line['smallest']:g}" + (f" (presumes {line['presumed']})" if line["presumed"] else ""),
    "decidable": lambda line: f"± {_number(line['decidable'])}" if pd.notna(line["decidable"]) else NONE,
    "seeds": lambda line: " ".join(map(str, line["seeds_of"].values())) or NONE,
    "seeds needed": as_text("seeds_needed"),
    "images seen": lambda line: "all" if line["whole"] is True else as_text("images_seen")(line),
    "verdict": lambda line: line["verdict"] + (f" ({line['reason']})" if line["reason"] else ""),
    "claim as a whole": as_text("claim_verdict"),
}


def table(found: pd.DataFrame) -> Table:
    """Return the claims as a table for people."""
    counts = found.drop_duplicates("claim")["claim_verdict"].value_counts()
    note = ", ".join(f"{counts.get(name, 0)} {name}" for name in (SUPPORTED, CONTRADICTED, UNDECIDABLE))
    return Table("claims", "Claims", found, WORDS, note)
