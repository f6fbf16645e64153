"""`harness adopt`: a training made elsewhere -> a scale, as if its stages had run here."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.options import FOLDER, scale_options

if TYPE_CHECKING:
    from harness.config.experiments import Scale


@click.command("adopt")
@click.argument("folder", type=FOLDER)
@scale_options
def command(folder: Path, scale: "Scale") -> None:
    """Take trainings that another machine made, with their dumps and scores, into the scale.

    FOLDER is a scale's folder as `harness train`, `sample` and `score` left it there (it holds records and runs), or
    one training's: SCALE/runs/EXPERIMENT/seedN. Seals, hashes, recipe, versions, data and protocol must be those that
    the scale plans; else nothing is changed. Afterwards `dvc repro` finds the stages up to date.

    Example: harness adopt /mnt/gpu-box/results/paper/runs/t4-transgan-s/seed0 --params results/paper
    """
    from harness.pipeline.adopt import adopt

    for one in adopt(scale, folder):
        click.echo(f"{one.run.experiment}, seed {one.run.seed}, trained on {one.device}: {', '.join(one.stages)}")
        for remark in one.remarks:
            click.echo(f"warning: {remark}", err=True)
