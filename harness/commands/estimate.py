"""`harness estimate`: what a scale will cost."""

from pathlib import Path

import click

from harness.commands.options import root_option, scale_device_option


@click.command("estimate")
@click.argument("scale", required=False)
@click.option("--gpu", help="A card of experiments/devices.yaml: h100, h200, a100, v100, rtx4090; it need not be here.")
@click.option("--by", type=click.Choice(["table", "experiment"]), default="table", show_default=True)
@scale_device_option
@click.option("--json", "as_json", is_flag=True, help="Print seconds and bytes as JSON.")
@root_option
def command(scale: str | None, gpu: str | None, by: str, device: str | None, as_json: bool, root: Path | None) -> None:
    """Print hours, days and disk that SCALE will take: a scale's name or folder; default: the scale at the root.

    A training is as fast as recorded ones of the same networks on the same device; where there is none, its operations
    are counted, and the table says so. Without --gpu the estimate is for this machine, on the scale's device.

    \b
    Example:
      harness estimate paper --gpu h100
      harness estimate results/mini --by experiment --json
    """
    import json

    from harness.config.experiments import open_scale
    from harness.device import check_device
    from harness.doctor import devices, estimate_text
    from harness.doctor.estimate import estimate
    from harness.errors import HarnessError
    from harness.paths import Checkout
    from harness.pipeline.plan import find_problems
    from harness.pipeline.suite import params_of

    if gpu and device:
        raise click.UsageError("--gpu names a card, --device one of this machine; give one of them.")
    checkout = Checkout.clone(root)
    opened = open_scale(params_of(checkout, scale))
    runs, problems = find_problems(opened)
    if problems:
        raise HarnessError("\n".join(problems))
    where = "cuda" if gpu else check_device(device or opened.params.device)
    machine = devices.machine(opened.checkout, where, opened.params.threads, gpu)
    found = estimate(opened, runs, machine)
    if as_json:
        click.echo(json.dumps(estimate_text.document(found, by), indent=2))
        return
    click.echo(estimate_text.table(found, by))
    for sentence in estimate_text.sentences(found):
        click.echo(sentence)
