"""Attention: fused and explicit forms agree, locality is what the paper and the code mean, two derivatives exist."""

import itertools
import json
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from harness.errors import HarnessError
from models.transgan import build_discriminator, build_generator
from models.transgan.blocks import (
    Attention,
    Block,
    explicit_attention,
    fused_attention,
    locality_mask,
    padded_attention,
    padded_explicit_attention,
    relative_index,
)
from models.transgan.discriminator import PatchEmbedding
from models.transgan.generator import upsample
from tests.devices import CUDA
from tests.paths import GOLDEN as GOLDEN_DIR

GOLDEN: dict[str, Any] = json.loads((GOLDEN_DIR / "golden.json").read_text())


def heads(*shape: int) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = torch.randn(3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    return q, k, v


@pytest.mark.parametrize("mask", ["none", "boolean", "bias"])
def test_fused_equals_explicit(mask: str) -> None:
    q, k, v = heads(2, 4, 16, 6)
    argument = {
        "none": None,
        "boolean": locality_mask("band", 4, 2),
        "bias": torch.randn(4, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1)),
    }[mask]
    explicit = explicit_attention(q, k, v, argument)
    gradients = torch.autograd.grad(explicit.square().sum(), (q, k, v))
    for fused in (fused_attention(q, k, v, argument), padded_attention(q, k, v, argument, multiple=8)):
        torch.testing.assert_close(fused, explicit, rtol=1e-12, atol=1e-14)
        for ours, theirs in zip(torch.autograd.grad(fused.square().sum(), (q, k, v)), gradients, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("bias_side", [None, 4])
def test_first_tokens_are_those_of_the_whole(fused: bool, masked: bool, bias_side: int | None) -> None:
    """A block asked for its first tokens returns them, with the gradients that all tokens would have given."""
    torch.manual_seed(0)
    block = Block(24, 4, fused=fused, bias_side=bias_side).double()
    tokens = torch.randn(2, 16, 24, dtype=torch.float64, requires_grad=True)
    mask = locality_mask("band", 4, 5) if masked else None
    whole, first = block(tokens, mask)[:, :3], block(tokens, mask, first=3)
    torch.testing.assert_close(first, whole, rtol=1e-12, atol=1e-14)
    wanted = (tokens, *block.parameters())
    for ours, theirs in zip(
        torch.autograd.grad(first.square().sum(), wanted),
        torch.autograd.grad(whole.square().sum(), wanted),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("device", [CUDA])
@pytest.mark.parametrize("depth", [4, 6])
@pytest.mark.parametrize("masked", [False, True])
def test_fused_attention_needs_no_square_array(depth: int, masked: bool, device: str) -> None:
    """Last stage at 64 px, batch 8, forward and backward: the N x N logits alone would take 2.1 GB."""
    q, k, v = (torch.randn(8, 4, 4096, depth, device=device, requires_grad=True) for _ in range(3))
    mask = locality_mask("band", 64, 8, q.device) if masked else None
    torch.cuda.reset_peak_memory_stats()
    fused_attention(q, k, v, mask).sum().backward()
    assert torch.cuda.max_memory_allocated() < 1e9


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("bias_side", [None, 4])
def test_a_generators_attention_fits_the_fused_kernel(bias_side: int | None, masked: bool) -> None:
    """The N x N form is forbidden here, so that arguments which the kernel of this device refuses are an error."""
    attention = Attention(24, 4, fused=True, bias_side=bias_side)
    mask = locality_mask("band", 4, 5) if masked else None
    with torch.no_grad(), sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        assert attention(torch.randn(2, 16, 24), mask).shape == (2, 16, 24)
        assert attention(torch.randn(2, 16, 24), mask, first=3).shape == (2, 3, 24)


def test_explicit_attention_has_a_double_backward() -> None:
    q, k, v = heads(1, 2, 3, 2)
    assert torch.autograd.gradgradcheck(lambda *x: explicit_attention(*x, None), (q, k, v))


@pytest.mark.parametrize("mask", ["none", "boolean", "bias", "one column"])
def test_padding_changes_nothing(mask: str) -> None:
    """13 tokens padded to 16: values, gradients, and the gradients of a penalty on them."""
    q, k, v = heads(2, 4, 13, 6)
    bias = torch.randn(4, 13, 13, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    argument = {"none": None, "boolean": bias > -1, "bias": bias, "one column": bias[..., :1]}[mask]
    seen = []
    for mixed in (explicit_attention(q, k, v, argument), padded_explicit_attention(q, k, v, argument, multiple=8)):
        gradients = torch.autograd.grad(mixed.square().sum(), (q, k, v), create_graph=True)
        penalty = sum(gradient.square().sum() for gradient in gradients)
        seen.append((mixed, *gradients, *torch.autograd.grad(penalty, (q, k, v))))
    for ours, theirs in zip(*seen, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_patches_by_a_matrix_product_are_the_convolutions() -> None:
    torch.manual_seed(0)
    embed = PatchEmbedding(4, 8).double()
    images = torch.randn(2, 3, 12, 12, dtype=torch.float64, requires_grad=True)
    seen = []
    for tokens in (embed(images), embed.product(images)):
        (gradient,) = torch.autograd.grad(tokens.square().sum(), images, create_graph=True)
        seen.append((tokens, gradient, *torch.autograd.grad(gradient.square().sum(), embed.parameters())))
    for ours, theirs in zip(*seen, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_the_discriminator_differentiable_once_is_the_same_around_the_same_tensors() -> None:
    discriminator = build_discriminator(8, width=16, depth=2)
    discriminator.class_token_only()
    once = discriminator.differentiable_once()
    assert [p is q for p, q in zip(discriminator.parameters(), once.parameters(), strict=True)].count(False) == 0
    kinds = [{m.fused for m in network.modules() if isinstance(m, Attention)} for network in (discriminator, once)]
    assert kinds == [{False}, {True}]
    images = torch.rand(3, 3, 8, 8)
    scores = [network(images) for network in (discriminator, once)]
    torch.testing.assert_close(*scores, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(*(torch.autograd.grad(s.sum(), discriminator.parameters()) for s in scores), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_discriminator_has_a_double_backward() -> None:
    """Second derivatives by pixels and by every parameter, as the gradient penalty takes them, against differences."""
    torch.manual_seed(0)
    discriminator = build_discriminator(4, width=4, depth=2, heads=2, patch=2).double()
    with torch.no_grad():  # at the initial scale the scores hardly depend on the image
        for p in discriminator.parameters():
            p.copy_(torch.randn_like(p) * 0.5)
    images = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    names, weights = zip(*((n, p.detach().requires_grad_()) for n, p in discriminator.named_parameters()), strict=True)

    def score(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(discriminator, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradgradcheck(score, (images, *weights), fast_mode=True)


@pytest.mark.parametrize("case", GOLDEN["masks"], ids=lambda c: f"N{c['N']}-w{c['w']}")
def test_band_equals_the_released_mask(case: dict[str, Any]) -> None:
    if case["N"] == 10:  # not a square grid: cut the corner of a larger one, whose band has the same pairs
        mask = locality_mask("band", 4, case["w"])[:10, :10]
    else:
        mask = locality_mask("band", round(case["N"] ** 0.5), case["w"])
    rows = mask.sum(dim=1).tolist()
    assert mask.dtype == torch.bool
    assert sum(rows) == case["total_ones"]
    assert rows[:3] == case["row_ones_first3"]
    assert rows[-3:] == case["row_ones_last3"]
    assert rows[len(rows) // 2] == case["row_ones_mid"]


@pytest.mark.parametrize("half_width", [0, 1, 2, 9])
def test_window_is_a_square_on_the_grid(half_width: int) -> None:
    side = 5
    mask = locality_mask("window", side, half_width)
    for i, j in itertools.product(range(side * side), repeat=2):
        (yi, xi), (yj, xj) = divmod(i, side), divmod(j, side)
        assert mask[i, j].item() == (max(abs(yi - yj), abs(xi - xj)) <= half_width)


def reach(generator: Any, block: Any) -> Tensor:
    """Boolean [N, N]: which input tokens of a block move which of its output tokens."""
    tokens = block.attention.qkv.in_features
    seen: dict[str, Tensor] = {}

    def keep(_: Any, inputs: tuple[Any, ...]) -> None:
        seen["mask"] = inputs[1]

    handle = block.register_forward_pre_hook(keep)
    generator(torch.randn(1, generator.latent_dim))
    handle.remove()
    side = round(block_tokens(generator, block) ** 0.5)
    x = torch.randn(1, side * side, tokens)
    base = block(x, seen["mask"])
    moved = torch.zeros(side * side, side * side, dtype=torch.bool)
    for j in range(side * side):
        other = x.clone()
        other[0, j] += torch.randn(tokens)  # not a shift of all channels, which the norm removes
        moved[:, j] = (block(other, seen["mask"]) - base).abs().amax(dim=(0, 2)) > 0
    return moved


def block_tokens(generator: Any, block: Any) -> int:
    return next(side**2 for side, stage in zip(generator.sides, generator.stages, strict=True) if block in list(stage))


@pytest.mark.parametrize("scope", ["last-block", "every-block"])
@pytest.mark.parametrize("shape", ["band", "window"])
def test_locality_limits_the_blocks_it_says(shape: str, scope: str) -> None:
    torch.manual_seed(0)
    generator = build_generator(8, width=16, depths=(1, 2), latent_dim=8, heads=2, locality_scope=scope).eval()
    generator.set_locality(shape, 1)
    with torch.no_grad():
        for s, stage in enumerate(generator.stages):
            for b, block in enumerate(stage):  # type: ignore[arg-type]
                limited = scope == "every-block" or (s, b) == (1, 1)
                allowed = locality_mask(shape, generator.sides[s], 1)
                assert torch.equal(reach(generator, block), allowed if limited else torch.ones_like(allowed))


def test_locality_is_lifted_and_stores_nothing() -> None:
    torch.manual_seed(0)
    generator = build_generator(32, size="XS").eval()
    z = torch.randn(1, generator.latent_dim)
    with torch.no_grad():
        free = generator(z)
        generator.set_locality("band", 4)
        band = generator(z)
        generator.set_locality("window", 4)
        window = generator(z)
        assert len({x.sum().item() for x in (free, band, window)}) == 3
        assert not list(generator.buffers())
        generator.set_locality("window", None)
        assert torch.equal(generator(z), free)


def test_locality_refuses() -> None:
    generator = build_generator(8, width=16, depths=(1,), latent_dim=8)
    with pytest.raises(HarnessError, match="Did you mean 'window'"):
        generator.set_locality("windows", 4)
    with pytest.raises(HarnessError, match="half_width is -1"):
        generator.set_locality("band", -1)
    with pytest.raises(HarnessError, match="unknown locality shape"):
        locality_mask("ring", 4, 1)


def test_upsample_order() -> None:
    golden = GOLDEN["pixel_upsample"]
    out = upsample(torch.arange(32).view(1, 4, 8), 2)
    assert out[0].tolist() == golden["output"]


def test_relative_bias_depends_on_the_offset_only() -> None:
    """Row of the table = offset from query to key, as in Swin: checked pair by pair on a 3 x 3 grid."""
    side = 3
    index = relative_index(side)
    for i, j in itertools.product(range(side * side), repeat=2):
        dy, dx = i // side - j // side, i % side - j % side
        assert index[i, j] == (dy + 2) * 5 + dx + 2
    attention = Attention(8, 2, fused=True, bias_side=side)
    assert attention.bias_table is not None
    tokens = torch.randn(1, 9, 8)
    before = attention(tokens)
    with torch.no_grad():
        attention.bias_table[:, 1] += torch.randn(25)
    moved = (attention.qkv(tokens), attention(tokens) - before)
    assert moved[1].abs().max() > 1e-4
    fused, explicit = attention(tokens, locality_mask("band", side, 2)), None
    attention.fused = False
    explicit = attention(tokens, locality_mask("band", side, 2))
    torch.testing.assert_close(fused, explicit)


def test_noise_starts_silent_and_is_one_value_per_token() -> None:
    attention = Attention(8, 2, fused=False, noise=True)
    assert attention.noise_strength is not None
    tokens = torch.randn(2, 5, 8)
    assert torch.equal(attention(tokens), attention(tokens))
    with torch.no_grad():
        attention.noise_strength.fill_(0.5)
    seen: list[Tensor] = []
    attention.qkv.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    attention(tokens)
    shift = (seen[0] - tokens).detach()
    assert shift.std(dim=(0, 1)).min() > 0
    torch.testing.assert_close(shift, shift[..., :1].expand_as(shift), rtol=1e-4, atol=1e-6)
