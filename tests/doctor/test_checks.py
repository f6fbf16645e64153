"""The doctor's checks, each on a case that is fine and on one that is not."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from harness.config import experiments
from harness.config.reader import read
from harness.config.schema import Params
from harness.data.fetch import prepare
from harness.doctor import checks, estimate
from harness.errors import HarnessError
from harness.files import write_json
from tests.paths import ROOT

RUN = {"experiment": "tiny-sngan", "seed": 0, "dataset": "tiny"}
PARAMS = {
    "scale": "tiny",
    "root": "",
    "out": "results/tiny/",
    "scoring": {"n_fake": 64, "n_real": 16, "weights": "stand-in"},
    "runs": {"tiny-sngan-seed0": RUN},
    "dumps": {"tiny-sngan-seed0-last": {**RUN, "snapshot": "last"}},
}


@pytest.fixture
def root(tmp_path):
    """A repository with the real models and recipes, one small data set and one experiment on it."""
    root = tmp_path / "root"
    shutil.copytree(ROOT / "experiments", root / "experiments")
    shutil.copy(ROOT / "constraints.txt", root)
    tiny = {"source": "standin", "split": "drawn", "resolution": 32, "count": 20, "licence": "x"}
    (root / "experiments" / "datasets.yaml").write_text(yaml.safe_dump({"tiny": tiny}))
    shutil.rmtree(root / "experiments" / "tables")
    network = {"model": "sngan"}
    experiment = {"dataset": "tiny", "generator": network, "discriminator": network, "recipe": "cpu-sngan"}
    (root / "experiments" / "tables").mkdir()
    (root / "experiments" / "tables" / "tiny.yaml").write_text(yaml.safe_dump({"tiny-sngan": experiment}))
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    return root


def statuses(findings, area):
    return [finding.status for finding in findings if finding.area == area]


def messages(findings):
    return "\n".join(finding.message for finding in findings)


# ---------------------------------------------------------------- versions


@pytest.mark.parametrize(
    ("found", "python", "word"),
    [
        ({"tensorflow-cpu": "2.21.0", "triton": "3.7.0"}, (3, 11), "triton 3.7.0 crashes"),
        ({"tensorflow": "2.21.0", "triton": "4.0"}, (3, 12), "triton 4.0 crashes"),
        ({"clean-fid": "0.1.35", "scipy": "1.18.0"}, (3, 11), "SciPy 1.18.0"),
        ({"clean-fid": "0.1.35", "scipy": "2.0rc1"}, (3, 11), "SciPy 2.0rc1"),
        ({}, (3, 14), "Python 3.14"),
    ],
)
def test_combinations_known_to_fail(found, python, word):
    (finding,) = checks.known_failures(found, python)
    assert finding.status == "error"
    assert word in finding.message


def test_combinations_known_to_work():
    works = {"tensorflow-cpu": "2.21.0", "triton": "3.6.0", "clean-fid": "0.1.35", "scipy": "1.17.1"}
    assert checks.known_failures(works, (3, 12)) == []
    assert checks.known_failures({"triton": "3.7.0", "scipy": "1.18.0"}, (3, 11)) == [], "nothing there that they break"


def test_versions_are_compared_with_the_tested_set(root):
    assert "ok" in statuses(checks.check_versions(root), "versions")
    text = (root / "constraints.txt").read_text()
    (root / "constraints.txt").write_text(text.replace("pyyaml==", "pyyaml==99.") + "not-installed==1.0\n")
    changed = checks.check_versions(root)
    (found,) = [f for f in changed if "pyyaml" in f.message]
    assert found.status == "warning"
    assert "99." in found.message
    assert "not-installed" not in messages(changed)
    (root / "constraints.txt").unlink()
    assert "warning" in statuses(checks.check_versions(root), "versions")


def test_constraints_of_other_pythons_do_not_count():
    text = "a==1 ; python_version < '3'\na==2 ; python_version >= '3'\nb==3 ; sys_platform == 'nowhere'\n# c==4\n"
    assert checks.tested_versions(text) == {"a": "2"}


def test_our_own_packages_are_no_shadows():
    assert statuses(checks.check_shadowing(ROOT), "shadowing") == ["ok"]


@pytest.mark.parametrize("package", ["models", "baselines"])
def test_another_top_level_package_in_our_place_is_found(package, tmp_path):
    foreign = tmp_path / package
    foreign.mkdir()
    (foreign / "__init__.py").write_text("")
    code = (
        "import json, sys; from pathlib import Path; import harness.doctor.checks as d;"
        "print(json.dumps([[f.status, f.message] for f in d.check_shadowing(Path(sys.argv[1]))]))"
    )
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=tmp_path,
    )
    ((status, message),) = json.loads(done.stdout)
    assert status == "error"
    assert f"`import {package}` finds {foreign}" in message


@pytest.mark.parametrize(
    ("driver", "build", "usable", "word"),
    [
        (12020, "13.0", False, "driver is too old: it supports CUDA 12.2, torch was built for 13.0"),
        (13000, "13.0", False, "sees no GPU"),
        (13010, "13.0", True, None),
        (12020, None, False, None),
        (0, "13.0", False, None),
    ],
)
def test_driver(driver, build, usable, word):
    problem = checks.driver_problem(driver, build, usable)
    assert (problem is None) if word is None else (word in problem)


def fake_python(tmp_path, monkeypatch, script):
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))


def test_a_crash_after_tensorflow_is_an_error(tmp_path, monkeypatch):
    fake_python(tmp_path, monkeypatch, 'echo \'{"version": "2.21", "devices": ["/CPU:0"]}\'; kill -SEGV $$')
    seen, crash = checks.check_tensorflow()
    assert (seen.area, seen.status) == ("devices", "ok")
    assert (crash.area, crash.status) == ("versions", "error")
    assert "signal 11" in crash.message


def test_a_missing_scorer_is_an_error(tmp_path, monkeypatch):
    fake_python(tmp_path, monkeypatch, "echo 'ModuleNotFoundError: no tensorflow' >&2; exit 1")
    (finding,) = checks.check_tensorflow()
    assert finding.status == "error"
    assert "no tensorflow" in finding.message


# ---------------------------------------------------------------- data, weights, results, disk


def test_data(root):
    params = read(Params, PARAMS, "test")
    assert statuses(checks.check_data(params, root), "data") == ["warning"]
    prepare("tiny", root / "data" / "tiny", root)
    (found,) = checks.check_data(params, root)
    assert (found.status, found.details["count"], found.details["stand_in"]) == ("ok", 20, True)
    with open(root / "data" / "tiny" / "train.npy", "r+b") as handle:
        handle.seek(-1, 2)
        byte = handle.read(1)
        handle.seek(-1, 2)
        handle.write(bytes([byte[0] ^ 1]))
    assert "pixels are not those of its card" in messages(checks.check_data(params, root))
    (root / "data" / "tiny" / "train.npy").unlink()
    assert statuses(checks.check_data(params, root), "data") == ["error"]


def test_data_of_another_definition(root):
    prepare("tiny", root / "data" / "tiny", root)
    file = root / "experiments" / "datasets.yaml"
    file.write_text(file.read_text().replace("split: drawn", "split: other"))
    (found,) = checks.check_data(read(Params, PARAMS, "test"), root)
    assert (found.status, "another definition" in found.message) == ("error", True)


def scoring(weights):
    return read(Params, PARAMS | {"scoring": PARAMS["scoring"] | {"weights": weights}}, "test")


@pytest.mark.parametrize(
    ("weights", "status"), [("stand-in", "ok"), ("official", "warning"), ("trunk", "error"), ("no.pb", "error")]
)
def test_weights_that_are_not_there_are_not_fetched(weights, status, tmp_path, monkeypatch):
    monkeypatch.delenv("HARNESS_INCEPTION", raising=False)
    assert statuses(checks.check_weights(scoring(weights), tmp_path), "weights") == [status]
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_what_their_name_says(tmp_path, monkeypatch):
    from harness.metrics.inception.weights import TRUNK_NAME

    np.savez(tmp_path / TRUNK_NAME, x=np.zeros(3))
    monkeypatch.setenv("HARNESS_INCEPTION", str(tmp_path))
    (found,) = checks.check_weights(scoring("trunk"), tmp_path)
    assert found.status == "error"
    assert TRUNK_NAME in found.message


def record(root: Path, **versions: int) -> Path:
    path = root / "results" / "tiny" / "records" / "tiny-sngan" / "seed0" / "train" / "train.json"
    made = {"experiment": "tiny-sngan", "versions": versions}
    write_json(path, {"run": made, "cost": {"images_per_sec": 50.0}, "provenance": {"device": "cpu"}})
    return path


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
def test_a_record_that_tells_no_version_is_an_error(root, text):
    record(root).write_text(text)
    old, _ = checks.check_results(root)
    assert old.status == "error"
    assert "does not tell" in old.message
    assert estimate.measured_speeds(root, "cpu") == {}


def test_stale_names_what_is_gone():
    assert checks.stale({"a": 1, "b": 2}, {"a": 1, "b": 3}) == ["b version 2 (now 3)"]
    assert checks.stale({"a": 1}, {}) == ["a version 1 (now gone)"]


def test_disk():
    cost = {"scale": "s", "bytes": {"total": 10}}
    assert checks.check_disk(cost, free=10).status == "ok"
    assert checks.check_disk(cost, free=9).status == "error"


# ---------------------------------------------------------------- estimate


def test_estimate_from_operations_then_from_records(root):
    params = read(Params, PARAMS, "test")
    counted = estimate.scale_cost(params, root / "params.yaml", root, "cpu")
    assert counted["trainings"]["tiny-sngan-seed0"]["basis"] == "counted"
    assert counted["seconds"]["total"] == pytest.approx(
        sum(counted["seconds"][k] for k in ("train", "sample", "score"))
    )
    assert counted["bytes"]["data"] == 20 * 32 * 32 * 3
    assert counted["bytes"]["sample"] == 64 * 32 * 32 * 3
    record(root, sngan=1)
    measured = estimate.scale_cost(params, root / "params.yaml", root, "cpu")
    length = experiments.load_recipe("cpu-sngan").length_nimg
    assert measured["seconds"]["train"] == pytest.approx(length / 50)
    assert measured["trainings"]["tiny-sngan-seed0"]["basis"] == "measured"
    assert estimate.measured_speeds(root, "cuda") == {}, "a CPU's speed says nothing about a GPU"


def test_estimate_counts_the_dumps_that_best_is_chosen_on(root, monkeypatch):
    monkeypatch.setattr(estimate, "matmul_speed", lambda *_: 1e9)
    params = read(Params, PARAMS, "test")
    key, entry = next(iter(params.runs.items()))
    plain = estimate.scale_cost(params, root / "params.yaml", root, "cpu")["seconds"]
    chosen = estimate.scale_cost(dataclasses.replace(params, choices={key: entry}), root / "params.yaml", root, "cpu")[
        "seconds"
    ]
    candidates = len(experiments.resolve(params, entry.experiment, entry.seed, root).recipe.snapshots_nimg) + 1
    extra = candidates * params.scoring.n_choose * estimate.INCEPTION_FLOP / (1e9 * estimate.INCEPTION_EFFICIENCY)
    assert chosen["score"] - plain["score"] == pytest.approx(extra)
    assert chosen["sample"] > plain["sample"]
    assert chosen["train"] == plain["train"]


# ---------------------------------------------------------------- the subcommand


@pytest.fixture
def doctor(root, monkeypatch):
    """The subcommand in this process, without importing TensorFlow."""
    from click.testing import CliRunner

    from harness.commands.doctor import command

    monkeypatch.setattr(checks, "check_tensorflow", list)
    monkeypatch.setattr(checks, "check_shadowing", lambda _: [checks.Finding("shadowing", "ok", "ours")])
    monkeypatch.delenv("HARNESS_INCEPTION", raising=False)
    arguments = ["--root", str(root), "--params", str(root / "params.yaml")]
    return lambda *more: CliRunner().invoke(command, [*arguments, *more])


def test_doctor_exits_0_when_nothing_is_an_error(doctor):
    done = doctor("--json")
    report = json.loads(done.stdout)
    assert [f["message"] for f in report["findings"] if f["status"] == "error"] == []
    assert (report["ok"], done.exit_code) == (True, 0)
    areas = {f["area"] for f in report["findings"]}
    assert areas == {"versions", "shadowing", "devices", "data", "weights", "results", "disk"}
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


def test_examine_says_what_is_wrong_with_the_scale(root, monkeypatch):
    monkeypatch.setattr(checks, "check_tensorflow", list)
    monkeypatch.setattr(checks, "check_shadowing", lambda _: [])
    findings, cost = checks.examine(root / "nowhere.yaml", root, "cpu")
    assert cost is None
    assert "nowhere.yaml" in messages(findings)
    with pytest.raises(HarnessError, match="nowhere"):
        experiments.load_params(root / "nowhere.yaml")
