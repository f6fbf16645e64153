"""Comparisons and verdicts in words: the only place where fields become sentences."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from harness.comparison.protocols import plain
from harness.comparison.reported import Ledger, short
from harness.comparison.table_formats import NONE
from harness.records.score_record import METRICS

LABELS = {"reported": "no reported row", "measured": "not measured", "confidence": "unverified"}
LABELS |= {"claim": "neither released nor retrained", "seeds": "planned seeds are not there"}
LABELS |= {metric: f"no {metric.upper()}" for metric in METRICS}  # of blocking fields that are no field of a protocol
MARK = " †"  # of an unverified reported value
FIRST_WEIGHTS = 0.01  # share of a generator's initialisation in its average from which a reader is told; ours
AND = " + "  # between the verdicts on seeds that can be compared and on seeds that cannot


def count(n: Any) -> str:
    """Return a number of images, 640, 10k, 1.5M; a dash if it is not known."""
    n = plain(n)
    if n is None:
        return NONE
    for unit, letter in ((1_000_000, "M"), (1_000, "k")):
        if n >= unit:
            return f"{n / unit:.3g}{letter}"
    return str(int(n))


def mean_sd(key: str, digits: int) -> Callable[[Mapping[str, Any]], str]:
    """Return what says `mean`, or `mean ± sd` of several values, of the columns `key` and `key`_sd; a dash for none."""

    def say(row: Mapping[str, Any]) -> str:
        mean, sd = plain(row[key]), plain(row.get(f"{key}_sd"))
        if mean is None:
            return NONE
        return f"{mean:.{digits}f}" + ("" if sd is None else f" ± {sd:.{digits}f}")

    return say


def printed(metric: str) -> Callable[[Mapping[str, Any]], str]:
    """Return what says a reported score as its source prints it, `value ± std`, marked if nobody could verify it."""

    def say(row: Mapping[str, Any]) -> str:
        value, std = plain(row[f"{metric}_reported"]), plain(row[f"{metric}_reported_std"])
        if value is None:
            return NONE
        mark = MARK if row[f"{metric}_reported_confidence"] == "unverified" else ""
        return value + (f" ± {std}" if std else "") + mark

    return say


def reported_protocol(ledger: Ledger) -> dict[str, Callable[[Mapping[str, Any]], str]]:
    """Return the column that says how reported scores were made, `50k/20k? vs 50k train`; by metric if they differ."""

    def say(row: Mapping[str, Any]) -> str:
        names = {metric: plain(row.get(f"{metric}_reported_protocol")) for metric in METRICS}
        return by_metric({m: short(ledger.protocols[name]) for m, name in names.items() if name is not None})

    return {"reported protocol": say}


def by_metric(said: Mapping[str, str]) -> str:
    """Return what is said of several metrics once if it is the same of all, else `FID: this; IS: that`."""
    if len(set(said.values())) == 1:
        return next(iter(said.values()))
    return "; ".join(f"{metric.upper()}: {words}" for metric, words in sorted(said.items())) or NONE


def difference(metric: str) -> Callable[[Mapping[str, Any]], str]:
    """Return what says how far measured and reported score lie apart, with a sign; a dash where they do not compare."""
    return lambda row: NONE if plain(row[f"{metric}_difference"]) is None else f"{row[f'{metric}_difference']:+.2f}"


def hours(row: Mapping[str, Any]) -> str:
    """Return hours on a GPU; those on a CPU say so."""
    gpu, cpu = plain(row["gpu_hours"]), plain(row["cpu_hours"])
    if gpu is None and cpu is None:
        return NONE
    return f"{gpu or 0:.2f}" if cpu is None else f"{gpu or 0:.2f} (and {cpu:.2f} on CPU)"


def rank_change(places: Any) -> str:
    """Return `+2`, `-1` or `same`; a dash if a model has no rank."""
    return NONE if plain(places) is None else "same" if places == 0 else f"{places:+d}"


def number(metric: str, value: float) -> str:
    """Return a score with the digits of its metric; a dash if there is none."""
    return NONE if pd.isna(value) else f"{value:.4f}" if metric == "kid" else f"{value:.2f}"


def verdict_range(found: Sequence[str]) -> str:
    """Return a verdict, or `best to worst`."""
    return found[0] if len(found) == 1 else f"{found[0]} to {found[-1]}"


def trust(line: Mapping[str, Any]) -> str:
    """Return ` (presumed)`, ` (declared: dataset)` or both: what a verdict rests on; empty if on nothing."""
    parts = ["presumed"] if line["presumed_fields"] else []
    parts += [f"declared: {', '.join(line['declared_fields'])}"] if line["declared_fields"] else []
    return f" ({'; '.join(parts)})" if parts else ""


def verdict(line: Mapping[str, Any]) -> str:
    """Return `within`, `near to outside (presumed)`, `not-comparable (n_fake, split)`."""
    if line["verdict"] == "not-comparable":
        fields = ", ".join(LABELS.get(name, name) for name in line["blocking_fields"])
        return f"not-comparable ({fields})" if fields else "not-comparable"
    return line["verdict"] + trust(line)


def comparable(lines: pd.DataFrame) -> str:
    """Return `yes`, `presumed (fields)` or `no (fields)` of comparisons; by metric where they differ."""
    said: dict[str, str] = {}
    for metric, part in lines.groupby("metric", sort=True):
        blocking = distinct(part["blocking_fields"])
        trusted = distinct(part["presumed_fields"])
        declared = [f"{name} declared" for name in distinct(part["declared_fields"])]
        if blocking:
            said[str(metric)] = f"no ({', '.join(LABELS.get(name, name) for name in blocking)})"
        elif trusted or declared:
            said[str(metric)] = f"presumed ({', '.join([*trusted, *declared])})"
        else:
            said[str(metric)] = "yes"
    return by_metric(said)


def distinct(lists: Iterable[Iterable[str]]) -> list[str]:
    """Return the names of several lists, each once, in order."""
    return list(dict.fromkeys(name for names in lists for name in names))


def row_name(line: Mapping[str, Any]) -> str:
    """Return a verdict's row: table, model, variant."""
    parts = (line["table"], line["model"], line["variant"])
    return " / ".join(part for part in parts if isinstance(part, str) and part)


