"""What each field of a protocol is worth: the records of `harness bench effects`, in words, for docs and page."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from harness.comparison.table_formats import NONE, Table
from harness.files import read_json
from harness.paths import Checkout

STAND_IN = "; STAND-IN: what the code does with such images, nothing about any real score"


def tables(checkout: Checkout) -> list[Table]:
    """Return a table for each record: how far a score moves, in percent of it, if one field says something else.

    Raises:
        HarnessError: a file that is no JSON.
    """
    return [table(read_json(path)) for path in checkout.effects]


def table(record: dict[str, Any]) -> Table:
    """Return the table of one record: a row for each value of a field, columns for each metric that was scored."""
    lines: dict[tuple[str, str], dict[str, str]] = {}
    metrics = [metric for metric in ("fid", "is") if record[metric] is not None]
    names = ["field", "says", "instead of", *(name for metric in metrics for name in _columns(metric))]
    for row in record["rows"]:
        line = lines.setdefault((row["field"], row["says"]), dict.fromkeys(names, NONE))
        line |= {"field": row["field"], "says": row["says"], "instead of": row["instead_of"]}
        line |= zip(_columns(row["metric"]), _moved(row), strict=True)
        lines[row["field"], row["says"]] = line
    title = f"{record['inception']} Inception at {record['layer']} channels"
    return Table(
        f"effects-{record['layer']}",
        title + (STAND_IN if record["inception"] == "stand-in" else ""),
        pd.DataFrame(list(lines.values()), columns=names, dtype=object),
        note=f"{made_of(record)}.",
    )


def made_of(record: dict[str, Any]) -> str:
    """Return a sentence without its end: what a record scored against what, and the scores."""
    scores = ", ".join(f"{key.upper()} {record[key]:.3f}" for key in ("fid", "is") if record[key] is not None)
    return (
        f"{record['n_fake']:,} rounded samples of {record['experiment']}, seed {record['seed']}, snapshot "
        f"{record['snapshot']} ({record['nimg']:,} images of {record['dataset']} seen), {record['resolution']} px, "
        f"against the first {record['n_real']:,} images of {record['reference']}; {record['inception']} Inception at "
        f"{record['layer']} channels behind the 2015 graph's own resizer: {scores}"
    )


def _columns(metric: str) -> tuple[str, str]:
    return metric.upper(), f"{metric.upper()}, 95 %"


def _moved(row: dict[str, Any]) -> Iterable[str]:
    """Yield the change of a score and its interval, in percent of what it was; no change of a digit is no -0."""
    yield f"{row['share']:+z.2%}"
    if row["low"] is None:
        yield "not paired"
    else:
        before = row["score"] - row["change"]
        yield " to ".join(f"{bound / before:+z.2%}" for bound in (row["low"], row["high"]))
