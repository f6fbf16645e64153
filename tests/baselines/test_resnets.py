"""SN-GAN and WGAN-GP against numbers of the public code, filled by the golden rule."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from baselines import sngan, wgan_gp
from baselines.blocks import build_resnet_discriminator
from tests.baselines import fill


@pytest.fixture(scope="module")
def golden(golden_dir: Path) -> dict[str, Any]:
    """Numbers of the public code."""
    return json.loads((golden_dir / "golden_baselines.json").read_text())


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


EXACT = [f"exact: {name}@32" for name in ("sngan", "sngan-mimicry", "sngan-pytorch", "wgan-gp", "wgan-gp-mimicry")]
GENERATORS = {
    "sngan_pytorch_cifar_G": (sngan, {}),
    "pgc_sngan_res32_G": (sngan, {}),
    "mimicry_sngan_32_G": (sngan, {"up": "bilinear", "init": "mimicry-sngan"}),
    "pgc_wgangp_res32_G": (wgan_gp, {}),
    "mimicry_wgan_gp_32_G": (wgan_gp, {"up": "bilinear", "init": "mimicry"}),
}


def labels_of(entry: dict[str, Any]) -> dict[str, str]:
    """Map the file's block labels, counted from 0 (pgc), 1 (discriminators) or 2 (generators), to our submodules."""
    blocks = sorted(k for k in entry if k.startswith("block"))
    return {label: f"blocks.{i}" for i, label in enumerate(blocks)} | ({"l1": "linear"} if "l1" in entry else {})


@pytest.mark.verifies(*EXACT)
@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("filling", ["simple", "full", "simple_train_mode_bn"])
def test_generator_matches_public_code(golden: dict[str, Any], name: str, filling: str) -> None:
    module, options = GENERATORS[name]
    net = fill.fill(module.build_generator(32, **options), fill.RESNET_GENERATOR, full=filling == "full")
    assert parameters(net) == golden["official_run"][name]["params"]
    net.train(filling == "simple_train_mode_bn")
    expected = golden["official_run"][name][filling]
    watch = fill.Watch(net, labels_of(expected))
    with torch.no_grad():
        image = net(fill.latent(2, 128))
    fill.assert_close(watch.seen | {"image": fill.statistics(image)}, expected)


DISCRIMINATORS = {
    "sngan_pytorch_cifar_D": (sngan, {"spectral_norm": False}),
    "pgc_sngan_res32_D": (sngan, {"spectral_norm": False}),
    "mimicry_sngan_32_D_as_published_inplace_relu": (
        sngan,
        {"spectral_norm": False, "shortcut": "relu", "head_bias": True, "init": "mimicry-sngan"},
    ),
    "mimicry_sngan_32_D_shortcut_sees_raw_input": (sngan, {"spectral_norm": False, "head_bias": True}),
    "mimicry_wgan_gp_32_D_as_published_inplace_relu": (wgan_gp, {"shortcut": "relu"}),
    "mimicry_wgan_gp_32_D_shortcut_sees_raw_input": (wgan_gp, {}),
    "pgc_wgangp_res32_D": (wgan_gp, {"pool": "sum"}),
}


@pytest.mark.verifies(*EXACT)
@pytest.mark.parametrize("name", DISCRIMINATORS)
@pytest.mark.parametrize("filling", ["simple", "full"])
def test_discriminator_matches_public_code(golden: dict[str, Any], name: str, filling: str) -> None:
    module, options = DISCRIMINATORS[name]
    net = fill.fill(module.build_discriminator(32, **options), fill.RESNET_DISCRIMINATOR, full=filling == "full")
    assert parameters(net) == golden["official_run"][name]["params"]
    expected = golden["official_run"][name][filling]
    watch = fill.Watch(net, labels_of(expected))
    with torch.no_grad():
        logits = net(fill.image(2, 32))
    assert logits.shape == (2, 1)
    fill.assert_close(watch.seen | {"logits": logits.flatten().tolist()}, expected)


@pytest.mark.parametrize(
    ("full", "expected"),
    [(False, [-0.02627636715, -0.02556569518]), (True, [1.893485652, 1.894365923])],
)
def test_discriminator_at_48_matches_sngan_pytorch(full: bool, expected: list[float]) -> None:
    """GongXinyuu/sngan.pytorch@3d92616, STL discriminator without spectral norm; numbers of the specification's
    section 14."""
    net = fill.fill(sngan.build_discriminator(48, spectral_norm=False), fill.RESNET_DISCRIMINATOR, full)
    with torch.no_grad():
        fill.assert_close(net(fill.image(2, 48)).flatten().tolist(), expected)


