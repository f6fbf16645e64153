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

    Example: harness plan --params results/mini
    """
    from harness.pipeline import suite
    from harness.pipeline.plan import write_plan

    runs, limit = write_plan(scale), scale.params.limit_nimg
    for key, run in runs.items():
        click.echo(f"{key}: {run.dataset}, {run.recipe.length_nimg:,} of {run.planned_nimg:,} images", err=True)
    longest = max((run.recipe.length_nimg for run in runs.values()), default=0)
    if limit is not None and not any(run.recipe.length_nimg == limit < run.planned_nimg for run in runs.values()):
        click.echo(
            f"warning: limit_nimg {limit:,} cuts nothing short: no recipe has more than {longest:,} images", err=True
        )
    for sentence in suite.waiting(scale):
        click.echo(f"warning: {sentence}", err=True)
