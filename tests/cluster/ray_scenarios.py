"""What the tests of Ray do, as a script of its own in a network namespace that has nothing but a loopback.

python -m tests.cluster.ray_scenarios SCENARIO FOLDER
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


def until(what: Callable[[], object], seconds: float = 180) -> None:
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
    assert process.wait(240) == 0
    assert not (folder / "overlaps").exists()
    assert set(lock(folder)["stages"]) == {"long@a", "long@b"}
    assert repro(folder) == []
    assert supervisor.marked(f"{folder}/") == []


def toy_equals_repro(folder: Path) -> None:
    serial, ours = toy(folder / "serial"), toy(folder / "ours")
    os.environ["SHELL"] = "/bin/sh"
    repro(serial)
    assert start(ours).wait(240) == 0
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
    assert driver.wait(60) == 130
    assert supervisor.marked(f"{folder}/") == []
    finish(folder, None)


def second_driver(folder: Path) -> None:
    """A launch beside another one is refused, and touches nothing."""
    toy(folder, PIPELINE)
    driver = start(folder)
    until(lambda: begun(folder, 1))
    pids, before = supervisor.marked(f"{folder}/"), contents(folder)
    line = [sys.executable, "-m", "harness", "launch", "--jobs", "2"]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "is working here" in done.stderr
    assert "Traceback" not in done.stderr
    assert contents(folder) == before
    assert supervisor.marked(f"{folder}/") == pids
    (folder / "finish").touch()
    for name in "ab":
        os.kill(running(folder, name)["pid"], signal.SIGTERM)
    finish(folder, driver)
    assert running(folder, "a")["attempt"] == running(folder, "b")["attempt"] == 2


def contents(folder: Path) -> dict[Path, bytes]:
    """What a launch writes, DVC's own bookkeeping excepted."""
    files = [*folder.glob(".launch/**/*"), *folder.glob("*.*")]
    return {path: path.read_bytes() for path in files if path.is_file()}


