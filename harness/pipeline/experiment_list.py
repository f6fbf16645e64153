"""What can be run: every experiment with its data, networks, length, the scales that run it and the rows it answers."""

from typing import Any

from tabulate import tabulate

from harness.config import experiments, reader
from harness.config.ranges import Count
from harness.paths import Checkout
from harness.pipeline import suite


def rows(checkout: Checkout, scale: str | None = None, dataset: str | None = None) -> list[dict[str, Any]]:
    """Return one row per experiment, in the order of its files.

    Args:
        checkout: whose experiments.
        scale: those of one suite only.
        dataset: those on one data set only.

    Raises:
        HarnessError: an unknown scale or data set, or something in `experiments/` that cannot be read.
    """
    known = experiments.definitions(checkout.root)
    if dataset is not None:
        experiments.pick(dataset, known.datasets, "data set")
    suites = {name: suite.read(checkout, name).rows() for name in suite.names(checkout)}
    if scale is not None:
        experiments.pick(scale, suites, "suite")
    out = []
    for name, one in known.experiments.items():
        planned = {key: planned_rows[name] for key, planned_rows in suites.items() if name in planned_rows}
        if (scale is not None and scale not in planned) or dataset not in (None, one.dataset):
            continue
        limits = {key: row.limit_nimg for key, row in planned.items() if row.limit_nimg is not None}
        out.append(
            {
                "name": name,
                "dataset": one.dataset,
                "resolution": reader.convert(Count, known.datasets[one.dataset]["resolution"], one.dataset),
                "generator": one.generator.get("model", ""),
                "discriminator": one.discriminator.get("model", ""),
                "recipe": one.recipe,
                "released": one.checkpoint,
                "images": 0 if one.checkpoint else known.recipe(one.recipe, one.changes).length_nimg,
                "scales": {key: len(row.seeds or ()) for key, row in planned.items()},
                "limits": limits,
                "reported": list(one.reported),
                "note": one.note,
            }
        )
    return out


def table(found: list[dict[str, Any]]) -> str:
    """The rows as aligned text; images in millions, `paper x3` for three seeds at scale `paper`."""
    head = ("experiment", "data", "px", "generator", "discriminator", "recipe", "images", "scales", "ledger rows")
    lines = [
        (
            *(row["name"], row["dataset"], row["resolution"], row["generator"], row["discriminator"], row["recipe"]),
            "released" if row["released"] else _millions(row["images"]),
            ", ".join(f"{name} x{seeds}" for name, seeds in row["scales"].items()) or "-",
            ", ".join(row["reported"]) or "-",
        )
        for row in found
    ]
    return tabulate(
        lines, head, tablefmt="plain", disable_numparse=True, colalign=["left"] * 6 + ["right"] + ["left"] * 2
    )


def _millions(images: int) -> str:
    return f"{images / 1e6:,.1f} M" if images >= 100_000 else f"{images:,}"
