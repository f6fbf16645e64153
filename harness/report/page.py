"""The report page: what the stages left under `results/<scale>`, as one HTML file that needs nothing beside it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.comparison import words
from harness.comparison.check import Checked
from harness.comparison.table_formats import NONE, Table
from harness.files import replacing, write_text
from harness.paths import ScaleFolder
from harness.records.results import Results
from harness.report import pictures

if TYPE_CHECKING:
    from harness.config.experiments import Scale

CURVES = {"discriminator_loss": "discriminator loss", "generator_loss": "generator loss"}
VERDICT_CLASSES = {
    "within": "good",
    "near": "fair",
    "outside": "bad",
    "too-good": "odd",
    "insufficient-runs": "none",
    "not-comparable": "none",
    "not run": "absent",
}
STATUS_CLASSES = {"pass": "good", "fail": "bad", "undecided": "range", "none": "none"}
NUMBER = re.compile(r"[+-]?\d[\d.]*[kM]?( ± [\d.]+)?( †)?( \(and .* on CPU\))?")


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
    if column == "snapshot":  # a name, also where it is an image count
        return {"text": text, "css": ""}
    return {"text": text, "css": "num" if NUMBER.fullmatch(text) else "long" if len(text) > 24 else ""}


def view(table: Table) -> dict[str, Any]:
    """A table as the template wants it, without columns that say nothing or nothing new."""
    frame = table.frame
    said = {"comparable"} if "verdict FID" in frame else set()  # the verdict names the same fields
    if "source" in frame and frame["source"].nunique() == 1:
        said.add("source")
    empty = {c for c in frame.columns if len(frame) and all(value == NONE for value in frame[c])}
    kept = [c for c in frame.columns if c not in said | empty]
    rows = [
        {"cells": [cell(c, str(row[c])) for c in kept], "muted": row.get("experiment") == "not run"}
        for row in frame.to_dict("records")
    ]
    measured_rows = sum(not row["muted"] for row in rows)
    return {
        "name": table.name,
        "title": table.title,
        "note": table.note,
        "columns": kept,
        "rows": rows,
        "measured_rows": measured_rows,
        "open": bool(measured_rows),
    }


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


def galleries(out: ScaleFolder, found: Results, data: Path) -> list[dict[str, Any]]:
    """Per data set: real images, and beside them the samples of each run, with training grids on the way."""
    blocks = []
    for dataset, part in found.scores.groupby("dataset", sort=True):
        shown = []
        dumps = part.drop_duplicates(["experiment", "seed", "snapshot"])
        for row in dumps.sort_values(["experiment", "seed", "nimg", "snapshot"]).to_dict("records"):
            grid = out.grid(row["experiment"], row["seed"], row["snapshot"])
            if not grid.is_file():
                continue
            scores = part[
                (part["experiment"] == row["experiment"])
                & (part["seed"] == row["seed"])
                & (part["snapshot"] == row["snapshot"])
            ]
            shown.append(
                {
                    "name": row["experiment"],
                    "caption": f"seed {row['seed']}, {row['snapshot']}, {words.count(row['nimg'])} images seen",
                    "scores": ", ".join(
                        f"FID {s['fid']:.1f} ({s['scorer']})" for s in scores.to_dict("records") if pd.notna(s["fid"])
                    ),
                    "picture": pictures.samples(grid),
                    "steps": _steps(out.records(row["experiment"], row["seed"])) if row["snapshot"] == "last" else [],
                }
            )
        if shown:
            stand_in, png = bool(part["stand_in_data"].any()), pictures.real_images(data / str(dataset))
            beside = out.report / f"real-{dataset}.png"
            real = pictures.embedded(png) if stand_in and png is not None else _beside(beside, png)
            blocks.append({"dataset": dataset, "real": real, "stand_in": stand_in, "shown": shown})
    return blocks


def _steps(folder: Path, most: int = 4) -> list[dict[str, str]]:
    """At most `most` training grids, spread over the run, first and last included."""
    grids = sorted(folder.glob("**/grids/*.png"))
    if len(grids) > most:
        grids = [grids[round(i * (len(grids) - 1) / (most - 1))] for i in range(most)]
    names = [f"{words.count(int(g.stem))} images seen" if g.stem.isdigit() else g.stem for g in grids]
    return [{"caption": name, "picture": pictures.samples(g)} for name, g in zip(names, grids, strict=True)]


def charts(found: Results) -> list[dict[str, str]]:
    """Training curves per data set, and FID against images seen where a run has several snapshots."""
    datasets = found.scores.drop_duplicates("experiment").set_index("experiment")["dataset"]
    out = []
    have = [c for c in CURVES if c in found.curves and found.curves[c].notna().any()]
    history = found.curves.assign(dataset=found.curves["experiment"].map(datasets))
    if have:
        for dataset, part in history.groupby("dataset", sort=True):
            svg = pictures.curves(part, tuple(have), tuple(CURVES[c] for c in have))
            out.append({"title": f"Losses, {dataset}", "svg": svg})
    for (dataset, scorer), part in found.scores.groupby(["dataset", "scorer"], sort=True):
        points = part.groupby(["experiment", "seed"])["nimg"].transform("nunique")
        several = part[points > 1]
        if len(several):
            svg = pictures.curves(several, ("fid",), (f"FID ({scorer})",))
            out.append({"title": f"FID on the way, {dataset}", "svg": svg})
    return out


def provenance(scores: pd.DataFrame) -> list[tuple[str, str]]:
    """How the scores were made, for the foot of the page."""

    def distinct(column: str) -> str:
        return ", ".join(sorted({str(v) for v in scores[column].dropna()})) or "not known"

    dirty = " (with uncommitted changes)" if scores["git_dirty"].fillna(False).astype(bool).any() else ""
    return [
        ("Scale", distinct("scale")),
        ("Commit", distinct("git_commit") + dirty),
        ("Inception weights (sha256)", distinct("inception_sha256")),
        ("Real images (sha256 of the pixels)", distinct("real_pixels_sha256")),
        ("Scorers", distinct("scorer")),
        ("Devices", distinct("device")),
    ]


def render(context: Mapping[str, Any]) -> str:
    """Fill the template; text is escaped, an undefined name is an error."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(context)


def _beside(path: Path, png: bytes | None) -> str | None:
    """Write real images beside the page, never into it: the page may be published, a data set's pixels may not."""
    path.unlink(missing_ok=True)
    if png is None:
        return None
    with replacing(path) as temporary:
        temporary.write_bytes(png)
    return path.name


def write(scale: "Scale", checked: Checked) -> Path:
    """Write the page of a scale: verdicts, tables, pictures from its records, real images from its data sets.

    Returns:
        the page's path.
    """
    found = checked.measured.results
    views = [view(table) for table in checked.tables]
    measured = [v for v in views if v["name"] in ("runs", "protocol")]
    status = checked.verdicts["status"].value_counts()
    context = {
        "scale": scale.params.scale,
        "warnings": [*overlay_warning(scale), *warnings(found)],
        "counts": [(name, int(status.get(name, 0)), STATUS_CLASSES[name]) for name in STATUS_CLASSES],
        "n_scores": len(found.scores),
        "n_runs": len(found.scores.drop_duplicates(["experiment", "seed"])),
        "verdicts": view(checked.listing()),
        "galleries": galleries(scale.folder, found, scale.checkout.data()),
        "charts": charts(found),
        "measured": measured,
        "papers": [v for v in views if v not in measured],
        "provenance": provenance(found.scores),
    }
    path = scale.folder.report / "index.html"
    write_text(path, render(context))
    return path
