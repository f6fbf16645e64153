"""Two processes between an engine's worker and a stage, so that no process of a stage outlives who asked for it.

    worker -> shim -> supervisor -> the stage's command

An engine kills its worker's direct children only. The kernel kills the shim with the worker, and tells the supervisor
when the shim is gone; the supervisor adopts whatever the stage leaves behind and ends every process that bears the
attempt's mark. The stage's lock is held by its processes themselves, so it is free only when they are gone.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

from harness.cluster import attempt_folder as state

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
POLL_SEC = 0.1
LEASE_EVERY_SEC = 1.0
UNREACHABLE_SEC = 60.0  # without the shared folder, after which a stage is ended
PARTITION_GRACE_SEC = 20.0  # then; a retry elsewhere waits LOCK_WAIT_SEC, which is longer than both together
LOCK_WAIT_SEC = 90.0
LEFTOVER_GRACE_SEC = 5.0  # for processes that a finished command left in the background


def command(folder: Path, attempt: int, grace: float) -> list[str]:
    """Return the command line that a worker runs; it exits as the stage did."""
    return [sys.executable, "-m", __name__, "shim", str(folder), str(attempt), str(grace), str(os.getpid())]


def run(folder: str, attempt: int, grace: float) -> int:
    """Run one attempt to its end, from a worker, and return its exit code."""
    return subprocess.call(command(Path(folder), attempt, grace), stdin=subprocess.DEVNULL)


def _follow(parent: int, sent: int) -> None:
    """Let the kernel send `sent` when the parent dies; leave at once where that has happened already."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(PR_SET_PDEATHSIG, int(sent), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:
        sys.exit(state.LOST)


def _shim(folder: str, attempt: str, grace: str) -> int:
    line = [sys.executable, "-m", __spec__.name, "supervisor", folder, attempt, grace, str(os.getpid())]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the driver and to everything around it
    code = subprocess.call(line, stdin=subprocess.DEVNULL, start_new_session=True)
    if code < 0:  # the supervisor was killed and left its stage behind
        end(lambda: marked(mark(folder, int(attempt))), float(grace))
    return code


def mark(folder: Path | str, attempt: int) -> str:
    """Return the mark of an attempt; that of every attempt of the stage begins with `<folder>#`."""
    return f"{folder}#{attempt};"


def marked(prefix: str, without: str = "\n") -> list[int]:
    """Return this user's processes whose mark begins with `prefix`, and with `without` not."""
    found = []
    begin, never = f"{state.MARK}={prefix}".encode(), f"{state.MARK}={without}".encode()
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            if entry.stat().st_uid != os.getuid():
                continue
            variables = Path(entry.path, "environ").read_bytes().split(b"\0")
        except OSError:  # gone meanwhile
            continue
        if any(one.startswith(begin) and not one.startswith(never) for one in variables):
            found.append(int(entry.name))
    return found


def end(find: Callable[[], list[int]], grace: float, reap: Callable[[], None] = lambda: None) -> None:
    """Send TERM once to each process that `find` returns, after `grace` seconds KILL, until it finds none."""
    told: set[int] = set()
    until = time.monotonic() + grace
    while found := find():
        late = time.monotonic() > until
        for pid in found:
            if late or pid not in told:
                told.add(pid)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        time.sleep(POLL_SEC)
        reap()


