"""Our own recorded scores (`results/history.csv`): did a change of the code change a result?

A scale's scores are held against those recorded of the same experiment (of the same seeds, if they are recorded) where
the protocol, the reference pixels and the Inception weights are the same, stand-ins included. Recorded are the scores
of one clean commit, several times under other settings (threads, level of the CPU's instructions): their spread is the
noise that a change of the code must exceed.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from harness.comparison import protocols, tidy_csv, verdicts
from harness.comparison.verdicts import Tolerances
from harness.config.ranges import NAME
from harness.errors import HarnessError
from harness.files import write_text
from harness.records.score_record import METRICS, SHA256

SAME = ("scale", "experiment", "snapshot", "scorer", "metric")  # what names a recorded score
EQUAL = ("nimg", "protocol_id", "real_pixels_sha256", "inception_sha256")  # what must be equal to compare it
COLUMNS = (*SAME, *EQUAL, "seed", "setting", "value", "samples_sha256", "git_commit")
NUMBERS = ("nimg", "seed", "value")
KEY = [name for name in COLUMNS if name not in ("value", "samples_sha256", "git_commit")]
FIX = "restore it from git, or record the scores again."
COMMIT = re.compile(r"[0-9a-f]{40}")


def read(path: Path) -> pd.DataFrame:
    """Read the recorded scores; none if there is no such file.

    Raises:
        HarnessError: not a csv, other columns, a value that cannot be, scores of one scale of several commits, or a
            line that is there twice.
    """
    if not path.is_file():
        return pd.DataFrame(columns=COLUMNS)
    history = tidy_csv.read(path, COLUMNS, NUMBERS, FIX)
    for column, pattern in (("samples_sha256", SHA256), ("inception_sha256", SHA256), ("git_commit", COMMIT)):
        _check(path, history, column, history[column].map(pattern.fullmatch).isna())
    for column in ("scale", "experiment"):
        _check(path, history, column, history[column].map(NAME.problem).notna())
    for column in ("nimg", "seed"):
        _check(path, history, column, (history[column] < 0) | (history[column] % 1 != 0))
    _check(path, history, "metric", ~history["metric"].isin(list(METRICS)))
    _check(path, history, "value", (history["metric"] != "kid") & (history["value"] < 0))
    for scale, of_scale in history.groupby("scale"):
        if of_scale["git_commit"].nunique() > 1:
            commits = ", ".join(sorted(commit[:8] for commit in set(of_scale["git_commit"])))
            raise HarnessError(f"{path}: holds scores of scale '{scale}' of several commits ({commits}); {FIX}")
    copies = history.duplicated(KEY, keep="first")
    if copies.any():
        raise HarnessError(f"{path}, line {int(copies.to_numpy().argmax()) + 2}: the same run as a line before; {FIX}")
    return history


def _check(path: Path, history: pd.DataFrame, column: str, bad: pd.Series) -> None:
    if bad.any():
        line = int(bad.to_numpy().argmax())
        raise HarnessError(f"{path}, line {line + 2}: `{column}` is '{history[column][line]}', which cannot be; {FIX}")


def lines(scores: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield a line for every score and metric: the columns of the history but `setting`."""
    for score in scores.to_dict("records"):
        for metric, column in METRICS.items():
            if protocols.plain(score[column]) is not None:
                yield {**{key: score.get(key) for key in COLUMNS}, "metric": metric, "value": score[column]}


