"""The rehearsal of a suite: every stage of every experiment runs once, short, and what it took is written down.

What runs are the commands of the generated dvc.yaml, one process an experiment, so that its memory is its own: beside
the imported packages (about 1 GiB), which all of them share.
"""

import contextlib
import multiprocessing
import os
import re
import resource
import shlex
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from harness.config.experiments import Run, Scale
from harness.errors import HarnessError
from harness.networks import registry
from harness.paths import CACHE_VARIABLE, Checkout
from harness.pipeline import rehearsal_scale
from harness.pipeline.plan import write_plan
from harness.pipeline.suite import Generated
from harness.training.released_weights import VARIABLE

PLACEHOLDER = re.compile(r"\$\{([\w.-]+)\}")
STARTS, ENDS = "references", "tables, check, report"  # rows of what belongs to no experiment
GIB = 1 << 30
LOOK_SEC = 0.2  # between two looks at a process's memory
# Imported once, in the process that all others are forked from: importing takes longer than most stages.
LOADED = ("harness.training.experiment", "harness.pipeline.best_snapshot", "harness.metrics.extractors.torch")
LOADED_FOR = {"score-tf": "tensorflow", "score-clean": "cleanfid.fid"}

Subcommand = Callable[[list[str]], int]  # runs `harness <arguments>` in this process and returns its exit code


@dataclass(frozen=True)
class Step:
    """One command of a pipeline with the files that it reads and writes, from the folder it runs in."""

    stage: str
    command: str
    deps: tuple[str, ...] = ()
    outs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """The steps of one experiment, and where they run."""

    name: str
    steps: tuple[Step, ...]
    folder: Path
    root: Path
    released: tuple[Path, Run] | None = None  # a file as released that is made first, and the run it is made for


@dataclass
class Outcome:
    """What one experiment took. `seconds`: by stage; `parameters`: of both networks; `problems`: one sentence each."""

    name: str
    resolution: int = 0
    parameters: tuple[int, int] = (0, 0)
    seconds: dict[str, float] = field(default_factory=dict)
    peak_bytes: int = 0
    problems: list[str] = field(default_factory=list)
    wall_sec: float = 0.0
    log: str = ""  # the end of what a failed experiment printed


def rehearse(
    checkout: Checkout,
    scale: str,
    run: Subcommand,
    *,
    only: tuple[str, ...] = (),
    memory_gib: float = 20.0,
    report: Callable[[Outcome], None] = lambda outcome: None,
    **changes: Any,
) -> list[Outcome]:
    """Rehearse a suite in a temporary folder and return what each experiment took, and at last the ends.

    Args:
        run: what runs one subcommand; a function of a module, since other processes import it.
        only: shell patterns of experiments.
        memory_gib: a process that holds more is ended, and its experiment has failed.
        report: called after each experiment.
        changes: laid over the suite, e.g. `threads`.

    Raises:
        HarnessError: the suite itself cannot be planned.
    """
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as temporary:
        root = Path(temporary).resolve() / "checkout"
        generated, opened = rehearsal_scale.generate(checkout, scale, root, only, **changes)
        runs = write_plan(opened)
        stages = generated.pipeline["stages"]
        before, after = common(stages, generated.params)
        loaded = [*LOADED, *(module for stage, module in LOADED_FOR.items() if stage in stages)]
        multiprocessing.get_context("forkserver").set_forkserver_preload(loaded)
        if before:
            outcomes.append(perform(Job(STARTS, before, generated.folder, root), Outcome(STARTS), run, memory_gib))
            report(outcomes[-1])
        for run_of_row in runs.values():
            outcomes.append(_rehearse_one(generated, opened, run_of_row, run, memory_gib))
            _remove_artifacts(opened, run_of_row)
            report(outcomes[-1])
        outcomes.append(perform(Job(ENDS, after, generated.folder, root), Outcome(ENDS), run, memory_gib))
        report(outcomes[-1])
    return outcomes


def steps(stages: dict[str, Any], params: dict[str, Any], experiment: str) -> tuple[Step, ...]:
    """Return the commands of one experiment's stages, in order."""
    return tuple(
        _step(name, stage["do"], params | {"key": key, "item": item})
        for name, stage in stages.items()
        for key, item in stage.get("foreach", {}).items()
        if item["experiment"] == experiment
    )


def common(stages: dict[str, Any], params: dict[str, Any]) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """Return the commands of the stages of no experiment, `plan` excepted: those before the scores, and the others."""
    names = list(stages)
    last = max(names.index(name) for name in names if "foreach" in stages[name])
    alone = [name for name in names if "foreach" not in stages[name] and name != "plan"]
    before, after = (
        tuple(_step(name, stages[name], params) for name in alone if (names.index(name) < last) == early)
        for early in (True, False)
    )
    return before, after


def _step(name: str, stage: dict[str, Any], values: dict[str, Any]) -> Step:
    def filled(text: str) -> str:
        def value(found: re.Match[str]) -> str:
            one: Any = values
            for part in found[1].split("."):
                one = one[part]
            return str(one)

        return PLACEHOLDER.sub(value, text)

    def paths(*kinds: str) -> tuple[str, ...]:
        entries = (entry for kind in kinds for entry in stage.get(kind, ()))
        return tuple(filled(entry if isinstance(entry, str) else next(iter(entry))) for entry in entries)

    return Step(name, filled(stage["cmd"]), paths("deps"), paths("outs", "metrics", "plots"))


