"""Toy pipelines through the driver and the supervisor, with processes in Ray's place."""

import json
import os
import time
from pathlib import Path

import pytest
import yaml

from harness.cluster import attempt_folder as state
from harness.cluster import supervisor
from harness.cluster.engine import Node
from harness.cluster.errors import Refused
from harness.cluster.graph import stale
from harness.files import locked
from harness.pipeline import dvc_stages
from harness.pipeline.dvc_stages import Repository
from tests.cluster.helpers import Processes, Told, launch, lock, plan, repro, states, toy


def test_the_lock_file_is_that_of_a_serial_repro(tmp_path: Path) -> None:
    serial, ours = toy(tmp_path / "serial"), toy(tmp_path / "ours")
    repro(serial)
    code, rows = launch(ours)
    assert code == 0
    assert set(states(rows).values()) == {"recorded"}
    assert lock(ours) == lock(serial)
    assert (ours / "j.txt").read_bytes() == (serial / "j.txt").read_bytes()
    for folder in (serial, ours):  # only what changed runs again
        (folder / "params.yaml").write_text("word: 2\n")
    repro(serial)
    code, rows = launch(ours)
    assert states(rows) == {
        "make": "up to date",
        "left": "up to date",
        "right@one": "recorded",
        "right@two": "recorded",
        "join": "up to date",
    }
    assert lock(ours) == lock(serial)
    assert repro(ours) == []
    (ours / "in.txt").write_text("x2\n")
    assert launch(ours)[0] == 0
    (ours / "in.txt").write_text("x\n")  # as it was: DVC's cache of runs has it
    engine = Processes()
    code, rows = launch(ours, engine)
    assert (rows["make"].state, rows["left"].state, rows["join"].state) == ("restored",) * 3
    assert {one.stage for one in engine.attempts} == {"right@one", "right@two"}  # outputs outside the cache
    assert lock(ours) == lock(serial)


def test_a_failure_skips_what_waits_for_it_and_nothing_else(tmp_path: Path) -> None:
    pipeline = {
        "stages": {
            "bad": {"cmd": "echo because; exit 7", "outs": ["bad.txt"]},
            "liar": {"cmd": "true", "outs": ["liar.txt"]},
            "diverged": {"cmd": "exit 3", "outs": ["d.txt"]},
            "after": {"cmd": "cp bad.txt after.txt", "deps": ["bad.txt"], "outs": ["after.txt"]},
            "good": {"cmd": "echo > good.txt", "outs": ["good.txt"]},
        }
    }
    folder, engine = toy(tmp_path, pipeline), Processes()
    code, rows = launch(folder, engine)
    assert code == 1
    assert states(rows) | {"good": ""} == {
        "bad": "failed", "liar": "failed", "diverged": "failed", "after": "skipped", "good": "",
    }  # fmt: skip
    assert rows["good"].state == "recorded"
    assert "exit 7" in rows["bad"].note
    assert rows["bad"].note.endswith("because")
    assert "did not make" in rows["liar"].note
    assert "diverged" in rows["diverged"].note
    assert max(one.number for one in engine.attempts) == 1
    assert set(lock(folder)["stages"]) == {"good"}


def test_fail_fast_starts_nothing_more(tmp_path: Path) -> None:
    pipeline = {"stages": {name: {"cmd": "exit 1", "outs": [f"{name}.txt"]} for name in "abc"}}
    engine = Processes()
    assert launch(toy(tmp_path, pipeline), engine, jobs=1, fail_fast=True)[0] == 1
    assert len(engine.attempts) == 1


def test_a_lost_attempt_is_retried_and_never_beside_its_successor(tmp_path: Path) -> None:
    """The first attempt's worker and supervisor die; its command, in a session of its own, would go on."""
    work = (
        "test -e busy && echo overlap >> overlaps; touch busy; "
        "test -e once || { touch once; echo $$ > pid; setsid sleep 60; }; rm busy; echo done > out.txt"
    )
    folder = toy(
        tmp_path, {"stages": {"work": {"cmd": f"trap 'rm -f busy; exit 143' TERM; {work}", "outs": ["out.txt"]}}}
    )

    class Murderous(Processes):
        def wait(self, timeout: float):
            if (folder / "pid").exists() and len(self.attempts) == 1:
                running = state.read(self.attempts[0].folder / "running.json")
                assert running is not None
                os.kill(running["pid"], 9)
            return super().wait(timeout)

    engine = Murderous()
    assert launch(folder, engine)[0] == 0
    assert [one.number for one in engine.attempts] == [1, 2]
    assert not (folder / "overlaps").exists()
    assert supervisor.marked(f"{folder}/") == []


def test_retries_end(tmp_path: Path) -> None:
    folder = toy(tmp_path, {"stages": {"work": {"cmd": "exit 143", "outs": ["out.txt"]}}})
    engine = Processes()
    code, rows = launch(folder, engine, retries=1)
    assert (code, len(engine.attempts)) == (1, 2)
    assert "lost 2 times" in rows["work"].note


