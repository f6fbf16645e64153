"""`harness report`: finding, scores, samples, curves, verdicts and tables -> one static page."""

from typing import TYPE_CHECKING

import click

from harness.commands.options import scale_options

if TYPE_CHECKING:
    from harness.config.experiments import Scale


@click.command("report")
@scale_options
def command(scale: "Scale") -> None:
    """Write OUT/report/index.html: the finding, curves, scores, samples, verdicts, the paper's tables.

    The page is one file and asks no network for anything; its figures lie beside it as SVG files, too. No pixel of a
    data set is in it.

    Example: harness report --params results/cpu
    """
    from harness.comparison import check
    from harness.report import page

    click.echo(page.write(scale, check.check(scale)))
