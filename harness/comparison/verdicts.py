"""Verdicts: is a measured score within tolerance of a reported one? Pure functions on numbers; tolerances are data.

All functions work on a loss: lower is better. `loss` turns a score into one, so that FID and IS follow the same rules.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from harness.config import reader
from harness.errors import HarnessError, nearest

ORDER = ("too-good", "within", "near", "outside")  # from the best score to the worst
VERDICTS = (*ORDER, "insufficient-runs", "not-comparable")


@dataclass(frozen=True)
class Number:
    """A tolerance and its reason."""

    value: float
    because: str


@dataclass(frozen=True)
class Statuses:
    """What a verdict means for the exit code."""

    passes: tuple[str, ...]
    fails: tuple[str, ...]


@dataclass(frozen=True)
class Checkpoint:
    """Same weights: |score - reported| <= max(share * reported, evaluation_sds * sd of evaluation)."""

    share: Number
    evaluation_sds: Number
    fid_sd_at_10k: Number
    near_factor: Number
    min_n_fake: Number


@dataclass(frozen=True)
class Training:
    """Trained here: a one-sided bound on the mean of the seeds against reported * share."""

    share: Number
    near_share: Number
    too_good_share: Number
    alpha: Number
    min_seeds: Number
    max_spread: Number


@dataclass(frozen=True)
class Control(Training):
    """As training; `rows` and `secondary` are the ledger rows that serve as controls."""

    rows: tuple[str, ...] = ()
    secondary: tuple[str, ...] = ()


@dataclass(frozen=True)
class Regression:
    """Against our own history: a two-sample test on the means."""

    alpha: Number
    alpha_better: Number
    near_share: Number
    too_good_share: Number
    min_history: Number


@dataclass(frozen=True)
class Tolerances:
    """All lanes (`experiments/tolerances.yaml`)."""

    statuses: Statuses
    checkpoint: Checkpoint
    training: Training
    control: Control
    regression: Regression


def load(path: Path) -> Tolerances:
    """Read the tolerances.

    Raises:
        HarnessError: an unknown key, a number without a reason, or a verdict that does not exist.
    """
    tolerances = reader.read(Tolerances, reader.read_yaml(path), str(path))
    for name in (*tolerances.statuses.passes, *tolerances.statuses.fails):
        if name not in VERDICTS:
            raise HarnessError(f"{path}: statuses: unknown verdict '{name}'.{nearest(name, VERDICTS)}")
    return tolerances


def _sign(metric: str) -> int:
    """+1 where lower is better (FID, KID), -1 where higher is (IS)."""
    return -1 if metric == "is" else 1


def _worse(reported: float, share: float, metric: str) -> float:
    """`reported` made worse by the factor `share`: times it for FID, divided by it for IS."""
    return reported / share if metric == "is" else reported * share


def checkpoint(
    values: Sequence[float], reported: float, metric: str, n_fake: int, is_std: float | None, tolerance: Checkpoint
) -> str:
    """Verdict on the author's own weights, evaluated here (mean over evaluations, if several).

    Args:
        is_std: std over the 10 splits of one evaluation (IS only); its mean has a tenth of the variance.

    Returns:
        one of `VERDICTS`: `insufficient-runs` with fewer fakes than the tolerance is set for.
    """
    if n_fake < tolerance.min_n_fake.value or (metric == "is" and is_std is None):
        return "insufficient-runs"
    sd = is_std / math.sqrt(10) if is_std is not None else tolerance.fid_sd_at_10k.value * math.sqrt(10_000 / n_fake)
    allowed = max(tolerance.share.value * reported, tolerance.evaluation_sds.value * sd)
    distance = _sign(metric) * (float(np.mean(values)) - reported)
    if distance < -allowed:
        return "too-good"
    if distance <= allowed:
        return "within"
    return "near" if distance <= tolerance.near_factor.value * allowed else "outside"


def training(values: Sequence[float], reported: float, metric: str, tolerance: Training) -> str:
    """Verdict on models trained here, one score per seed.

    `within`: the data do not contradict a true mean of at most reported * share, i.e. the lower one-sided confidence
    bound of the mean (Student's t) does not exceed it; so a model whose true mean is at the limit is called worse
    with probability alpha. `near`: the same with near_share. `too-good`: the mean is better than reported by more
    than too_good_share. Seeds that spread beyond max_spread are `insufficient-runs`: a bound widened by one broken
    run must not excuse it.

    The verdict never improves when all seeds get worse by the same amount, or when `reported` gets better. For a
    single seed no rule with an sd estimated from three runs can promise it and keep alpha: it would have to condemn
    every three whose best lies beyond the limit, which chance alone does once in eight.
    """
    if len(values) < tolerance.min_seeds.value:
        return "insufficient-runs"
    mean, sd = float(np.mean(values)), float(np.std(values, ddof=1))
    if sd > tolerance.max_spread.value * abs(mean):
        return "insufficient-runs"
    sign = _sign(metric)
    if sign * mean < sign * _worse(reported, 1 / tolerance.too_good_share.value, metric):
        return "too-good"
    bound = sign * mean - _t(tolerance.alpha.value, len(values) - 1) * sd / math.sqrt(len(values))
    if bound <= sign * _worse(reported, tolerance.share.value, metric):
        return "within"
    return "near" if bound <= sign * _worse(reported, tolerance.near_share.value, metric) else "outside"


def regression(values: Sequence[float], history: Sequence[float], metric: str, tolerance: Regression) -> str:
    """Verdict against our own earlier scores of the same experiment and protocol.

    A two-sample t test with pooled variance on the means, as MLPerf holds a submission against reference convergence
    points: not significantly worse is `within`; significantly worse by at most near_share is `near`, by more
    `outside`; very significantly better by more than too_good_share is `too-good`. One new run suffices, the history
    needs min_history.
    """
    n, m = len(values), len(history)
    if m < tolerance.min_history.value or n < 1:
        return "insufficient-runs"
    difference = _sign(metric) * (float(np.mean(values)) - float(np.mean(history)))
    squares = float(
        np.sum((np.asarray(values) - np.mean(values)) ** 2) + np.sum((np.asarray(history) - np.mean(history)) ** 2)
    )
    error = math.sqrt(squares / (n + m - 2) * (1 / n + 1 / m))
    reference = abs(float(np.mean(history)))
    if difference > _t(tolerance.alpha.value, n + m - 2) * error:
        return "near" if difference <= (tolerance.near_share.value - 1) * reference else "outside"
    sure = -difference > _t(tolerance.alpha_better.value, n + m - 2) * error
    return "too-good" if sure and -difference > (tolerance.too_good_share.value - 1) * reference else "within"


@lru_cache
def _t(alpha: float, degrees: int) -> float:
    """Upper quantile of Student's t."""
    from scipy.stats import t

    return float(t.ppf(1 - alpha, degrees))


def spread(verdicts: Iterable[str]) -> tuple[str, ...]:
    """Verdicts under several presumptions as a range: best and worst, with all that lies between; one if they agree.

    Scores move continuously from the best to the worst presumption, so verdicts in between cannot be left out.
    """
    found = set(verdicts)
    for undecided in ("not-comparable", "insufficient-runs"):
        if undecided in found:
            return (undecided,)
    places = sorted(ORDER.index(v) for v in found)
    return ORDER[places[0] : places[-1] + 1]


def status(verdicts: Sequence[str], statuses: Statuses) -> str:
    """`pass`, `fail`, `undecided` (a range that holds both or neither) or `none` (nothing to decide)."""
    if set(verdicts) <= {"not-comparable", "insufficient-runs"}:
        return "none"
    if set(verdicts) <= set(statuses.passes):
        return "pass"
    return "fail" if set(verdicts) <= set(statuses.fails) else "undecided"


def lane(link: str, released: bool, control: Control) -> str:
    """Lane of a comparison: `checkpoint`, `control`, `control (secondary)` or `training`."""
    if released:
        return "checkpoint"
    if link in control.rows:
        return "control"
    return "control (secondary)" if link in control.secondary else "training"


def judge(row: dict[str, Any], tolerances: Tolerances) -> tuple[str, ...]:
    """Verdict or range of verdicts of one comparison (a row of `comparison.table` with a `lane`).

    The score is held against the reported value and against both ends of what the presumptions make of it.
    """
    if not row["comparable"]:
        return ("not-comparable",)
    values = [float(v) for v in str(row["values"]).split()]
    verdicts = []
    for reported in (row["reported_low"], row["reported"], row["reported_high"]):
        if row["lane"] == "checkpoint":
            is_std = float(row["is_std"]) if row["metric"] == "is" and row["is_std"] == row["is_std"] else None
            verdicts.append(
                checkpoint(values, reported, row["metric"], int(row["n_fake"]), is_std, tolerances.checkpoint)
            )
        else:
            tolerance = tolerances.training if row["lane"] == "training" else tolerances.control
            verdicts.append(training(values, reported, row["metric"], tolerance))
    return spread(verdicts)
