"""Adaptive augmentation against outputs of the public code at fixed percentiles."""

import json
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.training import ada
from tests.baselines import fill

GEOMETRIC = {t.name: t for t in ada.GEOMETRY}
COLOURS = {t.name: t for t in ada.COLOUR}
# The file's name of a case -> transforms, in order. The debug mode of the public code leaves the second rotation out.
CASES: dict[str, tuple[str, ...]] = {
    "xflip": ("x_flip",),
    "rotate90": ("rotate_90",),
    "xint": ("integer_shift",),
    "scale": ("isotropic_scale",),
    "rotate": ("rotate",),
    "aniso": ("anisotropic_scale",),
    "xfrac": ("fractional_shift",),
    "blit": ("x_flip", "rotate_90", "integer_shift"),
    "geom": ("isotropic_scale", "rotate", "anisotropic_scale", "rotate_again", "fractional_shift"),
    "brightness": ("brightness",),
    "contrast": ("contrast",),
    "lumaflip": ("luma_flip",),
    "hue": ("hue",),
    "saturation": ("saturation",),
    "color": tuple(COLOURS),
}


@pytest.fixture(scope="module")
def golden(golden_dir: Path) -> dict[str, Any]:
    """Outputs of the public code, float32."""
    return json.loads((golden_dir / "golden_baselines.json").read_text())


def at_percentile(percentile: float) -> ada.Draw:
    """Put the percentile for every uniform number and, as that debug mode does, erfinv(2p - 1) for every normal one."""

    def draw(transform: ada.Transform, like: Tensor) -> Tensor:
        if transform.name == "rotate_again":
            return torch.full_like(like, 0.5)  # 0 degrees
        value = torch.full_like(like, percentile)
        return torch.erfinv(2 * value - 1) if transform.normal else value

    return draw


def smooth_image() -> Tensor:
    """Return the file's `smooth_input`."""
    ramp = torch.arange(64, dtype=torch.float32).view(1, 1, 8, 8) / 32 - 1
    image = F.interpolate(ramp, size=(32, 32), mode="bilinear", align_corners=False)
    return (image * torch.tensor([1, 0.5, -0.7]).view(1, 3, 1, 1)).repeat(2, 1, 1, 1)


def noise_image() -> Tensor:
    return fill.image(2, 32, role=85).float()


def run_case(name: str, images: Tensor, percentile: float) -> Tensor:
    always, draw = torch.tensor(1.0), at_percentile(percentile)
    if name == "bgc":
        return ada.AdaPipe(p=1.0)(images, draw)
    if CASES[name][0] in GEOMETRIC:
        matrices = ada.sample([GEOMETRIC[t] for t in CASES[name]], images, always, draw)
        return ada.warp(images, reduce(torch.matmul, matrices))
    matrices = ada.sample([COLOURS[t] for t in CASES[name]], images, always, draw)
    return ada.recolour(images, reduce(torch.matmul, reversed(matrices)))


@pytest.mark.parametrize("name", [*CASES, "bgc"])
def test_transforms_match_public_code(golden: dict[str, Any], name: str) -> None:
    cases = golden["ada_augment_pipe"]["cases"][name]
    assert {"percentile_0.3", "percentile_0.75"} <= set(cases)
    for case, expected in cases.items():
        images = smooth_image() if case.startswith("smooth") else noise_image()
        measured = fill.statistics(run_case(name, images, float(case.rsplit("_", 1)[1])))
        assert measured["shape"] == expected["shape"]
        for key, value in expected.items():
            if key in ("std", "l2"):
                assert measured[key] == pytest.approx(value, rel=1e-4)
            elif key != "shape":
                assert measured[key] == pytest.approx(value, abs=1e-5), (case, key)


