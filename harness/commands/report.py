"""`harness report`: verdicts, tables, pictures and curves -> one static page."""

from typing import TYPE_CHECKING

import click

from harness.commands.options import scale_options

if TYPE_CHECKING:
    from harness.config.experiments import Scale


@click.command("report")
@scale_options
def command(scale: "Scale") -> None:
    """Write OUT/report/index.html: tables with verdicts, samples beside real images, training curves.

    The page is one file and asks no network for anything.

    Example: harness report --params results/cpu
    """
    from harness.comparison import check
    from harness.report import page

    click.echo(page.write(scale, check.check(scale)))