COUNTS = [  # golden_baselines.json, parameter_and_mac_counts
    ("mimicry_sngan_48_G", sngan.build_generator, 48, {}),
    ("mimicry_sngan_64_G", sngan.build_generator, 64, {}),
    ("sngan_pytorch_stl_D", sngan.build_discriminator, 48, {}),
    ("mimicry_sngan_48_D", sngan.build_discriminator, 48, {"head_bias": True}),
    ("mimicry_sngan_64_D", sngan.build_discriminator, 64, {"head_bias": True}),
    ("mimicry_wgan_gp_48_G", wgan_gp.build_generator, 48, {}),
    ("mimicry_wgan_gp_64_G", wgan_gp.build_generator, 64, {}),
    ("mimicry_wgan_gp_48_D", wgan_gp.build_discriminator, 48, {}),
    ("mimicry_wgan_gp_64_D", wgan_gp.build_discriminator, 64, {}),
]


@pytest.mark.parametrize(("name", "build", "resolution", "options"), COUNTS, ids=[c[0] for c in COUNTS])
def test_parameter_counts(
    golden: dict[str, Any], name: str, build: Any, resolution: int, options: dict[str, Any]
) -> None:
    counts = golden["parameter_and_mac_counts"]["run_with_public_code"]
    assert parameters(build(resolution, **options)) == counts[name]["params"]


def test_original_wgan_gp_parameter_count(golden: dict[str, Any]) -> None:
    expected = golden["parameter_and_mac_counts"]["analytic"]["wgangp_official_tf_cifar_resnet"]
    assert parameters(wgan_gp.build_generator(32, width=128)) == expected["G"]
    assert parameters(wgan_gp.build_discriminator(32)) == expected["D_unconditional"]


PENALTIES = {
    "mean_pool_raw_shortcut": {},
    "mean_pool_relu_shortcut_as_mimicry": {"shortcut": "relu"},
    "sum_pool_raw_shortcut": {"pool": "sum"},
}


@pytest.mark.parametrize("name", PENALTIES)
def test_gradient_norms_at_interpolates(golden: dict[str, Any], name: str) -> None:
    entry = golden["own_reimplementation"]["wgan_gp_penalty_full_fill"]
    net = fill.fill(wgan_gp.build_discriminator(32, **PENALTIES[name]), fill.RESNET_DISCRIMINATOR, full=True).train()
    alpha = torch.tensor(entry["alpha"], dtype=torch.float64).view(2, 1, 1, 1)
    x = alpha * fill.image(2, 32) + (1 - alpha) * fill.image(2, 32, role=53)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
    norms = gradient.flatten(1).norm(dim=1)
    fill.assert_close(norms.tolist(), entry[name]["grad_norms"])
    penalty = 10 * ((norms - 1) ** 2).mean()
    fill.assert_close(penalty.item(), entry[name]["gp_lambda10_target1"])
    penalty.backward()  # twice differentiable
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())
    assert net.blocks[0].conv1.weight.grad.abs().max() > 0


SIGMAS = {  # the file's layer names -> ours
    "block{}.c1": "blocks.{}.conv1",
    "block{}.c2": "blocks.{}.conv2",
    "block{}.c_sc": "blocks.{}.shortcut",
}


def sigmas(net: nn.Module) -> dict[str, float]:
    """Sigma = u'Wv of every layer, under the file's names."""
    out = {}
    for theirs, ours in SIGMAS.items():
        for i, block in enumerate(net.blocks):
            layer = getattr(block, ours.rsplit(".", 1)[1])
            if hasattr(layer, "weight_u"):
                out[theirs.format(i)] = sigma(layer)
    return out | {"l5": sigma(net.head)}


def sigma(layer: nn.Module) -> float:
    return (layer.weight_u @ layer.weight_orig.flatten(1) @ layer.weight_v).item()


def test_spectral_norm_matches_public_code(golden: dict[str, Any]) -> None:
    """Three training forwards, one power iteration each, then a frozen one."""
    entry = golden["autogan"]["discriminator_spectral_norm"]
    net = fill.fill(sngan.build_discriminator(32), fill.RESNET_DISCRIMINATOR, full=False).train()
    x = fill.image(2, 32)
    with torch.no_grad():
        for step in (1, 2, 3):
            logits = net(x)
            fill.assert_close({"logits": logits.flatten().tolist(), "sigma": sigmas(net)}, entry[f"forward_{step}"])
        net.eval()
        for _ in range(2):
            fill.assert_close({"logits": net(x).flatten().tolist()}, entry["eval_after_3"])


def test_spectral_norm_buffers_are_saved_and_reproduce_the_next_step() -> None:
    torch.manual_seed(0)
    net, other = sngan.build_discriminator(32, width=16), sngan.build_discriminator(32, width=16)
    x = torch.rand(2, 3, 32, 32)
    for _ in range(3):
        net(x)
    state = {k: v.clone() for k, v in net.state_dict().items()}
    assert {"head.weight_u", "head.weight_v", "blocks.1.shortcut.weight_u"} <= set(state)
    other.load_state_dict(state)
    for _ in range(2):  # the iteration goes on from the saved vectors, and in eval mode stays
        assert torch.equal(net(x), other(x))
    assert torch.equal(net.eval()(x), other.eval()(x))


