"""The gap report: how far a measured score lies from a reported one, and what of it the records can explain."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from harness.comparison import words
from harness.comparison.check import Checked
from harness.comparison.protocols import common_protocols
from harness.comparison.table_formats import NONE
from harness.config import schema
from harness.report.finding import REASONS, main_scorer

FEW_SEEDS = 3  # fewer say little of the spread; the seeds of `training.min_seeds` in experiments/tolerances.yaml


def gaps(checked: Checked) -> list[dict[str, Any]]:
    """Return a row per measured score that has a reported one, comparable or not: both, distance and likely causes.

    The distance is measured minus reported, in standard deviations over our seeds; none for a single seed. A score
    before the recipe's end is `on_the_way`.
    """
    lines = checked.verdicts[checked.verdicts["kind"] != "regression"]
    known, out = checked.measured.experiments, []
    for line in lines[lines["reported"].notna()].to_dict("records"):
        metric = line["metric"]
        away = line["measured"] - line["reported"]
        sd = line["sd"]
        out.append(
            {
                "experiment": line["experiment"],
                "row": words.row_name(line),
                "score": words.score_name(line),
                "on_the_way": "partial" in line["blocking_fields"],
                "reported": words.number(metric, line["reported"]),
                "measured": words.number(metric, line["measured"]),
                "gap": f"{away:+.2f}",
                "sds": f"{away / sd:+.1f}" if pd.notna(sd) and sd > 0 else NONE,
                "causes": causes(line, len(quirks(line["experiment"], known))) or ["none that the records know"],
            }
        )
    return out


def quirks(name: str, known: Mapping[str, schema.Experiment]) -> list[str]:
    """Return the experiments that change one setting of an experiment's recipe which its sources leave open.

    They are those on the same data set and recipe that answer no row and stand for none, of the networks of an
    experiment that does answer one; e.g. `experiments/tables/transgan_quirks.yaml`.
    """
    if name not in known:
        return []
    recipe = {key: one for key, one in known.items() if _recipe(one) == _recipe(known[name])}
    answering = [_networks(one) for one in recipe.values() if one.reported]
    return [
        key
        for key, one in recipe.items()
        if not (one.reported or one.stands_for or one.checkpoint) and _networks(one) in answering
    ]


def open_settings(rows: list[dict[str, Any]], checked: Checked) -> list[dict[str, str]]:
    """Return every quirk of the rows' recipes: its name, what it changes, and its FID here if it was run."""
    known = checked.measured.experiments
    scores = checked.measured.results.scores
    main = main_scorer(scores)
    alike = (scores["scorer"] == main) & (scores["protocol"] == common_protocols(scores).get(main))
    fids = scores[alike & (scores["snapshot"] == "last")].groupby("experiment")["fid"].mean().dropna()
    names = dict.fromkeys(quirk for row in rows for quirk in quirks(row["experiment"], known))
    return [
        {"name": name, "note": known[name].note, "fid": f"FID {fids[name]:.2f}" if name in fids else "not run here"}
        for name in names
    ]


def _recipe(one: schema.Experiment) -> tuple[str, str]:
    return one.dataset, one.recipe


def _networks(one: schema.Experiment) -> tuple[Any, Any]:
    return one.generator["model"], one.discriminator["model"]


def causes(line: Mapping[str, Any], quirks: int = 0) -> list[str]:
    """Return what may explain a gap: fields that differ, are presumed or declared, too few seeds, open settings."""
    fields = {
        "differs": [REASONS.get(name, name) for name in line["blocking_fields"]],
        "presumed of the source": line["presumed_fields"],
        "declared by hand": line["declared_fields"],
    }
    out = [f"{why}: {', '.join(names)}" for why, names in fields.items() if names]
    if line["seeds"] < FEW_SEEDS:
        out.append(f"{line['seeds']} seed{'s' if line['seeds'] > 1 else ''}")
    if quirks:
        out.append(f"settings that the sources leave open: {quirks}, listed below")
    return out
