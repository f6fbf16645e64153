"""`harness choose`: the snapshots of one training -> the best of them."""

from pathlib import Path

import click


@click.command("choose")
@click.argument("experiment")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--params", "params_file", type=click.Path(path_type=Path), default="params.yaml", show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    envvar="HARNESS_CACHE",
    help="Weights and reference statistics; default: .cache of the repository.",
)
def command(experiment: str, seed: int, params_file: Path, device: str, cache: Path | None) -> None:
    """Choose the `best` snapshot of EXPERIMENT: lowest FID over scoring.n_choose (5,000) samples each.

    These samples are drawn for the choice alone; the reported score is made from others, and its protocol says how
    the snapshot was chosen.

    Example: harness choose quick-cifar10-sngan --seed 0
    """
    import torch

    from harness.config import experiments
    from harness.pipeline.best_snapshot import choose

    scale = experiments.open_scale(params_file)
    torch.set_num_threads(scale.params.threads)
    record = choose(scale, scale.run(experiment, seed), device, cache or scale.root / ".cache")
    for one in record["candidates"]:
        click.echo(f"{one['snapshot']:>12}  FID {one['fid']:.4f}{'  <- best' * (one['snapshot'] == record['chosen'])}")
