"""Speed of the scorers beside the field's packages: the same images, the same weights, one run.

Every contender works in a process of its own with the same number of threads, and they take turns, round by round, so
that a machine whose speed drifts treats all alike; the fastest round of each counts. What is timed leads from stored
images to statistics (mean, covariance and, where the contender has one, the Inception score), after one batch that is
not timed; the matrix root is in none of them, it is compared by itself. Contenders that should see the same pixels must
first agree on the mean feature, so that nobody is fast by computing something else. Processor seconds (children
included) stand beside the wall clock: where they tell another story, the machine was busy with something else.
"""

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness import progress
from harness.bench import page
from harness.bench.contenders import (
    BATCH,
    CEILING,
    CEILING_FLOP,
    CONTENDERS,
    RESOLUTION,
    Work,
    inception_flop,
    prepare,
)
from harness.errors import HarnessError
from harness.files import write_json, write_text

ROUNDS = 3
SCORERS = ("tf", "clean")  # whose share of the ceiling is printed


@dataclass(frozen=True)
class Comparison:
    """Ours against peers; `target` is the ratio to reach, `tolerance` how far the statistics may differ (relative).

    Several protocols that share a pass are held against the dearest of them alone: they may take 1.1 times as long.
    """

    title: str
    ours: str
    peers: tuple[str, ...]
    target: float
    tolerance: float | None  # None: the peer resizes in its own way


COMPARISONS = (
    Comparison("IS + FID statistics", "tf", ("torch-fidelity",), 1.8, 1e-3),
    Comparison("IS + FID statistics", "tf", ("pytorch-fid",), 1.8, None),
    Comparison("clean-fid statistics", "clean", ("clean-fid", "clean-fid, workers"), 1.4, 1e-3),
    Comparison("Five protocols from one pass", "tf, five protocols", ("tf",), 1 / 1.1, 1e-6),
    Comparison("Frechet distance", "frechet", ("clean-fid frechet_distance",), 5.0, 1e-6),
    Comparison("Frechet distance, reference kept", "frechet, kept", ("clean-fid frechet_distance",), 5.0, 1e-6),
)


# ---------------------------------------------------------------- the run


def run(images: int, out: Path) -> dict[str, Any]:
    """Time the scorers in turns and write `scores.json` and `scores.md` into `out`.

    Args:
        images: number of images that each contender turns into statistics in each round.
        out: folder of the tables.

    Raises:
        HarnessError: too few images, a missing peer, a contender that fails, or statistics that differ.
    """
    if images < BATCH:
        raise HarnessError(f"--images {images}: give at least one batch of {BATCH}.")
    Path(out).mkdir(parents=True, exist_ok=True)
    threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    machine = _machine(threads)
    names = [CEILING, *(name for comparison in COMPARISONS for name in (comparison.ours, *comparison.peers))]
    names = list(dict.fromkeys(names))
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(dir=out) as folder, progress.bar(ROUNDS * len(names), "round", "bench") as bar:
        work = Work(Path(folder), threads)
        prepare(work, images)
        for _ in range(ROUNDS):
            for name in names:
                bar.set_description(name, refresh=False)
                rounds[name].append(_in_own_process(name, work))
                bar.update()
    machine["load_average_after"] = _load()
    rows = [_row(comparison, peer, rounds) for comparison in COMPARISONS for peer in comparison.peers]
    record = {"images": images, "resolution": RESOLUTION, "batch": BATCH, "rounds": ROUNDS, "weights": "stand-in"}
    record |= {"comparisons": rows, "shares": _shares(rounds, images), "machine": machine}
    write_json(Path(out) / "scores.json", record)
    write_text(Path(out) / "scores.md", markdown(record))
    return record


def _in_own_process(name: str, work: Work) -> dict[str, Any]:
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(one_round, name, work).result()
        except ImportError as error:
            raise HarnessError(f"{name}: {error}; pip install -c constraints.txt -e '.[dev]'.") from None
        except BrokenProcessPool:
            raise HarnessError(f"{name}: its process ended; out of memory? Give fewer --images.") from None


