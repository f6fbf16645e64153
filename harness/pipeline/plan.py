"""The plan of a scale: one file per training, which its stages depend on instead of on all of `experiments/`."""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from harness.config.experiments import Run, Scale
from harness.data import card
from harness.errors import HarnessError
from harness.files import write_json
from harness.networks import registry
from harness.paths import run_name
from harness.pipeline import suite
from harness.training.schedules import check_networks, check_recipe


def write_plan(scale: Scale) -> dict[str, Run]:
    """Resolve every training of a scale and write `plan/<experiment>-seed<seed>.json`; others there are removed.

    Returns:
        The trainings by name.

    Raises:
        HarnessError: something that the scale or its experiments say cannot be run; everything that was found is
            listed, and nothing is written.
    """
    runs, problems = find_problems(scale)
    if problems:
        raise HarnessError("\n".join(problems))
    paths = {scale.folder.plan(run.experiment, run.seed): run for run in runs.values()}
    for stale in set(scale.folder.plans()) - paths.keys():
        stale.unlink()
    for path, run in paths.items():
        write_json(path, dataclasses.asdict(run))
    return runs


def find_problems(scale: Scale) -> tuple[dict[str, Run], list[str]]:
    """Return the trainings that can be resolved, by name, and all that is wrong with the scale."""
    runs, problems = resolve_all(scale)
    with collecting(problems):
        suite.check(scale)
    problems += check_runs(scale, runs) + check_snapshots(scale, runs)
    return runs, list(dict.fromkeys(problems))


@contextmanager
def collecting(problems: list[str], where: str = "") -> Iterator[None]:
    """Add a HarnessError of the block to `problems` instead of raising it."""
    try:
        yield
    except HarnessError as error:
        problems.append(f"{where}{error}")


def resolve_all(scale: Scale) -> tuple[dict[str, Run], list[str]]:
    """Return the trainings that can be resolved, by name, and what is wrong with the others."""
    runs: dict[str, Run] = {}
    problems: list[str] = []
    for key, planned in scale.params.runs.items():
        with collecting(problems):
            runs[key] = scale.run(planned.experiment, planned.seed)
    return runs, problems


def check_runs(scale: Scale, runs: dict[str, Run]) -> list[str]:
    """Return what is wrong with recipes, networks and data sets; networks are built without memory, each once."""
    problems: list[str] = []
    networks: dict[tuple[str, int, str], nn.Module] = {}
    for run in {run.experiment: run for run in runs.values()}.values():
        with collecting(problems, f"experiment '{run.experiment}': "):
            check_recipe(run.recipe)
            pair = []
            for role, spec in (("generator", run.generator), ("discriminator", run.discriminator)):
                key = (role, run.resolution, json.dumps(spec, sort_keys=True))
                if key not in networks:
                    networks[key] = registry.outline(role, spec, run.resolution, scale.definitions.models)
                pair.append(networks[key])
            check_networks(run.recipe, pair[0], pair[1], run.resolution)
    for name in {run.dataset: None for run in runs.values()}:
        with collecting(problems):
            card.definition(name, scale.root)
    return problems


def check_snapshots(scale: Scale, runs: dict[str, Run]) -> list[str]:
    """Return the dumps of snapshots that no training leaves, and the choices among none, as sentences."""
    problems = []
    for key in scale.params.choices:
        if key in runs and not runs[key].recipe.snapshots_nimg:
            problems.append(
                f"{scale.path}: choices.{key}: the recipe keeps no snapshot to choose from; name some snapshots_nimg"
                f"{within_limit(runs[key])}."
            )
    for key, dump in scale.params.dumps.items():
        run = runs.get(run_name(dump.experiment, dump.seed))
        if run is None:
            continue
        if dump.snapshot not in run.snapshots:
            problems.append(
                f"{scale.path}: dumps.{key}: no snapshot '{dump.snapshot}'; the recipe keeps "
                f"{', '.join(run.snapshots)}{within_limit(run)}."
            )
        if dump.dataset != run.dataset:
            problems.append(
                f"{scale.path}: dumps.{key} says data set '{dump.dataset}', the experiment says '{run.dataset}'."
            )
    return problems


def within_limit(run: Run) -> str:
    """Say that the scale cut a training short, where it did."""
    if not run.partial:
        return ""
    return (
        f" within the scale's limit_nimg of {run.recipe.length_nimg:,} images (the recipe has {run.planned_nimg:,}); "
        "raise limit_nimg, or leave the snapshot out of the suite"
    )
