"""Miniatures in the paper's tables: a narrow or short experiment beside the row that it stands for, never compared."""

from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from harness.comparison import run_tables, words
from harness.comparison.protocols import common_protocols
from harness.comparison.run_tables import REFERENCE_SCORERS
from harness.comparison.table_formats import NONE, Words, as_text
from harness.config import schema

DATA = ("miniature", *(f"miniature_{name}" for name in ("fid", "fid_sd", "seeds", "layer", "nimg", "dataset")))


def _score(row: Mapping[str, Any]) -> str:
    if pd.isna(row["miniature_fid"]):
        return NONE
    said = words.mean_sd("miniature_fid", 2)(row)
    images = words.count(row["miniature_nimg"])
    return f"{said} ({row['miniature_dataset']}, {row['miniature_layer']} channels, {images} images seen)"


WORDS: Words = {
    "miniature": as_text("miniature"),
    "its FID, never comparable": _score,
}
NOTE = (
    " A miniature is a narrower network, trained for less, scored on another scale of FID: it answers the row's "
    "question in small, and its score is never comparable with the reported one."
)


def beside_reported(columns: Words) -> dict[str, Any]:
    """Return the columns of a paper's table with those of miniatures right of the reported scores."""
    out: dict[str, Any] = {}
    for name, say in columns.items():
        out[name] = say
        if name == "FID reported":
            out |= WORDS
    return out


def beside(
    names: Collection[str], scores: pd.DataFrame, experiments: Mapping[str, schema.Experiment]
) -> list[dict[str, Any]]:
    """Return the cells `DATA` of every scored miniature of experiments `names`: its last snapshot, seeds together.

    Of its scores those of the first scorer of `REFERENCE_SCORERS`, under the protocol that most models of the scale
    share.
    """
    common, out = common_protocols(scores), []
    for name, one in sorted(experiments.items()):
        if one.stands_for not in names:
            continue
        mine = scores[(scores["experiment"] == name) & (scores["snapshot"] == "last") & scores["fid"].notna()]
        for scorer in REFERENCE_SCORERS:
            part = mine[(mine["scorer"] == scorer) & (mine["protocol"] == common.get(scorer))]
            if len(part):
                fid, sd = run_tables.mean_sd(part["fid"])
                first = part.iloc[0]
                data = first["trained_on"] or first["dataset"]
                values = (name, fid, sd, len(part), int(first["layer"]), int(first["nimg"]), data)
                out.append(dict(zip(DATA, values, strict=True)))
                break
    return out
