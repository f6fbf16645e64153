"""The plan of a scale: one file per training, which its stages depend on instead of on all of `experiments/`."""

import dataclasses

from harness.config.experiments import Run, Scale
from harness.errors import HarnessError
from harness.files import write_json
from harness.paths import run_name
from harness.pipeline import suite


def write_plan(scale: Scale) -> dict[str, Run]:
    """Resolve every training of a scale and write `plan/<experiment>-seed<seed>.json`; others there are removed.

    Returns:
        The trainings by name.

    Raises:
        HarnessError: something that the scale or its experiments say cannot be run; nothing is written.
    """
    suite.check(scale)
    runs = {key: scale.run(run.experiment, run.seed) for key, run in scale.params.runs.items()}
    check_snapshots(scale, runs)
    paths = {scale.folder.plan(run.experiment, run.seed): run for run in runs.values()}
    for stale in set(scale.folder.plans()) - paths.keys():
        stale.unlink()
    for path, run in paths.items():
        write_json(path, dataclasses.asdict(run))
    return runs


def check_snapshots(scale: Scale, runs: dict[str, Run]) -> None:
    """Refuse dumps of snapshots that no training leaves, and choices among none.

    Raises:
        HarnessError: names the key of params.yaml.
    """
    for key in scale.params.choices:
        if not runs[key].recipe.snapshots_nimg:
            raise HarnessError(
                f"{scale.path}: choices.{key}: the recipe keeps no snapshot to choose from; name some snapshots_nimg."
            )
    for key, dump in scale.params.dumps.items():
        run = runs[run_name(dump.experiment, dump.seed)]
        named = ["last", "best", *map(str, run.recipe.snapshots_nimg)]
        if dump.snapshot not in named:
            raise HarnessError(
                f"{scale.path}: dumps.{key}: no snapshot '{dump.snapshot}'; the recipe keeps {', '.join(named)}."
            )
        if dump.dataset != run.dataset:
            raise HarnessError(
                f"{scale.path}: dumps.{key} says data set '{dump.dataset}', the experiment says '{run.dataset}'."
            )
