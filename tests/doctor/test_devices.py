"""Figures of machines: each has a source and a confidence, and the right card is found."""

import pytest
import torch

from harness.doctor import devices
from harness.errors import HarnessError
from harness.paths import Checkout
from tests.paths import ROOT

CHECKOUT = Checkout(ROOT)


def test_every_figure_says_where_it_comes_from() -> None:
    figures = devices.read(CHECKOUT)
    assert {"h100", "h200", "a100", "v100", "rtx4090"} <= set(figures.gpus)
    for card in figures.gpus.values():
        assert card.source
        assert card.bfloat16_tflops is None or card.bfloat16_tflops >= card.float32_tflops
    for part in figures.efficiency.values():
        for figure in vars(part).values():
            assert 0 < figure.value <= 1
            assert figure.because


@pytest.mark.parametrize(
    ("card", "name", "teraflops"), [("NVIDIA H100 80GB HBM3", "H100 SXM", 67), ("Some Other GPU", "Some Other GPU", 3)]
)
def test_the_card_of_this_machine(monkeypatch: pytest.MonkeyPatch, card: str, name: str, teraflops: float) -> None:
    """A card that is not in the table is timed."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: card)
    monkeypatch.setattr(devices, "matmul_speed", lambda *_: 3e12)
    found = devices.machine(CHECKOUT, "cuda", 2)
    assert (found.name, found.peak["float32"]) == (name, teraflops * 1e12)
    assert found.torch_name is not None
    assert found.torch_name in card


def test_a_named_card_need_not_be_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "matmul_speed", None)  # nothing is timed
    found = devices.machine(CHECKOUT, "cuda", 4, "v100")
    assert found.is_gpu
    with pytest.raises(HarnessError, match="V100 SXM2 has no bfloat16"):
        found.flop_per_sec("bfloat16")


def test_a_matrix_product_is_timed() -> None:
    before = torch.get_num_threads()
    assert devices.matmul_speed("cpu", 1, seconds=0.01) > 1e6
    assert torch.get_num_threads() == before