def _rehearse_one(generated: Generated, scale: Scale, run: Run, call: Subcommand, memory_gib: float) -> Outcome:
    models = scale.definitions.models
    sizes = [
        registry.parameters(registry.outline(role, spec, run.resolution, models))
        for role, spec in (("generator", run.generator), ("discriminator", run.discriminator))
    ]
    todo, released = steps(generated.pipeline["stages"], generated.params, run.experiment), None
    name = scale.definitions.experiments[run.experiment].checkpoint
    if name:
        root = shlex.quote(str(scale.root))
        file = scale.root / "released" / f"{run.experiment}.pth"
        imported = shlex.quote(str(file.with_name(name)))
        todo = (
            Step("import", f"harness import transgan {shlex.quote(str(file))} --out {imported}"),
            Step("import", f"harness import released {shlex.quote(name)} --root {root}"),
            *todo,
        )
        released = (file, run)
    job = Job(run.experiment, todo, generated.folder, scale.root, released)
    return perform(job, Outcome(run.experiment, run.resolution, (sizes[0], sizes[1])), call, memory_gib)


def perform(job: Job, outcome: Outcome, run: Subcommand, memory_gib: float) -> Outcome:
    """Run a job in a process of its own and complete its outcome; whatever happens to the process, this returns."""
    context, started = multiprocessing.get_context("forkserver"), time.perf_counter()
    log = job.root / "logs" / f"{job.name}.txt"
    log.parent.mkdir(exist_ok=True)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(job, run, log, sender), daemon=True)
    process.start()
    sender.close()
    stage, ours = "start", False  # ours: ended here
    with contextlib.suppress(EOFError):
        while True:
            if receiver.poll(LOOK_SEC):
                kind, stage, *rest = receiver.recv()
                if kind == "done":
                    outcome.seconds[stage] = outcome.seconds.get(stage, 0.0) + rest[0]
                    outcome.peak_bytes = max(outcome.peak_bytes, rest[1])
                elif kind == "problem":
                    outcome.problems.append(f"{stage}: {rest[0]}")
            held = _resident(process.pid)
            outcome.peak_bytes = max(outcome.peak_bytes, held)
            if held > memory_gib * GIB:
                process.kill()
                ours = True
                outcome.problems.append(f"{stage}: ended because it held more than {memory_gib:g} GiB")
                break
    process.join()
    if process.exitcode and not ours:
        why = " (killed, most often because memory was used up)" if process.exitcode == -9 else ""
        outcome.problems.append(f"{stage}: its process ended with exit code {process.exitcode}{why}")
    outcome.wall_sec = time.perf_counter() - started
    if outcome.problems:
        lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
        outcome.log = "\n".join(lines[-40:])
    return outcome


def work(job: Job, run: Subcommand, log: Path, sender: Connection) -> None:
    """Run the steps of a job in this process, which is made for it; everything that they print goes to `log`.

    Sends ("begin", stage), then ("done", stage, seconds, peak of resident bytes) and perhaps ("problem", stage,
    sentence). A step whose input an earlier failure did not write is left out.
    """
    with open(log, "wb") as handle:
        for descriptor in (1, 2):
            os.dup2(handle.fileno(), descriptor)
    os.environ[CACHE_VARIABLE] = str(job.root / ".cache")
    os.environ[VARIABLE] = str(job.root / "released")
    os.chdir(job.folder)
    if job.released is not None:
        file, of = job.released
        rehearsal_scale.write_checkpoint(file, registry.build("generator", of.generator, of.resolution))
    failed = False
    for step in job.steps:
        missing = [path for path in step.deps if not Path(path).exists()]
        if missing and failed:
            continue
        sender.send(("begin", step.stage))
        started = time.perf_counter()
        problem = f"its dependency {missing[0]} does not exist" if missing else _problem(step, run)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        sender.send(("done", step.stage, time.perf_counter() - started, peak))
        if problem:
            failed = True
            sender.send(("problem", step.stage, problem))


def _problem(step: Step, run: Subcommand) -> str | None:
    """Run one step; return what went wrong as one sentence."""
    try:
        code = run(shlex.split(step.command)[1:])
    except HarnessError as error:
        traceback.print_exc()
        return " ".join(str(error).split())
    except (Exception, SystemExit) as error:  # a fault of any stage is a result of the rehearsal
        traceback.print_exc()
        last = traceback.extract_tb(error.__traceback__)[-1]
        what = (str(error).splitlines() or [""])[0]
        return f"{type(error).__name__}: {what} ({Path(last.filename).name}:{last.lineno})"
    if code:
        return f"exit code {code}"
    lacking = [path for path in step.outs if not Path(path).exists()]
    return f"it wrote no {lacking[0]}" if lacking else None


def _resident(pid: int | None) -> int:
    """Return the bytes that a process holds; 0 where the system does not tell, or it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _remove_artifacts(scale: Scale, run: Run) -> None:
    """Free the disk of one experiment's weights and dumps; its records stay for the tables."""
    places: Iterable[Path] = (
        scale.folder.artifacts(run.experiment, run.seed).parent,
        scale.checkout.checkpoints,
        scale.root / "released",
        scale.checkout.data("checkpoints"),
    )
    for place in places:
        shutil.rmtree(place, ignore_errors=True)
