"""`harness plan`: resolve a scale into one small file per training."""

from pathlib import Path

import click


@click.command("plan")
@click.option("--params", "params_file", type=click.Path(path_type=Path), default="params.yaml", show_default=True)
def command(params_file: Path) -> None:
    """Resolve every training of a scale and write OUT/plan/EXPERIMENT-seedS.json.

    A stage depends on its own plan file, so changing one recipe reruns that recipe's stages and nothing else.

    Example: harness plan --params results/cpu/params.yaml
    """
    import dataclasses

    from harness.config import experiments
    from harness.errors import HarnessError
    from harness.files import write_json

    scale = experiments.open_scale(params_file)
    folder = scale.out / "plan"
    resolved = {key: scale.run(run.experiment, run.seed) for key, run in scale.params.runs.items()}
    for key in scale.params.choices:
        if not resolved[key].recipe.snapshots_nimg:
            raise HarnessError(
                f"{params_file}: choices.{key}: the recipe keeps no snapshot to choose from; name some snapshots_nimg."
            )
    for key, dump in scale.params.dumps.items():
        run = resolved[f"{dump.experiment}-seed{dump.seed}"]
        named = ["last", "best", *map(str, run.recipe.snapshots_nimg)]
        if dump.snapshot not in named:
            raise HarnessError(
                f"{params_file}: dumps.{key}: no snapshot '{dump.snapshot}'; the recipe keeps {', '.join(named)}."
            )
        if dump.dataset != run.dataset:
            raise HarnessError(
                f"{params_file}: dumps.{key} says data set '{dump.dataset}', the experiment says '{run.dataset}'."
            )
    for stale in set(folder.glob("*.json")) - {folder / f"{key}.json" for key in resolved}:
        stale.unlink()
    for key, run in resolved.items():
        write_json(folder / f"{key}.json", dataclasses.asdict(run))
        click.echo(f"{key}: {run.dataset}, {run.recipe.length_nimg:,} of {run.planned_nimg:,} images", err=True)
