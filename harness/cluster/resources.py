"""What each stage is given: `resources.yaml` beside its dvc.yaml. No stage depends on it, and it decides no result."""

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from harness.cluster.errors import Refused
from harness.config.ranges import Count, Positive, Range
from harness.config.reader import read, read_yaml
from harness.paths import RESOURCES


@dataclass(frozen=True)
class Resources:
    """What one stage is given: CPU cores, GPUs (only a training uses more than one), memory in GiB."""

    cpus: Count = 1
    gpus: Annotated[int, Range(low=0)] = 0
    memory_gib: Positive = 4.0

    def __str__(self) -> str:
        return f"{self.cpus} CPU, {self.gpus} GPU, {self.memory_gib:g} GiB"


@dataclass(frozen=True)
class _Changes:
    cpus: Count | None = None
    gpus: Annotated[int, Range(low=0)] | None = None
    memory_gib: Positive | None = None


@dataclass(frozen=True)
class _File:
    default: Resources = Resources()
    stages: dict[str, _Changes] = field(default_factory=dict)


def resources(pipeline: Path, names: Iterable[str]) -> dict[str, Resources]:
    """Return the resources of each stage of a dvc.yaml; without a resources.yaml beside it, the default of each.

    Args:
        pipeline: the dvc.yaml.
        names: of all stages in it; the first pattern that matches a name counts.

    Raises:
        HarnessError: the file is not as documented, a pattern matches no stage, or a stage that is no training is given
            more than one GPU.
    """
    path = pipeline.with_name(RESOURCES)
    file = read(_File, read_yaml(path), str(path)) if path.is_file() else _File()
    names = list(names)
    for pattern in file.stages:
        if not fnmatch.filter(names, pattern):
            raise Refused(f"{path}: {pattern!r} matches no stage of {pipeline}; correct or remove it.")
    found = {name: _of(name, file) for name in names}
    for name, given in found.items():
        if given.gpus > 1 and not name.startswith("train@"):
            raise Refused(f"{path}: {name} is given {given.gpus} GPUs; only trainings (train@...) use more than one.")
    return found


def _of(name: str, file: _File) -> Resources:
    found = next((one for pattern, one in file.stages.items() if fnmatch.fnmatchcase(name, pattern)), _Changes())
    given = {key: value for key, value in vars(found).items() if value is not None}
    return Resources(**{**vars(file.default), **given})