def test_filter_matches_public_code(golden: dict[str, Any]) -> None:
    taps = torch.tensor(ada.SYM6, dtype=torch.float64)
    expected = golden["ada_augment_pipe"]["Hz_geom_sym6_normalised"]
    torch.testing.assert_close(taps / taps.sum(), torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("side", [32, 48, 64])
def test_nothing_happens_at_probability_zero(side: int) -> None:
    images = fill.image(3, side)
    torch.testing.assert_close(ada.AdaPipe(p=0.0)(images), images, rtol=0, atol=1e-9)


def test_each_step_happens_with_its_probability() -> None:
    torch.manual_seed(0)
    n, p = 4000, 0.4
    images = torch.zeros(n, 3, 4, 4)
    for transform in (*ada.GEOMETRY, *ada.COLOUR):
        (matrix,) = ada.sample([transform], images, torch.tensor(p))
        moved = ((matrix - torch.eye(matrix.shape[-1])).abs().amax(dim=(1, 2)) > 1e-9).double().mean().item()
        chance = 1 - (1 - p) ** 0.5 if transform.rotation else p
        # Half of the flips and a quarter of the turns are the identity; 1/8 of 4 pixels rounds to a shift of 0.
        chance *= {"x_flip": 0.5, "luma_flip": 0.5, "rotate_90": 0.75, "integer_shift": 0.0}.get(transform.name, 1.0)
        assert moved == pytest.approx(chance, abs=0.035), transform.name


def test_probability_above_one_is_harmless() -> None:
    torch.manual_seed(0)
    assert ada.AdaPipe(p=1.5)(noise_image()).isfinite().all()


def warped(images: Tensor, name: str, *numbers: float) -> Tensor:
    draws = torch.tensor([numbers] * len(images), dtype=torch.float64)
    return ada.warp(images, GEOMETRIC[name].matrix(draws, images.shape[-1]))


def test_whole_shifts_are_exact() -> None:
    images = fill.image(2, 32)
    shifted = warped(images, "integer_shift", 1.0, 0.5)  # 4 pixels to the right, the mirrored edge comes in
    torch.testing.assert_close(shifted[..., 4:], images[..., :-4], rtol=0, atol=1e-9)
    torch.testing.assert_close(shifted[..., :4], images[..., 1:5].flip(3), rtol=0, atol=1e-9)


def test_mirroring_and_quarter_turns_point_the_right_way() -> None:
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij")
    images = torch.stack([rows, columns, torch.sin(2 * rows + columns)]).double()[None]
    inside = (..., slice(4, -4), slice(4, -4))
    # Only about right, by a quarter of a pixel's slope: the filter is not symmetric. A wrong direction is off by 1.
    for numbers, expected in ((("x_flip", 0.7), images.flip(3)), (("rotate_90", 0.6), images.flip(2, 3))):
        torch.testing.assert_close(warped(images, *numbers)[inside], expected[inside], rtol=0, atol=0.05)
    quarter = warped(images, "rotate_90", 0.3)[inside]
    torch.testing.assert_close(quarter, images.rot90(1, (2, 3))[inside], rtol=0, atol=0.05)


def random_matrices(n: int) -> Tensor:
    torch.manual_seed(1)
    return reduce(torch.matmul, ada.sample(ada.GEOMETRY, torch.zeros(n, 3, 8, 8), torch.tensor(1.0)))


def test_warp_is_differentiable_twice() -> None:
    inverse = random_matrices(1)
    images = torch.randn(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: ada.warp(x, inverse), (images,))
    # Squares: a second derivative that is not zero.
    assert torch.autograd.gradgradcheck(lambda x: ada.warp(x, inverse).square().sum(), (images,))


def test_resampling_agrees_with_torch_to_the_first_derivative() -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 3, 6, 5, dtype=torch.float64, requires_grad=True)
    grid = torch.rand(2, 4, 7, 2, dtype=torch.float64) * 2.4 - 1.2
    weight = torch.randn(2, 3, 4, 7, dtype=torch.float64)
    own, theirs = ada._Resample.apply(images, grid), F.grid_sample(images, grid, align_corners=False)
    assert torch.equal(own, theirs)
    gradients = [torch.autograd.grad((out * weight).sum(), images)[0] for out in (own, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("margins", [(0, 0), (3, 1), (5, 5)])
def test_reflection_is_torchs(margins: tuple[int, int]) -> None:
    images = torch.randn(2, 3, 6, 6, dtype=torch.float64, requires_grad=True)
    own, theirs = ada._reflected(images, 3, *margins), F.pad(images, (*margins, 0, 0), mode="reflect")
    assert torch.equal(own, theirs)
    weight = torch.randn_like(own)
    gradients = [torch.autograd.grad((out * weight).sum(), images)[0] for out in (own, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-14)


def test_gradient_penalty_goes_through_the_pipe() -> None:
    torch.manual_seed(0)
    pipe = ada.AdaPipe(p=0.8)
    conv = torch.nn.Conv2d(3, 2, 3).double()
    images = torch.randn(4, 3, 16, 16, dtype=torch.float64, requires_grad=True)

    def penalty() -> Tensor:
        torch.manual_seed(7)
        (gradient,) = torch.autograd.grad(conv(pipe(images)).square().sum(), images, create_graph=True)
        return gradient.square().sum()

    weight = conv.weight
    (gradient,) = torch.autograd.grad(penalty(), weight)
    direction, step = torch.randn_like(weight), 1e-6
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight.add_(direction, alpha=sign * step)
        values.append(penalty().item())
        with torch.no_grad():
            weight.sub_(direction, alpha=sign * step)
    assert (values[0] - values[1]) / (2 * step) == pytest.approx((gradient * direction).sum().item(), rel=1e-6)


def test_draws_come_from_torchs_generator() -> None:
    pipe, images = ada.AdaPipe(p=0.5), noise_image()
    outputs = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        outputs.append(pipe(images))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_half_precision_images_are_augmented_in_float32() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = ada.AdaPipe(p=0.0)(noise_image().bfloat16())
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, noise_image().bfloat16().float(), rtol=0, atol=1e-5)


def test_probability_follows_the_mean_sign(golden: dict[str, Any]) -> None:
    pipe = ada.AdaPipe()
    step = golden["ada_step"]["p_increment_per_adjustment_batch64_interval4"]
    for mean_sign, expected in ((0.7, step), (0.9, 2 * step), (0.6, 2 * step), (0.5, step), (-1.0, 0.0), (0.0, 0.0)):
        pipe.update(mean_sign, images_since=64 * 4, target=0.6, speed_nimg=500_000)
        assert pipe.p.item() == pytest.approx(expected, abs=1e-9)
    assert set(pipe.state_dict()) == {"p"}
    pipe.update(1.0, images_since=600_000, target=0.6, speed_nimg=500_000)
    assert pipe.p.item() == pytest.approx(1.2)  # the public code has no upper bound
