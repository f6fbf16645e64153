"""Ray as the engine: embedded in this process on one machine, or a cluster that is there already."""

import logging
import os
import secrets
from typing import Any

from harness.cluster import supervisor
from harness.cluster.engine import Attempt, Node
from harness.cluster.errors import Refused

GIB = 2**30
OBJECT_STORE_BYTES = 100 * 2**20  # Ray's least is 75 MiB; nothing but exit codes goes through it


class RayEngine:
    """See `harness.cluster.engine.Engine`.

    Raises:
        Refused: Ray is not installed, or the cluster cannot be reached.
    """

    def __init__(self, address: str | None = None, gpus: int | None = None) -> None:
        """Connect to the cluster at `address`, or start Ray here with `gpus` GPUs (default: those it finds)."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        if address is None:  # nobody else on this machine may submit to it
            os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN"] = "token", secrets.token_hex(32)
        try:
            import ray
        except ImportError:
            raise Refused("Ray is not installed; type `pip install -c constraints.txt -e '.[launch]'`.") from None
        self.ray: Any = ray
        settings: dict[str, Any] = {"address": address}
        if address is None:
            settings = {
                "address": "local",
                "num_cpus": len(os.sched_getaffinity(0)),
                "num_gpus": gpus,
                "_memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
                "_node_ip_address": "127.0.0.1",
                "object_store_memory": OBJECT_STORE_BYTES,
                "include_dashboard": False,
            }
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **settings)
        except Exception as error:  # Ray raises plain ones, too, e.g. where a busy machine lets its start time out
            raise Refused(f"Ray does not start: {error}") from error
        self.running: dict[Any, Attempt] = {}

    def nodes(self) -> list[Node]:
        """Return the machines that are alive."""
        return [
            Node(
                name=one["NodeManagerAddress"],
                cpus=one["Resources"].get("CPU", 0.0),
                gpus=one["Resources"].get("GPU", 0.0),
                memory_gib=one["Resources"].get("memory", 0.0) / GIB,
            )
            for one in self.ray.nodes()
            if one["Alive"]
        ]

    def submit(self, attempt: Attempt) -> None:
        """Start an attempt once there is room for it; Ray's own retries, which would start a second one, are off."""
        wanted = attempt.resources
        remote = self.ray.remote(
            num_cpus=wanted.cpus, num_gpus=wanted.gpus, memory=int(wanted.memory_gib * GIB), max_retries=0
        )(supervisor.run)
        self.running[remote.remote(str(attempt.folder), attempt.number, attempt.grace)] = attempt

    def wait(self, timeout: float) -> list[tuple[Attempt, str]]:
        """Return the attempts that are over; see `Engine.wait`."""
        if not self.running:
            return []
        self.ray.wait(list(self.running), num_returns=1, timeout=timeout, fetch_local=False)
        done, _ = self.ray.wait(list(self.running), num_returns=len(self.running), timeout=0, fetch_local=False)
        ended = []
        for one in done:
            try:
                self.ray.get(one)
                error = ""
            except self.ray.exceptions.RayError as problem:
                error = f"{type(problem).__name__}: {str(problem).splitlines()[0] if str(problem) else ''}"
            ended.append((self.running.pop(one), error))
        return ended

    def close(self) -> None:
        """Leave the cluster; an embedded Ray ends, with what it runs."""
        self.ray.shutdown()
