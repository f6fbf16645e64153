"""`harness report`: finding, scores, samples, curves, verdicts and tables -> one static page."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.options import scale_options

if TYPE_CHECKING:
    from harness.config.experiments import Scale


@click.command("report")
@click.option(
    "--with-real",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write instead a page for this machine alone: samples beside real images and their nearest trained images.",
)
@scale_options
def command(scale: "Scale", with_real: Path | None) -> None:
    """Write OUT/report/index.html: the finding, curves, scores, samples, verdicts, the paper's tables.

    The page is one file and asks no network for anything; its figures lie beside it as SVG files, too. No pixel of a
    data set is in it; that of --with-real has them, and lies outside the results.

    Example: harness report --params results/mini
    """
    if with_real is not None:
        from harness.report import with_real as local

        click.echo(local.write(scale, with_real))
        return
    from harness.comparison import check
    from harness.report import page

    click.echo(page.write(scale, check.check(scale)))
