"""StyleGAN2 against numbers of the public code, filled by the golden rule."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn

from baselines import stylegan2
from baselines import stylegan2_ops as ops
from harness.networks import operations
from tests.baselines import fill
from tests.baselines.fill_equalised import fill_equalised, noise_maps
from tests.paths import ROOT

MODELS = yaml.safe_load((ROOT / "experiments/models/stylegan2.yaml").read_text())

# The first stage has no up-sampling convolution: its only one takes the role of the others' second.
GENERATOR = {
    r"mapping\.layers\.(\d)": r"31 \1 0",
    "constant": "32 0 0",
    r"stages\.0\.convs\.0": "34 0 0",
    r"stages\.0\.convs\.0\.style": "37 0 0",
    r"stages\.(\d)\.convs\.0": r"33 \1 0",
    r"stages\.(\d)\.convs\.1": r"34 \1 0",
    r"stages\.(\d)\.to_rgb": r"35 \1 0",
    r"stages\.(\d)\.convs\.0\.style": r"36 \1 0",
    r"stages\.(\d)\.convs\.1\.style": r"37 \1 0",
    r"stages\.(\d)\.to_rgb\.style": r"38 \1 0",
}
DISCRIMINATOR = {
    "from_rgb": "41 0 0",
    r"stages\.(\d)\.conv": r"42 \1 0",
    r"stages\.(\d)\.down": r"43 \1 0",
    r"stages\.(\d)\.skip": r"44 \1 0",
    "conv": "45 0 0",
    "linear": "46 0 0",
    "head": "47 0 0",
}
CONFIGURATIONS = {
    "ada_cifar_32": MODELS["stylegan2-cifar"],
    "diffaug_tf_cifar_equiv_32": MODELS["stylegan2-diffaug"],
    "ada_auto_32": {"generator": {"channel_base": 16384}, "discriminator": {**MODELS["stylegan2-64"]["discriminator"]}},
    "sg2_default_32_map8_resnet": {
        "generator": {"mapping_layers": 8},
        "discriminator": {"architecture": "resnet"},
    },
}


@pytest.fixture(scope="module")
def golden(golden_dir: Path) -> dict[str, Any]:
    """Numbers of the public code."""
    return json.loads((golden_dir / "golden_baselines.json").read_text())


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def build(spec: dict[str, Any], resolution: int, full: bool) -> tuple[stylegan2.Generator, stylegan2.Discriminator]:
    generator = stylegan2.build_generator(resolution, **spec["generator"])
    discriminator = stylegan2.build_discriminator(resolution, **spec["discriminator"])
    return fill_equalised(generator, GENERATOR, full), fill_equalised(discriminator, DISCRIMINATOR, full)  # type: ignore[return-value]


def check_configuration(golden: dict[str, Any], name: str, full: bool) -> None:
    expected = golden["official_run"][f"stylegan2_{name}"]["full" if full else "simple"]
    counts = golden["parameter_and_mac_counts"]["stylegan2_run"][name]
    generator, discriminator = build(CONFIGURATIONS[name], 32, full)
    assert (parameters(generator), parameters(discriminator)) == (counts["G_params"], counts["D_params"])
    measured: dict[str, Any] = {}

    z, x = fill.latent(2, 512), fill.image(2, 32).requires_grad_()
    generator.noise = False
    with torch.no_grad():
        styles = generator.styles(z)
        image = generator(z)
        measured["w"] = fill.statistics(styles[:, 0])
        measured["image"] = fill.statistics(image)
    watch = watch_stages(generator, discriminator)
    logits = discriminator(x)
    measured["logits"] = logits.flatten().tolist()
    (gradient,) = torch.autograd.grad(logits.sum(), x)
    measured["r1_sum_sq_per_sample"] = gradient.square().sum(dim=(1, 2, 3)).tolist()
    stages = {label: statistics for label, statistics in watch.items() if label.startswith("D")}
    with torch.no_grad():
        for module in generator.modules():
            if isinstance(module, ops.StyledConv):
                module.noise_strength.fill_(0.1)
        noisy = generator.synthesise(styles, noise_maps(generator.noise_sides))
        measured["image_with_const_noise_strength_0p1"] = fill.statistics(noisy)
        stages |= {label: statistics for label, statistics in watch.items() if label.startswith("G")}
        fake_logits = discriminator(image)
    measured["losses"] = {
        "fake_logits": fake_logits.flatten().tolist(),
        "softplus_D": (F.softplus(fake_logits).mean() + F.softplus(-logits).mean()).item(),
        "softplus_G": F.softplus(-fake_logits).mean().item(),
    }
    expected = {k: v for k, v in expected.items() if k != "fused_vs_unfused_max_abs"}
    assert set(measured) | set(stages) == set(expected)
    fill.assert_close(measured | stages, expected)


def watch_stages(generator: stylegan2.Generator, discriminator: stylegan2.Discriminator) -> dict[str, dict[str, Any]]:
    """Collect statistics of every stage's output under the golden file's labels, the latest pass wins."""
    seen: dict[str, dict[str, Any]] = {}

    def watch_generator(module: nn.Module, args: Any, output: tuple[Tensor, Tensor]) -> None:
        for part, tensor in zip(("features", "image_so_far"), output, strict=True):
            statistics = fill.statistics(tensor)
            seen[f"G_b{tensor.shape[-1]}_{part}"] = {k: v for k, v in statistics.items() if not k.startswith("px")}

    def watch_discriminator(module: nn.Module, args: tuple[Tensor], output: Tensor) -> None:
        seen[f"D_b{args[0].shape[-1]}"] = fill.statistics(output)

    for stage in generator.stages:
        stage.register_forward_hook(watch_generator)
    for stage in discriminator.stages:
        stage.register_forward_hook(watch_discriminator)
    return seen


@pytest.mark.verifies("exact: stylegan2-diffaug@32")
@pytest.mark.parametrize("full", [False, True], ids=["simple", "full"])
def test_diffaugment_network_matches_public_code(golden: dict[str, Any], full: bool) -> None:
    check_configuration(golden, "diffaug_tf_cifar_equiv_32", full)


@pytest.mark.verifies("exact: stylegan2-cifar@32")
@pytest.mark.slow
@pytest.mark.parametrize("full", [False, True], ids=["simple", "full"])
@pytest.mark.parametrize("name", ["ada_cifar_32", "ada_auto_32", "sg2_default_32_map8_resnet"])
def test_other_configurations_match_public_code(golden: dict[str, Any], name: str, full: bool) -> None:
    check_configuration(golden, name, full)


# Parameters and multiply-accumulates of the specification's tables: sections 0 and 7.2.
COUNTS = {
    ("stylegan2-cifar", 32): ("ada_cifar_32", 19_947_539, 20_720_641),
    ("stylegan2-diffaug", 32): ("diffaug_tf_cifar_equiv_32", 13_506_963, 13_918_849),
    ("stylegan2-64", 64): ("ada_auto_64", 22_243_608, 23_407_361),
    ("stylegan2-48", 48): (None, 19_957_779, 25_963_521),
}


@pytest.mark.parametrize(("name", "resolution"), COUNTS)
def test_parameters_and_macs(golden: dict[str, Any], name: str, resolution: int) -> None:
    entry, generator_parameters, discriminator_parameters = COUNTS[name, resolution]
    assert resolution in MODELS[name]["resolutions"]
    generator, discriminator = (
        operations.count(role, {"model": name}, resolution) for role in ("generator", "discriminator")
    )
    assert (generator.parameters, discriminator.parameters) == (generator_parameters, discriminator_parameters)
    if entry is not None:
        counts = golden["parameter_and_mac_counts"]["stylegan2_run"][entry]
        assert (generator.macs, discriminator.macs) == (counts["G_macs"]["total"], counts["D_macs"])


RESAMPLING = {
    "up_conv3": (5, lambda x, w3, w1, f: ops.up_conv(x, w3, f)),
    "down_conv3": (6, lambda x, w3, w1, f: ops.down_conv(x, w3, f)),
    "down_conv1": (6, lambda x, w3, w1, f: ops.down_conv(x, w1, f)),
    "upsample2d": (5, lambda x, w3, w1, f: ops.up_image(x, f)),
    "downsample2d": (6, lambda x, w3, w1, f: ops.down_image(x, f)),
}


@pytest.mark.parametrize("name", RESAMPLING)
def test_resampling_matches_public_code(golden: dict[str, Any], name: str) -> None:
    side, operation = RESAMPLING[name]
    x = 2 * fill.values((1, 2, side, side), 81)
    w3, w1 = fill.values((3, 2, 3, 3), 82), fill.values((3, 2, 1, 1), 83)
    out = operation(x, w3, w1, ops.fir_kernel().double())
    expected = golden["resample_ops"][name]
    fill.assert_close(fill.statistics(out), {k: v for k, v in expected["out"].items() if not k.startswith("px")})
    fill.assert_close(out[0, 0, 0].tolist(), expected["first_row_ch0"])


def test_minibatch_stddev_matches_public_code(golden: dict[str, Any]) -> None:
    x = 2 * fill.values((8, 3, 4, 4), 84)
    for group, key in ((4, "last_channel_per_sample"), (8, "group8"), (32, "group8")):
        out = ops.append_minibatch_stddev(x, group)
        assert torch.equal(out[:, :3], x)
        assert torch.equal(out[:, 3], out[:, 3, :1, :1].expand(-1, 4, 4))
        fill.assert_close(out[:, 3, 0, 0].tolist(), golden["minibatch_std"][key])


def test_minibatch_stddev_refuses_ragged_groups() -> None:
    with pytest.raises(ValueError, match="batch of 6 does not split into groups of 4"):
        ops.append_minibatch_stddev(torch.zeros(6, 1, 2, 2), 4)


def tiny(**options: Any) -> tuple[stylegan2.Generator, stylegan2.Discriminator]:
    torch.manual_seed(0)
    generator = stylegan2.build_generator(32, channel_max=4, mapping_layers=1, **options)
    return generator, stylegan2.build_discriminator(32, channel_max=4, architecture="resnet", stddev_group=2)


@pytest.mark.parametrize("architecture", ["orig", "resnet"])
def test_discriminator_is_twice_differentiable(architecture: str) -> None:
    torch.manual_seed(0)
    discriminator = stylegan2.build_discriminator(32, channel_max=2, architecture=architecture, stddev_group=2).double()
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    weights = list(discriminator.parameters())

    def penalty() -> Tensor:
        (gradient,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
        return gradient.square().sum() / 2

    # Numerical derivative of the penalty along a random direction of weight space, against the second derivative.
    directions = [torch.randn_like(w) for w in weights]
    # The head's bias does not reach the input gradient.
    analytic = torch.autograd.grad(penalty(), weights, allow_unused=True)
    slope = sum((g * d).sum() for g, d in zip(analytic, directions, strict=True) if g is not None)
    step = 1e-6
    shifted = []
    for sign in (1, -1):
        with torch.no_grad():
            for w, d in zip(weights, directions, strict=True):
                w.add_(d, alpha=sign * step)
        shifted.append(penalty().item())
        with torch.no_grad():
            for w, d in zip(weights, directions, strict=True):
                w.sub_(d, alpha=sign * step)
    assert (shifted[0] - shifted[1]) / (2 * step) == pytest.approx(slope.item(), rel=1e-5)


def test_operations_pass_gradgradcheck() -> None:
    torch.manual_seed(0)
    fir = ops.fir_kernel().double()
    x = torch.randn(2, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    w3 = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x, w: ops.up_conv(x, w, fir), (x, w3))
    assert torch.autograd.gradgradcheck(lambda x, w: ops.down_conv(x, w, fir), (x, w3))
    assert torch.autograd.gradgradcheck(lambda x: ops.append_minibatch_stddev(x, 2), (x,))


def test_path_length_reaches_every_weight_it_depends_on() -> None:
    generator, _ = tiny()
    generator.train()
    images, styles = generator.images_and_styles(torch.randn(2, 512))
    assert styles.shape == (2, 8, 512)
    (gradient,) = torch.autograd.grad((images * torch.randn_like(images)).sum(), styles, create_graph=True)
    length = gradient.square().sum(dim=2).mean(dim=1).sqrt()
    length.mean().backward()
    unreached = {n for n, p in generator.named_parameters() if p.grad is None or not p.grad.any()}
    # Neither noise (strength 0 at the start) nor the biases of the linear image output bend the path.
    assert all(n.endswith(("to_rgb.bias", "noise_strength")) or "mapping" in n for n in unreached), unreached


def test_noise_is_on_by_default_and_can_be_switched_off() -> None:
    generator, _ = tiny()
    generator.eval()
    z = torch.randn(2, 512)
    assert torch.equal(generator(z), generator(z))  # strength starts at 0
    with torch.no_grad():
        for stage in generator.stages:
            for conv in stage.convs:
                conv.noise_strength.fill_(1.0)
    assert not torch.equal(generator(z), generator(z))
    generator.noise = False
    assert torch.equal(generator(z), generator(z))


def test_style_mixing_swaps_a_tail_of_layers_in_training_only() -> None:
    generator, _ = tiny(style_mixing=0.9)
    z = torch.randn(3, 512)
    plain = generator.eval().styles(z)[:, 0]
    assert torch.equal(generator.styles(z), plain[:, None].expand(-1, 8, -1))
    generator.train()
    firsts = []
    for _ in range(400):
        own = (generator.styles(z) == plain[:, None]).all(dim=2)
        assert torch.equal(own, own[:1].expand(3, -1))  # one crossing for the batch
        count = int(own[0].sum())
        assert own[0, :count].all()  # a head of own layers, then the other latent's
        firsts.append(count)
    assert set(firsts) == set(range(1, 9))
    mixed = sum(first < 8 for first in firsts) / len(firsts)
    assert mixed == pytest.approx(0.9, abs=0.06)  # four standard errors


def test_w_average_moves_in_training_and_serves_truncation() -> None:
    generator, _ = tiny(noise=False)
    z = torch.randn(4, 512)
    generator.eval()(z)
    assert not generator.w_average.any()
    generator.train()(z)
    w = generator.mapping(z)
    torch.testing.assert_close(generator.w_average, 0.005 * w.mean(dim=0))
    generator.eval()
    centre = generator.synthesise(generator.w_average.expand(1, 8, -1))
    torch.testing.assert_close(generator(z, truncation=0.0), centre.expand(4, -1, -1, -1))
    assert not torch.equal(generator(z, truncation=0.5), generator(z))


def test_state_dict_round_trip_and_five_steps_with_r1() -> None:
    generator, discriminator = tiny(style_mixing=0.9)
    steps = [torch.optim.Adam(net.parameters(), lr=0.002, betas=(0.0, 0.99)) for net in (generator, discriminator)]
    before = [p.detach().clone() for net in (generator, discriminator) for p in net.parameters()]
    for _ in range(5):
        steps[0].zero_grad()
        F.softplus(-discriminator(generator(torch.randn(4, 512)))).mean().backward()
        steps[0].step()
        steps[1].zero_grad()
        real = torch.rand(4, 3, 32, 32).mul(2).sub(1).requires_grad_()
        logits = discriminator(real)
        (gradient,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
        fake = discriminator(generator(torch.randn(4, 512)).detach())
        loss = F.softplus(fake).mean() + F.softplus(-logits).mean() + 0.05 * gradient.square().sum(dim=(1, 2, 3)).mean()
        loss.backward()
        steps[1].step()
    after = [p.detach() for net in (generator, discriminator) for p in net.parameters()]
    assert all(p.isfinite().all() for p in after)
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    names = {n for n, _ in generator.named_parameters()} | {"w_average"}
    assert set(generator.state_dict()) == names
    copy = tiny()[0]
    copy.load_state_dict(generator.state_dict())
    copy.noise = generator.noise = False
    z = torch.randn(2, 512)
    assert torch.equal(copy.eval()(z), generator.eval()(z))


def test_channels_last_changes_nothing() -> None:
    generator, discriminator = tiny(noise=False)
    z = torch.randn(2, 512)
    expected = discriminator(generator.eval()(z))
    generator.to(memory_format=torch.channels_last)
    discriminator.to(memory_format=torch.channels_last)
    torch.testing.assert_close(discriminator(generator(z)), expected, rtol=1e-4, atol=1e-5)


def test_bfloat16_autocast_stays_close() -> None:
    generator, discriminator = tiny(noise=False, style_mixing=0.9)
    z = torch.randn(4, 512)
    expected = generator.eval()(z)
    with torch.autocast("cpu", torch.bfloat16):
        image, logits = generator(z), discriminator(expected)
        generator.train()(z)
    assert (image - expected).norm() < 0.05 * expected.norm()  # 8 bits of mantissa, nine layers
    torch.testing.assert_close(logits.float(), discriminator(expected), rtol=0.1, atol=0.05)
    assert generator.w_average.dtype == torch.float32


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ValueError, match="resolution: 40 is not one of 32, 48, 64"):
        stylegan2.build_generator(40)
    with pytest.raises(ValueError, match="architecture: 'skip' is not one of 'orig', 'resnet'"):
        stylegan2.build_discriminator(32, architecture="skip")


def test_widths_at_48_pixels_are_those_of_the_stages_at_32() -> None:
    for base in (4096, 16384, 32768):
        assert stylegan2.stage_widths(48, base, 512) == stylegan2.stage_widths(32, base, 512)
    assert stylegan2.stage_widths(64, 16384, 512) == [512, 512, 512, 512, 256]
