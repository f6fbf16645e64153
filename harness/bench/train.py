"""`harness bench train`: a TransGAN-S cycle against the plain eager step, ratios in one run, losses compared."""

import copy
import dataclasses
import functools
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from harness import provenance
from harness.bench import page
from harness.bench.plain_step import PlainTrainer
from harness.config.schema import Drift, Ema, Optimiser, Penalty, Recipe
from harness.errors import HarnessError
from harness.networks import operations
from harness.training.device import set_device
from harness.training.state import new_state
from harness.training.steps import Steps
from harness.training.terms import DiscriminatorDraws
from models.transgan import build_discriminator, build_generator

TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2}  # largest relative difference from the plain losses
PRODUCT = {"cuda": 8192, "cpu": 2048}  # side of the square matrices whose product is the ceiling


@dataclasses.dataclass(frozen=True)
class Size:
    """What is timed: networks and batches of the CIFAR-10 script (VITA-Group/TransGAN@9a5838a), unless told less."""

    generator: dict[str, Any] = dataclasses.field(default_factory=lambda: {"size": "S"})
    discriminator: dict[str, Any] = dataclasses.field(default_factory=dict)
    resolution: int = 32
    discriminator_batch: int = 32
    generator_batch: int = 64
    n_critic: int = 5
    repeats: int = 5


@dataclasses.dataclass(frozen=True)
class Variant:
    """One row of the table."""

    name: str
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False
    gpu_only: bool = False


VARIANTS = (
    Variant("harness, float32"),
    Variant("harness, bfloat16 autocast", precision="bfloat16", gpu_only=True),
    Variant("harness, bfloat16, compiled, CUDA graphs", precision="bfloat16", compile=True, gpu_only=True),
)


def recipe_of(size: Size, variant: Variant) -> Recipe:
    """`wgangp-eps` of the script, without augmentation, as the plain step has it."""
    adam = Optimiser(1e-4, (0.0, 0.99))
    return Recipe(
        objective="wasserstein",
        length_nimg=0,
        discriminator_batch=size.discriminator_batch,
        generator_batch=size.generator_batch,
        discriminator_optimiser=adam,
        generator_optimiser=adam,
        n_critic=size.n_critic,
        penalty=Penalty("gradient", 10.0),
        drift=Drift("squared-mean", 1e-3),
        clip_grad_norm=5.0,
        ema=Ema("fixed", 0.999),
        precision=variant.precision,
        compile=variant.compile,
    )


