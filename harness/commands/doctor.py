"""`harness doctor`: is this machine fit for the chosen scale?"""

from pathlib import Path

import click

from harness.commands.options import params_option, root_option
from harness.device import NAMES, is_device

MARKS = {"ok": "ok     ", "warning": "warning", "error": "ERROR  "}


def device_name(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse what is written like no device; whether it is there is one of the findings."""
    if value is not None and not is_device(value):
        raise click.BadParameter(f"'{value}' is none of {NAMES}.")
    return value


@click.command("doctor")
@params_option
@root_option
@click.option("--device", callback=device_name, help=f"Where the scale will run: {NAMES}; default: the scale's own.")
@click.option("--json", "as_json", is_flag=True, help="Print findings and estimate as JSON.")
def command(params_file: Path | None, root: Path | None, device: str | None, as_json: bool) -> None:
    """List all that a scale lacks: versions, devices, snapshots, checkpoints, data, weights, disk; estimate its cost.

    Nothing is fetched or changed. Exit code 0 if no check is an error, 1 otherwise.

    \b
    Example:
      harness doctor
      harness doctor --params results/mini --json
    """
    import dataclasses
    import json
    import sys

    from harness.config.experiments import scale_file
    from harness.doctor import estimate_text
    from harness.doctor.checks import examine
    from harness.paths import find_root

    path = scale_file(root, params_file)
    findings, cost = examine(path, find_root(path.parent), device)
    ok = all(finding.status != "error" for finding in findings)
    if as_json:
        document = {"ok": ok, "findings": [dataclasses.asdict(finding) for finding in findings]}
        document["estimate"] = cost if cost is None else estimate_text.document(cost, "table")
        click.echo(json.dumps(document, indent=2))
    else:
        for finding in findings:
            click.echo(f"{MARKS[finding.status]} {finding.area:10} {finding.message}")
        if cost is not None:
            click.echo("\n".join(estimate_text.sentences(cost)))
    sys.exit(0 if ok else 1)
