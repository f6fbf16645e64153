"""One experiment of a scale, from its packed data set to a published generator."""

import functools
from pathlib import Path
from typing import Any

import numpy as np

from harness.config import experiments
from harness.config.experiments import Scale, find_scale
from harness.data.images import open_images
from harness.device import check_device
from harness.errors import HarnessError
from harness.networks import registry
from harness.records import train_record
from harness.records.train_record import TrainRecord
from harness.training import loop, released_weights
from harness.training import processes as several
from harness.training.ranks import check_cards, launched
from harness.training.schedules import check_processes

READ_AT_ONCE = 4096  # images


def train(
    experiment: str,
    seed: int = 0,
    *,
    scale: Scale | Path | str | None = None,
    device: str | None = None,
    threads: int | None = None,
    processes: int | None = None,
    checkpoints: Path | None = None,
    deterministic: bool = False,
    stop_nimg: int | None = None,
) -> TrainRecord:
    """Train `experiment` and return what `train.json` says of it; an interrupted training goes on.

    Weights, `history.csv`, grids and `train.json` are written to the scale's folders (`paths.TrainingFolders`). An
    experiment with a released checkpoint takes its weights instead.

    Args:
        scale: a `params.yaml` or its folder; default: the nearest one at or above the working folder.
        device: `auto`, `cpu`, `cuda` or `cuda:N`; default: the scale's.
        threads: CPU threads of each process; default: the scale's.
        processes: that train as one, on this machine (with device `cuda`, on a GPU each); default: 1, or those that
            torchrun started.
        checkpoints: folder for working state; default: `.checkpoints` of the checkout.
        deterministic: deterministic kernels on a GPU; a CPU repeats bit for bit anyway.
        stop_nimg: save and leave (TrainingStopped) once this many images are seen.

    Raises:
        TrainingDiverged: NaN or infinity; nothing is published.
        TrainingStopped: SIGTERM, SIGINT, SIGHUP or `stop_nimg`; `stopped.json` says so.
        RankLost: one of several processes was killed, or hangs; the last checkpoint is intact.
        HarnessError: an unknown experiment, a training that the scale does not plan, unfit data, batches that do not
            split over the processes, another process at the same training, or a full disk.
    """
    if not isinstance(scale, Scale):
        scale = find_scale(params=Path(scale) if scale is not None else None)
    device = check_device(device or scale.params.device)
    run = scale.run(experiment, seed)
    folders = scale.folder.training(experiment, seed)
    released = experiments.load(scale.root)[experiment].checkpoint
    together = launched()
    if released and together == 1:
        return released_weights.publish(run, released, folders, scale.root)
    if released:
        raise HarnessError(
            f"{experiment}: takes released weights and trains nothing; start one process, not {together}."
        )
    if processes is not None and together not in (1, processes):
        raise HarnessError(
            f"{together} processes were started (WORLD_SIZE), but {processes} are asked for; leave out --processes and "
            "HARNESS_GPUS."
        )
    if processes is not None and processes > together:
        check_processes(run.recipe, processes)
        check_cards(device, processes)
        options = {"device": device, "threads": threads, "checkpoints": checkpoints, "deterministic": deterministic}
        several.run(processes, _train, experiment, seed, options | {"scale": scale, "stop_nimg": stop_nimg})
        return train_record.read(folders.record)
    return loop.train(
        run,
        read_pixels(scale.checkout.data(run.dataset)),
        folders.artifacts,
        checkpoints or scale.checkout.checkpoints,
        device,
        threads or scale.params.threads,
        records_dir=folders.records,
        deterministic=deterministic,
        stop_nimg=stop_nimg,
        checkout=scale.root,
        build=functools.partial(registry.build, models=experiments.load_models(scale.root)),
    )


def _train(experiment: str, seed: int, options: dict[str, Any]) -> None:
    """`train` in one of several processes."""
    train(experiment, seed, **options)


def read_pixels(folder: Path) -> np.ndarray:
    """Read a packed data set into memory, uint8 [N, R, R, 3], and compare its pixels with its card.

    Raises:
        HarnessError: it is missing or incomplete, or the pixels are not those of the card.
    """
    if not (folder / "card.json").is_file():
        raise HarnessError(f"{folder}: no packed data set here; run `harness data {folder.name}`.")
    found = open_images(folder)
    pixels, start = np.empty(found.pixels.shape, np.uint8), 0
    for batch in found.stream(READ_AT_ONCE):
        pixels[start : start + len(batch)] = batch
        start += len(batch)
    return pixels
