"""Shared fixtures."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder with the real CIFAR-10 sheets and the real Inception trunk; the test skips without it."""
    value = os.environ.get("HARNESS_SHARED")
    if not value or not Path(value).is_dir():
        pytest.skip("needs the real CIFAR-10 and Inception trunk: set HARNESS_SHARED=DIR")
    return Path(value)


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """Folder of the golden numbers."""
    return Path(__file__).parent / "golden"


def pytest_configure(config: pytest.Config) -> None:
    """One thread a worker: tests run side by side, and results must not depend on the machine's core count."""
    import torch

    torch.set_num_threads(1)
