"""`harness status`: how far a scale is."""

from pathlib import Path

import click

from harness.commands.options import params_option, root_option


@click.command("status")
@click.argument("scale_name", metavar="[SCALE]", required=False)
@params_option
@root_option
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects instead of a table.")
def command(scale_name: str | None, params_file: Path | None, root: Path | None, as_json: bool) -> None:
    """Show how far each training of SCALE is: stage, images seen, images/s, time left, last score.

    Below, what the last `harness launch` in this checkout runs, or could not finish.

    Read from checkpoints, histories and records; works while trainings run, here or on another machine that shares the
    folder. Without SCALE: the scale that --params names, or the nearest one.

    \b
    Example:
      harness status
      harness status mini --json
    """
    import dataclasses
    import json

    from harness.config.experiments import find_scale
    from harness.paths import Checkout
    from harness.pipeline import suite
    from harness.pipeline.status import status

    if scale_name is not None and params_file is not None:
        raise click.UsageError("SCALE and --params name the same thing; give one of them.")
    if scale_name is not None:
        params_file = suite.params_of(Checkout.clone(root), scale_name)
    scale = find_scale(root, params_file)
    rows = status(scale)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
        return
    _print(scale.params.scale, rows)
    _print_launch(scale.checkout.root)


def _print(scale: str, rows: list) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"scale {scale}", title_justify="left")
    for name in ("run", "stage", "images", "of", "images/s", "left", "last score"):
        table.add_column(name, justify="right" if name in ("images", "of", "images/s", "left") else "left")
    for row in rows:
        table.add_row(
            *(row.run, row.stage, f"{row.nimg:,}", f"{row.length_nimg:,}"),
            *(_speed(row.images_per_sec), _duration(row.left_sec), row.score),
        )
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=200)
    console.print(table)


def _speed(images_per_sec: float | None) -> str:
    if images_per_sec is None:
        return ""
    return f"{images_per_sec:,.0f}" if images_per_sec >= 100 else f"{images_per_sec:.3g}"


def _print_launch(root: Path) -> None:
    from harness.cluster.shown import DONE, last_launch
    from harness.cluster.view import table

    stages = last_launch(root)
    if stages:
        from rich.console import Console

        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=200)
        console.print("last launch of this checkout:")
        console.print(table(stages, [row.name for row in stages if row.state not in DONE]))


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"
