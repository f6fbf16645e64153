"""What runs attempts: three calls, so that the driver knows nothing of Ray."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.cluster.resources import Resources


@dataclass(frozen=True)
class Node:
    """One machine as an engine knows it: CPU cores, GPUs, memory in GiB."""

    name: str
    cpus: float
    gpus: float
    memory_gib: float

    def fits(self, wanted: Resources) -> bool:
        """Return whether this machine, empty, could run a stage."""
        return wanted.cpus <= self.cpus and wanted.gpus <= self.gpus and wanted.memory_gib <= self.memory_gib


@dataclass(frozen=True)
class Attempt:
    """One attempt at a stage: where its files are, its number, what it is given, seconds from TERM to KILL."""

    stage: str
    folder: Path
    number: int
    resources: Resources
    grace: float


class Engine(Protocol):
    """Runs `harness.cluster.supervisor.run` for each attempt, somewhere, and tells when it is over."""

    def nodes(self) -> list[Node]:
        """Return the machines."""

    def submit(self, attempt: Attempt) -> None:
        """Start an attempt once there is room for it; never start it twice."""

    def wait(self, timeout: float) -> list[tuple[Attempt, str]]:
        """Return the attempts that are over, each with the engine's error or nothing, after `timeout` seconds at most.

        What became of the stage itself stands in the attempt's folder.
        """

    def close(self) -> None:
        """End what still runs, and let go of the machines."""


Opener = Callable[[], Engine]
