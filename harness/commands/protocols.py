"""`harness protocols`: the named ways of scoring, with their sources."""

from pathlib import Path

import click

from harness.commands.options import root_option


@click.command("protocols")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print objects instead of a table.")
@click.option("--coverage", is_flag=True, help="List every reported row and whether it is planned under its protocol.")
@click.option("--write", is_flag=True, help="With --coverage: write the sums to results/bench.")
@root_option
def command(name: str | None, as_json: bool, coverage: bool, write: bool, root: Path | None) -> None:
    """List the named ways of scoring, or show NAME with the source of every setting.

    \b
    Example:
      harness protocols
      harness protocols autogan-50k --json
      harness protocols --coverage
    """
    import json

    from harness.comparison import named
    from harness.config import experiments, protocols

    if write and not coverage:
        raise click.UsageError("--write goes with --coverage.")
    if coverage:
        from harness.paths import Checkout
        from harness.pipeline import coverage as of_ledger

        checkout = Checkout.clone(root)
        rows = of_ledger.rows(checkout)
        if write:
            of_ledger.write(checkout, rows)
        click.echo(json.dumps(of_ledger.as_json(rows), indent=2) if as_json else of_ledger.table(rows))
        return
    datasets = experiments.load_datasets(root)
    found = protocols.load(root) if name is None else {name: protocols.find(name, root)}
    if as_json:
        objects = [named.as_json(protocol, datasets) for protocol in found.values()]
        click.echo(json.dumps(objects if name is None else objects[0], indent=2))
    else:
        click.echo(named.listing(found, datasets) if name is None else named.page(found[name], datasets))
