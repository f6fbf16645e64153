"""The stages of a launch: DVC's graph, with what each stage is given and how long it is thought to take."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.cluster import attempt_folder as state
from harness.cluster.engine import Node
from harness.cluster.errors import Refused
from harness.cluster.resources import Resources, resources
from harness.cluster.shown import FOLDER, Shown
from harness.paths import RESOURCES
from harness.pipeline.dvc_stages import Repository, Stage

NAMED = 3  # of many stages with the same fault


@dataclass(kw_only=True)
class Row(Shown):
    """One stage of a launch."""

    stage: Stage
    after: set[str]
    resources: Resources
    ahead: tuple[float, int] = (0.0, 0)  # hours and stages on the longest way from its beginning to the end
    lost: int = 0
    fresh: bool = True  # its DVC object still holds what was recorded
    blocked: float = 0.0  # since when another attempt's processes hold its lock
    inputs: Any = field(default=None, repr=False)

    @property
    def is_training(self) -> bool:
        """Whether it is a training of a scale."""
        return self.stage.name.startswith("train@")


def plan(repository: Repository, targets: Sequence[str]) -> dict[str, Row]:
    """Return the stages that `dvc repro TARGETS` would look at, with what each is given, in DVC's order."""
    graph = repository.graph(targets)
    given: dict[Path, dict[str, Resources]] = {}
    rows: dict[str, Row] = {}
    for name, (stage, after) in graph.items():
        if stage.pipeline not in given:
            given[stage.pipeline] = resources(stage.pipeline, repository.names(stage.pipeline))
        wanted = given[stage.pipeline].get(stage.name, Resources())
        rows[name] = Row(
            name=name,
            gpus=wanted.gpus,
            stage=stage,
            after=after & graph.keys(),
            resources=wanted,
            folder=repository.root / FOLDER / state.escaped(name),
        )
    look_ahead(rows)
    return rows


def look_ahead(rows: Mapping[str, Row]) -> None:
    """Set `ahead` of each stage, from the hours known by now; the order of `rows` is DVC's."""
    for row in rows.values():
        row.ahead = (0.0, 0)
    for row in reversed(list(rows.values())):
        hours, stages = row.ahead  # of what waits for it, which comes after it
        row.ahead = hours + row.hours, stages + 1
        for name in row.after:
            before = rows[name]
            before.ahead = max(before.ahead[0], row.ahead[0]), max(before.ahead[1], row.ahead[1])


def stale(repository: Repository, rows: Mapping[str, Row]) -> Iterator[tuple[Row, str, str]]:
    """Yield each stage that a launch would run, or may run, with `stale` or `may run` and why."""
    concerned: set[str] = set()
    with repository.locked():
        for row in rows.values():
            why, before = repository.why_stale(row.stage), sorted(row.after & concerned)
            if why or before:
                concerned.add(row.name)
                yield row, "stale" if why else "may run", why or f"waits for {before[0]}"


def check_room(rows: Mapping[str, Row], nodes: Sequence[Node]) -> None:
    """Refuse stages that fit no machine, which would wait for ever."""
    homeless = [row for row in rows.values() if not any(node.fits(row.resources) for node in nodes)]
    if homeless:
        known = "; ".join(f"{n.name}: {n.cpus:g} CPU, {n.gpus:g} GPU, {n.memory_gib:.1f} GiB" for n in nodes)
        raise Refused(
            f"{homeless[0].stage.pipeline.with_name(RESOURCES)}: {_named(homeless)}: no machine has that ({known})."
        )


def _named(rows: Sequence[Row]) -> str:
    first = ", ".join(f"{row.name} asks for {row.resources}" for row in rows[:NAMED])
    return first + (f", and {len(rows) - NAMED} more" if len(rows) > NAMED else "")


def without_gpu(rows: Mapping[str, Row], nodes: Sequence[Node]) -> str:
    """Say which trainings see no GPU, only because nobody wrote a resources.yaml, though a machine has one."""
    if not any(node.gpus for node in nodes):
        return ""
    places = {row.stage.pipeline.with_name(RESOURCES) for row in rows.values() if row.is_training}
    missing = ", ".join(str(path) for path in sorted(places) if not path.is_file())
    return (
        f"{missing}: is not there, so no stage beside it sees a GPU; docs/cluster.md has the format." if missing else ""
    )
