"""`harness train`: data set and experiment -> generator weights and history."""

from pathlib import Path

import click


@click.command("train")
@click.argument("experiment")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--params", "params_file", type=click.Path(path_type=Path), default="params.yaml", show_default=True)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads; default: the params file's.")
@click.option(
    "--checkpoints",
    type=click.Path(path_type=Path),
    help="Folder for working state; default: .checkpoints beside the params file's results.",
)
@click.option(
    "--stop-after-nimg", "stop_nimg", type=click.IntRange(1), help="Save and leave (exit 143) at this image count."
)
def command(
    experiment: str,
    seed: int,
    params_file: Path,
    device: str,
    threads: int | None,
    checkpoints: Path | None,
    stop_nimg: int | None,
) -> None:
    """Train EXPERIMENT: weights, history.csv, sample grids and train.json.

    Killed at any moment, it goes on from its last checkpoint when run again. Exit codes: 3 when the training diverged (NaN or
    infinity), 143 when it saved and left on SIGTERM, SIGINT or --stop-after-nimg.

    Example: harness train quick-cifar10-transgan --seed 0
    """
    from harness import data, experiments
    from harness.training.loop import train

    params = experiments.load_params(params_file)
    run = experiments.resolve(params, experiment, seed)
    heavy, records = experiments.paths(params_file, params, experiment, seed)
    images = data.load(params_file.parent / params.root / "data" / run.dataset).images
    checkpoints = checkpoints or params_file.parent / params.out / ".checkpoints"
    train(run, images, heavy, checkpoints, device, threads or params.threads, records=records, stop_nimg=stop_nimg)
    click.echo(f"{heavy / 'weights' / 'last.safetensors'}: {run.recipe.length_nimg} images seen")
