"""Toy pipelines, and an engine that starts attempts as processes of its own: the test double of Ray."""

import subprocess
import time
from contextlib import chdir
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from harness.cluster import supervisor
from harness.cluster.driver import Launch, Options, View
from harness.cluster.engine import Attempt, Node
from harness.cluster.graph import Row, look_ahead, plan
from harness.cluster.resources import Resources
from harness.pipeline.dvc_stages import Repository, Stage

# a diamond, a foreach, outputs with and without a cache, a folder, a parameter
TOY: dict[str, Any] = {
    "stages": {
        "make": {"cmd": "cat in.txt > a.txt", "deps": ["in.txt"], "outs": ["a.txt"]},
        "left": {"cmd": "mkdir -p left && sed s/x/l/ a.txt > left/b.txt", "deps": ["a.txt"], "outs": ["left"]},
        "right": {
            "foreach": ["one", "two"],
            "do": {
                "cmd": "echo ${item} >> r-${item}.txt && cat a.txt >> r-${item}.txt",
                "deps": ["a.txt"],
                "params": ["word"],
                "outs": [{"r-${item}.txt": {"cache": False}}],
            },
        },
        "join": {
            "cmd": ["cat left/b.txt r-one.txt > j.txt", "cat r-two.txt >> j.txt"],
            "deps": ["left", "r-one.txt", "r-two.txt"],
            "outs": ["j.txt"],
        },
    }
}


def toy(folder: Path, pipeline: dict[str, Any] | None = None) -> Path:
    """A DVC repository without git."""
    from dvc.repo import Repo

    folder.mkdir(parents=True, exist_ok=True)
    Repo.init(str(folder), no_scm=True).close()
    (folder / "dvc.yaml").write_text(yaml.safe_dump(pipeline or TOY))
    (folder / "params.yaml").write_text("word: 1\n")
    (folder / "in.txt").write_text("x\n")
    return folder


def lock(folder: Path) -> Any:
    return yaml.safe_load((folder / "dvc.lock").read_text())


def repro(folder: Path) -> list[str]:
    """Do what `dvc repro` does and return the stages that ran."""
    from dvc.repo import Repo

    with chdir(folder), Repo(str(folder)) as repo:
        return [stage.name for stage in repo.reproduce()]


class Processes:
    """See `harness.cluster.engine.Engine`: one process an attempt, all on this machine."""

    def __init__(self, node: Node | None = None) -> None:
        self.node = node or Node("here", 4, 1, 64)
        self.running: dict[Any, Attempt] = {}
        self.attempts: list[Attempt] = []

    def nodes(self) -> list[Node]:
        return [self.node]

    def submit(self, attempt: Attempt) -> None:
        line = supervisor.command(attempt.folder, attempt.number, attempt.grace)
        self.running[subprocess.Popen(line, stdin=subprocess.DEVNULL)] = attempt
        self.attempts.append(attempt)

    def wait(self, timeout: float) -> list[tuple[Attempt, str]]:
        until = time.monotonic() + timeout
        while True:
            done = [process for process in self.running if process.poll() is not None]
            if done or time.monotonic() > until:
                return [(self.running.pop(process), "") for process in done]
            time.sleep(0.02)

    def close(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()


class Told(View):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, str]] = []

    def warn(self, what: str) -> None:
        self.events.append(("", "warning", what))

    def tell(self, row: Row, what: str) -> None:
        self.events.append((row.name, row.state, what))


def launch(folder: Path, engine: Any = None, view: View | None = None, **options: Any) -> tuple[int, dict[str, Row]]:
    """Run a launch in this process and return its exit code and its stages."""
    with chdir(folder), Repository(folder) as repository:
        rows = plan(repository, ["dvc.yaml"])
        one = Launch(repository, rows, Options(**{"grace": 2.0, **options}), view)
        return one.run(lambda: engine or Processes()), rows


def row(name: str, after: tuple[str, ...] = (), pipeline: Path = Path("dvc.yaml"), **given: Any) -> Row:
    """A stage that is in no repository, with its hours and what it is given."""
    shown = {key: given.pop(key) for key in list(given) if key not in ("cpus", "gpus", "memory_gib")}
    wanted = Resources(**given)
    dvc = SimpleNamespace(dvcfile=SimpleNamespace(path=str(pipeline)))
    own = Stage(name=name, deps=(), outs=(), dvc=dvc)
    shown = {"folder": Path("nowhere"), **shown}
    return Row(name=name, gpus=wanted.gpus, stage=own, after=set(after), resources=wanted, **shown)


def ahead(*rows: Row) -> dict[str, Row]:
    """A plan of stages, in DVC's order."""
    plan = {row.name: row for row in rows}
    look_ahead(plan)
    return plan


def states(rows: dict[str, Row]) -> dict[str, str]:
    return {name: row.state for name, row in rows.items()}
