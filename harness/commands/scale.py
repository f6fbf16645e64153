"""`harness scale`: a suite -> the params.yaml and dvc.yaml of its scale."""

from pathlib import Path

import click

from harness.paths import Checkout


@click.group("scale")
def command() -> None:
    """Generate the files of a scale from experiments/suites/SCALE.yaml, or start a scale of one's own.

    Example: harness scale write quick
    """


@command.command("write")
@click.argument("scale", required=False)
@click.option("--overlay", help="An entry of experiments/overlays.yaml, laid over every recipe.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the files; default: the scale's own.")
@click.option(
    "--root", type=click.Path(path_type=Path), help="Checkout to work on; default: the one around this folder."
)
def write(scale: str | None, overlay: str | None, out: Path | None, root: Path | None) -> None:
    """Write params.yaml and dvc.yaml of SCALE, or of every scale.

    A suite with a value that cannot be is refused, and so is a folder that holds another scale; then nothing is
    written.

    \b
    Example:
      harness scale write
      harness scale write paper --overlay fast --out results/paper-fast
    """
    from harness.pipeline import suite

    checkout = Checkout.clone(root)
    if scale is None and (overlay or out):
        raise click.UsageError("--overlay and --out need a SCALE.")
    scales = [scale] if scale else suite.names(checkout)
    for path in suite.write(suite.generate(checkout, name, out, overlay) for name in scales):
        click.echo(path)


@command.command("copy")
@click.argument("old")
@click.argument("new")
@click.option(
    "--root", type=click.Path(path_type=Path), help="Checkout to work on; default: the one around this folder."
)
def copy(old: str, new: str, root: Path | None) -> None:
    """Start the suite NEW as a copy of OLD, with its params.yaml and dvc.yaml, and OLD's resources.yaml if it has one.

    Example: harness scale copy short mine
    """
    from harness.pipeline import suite

    for path in suite.copy(Checkout.clone(root), old, new):
        click.echo(path)
