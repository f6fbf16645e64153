"""What is shown of a stage, of a launch that goes on or of the last one."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cluster import attempt_folder as state
from harness.pipeline.status import held

FOLDER, EVENTS, STAGES = ".launch", "events.jsonl", "stages.json"
HOUR_SEC = 3600.0
AT_WORK = ("queued", "running")
DONE = ("up to date", "recorded", "restored", "adopted")


@dataclass(kw_only=True)
class Shown:
    """One stage: its state, where its attempts' files are, and what is known of the last attempt.

    `hours`: that it is thought to take with its GPUs; 0: nobody knows. `basis`: of it, measured, counted or released.
    """

    name: str
    folder: Path
    gpus: int
    state: str = "waiting"  # waiting, skipped, failed, interrupted, or one of AT_WORK and DONE
    attempt: int = 0
    host: str = ""
    started: float = 0.0
    seconds: float = 0.0
    note: str = ""
    hours: float = 0.0
    basis: str = ""

    @property
    def hours_left(self) -> float:
        """Hours until it is done, as far as one knows; a lost attempt is counted as if it had done nothing."""
        if self.state not in ("waiting", *AT_WORK):
            return 0.0
        gone = state.now() - self.started if self.state == "running" else 0.0
        return max(0.0, self.hours - gone / HOUR_SEC)

    def refresh(self) -> None:
        """Read from the folder whether a queued attempt has begun."""
        if self.state == "queued":
            found = state.read(self.folder / "running.json")
            if found and found.get("attempt") == self.attempt:
                self.state, self.host, self.started = "running", found["host"], found["started"]

    def event(self) -> dict[str, Any]:
        """Return the line of `events.jsonl` that says so."""
        return {
            "time": state.now(),
            "stage": self.name,
            "state": self.state,
            "attempt": self.attempt,
            "gpus": self.gpus,
            "hours": self.hours,
            "host": self.host,
            "seconds": self.seconds,
            "note": self.note,
        }


def last_launch(root: Path) -> list[Shown]:
    """Return the stages of the last launch in a checkout, those at work last.

    What a killed launch left at work is told as `interrupted`; nothing is locked or changed.
    """
    folder = root / FOLDER
    try:
        lines = (folder / EVENTS).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    events = [json.loads(line) for line in lines if line.endswith("}")]  # the last may be half written
    rows: dict[str, Shown] = {}
    known = state.read(folder / STAGES) or {}
    if events and known.get("launch") == events[-1]["launch"]:
        for one in known["stages"]:
            place = folder / state.escaped(one["stage"])
            rows[one["stage"]] = Shown(name=one["stage"], folder=place, gpus=one["gpus"], hours=one["hours"])
    for event in events:
        if event["launch"] == events[-1]["launch"]:
            known = {key: event[key] for key in ("state", "attempt", "gpus", "hours", "host", "seconds", "note")}
            rows.pop(event["stage"], None)
            rows[event["stage"]] = Shown(name=event["stage"], folder=folder / state.escaped(event["stage"]), **known)
    alive = held(folder / "driver.lock") is not False
    for row in rows.values():
        row.refresh()
        if row.state in AT_WORK and not alive:
            row.state = "interrupted"
    return sorted(rows.values(), key=lambda row: row.state in AT_WORK)