def test_inputs_that_change_meanwhile_are_not_recorded(tmp_path: Path) -> None:
    cmd = "cp in.txt out.txt; test -e once || { touch once; echo y > in.txt; }"
    folder = toy(tmp_path, {"stages": {"work": {"cmd": cmd, "deps": ["in.txt"], "outs": ["out.txt"]}}})
    told = Told()
    assert launch(folder, view=told)[0] == 0
    assert [how for _, how, _ in told.events] == ["queued", "waiting", "queued", "recorded"]
    assert (folder / "out.txt").read_text() == "y\n"
    assert repro(folder) == []


@pytest.mark.parametrize(("change", "adopted"), [("nothing", True), ("input", False), ("output", False)])
def test_what_a_killed_driver_left_is_adopted_if_nothing_changed(tmp_path: Path, change: str, adopted: bool) -> None:
    cmd = "cat in.txt > out.txt; echo >> runs"
    folder = toy(tmp_path, {"stages": {"work": {"cmd": cmd, "deps": ["in.txt"], "outs": ["out.txt"]}}})

    class Killed(Processes):
        def wait(self, timeout: float):
            if super().wait(10):
                raise KeyboardInterrupt  # nothing after this call happens, as if it were killed
            return []

    with pytest.raises(KeyboardInterrupt):
        launch(folder, Killed())
    assert not (folder / "dvc.lock").exists()
    time.sleep(0.05)
    if change == "input":
        (folder / "in.txt").write_text("z\n")
    if change == "output":
        (folder / "out.txt").write_text("forged\n")
    code, rows = launch(folder)
    assert code == 0
    assert rows["work"].state == ("adopted" if adopted else "recorded")
    assert (folder / "out.txt").read_text() == (folder / "in.txt").read_text()
    assert len((folder / "runs").read_text()) == (1 if adopted else 2)
    assert repro(folder) == []


def test_a_stage_that_was_saved_and_not_dumped_is_adopted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cmd = "cat in.txt > out.txt; echo >> runs"
    folder = toy(tmp_path, {"stages": {"work": {"cmd": cmd, "deps": ["in.txt"], "outs": ["out.txt"]}}})

    def killed(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(dvc_stages, "dump", killed)
        with pytest.raises(KeyboardInterrupt):
            launch(folder)
    assert not (folder / "dvc.lock").exists()
    code, rows = launch(folder)
    assert (code, states(rows)) == (0, {"work": "adopted"})
    assert (folder / "runs").read_text() == "\n"
    assert repro(folder) == []


def test_a_second_driver_is_refused(tmp_path: Path) -> None:
    folder = toy(tmp_path)
    with locked(folder / ".launch/driver.lock"), pytest.raises(Refused, match="is working here"):
        launch(folder)
    assert not (folder / "a.txt").exists()


def test_what_fits_no_machine_is_refused(tmp_path: Path) -> None:
    folder = toy(tmp_path)
    (folder / "resources.yaml").write_text(yaml.safe_dump({"stages": {"left": {"gpus": 1}}}))
    with pytest.raises(Refused, match=r"resources\.yaml: left asks for 1 CPU, 1 GPU"):
        launch(folder, Processes(Node("small", 2, 0, 8)))
    assert not (folder / "a.txt").exists()


def test_no_more_runs_at_once_than_fits(tmp_path: Path) -> None:
    cmd = "ls *.busy >> seen 2>/dev/null; touch ${item}.busy; sleep 0.3; rm ${item}.busy; touch ${item}.txt"
    each = {"cmd": cmd, "outs": ["${item}.txt"]}
    folder = toy(tmp_path, {"stages": {"each": {"foreach": list("abcd"), "do": each}}})
    (folder / "resources.yaml").write_text("default: {cpus: 2}\n")
    assert launch(folder, Processes(Node("small", 3, 0, 64)))[0] == 0
    assert (folder / "seen").read_text() == ""


def test_a_stage_gets_its_gpu_or_none_and_no_threads_of_an_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    folder = toy(tmp_path, {"stages": {"show": {"cmd": "env > out.txt", "outs": ["out.txt"]}}})
    assert launch(folder)[0] == 0
    environment = dict(line.partition("=")[::2] for line in (folder / "out.txt").read_text().splitlines())
    assert environment["CUDA_VISIBLE_DEVICES"] == ""
    assert environment["HARNESS_GPUS"] == "1"
    assert environment["OMP_NUM_THREADS"] == "3"
    assert environment["DVC_STAGE"].endswith("show")


def test_the_plan_says_what_is_stale_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = toy(tmp_path)
    monkeypatch.chdir(folder)
    assert launch(folder)[0] == 0
    (folder / "in.txt").write_text("x3\n")
    with Repository(folder) as repository:
        found = {row.name: (how, why) for row, how, why in stale(repository, plan(repository, ["dvc.yaml"]))}
    assert found["make"] == ("stale", "in.txt modified")
    assert found["join"][0] == "may run"
    assert len(found) == 5


def test_events_are_kept_and_dvc_prints_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = toy(tmp_path, {"stages": {"a": {"cmd": "touch a.txt", "outs": ["a.txt"]}}})
    capsys.readouterr()
    assert launch(folder)[0] == 0
    assert capsys.readouterr().out == ""
    events = [json.loads(line) for line in (folder / ".launch/events.jsonl").read_text().splitlines()]
    assert [one["state"] for one in events] == ["queued", "recorded"]
