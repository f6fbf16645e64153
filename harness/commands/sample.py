"""`harness sample`: weights -> dump of images."""

from typing import TYPE_CHECKING

import click

from harness.commands.options import scale_device_option, scale_options, seed_option, threads_option

if TYPE_CHECKING:
    from harness.config.experiments import Scale


@click.command("sample")
@click.argument("experiment")
@seed_option
@click.option("--snapshot", default="last", show_default=True, help="`last`, `best` or an image count of the recipe.")
@click.option("--n", type=click.IntRange(1), help="How many images; default: as many as its protocols ask for.")
@scale_device_option
@threads_option
@scale_options
def command(
    experiment: str, seed: int, snapshot: str, n: int | None, device: str | None, threads: int | None, scale: "Scale"
) -> None:
    """Draw images from a trained generator: samples/VARIANT.npy ([n,R,R,3]), samples.json and a grid.

    Image i depends on (seed, i) only.

    Example: harness sample quick-cifar10-transgan --seed 0 --n 64
    """
    from harness.pipeline.sample import sample

    record = sample(scale, scale.run(experiment, seed), snapshot, n=n, device=device, threads=threads)
    where = scale.folder.samples(experiment, seed, snapshot)
    click.echo(f"{where}: {record.n} images as {', '.join(record.files)}")
