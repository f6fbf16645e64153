"""`harness check`: tables and tolerances -> verdicts, and an exit code for CI."""

import sys
from pathlib import Path

import click


@click.command("check")
@click.option("--out-dir", type=click.Path(path_type=Path), help="Results folder; default: the params file's.")
@click.option("--params", "params_file", type=click.Path(path_type=Path), default="params.yaml", show_default=True)
@click.option("--write", "writing", is_flag=True, help="Make the verdicts from OUT/tables, write OUT/check and exit 0.")
@click.option("--record", is_flag=True, help="Add the scores to results/history.csv, the regression lane's reference.")
@click.option(
    "--require", multiple=True, metavar="EXPERIMENT", help="Fail if this experiment has no verdict; repeatable."
)
def command(
    out_dir: Path | None,
    params_file: Path,
    writing: bool,
    record: bool,
    require: tuple[str, ...],
) -> None:
    """Print the verdicts of a scale; exit 0 (pass), 1 (fail) or 2 (nothing comparable).

    Example: harness check --out-dir results/paper --require transgan-s-diffaug
    """
    import pandas as pd

    from harness.commands.tables import folders
    from harness.comparison import check
    from harness.config import experiments

    out, root = folders(out_dir, params_file)
    history = root / "results" / "history.csv"
    known = experiments.load(root)
    for name in require:
        experiments.pick(name, known, "experiment")
    if record:
        scores = pd.read_csv(out / "tables" / "scores.csv", dtype={"snapshot": str, "protocol_id": str})
        click.echo(f"{history}: {check.record(scores, history)} scores added")
    if writing:
        found = check.write(out, root / "experiments" / "tolerances.yaml", history)
        click.echo(f"{out / 'check'}: {len(found)} verdicts")
        return
    found = check.read(out)
    click.echo(check.plain(check.listing(found)))
    for name in require:
        if check.undecided(found, name):
            click.echo(f"required: {name} has no verdict")
    sys.exit(check.exit_code(found, require))
