"""`harness experiments`: what can be run."""

from pathlib import Path

import click

from harness.commands.options import root_option


@click.command("experiments")
@click.option("--scale", help="Only those of experiments/suites/SCALE.yaml.")
@click.option("--dataset", help="Only those on this data set.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects instead of a table.")
@root_option
def command(scale: str | None, dataset: str | None, as_json: bool, root: Path | None) -> None:
    """List every experiment: data, networks, recipe, images of its full training, scales with seeds, ledger rows.

    `harness estimate SCALE` says what a scale costs in hours.

    \b
    Example:
      harness experiments --scale quick
      harness experiments --dataset cifar10 --json
    """
    import json

    from harness.paths import Checkout
    from harness.pipeline import experiment_list

    found = experiment_list.rows(Checkout.find(root), scale, dataset)
    click.echo(json.dumps(found, indent=2) if as_json else experiment_list.table(found))
