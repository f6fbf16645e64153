"""The bench, and the fast mode: compiled steps give the numbers of the eager ones; more of it in `test_devices`."""

import functools
from pathlib import Path

import pytest
import torch

from harness.bench import train as bench
from harness.config.schema import Penalty
from harness.errors import HarnessError
from harness.files import read_json
from tests.training.tiny import steps_of

SMALL = bench.Size(
    generator={"width": 32, "depths": (1, 1), "latent_dim": 8},
    discriminator={"width": 16, "depth": 1},
    resolution=8,
    discriminator_batch=4,
    generator_batch=8,
    n_critic=2,
    repeats=1,
)


def test_bench_writes_its_table_with_equal_losses(tmp_path: Path) -> None:
    bench.run(tmp_path, "cpu", SMALL)
    report = read_json(tmp_path / "train-cpu.json")
    plain, ours, *gpu = report["rows"]
    assert ours["loss_difference"] < 1e-5
    assert ours["ratio"] == pytest.approx(plain["cycle_sec"] / ours["cycle_sec"])
    assert gpu
    assert all(row["ratio"] is None for row in gpu)
    text = (tmp_path / "train-cpu.md").read_text()
    assert report["machine"] in text
    assert text.count("not measured") == 6 * len(gpu)


def test_bench_refuses_losses_that_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bench.TOLERANCE, "float32", -1.0)
    with pytest.raises(HarnessError, match="differ from the plain"):
        bench.run(tmp_path, "cpu", SMALL)


@pytest.fixture
def graph_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Capture and differentiate whole graphs as always, but run them without generating code, which takes minutes."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))


def assert_compiled_equals_eager() -> None:
    seen = []
    for compiled in (False, True):
        steps, _ = steps_of("transgan", compile=compiled)
        torch.manual_seed(5)
        reals, latents = torch.rand(8, 3, 8, 8), steps.latents(8)
        seen.append(steps.discriminator_step(reals, latents) | steps.generator_step(latents, None))
    assert seen[0].keys() == seen[1].keys()
    for name, value in seen[0].items():
        torch.testing.assert_close(value, seen[1][name], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("graph_only")
def test_discriminator_loss_with_its_penalty_is_one_graph() -> None:
    """`fullgraph` raises if penalty, augmentation or attention break the graph."""
    assert_compiled_equals_eager()


def test_compiling_a_penalty_under_spectral_norm_is_refused() -> None:
    with pytest.raises(HarnessError, match="a penalty under spectral norm; set compile: false"):
        steps_of("sngan", compile=True)
    steps_of("sngan", compile=True, penalty=Penalty())
    steps_of("transgan", compile=True)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_generated_code_equals_eager() -> None:
    """The same through the code generator (two minutes of C++ compilation on a CPU)."""
    assert_compiled_equals_eager()