class Supervisor:
    """Runs the commands of one attempt and sees that nothing of them remains."""

    def __init__(self, folder: Path, attempt: int, grace: float) -> None:
        self.folder, self.attempt, self.grace = folder, attempt, grace
        self.mark = mark(folder, attempt)
        self.told = False  # by a signal: the worker is gone, or the machine wants to end
        self.codes: dict[int, int] = {}  # of reaped processes
        self.seen = time.monotonic()  # when the lease was last read
        self.cut_off = False  # from the shared folder

    def run(self) -> int:
        """Wait for the lock, run the commands, write `result.json`, and return the exit code."""
        signal.signal(signal.SIGTERM, self._tell)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # stages would inherit that the shim ignores it,
        signal.pthread_sigmask(signal.SIG_SETMASK, [])  # and what an engine blocks
        job = state.read(self.folder / "job.json")
        if job is None or job["attempt"] != self.attempt or not self._read_lease():
            return state.LOST
        threading.Thread(target=self._watch, daemon=True).start()
        lock = state.open_lock(self.folder)
        if not self._take(lock):
            return state.LOST
        started = state.now()
        state.write(
            self.folder / "running.json",
            {"attempt": self.attempt, "host": os.uname().nodename, "pid": os.getpid(), "started": started},
        )
        code, why = self._commands(job, lock)
        end(lambda: marked(self.mark), self.grace if why else LEFTOVER_GRACE_SEC, self._reap)
        if self.cut_off:
            return state.LOST
        result = {
            "attempt": self.attempt,
            "code": code,
            "why": why,
            "inputs": job["inputs"],
            "host": os.uname().nodename,
            "started": started,
            "finished": state.now(),
        }
        try:
            if state.lease(self.folder) in (self.attempt, 0):  # a newer attempt writes its own
                state.write(self.folder / "result.json", result)
        except OSError:
            return state.LOST
        return code

    def _tell(self, _signal: int, _frame: FrameType | None) -> None:
        self.told = True

    def _watch(self) -> None:
        """Follow the lease, in a thread of its own: a read from a folder that is out of reach may never return."""
        while self._read_lease():
            time.sleep(LEASE_EVERY_SEC)
        self.told = True

    def _read_lease(self) -> bool:
        """Return whether the attempt may go on, as far as one can read."""
        try:
            current = state.lease(self.folder)
        except OSError:
            return True  # `_must_end` counts how long
        self.seen = time.monotonic()
        return current == self.attempt

    def _must_end(self) -> str:
        """Return why the stage has to end, or nothing."""
        if time.monotonic() - self.seen > UNREACHABLE_SEC and not self.cut_off:
            self.cut_off, self.grace = True, min(self.grace, PARTITION_GRACE_SEC)
        return state.ENDED if self.told or self.cut_off else ""

    def _take(self, lock: int) -> bool:
        """End what older attempts left on this machine, then wait for the lock."""
        until = time.monotonic() + LOCK_WAIT_SEC
        while not state.try_lock(lock):
            end(lambda: marked(f"{self.folder}#", without=self.mark), self.grace)
            if self._must_end() or time.monotonic() > until:
                return False
            time.sleep(POLL_SEC)
        return True

    def _commands(self, job: dict, lock: int) -> tuple[int, str]:
        """Run the commands in turn until one fails; return its exit code, and why it was ended, if it was."""
        environment = {**os.environ, state.MARK: self.mark}
        for name, value in job["environment"].items():
            environment.pop(name, None)
            if value is not None:
                environment[name] = value
        place = str(Path(sys.executable).parent)  # `harness` is that of this interpreter
        environment["PATH"] = os.pathsep.join([place, environment.get("PATH", os.defpath)])
        code = 0
        with open(self.folder / f"{self.attempt}.log", "ab") as log:
            for line in job["commands"]:
                process = subprocess.Popen(
                    line, cwd=job["folder"], env=environment, stdin=subprocess.DEVNULL, stdout=log,
                    stderr=subprocess.STDOUT, start_new_session=True, pass_fds=(lock,),
                )  # fmt: skip
                while process.pid not in self.codes:
                    if why := self._must_end():
                        end(lambda: marked(self.mark), self.grace, self._reap)
                        process.returncode = self.codes.get(process.pid, state.TERMINATED)
                        return state.TERMINATED, why
                    time.sleep(POLL_SEC / 5)
                    self._reap()
                code = process.returncode = self.codes[process.pid]
                if code:
                    break
        return code, ""

    def _reap(self) -> None:
        """Collect every process that ended: the commands, and orphans of theirs that this process adopted."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            self.codes[pid] = code if code >= 0 else 128 - code


def main() -> int:
    """Entry point of both processes: `shim|supervisor FOLDER ATTEMPT GRACE PARENT`."""
    role, folder, attempt, grace, parent = sys.argv[1:]
    if role == "shim":
        _follow(int(parent), signal.SIGKILL)
        return _shim(folder, attempt, grace)
    supervisor = Supervisor(Path(folder), int(attempt), float(grace))
    signal.signal(signal.SIGTERM, supervisor._tell)
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _follow(int(parent), signal.SIGTERM)
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main())
