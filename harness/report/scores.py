"""The one table of scores, the protocol that its rows share, and what the trainings cost."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from harness.comparison import run_tables, uncertainty, words
from harness.comparison.protocols import plain
from harness.comparison.table_formats import NONE
from harness.records.results import GROUP, Results
from harness.report.finding import SCORERS, main_scorer, trained_on, training_sets

COLUMNS = (  # scorer, column of scores, heading, digits
    ("tf", "fid", "FID, TF", 2),
    ("torch", "fid", "FID, torch", 2),
    ("clean", "fid", "FID, clean", 2),
    ("tf", "is_mean", "IS, TF", 2),
    ("torch", "is_mean", "IS, torch", 2),
    ("clean", "kid", "KID, clean", 4),
)
ROW = ["trained_on", "dataset", "experiment", "nimg", "snapshot", "protocol"]
PASS = ["scale", "experiment", "seed", "snapshot", "scorer", "device_sec", "wall_sec"]  # what records of one pass share


def said_of(row: Mapping[str, Any]) -> str:
    """Return how a score was made, in words."""
    return f"{words.measured_protocol(row)} channels, {row['resizer']} resize, {row['quantisation']}"


def caveats(row: Mapping[str, Any]) -> list[str]:
    """Return a score's caveats; a snapshot before the end is none, as the table shows how far it was."""
    return words.caveats({**row, "partial": False})


def shared(scores: pd.DataFrame) -> dict[tuple[str, str], tuple[str, list[str]]]:
    """Return (data set, scorer) -> the norm of its scores, and the caveats that all of these have.

    The norm is the protocol under which most models' ends were scored; of equals that of most samples.
    """
    out, end = {}, ~on_the_way(scores)
    for key, part in scores.groupby(["dataset", "scorer"], sort=True):
        ends = part[end[part.index]] if end[part.index].any() else part
        said = pd.Series([said_of(row) for row in ends.to_dict("records")], index=ends.index)
        models = ends.groupby(said).agg(models=("experiment", "nunique"), n_fake=("n_fake", "max"))
        most = models.sort_values(["models", "n_fake"], ascending=False, kind="stable").index[0]
        rows = part.to_dict("records")
        common = [text for text in caveats(rows[0]) if all(text in caveats(row) for row in rows)]
        out[str(key[0]), str(key[1])] = (str(most), common)
    return out


def on_the_way(scores: pd.DataFrame) -> pd.Series:
    """Return which scores are of a snapshot before the last that was scored of its model."""
    longest = scores.groupby(["scale", "experiment"])["nimg"].transform("max")
    return ~scores["snapshot"].isin(["last", "best"]) & (scores["nimg"] < longest)


