"""Verdicts: is a measured score within tolerance of a reported one? Pure functions on numbers; tolerances are data.

All functions work on a loss: lower is better. `_sign` turns a score into one, so that FID and IS follow the same rules.
Whatever is not a finite number decides nothing: the verdict is `not-comparable`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from harness.config import reader
from harness.config.ranges import Count, Matches, Range
from harness.errors import HarnessError

ORDER = ("too-good", "within", "near", "outside")  # from the best score to the worst
UNDECIDED = ("not-comparable", "insufficient-runs")
VERDICTS = (*ORDER, *UNDECIDED)
IS_SPLITS = 10
KINDS = ("control", "control (secondary)", "checkpoint", "training", "regression", "foreign")


Reason = Annotated[str, Matches(r"(?s)\s*\S.*", "a reason")]


@dataclass(frozen=True)
class Tolerance:
    """A number and its reason."""

    value: float
    because: Reason


@dataclass(frozen=True)
class Level(Tolerance):
    """The level of a test."""

    value: Annotated[float, Range(0, 0.5, above=True)]


@dataclass(frozen=True)
class Factor(Tolerance):
    """By how much a score may be worse: from not at all to three times."""

    value: Annotated[float, Range(1, 3)]


@dataclass(frozen=True)
class Part(Tolerance):
    """A part of a score or of a spread."""

    value: Annotated[float, Range(0, 1, above=True)]


@dataclass(frozen=True)
class Multiple(Tolerance):
    """A number of standard deviations or of tolerances."""

    value: Annotated[float, Range(0, 10, above=True)]


@dataclass(frozen=True)
class Runs(Tolerance):
    """A number of runs that an sd is taken of."""

    value: Annotated[int, Range(2, 1000)]


@dataclass(frozen=True)
class Samples(Tolerance):
    """A number of samples."""

    value: Count


@dataclass(frozen=True)
class Statuses:
    """What a verdict means for the exit code; what is in neither list decides nothing."""

    passes: tuple[Literal["within", "near"], ...]
    fails: tuple[Literal["too-good", "near", "outside"], ...]


@dataclass(frozen=True)
class Checkpoint:
    """Same weights: |score - reported| <= max(share * reported, evaluation_sds * sd of evaluation)."""

    share: Part
    evaluation_sds: Multiple
    fid_sd_at_10k: Multiple
    near_factor: Multiple
    min_n_fake: Samples
    max_sd: Part


@dataclass(frozen=True)
class Training:
    """Trained here: a one-sided bound on the mean of the seeds against reported * share."""

    share: Factor
    near_share: Factor
    too_good_share: Factor
    alpha: Level
    min_seeds: Runs
    max_spread: Part


@dataclass(frozen=True)
class Control(Training):
    """As training; `rows` and `secondary` are the ledger rows that serve as controls."""

    rows: tuple[str, ...] = ()
    secondary: tuple[str, ...] = ()


@dataclass(frozen=True)
class Regression:
    """Against our own history: a two-sample test on the means."""

    alpha: Level
    alpha_better: Level
    near_share: Factor
    too_good_share: Factor
    stand_in_share: Factor
    min_history: Runs


@dataclass(frozen=True)
class Tolerances:
    """All kinds of comparison (`experiments/tolerances.yaml`)."""

    statuses: Statuses
    checkpoint: Checkpoint
    training: Training
    control: Control
    regression: Regression


def load(path: Path) -> Tolerances:
    """Read the tolerances.

    Raises:
        HarnessError: an unknown key, a number without a reason or out of range, or statuses that make no sense.
    """
    tolerances = reader.read(Tolerances, reader.read_yaml(path), str(path))
    statuses = tolerances.statuses
    both = set(statuses.passes) & set(statuses.fails)
    if both:
        raise HarnessError(f"{path}: statuses: '{min(both)}' passes and fails; a verdict does one of them or neither.")
    if "within" not in statuses.passes or "outside" not in statuses.fails:
        raise HarnessError(f"{path}: statuses: 'within' must pass and 'outside' must fail.")
    for name, part in (("training", tolerances.training), ("control", tolerances.control)):
        if part.near_share.value < part.share.value:
            raise HarnessError(f"{path}: {name}.near_share is less than share; `near` is worse than `within`.")
    return tolerances


def _sign(metric: str) -> int:
    """Return +1 where lower is better (FID, KID), -1 where higher is (IS)."""
    return -1 if metric == "is" else 1


def _worse(reported: float, share: float, metric: str) -> float:
    """Return `reported` made worse by the factor `share`: times it for FID, divided by it for IS."""
    return reported / share if metric == "is" else reported * share


def _finite(*numbers: float | None) -> bool:
    return all(number is not None and math.isfinite(number) for number in numbers)


def _known(*sds: float | None) -> list[float]:
    """Return the standard deviations that are known, and 0."""
    return [0.0, *(sd for sd in sds if sd is not None and math.isfinite(sd))]


def checkpoint(
    values: Sequence[float],
    reported: float,
    metric: str,
    n_fake: int,
    is_std: float | None,
    tolerance: Checkpoint,
    sds: Sequence[float | None] = (),
) -> str:
    """Return the verdict on the author's own weights, evaluated here (mean over evaluations, if several).

    The sd of evaluation is the widest that anybody states or that was measured here.

    Args:
        is_std: std over the 10 splits of one evaluation (IS only); its mean has a tenth of the variance.
        sds: of one evaluation, as our interval and the source say; None and NaN: not known.

    Returns:
        one of `VERDICTS`: `insufficient-runs` with fewer fakes than the tolerance is set for, or an sd beyond `max_sd`
        of the reported score, whoever states it.
    """
    if len(values) == 0 or not _finite(*values, reported):
        return "not-comparable"
    if n_fake < tolerance.min_n_fake.value or (metric == "is" and not _finite(is_std)):
        return "insufficient-runs"
    if metric == "is" and is_std is not None:
        sd = is_std / math.sqrt(IS_SPLITS)
    else:
        sd = tolerance.fid_sd_at_10k.value * math.sqrt(10_000 / n_fake)
    sd = max(sd, *_known(*sds))
    if sd > tolerance.max_sd.value * reported:
        return "insufficient-runs"
    allowed = max(tolerance.share.value * reported, tolerance.evaluation_sds.value * sd)
    distance = _sign(metric) * (float(np.mean(values)) - reported)
    if distance < -allowed:
        return "too-good"
    if distance <= allowed:
        return "within"
    return "near" if distance <= tolerance.near_factor.value * allowed else "outside"


def training(
    values: Sequence[float], reported: float, metric: str, tolerance: Training, evaluation_sd: float | None = None
) -> str:
    """Return the verdict on models trained here, one score per seed.

    `within`: the data do not contradict a true mean of at most reported * share, i.e. the lower one-sided confidence
    bound of the mean (Student's t) does not exceed it; so a model whose true mean is at the limit is called worse
    with probability alpha. `near`: the same with near_share. `too-good`: the mean is better than reported by more
    than too_good_share. Seeds that spread beyond max_spread are `insufficient-runs`: a bound widened by one broken
    run must not excuse it.

    The verdict never improves when all seeds get worse by the same amount, or when `reported` gets better. For a
    single seed no rule with an sd estimated from three runs can promise it and keep alpha: it would have to condemn
    every three whose best lies beyond the limit, which chance alone does once in eight.

    Args:
        evaluation_sd: of one score, as its interval says. Seeds that chance brought closer together than their own
            evaluations are sure do not narrow the bound. None and NaN: not known.
    """
    if len(values) == 0 or not _finite(*values, reported):
        return "not-comparable"
    if len(values) < max(2.0, tolerance.min_seeds.value):  # one seed has no sd
        return "insufficient-runs"
    mean, sd = float(np.mean(values)), max(float(np.std(values, ddof=1)), *_known(evaluation_sd))
    if sd > tolerance.max_spread.value * abs(mean):
        return "insufficient-runs"
    sign = _sign(metric)
    if sign * mean < sign * _worse(reported, 1 / tolerance.too_good_share.value, metric):
        return "too-good"
    bound = sign * mean - _t(tolerance.alpha.value, len(values) - 1) * sd / math.sqrt(len(values))
    if bound <= sign * _worse(reported, tolerance.share.value, metric):
        return "within"
    return "near" if bound <= sign * _worse(reported, tolerance.near_share.value, metric) else "outside"


def regression(
    values: Sequence[float], history: Sequence[float], metric: str, tolerance: Regression, stand_in: bool = False
) -> str:
    """Return the verdict against our own earlier scores of the same experiment and protocol.

    A two-sample t test with pooled variance on the means, as MLPerf holds a submission against reference convergence
    points: not significantly worse is `within`; significantly worse by at most near_share is `near`, by more
    `outside`; very significantly better by more than too_good_share is `too-good`. One new run suffices, the history
    needs min_history. Scores on stand-ins measure nothing but the code, so a significant step beyond stand_in_share is
    a change of the code whichever way it goes.
    """
    if len(values) == 0 or not _finite(*values, *history):
        return "not-comparable"
    if len(history) < max(2.0, tolerance.min_history.value):
        return "insufficient-runs"
    worse_share = tolerance.stand_in_share.value if stand_in else tolerance.near_share.value
    better_share = tolerance.stand_in_share.value if stand_in else tolerance.too_good_share.value
    alpha_better = tolerance.alpha.value if stand_in else tolerance.alpha_better.value
    losses, before = (_sign(metric) * np.asarray(part, dtype=float) for part in (values, history))
    difference = float(losses.mean() - before.mean())
    reference = abs(float(before.mean()))
    if difference > 0 and _chance_of_more(losses, before) < tolerance.alpha.value:
        return "near" if difference <= (worse_share - 1) * reference else "outside"
    sure = difference < 0 and _chance_of_more(before, losses) < alpha_better
    return "too-good" if sure and -difference > (better_share - 1) * reference else "within"


def _chance_of_more(a: np.ndarray, b: np.ndarray) -> float:
    """Return the p-value of `a` having a larger mean than `b`; 0 where both have no spread at all."""
    from scipy.stats import ttest_ind

    if np.ptp(a) == 0 and np.ptp(b) == 0:
        return 0.0 if a.mean() > b.mean() else 1.0
    return float(ttest_ind(a, b, alternative="greater").pvalue)


@lru_cache
def _t(alpha: float, degrees: int) -> float:
    """Upper quantile of Student's t."""
    from scipy.stats import t

    return float(t.ppf(1 - alpha, degrees))


def spread(verdicts: Iterable[str]) -> tuple[str, ...]:
    """Return verdicts under several presumptions as a range: best and worst, with all that lies between.

    Scores move continuously from the best to the worst presumption, so verdicts in between cannot be left out.
    """
    found = set(verdicts)
    for undecided in UNDECIDED:
        if undecided in found:
            return (undecided,)
    places = sorted(ORDER.index(v) for v in found)
    return ORDER[places[0] : places[-1] + 1]


def status(verdicts: Sequence[str], statuses: Statuses) -> str:
    """Return `pass`, `fail`, `undecided` (a range that holds both or neither) or `none` (nothing to decide)."""
    if set(verdicts) <= set(UNDECIDED):
        return "none"
    if set(verdicts) <= set(statuses.passes):
        return "pass"
    return "fail" if set(verdicts) <= set(statuses.fails) else "undecided"


def kind(link: str, released: bool, control: Control) -> str:
    """Return the kind of a comparison: `checkpoint`, `control`, `control (secondary)` or `training`."""
    if released:
        return "checkpoint"
    if link in control.rows:
        return "control"
    return "control (secondary)" if link in control.secondary else "training"


def judge(row: Mapping[str, Any], values: Sequence[float], tolerances: Tolerances) -> tuple[str, ...]:
    """Return the verdict, or range of verdicts, on the scores of several seeds against one reported score.

    The scores are held against the reported value and against both ends of what the presumptions make of it.

    Args:
        row: `kind`, `metric`, `reported`, `reported_low`, `reported_high`, `n_fake`, `is_std` of the comparison; where
            they are known, `evaluation_sd` and `reported_std`.
        values: one score per seed.
    """
    verdicts, evaluation_sd, reported_sd = [], row.get("evaluation_sd"), row.get("reported_std")
    if reported_sd is not None and row["metric"] == "is":
        reported_sd /= math.sqrt(IS_SPLITS)  # papers print the std over the splits
    for reported in (row["reported_low"], row["reported"], row["reported_high"]):
        if row["kind"] == "checkpoint":
            n_fake, is_std = int(row["n_fake"]), row["is_std"]
            sds = (evaluation_sd, reported_sd)
            verdicts.append(checkpoint(values, reported, row["metric"], n_fake, is_std, tolerances.checkpoint, sds))
        else:
            tolerance = tolerances.training if row["kind"] == "training" else tolerances.control
            verdicts.append(training(values, reported, row["metric"], tolerance, evaluation_sd))
    return spread(verdicts)
