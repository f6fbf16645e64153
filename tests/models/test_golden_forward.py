"""Forward passes of the S generator (32 px) and the discriminator equal the official code's, in float64."""

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.transgan import build_discriminator, build_generator
from tests.models import fill
from tests.paths import GOLDEN as GOLDEN_DIR

HALF_WIDTHS = {0: 4, 25: 6, 35: 8, 50: 10, 60: None, 300: None}  # by epoch, CIFAR-10


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return json.loads((GOLDEN_DIR / "golden.json").read_text())


@pytest.fixture(scope="module")
def generator() -> nn.Module:
    with torch.device("meta"):
        network = build_generator(32, size="S")
    return network.to_empty(device="cpu").eval()


@pytest.fixture(scope="module")
def discriminator() -> nn.Module:
    with torch.device("meta"):
        network = build_discriminator(32)
    return network.to_empty(device="cpu").eval()


def assert_equal(measured: dict[str, Any], expected: dict[str, Any]) -> None:
    assert measured.keys() == expected.keys()
    for key, value in expected.items():
        assert measured[key] == pytest.approx(value, rel=1e-9, abs=1e-15), key  # abs: means that are 0


def record(outputs: dict[str, Tensor], name: str, *, of_input: bool = False) -> Any:
    def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        outputs[name] = inputs[0] if of_input else output

    return hook


@pytest.mark.verifies("exact: transgan-s@32")
@pytest.mark.parametrize("kind", ["simple", "full"])
def test_generator_stages(golden: dict[str, Any], generator: Any, kind: str) -> None:
    fill.fill(generator, kind)
    seen: dict[str, Tensor] = {}
    handles = [generator.project.register_forward_hook(record(seen, "l1"))]
    for s, blocks in enumerate(generator.stages):
        handles.append(blocks[-1].register_forward_hook(record(seen, f"stage{s}_out")))
        if s:
            handles.append(blocks[0].register_forward_hook(record(seen, f"stage{s}_in_after_pos", of_input=True)))
    with torch.no_grad():
        seen["image"] = generator(fill.latent(2, 1024))
    for handle in handles:
        handle.remove()
    expected = golden["forward"]["g_cifar_S"][kind]["epoch_300"]
    assert seen.keys() == expected.keys()
    for name, statistics in expected.items():
        assert_equal(fill.statistics(seen[name]), statistics)


def test_generator_under_locality(golden: dict[str, Any], generator: Any) -> None:
    fill.fill(generator, "simple")
    for name, expected in golden["forward"]["g_cifar_S"]["simple"].items():
        generator.set_locality("band", HALF_WIDTHS[int(name.removeprefix("epoch_"))])
        with torch.no_grad():
            assert_equal(fill.statistics(generator(fill.latent(2, 1024))), expected["image"])
    generator.set_locality("band", None)


@pytest.mark.verifies("exact: transgan-s@32")
@pytest.mark.parametrize("kind", ["simple", "full"])
def test_discriminator(golden: dict[str, Any], discriminator: Any, kind: str) -> None:
    fill.fill(discriminator, kind)
    seen: dict[str, Tensor] = {}
    handles = [
        discriminator.blocks[0].register_forward_hook(record(seen, "tokens_in", of_input=True)),
        discriminator.blocks[-1].register_forward_hook(record(seen, "tokens_out")),
        discriminator.norm.register_forward_hook(record(seen, "final_norm")),
    ]
    with torch.no_grad():
        scores = discriminator(fill.image(2, 32))
    for handle in handles:
        handle.remove()
    expected = golden["forward"]["d_cifar"][kind]
    assert scores.shape == (2, 1)
    assert scores.flatten().tolist() == pytest.approx(expected["logits"], rel=1e-9, abs=0)
    for name, tokens in seen.items():
        assert_equal(fill.statistics(tokens), expected[name])


def test_float32_stays_near(golden: dict[str, Any], generator: Any, discriminator: Any) -> None:
    """Single precision moves an image by less than 1e-4 and a score by less than 1e-5."""
    for network, inputs, bound in ((generator, fill.latent(2, 1024), 1e-4), (discriminator, fill.image(2, 32), 1e-5)):
        fill.fill(network, "full")
        with torch.no_grad():
            exact = network(inputs)
            single = network.float()(inputs.float())
        assert (single - exact).abs().max() < bound
