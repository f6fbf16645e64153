"""The report page: what the stages left under `results/<scale>`, as one HTML file that needs nothing beside it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.comparison import field_worth, verified, words
from harness.comparison.check import Checked
from harness.comparison.table_formats import NONE, Table
from harness.files import write_text
from harness.records.results import Results
from harness.report import charts, copies, drawing, finding, gaps, pictures
from harness.report import scores as measured_scores

if TYPE_CHECKING:
    from harness.config.experiments import Scale

VERDICT_CLASSES = {
    "within": "good",
    "near": "fair",
    "outside": "bad",
    "too-good": "odd",
    "insufficient-runs": "none",
    "not-comparable": "none",
    "not run": "absent",
    **{name: name for name in finding.SYMBOLS},  # of claims
}
STATUS_CLASSES = {"pass": "good", "fail": "bad", "undecided": "range", "none": "none"}
NUMBER = re.compile(r"[+-]?\d[\d.]*[kM%]?( ± [\d.]+)?( †)?( \(and .* on CPU\))?")


def verdict_class(text: str) -> str:
    """CSS class of a verdict in words; a range is never coloured as one of its ends, an unknown word is an error."""
    if words.AND in text:
        return "none"
    if " to " in text.split(" (")[0]:
        return "range"
    return VERDICT_CLASSES[text.split(" (")[0]]


def cell(column: str, text: str) -> dict[str, str]:
    """A cell with its CSS classes."""
    if column == "status":
        return {"text": text, "css": f"pill {STATUS_CLASSES[text]}"}
    if column.startswith("verdict") and text != NONE:
        return {"text": text, "css": f"pill {verdict_class(text)}"}
    if column == "caveats" and text != NONE:
        return {"text": text, "css": "caveats"}
    if column == "rank change" and text not in (NONE, "same"):
        return {"text": text, "css": "num up" if text.startswith("+") else "num down"}
    if column in ("experiment", "miniature"):
        return {"text": text, "css": "name"}
    if column in ("snapshot", "says", "instead of"):  # a name or a setting, also where it is a number
        return {"text": text, "css": ""}
    return {"text": text, "css": "num" if NUMBER.fullmatch(text) else "long" if len(text) > 24 else ""}


def view(table: Table) -> dict[str, Any]:
    """A table as the template wants it, without columns that say nothing or nothing new; rows not run are apart."""
    frame = table.frame
    said = {"comparable"} if "verdict FID" in frame else set()  # the verdict names the same fields
    if "source" in frame and frame["source"].nunique() == 1:
        said.add("source")
    once = [c for c in ("data set", "one protocol", "protocol") if c in frame and frame[c].nunique() == 1]
    absent = frame["experiment"] == "not run" if "experiment" in frame else pd.Series(False, index=frame.index)
    if "miniature" in frame:
        absent &= frame["miniature"] == NONE
    return {
        "name": table.name,
        "title": table.title,
        "note": table.note,
        "once": [(c, frame[c].iloc[0]) for c in once],
        **_part(frame[~absent], {*said, *once}),
        "unmeasured": _part(frame[absent], {*said, *once, "experiment"}) if absent.any() else None,
    }


def _part(frame: pd.DataFrame, said: set[str]) -> dict[str, Any]:
    empty = {c for c in frame.columns if len(frame) and frame[c].isin([NONE, "not run"]).all()}
    kept = [c for c in frame.columns if c not in said | empty]
    rows = [[cell(c, str(row[c])) for c in kept] for row in frame.to_dict("records")]
    numeric = []
    for name, column in zip(kept, zip(*rows, strict=True), strict=False):
        if all(one["css"].startswith("num") or one["text"] == NONE for one in column):
            numeric.append(name)
            for one in column:
                one["css"] = one["css"] or "num"
    return {"columns": kept, "numeric": numeric, "rows": rows}


def warnings(found: Results) -> list[str]:
    """What a reader must know before any number: stand-ins, partial runs, unusual layers."""
    scores, out = found.scores, []
    if (scores["stand_in_data"] != False).any():  # noqa: E712 (None is not known to be real)
        out.append("STAND-IN DATA: drawn pictures, no photographs. These scores say nothing about any model.")
    if scores["stand_in_inception"].astype(bool).any():
        out.append("STAND-IN INCEPTION: random weights. These scores show that every line runs, and nothing else.")
    cut = cut_short(found)
    if cut:
        out.append(f"PARTIAL RUNS, shorter than their recipe: {', '.join(cut)}.")
    other = scores[(scores["layer"] != 2048) & ~scores["stand_in_inception"].astype(bool)]
    if len(other):
        layers = ", ".join(str(v) for v in sorted(set(other["layer"])))
        out.append(f"FID at the {layers}-channel layer: to be compared with each other only, not with any paper's FID.")
    return out


def overlay_warning(scale: "Scale") -> list[str]:
    """Say that a scale lays changes over every recipe, where it does."""
    overlay = scale.params.overlay
    return [f"OVERLAY {overlay}: {scale.definitions.overlay(overlay).about}."] if overlay else []


def cut_short(found: Results) -> list[str]:
    """Return experiments with a training shorter than its recipe; a whole one may have partial snapshots on the way."""
    run = ["experiment", "seed"]
    planned = found.scores.groupby(run)["planned_nimg"].max()
    longest = pd.concat([found.scores, found.training]).groupby(run)["nimg"].max()
    return sorted({experiment for experiment, _ in planned[longest.reindex(planned.index) < planned].index})


def provenance(scores: pd.DataFrame) -> list[tuple[str, str]]:
    """How the scores were made, for the foot of the page."""
    return [
        ("Scale", _distinct(scores, "scale")),
        ("Commit", commit(scores)),
        ("Inception weights (sha256)", _distinct(scores, "inception_sha256")),
        ("Real images (sha256 of the pixels)", _distinct(scores, "real_pixels_sha256")),
        ("Scorers", _distinct(scores, "scorer")),
        ("Devices", _distinct(scores, "device")),
    ]


def commit(scores: pd.DataFrame, digits: int = 40) -> str:
    """Return the commits that scores were made at, counted where shortened; says if changes were uncommitted."""
    dirty = scores["git_dirty"].fillna(False).astype(bool).any()
    names = sorted({str(v)[:digits] for v in scores["git_commit"].dropna()})
    said = f"{len(names)} commits, listed below" if digits < 40 and len(names) > 1 else ", ".join(names)
    return (said or "not known") + (" (with uncommitted changes)" if dirty else "")


def _distinct(scores: pd.DataFrame, column: str) -> str:
    return ", ".join(sorted({str(v) for v in scores[column].dropna()})) or "not known"


def facts(scale: str, found: Results) -> list[tuple[str, str]]:
    """Return scale, seeds, cost and commit, for the head of the page."""
    runs = found.scores.drop_duplicates(["experiment", "seed"])
    seeds = runs.groupby("experiment").size()
    trained = runs[runs["planned_nimg"] > 0]
    control = f", and {len(runs) - len(trained)} untrained" if len(trained) < len(runs) else ""
    fewest, most = seeds.min(), seeds.max()
    training, scoring = measured_scores.total_hours(found)
    return [
        ("Scale", scale),
        ("Trained", f"{trained['experiment'].nunique()} experiments, {len(trained)} runs{control}"),
        ("Seeds", f"{most} each" if fewest == most else f"{fewest} to {most} each"),
        ("Scores", str(len(found.scores))),
        ("Cost", f"{training:.2f} device hours of training, {scoring:.2f} of scoring"),
        ("Commit", commit(found.scores, 10)),
    ]


def render(context: Mapping[str, Any], template: str = "page.html.j2") -> str:
    """Fill a template; text is escaped, an undefined name is an error."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(context)


