"""Versions, packages and devices, each on a case that is fine and on one that is not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.doctor import machine
from tests.doctor.helpers import messages, statuses
from tests.paths import ROOT


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
    (finding,) = machine.known_failures(found, python)
    assert finding.status == "error"
    assert word in finding.message


def test_combinations_known_to_work():
    works = {"tensorflow-cpu": "2.21.0", "triton": "3.6.0", "clean-fid": "0.1.35", "scipy": "1.17.1"}
    assert machine.known_failures(works, (3, 12)) == []
    assert machine.known_failures({"triton": "3.7.0", "scipy": "1.18.0"}, (3, 11)) == [], (
        "nothing there that they break"
    )


def test_versions_are_compared_with_the_tested_set(root):
    assert "ok" in statuses(machine.check_versions(root), "versions")
    text = (root / "constraints.txt").read_text()
    (root / "constraints.txt").write_text(text.replace("\npyyaml==", "\npyyaml==99.") + "not-installed==1.0\n")
    changed = machine.check_versions(root)
    (found,) = [f for f in changed if f.message.startswith("pyyaml")]
    assert found.status == "warning"
    assert "99." in found.message
    assert "not-installed" not in messages(changed)
    (root / "constraints.txt").unlink()
    assert "warning" in statuses(machine.check_versions(root), "versions")


def test_constraints_of_other_pythons_do_not_count():
    text = "a==1 ; python_version < '3'\na==2 ; python_version >= '3'\nb==3 ; sys_platform == 'nowhere'\n# c==4\n"
    assert machine.tested_versions(text) == {"a": "2"}


def test_our_own_packages_are_no_shadows():
    assert statuses(machine.check_shadowing(ROOT), "shadowing") == ["ok"]


@pytest.mark.parametrize("package", ["models", "baselines"])
def test_another_top_level_package_in_our_place_is_found(package, tmp_path):
    foreign = tmp_path / package
    foreign.mkdir()
    (foreign / "__init__.py").write_text("")
    code = (
        "import json, sys; from pathlib import Path; import harness.doctor.machine as d;"
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
    problem = machine.driver_problem(driver, build, usable)
    assert (problem is None) if word is None else (word in problem)


def fake_python(tmp_path, monkeypatch, script):
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))


def test_a_crash_after_tensorflow_is_an_error(tmp_path, monkeypatch):
    fake_python(tmp_path, monkeypatch, 'echo \'{"version": "2.21", "devices": ["/CPU:0"]}\'; kill -SEGV $$')
    seen, crash = machine.check_tensorflow()
    assert (seen.area, seen.status) == ("devices", "ok")
    assert (crash.area, crash.status) == ("versions", "error")
    assert "signal 11" in crash.message


def test_a_missing_scorer_is_an_error(tmp_path, monkeypatch):
    fake_python(tmp_path, monkeypatch, "echo 'ModuleNotFoundError: no tensorflow' >&2; exit 1")
    (finding,) = machine.check_tensorflow()
    assert finding.status == "error"
    assert "no tensorflow" in finding.message


def test_code_of_another_checkout_is_told(root: Path):
    (other,) = machine.check_shadowing(root)
    assert other.status == "warning"
    assert str(ROOT) in other.message
    assert f"pip install -e {root}" in other.message


def test_a_commit_that_cannot_be_told_is_a_warning_with_the_reason(monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    (finding,) = machine.check_commit()
    assert finding.status == "warning"
    assert "records will name no commit: " in finding.message
