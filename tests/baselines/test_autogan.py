"""AutoGAN and AdversarialNAS against numbers of the public code, filled by the golden rule."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from baselines import adversarialnas, autogan
from tests.baselines import fill

AUTOGAN = {
    "linear": "1 0 0",
    r"cells\.(\d)\.conv1": r"2 \1 0",
    r"cells\.(\d)\.conv2": r"3 \1 0",
    r"cells\.(\d)\.shortcut": r"4 \1 0",
    r"cells\.(\d)\.skips\.(\d)": r"9 \1 \2",
    r"cells\.(\d)\.norm1": r"6 \1 0",
    r"cells\.(\d)\.norm2": r"7 \1 0",
    "to_rgb": "5 0 0",
    "norm": "8 0 0",
}
ADVERSARIALNAS = {
    r"linears\.(\d)": r"1 0 \1",
    r"cells\.(\d)\.ups\.0": r"21 \1 0",
    r"cells\.(\d)\.ups\.1": r"22 \1 0",
    **{rf"cells\.(\d)\.edges\.{e}\.conv": rf"{23 + e} \1 0" for e in range(5)},
    r"cells\.(\d)\.skips\.(\d)": r"9 \1 \2",
    "to_rgb": "5 0 0",
    "norm": "8 0 0",
}
FILLINGS = ["simple", "full", "simple_train_mode_bn"]


@pytest.fixture(scope="module")
def golden(golden_dir: Path) -> dict[str, Any]:
    """Numbers of the public code."""
    return json.loads((golden_dir / "golden_baselines.json").read_text())


@pytest.mark.verifies("exact: autogan@32")
@pytest.mark.parametrize("filling", FILLINGS)
def test_autogan_a_matches_public_code(golden: dict[str, Any], filling: str) -> None:
    net = fill.fill(autogan.build_generator(32), AUTOGAN, full=filling == "full")
    net.train(filling == "simple_train_mode_bn")
    expected = golden["official_run"]["autogan_a_32_G"][filling]
    labels = {"l1": "linear", "cell1": "cells.0", "cell2": "cells.1", "cell3": "cells.2"}
    watch = fill.Watch(net, {k: v for k, v in labels.items() if k in expected})
    with torch.no_grad():
        image = net(fill.latent(2, 128))
    fill.assert_close(watch.seen | {"image": fill.statistics(image)}, expected)


@pytest.mark.parametrize("skip_alias", [True, False])
def test_skips_branch_where_the_setting_says(golden: dict[str, Any], skip_alias: bool) -> None:
    entry = golden["autogan"]["skip_aliasing"]
    net = fill.fill(autogan.build_generator(32, skip_alias=skip_alias), AUTOGAN, full=False)
    seen = []
    for cell in net.cells:
        cell.register_forward_hook(lambda module, args, output: seen.append(fill.statistics(output[0])))
    with torch.no_grad():
        image = fill.statistics(net(fill.latent(2, 128)))
    fill.assert_close(seen[0], entry["skip1"])
    fill.assert_close(seen[1], entry["skip2"] if skip_alias else entry["skip2_without_alias"])
    if not skip_alias:
        fill.assert_close(image, entry["image_if_not_aliased"])


@pytest.mark.verifies("exact: autogan@32")
@pytest.mark.parametrize("filling", ["simple", "full"])
def test_autogan_critic_matches_public_code(golden: dict[str, Any], filling: str) -> None:
    net = fill.fill(
        autogan.build_discriminator(32, spectral_norm=False), fill.RESNET_DISCRIMINATOR, full=filling == "full"
    )
    expected = golden["official_run"]["autogan_32_D"][filling]
    watch = fill.Watch(net, {f"block{i + 1}": f"blocks.{i}" for i in range(4)})
    with torch.no_grad():
        logits = net(fill.image(2, 32))
    fill.assert_close(watch.seen | {"logits": logits.flatten().tolist()}, expected)


@pytest.mark.verifies("exact: adversarialnas@32")
@pytest.mark.parametrize("filling", FILLINGS)
def test_adversarialnas_matches_public_code(golden: dict[str, Any], filling: str) -> None:
    net = fill.fill(adversarialnas.build_generator(32), ADVERSARIALNAS, full=filling == "full")
    net.train(filling == "simple_train_mode_bn")
    expected = golden["official_run"]["advnas_cifar_32_G"][filling]
    watch = fill.Watch(net, {f"cell{i + 1}": f"cells.{i}" for i in range(3) if f"cell{i + 1}" in expected})
    with torch.no_grad():
        image = net(fill.latent(2, 120))
    fill.assert_close(watch.seen | {"image": fill.statistics(image)}, expected)


COUNTS = {
    **{f"autogan_{a}_{r}_G": (autogan.build_generator, r, {"architecture": a}) for a in "abc" for r in (32, 48, 64)},
    **{f"autogan_{r}_D": (autogan.build_discriminator, r, {}) for r in (32, 48, 64)},
    "advnas_cifar_32_G": (adversarialnas.build_generator, 32, {}),
    "advnas_stl_48_G": (adversarialnas.build_generator, 48, {}),
    "advnas_stl_gf256_48_G": (adversarialnas.build_generator, 48, {"width": 256}),
    "advnas_celeba_ext_64_G": (adversarialnas.build_generator, 64, {}),
    "advnas_D": (adversarialnas.build_discriminator, 32, {}),
}


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_and_buffer_counts(golden: dict[str, Any], name: str) -> None:
    build, resolution, options = COUNTS[name]
    expected = golden["parameter_and_mac_counts"]["run_with_public_code"][name]
    with torch.device("meta"):
        net = build(resolution, **options)
    assert sum(p.numel() for p in net.parameters()) == expected["params"]
    if "buffers" in expected and not name.endswith("_D"):  # the discriminators there have no spectral norm
        assert sum(b.numel() for b in net.buffers()) == expected["buffers"]


def test_discriminator_buffers_with_spectral_norm(golden: dict[str, Any]) -> None:
    expected = golden["parameter_and_mac_counts"]["run_with_public_code"]["autogan_32_D_with_sn"]
    assert sum(b.numel() for b in autogan.build_discriminator(32).buffers()) == expected["buffers"]


def test_cell_parameters_of_adversarialnas() -> None:
    """Specification, table of the genotype; linear layers of the CIFAR layout."""
    net = adversarialnas.build_generator(32)
    assert [sum(p.numel() for p in c.parameters()) for c in net.cells] == [1_311_744, 1_967_616, 2_033_408]
    assert [sum(p.numel() for p in m.parameters()) for m in net.linears] == [167_936, 671_744, 2_686_976]


def test_late_init_has_no_effect_on_the_discriminator() -> None:
    for late, bound in ((True, (128 * 9) ** -0.5), (False, (6 / (128 * 18)) ** 0.5)):
        torch.manual_seed(0)
        weight = autogan.build_discriminator(32, late_init=late).blocks[1].conv1.weight_orig
        assert weight.abs().max().item() == pytest.approx(bound, rel=1e-2)


@pytest.mark.slow
def test_three_training_steps_match_public_code(golden: dict[str, Any]) -> None:
    """Hinge losses, gradient norms, Adam, EMA of the parameters and live batch-norm statistics over three steps."""
    expected = golden["autogan"]["train_three_steps_official_modules"]
    g = fill.fill(autogan.build_generator(32), AUTOGAN, full=True).train()
    d = fill.fill(autogan.build_discriminator(32, spectral_norm=False), fill.RESNET_DISCRIMINATOR, full=True).train()
    adam_g, adam_d = (torch.optim.Adam(net.parameters(), 2e-4, (0.0, 0.9)) for net in (g, d))
    ema = [p.detach().clone() for p in g.parameters()]
    for step, log in enumerate(expected["log"]):
        with torch.no_grad():
            fakes = g(fill.latent(2, 128, 70 + step))
        real, fake = d(fill.image(2, 32, 60 + step)), d(fakes)
        loss = F.relu(1 - real).mean() + F.relu(1 + fake).mean()
        measured = {"step": step, "real": real.flatten().tolist(), "fake": fake.flatten().tolist()}
        measured |= _update(d, adam_d, loss, "d")
        if step % 2 == 0:
            measured |= _update(g, adam_g, -d(g(fill.latent(4, 128, 80 + step))).mean(), "g")
            for average, p in zip(ema, g.parameters(), strict=True):
                average.lerp_(p.detach(), 1 - 0.999)
            measured["ema_l2"] = _norm(ema)
            measured["bn_running_mean"] = fill.statistics(g.norm.running_mean)
            measured["bn_running_var"] = fill.statistics(g.norm.running_var)
        fill.assert_close(measured, log)
    with torch.no_grad():
        image = g.eval()(fill.latent(2, 128))
    fill.assert_close(fill.statistics(image), expected["final_eval_image"])


def _update(net: nn.Module, adam: torch.optim.Adam, loss: torch.Tensor, prefix: str) -> dict[str, float]:
    adam.zero_grad()
    loss.backward()
    adam.step()
    weights = [p.detach() for p in net.parameters()]
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    return {
        f"{prefix}_loss": loss.item(),
        f"{prefix}_grad_norm": _norm(gradients),
        f"{prefix}_weight_l2": _norm(weights),
    }


def _norm(tensors: list[torch.Tensor]) -> float:
    return math.sqrt(sum(t.square().sum().item() for t in tensors))


def test_width_scales_the_networks() -> None:
    net = autogan.build_generator(48, architecture="c", width=32)
    assert net(torch.randn(2, 128)).shape == (2, 3, 48, 48)
    assert autogan.build_discriminator(48, width=16)(torch.rand(2, 3, 48, 48)).shape == (2, 1)
    assert adversarialnas.build_generator(48, width=16)(torch.randn(2, 120)).shape == (2, 3, 48, 48)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"architecture": "d"}, "architecture: 'd'"), ({"init": "he"}, "init: 'he'")],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        autogan.build_generator(32, **options)
    with pytest.raises(ValueError, match="latent_parts: 4"):
        adversarialnas.build_generator(32, latent_parts=4)
