"""The gap report: how far a measured score lies from a reported one, and what of it the records can explain."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from harness.comparison import words
from harness.comparison.check import Checked
from harness.comparison.table_formats import NONE
from harness.report.finding import REASONS, SCORERS

FEW_SEEDS = 3  # fewer say little of the spread; the seeds of `training.min_seeds` in experiments/tolerances.yaml


def gaps(checked: Checked) -> list[dict[str, Any]]:
    """Return a row per measured score that has a reported one, comparable or not: both, distance and likely causes.

    The distance is measured minus reported, in standard deviations over our seeds; none for a single seed.
    """
    lines = checked.verdicts[checked.verdicts["kind"] != "regression"]
    out = []
    for line in lines[lines["reported"].notna()].to_dict("records"):
        metric = line["metric"]
        away = line["measured"] - line["reported"]
        sd = line["sd"]
        out.append(
            {
                "experiment": line["experiment"],
                "row": words.row_name(line),
                "score": f"{metric.upper()}, {SCORERS.get(line['scorer'], line['scorer'])}, {line['snapshot']}",
                "reported": words.number(metric, line["reported"]),
                "measured": words.number(metric, line["measured"]),
                "gap": f"{away:+.2f}",
                "sds": f"{away / sd:+.1f}" if pd.notna(sd) and sd > 0 else NONE,
                "causes": causes(line) or ["none that the records know"],
            }
        )
    return out


def causes(line: Mapping[str, Any]) -> list[str]:
    """Return what may explain a gap: fields that differ, fields presumed or declared, too few seeds."""
    out = [f"differs: {REASONS.get(name, name)}" for name in line["blocking_fields"]]
    out += [f"presumed of the source: {name}" for name in line["presumed_fields"]]
    out += [f"declared by hand: {name}" for name in line["declared_fields"]]
    if line["seeds"] < FEW_SEEDS:
        out.append(f"{line['seeds']} seed{'s' if line['seeds'] > 1 else ''}")
    return out
