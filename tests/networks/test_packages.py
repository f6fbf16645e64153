"""The top-level packages `models` and `baselines` are those of this project, or an error says whose they are."""

import subprocess
import sys
from pathlib import Path

import pytest

from harness import networks
from harness.errors import HarnessError
from tests.paths import ROOT


def test_ours_are_found_beside_the_harness() -> None:
    networks.check_packages()
    assert networks.BESIDE == ROOT


def test_another_place_is_named_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=rf"`import models` finds {ROOT}/models, not {tmp_path}/models .*PYTHONPATH"):
        networks.check_packages(tmp_path)


def test_a_package_of_that_name_in_front_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "baselines.py").write_text("")
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\nfrom harness.cli import run\n"
    done = subprocess.run([sys.executable, "-c", code + "sys.exit(run(['models']))"], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"`import baselines` finds {tmp_path / 'baselines.py'}" in done.stderr
    assert "Traceback" not in done.stderr
