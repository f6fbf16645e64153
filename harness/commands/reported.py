"""`harness reported`: the ledger's rows, a checklist of the unverified ones, and confirmations."""

from pathlib import Path
from typing import Any

import click

from harness.commands.options import root_option

METRIC = click.Choice(["is", "fid", "kid"])
CONFIDENCE = click.Choice(["verified", "secondary", "unverified"])


@click.command("reported")
@click.argument("name", required=False)
@click.option("--dataset", help="Rows of this data set only.")
@click.option("--metric", type=METRIC, help="Rows of this metric only.")
@click.option("--confidence", type=CONFIDENCE, help="Rows of this confidence only.")
@click.option("--unverified", is_flag=True, help="A checklist of numbers that nobody has seen in their source.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects instead of a table.")
@click.option(
    "--confirm", multiple=True, metavar="ROW", help="Record that ROW was checked: FILE.csv:LINE, row or table."
)
@click.option("--by", metavar="WHO", help="Who checked it; default: git's user.name.")
@click.option("--against", metavar="SOURCE", help="What it was checked against; default: the row's own paper.")
@click.option("--value", metavar="X", help="The source prints X, not what the ledger says.")
@click.option("--std", metavar="S", help="The source prints S for the standard deviation.")
@root_option
def command(
    name: str | None,
    unverified: bool,
    as_json: bool,
    confirm: tuple[str, ...],
    by: str | None,
    against: str | None,
    value: str | None,
    std: str | None,
    root: Path | None,
    **filters: str | None,
) -> None:
    """List reported scores: all, or those of NAME (a row, a table, a prefix, a data set, or FILE.csv:LINE).

    With --confirm, a number that somebody has seen in its source becomes `verified`: from then on it enters tables and
    verdicts. Who checked it, against what and when stands in the ledger's own csv.

    \b
    Example:
      harness reported T4-model-scaling
      harness reported --unverified
      harness reported --confirm transgan.csv:27 --by 'A. Reader' --against 'arXiv:2102.07074v2, table 1'
    """
    import json

    from harness.comparison import confirm as ledger_rows
    from harness.comparison import reported
    from harness.comparison.table_formats import plain
    from harness.paths import Checkout

    folder = (Checkout.clone(root) if confirm else Checkout.find(root)).reported
    if confirm:
        if name is not None or unverified or as_json or filters["confidence"] is not None:
            raise click.UsageError("--confirm goes with --by, --against, --value, --std, --dataset and --metric only.")
        check = ledger_rows.Check(by or _user(folder), against)
        for row in ledger_rows.confirm(folder, confirm, check, value, std, **filters):
            click.echo(_said(row))
        return
    if any(text is not None for text in (by, against, value, std)):
        raise click.UsageError("--by, --against, --value and --std say something of a row: name it with --confirm ROW.")
    ledger = reported.load(folder)
    if unverified:
        filters["confidence"] = "unverified"
    rows = ledger_rows.select(ledger, name, **filters)
    if as_json:
        click.echo(json.dumps(ledger_rows.as_json(rows), indent=2, ensure_ascii=False))
    elif unverified:
        click.echo(ledger_rows.checklist(rows, ledger), nl=False)
    else:
        click.echo(plain(ledger_rows.listing(rows)))


def _said(row: dict[str, Any]) -> str:
    checked = f"checked by {row['checked_by']} against {row['checked_against']} on {row['checked_on']}"
    return f"{row['file']}:{row['line']} {row['link']}: {row['metric'].upper()} {row['printed']}, verified ({checked})"


def _user(folder: Path) -> str:
    """Return git's user.name."""
    import subprocess

    from harness.errors import HarnessError

    try:
        done = subprocess.run(["git", "config", "user.name"], cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        name = ""
    else:
        name = done.stdout.strip()
    if not name:
        raise HarnessError("nobody is named: git knows no user.name; say who checked the row with --by WHO.")
    return name
