"""The three networks called DCGAN, against numbers of the public code where there are some."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from baselines import dcgan
from baselines.blocks import build_resnet_discriminator
from tests.baselines import fill

GENERATOR = {r"convs\.(\d)": r"71 \1 0", r"norms\.(\d)": r"72 \1 0"}
DISCRIMINATOR = {r"convs\.(\d)": r"73 \1 0", r"norms\.(\d)": r"74 \1 0", "head": "75 0 0"}


@pytest.fixture(scope="module")
def golden(golden_dir: Path) -> dict[str, Any]:
    """Numbers of the public code."""
    return json.loads((golden_dir / "golden_baselines.json").read_text())


@pytest.mark.verifies("exact: dcgan@32")
@pytest.mark.parametrize("filling", ["simple", "full", "simple_train_mode_bn"])
def test_classic_generator_matches_public_code(golden: dict[str, Any], filling: str) -> None:
    net = fill.fill(dcgan.build_generator(32), GENERATOR, full=filling == "full")
    net.train(filling == "simple_train_mode_bn")
    expected = golden["official_run"]["pgc_dcgan32_G"][filling]
    watch = fill.Watch(net, {k: f"convs.{k[-1]}" for k in expected if k.startswith("convT")})
    with torch.no_grad():
        image = net(fill.latent(2, 100))
    fill.assert_close(watch.seen | {"image": fill.statistics(image)}, expected)


@pytest.mark.verifies("exact: dcgan@32")
@pytest.mark.parametrize("filling", ["simple", "full"])
def test_classic_discriminator_matches_public_code(golden: dict[str, Any], filling: str) -> None:
    net = fill.fill(dcgan.build_discriminator(32), DISCRIMINATOR, full=filling == "full")
    expected = golden["official_run"]["pgc_dcgan32_D"][filling]
    watch = fill.Watch(net, {f"conv{i}": f"convs.{i}" for i in range(4)})
    with torch.no_grad():
        logits = net(fill.image(2, 32))
    fill.assert_close(watch.seen | {"logits": logits.flatten().tolist()}, expected)


@pytest.mark.verifies("exact: dcgan-resnet@32", "exact: dcgan-resnet-sigmoid@32")
@pytest.mark.parametrize("filling", ["simple", "full", "simple_train_mode_bn"])
@pytest.mark.parametrize("network", ["resnet", "resnet-sigmoid"])
def test_residual_generator_matches_public_code(golden: dict[str, Any], network: str, filling: str) -> None:
    name = {"resnet": "mimicry_dcgan_32_G", "resnet-sigmoid": "mimicry_dcgan_cifar_sigmoid_G"}[network]
    net = fill.fill(dcgan.build_generator(32, network=network), fill.RESNET_GENERATOR, full=filling == "full")
    net.train(filling == "simple_train_mode_bn")
    with torch.no_grad():
        image = net(fill.latent(2, 128))
    if network == "resnet-sigmoid":  # the public network gives [0, 1]
        image = (image + 1) / 2
    fill.assert_close(fill.statistics(image), golden["official_run"][name][filling]["image"])


@pytest.mark.verifies("exact: dcgan-resnet@32", "exact: dcgan-resnet-sigmoid@32")
@pytest.mark.parametrize("filling", ["simple", "full"])
def test_residual_discriminator_matches_public_code(golden: dict[str, Any], filling: str) -> None:
    expected = golden["official_run"]["mimicry_dcgan_32_D_as_published_inplace_relu"][filling]
    net = fill.fill(dcgan.build_discriminator(32, network="resnet"), fill.RESNET_DISCRIMINATOR, full=filling == "full")
    sigmoid = fill.fill(
        dcgan.build_discriminator(32, network="resnet-sigmoid"), fill.RESNET_DISCRIMINATOR, full=filling == "full"
    )
    x = fill.image(2, 32)
    with torch.no_grad():
        fill.assert_close(net(x).flatten().tolist(), expected["logits"])
        fill.assert_close(sigmoid(2 * x - 1).flatten().tolist(), expected["logits"])


@pytest.mark.parametrize("filling", ["simple", "full"])
def test_residual_discriminator_with_a_raw_shortcut(golden: dict[str, Any], filling: str) -> None:
    """The same discriminator without the published in-place ReLU."""
    options = {"pool": "sum", "head_bias": True, "spectral": False, "init": "mimicry"}
    net = build_resnet_discriminator(32, width=128, shortcut="raw", **options)
    fill.fill(net, fill.RESNET_DISCRIMINATOR, full=filling == "full")
    expected = golden["official_run"]["mimicry_dcgan_32_D_shortcut_sees_raw_input"][filling]
    with torch.no_grad():
        fill.assert_close(net(fill.image(2, 32)).flatten().tolist(), expected["logits"])


COUNTS = [(32, "pgc_dcgan32_G", "pgc_dcgan32_D"), (48, "pgc_dcgan48_G_M3", "pgc_dcgan48_D")]
COUNTS += [(64, "pgc_dcgan64_G_M4", "pgc_dcgan64_D")]


@pytest.mark.parametrize(("resolution", "generator", "discriminator"), COUNTS)
def test_classic_counts_and_shapes(golden: dict[str, Any], resolution: int, generator: str, discriminator: str) -> None:
    counts = golden["parameter_and_mac_counts"]["run_with_public_code"]
    g, d = dcgan.build_generator(resolution), dcgan.build_discriminator(resolution)
    assert sum(p.numel() for p in g.parameters()) == counts[generator]["params"]
    assert sum(b.numel() for b in g.buffers()) == counts[generator]["buffers"]
    assert sum(p.numel() for p in d.parameters()) == counts[discriminator]["params"]
    assert sum(b.numel() for b in d.buffers()) == counts[discriminator]["buffers"]
    with torch.no_grad():
        image = g(torch.randn(2, g.latent_dim))
        assert image.shape == (2, 3, resolution, resolution)
        assert d(image).shape == (2, 1)


@pytest.mark.parametrize("resolution", [32, 48, 64])
def test_ttur_counts_and_shapes(golden: dict[str, Any], resolution: int) -> None:
    counts = golden["parameter_and_mac_counts"]["analytic"][f"ttur_dcgan_{resolution}"]
    g, d = (build(resolution, network="ttur") for build in (dcgan.build_generator, dcgan.build_discriminator))
    assert sum(p.numel() for p in g.parameters()) == counts["G"]
    assert sum(p.numel() for p in d.parameters()) == counts["D"]
    with torch.no_grad():
        image = g(torch.randn(2, g.latent_dim))
        assert image.shape == (2, 3, resolution, resolution)
        assert d(image).shape == (2, 1)
    assert g.linear.weight.std().item() == pytest.approx(0.02, rel=0.02)


def test_ttur_latent_is_uniform() -> None:
    torch.manual_seed(0)
    net = dcgan.build_generator(32, network="ttur")
    seen: list[torch.Tensor] = []
    net.linear.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad():
        net(torch.randn(200, 100))
    quantiles = torch.quantile(seen[0].flatten(), torch.tensor([0.1, 0.5, 0.9]))
    assert quantiles.tolist() == pytest.approx([-0.8, 0.0, 0.8], abs=0.02)
    assert seen[0].abs().max() < 1


def test_wrong_network_is_named() -> None:
    with pytest.raises(ValueError, match="network: 'wide'"):
        dcgan.build_discriminator(32, network="wide")