class Ours:
    """The steps that training runs."""

    def __init__(
        self, size: Size, variant: Variant, generator: nn.Module, discriminator: nn.Module, device: str
    ) -> None:
        """Copy the networks."""
        self.recipe = recipe_of(size, variant)
        generator, discriminator = copy.deepcopy(generator), copy.deepcopy(discriminator)
        self.state = new_state(self.recipe, generator, discriminator, device)
        self.steps = Steps(self.recipe, self.state, size.resolution, device)

    def discriminator(self, reals: torch.Tensor, latents: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        """One step with a given alpha, and its loss."""
        terms = self.steps.discriminator_gradients(reals, latents, DiscriminatorDraws({}, {}, {}, alpha))
        self.steps.apply_discriminator()
        return terms["discriminator_loss"]

    def generator(self, latents: torch.Tensor) -> torch.Tensor:
        """One step with its average, and its loss."""
        terms = self.steps.generator_gradients(latents, {})
        self.steps.apply_generator()
        self.state.average.update(0, self.recipe.discriminator_batch)
        return terms["generator_loss"]

    def cycle_discriminator(self, reals: torch.Tensor, latents: torch.Tensor, alpha: torch.Tensor) -> None:
        """One step as the loop calls it (with CUDA graphs, where the variant has them)."""
        self.steps.discriminator_step(reals, latents)

    def cycle_generator(self, latents: torch.Tensor) -> None:
        """One step as the loop calls it."""
        self.steps.generator_step(latents)
        self.state.average.update(0, self.recipe.discriminator_batch)


class Plain:
    """The yardstick; attention is written out, as in the released code."""

    def __init__(self, generator: nn.Module, discriminator: nn.Module) -> None:
        """Copy the networks."""
        generator, discriminator = copy.deepcopy(generator), copy.deepcopy(discriminator)
        for module in generator.modules():
            if hasattr(module, "fused"):
                setattr(module, "fused", False)  # noqa: B010 (a module's attribute, not a parameter)
        self.trainer = PlainTrainer(generator, discriminator)

    def discriminator(self, reals: torch.Tensor, latents: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        """One step, and its loss."""
        return self.trainer.discriminator_step(reals, latents, alpha).loss

    def generator(self, latents: torch.Tensor) -> torch.Tensor:
        """One step with its average, and its loss."""
        return self.trainer.generator_step(latents).loss

    cycle_discriminator: Callable[..., Any] = discriminator
    cycle_generator: Callable[..., Any] = generator


def compare(contestants: tuple[Plain, Ours], size: Size, generator: nn.Module, device: str) -> float:
    """Largest relative difference of the losses of three discriminator and two generator steps from the plain ones."""
    torch.manual_seed(0)
    worst = 0.0
    for i in range(3):
        reals, latents, alpha = batch(size, generator, device)
        plain, ours = (c.discriminator(reals, latents, alpha).item() for c in contestants)
        worst = max(worst, abs(ours - plain) / max(abs(plain), 1.0))
        if i < 2:
            z = torch.randn(size.generator_batch, generator.latent_dim, device=device)  # type: ignore[call-overload]
            plain, ours = (c.generator(z).item() for c in contestants)
            worst = max(worst, abs(ours - plain) / max(abs(plain), 1.0))
    return worst


def batch(size: Size, generator: nn.Module, device: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Reals uniform in [-1, 1], latents and alpha of one discriminator step."""
    n, side = size.discriminator_batch, size.resolution
    latents = torch.randn(n, generator.latent_dim, device=device)  # type: ignore[call-overload]
    return torch.rand(n, 3, side, side, device=device) * 2 - 1, latents, torch.rand(n, device=device)


def repeat(times: int, call: Callable[..., Any], *arguments: Any) -> None:
    """Call so many times."""
    for _ in range(times):
        call(*arguments)


def seconds(call: Callable[[], Any], device: str) -> float:
    """Wall time of one call, to the end of what it started."""
    start = time.perf_counter()
    call()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start


def cycle_sec(contestants: list[Any], size: Size, generator: nn.Module, device: str) -> list[float]:
    """Seconds of one cycle (n_critic discriminator steps and one generator step) of each contestant, taken in turns.

    The least of `repeats` turns counts, after enough warm-up for compilation and capture.
    """
    inputs = batch(size, generator, device)
    z = torch.randn(size.generator_batch, generator.latent_dim, device=device)  # type: ignore[call-overload]
    many = 20 if device.startswith("cuda") else 1  # calls a turn, so that a GPU's queue is full
    warmups = 2 if device.startswith("cuda") else 1
    best = [[float("inf"), float("inf")] for _ in contestants]
    for turn in range(warmups + size.repeats):
        for i, contestant in enumerate(contestants):
            discriminator = functools.partial(repeat, many, contestant.cycle_discriminator, *inputs)
            gen = functools.partial(repeat, many, contestant.cycle_generator, z)
            for j, steps in enumerate((discriminator, gen)):
                taken = seconds(steps, device) / many
                if turn >= warmups:
                    best[i][j] = min(best[i][j], taken)
    return [size.n_critic * discriminator + gen for discriminator, gen in best]


def launch_bound_share(contestant: Any, size: Size, generator: nn.Module, device: str) -> float:
    """Share of the wall time of discriminator steps in which the GPU computes nothing; the profiler slows the host, so
    the wall time is of as many steps without it."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    steps = functools.partial(repeat, 20, contestant.cycle_discriminator, *batch(size, generator, device))
    torch.cuda.synchronize()
    wall = seconds(steps, device)
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        seconds(steps, device)
    on_card = [event.time_range for event in profiler.events() if event.device_type == DeviceType.CUDA]
    return max(0.0, 1 - covered([(span.start, span.end) for span in on_card]) * 1e-6 / wall)


def covered(spans: list[tuple[float, float]]) -> float:
    """Length of the union of intervals (start, end): kernels of two streams overlap."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def ceiling_tflops(device: str, precision: str) -> float:
    """Operations per second (1e12) of a large matrix product on random numbers: the median of ten."""
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    side = PRODUCT[torch.device(device).type]
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    taken = [seconds(functools.partial(torch.matmul, a, b), device) for _ in range(13)][3:]
    return 2 * side**3 / statistics.median(taken) * 1e-12


def networks(size: Size, device: str) -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator from seed 0."""
    torch.manual_seed(0)
    generator = build_generator(size.resolution, **size.generator).to(device)
    return generator, build_discriminator(size.resolution, **size.discriminator).to(device)


def macs(size: Size) -> tuple[int, int]:
    """Multiply-accumulates of one image through generator and discriminator, which no device's padding changes."""
    with torch.device("meta"):
        generator, discriminator = networks(size, "meta")
        latents = torch.empty(1, int(generator.latent_dim))  # type: ignore[arg-type]
        image = torch.empty(1, 3, size.resolution, size.resolution)
        return operations.macs(generator, latents), operations.macs(discriminator, image)


def flop_per_real_image(size: Size) -> float:
    """Operations of a training cycle per real image, counted."""
    generator, discriminator = (operations.Count(0, count) for count in macs(size))
    return operations.training_flop(recipe_of(size, VARIANTS[0]), generator, discriminator)


def measure(size: Size, device: str) -> list[dict[str, Any]]:
    """Rows of the table: the plain step, then every variant; what this machine cannot run is `not measured`."""
    on_gpu = device.startswith("cuda")
    generator, discriminator = networks(size, device)
    runnable = [v for v in VARIANTS if on_gpu or not v.gpu_only]
    ours = [Ours(size, v, generator, discriminator, device) for v in runnable]
    errors = [compare((Plain(generator, discriminator), one), size, generator, device) for one in ours]
    taken = cycle_sec([Plain(generator, discriminator), *ours], size, generator, device)
    images = size.n_critic * size.discriminator_batch
    flop = flop_per_real_image(size)
    ceilings = {p: ceiling_tflops(device, p) for p in TOLERANCE} if on_gpu else {}
    plain = {"name": "plain eager, float32", "cycle_sec": taken[0], "images_per_sec": images / taken[0], "ratio": 1.0}
    rows: list[dict[str, Any]] = [plain]
    for variant, contestant, error, sec in zip(runnable, ours, errors, taken[1:], strict=True):
        row = {"name": variant.name, "cycle_sec": sec, "images_per_sec": images / sec, "ratio": taken[0] / sec}
        row |= {"loss_difference": error, "tolerance": TOLERANCE[variant.precision]}
        row["losses_agree"] = error <= TOLERANCE[variant.precision]
        if on_gpu:
            row["ceiling_tflops"] = ceilings[variant.precision]
            row["ceiling_share"] = images / sec * flop / (ceilings[variant.precision] * 1e12)
            row["launch_bound_share"] = launch_bound_share(contestant, size, generator, device)
        rows.append(row)
    return rows + [{"name": f"{v.name} (GPU)", "ratio": None} for v in VARIANTS if not on_gpu]


def markdown(report: dict[str, Any]) -> str:
    """Return the table of a record in Markdown."""
    size = report["size"]
    rows = [
        (
            row["name"],
            _cell(row, "cycle_sec", "{:.3g}"),
            _cell(row, "images_per_sec", "{:.4g}"),
            _cell(row, "ratio", "{:.2f}×"),
            _cell(row, "loss_difference", "{:.1e}", "-"),
            _cell(row, "ceiling_share", "{:.1%}", "-"),
            _cell(row, "launch_bound_share", "{:.0%}", "-"),
        )
        for row in report["rows"]
    ]
    head = "variant | s a cycle | real images/s | against plain | loss difference | share of the ceiling | launch-bound"
    return (
        f"# TransGAN-S training cycle\n\n{report['machine']}; {report['threads']} threads; device {report['device']}. "
        f"One cycle is {size['n_critic']} discriminator steps of {size['discriminator_batch']} real images and one "
        f"generator step of {size['generator_batch']}, without augmentation. Contestants took turns; the fastest turn "
        f"counts.\n\n{page.table(head, rows)}\n"
    )


def _cell(row: dict[str, Any], key: str, style: str, absent: str = "not measured") -> str:
    if row["ratio"] is None:
        return "not measured"
    return style.format(row[key]) if row.get(key) is not None else absent


def machine(device: str) -> str:
    """Name of the processor, or of the card."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{provenance.processor()}, {os.cpu_count()} cores"


def run(out: Path, device: str = "cpu", size: Size | None = None) -> None:
    """Measure, and write `train-<cpu|gpu>.json` and `.md` under `out`.

    Raises:
        HarnessError: a variant's losses differ from the plain step's by more than its tolerance (the files are
        written).
    """
    size = size or Size()
    set_device(device, torch.get_num_threads(), False, "float32")
    print(f"bench train on {machine(device)}: some minutes", file=sys.stderr)
    report: dict[str, Any] = {
        "machine": machine(device),
        "device": device,
        "threads": torch.get_num_threads(),
        "size": dataclasses.asdict(size),
        "gflop_per_real_image": flop_per_real_image(size) / 1e9,
        "rows": measure(size, device),
        "provenance": provenance.collect(device=device),
    }
    page.write(out, "train", device, report, markdown)
    wrong = [row["name"] for row in report["rows"] if row.get("losses_agree") is False]
    if wrong:
        raise HarnessError(f"{out}: losses of {', '.join(wrong)} differ from the plain step's beyond the tolerance.")