def record(scores: pd.DataFrame, path: Path, setting: str) -> int:
    """Add scores to the history; return how many lines were new. What is recorded already stays as it is.

    Args:
        setting: what may move the scores without a change of the code, e.g. `2 threads, AVX2`.

    Raises:
        HarnessError: a score that was not made from one clean commit, or from another one than the scores of the scale
            that are recorded, with which it would be averaged.
    """
    dirty = scores[scores["git_commit"].isna() | scores["git_dirty"].map(lambda v: v is not False and v != 0)]
    if len(dirty):
        raise HarnessError(
            f"{dirty['path'].iloc[0]}: made from uncommitted changes or from no commit; "
            "commit, run `dvc repro --force`, and record the scores of that."
        )
    if scores["git_commit"].nunique() > 1:
        commits = ", ".join(sorted(c[:8] for c in set(scores["git_commit"])))
        raise HarnessError(f"{path}: scores of several commits ({commits}); run `dvc repro --force` on one.")
    if not setting.strip() or any(not char.isprintable() for char in setting):
        raise HarnessError(f"--record '{setting}': write what may move the scores, e.g. '2 threads, AVX2'.")
    history = read(path)
    known = history[history["scale"].isin(set(scores["scale"]))]
    if other := sorted(set(known["git_commit"]) - set(scores["git_commit"])):
        raise HarnessError(
            f"{path}: its scores of scale '{known['scale'].iloc[0]}' are of commit {other[0][:8]}, these of "
            f"{scores['git_commit'].iloc[0][:8]}; if the change was meant to move them, remove the scale's lines and "
            "record every setting again (docs/ledger.md)."
        )
    new = pd.DataFrame([line | {"setting": setting} for line in lines(scores)], columns=COLUMNS)
    both = pd.concat([history, new]) if len(history) else new
    both = both.astype({"nimg": int, "seed": int}).drop_duplicates(KEY, keep="first")
    write_text(path, tidy_csv.text(both))
    return len(both) - len(history)


def spread(history: pd.DataFrame) -> str:
    """Return in words how far one run's scores lie apart over settings, as (largest - smallest) / mean, by metric."""
    runs = history.groupby([*SAME, *EQUAL, "seed"])["value"]
    share = (runs.max() - runs.min()) / runs.mean().abs()
    worst = share[runs.size() > 1].groupby("metric").max()
    return ", ".join(f"{metric.upper()} up to {value:.3%}" for metric, value in worst.items()) or "one setting only"


def regressions(scores: pd.DataFrame, history: pd.DataFrame, tolerances: Tolerances) -> pd.DataFrame:
    """Return one verdict per score and metric that the history names, whatever any paper says.

    A recorded score that the scale has no longer, or has under other conditions, is `not-comparable`, with the field.
    """
    measured = pd.DataFrame(list(lines(scores)), columns=COLUMNS)
    known = history[history["scale"].isin(set(scores["scale"]))]
    out = []
    for names, before in known.groupby([*SAME], sort=True):
        now = measured[(measured[[*SAME]] == pd.Series(dict(zip(SAME, names, strict=True)))).all(axis=1)]
        out.append(_verdict(dict(zip(SAME, names, strict=True)), now, before, scores, tolerances))
    return pd.DataFrame(out)


def _verdict(
    named: dict[str, Any], now: pd.DataFrame, before: pd.DataFrame, scores: pd.DataFrame, tolerances: Tolerances
) -> dict[str, Any]:
    alike, blocking = before, {}
    if now.empty:
        blocking["measured"] = "no such score now"
    for name in () if now.empty else EQUAL:
        mine = set(now[name].astype(object).where(now[name].notna(), ""))
        fitting = alike[name].isin(mine) if len(mine) == 1 else pd.Series(False, index=alike.index)
        if not fitting.any():
            blocking[name] = f"{', '.join(map(str, mine))}, recorded {', '.join(map(str, sorted(set(alike[name]))))}"
            break
        alike = alike[fitting]
    if set(now["seed"]) <= set(alike["seed"]):
        alike = alike[alike["seed"].isin(set(now["seed"]))]
    values, recorded = list(now["value"].astype(float)), list(alike["value"].astype(float))
    of_group = scores[(scores["experiment"] == named["experiment"]) & (scores["scorer"] == named["scorer"])]
    stand_in = bool((of_group["stand_in_data"] != False).any() or (of_group["stand_in_inception"] != False).any())  # noqa: E712
    found = "not-comparable"
    if not blocking:
        found = verdicts.regression(values, recorded, named["metric"], tolerances.regression, stand_in)
    return {
        **{key: named[key] for key in ("experiment", "snapshot", "scorer", "metric")},
        "kind": "regression",
        "table": "history",
        "model": named["experiment"],
        "variant": "",
        "measured": pd.Series(values, dtype=float).mean(),
        "sd": pd.Series(values, dtype=float).std(),
        "seeds": len(values),
        "reported": alike["value"].astype(float).mean(),
        "verdict": found,
        "status": verdicts.status((found,), tolerances.statuses),
        "blocking_fields": tuple(blocking),
        "presumed_fields": (),
        "declared_fields": (),
        "reason": "; ".join(f"{name}: {words}" for name, words in blocking.items()),
    }