def node_cut_off(folder: Path) -> None:
    """Two raylets in networks of their own; one loses the link and the folder, and its stage runs again on the other.

    Its supervisor, which nobody can tell anything, ends the stage by itself. The next attempt waits until Ray takes the
    node for dead, which a link that is down did not make it do within four minutes; so the raylet dies, too, at last.
    """
    toy(folder, PIPELINE)
    here, there = "10.77.0.1", "10.77.0.2"
    other = subprocess.Popen(["unshare", "--net", "--mount", "sleep", "900"])
    inside = ["nsenter", "--target", str(other.pid), "--net", "--mount"]
    time.sleep(1)
    for line in (
        f"ip link add v0 type veth peer name v1 netns {other.pid}",
        f"ip addr add {here}/24 dev v0",
        "ip link set v0 up",
        f"{' '.join(inside)} ip addr add {there}/24 dev v1",
        f"{' '.join(inside)} ip link set v1 up",
        f"{' '.join(inside)} ip link set lo up",
        f"ip addr add {here}/32 dev lo",  # a node whose link is down still reaches itself
        f"{' '.join(inside)} ip addr add {there}/32 dev lo",
    ):
        subprocess.run(line.split(), check=True)
    os.environ |= {"RAY_gcs_rpc_server_reconnect_timeout_s": "900"}  # the node itself does not notice
    with ended(other), raylets(folder, here, there, inside):
        driver = start(folder, "--address", f"{here}:6379")
        until(lambda: begun(folder, 1))
        own = os.readlink("/proc/self/ns/net")
        lost, kept = sorted("ab", key=lambda name: os.readlink(f"/proc/{running(folder, name)['pid']}/ns/net") == own)
        assert os.readlink(f"/proc/{running(folder, lost)['pid']}/ns/net") != own
        assert os.readlink(f"/proc/{running(folder, kept)['pid']}/ns/net") == own
        place, raylet = folder / ".launch", raylet_of(running(folder, lost)["pid"])
        subprocess.run(["ip", "link", "set", "v0", "down"], check=True)
        for line in (
            f"mount -t tmpfs none {place}",
            f"mkdir {place}/long@{lost}",
            f"mkfifo {place}/long@{lost}/lease.json",
        ):
            subprocess.run([*inside, *line.split()], check=True)
        cut = time.monotonic()
        (folder / "finish").touch()
        pid = running(folder, lost)["pid"]
        os.kill(running(folder, kept)["pid"], signal.SIGTERM)
        until(lambda: not Path(f"/proc/{pid}").exists(), 120)
        passed = time.monotonic() - cut
        assert supervisor.UNREACHABLE_SEC - 5 < passed < supervisor.LOCK_WAIT_SEC, passed
        assert running(folder, lost)["attempt"] == 1
        subprocess.run(["ip", "link", "set", "v0", "up"], check=True)
        os.kill(raylet, signal.SIGKILL)
        finish(folder, driver, "--address", f"{here}:6379")
        assert running(folder, lost)["attempt"] == running(folder, kept)["attempt"] == 2


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """A process that is killed in the end, whatever happens."""
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def raylets(folder: Path, here: str, there: str, inside: Sequence[str] = ()) -> Iterator[list[int]]:
    """Two raylets of one core each, the second one started by `inside`; their pids."""
    (folder / "resources.yaml").write_text(yaml.safe_dump({"default": {"memory_gib": 0.1}}))
    ray = [str(Path(sys.executable).with_name("ray")), "start", "--num-cpus=1", "--block", "--disable-usage-stats"]
    store = f"--object-store-memory={100 * 2**20}"
    temporary = f"--temp-dir={os.environ['RAY_SCENARIO_TMP']}"
    head = [*ray, "--head", f"--node-ip-address={here}", "--port=6379", "--include-dashboard=false", store, temporary]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    both = [subprocess.Popen(head, **quiet)]
    try:
        until(lambda: has_raylet(both[0].pid))
        time.sleep(4)  # until it listens
        line = [*inside, *ray, f"--address={here}:6379", f"--node-ip-address={there}", store]
        both.append(subprocess.Popen(line, **quiet))
        until(lambda: has_raylet(both[1].pid))
        time.sleep(4)
        yield [process.pid for process in both]
    finally:
        for process in both:
            process.terminate()
            process.wait(30)


def raylet_killed(folder: Path) -> None:
    """Two raylets; the one of a stage dies, and the stage runs again on the other."""
    toy(folder, PIPELINE)
    with raylets(folder, "127.0.0.1", "127.0.0.1") as (_, second):
        driver = start(folder, "--address", "127.0.0.1:6379")
        until(lambda: begun(folder, 1))
        own = {name: raylet_of(running(folder, name)["pid"]) for name in "ab"}
        assert len(set(own.values())) == 2
        lost = next(name for name in "ab" if second in ancestors(own[name]))
        (folder / "finish").touch()
        os.kill(own[lost], signal.SIGKILL)
        kept = ({"a", "b"} - {lost}).pop()
        until(lambda: (state.read(folder / f".launch/long@{lost}/lease.json") or {}).get("last") == 1)
        os.kill(running(folder, kept)["pid"], signal.SIGTERM)  # so that it ends, too
        finish(folder, driver, "--address", "127.0.0.1:6379")
        assert running(folder, lost)["attempt"] == 2


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def ancestors(pid: int) -> list[int]:
    found = []
    while pid > 1:
        pid = parent(pid)
        found.append(pid)
    return found


def has_raylet(pid: int) -> bool:
    named = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/comm") if words(path) == "raylet"]
    return any(pid in ancestors(one) for one in named)


def words(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # the process is gone
        return ""


def raylet_of(pid: int) -> int:
    return next(one for one in ancestors(pid) if words(Path(f"/proc/{one}/comm")) == "raylet")


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]).resolve())
