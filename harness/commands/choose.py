"""`harness choose`: the snapshots of one training -> the best of them."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.options import cache_option, scale_device_option, scale_options, seed_option, threads_option

if TYPE_CHECKING:
    from harness.config.experiments import Scale


@click.command("choose")
@click.argument("experiment")
@seed_option
@scale_device_option
@threads_option
@cache_option
@scale_options
def command(
    experiment: str, seed: int, device: str | None, threads: int | None, cache: Path | None, scale: "Scale"
) -> None:
    """Choose the `best` snapshot of EXPERIMENT: lowest FID under the scale's protocol for it (`choose`).

    These samples are drawn for the choice alone; the reported score is made from others, and its protocol says how
    the snapshot was chosen.

    Example: harness choose quick-cifar10-sngan --seed 0
    """
    from harness.pipeline.best_snapshot import choose

    record = choose(scale, scale.run(experiment, seed), device=device, threads=threads, cache=cache)
    for one in record.candidates:
        click.echo(f"{one.snapshot:>12}  FID {one.fid:.4f}{'  <- best' * (one.snapshot == record.chosen)}")
