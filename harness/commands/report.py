"""`harness report`: verdicts, tables, pictures and curves -> one static page."""

from pathlib import Path

import click


@click.command("report")
@click.option("--out-dir", type=click.Path(path_type=Path), help="Results folder; default: the params file's.")
@click.option("--params", "params_file", type=click.Path(path_type=Path), default="params.yaml", show_default=True)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Packed data sets; default: data/ of the repository.")
def command(out_dir: Path | None, params_file: Path, data_dir: Path | None) -> None:
    """Write OUT/report/index.html: tables with verdicts, samples beside real images, training curves.

    The page is one file and asks no network for anything.

    Example: harness report --out-dir results/quick
    """
    from harness.commands.tables import folders
    from harness.report import page

    out, root = folders(out_dir, params_file)
    click.echo(page.write(out, data_dir or root / "data"))
