"""Which reported rows are planned under their source's protocol, and why the others are not."""

import dataclasses
import fnmatch
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from harness.comparison import named, reported
from harness.comparison.reported import Ledger
from harness.config import experiments, reader
from harness.files import write_text
from harness.paths import Checkout
from harness.pipeline import suite

SCALES = ("paper", "checkpoints")  # that answer the ledger
STATES = ("stated", "presumed", "unknown")
FILES = ("coverage.json", "coverage.md")


@dataclass(frozen=True)
class Row:
    """One reported number. `state`: whether its source states how it was scored, leaves fields to a presumption, or
    leaves fields unknown. `scale` is empty where the number is not planned under `protocol`, for the `reason`."""

    row: str
    dataset: str
    metric: str
    confidence: str
    state: str
    protocol: str
    scale: str
    reason: str


def rows(checkout: Checkout) -> list[Row]:
    """Return every row of the ledger, in its order.

    Raises:
        HarnessError: a broken ledger or suite.
    """
    ledger, known = reported.load(checkout.reported), experiments.definitions(checkout.root)
    named.check_links(ledger, known.protocols)
    planned: dict[tuple[str, str], dict[str, str]] = {}  # (link, data set) -> protocol -> scale
    answered: dict[tuple[str, str], list[str]] = {}
    for scale in SCALES:
        found = suite.read(checkout, scale)
        for name, row in found.rows().items():
            experiment = known.experiments[name]
            for link in experiment.reported:
                for line in reported.reported_rows_for(ledger, link, experiment).to_dict("records"):
                    key = (line["link"], line["dataset"])
                    answered.setdefault(key, []).append(name)
                    names = dict.fromkeys([*found.protocols, *row.protocols], scale)
                    planned[key] = names | planned.get(key, {})
    listed = [
        (pattern if " @" in pattern else f"{pattern} @*", str(entry["because"]))
        for entry in reader.read_yaml(checkout.experiments / "unanswered.yaml").values()
        for pattern in entry["rows"]
    ]
    return [_row(line, ledger, planned, answered, listed) for line in ledger.rows.to_dict("records")]


def _row(
    line: dict[str, Any],
    ledger: Ledger,
    planned: dict[tuple[str, str], dict[str, str]],
    answered: dict[tuple[str, str], list[str]],
    listed: list[tuple[str, str]],
) -> Row:
    theirs, key = ledger.protocols[line["protocol"]], (line["link"], line["dataset"])
    fields = {name: theirs.fields[name] for name in named.fields_of(line["metric"])}
    kinds = {field.kind for field in fields.values()}
    state = next(kind for kind in reversed(STATES) if kind in kinds)
    protocol = theirs.scored_as or ""
    scale = planned.get(key, {}).get(protocol, "")
    reason = ""
    if not scale:
        name = f"{line['link']} @{line['dataset']}"
        reason = next((because for pattern, because in listed if fnmatch.fnmatchcase(name, pattern)), "")
        if not reason and state == "unknown":
            reason = "the source leaves open: " + ", ".join(n for n, f in fields.items() if f.kind == "unknown")
        elif not reason and protocol:
            reason = f"not planned: add `{protocol}` to {' or '.join(dict.fromkeys(answered.get(key, ['a suite'])))}"
        elif not reason:
            reason = "no entry of experiments/protocols scores so"
    confidence = str(line["confidence"])
    return Row(line["link"], line["dataset"], line["metric"], confidence, state, protocol, scale, reason)


def summary(found: list[Row]) -> dict[str, Any]:
    """Return how many rows there are and how many are planned, by state, and the reasons of the others."""
    out: dict[str, Any] = {}
    for state in STATES:
        mine = [row for row in found if row.state == state]
        reasons = Counter(row.reason for row in mine if not row.scale)
        out[state] = {
            "rows": len(mine),
            "planned": sum(bool(row.scale) for row in mine),
            "not_planned": dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        }
    return out


def table(found: list[Row]) -> str:
    """Return all rows as aligned text, and the sums below."""
    lines = [
        (r.row, r.dataset, r.metric, r.confidence, r.state, r.protocol or "-", r.scale or "-", r.reason) for r in found
    ]
    head = ("row", "data set", "metric", "confidence", "protocol is", "named", "planned in", "reason")
    sums = [f"{state}: {part['planned']} of {part['rows']} rows are planned" for state, part in summary(found).items()]
    return tabulate(lines, head, tablefmt="plain", disable_numparse=True) + "\n\n" + "\n".join(sums)


def as_json(found: list[Row]) -> list[dict[str, Any]]:
    """Return the rows as plain values."""
    return [dataclasses.asdict(row) for row in found]


def files(found: list[Row]) -> dict[str, str]:
    """Return the files of `results/bench` that hold the sums: name -> text."""
    sums = summary(found)
    return {"coverage.json": json.dumps(sums, indent=2) + "\n", "coverage.md": markdown(sums)}


def markdown(sums: dict[str, Any]) -> str:
    """Return a summary as a page."""
    lines = [(state, part["planned"], part["rows"]) for state, part in sums.items()]
    why = [(state, n, reason) for state, part in sums.items() for reason, n in part["not_planned"].items()]
    return (
        "# Reported numbers under the protocol of their source\n\n"
        "Made by `harness protocols --coverage --write` of the ledger and the suites "
        f"{' and '.join(SCALES)}; the rows: `harness protocols --coverage`.\n\n"
        + tabulate(lines, ("the source's protocol is", "planned", "of"), tablefmt="github")
        + "\n\nThe others:\n\n"
        + tabulate(why, ("protocol", "rows", "reason"), tablefmt="github")
        + "\n"
    )


def write(checkout: Checkout, found: list[Row]) -> list[Path]:
    """Write `files` and return their paths."""
    paths = []
    for name, text in files(found).items():
        write_text(checkout.bench / name, text)
        paths.append(checkout.bench / name)
    return paths
