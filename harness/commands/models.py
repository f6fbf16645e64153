"""`harness models`: the catalogue, with sizes."""

from pathlib import Path

import click

from harness.commands.options import root_option


@click.command("models")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects instead of a table.")
@click.argument("names", nargs=-1)
@root_option
def command(as_json: bool, names: tuple[str, ...], root: Path | None) -> None:
    """List every model and resolution: parameters, multiply-accumulates, tables, and how far each has come here.

    `exact` (its golden test passed), `trained` and `scored` (on real data) are read from results/, not typed in.

    \b
    Example:
      harness models
      harness models sngan transgan-s --json
    """
    import json

    from harness.paths import Checkout
    from harness.pipeline import catalogue

    rows = catalogue.rows(names, Checkout.find(root))
    click.echo(json.dumps(rows, indent=2) if as_json else catalogue.table(rows))
