"""`harness bench train --processes k`: a TransGAN-S training in k processes against one, on the same cores or k GPUs.

Both compute the same cycle of the same batches; their losses are compared.
"""

import dataclasses
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from harness import provenance
from harness.bench import page
from harness.bench.train import TOLERANCE, VARIANTS, Size, machine, networks, recipe_of, seconds
from harness.device import check_device
from harness.errors import HarnessError
from harness.files import read_json, write_json
from harness.training import processes as several
from harness.training.device import set_device
from harness.training.ranks import check_cards, joined, own_device
from harness.training.schedules import check_processes
from harness.training.state import new_state
from harness.training.steps import Steps

TURNS = 2  # of one process and of k, in turns
ON_CPU = Size(
    n_critic=1, repeats=2
)  # a fifth of a cycle's discriminator steps: minutes instead of a quarter of an hour


def one_of(size: Size, device: str, threads: int, path: str) -> None:
    """Train in one of the processes: a cycle whose losses are kept, then `size.repeats`, of which the fastest counts.

    The writing process writes losses and seconds to `path`.
    """
    place, best = own_device(device), float("inf")
    set_device(place, threads, False, "float32")
    with joined(device) as ranks:
        generator, discriminator = networks(size, place)
        recipe = recipe_of(size, VARIANTS[0])
        steps = Steps(recipe, new_state(recipe, generator, discriminator, place), size.resolution, place, ranks)
        torch.manual_seed(1)
        reals = torch.rand(size.discriminator_batch, 3, size.resolution, size.resolution, device=place) * 2 - 1
        reals, losses = ranks.part(reals), []

        def cycle() -> None:
            for _ in range(size.n_critic):
                latents = steps.latents(len(reals))
                losses.append(steps.discriminator_step(reals, latents)["discriminator_loss"])
            losses.append(steps.generator_step(steps.latents(size.generator_batch // ranks.count))["generator_loss"])

        cycle()
        kept = [float(loss) for loss in losses]
        for _ in range(size.repeats):
            ranks.largest(0)  # begin together
            best = min(best, seconds(cycle, place))
        if ranks.writes:
            write_json(Path(path), {"losses": kept, "cycle_sec": best})


def measure(size: Size, device: str, count: int, threads: int, start_method: str = "spawn") -> dict[str, Any]:
    """Seconds of a cycle in one process and in `count`, their ratio, and how far the losses of a cycle are apart.

    Args:
        threads: CPU threads of all processes together, the same for one and for `count`.

    Returns:
        `one` and `several` (`cycle_sec`, `images_per_sec`), `speedup`, `efficiency` (the speedup over the number of
        cards on GPUs; on a CPU, whose cores both have, the speedup itself) and `loss_difference`.
    """
    check_processes(recipe_of(size, VARIANTS[0]), count)
    check_cards(device, count)
    if threads % count:
        raise HarnessError(f"{threads} threads do not split evenly over {count} processes; set --threads.")
    losses: dict[int, list[float]] = {}
    best = {1: float("inf"), count: float("inf")}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(TURNS):
            for k in best:
                path = f"{folder}/{k}.json"
                several.run(k, one_of, size, device, threads // k, path, start_method=start_method)
                found = read_json(Path(path))
                losses[k], best[k] = found["losses"], min(best[k], found["cycle_sec"])
    images = size.n_critic * size.discriminator_batch
    one, many = ({"cycle_sec": sec, "images_per_sec": images / sec} for sec in best.values())
    speedup = best[1] / best[count]
    return {
        "processes": count,
        "one": one,
        "several": many,
        "speedup": speedup,
        "efficiency": speedup / (count if device.startswith("cuda") else 1),
        "loss_difference": max(abs(a - b) / max(abs(a), 1.0) for a, b in zip(losses[1], losses[count], strict=True)),
        "tolerance": TOLERANCE["float32"],
    }


def markdown(report: dict[str, Any]) -> str:
    """Return the table of a record in Markdown."""
    k, size = report["processes"], report["size"]
    shared = "a GPU each" if report["device"].startswith("cuda") else f"{report['threads']} threads in all, as one has"
    rows = [
        (name, f"{row['cycle_sec']:.3g}", f"{row['images_per_sec']:.4g}")
        for name, row in (("one process", report["one"]), (f"{k} processes", report["several"]))
    ]
    return (
        f"# One training in several processes\n\n{report['machine']}; device {report['device']}; {shared}. One cycle "
        f"of TransGAN-S: {size['n_critic']} discriminator steps of {size['discriminator_batch']} real images, one "
        f"generator step of {size['generator_batch']}.\n\n"
        f"{page.table('processes | s a cycle: | real images/s:', rows)}\n\n"
        f"Efficiency {report['efficiency']:.0%}; losses of a cycle differ by {report['loss_difference']:.1e}.\n"
    )


def run(out: Path, count: int, device: str, threads: int, size: Size | None = None) -> None:
    """Measure, and write `train-processes-<cpu|gpu>.json` and `.md` under `out`.

    Raises:
        HarnessError: batches or threads that do not split, fewer cards than processes, or losses that differ by more
            than the tolerance of float32 (the files are written).
    """
    device = check_device(device)
    size = size or (Size() if device.startswith("cuda") else ON_CPU)
    print(f"bench train --processes {count} on {machine(device)}: some minutes", file=sys.stderr)
    report: dict[str, Any] = {
        "machine": machine(device),
        "device": device,
        "threads": threads,
        "size": dataclasses.asdict(size),
        **measure(size, device, count, threads),
        "provenance": provenance.collect(device=device),
    }
    page.write(out, "train-processes", device, report, markdown)
    if report["loss_difference"] > report["tolerance"]:
        raise HarnessError(f"{out}: losses of {count} processes differ from those of one beyond the tolerance.")
