"""Fixtures of the data sets' tests."""

from pathlib import Path

import pytest


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that HARNESS_DATA names."""
    folder = tmp_path / "local"
    folder.mkdir()
    monkeypatch.setenv("HARNESS_DATA", str(folder))
    return folder
