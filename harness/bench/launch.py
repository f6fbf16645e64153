"""What a stage costs beside its own work: `harness launch` against `dvc repro`, on stages that do nothing."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

from harness import provenance
from harness.bench import page
from harness.cluster.driver import Launch, Options
from harness.cluster.engine import Opener
from harness.cluster.graph import plan
from harness.errors import HarnessError
from harness.files import write_json, write_text
from harness.paths import Checkout
from harness.pipeline.dvc_stages import Repository

TARGET_SEC = 0.3  # under DVC's lock, a stage
COMMAND = "echo ${item} > ${item}.txt"


class TimedRepository(Repository):
    """Adds up the seconds under DVC's lock, waiting for it excepted."""

    sec = 0.0

    @contextmanager
    def locked(self) -> Iterator[None]:
        """See `Repository.locked`."""
        with super().locked():
            begun = time.perf_counter()
            try:
                yield
            finally:
                self.sec += time.perf_counter() - begun


def trivial(folder: Path, stages: int) -> Path:
    """Make a DVC repository of independent stages, each with a dependency, a parameter and an output."""
    from dvc.repo import Repo

    folder.mkdir(parents=True)
    Repo.init(str(folder), no_scm=True).close()
    names = ", ".join(f'"{number}"' for number in range(stages))
    write_text(folder / "params.yaml", "word: 1\n")
    write_text(folder / "in.txt", "x\n")
    write_text(
        folder / "dvc.yaml",
        f"stages:\n  each:\n    foreach: [{names}]\n    do:\n      cmd: {COMMAND}\n"
        "      deps: [in.txt]\n      params: [word]\n      outs: ['${item}.txt']\n",
    )
    return folder


def run(out: Path, checkout: Checkout, open_engine: Opener, stages: int, serial: int, jobs: int = 2) -> dict[str, Any]:
    """Time both and write `launch.json` and `launch.md` into `out`.

    Args:
        out: folder of the two files.
        checkout: whose commit and packages the record names.
        open_engine: starts what runs the stages; its start is not counted.
        stages: that are launched, `jobs` at once.
        serial: that `dvc repro` runs; its cost a stage grows with their number.
        jobs: stages at once.

    Raises:
        HarnessError: a stage failed.
    """
    load = list(os.getloadavg())
    with tempfile.TemporaryDirectory() as place:
        launched = _launched(trivial(Path(place) / "launch", stages), open_engine, jobs)
        repeated = _repeated(trivial(Path(place) / "repro", serial))
    machine = provenance.collect(checkout.root) | {"cpu": provenance.processor(), "load_average_before": load}
    rows = [
        {"what": f"harness launch --jobs {jobs}", "stages": stages, "sec_a_stage": launched[0] / stages},
        {"what": "of it, under DVC's lock", "stages": stages, "sec_a_stage": launched[1] / stages},
        {"what": "dvc repro", "stages": serial, "sec_a_stage": repeated / serial},
    ]
    record = {"rows": rows, "target_sec": TARGET_SEC, "reached": launched[1] / stages <= TARGET_SEC, "machine": machine}
    write_json(Path(out) / "launch.json", record)
    write_text(Path(out) / "launch.md", markdown(record))
    return record


def _launched(folder: Path, open_engine: Opener, jobs: int) -> tuple[float, float]:
    """Wall seconds from the first look at the graph to the end, and those under DVC's lock."""
    with chdir(folder), TimedRepository(folder) as repository:
        engine = open_engine()
        begun = time.perf_counter()
        launch = Launch(repository, plan(repository, ["dvc.yaml"]), Options(jobs=jobs))
        if launch.run(lambda: engine) != 0:
            raise HarnessError(f"not all stages ran: {[row.note for row in launch.rows.values() if row.note][:3]}")
        return time.perf_counter() - begun, repository.sec


def _repeated(folder: Path) -> float:
    """Wall seconds of a repro, without the start of an interpreter."""
    from dvc.repo import Repo

    with chdir(folder):
        begun = time.perf_counter()
        with Repo(str(folder)) as repo:
            repo.reproduce()
        return time.perf_counter() - begun


def markdown(record: dict[str, Any]) -> str:
    """Return a record's table in Markdown, with the machine named above it."""
    machine = record["machine"]
    rows = [(row["what"], row["stages"], f"{row['sec_a_stage']:.3f}") for row in record["rows"]]
    return (
        f"{machine['cpu']}, {machine['cpu_count']} cores; load average {machine['load_average_before'][0]:.1f} before; "
        f"DVC {machine['packages']['dvc']}. Independent stages of `{COMMAND}`, once. Target under DVC's lock: "
        f"{record['target_sec']} s a stage, {'reached' if record['reached'] else 'missed'}. What `dvc repro` takes a "
        f"stage grows with the number of stages.\n\n{page.table('what | stages: | sec a stage:', rows)}\n"
    )
