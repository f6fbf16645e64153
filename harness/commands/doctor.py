"""`harness doctor`: is this machine fit for the chosen scale?"""

from pathlib import Path

import click

MARKS = {"ok": "ok     ", "warning": "warning", "error": "ERROR  "}


@click.command("doctor")
@click.option("--params", "params_file", type=click.Path(path_type=Path), default="params.yaml", show_default=True)
@click.option("--device", help="Device of the estimate (default: cuda if torch sees one, else cpu).")
@click.option("--root", type=click.Path(path_type=Path), help="Repository to look at; default: the one installed.")
@click.option("--json", "as_json", is_flag=True, help="Print findings and estimate as JSON.")
def command(params_file: Path, device: str | None, root: Path | None, as_json: bool) -> None:
    """Check versions, devices, data, weights, results and disk for a scale, and estimate its time and size.

    Nothing is fetched or changed. Exit code 0 if no check is an error, 1 otherwise.

    \b
    Example:
      harness doctor
      harness doctor --params results/cpu/params.yaml --json
    """
    import dataclasses
    import json
    import sys

    import torch

    from harness.doctor.checks import examine
    from harness.paths import find_root

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    findings, cost = examine(params_file, find_root(root), device)
    ok = all(finding.status != "error" for finding in findings)
    if as_json:
        document = {"ok": ok, "findings": [dataclasses.asdict(finding) for finding in findings], "estimate": cost}
        click.echo(json.dumps(document, indent=2))
    else:
        for finding in findings:
            click.echo(f"{MARKS[finding.status]} {finding.area:10} {finding.message}")
        if cost is not None:
            click.echo(_estimate(cost))
    sys.exit(0 if ok else 1)


def _estimate(cost: dict) -> str:
    hours = {part: f"{seconds / 3600:.2f} h" for part, seconds in cost["seconds"].items()}
    basis = sorted({training["basis"] for training in cost["trainings"].values()})
    parts = ", ".join(f"{part} {time}" for part, time in hours.items() if part != "total")
    return (
        f"estimate for scale {cost['scale']} on {cost['device']}: {hours['total']} ({parts}; {' and '.join(basis)}, "
        f"good to a factor of 2 where counted), {cost['bytes']['total'] / 1e9:.2f} GB"
    )
