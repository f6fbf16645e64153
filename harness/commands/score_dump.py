"""`harness score-dump`: one dump of a scale through one scorer, under every protocol that is planned of it."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.options import cache_option, scale_device_option, scale_options, seed_option, threads_option

if TYPE_CHECKING:
    from harness.config.experiments import Scale


@click.command("score-dump")
@click.argument("experiment")
@seed_option
@click.option("--snapshot", default="last", show_default=True, help="last | best | an image count.")
@click.option("--scorer", default="tf", show_default=True, help="tf | torch | clean.")
@scale_device_option
@threads_option
@cache_option
@scale_options
def command(
    experiment: str,
    seed: int,
    snapshot: str,
    scorer: str,
    device: str | None,
    threads: int | None,
    cache: Path | None,
    scale: "Scale",
) -> None:
    """Score a dump of EXPERIMENT under all of the scale's protocols that the scorer can serve.

    Images are read once for all protocols that share resizer, weights, layer and quantisation. For samples from
    elsewhere see `harness score`.

    Example: harness score-dump quick-cifar10-sngan --snapshot best --scorer clean
    """
    from harness.pipeline.score import score_dump

    run = scale.run(experiment, seed)
    for path, record in score_dump(scale, run, snapshot, scorer, device=device, threads=threads, cache=cache).items():
        values = {"FID": record.values.fid, "IS": record.values.is_mean, "KID": record.values.kid}
        # z: rounding may make a distance slightly negative, and -0.0000 is no distance
        text = "  ".join(f"{name} {value:z.4f}" for name, value in values.items() if value is not None)
        click.echo(f"{path}: {text}")