def protocol_lines(scores: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the shared protocols for the text above the table: scorer and data set, words."""
    found = sorted(shared(scores).items(), key=lambda item: (item[0][0], list(SCORERS).index(item[0][1])))
    return [
        (f"{SCORERS[scorer]}, {dataset}", "; ".join([said, *common])) for (dataset, scorer), (said, common) in found
    ]


def score_table(found: Results) -> dict[str, Any]:
    """Return the table for the template: a row a model, snapshot and protocol, its seeds put together.

    Models are by training data set, then by FID under the norm, lowest first. `rows` has their ends, under the norm
    where they were scored under it, and `sets` the same for each training data set; `other` what else they were scored
    under, `before` the snapshots on the way. An untrained control stands with the data set of its networks. Cells
    are (text, number to sort by); columns without any number are left out and named in `absent`.
    """
    scores = found.scores.assign(trained_on=trained_on(found.scores), before=on_the_way(found.scores))
    common, main = shared(found.scores), main_scorer(found.scores)
    intervals = found.summary().query("metric == 'fid'").set_index([*GROUP])[["low", "high"]]
    rows: list[dict[str, Any]] = []
    for (trained, dataset, experiment, nimg, _, _), part in scores.groupby(ROW, sort=True, dropna=False):
        first = part.iloc[0].to_dict()
        cells: dict[str, tuple[str, float | None]] = {}
        for scorer, column, heading, digits in COLUMNS:
            mean, sd = run_tables.mean_sd(part.loc[part["scorer"] == scorer, column])
            cells[heading] = (words.mean_sd("x", digits)({"x": mean, "x_sd": sd}), mean)
        mine = part[part["scorer"] == main]
        cells["95 % over seeds"] = _interval(mine, intervals)
        half = uncertainty.evaluation(mine, "fid")
        cells["95 % of evaluation"] = (uncertainty.UNKNOWN if half is None else f"± {half:.2g}", half)
        seeds = sorted(set(part["seed"]))
        cells["seeds"] = (str(len(seeds)), len(seeds))
        cost = run_tables.cost(found.training, str(experiment), seeds)
        whole = bool(((found.training["experiment"] == experiment) & (found.training["nimg"] == nimg)).any())
        hours = [value for value in (cost["gpu_hours"], cost["cpu_hours"]) if value is not None]
        cells["hours"] = (f"{sum(hours):.2f}", sum(hours)) if whole and hours else (NONE, None)
        rows.append(
            {
                "trained_on": str(trained),
                "dataset": str(dataset),
                "experiment": str(experiment),
                "images": (_images(first), float(nimg)),
                "cells": cells,
                "flags": _flags(part, common),
                "norm": all(
                    said_of(row) == common[row["dataset"], row["scorer"]][0] for row in part.to_dict("records")
                ),
                "before": bool(first["before"]),
                "fid": run_tables.mean_sd(mine["fid"])[0],
            }
        )
    headings = list(rows[0]["cells"])
    sets = training_sets(found.scores)
    rows = _in_order(rows, sets)
    kept = [h for h in headings if any(row["cells"][h][1] is not None or "95 %" in h for row in rows)]
    parts = _parts(rows)
    return {
        **parts,
        "sets": [(name, [row for row in parts["rows"] if row["trained_on"] == name]) for name in sets],
        "columns": kept,
        "absent": [h for h in headings if h not in kept],
        "datasets": scores["dataset"].nunique() > 1,
        "main": SCORERS[main],
    }


def _in_order(rows: list[dict[str, Any]], sets: list[str]) -> list[dict[str, Any]]:
    """Return rows by training data set, FID of the model's end, lowest first, and of a model the norm's row first."""
    lowest: dict[str, tuple[bool, bool, float]] = {}
    for row in rows:
        rank = (row["before"], not row["norm"], math.inf if row["fid"] is None else row["fid"])
        lowest[row["experiment"]] = min(lowest.get(row["experiment"], rank), rank)

    def place(row: dict[str, Any]) -> tuple[Any, ...]:
        model = row["experiment"]
        of_model = (row["before"], -row["images"][1], not row["norm"])
        return sets.index(row["trained_on"]), lowest[model][-1], model, *of_model

    return sorted(rows, key=place)


def _parts(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of `score_table` by the table that they are in."""
    normal = {(row["experiment"], row["images"]) for row in rows if row["norm"]}
    parts: dict[str, list[dict[str, Any]]] = {"rows": [], "other": [], "before": []}
    for row in rows:
        again = not row["norm"] and (row["experiment"], row["images"]) in normal
        parts["before" if row["before"] else "other" if again else "rows"].append(row)
    return parts


def _images(row: Mapping[str, Any]) -> str:
    name = f" ({row['snapshot']})" if row["snapshot"] == "best" else ""
    if plain(row["partial"]) and row["planned_nimg"] > row["nimg"]:
        return f"{words.count(row['nimg'])} of {words.count(row['planned_nimg'])}{name}"
    return f"{words.count(row['nimg'])}{name}"


def _interval(mine: pd.DataFrame, intervals: pd.DataFrame) -> tuple[str, float | None]:
    keys = {tuple(row) for row in mine[[*GROUP]].itertuples(index=False, name=None)}
    known = [intervals.loc[[key]].iloc[0] for key in keys if key in intervals.index]
    known = [one for one in known if pd.notna(one["low"])]
    if len(known) != 1:
        return uncertainty.UNKNOWN, None
    return f"{known[0]['low']:.2f} to {known[0]['high']:.2f}", float(known[0]["high"] - known[0]["low"])


def _flags(part: pd.DataFrame, common: Mapping[tuple[str, str], tuple[str, list[str]]]) -> list[str]:
    """Return in which parts a row differs from what is said above the table, and the scorers that it does so under."""
    differs: dict[str, list[str]] = {}
    more: list[str] = []
    for row in part.to_dict("records"):
        said, texts = common[row["dataset"], row["scorer"]]
        if other := [text for text in said_of(row).split(", ") if text not in said.split(", ")]:
            differs.setdefault(", ".join(other), []).append(row["scorer"])
        more += [text for text in caveats(row) if text not in texts]
    return [f"{', '.join(dict.fromkeys(scorers))}: {text}" for text, scorers in differs.items()] + [
        *dict.fromkeys(more)
    ]


def costs(found: Results) -> list[dict[str, str]]:
    """Return what each experiment's trainings cost: data set, seeds, images, hours, devices."""
    rows: list[dict[str, Any]] = []
    for experiment, part in found.training.groupby("experiment", sort=True):
        hours = float(part["device_sec"].sum()) / 3600
        speed = part["nimg"].sum() / part["wall_sec"].sum() if part["nimg"].sum() else None
        rows.append(
            {
                "experiment": str(experiment),
                "trained on": ", ".join(sorted(set(part["dataset"]))) if part["nimg"].any() else NONE,
                "seeds": str(part["seed"].nunique()),
                "images": f"{int(part['nimg'].sum()):,}",
                "hours": f"{hours:.2f}",
                "images/s": NONE if speed is None else f"{speed:,.1f}",
                "device": ", ".join(sorted(set(part["device"]))),
            }
        )
    return rows


def total_hours(found: Results) -> tuple[float, float]:
    """Return device hours of all trainings, and of all scores where a record says so.

    Protocols that share a pass over a dump have a record each, and each says what the whole pass took: it counts once.
    """
    passes = found.scores.drop_duplicates(PASS)
    return float(found.training["device_sec"].sum()) / 3600, float(passes["device_sec"].sum()) / 3600
