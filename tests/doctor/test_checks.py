"""What a scale needs, each check on a case that is fine and on one that is not."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml

from harness.config import experiments
from harness.data.fetch import prepare
from harness.doctor import checks, devices, estimate, machine
from harness.doctor.finding import Finding
from harness.paths import Checkout
from tests.doctor.helpers import CPU, PARAMS, messages, record, scored_with, statuses, write_scale
from tests.paths import ROOT


def test_data(root):
    assert statuses(checks.check_data(["tiny"], root), "data") == ["warning"]
    prepare("tiny", root / "data" / "tiny", root)
    (found,) = checks.check_data(["tiny"], root)
    assert (found.status, found.details["count"], found.details["stand_in"]) == ("ok", 20, True)
    with open(root / "data" / "tiny" / "train.npy", "r+b") as handle:
        handle.seek(-1, 2)
        byte = handle.read(1)
        handle.seek(-1, 2)
        handle.write(bytes([byte[0] ^ 1]))
    assert "pixels are not those of its card" in messages(checks.check_data(["tiny"], root))
    (root / "data" / "tiny" / "train.npy").unlink()
    assert statuses(checks.check_data(["tiny"], root), "data") == ["error"]


def test_data_of_another_definition(root):
    prepare("tiny", root / "data" / "tiny", root)
    file = root / "experiments" / "datasets.yaml"
    file.write_text(file.read_text().replace("split: drawn", "split: other"))
    (found,) = checks.check_data(["tiny"], root)
    assert (found.status, "another definition" in found.message) == ("error", True)


@pytest.mark.parametrize(
    ("weights", "status"), [("stand-in", "ok"), ("official", "warning"), ("trunk", "error"), ("no.pb", "error")]
)
def test_weights_that_are_not_there_are_not_fetched(weights, status, tmp_path, monkeypatch):
    monkeypatch.delenv("HARNESS_INCEPTION", raising=False)
    assert statuses(checks.check_weights(weights, tmp_path), "weights") == [status]
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_what_their_name_says(tmp_path, monkeypatch):
    from harness.metrics.inception.weights import TRUNK_NAME

    np.savez(tmp_path / TRUNK_NAME, x=np.zeros(3))
    monkeypatch.setenv("HARNESS_INCEPTION", str(tmp_path))
    (found,) = checks.check_weights("trunk", tmp_path)
    assert found.status == "error"
    assert TRUNK_NAME in found.message


def test_results_older_than_their_model(root):
    models = experiments.load_models(root)
    now = {"trainer": experiments.load_versions(root)["trainer"], "sngan": models["sngan"].version}
    record(root, **now)
    assert statuses(checks.check_results(root), "results") == ["ok"]
    record(root, **now | {"sngan": now["sngan"] - 1})
    old, _ = checks.check_results(root)
    assert old.status == "error"
    assert f"sngan version {now['sngan'] - 1} (now {now['sngan']})" in old.message
    assert old.message.startswith("results/tiny/records/tiny-sngan/seed0/train/train.json")


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"run": {"versions": null}}'])
def test_a_record_that_cannot_be_read_is_an_error(root, text):
    record(root).write_text(text)
    old, _ = checks.check_results(root)
    assert old.status == "error"
    assert old.message.startswith("results/tiny/records/tiny-sngan/seed0/train/train.json: ")
    assert estimate.recorded_speeds(Checkout(root), CPU) == {}


def test_stale_names_what_is_gone():
    assert checks.stale({"a": 1, "b": 2}, {"a": 1, "b": 3}) == ["b version 2 (now 3)"]
    assert checks.stale({"a": 1}, {}) == ["a version 1 (now gone)"]


def test_disk():
    assert checks.check_disk("s", need=10, free=10).status == "ok"
    assert checks.check_disk("s", need=10, free=9).status == "error"


@pytest.fixture
def doctor(root, monkeypatch):
    """The subcommand in this process, without importing TensorFlow."""
    from click.testing import CliRunner

    from harness.commands.doctor import command

    monkeypatch.setattr(machine, "check_tensorflow", list)
    monkeypatch.setattr(machine, "check_shadowing", lambda _: [Finding("shadowing", "ok", "ours")])
    monkeypatch.delenv("HARNESS_INCEPTION", raising=False)
    arguments = ["--root", str(root), "--params", str(root / "params.yaml")]
    return lambda *more: CliRunner().invoke(command, [*arguments, *more])


def test_doctor_exits_0_when_nothing_is_an_error(doctor):
    done = doctor("--json")
    report = json.loads(done.stdout)
    assert [f["message"] for f in report["findings"] if f["status"] == "error"] == []
    assert (report["ok"], done.exit_code) == (True, 0)
    areas = {f["area"] for f in report["findings"]}
    assert areas == {"versions", "shadowing", "provenance", "devices", "data", "weights", "results", "disk"}
    assert report["estimate"]["scale"] == "tiny"


def test_doctor_exits_1_when_something_is(doctor, root):
    record(root, sngan=0)
    done = doctor()
    assert done.exit_code == 1
    assert "ERROR   results" in done.stdout
    assert "estimate for scale tiny" in done.stdout
    (root / "params.yaml").write_text("scale: tiny\n")
    done = doctor()
    assert done.exit_code == 1
    assert "missing key" in done.stdout


@pytest.mark.slow
def test_doctor_on_this_machine():
    """TensorFlow is really imported here, then torchvision and clean-fid."""
    command = [sys.executable, "-m", "harness", "doctor", "--json", "--params", str(ROOT / "params.yaml")]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    assert any(f["message"].startswith("TensorFlow 2.") for f in report["findings"] if f["area"] == "devices")
    assert [f["message"] for f in report["findings"] if f["status"] == "error" and f["area"] == "versions"] == []


@pytest.fixture
def fit_machine(monkeypatch):
    monkeypatch.setattr(checks, "check_machine", lambda root: [])
    monkeypatch.setattr(devices, "matmul_speed", lambda *_: 1e9)


def test_a_scale_that_cannot_be_read(root, fit_machine):
    findings, cost = checks.examine(root / "nowhere.yaml", root, "cpu")
    assert cost is None
    assert "nowhere.yaml" in messages(findings)


def test_all_that_is_missing_is_listed_at_once(root, fit_machine, monkeypatch):
    monkeypatch.delenv("HARNESS_CHECKPOINTS", raising=False)
    monkeypatch.delenv("HARNESS_INCEPTION", raising=False)
    path = root / "experiments" / "tables" / "tiny.yaml"
    table = yaml.safe_load(path.read_text())
    table["released"] = table["tiny-sngan"] | {"checkpoint": "their.safetensors"}
    table["wrong-network"] = table["tiny-sngan"] | {"generator": {"model": "sngan", "wdith": 3}}
    path.write_text(yaml.safe_dump(table))
    runs = {
        f"{name}-seed0": {"experiment": name, "seed": 0, "dataset": "tiny"}
        for name in ("wrong-network", "released", "absent")
    }
    write_scale(root, {"runs": PARAMS["runs"] | runs} | scored_with(root, inception="trunk", layer=768))
    (root / "experiments" / "datasets.yaml").write_text(
        yaml.safe_dump(
            {"tiny": {"source": "folder", "path": "no/images", "split": "all", "resolution": 32, "licence": "x"}}
        )
    )
    record(root, sngan=0)
    findings, cost = checks.examine(root / "params.yaml", root, "cpu")
    assert cost is None
    errors = messages([finding for finding in findings if finding.status == "error"])
    for missing in (
        "unknown experiment 'absent'",
        "wdith",
        "their.safetensors",
        "no/images",
        "trunk",
        "sngan version 0",
    ):
        assert missing in errors


def test_a_snapshot_that_no_training_leaves(root, fit_machine):
    dump = {**PARAMS["dumps"]["tiny-sngan-seed0-last"], "snapshot": "123"}
    write_scale(root, {"dumps": {"tiny-sngan-seed0-123": dump}})
    findings, cost = checks.examine(root / "params.yaml", root, "cpu")
    assert (cost, "no snapshot '123'" in messages(findings)) == (None, True)


def test_a_gpu_that_is_not_there_is_a_finding(root, fit_machine, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    findings, cost = checks.examine(root / "params.yaml", root, "cuda")
    assert cost is None
    assert "device 'cuda': torch sees no GPU(s) here" in messages(findings)
    findings, cost = checks.examine(root / "params.yaml", root)
    assert statuses(findings, "devices") == []
    assert cost.machine.device == "cpu"  # the scale says auto


def test_a_scale_that_its_suite_does_not_give(root, fit_machine):
    (root / "experiments" / "suites").mkdir()
    (root / "experiments" / "suites" / "other.yaml").write_text("about: x\n")
    findings, cost = checks.examine(root / "params.yaml", root)
    assert (cost, "unknown suite 'tiny'" in messages(findings)) == (None, True)


def test_checkpoints_that_are_there(root, fit_machine, monkeypatch):
    path = root / "experiments" / "tables" / "tiny.yaml"
    table = yaml.safe_load(path.read_text())
    table["tiny-sngan"]["checkpoint"] = "their.safetensors"
    path.write_text(yaml.safe_dump(table))
    monkeypatch.setenv("HARNESS_CHECKPOINTS", str(root))
    (root / "their.safetensors").touch()
    assert statuses(checks.check_checkpoints(write_scale(root)), "checkpoints") == ["ok"]


def test_data_that_has_to_be_fetched_says_from_where(root, monkeypatch):
    entry = yaml.safe_load((ROOT / "experiments" / "datasets.yaml").read_text())["cifar10"]
    del entry["held_out"]
    (root / "experiments" / "datasets.yaml").write_text(yaml.safe_dump({"tiny": entry}))
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    monkeypatch.delenv("HARNESS_CACHE", raising=False)
    (absent,) = checks.check_data(["tiny"], root)
    assert "put cifar-10-python.tar.gz into a folder and set HARNESS_DATA" in absent.message
    (root / "cifar-10-python.tar.gz").touch()
    monkeypatch.setenv("HARNESS_DATA", str(root))
    (there,) = checks.check_data(["tiny"], root)
    assert f"makes it from {root / 'cifar-10-python.tar.gz'}" in there.message
    monkeypatch.setenv("HARNESS_DATA", str(root / "nowhere"))
    (wrong,) = checks.check_data(["tiny"], root)
    assert (wrong.status, "no such folder" in wrong.message) == ("error", True)


@pytest.mark.parametrize("checkpoint", ["", "their.safetensors"])
def test_a_scale_with_stylegan2_or_released_weights_has_an_estimate(root, fit_machine, monkeypatch, checkpoint):
    path = root / "experiments" / "tables" / "tiny.yaml"
    table = yaml.safe_load(path.read_text())
    network = {"model": "stylegan2-cifar"}
    table["tiny-sngan"] |= {"generator": network, "discriminator": network, "checkpoint": checkpoint}
    table["tiny-sngan"]["recipe"] = "stylegan2-cifar"
    path.write_text(yaml.safe_dump(table))
    monkeypatch.setenv("HARNESS_CHECKPOINTS", str(root))
    (root / "their.safetensors").touch()
    write_scale(root)
    findings, cost = checks.examine(root / "params.yaml", root, "cpu")
    assert [f.message for f in findings if f.status == "error"] == []
    assert cost.total.basis == {"released" if checkpoint else "counted"}
