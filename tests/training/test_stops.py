"""A training that does not reach its end says so; one that is not allowed to begin changes nothing."""

import errno
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.errors import HarnessError, TrainingDiverged
from harness.networks.generator_file import open_weights, save_generator
from harness.records import train_record
from harness.training import checkpoint, ema
from harness.training.loop import TrainingStopped
from tests.training import tiny


def stopped_record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "out/train/stopped.json").read_text())


def test_a_stopped_training_leaves_a_record_until_it_is_finished(tmp_path: Path) -> None:
    with pytest.raises(TrainingStopped):
        tiny.fit(tiny.run(), tmp_path, stop_nimg=80)
    record = stopped_record(tmp_path)
    assert (record["state"], record["nimg"], record["length_nimg"]) == ("stopped", 80, 160)
    assert (record["experiment"], record["seed"]) == ("tiny", 0)
    assert "80 images asked for" in record["why"]
    assert list(Path(record["checkpoint"]).glob("000000000080.json"))
    assert not (tmp_path / "out/train/train.json").exists(), "it must not look finished"
    with pytest.raises(HarnessError):
        train_record.read(tmp_path / "out/train/stopped.json")
    tiny.fit(tiny.run(), tmp_path)
    assert not (tmp_path / "out/train/stopped.json").exists()
    assert (tmp_path / "out/train/train.json").exists()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_signals_save_and_leave_a_record(tmp_path: Path, number: signal.Signals) -> None:
    run = tiny.run(checkpoint_every_nimg=10**9, log_every_nimg=8)
    hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
    process = tiny.start(run, tmp_path, beat=0.02)
    signal.signal(signal.SIGHUP, hangup)
    while not any(tiny.history.read(path) for path in (tmp_path / "work").glob("*/*/history.csv")):
        time.sleep(0.01)
    tiny.kill(process, number)
    assert f"signal {int(number)}" in stopped_record(tmp_path)["why"]
    assert len(list((tmp_path / "work").glob("*/*/0*.json"))) == 1


def test_nohup_is_respected(tmp_path: Path) -> None:
    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = tiny.start(tiny.run(log_every_nimg=8), tmp_path, beat=0.02)
        while not any(tiny.history.read(path) for path in (tmp_path / "work").glob("*/*/history.csv")):
            time.sleep(0.01)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGHUP)
        process.join()
    finally:
        signal.signal(signal.SIGHUP, old)
    assert (tmp_path / "out/train/train.json").exists()


def test_weights_that_are_not_finite_are_never_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The average grows beyond all numbers, while every loss is finite."""
    monkeypatch.setattr(ema, "decay", lambda *_: 1e30)
    with pytest.raises(TrainingDiverged, match=r"layers\.0\.weight is nan"):
        tiny.fit(tiny.run(), tmp_path)
    assert stopped_record(tmp_path)["state"] == "diverged"
    assert not list(tmp_path.glob("out/weights/*"))
    assert not list(tmp_path.glob("work/*/*/weights/*"))
    assert not list(tmp_path.glob("work/*/*/0*.json")), "no checkpoint of it either"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_neither_written_nor_opened(tmp_path: Path, value: float) -> None:
    from safetensors.torch import save_file

    module = torch.nn.Linear(3, 2)
    module.bias.data[1] = value
    with pytest.raises(HarnessError, match="bias of 2 tensors hold NaN or infinity"):
        save_generator(tmp_path / "a.safetensors", module, 0, {})
    assert not list(tmp_path.iterdir())
    save_file(module.state_dict(), tmp_path / "a.safetensors", {"nimg": "0"})
    with pytest.raises(HarnessError, match="bias of 2 tensors hold NaN or infinity"):
        open_weights(tmp_path / "a.safetensors")


def test_the_same_training_does_not_run_twice_at_once(tmp_path: Path) -> None:
    run = tiny.run()
    process = tiny.start(run, tmp_path, beat=0.05)
    while not list((tmp_path / "work").glob("*/*/history.csv")):
        time.sleep(0.01)
    with pytest.raises(HarnessError, match=f"process {process.pid} on .* is working here"):
        tiny.fit(run, tmp_path)
    process.join()
    assert process.exitcode == 0
    rows = tiny.history.read(tmp_path / "out/train/history.csv")
    assert [row["nimg"] for row in rows] == ["48", "96", "144", "160"]
    tiny.fit(run, tmp_path)  # free again


def test_two_threads_of_a_notebook_do_not_either(tmp_path: Path) -> None:
    outcomes: list[str] = []

    def train() -> None:
        try:
            tiny.fit(tiny.run(), tmp_path)
            outcomes.append("done")
        except HarnessError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=train) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "done" in outcomes
    assert len(tiny.history.read(tmp_path / "out/train/history.csv")) == 4


@pytest.mark.parametrize("name", ["000000000120.json", "000000000120.safetensors", "weights/60.safetensors"])
def test_what_cannot_be_read_is_not_damage(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrainingStopped):
        tiny.fit(tiny.run(), tmp_path, stop_nimg=120)
    before = sorted(path.name for path in tmp_path.glob("work/*/*/*"))
    real = open

    def forbidden(path: Any, *arguments: Any, **options: Any) -> Any:
        if str(path).endswith(name):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr("builtins.open", forbidden)
    monkeypatch.setattr("io.open", forbidden)
    with pytest.raises(HarnessError, match=r"could not be read \(Permission denied\); make it readable"):
        tiny.fit(tiny.run(), tmp_path)
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.glob("work/*/*/*")) == before, "nothing was removed or begun"


def test_a_folder_that_cannot_be_listed_is_not_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", forbidden)
    with pytest.raises(HarnessError, match="could not be read"):
        checkpoint.load(tmp_path, "0" * 16)


def test_progress_after_damage_is_kept(tmp_path: Path) -> None:
    """Checkpoints that were found damaged do not push out the good ones that come after."""
    with pytest.raises(TrainingStopped):
        tiny.fit(tiny.run(), tmp_path, stop_nimg=120)
    for path in tmp_path.glob("work/*/*/0*.safetensors"):
        path.write_bytes(b"")
    with pytest.raises(TrainingStopped):
        tiny.fit(tiny.run(), tmp_path, stop_nimg=40)
    assert [path.name for path in tmp_path.glob("work/*/*/0*.json")] == ["000000000040.json"]


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("place", [(os, "fsync"), (Path, "write_bytes")])
def test_a_full_disk_under_the_history_is_a_sentence(
    place: tuple[Any, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = tiny.history.History(tmp_path / "history.csv", ("nimg", "loss"))
    history.append({"nimg": 8, "loss": 0.5})
    before = (tmp_path / "history.csv").read_bytes()
    monkeypatch.setattr(*place, full)
    with pytest.raises(HarnessError, match=r"history\.csv: could not be written \(No space left on device\)"):
        tiny.history.History(tmp_path / "history.csv", ("nimg", "loss"), before)
    assert (tmp_path / "history.csv").read_bytes() == before, "the rows that were there are not lost"
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HarnessError, match=r"history\.csv: could not be written \(No space left on device\)"):
        history.append({"nimg": 16, "loss": 0.5})


def test_a_full_disk_keeps_the_reason_for_leaving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from harness.training import loop

    def no_record(path: Path, record: Any) -> None:
        raise HarnessError(f"{path}: could not be written (No space left on device).")

    monkeypatch.setattr(loop.train_record, "write", no_record)
    with pytest.raises(TrainingStopped):
        tiny.fit(tiny.run(), tmp_path, stop_nimg=80)
    assert "stopped.json: could not be written" in capsys.readouterr().err
