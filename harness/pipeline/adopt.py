"""A training made elsewhere enters a scale: its whole chain is checked, its files are put in place, DVC is told.

What is taken are the outputs of whole stages of the scale (train, choose, sample, score); afterwards `dvc repro` finds
them up to date. Records keep their provenance: which device, commit and packages they were made with.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness.config.experiments import Run, Scale
from harness.errors import HarnessError
from harness.files import copy, sha256_file
from harness.paths import ScaleFolder
from harness.pipeline import adopt_checks, dvc_stages
from harness.pipeline.dvc_stages import Stage
from harness.pipeline.suite import PIPELINE
from harness.records import train_record
from harness.training import published

SEED = re.compile(r"seed(0|[1-9][0-9]*)")


@dataclass(frozen=True)
class Adopted:
    """One training that entered a scale: names of its stages, and remarks for the reader."""

    run: Run
    device: str  # that trained it
    stages: tuple[str, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class _Found:
    """One training as found in the folder: its complete stages, and sha256 of their files by path from the scale."""

    run: Run
    stages: tuple[Stage, ...]
    files: dict[Path, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def adopt(scale: Scale, folder: Path) -> list[Adopted]:
    """Take the trainings of `folder`, with what was chosen, sampled and scored of them, into a scale.

    Args:
        folder: a scale's folder, which holds `records` and `runs`, or one training's: SCALE/runs/EXPERIMENT/seedN or
            SCALE/records/EXPERIMENT/seedN. The scale's own folder records what lies there already.

    Raises:
        HarnessError: nothing to take; a training, seed, snapshot or score that the scale does not plan; a recipe,
            version or data other than planned; a stage half there; a broken link or seal; records made from uncommitted
            changes; other files in the way. Nothing is changed then.
    """
    source, trainings = trainings_of(folder)
    with dvc_stages.locked_stages(scale.path.with_name(PIPELINE)) as stages:
        found = [_find(scale, source, scale.run(*training), stages) for training in trainings]
        with _undone_on_failure([scale.out / path for one in found for path in one.files]):
            for one in found:
                _place(scale, source, one)
            dvc_stages.record(stage for one in found for stage in one.stages)
    out = []
    for one in found:
        device = train_record.read(scale.folder.train_record(one.run.experiment, one.run.seed)).provenance.get("device")
        out.append(Adopted(one.run, str(device), tuple(stage.name for stage in one.stages), one.remarks))
    return out


def trainings_of(folder: Path) -> tuple[ScaleFolder, list[tuple[str, int]]]:
    """Return the scale's folder that a path names or lies in, and experiment and seed of its trainings there.

    Raises:
        HarnessError: neither a scale's folder nor a training's, or a folder whose name is no seed.
    """
    folder = Path(folder).absolute()
    scale, places = folder, [*folder.glob("records/*/*"), *folder.glob("runs/*/*")]
    if folder.is_dir() and folder.parent.parent.name in ("records", "runs"):
        scale, places = folder.parents[2], [folder]
    places = [place for place in places if place.is_dir()]
    if not places:
        raise HarnessError(
            f"{folder}: no training here; name a scale's folder (it holds records and runs), or one training's: "
            "SCALE/runs/EXPERIMENT/seedN."
        )
    for place in places:
        if not SEED.fullmatch(place.name):
            raise HarnessError(f"{place}: the folder's name is no seed (seed0, seed1, ...); move it away.")
    return ScaleFolder(scale), sorted({(place.parent.name, int(place.name.removeprefix("seed"))) for place in places})


def _find(scale: Scale, source: ScaleFolder, run: Run, stages: list[Stage]) -> _Found:
    """Find and check one training; see `adopt`."""
    own = (scale.folder.artifacts(run.experiment, run.seed), scale.folder.records(run.experiment, run.seed))
    mine = [stage for stage in stages if stage.outs and all(set(own) & set(out.parents) for out in stage.outs)]
    there = {path.relative_to(scale.out): source.out / path.relative_to(scale.out) for path in own}
    present = {
        path.relative_to(source.out)
        for place in there.values()
        for path in place.rglob("*")
        if path.is_file() and not path.name.startswith(".")  # DVC's .gitignore, temporaries of killed writers
    }
    complete = []
    for stage in mine:
        outs = [out.relative_to(scale.out) for out in stage.outs]
        missing = [out for out in outs if not any(out == path or out in path.parents for path in present)]
        if not missing:
            complete.append(stage)
        elif len(missing) < len(outs) or stage.name.startswith("train@"):
            raise HarnessError(
                f"{source.out / missing[0]}: missing, so stage {stage.name} is not whole; copy it too, or leave all of "
                "that stage out."
            )
    made = {out.relative_to(scale.out) for stage in complete for out in stage.outs}
    if strange := sorted(path for path in present if not made & {path, *path.parents}):
        raise HarnessError(
            f"{source.out / strange[0]}: no stage of {scale.path} makes it; plan it in the suite, or move it away."
        )
    for stage in complete:
        for dep in stage.deps:
            local = dep.relative_to(scale.out) if scale.out in dep.parents else None
            if not dep.exists() and not (local and any(local == path or local in path.parents for path in present)):
                raise HarnessError(
                    f"{dep}: missing, and stage {stage.name} depends on it; make it first (`harness plan`, "
                    "`harness data NAME`, `harness references NAME`), so that what is adopted can be held against it."
                )
    files = {path: sha256_file(source.out / path) for path in sorted(present)}
    for path, sha256 in files.items():
        target = scale.out / path
        if target.exists() and sha256_file(target) != sha256:
            raise HarnessError(f"{target}: is there already, and {source.out / path} differs; move one of them away.")
    remarks = adopt_checks.check(scale, source, run, sorted(present))
    return _Found(run, tuple(complete), files, tuple(remarks))


def _place(scale: Scale, source: ScaleFolder, found: _Found) -> None:
    """Copy the files of one training; what is there already is the same."""
    run = found.run
    new, old = scale.folder.training(run.experiment, run.seed), source.training(run.experiment, run.seed)
    if not new.record.exists():
        record = train_record.read(old.record)
        weights = {name: old.weights / f"{name}.safetensors" for name in record.weights_sha256}
        published.publish(record, weights, old.history, sorted(old.grids.glob("*.png")), new)
    for path, sha256 in found.files.items():
        if not (scale.out / path).exists():
            copy(source.out / path, scale.out / path, sha256, scale.out)


@contextmanager
def _undone_on_failure(targets: list[Path]) -> Iterator[None]:
    """Remove the files that the block made, if it fails."""
    new = [path for path in targets if not path.exists()]
    try:
        yield
    except BaseException:
        for path in new:
            path.unlink(missing_ok=True)
        raise
