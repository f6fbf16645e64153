"""The driver: it alone touches DVC, hands each stage's own command to an engine, and records what comes back."""

import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Self

from harness.cluster import attempt_folder as state
from harness.cluster import outcomes, supervisor
from harness.cluster.engine import Attempt, Engine, Node, Opener
from harness.cluster.errors import Refused, before_start
from harness.cluster.graph import Row, check_room, without_gpu
from harness.cluster.outcomes import Then
from harness.cluster.resources import Resources
from harness.cluster.shown import AT_WORK, DONE, EVENTS, FOLDER, STAGES
from harness.errors import HarnessError
from harness.files import locked, make_folder
from harness.pipeline import dvc_stages
from harness.pipeline.dvc_stages import Prepared, Repository

POLL_SEC = 0.5
AT_ONCE = 20  # stages prepared under one lock, so that what has finished is recorded between
INTERRUPTED = 130
DUMP_AT = 50  # saved stages; DVC rewrites the whole dvc.lock each time, so they wait for more, or for an idle moment


@dataclass(frozen=True)
class Options:
    """What a launch may do: stages at once, retries of a lost attempt, seconds from TERM to KILL."""

    jobs: int | None = None
    retries: int = 2
    fail_fast: bool = False
    grace: float = 60.0


class View:
    """Shows a launch, as a context manager; this one shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""

    def warn(self, what: str) -> None:
        """Something about the whole launch may not be meant."""

    def tell(self, row: Row, what: str) -> None:
        """Something happened to a stage."""

    def show(self, rows: Sequence[Row]) -> None:
        """Called twice a second with all stages."""


class Launch:
    """Brings stages up to date side by side. Call `run` once."""

    def __init__(
        self, repository: Repository, rows: dict[str, Row], options: Options, view: View | None = None
    ) -> None:
        self.repository, self.rows, self.options, self.view = repository, rows, options, view or View()
        self.folder = repository.root / FOLDER
        self.began = state.now()
        self.told = False  # by SIGINT or SIGTERM
        self.failed = False
        self.saved: list[Row] = []  # and not yet in dvc.lock; a killed launch's successor adopts them
        self.engine: Engine
        self.nodes: list[Node] = []

    def run(self, open_engine: Opener) -> int:
        """Run to the end and return 0 (all up to date), 1 (something failed or was skipped) or 130 (interrupted).

        Raises:
            Refused: another driver is at work, locks do not work here, or a stage fits no machine.
        """
        with self._alone():
            self.engine = open_engine()
            try:
                self.nodes = self.engine.nodes()
                check_room(self.rows, self.nodes)
                if missing := without_gpu(self.rows, self.nodes):
                    self.view.warn(missing)
                self._write_stages()
                with self._signals():
                    self._loop()
            finally:
                for row in self._at_work():
                    state.revoke(row.folder)
                self.engine.close()
                self._dump()
        if self.told:
            return INTERRUPTED
        return int(any(row.state not in DONE for row in self.rows.values()))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the driver's lock, and end what an earlier driver left."""
        make_folder(self.folder)
        if not state.locks_work(self.folder):
            raise Refused(f"{self.folder}: file locks do not work there; use a folder on a file system that has them.")
        with ExitStack() as stack:
            with before_start():
                stack.enter_context(locked(self.folder / "driver.lock"))
            for row in self.rows.values():
                if row.folder.is_dir() and state.lease(row.folder):
                    state.revoke(row.folder)
            supervisor.end(lambda: supervisor.marked(f"{self.folder}/"), self.options.grace)
            yield

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM as a wish to stop; after the engine has begun, which may take them for itself."""

        def tell(_signal: int, _frame: FrameType | None) -> None:
            self.told = True

        before = {one: signal.signal(one, tell) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def _write_stages(self) -> None:
        """Write what `harness status` cannot know from events: the stages of which nothing was said yet."""
        stages = [{"stage": row.name, "gpus": row.gpus, "hours": row.hours} for row in self.rows.values()]
        state.write(self.folder / STAGES, {"launch": self.began, "stages": stages})

    def _at_work(self) -> list[Row]:
        return [row for row in self.rows.values() if row.state in AT_WORK]

    def _loop(self) -> None:
        while not self.told:
            begun = self._begin()
            self._show()
            if self._at_work():
                begun |= self._collect(0.0 if begun else POLL_SEC)
            elif not begun and not self._ready():
                break
            elif not begun:
                time.sleep(POLL_SEC)  # older processes hold the lock of what is next
            if not begun or len(self.saved) >= DUMP_AT:
                self._dump()
        if self.told:
            self._stop()
        for row in self.rows.values():
            if row.state == "waiting":
                self._set(row, "skipped", "interrupted" if self.told else "an earlier stage failed")
        self._show()

    def _show(self) -> None:
        for row in self._at_work():
            row.refresh()
        self.view.show(list(self.rows.values()))

    def _ready(self) -> list[Row]:
        if self.failed and self.options.fail_fast:
            return []
        ready = [
            row
            for row in self.rows.values()
            if row.state == "waiting" and all(self.rows[name].state in DONE for name in row.after)
        ]
        return sorted(ready, key=lambda row: row.ahead, reverse=True)

    def _room(self, wanted: Resources) -> bool:
        busy = [row.resources for row in self._at_work()]
        if self.options.jobs is not None and len(busy) >= self.options.jobs:
            return False
        return all(
            sum(getattr(one, kind) for one in [*busy, wanted]) <= sum(getattr(node, kind) for node in self.nodes)
            for kind in ("cpus", "gpus", "memory_gib")
        )

    def _begin(self) -> bool:
        """Prepare what is ready and fits, the longest way first; return whether anything changed."""
        ready = [row for row in self._ready() if self._room(row.resources) and self._free(row)][:AT_ONCE]
        if not ready:
            return False
        here: list[Row] = []
        with self.repository.locked():
            for row in ready:
                if not self._room(row.resources):
                    continue
                try:
                    with self.repository.errors():
                        if not row.fresh:
                            row.stage, row.fresh = self.repository.fresh(row.stage), True
                        done = self.repository.prepare(row.stage, outcomes.made_from(row.folder, row.stage.outs))
                except HarnessError as error:
                    self._fail(row, str(error))
                    continue
                row.fresh = False
                if done.state == "current":
                    self._set(row, "up to date")
                elif done.state == "stale":
                    self._submit(row, done)
                else:
                    row.note = "adopted" if done.state == "made" else "restored"
                    here.append(row)
            self._record(here)
        return True

    def _free(self, row: Row) -> bool:
        """Return whether no process of an older attempt holds the stage's lock, wherever it runs."""
        if not row.folder.is_dir():
            return True
        descriptor = state.open_lock(row.folder)
        try:
            free = state.try_lock(descriptor)
        finally:
            os.close(descriptor)
        now = time.monotonic()
        row.blocked = 0.0 if free else row.blocked or now
        if not free and now - row.blocked > supervisor.LOCK_WAIT_SEC + self.options.grace:
            self._fail(row, "processes of an older attempt still hold its lock; end them and launch again")
        return free

    def _submit(self, row: Row, prepared: Prepared) -> None:
        environment: dict[str, str | None] = dict(prepared.environment or {})
        environment |= {name: value for name, value in os.environ.items() if name.startswith("HARNESS_")}
        environment.pop(state.MARK, None)
        environment["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS")  # an engine may set it to `cpus`
        if not row.resources.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ""  # an engine may leave all of them visible
        environment["HARNESS_GPUS"] = str(max(row.resources.gpus, 1))  # a training starts a process on each
        make_folder(row.folder)
        row.attempt, row.inputs, row.host = state.last_attempt(row.folder) + 1, prepared.inputs, ""
        (row.folder / "result.json").unlink(missing_ok=True)
        job = {
            "attempt": row.attempt,
            "commands": prepared.commands,
            "folder": prepared.folder,
            "environment": environment,
            "inputs": prepared.inputs,
        }
        state.write(row.folder / "job.json", job)
        state.grant(row.folder, row.attempt)
        self.engine.submit(Attempt(row.name, row.folder, row.attempt, row.resources, self.options.grace))
        self._set(row, "queued", f"attempt {row.attempt}, {row.resources}")

    def _collect(self, timeout: float) -> bool:
        """Wait for attempts, decide what follows from each, and record what is done; return whether any was over."""
        well = []
        over = self.engine.wait(timeout)
        for attempt, error in over:
            row = self.rows[attempt.stage]
            row.refresh()
            result = state.read(row.folder / "result.json")
            then, why = outcomes.outcome(result, attempt.number, error, row.stage.outs)
            if then is Then.RECORD:
                assert result is not None
                row.seconds, row.host, row.note = result["finished"] - result["started"], result["host"], "recorded"
                well.append(row)
            elif then is Then.FAIL:
                line = state.last_line(row.folder / f"{attempt.number}.log")
                self._fail(
                    row, f"{why}; {row.folder / f'{attempt.number}.log'}" + (f" ends with: {line}" if line else "")
                )
            elif self.told:
                self._set(row, "interrupted", why)
            else:
                self._again(row, why)
        if well:
            with self.repository.locked():
                self._record(well)
        return bool(over)

    def _again(self, row: Row, why: str) -> None:
        row.lost += 1
        state.revoke(row.folder)
        if row.lost > self.options.retries:
            self._fail(row, f"lost {row.lost} times, at last: {why}")
        else:
            self._set(row, "waiting", f"lost: {why}; it runs again")

    def _record(self, rows: list[Row]) -> None:
        """Record finished stages, those whose inputs moved meanwhile excepted. To be called under DVC's lock."""
        for row in rows:
            try:
                with self.repository.errors():
                    if row.note == "recorded" and self.repository.hashed(row.stage) != row.inputs:
                        self._set(row, "waiting", "its inputs changed while it ran; it runs again")
                        continue
                    dvc_stages.save(row.stage)
            except HarnessError as error:
                self._fail(row, str(error))
                continue
            result = state.read(row.folder / "result.json")
            if result is not None:  # DVC may have put links or copies in the place of the outputs
                state.write(row.folder / "result.json", result | {"finished": state.now()})
            self.saved.append(row)
            self._set(row, row.note, f"{row.seconds:.1f} s" if row.note == "recorded" else "")

    def _dump(self) -> None:
        """Write the entries of saved stages into dvc.lock."""
        if self.saved:
            with self.repository.locked():
                dvc_stages.dump([row.stage for row in self.saved])
            for row in self.saved:
                (row.folder / "result.json").unlink(missing_ok=True)
            self.saved = []

    def _fail(self, row: Row, why: str) -> None:
        self.failed = True
        self._set(row, "failed", why)
        for other in self._behind(row):
            if other.state == "waiting":
                self._set(other, "skipped", f"{row.name} failed")

    def _behind(self, row: Row) -> list[Row]:
        behind = {row.name}
        for other in self.rows.values():  # in DVC's order: what a stage waits for comes before it
            if other.after & behind:
                behind.add(other.name)
        return [self.rows[name] for name in self.rows if name in behind - {row.name}]

    def _stop(self) -> None:
        """Revoke the leases, give the stages their grace, and record what finished all the same."""
        for row in self._at_work():
            state.revoke(row.folder)
        until = time.monotonic() + self.options.grace + 10
        while self._at_work() and time.monotonic() < until:
            self._collect(POLL_SEC)
            self._show()

    def _set(self, row: Row, new: str, note: str = "") -> None:
        row.state, row.note = new, note
        event = row.event() | {"launch": self.began}
        with open(self.folder / EVENTS, "a", encoding="utf-8") as handle:
            handle.write(json.dumps(event) + "\n")
        self.view.tell(row, note)
