"""`harness bench sampling`: TransGAN-S draws images, the torch scorer scores them; beside a matrix product's pace."""

import dataclasses
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness import provenance
from harness.bench import page
from harness.bench.contenders import inception_flop
from harness.bench.train import Size, ceiling_tflops, machine, macs, networks
from harness.device import check_device
from harness.training.device import set_device

PAPERS = 50_000  # samples of the field's protocol
LAYERS = (768, 2048)  # channels: of the trunk's FID, of the usual FID and IS


def run(out: Path, device: str, images: int, threads: int, size: Size | None = None) -> None:
    """Draw `images` samples of TransGAN-S, score them, and write `sampling-<cpu|gpu>.json` and `.md` into `out`.

    Both are the ways of the pipeline: `sampling.draw` to an npy file, then one pass for IS and FID statistics. Both
    networks have random weights, which do not change the time. Work is counted; the ceiling is a large float32 matrix
    product, measured in the same run.

    Raises:
        HarnessError: no such device.
    """
    size, device = size or Size(), check_device(device)
    set_device(device, threads, False, "float32")
    print(f"bench sampling on {machine(device)}: some minutes", file=sys.stderr)
    generator, _ = networks(size, device)
    with tempfile.TemporaryDirectory() as folder:
        drawn = _draw(generator, images, device, Path(folder) / "rounded.npy")
        scored = {layer: _score(Path(folder), images, device, threads, layer) for layer in LAYERS}
    ceiling = ceiling_tflops(device, "float32") * 1e12
    rows = [_row("draw", images, drawn, 2 * macs(size)[0], ceiling)]
    rows += [_row(f"score, {n} channels", images, sec, inception_flop(n), ceiling) for n, sec in scored.items()]
    report = {
        "machine": machine(device),
        "threads": threads,
        "size": dataclasses.asdict(size),
        "ceiling_tflops": ceiling * 1e-12,
        "rows": rows,
        "provenance": provenance.collect(device=device),
    }
    page.write(out, "sampling", device, report, markdown)


def _draw(generator: torch.nn.Module, images: int, device: str, path: Path) -> float:
    from harness.sampling import draw

    list(draw.sample_chunks(generator, draw.CHUNK, 0, device))  # warm-up
    started = time.perf_counter()
    np.save(path, np.concatenate(list(draw.sample_chunks(generator, images, 0, device))))
    return time.perf_counter() - started


def _score(folder: Path, images: int, device: str, threads: int, layer: int) -> float:
    from harness.data.images import Images
    from harness.metrics.extractors.base import Setup
    from harness.metrics.extractors.torch import open_extractor
    from harness.metrics.image_pass import Splits, one_pass

    setup = Setup("stand-in", layer, threads=threads, device=device, cache=folder / "cache")
    extractor, pixels = open_extractor(setup), np.load(folder / "rounded.npy", mmap_mode="r")
    extractor(pixels[: setup.batch])  # warm-up
    started = time.perf_counter()
    one_pass(Images(pixels, folder / "rounded.npy"), extractor, setup, "bench", scores=[Splits(images, 10)])
    return time.perf_counter() - started


def _row(name: str, images: int, sec: float, flop: float, ceiling: float) -> dict[str, Any]:
    return {
        "name": name,
        "images": images,
        "sec": sec,
        "images_per_sec": images / sec,
        "gflop_per_image": flop * 1e-9,
        "ratio": images * flop / ceiling / sec,
        "papers_sec": PAPERS / images * sec,
    }


def markdown(report: dict[str, Any]) -> str:
    """Return the table of a record in Markdown."""
    rows = [
        (
            row["name"],
            f"{row['images_per_sec']:,.0f}",
            f"{row['gflop_per_image']:.1f}",
            f"{row['ratio']:.1%}",
            f"{row['papers_sec']:.1f}",
        )
        for row in report["rows"]
    ]
    head = f"what | images/s: | GFLOP an image: | share of the ceiling: | s for {PAPERS:,}:"
    return (
        f"# Sampling and scoring\n\n{report['machine']}; {report['threads']} threads; float32 without TF32. "
        f"{report['rows'][0]['images']:,} images of TransGAN-S at {report['size']['resolution']} px, drawn to an npy "
        "file, then scored by the torch scorer (statistics of FID and, where there are logits, of IS; stand-in "
        f"weights). The ceiling is a matrix product of {report['ceiling_tflops']:.1f} TFLOP/s, measured in the same "
        f"run.\n\n{page.table(head, rows)}\n"
    )
