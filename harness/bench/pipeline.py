"""What DVC costs before it runs anything: it reads every dvc.yaml of the repository on each command.

The commands run in a copy of the checkout's pipeline files in which every stage of the scale at the root is up to date:
its outputs are placeholders that DVC has committed, so nothing was trained for it. DVC does the same work as after a
real run, but for the hashing of large files, which it does once. Other scales have no outputs, as in a fresh clone.
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import provenance
from harness.bench import page
from harness.errors import HarnessError
from harness.files import write_json, write_text
from harness.paths import Checkout

ROUNDS = 3
COPIED = (
    *("dvc.yaml", "params.yaml", ".dvcignore", "data/dvc.yaml", "data/params.yaml", "experiments"),
    *("results/*/dvc.yaml", "results/*/params.yaml", "results/reported", "results/history.csv"),
)


@dataclass(frozen=True)
class Command:
    """A command line, the folder of the copy that it runs in, and the seconds that it may take; None: no target."""

    title: str
    words: tuple[str, ...]
    folder: str = ""
    target_sec: float | None = None
    forbidden: str = ""  # what its output must not hold


COMMANDS = (
    Command("dvc repro, nothing to do", ("dvc", "repro"), "", 5.0, "Running stage"),
    Command("dvc status of paper, never run", ("dvc", "status"), "results/paper"),
    Command("harness --help", ("harness", "--help")),
)


def run(out: Path, checkout: Checkout, commands: Sequence[Command] = COMMANDS, rounds: int = ROUNDS) -> dict[str, Any]:
    """Time the commands and write `pipeline.json` and `pipeline.md` into `out`; the fastest round of each counts.

    Raises:
        HarnessError: a command fails, or runs what should be up to date.
    """
    from tqdm import tqdm

    load = list(os.getloadavg())
    with tempfile.TemporaryDirectory() as folder, tqdm(total=rounds * len(commands), unit="command") as bar:
        copy = Path(folder)
        stages = up_to_date_copy(checkout, copy)
        taken: dict[str, list[tuple[float, float]]] = {command.title: [] for command in commands}
        for _ in range(rounds):
            for command in commands:
                taken[command.title].append(seconds(command, copy))
                bar.update()
    rows = []
    for command in commands:
        sec, cpu_sec = (min(values) for values in zip(*taken[command.title], strict=True))
        row = {"command": command.title, "sec": sec, "cpu_sec": cpu_sec, "target_sec": command.target_sec}
        rows.append(row | {"reached": command.target_sec is None or sec <= command.target_sec})
    machine = provenance.collect(checkout.root) | {"cpu": provenance.processor(), "load_average_before": load}
    record = {"rounds": rounds, "stages": stages, "commands": rows, "machine": machine}
    write_json(Path(out) / "pipeline.json", record)
    write_text(Path(out) / "pipeline.md", markdown(record))
    return record


def up_to_date_copy(checkout: Checkout, copy: Path) -> dict[str, int]:
    """Copy the pipeline files, place every output of the scale at the root and have DVC commit them.

    Returns:
        Number of stages of each dvc.yaml, by its path.
    """
    for pattern in COPIED:
        for path in sorted(checkout.root.glob(pattern)):
            target = copy / path.relative_to(checkout.root)
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if path.is_dir() else shutil.copy)(path, target)
    from dvc.repo import Repo

    subprocess.run(["git", "init", "--quiet"], cwd=copy, check=True)
    seconds(Command("", ("dvc", "init", "--quiet")), copy)
    shutil.copy(checkout.root / ".dvc/config", copy / ".dvc/config")
    with Repo(str(copy)) as repo:
        stages = list(repo.index.stages)
        wanted = [stage for stage in stages if Path(stage.path) == copy / "dvc.yaml"]
        sources = {dep.fs_path for stage in wanted for dep in stage.deps}
        data = [s for s in stages if s not in wanted and any(_holds(o.fs_path, p) for o in s.outs for p in sources)]
        for path in [out.fs_path for stage in [*data, *wanted] for out in stage.outs] + sorted(sources):
            _place(Path(path))
    targets = [f"{os.path.relpath(stage.path, copy)}:{stage.name}" for stage in data]
    seconds(Command("", ("dvc", "commit", "--force", "--quiet", "dvc.yaml", *targets)), copy)
    counted: dict[str, int] = {}
    for stage in stages:
        name = str(Path(stage.path).relative_to(copy))
        counted[name] = counted.get(name, 0) + 1
    return dict(sorted(counted.items()))


def _holds(folder: str, path: str) -> bool:
    return path == folder or path.startswith(f"{folder}{os.sep}")


def _place(path: Path) -> None:
    """A small file, or a folder with one if the name has no ending."""
    if path.exists():
        return
    file = path if path.suffix else path / "placeholder"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("{}\n", encoding="utf-8")


def seconds(command: Command, copy: Path) -> tuple[float, float]:
    """Run one command: wall seconds and processor seconds.

    Raises:
        HarnessError: it fails, or prints what it must not.
    """
    scripts = Path(sys.executable).parent
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    words = [sys.executable, "-m", *command.words]
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installation keeps its bytecode; the first round makes it
    environment["PYTHONPYCACHEPREFIX"] = str(copy / ".cache/bytecode")
    folder = copy / command.folder
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    sec, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0 or (command.forbidden and command.forbidden in done.stdout):
        raise HarnessError(f"`{' '.join(command.words)}` in {command.folder or 'the copy'}: {done.stdout}{done.stderr}")
    return sec, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def markdown(record: dict[str, Any]) -> str:
    """Return a record's table in Markdown, with the machine named above it."""
    machine = record["machine"]
    stages = ", ".join(f"{number} in {path}" for path, number in record["stages"].items())
    rows = []
    for row in record["commands"]:
        target = "-" if row["target_sec"] is None else f"{row['target_sec']:.0f}"
        reached = "-" if row["target_sec"] is None else "yes" if row["reached"] else "no"
        rows.append((row["command"], f"{row['sec']:.2f}", f"{row['cpu_sec']:.2f}", target, reached))
    return (
        f"{machine['cpu']}, {machine['cpu_count']} cores; load average {machine['load_average_before'][0]:.1f} before. "
        f"The fastest of {record['rounds']} rounds; DVC {machine['packages']['dvc']}. The scale at the root is up to "
        f"date, with placeholders as outputs; the other scales were never run. Stages: {stages}.\n\n"
        f"{page.table('command | sec: | processor sec: | target: | reached', rows)}\n"
    )