def score_name(line: Mapping[str, Any]) -> str:
    """Return which score a verdict is about: `FID (tf, last, mini)`, the last being the named protocol.

    Samples from elsewhere may name no snapshot, our own recorded scores no protocol.
    """
    said = (line["scorer"], plain(line["snapshot"]), plain(line["protocol"]))
    return f"{line['metric'].upper()} ({', '.join(filter(None, said))})"


def outcome(line: Mapping[str, Any]) -> str:
    """Return a verdict with both numbers: `outside: measured 30.00, reported 12.42`."""
    measured, reported = (number(line["metric"], line[key]) for key in ("measured", "reported"))
    return f"{verdict(line)}: measured {measured}, reported {reported}"


def caveats(row: Mapping[str, Any]) -> list[str]:
    """Return what a reader must know of a score: what keeps it from being held against any reported one, remarks."""
    marks = []
    if plain(row["stand_in_data"]) is not False:
        marks.append("STAND-IN DATA" if row["stand_in_data"] else "perhaps stand-in data")
    if plain(row["stand_in_inception"]) is not False:
        marks.append("STAND-IN INCEPTION" if row["stand_in_inception"] else "perhaps a stand-in Inception")
    if plain(row["partial"]) is not False:
        marks.append(f"after {count(row['nimg'])} of {count(row['planned_nimg'])} images")  # the run may be whole
    first = plain(row.get("first_weights"))
    if first is not None and FIRST_WEIGHTS <= first < 1:
        marks.append(f"average holds {100 * first:.0f} % of the first weights")
    if row["layer"] != 2048:
        marks.append(f"{plain(row['layer']):.0f}-channel layer")
    return [*marks, *(plain(row["caveats"]) or ())]


def measured_protocol(row: Mapping[str, Any]) -> str:
    """Return a measured protocol in a few words, e.g. `2k vs 10k cifar10 train, trunk 768`."""
    real = f"{count(row['n_real'])} {row['dataset']} {row['split']}"
    return f"{count(row['n_fake'])} vs {real}, {row['inception']} {plain(row['layer']):.0f}"
