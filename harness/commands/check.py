"""`harness check`: records, ledger and tolerances -> verdicts, and an exit code for CI."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.options import FOLDER, foreign_option, scale_options

if TYPE_CHECKING:
    from harness.comparison.check import Checked
    from harness.config.experiments import Scale


@click.command("check")
@scale_options
@click.option("--write", "writing", is_flag=True, help="Write OUT/check and exit 0, as a stage of the pipeline does.")
@click.option(
    "--record",
    "setting",
    metavar="SETTING",
    help="Add the scores to results/history.csv and exit 0; SETTING says what may move them, e.g. '2 threads, AVX2'.",
)
@click.option(
    "--require",
    multiple=True,
    metavar="EXPERIMENT",
    help="Fail if this experiment is not-comparable or has too few runs; repeatable.",
)
@foreign_option
@click.option(
    "--records",
    "contributed",
    type=FOLDER,
    metavar="DIR",
    help="Examine records that somebody else contributes, which DIR/records holds, and judge them alone.",
)
def command(
    scale: "Scale",
    writing: bool,
    setting: str | None,
    require: tuple[str, ...],
    others: tuple[Path, ...],
    contributed: Path | None,
) -> None:
    """Print the verdicts of a scale; exit 0 (pass), 1 (fail) or 2 (all is not-comparable).

    Verdicts are made from the records; what `harness tables` and `--write` left is only compared with them.

    With --records, every record of DIR is held against the others there and against this checkout: seals, hashes,
    place, recipe, versions, data, protocol, copies of each other or of the scale's own. Only if all are sound are there
    verdicts; else the exit code is 1.

    Example: harness check --params results/paper --require t4-transgan-s
    """
    if contributed is not None:
        if writing or setting is not None or require or others:
            raise click.UsageError("--records goes with none of --write, --record, --require and --foreign.")
        _examine(scale, contributed)
    from harness.comparison import check, history
    from harness.errors import HarnessError, nearest

    if setting is not None and scale.params.overlay:
        raise HarnessError(
            f"{scale.path}: has the overlay '{scale.params.overlay}', and {scale.checkout.history} holds scores made "
            "without one; record the scale itself."
        )
    checked = check.check(scale, others)
    for name in require:
        if name not in checked.measured.experiments:
            near = nearest(name, checked.measured.experiments)
            raise click.BadParameter(f"unknown experiment '{name}'.{near}", param_hint="--require")
    for remark in checked.measured.remarks:
        click.echo(remark, err=True)
    if setting is not None:
        path = scale.checkout.history
        click.echo(f"{path}: {history.record(checked.measured.results.scores, path, setting)} scores added")
        click.echo(f"one run under other settings: {history.spread(history.read(path))}")
        return
    if writing:
        click.echo(f"{check.write(scale, checked)}: {len(checked.verdicts)} verdicts")
        return
    _print(checked)
    for sentence in () if others else check.stale(scale, checked):  # what is written has no foreign rows
        click.echo(sentence, err=True)
    for name in require:
        if check.undecided(checked.verdicts, name):
            click.echo(f"required: {name} has neither a pass nor a fail, or too few runs under a score")
    sys.exit(check.exit_code(checked.verdicts, require))


def _print(checked: "Checked") -> None:
    from harness.comparison.table_formats import plain

    click.echo(plain(checked.listing()))
    if checked.claims["seeds"].ne("").any():  # a row of some claim is scored at this scale
        click.echo(f"\n{plain(checked.claims_table())}")


def _examine(scale: "Scale", folder: Path) -> None:
    """Print what is wrong with contributed records and their verdicts, and exit."""
    from harness.comparison import check
    from harness.comparison.table_formats import plain
    from harness.pipeline.contributed import examine

    found = examine(scale, folder)
    click.echo(plain(found.findings))
    if found.checked is None:
        sys.exit(1)
    for remark in found.checked.measured.remarks:
        click.echo(remark, err=True)
    click.echo()
    _print(found.checked)
    sys.exit(check.exit_code(found.checked.verdicts))
