"""What machines compute with: figures of `experiments/devices.yaml`, and the machine that an estimate is made for."""

import functools
import time
from dataclasses import dataclass
from typing import Annotated, Literal

from harness.config import reader
from harness.config.ranges import Name, Positive, Range
from harness.errors import HarnessError, nearest
from harness.paths import Checkout

Confidence = Literal["stated", "measured", "assumed"]
Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


@dataclass(frozen=True)
class Figure:
    """A number, how far off it may be (`value / factor` to `value * factor`), and why it is believed."""

    value: Positive
    factor: Annotated[float, Range(low=1)]
    confidence: Confidence
    because: str


@dataclass(frozen=True)
class Card:
    """One kind of GPU: peak of dense products in TFLOP/s; None: the card has no such arithmetic."""

    name: str
    torch_name: str
    memory_gb: Positive
    float32_tflops: Positive
    bfloat16_tflops: Positive | None
    confidence: Confidence
    source: str


@dataclass(frozen=True)
class Efficiency:
    """Parts of the peak: of training and sampling in two precisions, and of scoring."""

    float32: Figure
    bfloat16: Figure
    inception: Figure


@dataclass(frozen=True)
class Devices:
    """`experiments/devices.yaml`."""

    gpus: dict[Name, Card]
    efficiency: dict[Literal["cpu", "gpu"], Efficiency]
    launch_sec: Figure
    inception_flop: Figure


@dataclass(frozen=True)
class Machine:
    """What an estimate is made for.

    `peak`: operations per second by precision; a precision that is missing is not there. `torch_name`: part of the
    card's name in records; None: a CPU. `threads`: of the CPU.
    """

    name: str
    device: str
    torch_name: str | None
    peak: dict[Precision, float]
    threads: int
    figures: Devices

    @property
    def is_gpu(self) -> bool:
        """Whether it is a card."""
        return self.torch_name is not None

    @property
    def efficiency(self) -> Efficiency:
        """Of the card, or of the CPU."""
        return self.figures.efficiency["gpu" if self.is_gpu else "cpu"]

    @functools.cached_property
    def host_peak(self) -> float:
        """Float32 operations per second of this process's CPU, timed when first asked for."""
        return self.peak["float32"] if not self.is_gpu else matmul_speed("cpu", self.threads)

    def flop_per_sec(self, precision: Precision) -> float:
        """Peak of one precision.

        Raises:
            HarnessError: the card has none.
        """
        if precision not in self.peak:
            raise HarnessError(f"{self.name} has no {precision} arithmetic; choose another card or a float32 recipe.")
        return self.peak[precision]


def read(checkout: Checkout) -> Devices:
    """Read the figures of a checkout.

    Raises:
        HarnessError: no such file, or a value that cannot be.
    """
    path = checkout.devices
    return reader.read(Devices, reader.read_yaml(path), str(path))


def machine(checkout: Checkout, device: str, threads: int, gpu: str | None = None) -> Machine:
    """Describe the card that `gpu` names, else this machine's `device`.

    Args:
        device: cpu, cuda or cuda:N; it must be there unless `gpu` is given.
        threads: CPU threads of the scale.
        gpu: an entry of `gpus`.

    Raises:
        HarnessError: see `read`; or an unknown card.
    """
    figures = read(checkout)
    if gpu is not None and gpu not in figures.gpus:
        raise HarnessError(f"{checkout.devices}: no GPU '{gpu}'.{nearest(gpu, figures.gpus)}")
    if gpu is None and device == "cpu":
        speed = matmul_speed(device, threads)
        name = f"this CPU, {threads} thread{'s' * (threads > 1)}"
        return Machine(name, device, None, {"float32": speed, "bfloat16": speed}, threads, figures)
    name, card = _card(device, figures) if gpu is None else ("", figures.gpus[gpu])
    if card is None:  # not in the table: a matrix product is timed
        timed: dict[Precision, float] = {p: matmul_speed(device, threads, p) for p in PRECISIONS}
        return Machine(name, device, name, timed, threads, figures)
    peak: dict[Precision, float] = {"float32": card.float32_tflops * 1e12}
    if card.bfloat16_tflops is not None:
        peak["bfloat16"] = card.bfloat16_tflops * 1e12
    return Machine(card.name, device if gpu is None else "cuda", card.torch_name, peak, threads, figures)


def _card(device: str, figures: Devices) -> tuple[str, Card | None]:
    import torch

    name = torch.cuda.get_device_name(device)
    return name, next((card for card in figures.gpus.values() if card.torch_name in name), None)


def matmul_speed(device: str, threads: int, precision: Precision = "float32", seconds: float = 0.2) -> float:
    """Time matrix products of 1024 x 1024: operations per second."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        a = torch.rand(1024, 1024, device=device, dtype=getattr(torch, precision))
        torch.mm(a, a).sum().item()  # warm up; `.item()` waits for the device
        done, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            torch.mm(a, a).sum().item()
            done += 1
        return done * 2 * 1024**3 / (time.perf_counter() - start)
    finally:
        torch.set_num_threads(before)
