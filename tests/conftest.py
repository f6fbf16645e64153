"""Shared fixtures."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import scoring
from tests.paths import GOLDEN as GOLDEN_DIR
from tests.paths import ROOT

if TYPE_CHECKING:
    from harness.metrics.extractors.base import Setup
    from tests.metrics.inception.helpers import PixelExtractor


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
    return GOLDEN_DIR


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--record-claims=FILE`: write which claims of @pytest.mark.verifies held in this run (without xdist)."""
    parser.addoption("--record-claims", metavar="FILE", help="write the claims that tests verified, as JSON")


CLAIMS = pytest.StashKey[dict[str, dict[str, str]]]()


def pytest_deselected(items: list[pytest.Item]) -> None:
    """A claim whose test was left out of the run is not verified by it."""
    for item in items:
        for mark in item.iter_markers("verifies"):
            for claim in mark.args:
                item.config.stash.setdefault(CLAIMS, {}).setdefault(claim, {})[item.nodeid] = "not run"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Note the outcome of every test that verifies a claim."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    claims = item.config.stash.setdefault(CLAIMS, {})
    for mark in item.iter_markers("verifies"):
        for claim in mark.args:
            tests = claims.setdefault(claim, {})
            if report.when == "call" or report.outcome != "passed":
                tests[item.nodeid] = report.outcome


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the claims, if asked to; one holds if every test that verifies it ran and passed."""
    path = session.config.getoption("--record-claims")
    if path:
        from harness.files import write_json

        claims = session.config.stash.get(CLAIMS, {})
        write_json(
            Path(path),
            {claim: {"holds": set(tests.values()) == {"passed"}, "tests": tests} for claim, tests in claims.items()},
        )


def pytest_configure(config: pytest.Config) -> None:
    """One thread a worker: tests run side by side, and results must not depend on the machine's core count."""
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read once; deterministic kernels need it
    os.environ["DVC_NO_ANALYTICS"] = "1"  # each dvc command would start a process that tries to reach the network
    torch.set_num_threads(1)


TINY = {
    "experiments/tables/tiny.yaml": {
        "e": {
            "dataset": "tiny",
            "generator": {"model": "transgan-xs", "width": 64, "depths": [1, 1], "latent_dim": 8},
            "discriminator": {"model": "transgan-xs", "width": 16, "depth": 1},
            "recipe": "tiny",
        },
        "f": {
            "dataset": "tiny",
            "generator": {"model": "sngan-narrow", "width": 8},
            "discriminator": {"model": "sngan-narrow", "width": 8},
            "recipe": "tiny",
            "changes": {"objective": "hinge", "penalty": {"kind": "none"}},
        },
    },
    "experiments/recipes/tiny.yaml": {
        "tiny": {
            "objective": "wasserstein",
            "length_nimg": 16,
            "discriminator_batch": 4,
            "generator_batch": 4,
            "discriminator_optimiser": {"lr": 1e-3, "betas": [0, 0.9]},
            "generator_optimiser": {"lr": 1e-3, "betas": [0, 0.9]},
            "penalty": {"kind": "gradient", "weight": 10},
            "log_every_nimg": 8,
            "checkpoint_every_nimg": 8,
            "snapshots_nimg": [8],
            "grids_nimg": [16],
        }
    },
    "experiments/datasets.yaml": {
        "tiny": {"source": "standin", "split": "drawn", "resolution": 32, "count": 40, "version": 1, "licence": "ours"}
    },
    "experiments/versions.yaml": {"trainer": 1, "sampler": 1, "scorer-tf": 1, "scorer-torch": 1, "scorer-clean": 1},
    "experiments/protocols/tiny.yaml": {"tiny": scoring.entry()},
    "params.yaml": {
        "scale": "tiny",
        "root": "",
        "out": "out/",
        "threads": 1,
        "limit_nimg": None,
        "runs": {f"{e}-seed0": {"experiment": e, "seed": 0, "dataset": "tiny"} for e in "ef"},
        "dumps": {
            f"{e}-seed0-last": {"experiment": e, "seed": 0, "dataset": "tiny", "snapshot": "last", "weights": "weights"}
            | scoring.scored("tiny", scorers=("tf", "torch", "clean"))
            for e in "ef"
        },
        "choices": {},
    },
}


@pytest.fixture
def tiny_scale(tmp_path: Path) -> Path:
    """See `tiny_root`."""
    return tiny_root(tmp_path)


def tiny_root(folder: Path) -> Path:
    """A repository root of its own: a data set of 40 stand-ins, two experiments of 16 images, the project's models."""
    import yaml

    from harness.data.fetch import prepare

    root = ROOT
    for name, value in TINY.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(value))
    (folder / "results").mkdir()
    for name in (
        "experiments/models",
        "experiments/tolerances.yaml",
        "results/reported",
        "results/history.csv",
        "results/verified.json",
    ):
        (folder / name).symlink_to(root / name)
    for path in (root / "experiments/protocols").glob("*.yaml"):  # which the ledger names
        shutil.copy(path, folder / "experiments/protocols")
    prepare("tiny", folder / "data/tiny", folder)
    return folder


@pytest.fixture
def pixel_scorer(monkeypatch: pytest.MonkeyPatch) -> "list[PixelExtractor]":
    """Replace the scorer by one without weights; returns those opened."""
    from harness.metrics import score
    from tests.metrics.inception.helpers import PixelExtractor

    opened: list[PixelExtractor] = []

    def open_extractor(scorer: str, setup: "Setup", resizer: str | None) -> PixelExtractor:
        opened.append(PixelExtractor(setup))
        return opened[-1]

    monkeypatch.setattr(score, "open_extractor", open_extractor)
    return opened


@pytest.fixture
def sets(tmp_path: Path) -> tuple[Path, Path]:
    """Samples and reference: 90 and 150 images of 8 px."""
    import numpy as np

    from tests.metrics.inception.helpers import noise_images

    np.save(tmp_path / "fakes.npy", noise_images(90, seed=1) // 2)
    np.save(tmp_path / "reals.npy", noise_images(150, seed=2))
    return tmp_path / "fakes.npy", tmp_path / "reals.npy"