def context(scale: "Scale", checked: Checked, figures: list[drawing.Chart]) -> dict[str, Any]:
    """Return what the template shows of a scale."""
    found = checked.measured.results
    views = {table.name: view(table) for table in checked.tables}
    runs = views.pop("runs")
    status = checked.verdicts["status"].value_counts()
    claims = list(finding.claims(checked))
    samples = pictures.rows(scale.folder, found.scores)
    papers = _noted_once(views.values())
    apart = gaps.gaps(checked)
    sizes = {name: one["count"] for name, one in scale.definitions.datasets.items() if "count" in one}
    listing, barred = checked.listing(), checked.verdicts["verdict"] == "not-comparable"
    return {
        "scale": scale.params.scale,
        "warnings": [*overlay_warning(scale), *warnings(found)],
        "answers": finding.answers(checked.claims),
        "findings": finding.findings(found, sizes),
        "sizes": sizes,
        "comparability": finding.comparability(checked),
        "claims": claims,
        "claim_counts": [(v, sum(c["verdict"] == v for c in claims), s) for v, s in finding.SYMBOLS.items()],
        "claims_table": view(checked.claims_table()) if claims else None,
        "facts": facts(scale.params.scale, found),
        "counts": [(name, int(status.get(name, 0))) for name in STATUS_CLASSES],
        "reasons": finding.reasons(checked),
        "verdicts": view(replace(listing, data=listing.data[~barred], note="")),
        "barred": view(replace(listing, data=listing.data[barred], note="")),
        "scores": measured_scores.score_table(found),
        "protocols": measured_scores.protocol_lines(found.scores),
        "places": drawing.colour_indices(found.scores),
        "samples": [row for row in samples if not row["stand_in"]],
        "drawn": [row for row in samples if row["stand_in"]],
        "charts": [one for one in figures if one.name.startswith("fid-")],
        "scorer_charts": [one for one in figures if one.name.startswith("scorers-")],
        "losses": [one for one in figures if one.name.startswith("losses-")],
        "copies": copies.tables(scale.folder, found.scores),
        "distances": copies.HEADINGS,
        "gaps": [row for row in apart if not row["on_the_way"]],
        "gaps_on_the_way": [row for row in apart if row["on_the_way"]],
        "quirks": gaps.open_settings(apart, checked),
        "fields": [view(table) for table in field_worth.tables(scale.checkout)],
        "claims_verified": verified.claims(scale.checkout),
        "runs": runs,
        "papers": [table for table in papers if table["rows"]],
        "unmeasured": [table for table in papers if not table["rows"]],
        "costs": measured_scores.costs(found),
        "provenance": provenance(found.scores),
        "light": drawing.palette(drawing.LIGHT),
        "dark": drawing.palette(drawing.DARK),
    }


def _noted_once(tables: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return tables whose notes leave out the sentences that stand above already, but those on `this table`."""
    said, out = set[str](), []
    for table in sorted(tables, key=lambda table: not table["rows"]):  # the order on the page
        sentences = re.split(r"(?<=\.) ", table["note"])
        kept = [one for one in sentences if one not in said or "this table" in one]
        out.append(table | {"note": " ".join(kept)})
        said |= set(sentences)
    return out


def write(scale: "Scale", checked: Checked) -> Path:
    """Write the page of a scale, and every figure of it as an SVG file beside it.

    Returns:
        the page's path.
    """
    found, folder = checked.measured.results, scale.folder.report
    figures = charts.every(found, checked.measured.comparisons)
    for old in (path for suffix in ("svg", "png") for path in folder.glob(f"*.{suffix}")):  # of an earlier page
        if old.name not in {f"{one.name}.svg" for one in figures}:
            old.unlink()
    for one in figures:
        write_text(folder / f"{one.name}.svg", one.svg)
    write_text(folder / "index.html", render(context(scale, checked, figures)))
    return folder / "index.html"
