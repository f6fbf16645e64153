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
    help="Folder for working state; default: .checkpoints at the repository root.",
)
@click.option(
    "--stop-after-nimg", "stop_nimg", type=click.IntRange(1), help="Save and leave (exit 143) at this image count."
)
@click.option(
    "--deterministic", is_flag=True, help="Deterministic kernels on a GPU (a CPU repeats bit for bit anyway)."
)
def command(
    experiment: str,
    seed: int,
    params_file: Path,
    device: str,
    threads: int | None,
    checkpoints: Path | None,
    stop_nimg: int | None,
    deterministic: bool,
) -> None:
    """Train EXPERIMENT: weights, history.csv, sample grids and train.json.

    Killed at any moment, it goes on from its last checkpoint when run again. Exit codes: 3 when the training diverged
    (NaN or infinity), 143 when it saved and left on SIGTERM, SIGINT or --stop-after-nimg.

    Example: harness train quick-cifar10-transgan --seed 0
    """
    from harness import data
    from harness.config import experiments
    from harness.training import released_weights
    from harness.training.loop import train

    scale = experiments.open_scale(params_file)
    run = scale.run(experiment, seed)
    artifacts, records = scale.folder.artifacts(experiment, seed), scale.folder.records(experiment, seed)
    released = experiments.load(scale.root)[experiment].checkpoint
    if released:
        released_weights.publish(run, released, artifacts, records)
        click.echo(f"{artifacts / 'weights' / 'last.safetensors'}: released weights")
        return
    images = data.load(scale.root / "data" / run.dataset).images
    checkpoints = checkpoints or scale.root / ".checkpoints"
    train(
        run,
        images,
        artifacts,
        checkpoints,
        device,
        threads or scale.params.threads,
        records=records,
        deterministic=deterministic,
        stop_nimg=stop_nimg,
    )
    click.echo(f"{artifacts / 'weights' / 'last.safetensors'}: {run.recipe.length_nimg} images seen")
