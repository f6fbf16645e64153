"""A reviewer's question: do these scores hold against a row of the ledger? Fields, numbers and verdicts, row by row.

The judgement is that of `harness check`: `protocols.compare`, `check.judge_all` and `experiments/tolerances.yaml`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.comparison import check, foreign, protocols, reported, verdicts, words
from harness.comparison.protocols import Comparability, Datasets, plain
from harness.comparison.reported import COLUMN_FIELDS, Field, Ledger
from harness.config import experiments
from harness.errors import HarnessError
from harness.paths import Checkout
from harness.records.score_record import Claim, Protocol, ScoreRecord, compared_fields

EQUAL, PRESUMED, DECLARED = "equal", "presumed", "declared"
OTHERWISE, PRESUMED_OTHERWISE, UNKNOWN = "stated otherwise", "presumed otherwise", "unknown"
NO_EFFECT, THEIRS, NOT_PINNED = "presumed, effect unknown", "the authors'", "not pinned"
SAME_FAMILY, NOT_COMPARED = "same family", "not compared"  # what differs and yet forbids nothing of itself
ASKED = {"ema": "true|false", "snapshot": "last|best|checkpoint", "quantisation": "'uint8, rounded'"}
ASKED_OF_STATISTICS = {"resizer": "NAME", "inception": "official|trunk|stand-in"}
IN_FULL, NAMED = 8, 3  # rows that are printed field by field; names in a sentence
SCORING = ("n_fake", "n_real", "split", "resizer", "inception", "layer", "is_splits", "is_bias")  # a protocol's choices


@dataclass(frozen=True)
class Judged:
    """One row of the ledger with everything that is said of it.

    `fields`: one line a protocol field: field, measured, reported and, by metric, what the two are to each other.
    `verdicts`: one line a metric, as those of `harness check`.
    """

    link: str
    protocol: str
    source: str
    fields: pd.DataFrame
    verdicts: pd.DataFrame

    def to_json(self) -> dict[str, Any]:
        """Return mappings and lists for JSON; None where there is no number."""
        of_row = ("experiment", "snapshot", "scorer", "protocol", "table", "model", "variant")
        kept = [key for key in check.COLUMNS if key not in of_row]  # those are said above, or by the record
        lines = self.verdicts.to_dict("records")
        return {
            "row": self.link,
            "protocol": self.protocol,
            "source": self.source,
            "fields": [{key: plain(value) for key, value in line.items()} for line in self.fields.to_dict("records")],
            "verdicts": [{key: plain(line[key]) for key in kept} for line in lines],
        }


@dataclass(frozen=True)
class Answer:
    """What `harness score --against` found: one `Judged` a row, an exit code, and what the user should know."""

    rows: tuple[Judged, ...]
    exit_code: int  # as `harness check`: 0 pass, 1 fail, 2 nothing comparable
    warnings: tuple[str, ...]
    hints: tuple[str, ...]


def judge(
    records: Sequence[tuple[ScoreRecord, str]], name: str, kind: str | None, checkout: Checkout
) -> tuple[list[ScoreRecord], Answer]:
    """Hold scores of samples against the rows that `name` stands for; return them with their claim, and the answer.

    Args:
        records: one a dump, each with the place of its samples; several are seeds of one model.
        name: see `foreign.find_rows`.
        kind: `released`, `retrained`, or None: numbers and fields, no verdict.

    Raises:
        HarnessError: no such row; several dumps that were not scored alike; a broken ledger or tolerances file.
    """
    ledger, datasets = reported.load(checkout.reported), experiments.load_datasets(checkout.root)
    tolerances = verdicts.load(checkout.tolerances)
    links = foreign.find_rows(ledger, name)
    _check_alike(records)
    claim = Claim(kind, links) if kind is not None else None
    claimed = [(dataclasses.replace(record, claim=claim), path) for record, path in records]
    lines = foreign.comparisons(claimed, {}, ledger, datasets, links)
    found = check.judge_all(lines, tolerances)
    first = foreign.scores(claimed).iloc[0].to_dict()
    rows = tuple(_judged(link, first, found, ledger, datasets, kind == "released") for link in links)
    hints = (*_hints(found, kind), *_scored_as(ledger, rows, first["protocol"]))
    answer = Answer(rows, check.exit_code(found), tuple(_too_few(first, rows, ledger)), hints)
    return [record for record, _ in claimed], answer


def _check_alike(records: Sequence[tuple[ScoreRecord, str]]) -> None:
    (first, place), *others = records
    for record, path in others:
        a, b = first.protocol.identity(), record.protocol.identity()
        differing = [f"{key} {a[key]} and {b[key]}" for key in a if a[key] != b[key]]
        if differing:
            raise HarnessError(
                f"{place} and {path}: not scored alike ({'; '.join(differing)}), so they are no seeds of one model; "
                "score equal numbers with --n."
            )


def _judged(
    link: str, measured: dict[str, Any], found: pd.DataFrame, ledger: Ledger, datasets: Datasets, released: bool
) -> Judged:
    rows = reported.find(ledger, link).to_dict("records")
    lines = [_fields(measured, row, ledger, datasets, released) for row in rows]
    merged: dict[str, dict[str, str]] = {}
    for row, of_metric in zip(rows, lines, strict=True):
        for name, line in of_metric.items():
            merged.setdefault(name, line[0])[str(row["metric"])] = line[1]
    order = {f.name: i for i, f in enumerate(dataclasses.fields(Protocol))}
    names = sorted(merged, key=lambda name: order.get(name, len(order)))
    metrics = list(dict.fromkeys(str(row["metric"]) for row in rows))
    cells = [{"field": name, **dict.fromkeys(metrics, ""), **merged[name]} for name in names]
    key = dict(zip(("table", "model", "variant"), (*link.split("/", 2), "")[:3], strict=True))
    mine = found[(found[list(key)] == list(key.values())).all(axis=1)]
    fields = pd.DataFrame(cells, columns=["field", "measured", "reported", *metrics])
    return Judged(link, rows[0]["protocol"], rows[0]["source"], fields, mine.reset_index(drop=True))


def _fields(
    measured: Mapping[str, Any], row: Mapping[str, Any], ledger: Ledger, datasets: Datasets, released: bool
) -> dict[str, tuple[dict[str, str], str]]:
    """Return, by field, the values on both sides in words and what they are to each other."""
    compared = protocols.compare(measured, row, ledger, datasets, released)
    known = _of_checkout(str(row["dataset"]), datasets)
    known["stand_in_inception"] = "stand-in" in ledger.protocols[row["protocol"]].fields["inception"].values
    out = {}
    for name in compared_fields(row["metric"]):
        mine = plain(measured[name])
        field = ledger.protocols[row["protocol"]].fields.get(name)
        if field is not None:
            said = " or ".join(map(str, field.values)) or "unknown"
        else:
            said = str(plain(row[name]) if name in COLUMN_FIELDS else known[name])
        status = _status(name, mine, field, compared, released)
        if status == EQUAL and not _alike(ledger, name, mine, field.values if field is not None else (said,)):
            status = SAME_FAMILY if name == "dataset" else NOT_PINNED if said == NOT_PINNED else NOT_COMPARED
        out[name] = ({"measured": "unknown" if mine is None else str(mine), "reported": said}, status)
    for name in ("partial", "confidence"):
        if name in compared.blocking:
            out[name] = ({"measured": "", "reported": compared.blocking[name]}, OTHERWISE)
    return {name: (_short(words_of), status) for name, (words_of, status) in out.items()}


def _alike(ledger: Ledger, name: str, mine: Any, values: Sequence[Any]) -> bool:
    return any(protocols.equal(ledger, name, mine, value) or str(mine) == str(value) for value in values)


def _of_checkout(dataset: str, datasets: Datasets) -> dict[str, Any]:
    """Return what the checkout knows of the data set of a reported row."""
    definition = datasets.get(dataset, {})
    return {
        "resize": definition.get("resize", "none"),
        "real_pixels_sha256": definition.get("pixels_sha256", NOT_PINNED),
        "stand_in_data": definition.get("source") == "standin",
    }


def _status(name: str, mine: Any, field: Field | None, compared: Comparability, released: bool) -> str:
    if name in compared.blocking:
        if mine in (None, UNKNOWN) or (field is not None and field.kind == "unknown"):
            return UNKNOWN
        if name in compared.presumed:
            return NO_EFFECT
        return PRESUMED_OTHERWISE if field is not None and field.kind == "presumed" else OTHERWISE
    if name == "snapshot" and released:
        return THEIRS
    said = [PRESUMED] if name in compared.presumed else []
    said += [DECLARED] if name in compared.declared else []
    return ", ".join(said) or EQUAL


def _short(values: dict[str, str]) -> dict[str, str]:
    """Return values with long digests cut to twelve digits."""
    return {key: value[:12] if len(value) == 64 and " " not in value else value for key, value in values.items()}


def _too_few(measured: Mapping[str, Any], rows: Sequence[Judged], ledger: Ledger) -> list[str]:
    """Return a sentence on the protocols whose sources used more samples than there are; none if there are none."""
    n, more = int(measured["n_fake"]), list[str]()
    for protocol in dict.fromkeys(judged.protocol for judged in rows):
        theirs = ledger.protocols[protocol].fields["n_fake"].values
        if theirs and n < min(theirs):
            more.append(f"{' or '.join(f'{count:,}' for count in theirs)} of {protocol}")
    why = "FID falls and IS rises with the number of samples, so the scores are not comparable"
    return [f"{n:,} samples, fewer than the {_some(more)}: {why}."] if more else []


def _some(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _hints(found: pd.DataFrame, kind: str | None) -> list[str]:
    """Return what the user may say to make more comparable: the kind, and unknown fields of samples and statistics."""
    out = []
    if kind is None:
        out.append("no verdict without --as released (the authors' samples or weights) or --as retrained.")
    for asked, side in ((ASKED, "samples"), (ASKED_OF_STATISTICS, "statistics")):
        said = {name for name in asked if any(f"{name}: unknown," in str(reason) for reason in found["reason"])}
        if said:
            flags = " ".join(f"--declare {name}={asked[name]}" for name in asked if name in said)
            out.append(f"the {side} do not say everything; if you know it, add {flags}.")
    return out


def _scored_as(ledger: Ledger, rows: Sequence[Judged], used: str) -> list[str]:
    """Return the named protocols that score as rows were scored which cannot be compared."""
    links: dict[str, list[str]] = {}
    for judged in rows:
        named = ledger.protocols[judged.protocol].scored_as
        blocked = {name for names in judged.verdicts["blocking_fields"] for name in names}
        if named is not None and named != used and blocked & set(SCORING):
            links.setdefault(named, []).append(judged.link)
    if len(rows) > IN_FULL:
        return [f"the ledger names protocols for rows here: --protocol {', '.join(links)}."] if links else []
    return [f"the ledger names a protocol for {_some(found)}: --protocol {named}." for named, found in links.items()]


# ---------------------------------------------------------------- for people


def text(answer: Answer) -> str:
    """Return the answer for a terminal: for each row its fields as a table, then a line a metric.

    Of many rows the fields are left out.
    """
    from tabulate import tabulate

    if len(answer.rows) > IN_FULL:
        lines = [f"{judged.link}: {line}" for judged in answer.rows for line in _outcomes(judged)]
        return "\n".join([*lines, "", f"{len(answer.rows)} rows; name one, or add --json, to see it field by field."])
    parts = []
    for judged in answer.rows:
        headers = [*judged.fields.columns[:3], *(str(metric).upper() for metric in judged.fields.columns[3:])]
        table = tabulate(judged.fields.values.tolist(), headers, tablefmt="plain", disable_numparse=True)
        head = f"{judged.link}  ({judged.protocol}; {judged.source})"
        parts.append("\n".join([head, "", table, "", *_outcomes(judged)]))
    return "\n\n\n".join(parts)


def _outcomes(judged: Judged) -> list[str]:
    """Return a line a metric: both numbers, their distance, the verdict or why there is none."""
    lines = []
    for line in judged.verdicts.to_dict("records"):
        mine, theirs = (words.number(line["metric"], line[key]) for key in ("measured", "reported"))
        said = f"{line['metric'].upper():<4} measured {mine}, reported {theirs}"
        if pd.notna(line["measured"]) and pd.notna(line["reported"]):
            said += f" ({line['measured'] - line['reported']:+.2f}"
            low, high = (words.number(line["metric"], line[key]) for key in ("reported_low", "reported_high"))
            said += f"; under its presumptions {low} to {high})" if low != high else ")"
        seeds = f", {line['seeds']} dumps" if line["seeds"] > 1 else ""
        lines.append(f"{said}{seeds}: {words.verdict(line)}")
    return lines