def one_round(name: str, work: Work) -> dict[str, Any]:
    """Run one contender: wall and processor seconds from images to statistics, and their mean (or the distance)."""
    import multiprocessing

    import torch

    # as in a process of the peers' own: clean-fid's data set cannot be pickled for spawned workers
    multiprocessing.set_start_method("fork", force=True)
    torch.set_num_threads(work.threads)
    statistics = CONTENDERS[name](work)
    statistics(BATCH)
    started, started_cpu = time.perf_counter(), _processor_sec()
    mean = statistics(len(work.images))
    sec, cpu_sec = time.perf_counter() - started, _processor_sec() - started_cpu
    return {"sec": sec, "cpu_sec": cpu_sec, "mean": np.atleast_1d(mean)}


def _processor_sec() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


# ---------------------------------------------------------------- the table


def _row(comparison: Comparison, peer: str, rounds: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    ours, theirs = rounds[comparison.ours], rounds[peer]
    a, b = ours[0]["mean"], theirs[0]["mean"]
    difference = float(np.linalg.norm(a - b) / np.linalg.norm(b))
    if comparison.tolerance is not None and not difference < comparison.tolerance:
        what = f"{comparison.ours} and {peer} differ by {difference:.2g}, relative"
        raise HarnessError(f"{what}: their speed is not compared.")
    ours_sec, peer_sec = (min(one["sec"] for one in side) for side in (ours, theirs))
    ours_cpu_sec, peer_cpu_sec = (min(one["cpu_sec"] for one in side) for side in (ours, theirs))
    return {
        "comparison": comparison.title,
        "ours": comparison.ours,
        "peer": peer,
        "ours_sec": ours_sec,
        "peer_sec": peer_sec,
        "ratio": peer_sec / ours_sec,
        "ours_cpu_sec": ours_cpu_sec,
        "peer_cpu_sec": peer_cpu_sec,
        "cpu_ratio": peer_cpu_sec / ours_cpu_sec,
        "target": comparison.target,
        "reached": peer_sec / ours_sec >= comparison.target,
        "ours_rounds_sec": [one["sec"] for one in ours],
        "peer_rounds_sec": [one["sec"] for one in theirs],
        "relative_difference": difference,
        "same_pixels": comparison.tolerance is not None,
    }


def _shares(rounds: dict[str, list[dict[str, Any]]], images: int) -> dict[str, Any]:
    """Return the measured ceiling, operations a second, and how much of it each scorer's network reaches."""
    fastest = {name: min(one["sec"] for one in rounds[name]) for name in (CEILING, *SCORERS)}
    ceiling, flop = CEILING_FLOP / fastest[CEILING], inception_flop()
    reached = {name: images * flop / fastest[name] / ceiling for name in SCORERS}
    return {"ceiling_flop_per_sec": ceiling, "inception_flop": flop, "reached": reached}


def markdown(record: dict[str, Any]) -> str:
    """Return the table of a record in Markdown, with the machine named above it."""
    machine = record["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    rows = [
        (
            *(row["comparison"], row["ours"], f"{row['ours_sec']:.2f}", row["peer"], f"{row['peer_sec']:.2f}"),
            *(f"{row['ratio']:.2f}", f"{row['target']:.1f}", "yes" if row["reached"] else "no"),
            f"{row['cpu_ratio']:.2f}",
        )
        for row in record["comparisons"]
    ]
    head = "comparison | ours | sec: | peer | sec: | ratio: | target: | reached | ratio of processor seconds:"
    shares = record["shares"]
    reached = ", ".join(f"{name} {share:.2f}" for name, share in shares["reached"].items())
    return (
        f"{machine['cpu']}, {machine['cpu_count']} cores, {machine['threads']} threads; load average "
        f"{machine['load_average_before']} before, {machine['load_average_after']} after. {record['images']} images of "
        f"{record['resolution']} px, batch {record['batch']}, {record['weights']} weights; the fastest of "
        f"{record['rounds']} rounds of each. {packages}.\n\n{page.table(head, rows)}\n\n"
        f"Share of the float32 ceiling ({shares['ceiling_flop_per_sec'] / 1e9:.0f} GFLOP/s, measured in turns with the "
        f"scorers): {reached}.\n"
    )


def _machine(threads: int) -> dict[str, Any]:
    from importlib.metadata import version

    from harness.provenance import collect, processor

    machine = collect(device="cpu", threads=threads)
    for peer in ("torch-fidelity", "pytorch-fid"):
        try:
            machine["packages"][peer] = version(peer)
        except ImportError:
            raise HarnessError(f"{peer} is not installed; pip install -c constraints.txt -e '.[dev]'.") from None
    return {**machine, "cpu": processor(), "load_average_before": _load()}


def _load() -> list[float]:
    return [round(x, 2) for x in os.getloadavg()]