def test_a_spectrally_normalised_discriminator_can_be_copied_after_a_step() -> None:
    net = sngan.build_discriminator(32, width=16)
    x = torch.rand(2, 3, 32, 32)
    net(x).sum().backward()
    assert net.blocks[1].conv1.weight_orig.grad.abs().max() > 0
    other = copy.deepcopy(net)
    assert torch.equal(net(x), other(x))


def test_published_variants_change_the_result() -> None:
    x, z = fill.image(2, 32), fill.latent(2, 128)
    plain = {"width": 16, "shortcut": "raw", "pool": "sum", "head_bias": False, "spectral": False, "init": "chainer"}

    def logits(**changes: Any) -> torch.Tensor:
        with torch.no_grad():
            return fill.fill(build_resnet_discriminator(32, **(plain | changes)), fill.RESNET_DISCRIMINATOR, full=True)(
                x
            )

    for changes in ({"shortcut": "relu"}, {"pool": "mean"}, {"head_bias": True}, {"unit_range": True}):
        assert not torch.allclose(logits(), logits(**changes)), changes
    with torch.no_grad():
        nearest, bilinear = (
            fill.fill(sngan.build_generator(32, width=16, up=up), fill.RESNET_GENERATOR, True)(z)
            for up in ("nearest", "bilinear")
        )
    assert not torch.allclose(nearest, bilinear)


@pytest.mark.parametrize(
    ("rule", "block_gain", "shortcut_gain", "zero_biases"),
    [("chainer", 2**0.5, 1.0, True), ("mimicry-sngan", 2**0.5, 1.0, False)],
)
def test_initialisation_bounds(rule: str, block_gain: float, shortcut_gain: float, zero_biases: bool) -> None:
    torch.manual_seed(0)
    net = sngan.build_discriminator(32, init=rule, head_bias=True)
    xavier = {"conv1": (128 * 9 * 2, block_gain), "shortcut": (128 * 2, shortcut_gain)}
    for name, (fans, gain) in xavier.items():
        weight = getattr(net.blocks[1], name).weight_orig
        assert weight.abs().max().item() == pytest.approx(gain * (6 / fans) ** 0.5, rel=1e-2)
    assert net.head.weight_orig.abs().max().item() == pytest.approx((6 / 129) ** 0.5, rel=5e-2)
    assert (net.head.bias.abs().item() == 0) is zero_biases


def test_late_init_leaves_the_discriminator_at_the_default() -> None:
    """The void late init of AutoGAN and sngan.pytorch: uniform within 1 / sqrt(fan in), biases too."""
    torch.manual_seed(0)
    net = sngan.build_discriminator(32, init="chainer", late_init=True)
    weight, bias = net.blocks[1].conv1.weight_orig, net.blocks[1].conv1.bias
    assert weight.abs().max().item() == pytest.approx((128 * 9) ** -0.5, rel=1e-2)
    assert 0 < bias.abs().max().item() <= (128 * 9) ** -0.5


def test_autogan_style_generator_initialisation() -> None:
    torch.manual_seed(0)
    net = sngan.build_generator(32, init="autogan")
    assert net.blocks[0].conv1.weight.abs().max().item() == pytest.approx((6 / (256 * 18)) ** 0.5, rel=1e-2)
    assert net.linear.weight.abs().max().item() == pytest.approx(128**-0.5, rel=1e-2)
    assert net.norm.weight.std().item() == pytest.approx(0.02, rel=0.15)
    assert net.norm.weight.mean().item() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("resolution", [32, 48, 64])
def test_narrow_networks_scale_every_layer(resolution: int) -> None:
    full, narrow = sngan.build_generator(resolution), sngan.build_generator(resolution, width=64)
    for big, small in zip(full.blocks, narrow.blocks, strict=True):
        assert small.conv2.out_channels * 4 == big.conv2.out_channels
    discriminator = sngan.build_discriminator(resolution, width=32)
    with torch.no_grad():
        image = narrow(torch.randn(2, narrow.latent_dim))
        assert image.shape == (2, 3, resolution, resolution)
        assert discriminator(image).shape == (2, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"up": "cubic"}, "up: 'cubic'"), ({"width": 3}, "width: 3"), ({"init": "he"}, "init: 'he'")],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sngan.build_generator(48, **options)
    with pytest.raises(ValueError, match="resolution: 40"):
        sngan.build_generator(40)


def test_channels_last_changes_nothing() -> None:
    torch.manual_seed(0)
    generator, discriminator = (
        sngan.build_generator(32, width=16).eval(),
        sngan.build_discriminator(32, width=16).eval(),
    )
    z = torch.randn(2, 128)
    with torch.no_grad():
        image = generator(z)
        logits = discriminator(image)
        for net in (generator, discriminator):
            net.to(memory_format=torch.channels_last)
        torch.testing.assert_close(generator(z), image)
        torch.testing.assert_close(discriminator(image.to(memory_format=torch.channels_last)), logits)
