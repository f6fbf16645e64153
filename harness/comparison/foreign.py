"""Scores of samples from elsewhere as rows of their own: which of the ledger's rows they claim, and the comparisons.

They are held against the ledger as every other score is, by `harness.comparison.protocols`.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness.comparison import protocols, reported
from harness.comparison.protocols import Datasets
from harness.comparison.reported import Ledger
from harness.config import schema
from harness.errors import HarnessError
from harness.records import results, score_record
from harness.records.score_record import ScoreRecord

KIND = "foreign"  # comparison kind of such scores, and their `scale`
NO_CLAIM = {"claim": "neither released nor retrained is declared"}
NEAREST = 5  # names shown for an unknown one


def find_rows(ledger: Ledger, name: str) -> tuple[str, ...]:
    """Return the links that a name stands for: a row, all rows below a prefix `table[/model]`, or those of a data set.

    Raises:
        HarnessError: none; the message has the nearest names.
    """
    name = name.rstrip("/")
    links = list(dict.fromkeys(ledger.rows["link"]))
    whole = [link for link in links if link == name or link.startswith(f"{name}/")]
    found = whole or [link for link in links if name and link.startswith(name)]
    if not whole and name in set(ledger.rows["dataset"]):
        found = list(dict.fromkeys(ledger.rows.loc[ledger.rows["dataset"] == name, "link"]))
    if not found:
        raise HarnessError(f"no row of the ledger is called '{name}'.{_nearest(name, ledger)}")
    return tuple(found)


def _nearest(name: str, ledger: Ledger) -> str:
    links = set(ledger.rows["link"])
    names = links | {"/".join(link.split("/")[:2]) for link in links} | {link.split("/")[0] for link in links}
    names |= set(ledger.rows["dataset"])
    lower = {each.lower(): each for each in sorted(names)}
    close = difflib.get_close_matches(name.lower(), lower, n=NEAREST, cutoff=0.5)
    if close:
        return f" Nearest: {', '.join(lower[each] for each in close)}."
    tables = sorted({link.split("/")[0] for link in links})
    return f" Its tables are {', '.join(tables)}."


def read(paths: Iterable[Path]) -> list[tuple[ScoreRecord, str]]:
    """Read score records from anywhere; each comes with its path.

    Raises:
        HarnessError: a broken record, or a file that is named twice.
    """
    found: dict[Path, tuple[ScoreRecord, str]] = {}
    for path in paths:
        if path.resolve() in found:
            raise HarnessError(f"{path}: is named twice; name each score once.")
        found[path.resolve()] = (score_record.read(path), str(path))
    return list(found.values())


def scores(entries: Sequence[tuple[ScoreRecord, str]]) -> pd.DataFrame:
    """Return records as a frame of scores, of scale `foreign`.

    Samples of no run have no experiment: theirs is named after the first file of the same claim and protocol, and
    their seed is their place among these. Nothing cut them short.
    """
    groups: dict[Any, list[str]] = {}
    rows = []
    for record, path in entries:
        row = results.row(record, Path(path)) | {"scale": KIND, "path": path}
        if record.run.experiment is None:
            alone = path if record.claim is None else ""
            group = groups.setdefault((record.claim, alone, record.protocol.protocol_id), [])
            group.append(path)
            row |= {"experiment": group[0], "seed": len(group) - 1, "partial": False}
            row["snapshot"] = record.protocol.snapshot
        rows.append(row)
    return results.frame(rows)


def comparisons(
    entries: Sequence[tuple[ScoreRecord, str]],
    experiments: Mapping[str, schema.Experiment],
    ledger: Ledger,
    datasets: Datasets,
    links: Sequence[str] = (),
) -> pd.DataFrame:
    """Hold records against the rows that they claim: lines as those of `protocols.comparisons`.

    A record of a run that a checkout made is held against the rows of its experiment, any other one that claims nothing
    against `links`; without a claim such lines are comparable with nothing. Without rows they name none.
    """
    claims, lines = {path: record.claim for record, path in entries}, list[dict[str, Any]]()
    for first, part in protocols.groups(scores(entries)):
        claim, experiment = claims[first["path"]], experiments.get(str(first["experiment"]))
        if claim is not None:
            named, released = claim.rows, claim.kind == "released"
        elif experiment is not None and not links:
            named, released = experiment.reported, experiment.recipe in ledger.aids.released_weights
        else:
            named, released = tuple(links), False
        try:
            rows = [row for link in named for row in reported.find(ledger, link).to_dict("records")]
        except HarnessError as error:
            raise HarnessError(f"{first['path']}: claims a row that this ledger has not: {error}") from None
        found = protocols.lines_of(part, rows, ledger, datasets, released)
        for line in found if claim is None and links else ():
            line["blocking_fields"] = (*line["blocking_fields"], *NO_CLAIM)
            line["reason"] = "; ".join(filter(None, [line["reason"], *NO_CLAIM.values()]))
        lines += found or protocols.lines_without_a_row(part)
    return pd.DataFrame(lines, columns=protocols.COLUMNS)
