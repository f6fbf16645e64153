"""`harness tables`: scores and ledger -> tables."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.options import foreign_option, scale_options

if TYPE_CHECKING:
    from harness.config.experiments import Scale


@click.command("tables")
@scale_options
@click.option("--unverified", is_flag=True, help="Show reported numbers that nobody could verify, marked †.")
@foreign_option
def command(scale: "Scale", unverified: bool, others: tuple[Path, ...]) -> None:
    """Make the paper's tables from the scores that a scale plans: csv, markdown and LaTeX with the same cells.

    Writes OUT/tables (scores.csv and comparisons.csv, tidy, among them), and OUT/metrics and OUT/plots, which `dvc
    metrics` and `dvc plots` show. Records that nobody planned are named and left out. `harness check` adds verdicts.

    Example: harness tables --params results/mini
    """
    from harness.comparison import tables

    measured = tables.measure(scale, unverified, others)
    for remark in measured.remarks:
        click.echo(remark, err=True)
    folder = tables.write(scale, measured, unverified)
    click.echo(f"{folder}: {len(measured.tables)} tables from {len(measured.scores)} scores")
