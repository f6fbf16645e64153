"""What a card must do, and a CPU does: resume bit for bit, float32 as it says, bfloat16, compiled steps."""

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from harness.config.schema import Augment, Locality, Penalty
from harness.training.device import set_device
from harness.training.loop import TrainingStopped
from tests.devices import CUDA, DEVICES
from tests.training import tiny
from tests.training.test_survival import FAMILIES, check_resume

SLOW_OR_CUDA = (pytest.param("cpu", marks=pytest.mark.slow), CUDA)


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """On a CPU capture and differentiate whole graphs as always, but run them without generating code (minutes)."""
    if request.getfixturevalue("device") == "cpu":
        monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("device", [CUDA])
def test_resume_is_bit_exact_in_the_deterministic_mode(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], device: str, name: str
) -> None:
    """`test_survival` has the same on a CPU, where every mode is deterministic."""
    check_resume(name, tmp_path, capsys, device=device, deterministic=True)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["transgan", "progan"])
def test_gradients_do_not_depend_on_what_was_computed_before(name: str, device: str) -> None:
    """Autograd orders its work by numbers that a process counts up; a resumed one starts them anew."""
    seen = []
    for earlier in (0, 100_000):
        family = {key: value for key, value in FAMILIES[name].items() if key != "model"}
        steps, state = tiny.steps_of(name, device=device, **family)
        set_device(device, 1, deterministic=True, precision="float32")
        one = torch.ones((), requires_grad=True, device=device)
        for _ in range(earlier):
            one * 1.0  # a node of a graph that nobody uses
        torch.manual_seed(1)
        side = tiny.RESOLUTION[name]
        reals = torch.rand(8, 3, side, side, generator=torch.Generator().manual_seed(2)).to(device)
        steps.grow(40)
        steps.discriminator_gradients(reals, steps.latents(8), steps.discriminator_draws(8))
        seen.append({key: p.grad.cpu() for key, p in state.discriminator.named_parameters() if p.grad is not None})
    assert seen[0].keys() == seen[1].keys()
    assert [key for key, grad in seen[0].items() if not torch.equal(grad, seen[1][key])] == []


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("model", ["mlp", "transgan", "sngan", "progan"])
def test_a_step_gives_the_cpus_losses(model: str, device: str) -> None:
    """No draws in the step, so the devices compute the same thing; TF32 would be off by a thousandth and more."""
    seen = {}
    for place in ("cpu", device):
        changes = {"augment": Augment(), "penalty": Penalty("r1", 0.1) if model != "sngan" else Penalty()}
        steps, _ = tiny.steps_of(model, device=place, **changes)
        generator = torch.Generator().manual_seed(1)
        side = tiny.RESOLUTION[model]
        reals = torch.rand(8, 3, side, side, generator=generator).to(place)
        latents = torch.randn(16, steps.latent_dim, generator=generator).to(place)
        losses = steps.discriminator_step(reals, latents[:8]) | steps.generator_step(latents, None)
        seen[place] = {name: float(value) for name, value in losses.items()}
    assert "discriminator_loss" in seen["cpu"]
    for name, value in seen["cpu"].items():
        assert seen[device][name] == pytest.approx(value, rel=2e-4, abs=2e-5), name


@pytest.mark.parametrize("device", DEVICES)
def test_bfloat16_stays_close_and_keeps_float32_weights(device: str) -> None:
    seen = {}
    for precision in ("float32", "bfloat16"):
        steps, state = tiny.steps_of("transgan", device=device, precision=precision)
        torch.manual_seed(5)
        reals, latents = torch.rand(8, 3, 8, 8, device=device), steps.latents(8)
        losses = steps.discriminator_step(reals, latents) | steps.generator_step(latents, None)
        seen[precision] = {name: float(value) for name, value in losses.items()}
        for network in (state.generator, state.discriminator, state.average.current()):
            assert {tensor.dtype for tensor in network.parameters()} == {torch.float32}
    assert seen["float32"] != seen["bfloat16"], "nothing was computed in bfloat16"
    for name, value in seen["float32"].items():
        assert seen["bfloat16"][name] == pytest.approx(value, rel=0.05, abs=0.05), name


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("device", SLOW_OR_CUDA)
def test_compiled_gradients_are_those_of_the_eager_step(device: str) -> None:
    """Compiled, loss and penalty have a pass each, side by side on a GPU; eager, one for both."""
    seen = []
    for compiled in (False, True):
        steps, state = tiny.steps_of("transgan", device=device, compile=compiled)
        torch.manual_seed(5)
        reals, latents, draws = torch.rand(8, 3, 8, 8, device=device), steps.latents(8), steps.discriminator_draws(8)
        terms = steps.discriminator_gradients(reals, latents, draws)
        seen.append(terms | {name: p.grad.clone() for name, p in state.discriminator.named_parameters()})
        assert all(p.grad.stride() == p.stride() for p in state.discriminator.parameters()), "fused Adam needs it"
    assert seen[0].keys() == seen[1].keys() >= {"penalty", "discriminator_loss", "class_token"}
    for name, value in seen[0].items():
        torch.testing.assert_close(seen[1][name], value, rtol=1e-3, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("device", SLOW_OR_CUDA)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_compiled_training_equals_eager(tmp_path: Path, precision: str, device: str) -> None:
    """On a card each step is a CUDA graph; the change of locality at 64 images makes it capture anew."""
    rows = {}
    for compiled in (False, True):
        run = tiny.run("transgan", precision=precision, compile=compiled, locality=Locality("band", ((64, 2),)))
        tiny.fit(run, tmp_path / str(compiled), device=device)
        rows[compiled] = tiny.history.read(tmp_path / str(compiled) / "out" / "train" / "history.csv")
    for one, other in zip(rows[False], rows[True], strict=True):
        assert float(one["discriminator_loss"]) == pytest.approx(float(other["discriminator_loss"]), rel=0.05, abs=0.05)


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("device", SLOW_OR_CUDA)
def test_the_fast_mode_stops_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str], device: str) -> None:
    run = tiny.run("transgan", precision="bfloat16", compile=True)
    with pytest.raises(TrainingStopped):
        tiny.fit(run, tmp_path, device=device, stop_nimg=80)
    tiny.fit(run, tmp_path, device=device)
    assert "resuming at 80 of 160" in capsys.readouterr().err
    weights = load_file(tmp_path / "out" / "weights" / "last.safetensors")
    assert all(tensor.isfinite().all() for tensor in weights.values())
    assert {int(row["nimg"]) for row in tiny.history.read(tmp_path / "out" / "train" / "history.csv")} >= {48, 144, 160}


def smoothed_losses(seed: int, folder: Path, device: str, **changes: object) -> np.ndarray:
    """Discriminator loss over 200 discriminator steps, means of 10."""
    run = tiny.run("transgan", seed=seed, length_nimg=1600, log_every_nimg=80, checkpoint_every_nimg=10**9, **changes)
    tiny.fit(run, folder, device=device)
    rows = tiny.history.read(folder / "out" / "train" / "history.csv")
    return np.array([float(row["discriminator_loss"]) for row in rows])


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("device", SLOW_OR_CUDA)
def test_fast_mode_stays_within_the_spread_of_two_seeds(tmp_path: Path, device: str) -> None:
    faithful, other = (smoothed_losses(seed, tmp_path / str(seed), device) for seed in (0, 1))
    fast = smoothed_losses(0, tmp_path / "fast", device, precision="bfloat16", compile=True)
    assert len(fast) == 20
    assert np.abs(fast - faithful).mean() <= np.abs(other - faithful).mean()
