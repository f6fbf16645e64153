"""Two uncertainties of a score, at 95 % and never mixed: of its evaluation, and of the training.

Evaluation: what other samples of the same generator would change, from the interval beside the score. Training: what
other seeds would change, Student's interval of the mean over seeds, which a single seed does not have. Both are half
widths.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from harness.comparison.protocols import plain
from harness.comparison.table_formats import NONE
from harness.records import results
from harness.records.score_record import METRICS

EVALUATION, TRAINING = "evaluation", "training"
LEVEL = 0.95
UNKNOWN = "unknown"
METRIC_OF = {column: metric for metric, column in METRICS.items()}
NOTE = (
    "95 % evaluation: half the interval that other samples of the same generator would change, reals held fixed (of "
    "several seeds the widest). 95 % training: half of Student's interval of the mean over seeds; unknown for one seed."
)


def evaluation(part: pd.DataFrame, column: str) -> float | None:
    """Return half the widest interval beside the scores of a group; None where no record has one.

    Args:
        part: rows of `Results.scores`.
        column: of the score: fid, is_mean or kid.
    """
    metric = METRIC_OF[column]
    widest = ((part[f"{metric}_high"] - part[f"{metric}_low"]) / 2).max()
    return None if pd.isna(widest) else float(widest)


def training(part: pd.DataFrame, column: str) -> float | None:
    """Return half of Student's interval of the mean over seeds; None for one seed, or a training counted twice."""
    from scipy.stats import t

    values = part[column].dropna().astype(float)
    if len(values) < 2 or results.distinct_trainings(part):
        return None
    return float(t.ppf((1 + LEVEL) / 2, len(values) - 1) * values.std() / len(values) ** 0.5)


def columns(keys: Iterable[str]) -> tuple[str, ...]:
    """Return the columns of both for the columns of scores `keys`: `fid_evaluation`, `fid_training`, ..."""
    return tuple(f"{key}_{kind}" for key in keys for kind in (EVALUATION, TRAINING))


def cells(part: pd.DataFrame, seeds: pd.DataFrame, column: str, key: str) -> dict[str, float | None]:
    """Return both for one score of a table's row.

    Args:
        part: the scores that make the row.
        seeds: those of all seeds of the same experiment, snapshot and protocol.
        column: of the score in `Results.scores`.
        key: of the score in the table.
    """
    return {f"{key}_{EVALUATION}": evaluation(part, column), f"{key}_{TRAINING}": training(seeds, column)}


def said(kind: str, titles: Mapping[str, str]) -> Callable[[Mapping[str, Any]], str]:
    """Return what says one of both for all scores of a row, `FID ± 0.12, IS ± 0.05`; a dash where nothing was scored.

    Args:
        kind: EVALUATION or TRAINING.
        titles: column of a score -> what it is called.
    """

    def say(row: Mapping[str, Any]) -> str:
        there = {title: plain(row[f"{key}_{kind}"]) for key, title in titles.items() if plain(row[key]) is not None}
        if not any(value is not None for value in there.values()):
            return UNKNOWN if there else NONE
        known = (f"{title} {UNKNOWN if value is None else f'± {value:.2g}'}" for title, value in there.items())
        return ", ".join(known)

    return say


def words(titles: Mapping[str, str]) -> dict[str, Callable[[Mapping[str, Any]], str]]:
    """Return the two columns of a table in words."""
    return {f"95 % {kind}": said(kind, titles) for kind in (EVALUATION, TRAINING)}
