"""`harness train`: data set and experiment -> generator weights and history."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.options import FOLDER, scale_device_option, scale_options, seed_option, threads_option

if TYPE_CHECKING:
    from harness.config.experiments import Scale


@click.command("train")
@click.argument("experiment")
@seed_option
@scale_device_option
@threads_option
@click.option(
    "--processes",
    type=click.IntRange(1),
    envvar="HARNESS_GPUS",
    help="That train as one, each on its GPU where there are GPUs; default: HARNESS_GPUS, else 1.",
)
@click.option("--checkpoints", type=FOLDER, help="Folder for working state; default: .checkpoints of the checkout.")
@click.option(
    "--stop-after-nimg", "stop_nimg", type=click.IntRange(1), help="Save and leave (exit 143) at this image count."
)
@click.option(
    "--deterministic", is_flag=True, help="Deterministic kernels on a GPU (a CPU repeats bit for bit anyway)."
)
@scale_options
def command(
    experiment: str,
    seed: int,
    device: str | None,
    threads: int | None,
    processes: int | None,
    checkpoints: Path | None,
    stop_nimg: int | None,
    deterministic: bool,
    scale: "Scale",
) -> None:
    """Train EXPERIMENT: weights, history.csv, sample grids and train.json.

    Killed at any moment, it goes on from its last checkpoint when run again. Exit codes: 3 when the training diverged
    (NaN or infinity), 143 when it saved and left on SIGTERM, SIGINT, SIGHUP or --stop-after-nimg; both leave
    stopped.json. Several processes, of --processes or of torchrun, compute what one computes.

    Example: harness train quick-cifar10-transgan --seed 0
    """
    from harness.training.experiment import train
    from harness.training.ranks import speaks

    record = train(
        experiment,
        seed,
        scale=scale,
        device=device,
        threads=threads,
        processes=processes,
        checkpoints=checkpoints,
        deterministic=deterministic,
        stop_nimg=stop_nimg,
    )
    seen = f"{record.nimg} images seen" if record.digest else "released weights"
    if speaks():
        click.echo(f"{scale.folder.weights(experiment, seed, 'last')}: {seen}")
