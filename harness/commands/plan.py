"""`harness plan`: resolve a scale into one small file per training."""

from typing import TYPE_CHECKING

import click

from harness.commands.options import scale_options

if TYPE_CHECKING:
    from harness.config.experiments import Scale


@click.command("plan")
@scale_options
def command(scale: "Scale") -> None:
    """Resolve every training of a scale and write OUT/plan/EXPERIMENT-seedS.json.

    A stage depends on its own plan file, so changing one recipe reruns that recipe's stages and nothing else.

    Example: harness plan --params results/cpu
    """
    from harness.pipeline import suite
    from harness.pipeline.plan import write_plan

    for key, run in write_plan(scale).items():
        click.echo(f"{key}: {run.dataset}, {run.recipe.length_nimg:,} of {run.planned_nimg:,} images", err=True)
    for sentence in suite.waiting(scale):
        click.echo(f"warning: {sentence}", err=True)
