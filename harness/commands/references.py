"""`harness references`: hashes of packed images, for the score stages to depend on."""

from typing import TYPE_CHECKING

import click

from harness.commands.options import scale_options

if TYPE_CHECKING:
    from harness.config.experiments import Scale


@click.command("references")
@click.argument("names", nargs=-1, required=True)
@scale_options
def command(names: tuple[str, ...], scale: "Scale") -> None:
    """Write what scores depend on of the packed data sets NAMES: hashes, counts and how the images were made.

    It is read from their cards; no image is opened.

    Example: harness references cifar10 cifar10-test --params results/paper
    """
    from harness.pipeline import references

    click.echo(references.write(scale, list(names)))
