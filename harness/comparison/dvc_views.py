"""What `dvc metrics` and `dvc plots` show of a scale: one small file a dump, and one a curve."""

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from harness.comparison import tidy_csv, uncertainty
from harness.files import remove, write_text
from harness.paths import PLOT, ScaleFolder, dump_name, run_name
from harness.records.results import GROUP, Results
from harness.records.score_record import METRICS

LOSSES = ("discriminator_loss", "generator_loss")


def metrics(scores: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return the scores of each dump: its name -> {fid_tf, is_tf, fid_clean, kid_clean, ...}; NaN is left out.

    A protocol that is not the scale's own becomes part of the name, as in `fid_tf_mimicry`. Beside a score stand
    `..._evaluation` and `..._training`, its two uncertainties (`comparison.uncertainty`), where they are known.
    """
    out: dict[str, dict[str, float]] = {}
    for _, seeds in scores.groupby([*GROUP], sort=False, dropna=False):
        for i in seeds.index:
            part = seeds.loc[[i]]
            one = part.iloc[0].to_dict()
            mine = out.setdefault(dump_name(one["experiment"], one["seed"], one["snapshot"]), {})
            other = "" if one["protocol"] == one["scale"] else f"_{one['protocol']}"
            for metric, column in METRICS.items():
                if pd.notna(one[column]):
                    key = f"{metric}_{one['scorer']}{other}"
                    known = uncertainty.cells(part, seeds, column, key)
                    mine[key] = float(one[column])
                    mine |= {key: value for key, value in known.items() if value is not None}
    return out


def plots(results: Results) -> dict[str, pd.DataFrame]:
    """Return the curves against images seen: losses of the trainings, and FID where a run has several snapshots."""
    out = {}
    for loss in LOSSES:
        if loss in results.curves:
            out[loss] = _curve(results.curves, loss)
    for (scorer, protocol), part in results.scores.groupby(["scorer", "protocol"], sort=True):
        several = part[part.groupby(["experiment", "seed"])["nimg"].transform("nunique") > 1]
        other = "" if (part["protocol"] == part["scale"]).all() else f"_{protocol}"
        out[f"fid_{scorer}{other}"] = _curve(several, "fid")
    return {name: curve for name, curve in out.items() if len(curve)}


def _curve(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    names = [run_name(e, s) for e, s in zip(rows["experiment"], rows["seed"], strict=True)]
    values = {"run": names, "nimg": rows["nimg"].tolist(), "value": rows[column].tolist()}
    return pd.DataFrame(values, columns=PLOT).dropna().drop_duplicates().sort_values(["run", "nimg"])


def files(results: Results) -> tuple[dict[str, str], dict[str, str]]:
    """Return the contents of the two folders: file name -> text."""
    scores = {f"{name}.json": json.dumps(values, indent=2) + "\n" for name, values in metrics(results.scores).items()}
    curves = {f"{name}.csv": tidy_csv.text(curve) for name, curve in plots(results).items()}
    return scores, curves


def write(folder: ScaleFolder, results: Results) -> None:
    """Write `metrics/` and `plots/` of a scale; files of what is no longer planned are removed."""
    scores, curves = files(results)
    empty = folder.placeholders()
    for place, found in ((folder.metrics, scores), (folder.plots, curves)):
        replace(place, {path.name: text for path, text in empty.items() if path.parent == place} | found)


def replace(folder: Path, wanted: Mapping[str, str]) -> None:
    """Write files into a folder and remove all others from it."""
    for name, text in wanted.items():
        write_text(folder / name, text)
    for path in sorted(folder.iterdir()):
        if path.name not in wanted and path.is_file():
            remove(path)
