"""What the tests of Ray do, as a script of its own in a network namespace that has nothing but a loopback.

python -m tests.cluster.ray_scenarios SCENARIO FOLDER
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from harness.cluster import attempt_folder as state
from harness.cluster import supervisor
from tests.cluster.helpers import lock, repro, toy

# Notes an attempt that runs beside another one, and leaves a process in a session of its own behind.
LONG = (
    "mkdir busy-${item} || echo ${item} >> overlaps; trap 'sleep 0.2; rmdir busy-${item}; exit 143' TERM; "
    "setsid sleep 300 & test -e finish || { echo >> started-${item}; sleep 300 & wait $!; }; "
    "rmdir busy-${item}; echo ${item} > ${item}.txt"
)
PIPELINE = {"stages": {"long": {"foreach": ["a", "b"], "do": {"cmd": LONG, "outs": ["${item}.txt"]}}}}


def start(folder: Path, *options: str) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-m", "harness", "launch", "--grace", "3", *(options or ("--jobs", "2"))]
    log = open(folder / "launch.log", "ab")  # noqa: SIM115
    environment = os.environ | {"SHELL": "/bin/sh"}
    return subprocess.Popen(line, cwd=folder, stdout=log, stderr=log, env=environment, start_new_session=True)


def until(what: Callable[[], object], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def running(folder: Path, name: str) -> dict:
    return state.read(folder / f".launch/long@{name}/running.json") or {}


def begun(folder: Path, times: int) -> bool:
    return all(
        len(path.read_text()) >= times if path.exists() else False
        for path in (folder / "started-a", folder / "started-b")
    )


def finish(folder: Path, process: subprocess.Popen[bytes] | None, *options: str) -> None:
    """Let every stage end well, launch (again), and hold what is there against a serial repro."""
    (folder / "finish").touch()
    process = process or start(folder, *options)
    assert process.wait(120) == 0
    assert not (folder / "overlaps").exists()
    assert set(lock(folder)["stages"]) == {"long@a", "long@b"}
    assert repro(folder) == []
    assert supervisor.marked(f"{folder}/") == []


def toy_equals_repro(folder: Path) -> None:
    serial, ours = toy(folder / "serial"), toy(folder / "ours")
    os.environ["SHELL"] = "/bin/sh"
    repro(serial)
    assert start(ours).wait(120) == 0
    assert lock(ours) == lock(serial)
    assert (ours / "j.txt").read_bytes() == (serial / "j.txt").read_bytes()
    assert repro(ours) == []


def driver_killed(folder: Path, times: int = 5) -> None:
    toy(folder, PIPELINE)
    for number in range(1, times + 1):
        driver = start(folder)
        until(lambda number=number: begun(folder, number))  # type: ignore[misc]
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        time.sleep(3)
        assert supervisor.marked(f"{folder}/") == [], f"kill {number} left orphans"
    finish(folder, None)


def worker_killed(folder: Path) -> None:
    toy(folder, PIPELINE)
    driver = start(folder)
    until(lambda: begun(folder, 1))
    (folder / "finish").touch()
    os.kill(parent(parent(running(folder, "a")["pid"])), signal.SIGKILL)  # supervisor -> shim -> worker
    os.kill(running(folder, "b")["pid"], signal.SIGKILL)  # a supervisor
    finish(folder, driver)
    assert running(folder, "a")["attempt"] == running(folder, "b")["attempt"] == 2


def interrupted(folder: Path) -> None:
    toy(folder, PIPELINE)
    driver = start(folder)
    until(lambda: begun(folder, 1))
    os.killpg(driver.pid, signal.SIGINT)  # as a terminal does: Ray's processes get it, too
    assert driver.wait(30) == 130
    assert supervisor.marked(f"{folder}/") == []
    finish(folder, None)


def raylet_killed(folder: Path) -> None:
    """Two raylets of one core each; the one of stage `a` dies, and the stage runs again on the other."""
    toy(folder, PIPELINE)
    (folder / "resources.yaml").write_text(yaml.safe_dump({"default": {"memory_gib": 0.1}}))
    ray = [str(Path(sys.executable).with_name("ray")), "start", "--num-cpus=1", "--block", "--disable-usage-stats"]
    store = f"--object-store-memory={100 * 2**20}"
    temporary = f"--temp-dir={os.environ['RAY_SCENARIO_TMP']}"
    head = [*ray, "--head", "--node-ip-address=127.0.0.1", "--port=6379", "--include-dashboard=false", store, temporary]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    first = subprocess.Popen(head, **quiet)  # type: ignore[call-overload]
    try:
        time.sleep(8)
        second = subprocess.Popen(  # type: ignore[call-overload]
            [*ray, "--address=127.0.0.1:6379", "--node-ip-address=127.0.0.1", store], **quiet
        )
        time.sleep(6)
        driver = start(folder, "--address", "127.0.0.1:6379")
        until(lambda: begun(folder, 1))
        raylets = {name: raylet_of(running(folder, name)["pid"]) for name in "ab"}
        assert len(set(raylets.values())) == 2
        lost = next(name for name in "ab" if second.pid in ancestors(raylets[name]))
        (folder / "finish").touch()
        os.kill(raylets[lost], signal.SIGKILL)
        kept = ({"a", "b"} - {lost}).pop()
        until(lambda: (state.read(folder / f".launch/long@{lost}/lease.json") or {}).get("last") == 1)
        os.kill(running(folder, kept)["pid"], signal.SIGTERM)  # so that it ends, too
        finish(folder, driver, "--address", "127.0.0.1:6379")
        assert running(folder, lost)["attempt"] == 2
    finally:
        for process in (first, second):
            process.terminate()
            process.wait(30)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def ancestors(pid: int) -> list[int]:
    found = []
    while pid > 1:
        pid = parent(pid)
        found.append(pid)
    return found


def raylet_of(pid: int) -> int:
    return next(one for one in ancestors(pid) if Path(f"/proc/{one}/comm").read_text().strip() == "raylet")


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]).resolve())
