"""Launches on real Ray: what dies, and what is left then."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.paths import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1000)]

ALONE = ["unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]


@pytest.fixture(scope="module")
def alone() -> list[str]:
    """What a command is prefixed with to see no network but a loopback of its own."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("needs Ray: pip install -c constraints.txt -e '.[launch]'")
    if shutil.which("ip") is None or subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs network namespaces of its own: unshare and ip")
    return ALONE


@pytest.mark.parametrize(
    "scenario",
    [
        *("toy_equals_repro", "driver_killed", "worker_killed", "interrupted", "second_driver"),
        *("raylet_killed", "node_cut_off"),
    ],
)
def test_no_two_attempts_overlap_and_nothing_is_left(alone: list[str], tmp_path: Path, scenario: str) -> None:
    with tempfile.TemporaryDirectory(prefix="ray") as short:  # names of Ray's sockets have 107 bytes at most
        line = [*alone, sys.executable, "-m", "tests.cluster.ray_scenarios", scenario, str(tmp_path)]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "RAY_SCENARIO_TMP": short}
        done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=900, env=environment, cwd=ROOT)
        log = tmp_path / "launch.log"
        assert done.returncode == 0, done.stderr[-3000:] + (log.read_text()[-3000:] if log.exists() else "")
