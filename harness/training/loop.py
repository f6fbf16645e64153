"""The training loop for every model; lengths and schedules are in real images the discriminator has seen (nimg)."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from harness.errors import HarnessError, TrainingDiverged
from harness.networks import generator_file, registry
from harness.sampling import draw, grid
from harness.training import checkpoint
from harness.training.device import memory_mib, set_device, signals
from harness.training.history import TIMING, History
from harness.training.image_stream import ImageStream, derive_seed
from harness.training.run_folder import RunFolder
from harness.training.schedules import check_recipe, crossed, half_width, learning_rate
from harness.training.state import Build, State, build_networks, new_state
from harness.training.steps import TERMS, Steps

if TYPE_CHECKING:
    from harness.config.experiments import Run

COLUMNS = ("nimg", *TERMS, "discriminator_lr", "generator_lr", *TIMING)


class TrainingStopped(HarnessError):
    """The run saved its state and left before its end; run it again to go on."""

    exit_code = 143  # 128 + SIGTERM; not zero, so that a pipeline does not take the stage for done


def train(
    run: "Run",
    images: np.ndarray,
    out: Path,
    checkpoints: Path,
    device: str = "cpu",
    threads: int = 2,
    *,
    records: Path | None = None,
    deterministic: bool = False,
    stop_nimg: int | None = None,
    build: Build = registry.build,
) -> None:
    """Train one generator, going on where an interrupted run of the same identity left off.

    Args:
        run: what to train; its recipe says how.
        images: uint8 [N, R, R, 3].
        out: receives `weights/last.safetensors` (the averaged generator) and `weights/<nimg>.safetensors`.
        checkpoints: folder for working state, one subfolder per run identity; never an output of a pipeline.
        device: `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads; results repeat bit for bit at an equal number only.
        records: receives `train/history.csv`, `train/train.json` and `train/grids/*.png`; default: `out`.
        deterministic: deterministic kernels on a GPU.
        stop_nimg: save and leave once this many images are seen.
        build: makes the networks from (role, spec, resolution).

    Raises:
        TrainingDiverged: NaN or infinity in a loss or gradient norm; the state is dumped beside the checkpoints.
        TrainingStopped: SIGTERM, SIGINT or `stop_nimg`; the state is saved.
        HarnessError: a recipe that cannot be run, or a full disk (the previous checkpoint is intact).
    """
    recipe, batch = run.recipe, run.recipe.discriminator_batch
    check_recipe(recipe)
    assert images.shape[1:] == (run.resolution, run.resolution, 3), f"{images.shape} is not {run.resolution} px RGB"

    # ---------------- set up
    set_device(device, threads, deterministic, recipe.precision)
    folder = RunFolder(checkpoints, run, images)
    generator, discriminator = build_networks(run, build, device)
    state = new_state(recipe, generator, discriminator, device)
    steps = Steps(recipe, state, run.resolution, device)
    stream = ImageStream(images, run.seed, device)

    # ---------------- resume
    nimg, wall_sec = 0, 0.0
    saved = checkpoint.load(folder.path, folder.digest)
    if saved is not None:
        nimg, tensors, scalars = saved
        state.restore(tensors)
        wall_sec = scalars["wall_sec"]
        if (scalars["threads"], scalars["device"]) != (threads, device):
            was = f"{scalars['threads']} threads on {scalars['device']}"
            print(f"warning: begun with {was}; the rest will not repeat it bit for bit.", file=sys.stderr)
        print(
            f"{run.experiment}: resuming at {nimg} of {recipe.length_nimg} images from {folder.path}", file=sys.stderr
        )
    if nimg < recipe.length_nimg:
        folder.clear(out)
    history = History(folder.path / "history.csv", COLUMNS, nimg)
    started, logged_at, logged_nimg = time.perf_counter() - wall_sec, time.perf_counter(), nimg
    if nimg == 0 and 0 in recipe.grids_nimg:
        draw_grid(folder, state, 0, device)

    bar = tqdm(total=recipe.length_nimg, initial=nimg, unit="img", unit_scale=True, desc=run.experiment, mininterval=1)
    with bar, signals() as received:
        while nimg < recipe.length_nimg:
            # ---------------- schedules and randomness: functions of (seed, nimg)
            assert nimg % batch == 0, f"{nimg} images are not whole discriminator batches of {batch}"
            step = nimg // batch
            torch.manual_seed(derive_seed(run.seed, "iteration", nimg))
            rates = {
                "discriminator_lr": learning_rate(recipe.discriminator_optimiser, nimg, run.planned_nimg),
                "generator_lr": learning_rate(recipe.generator_optimiser, nimg, run.planned_nimg),
            }
            steps.set_rates(**rates)
            if recipe.locality is not None:
                steps.set_locality(recipe.locality.shape, half_width(recipe.locality, nimg))
            lod = steps.grow(nimg)

            # ---------------- discriminator step
            reals = steps.prepare(stream.batch(nimg, batch, recipe.flip, recipe.dequantise), lod)
            latents = steps.latents(batch)
            terms = steps.discriminator_step(reals, latents)
            if recipe.penalty.every > 1 and step % recipe.penalty.every == 0:
                terms = terms | steps.lazy_penalty(reals)

            # ---------------- generator step and moving average
            if step % recipe.n_critic == recipe.generator_phase:
                generator_step = step // recipe.n_critic
                if not recipe.simultaneous:  # else the discriminator's fakes are made again, from the same weights
                    latents = steps.latents(recipe.generator_batch)
                cotrained = recipe.cotraining is not None and nimg < recipe.cotraining.until_nimg
                terms = terms | steps.generator_step(latents, reals if cotrained else None)
                if recipe.path_length is not None and generator_step % recipe.path_length.every == 0:
                    terms = terms | steps.path_length()
                state.average.update(nimg, batch)
            state.meter.add(terms | steps.adapt_augmentation(terms, step))
            previous, nimg = nimg, nimg + batch
            bar.update(min(batch, recipe.length_nimg - previous))

            # ---------------- look at the numbers, only here (a host synchronisation), and before anything is written
            last = nimg >= recipe.length_nimg
            stopping = not last and (bool(received) or (stop_nimg is not None and nimg >= stop_nimg))
            log_due = last or crossed(recipe.log_every_nimg, previous, nimg)
            save_due = last or stopping or crossed(recipe.checkpoint_every_nimg, previous, nimg)
            snapshots = [n for n in recipe.snapshots_nimg if previous < n <= nimg]
            if log_due or save_due or snapshots:
                means = state.meter.means()
                if not np.isfinite(list(means.values())).all():
                    raise diverged(folder, state, nimg, means)
            if log_due:
                now = time.perf_counter()
                timing = ((nimg - logged_nimg) / (now - logged_at), now - started, memory_mib(device))
                history.append({"nimg": nimg, **means, **rates, **dict(zip(TIMING, timing, strict=True))})
                state.meter.clear()
                logged_at, logged_nimg = now, nimg
                bar.set_postfix({k: f"{means[k]:.3g}" for k in ("discriminator_loss", "generator_loss") if k in means})

            # ---------------- snapshots, grids, checkpoint
            for n in snapshots:
                export(folder, state, str(n), nimg)
            for n in (n for n in recipe.grids_nimg if previous < n <= nimg):
                draw_grid(folder, state, n, device)
            if save_due:
                scalars = {"wall_sec": time.perf_counter() - started, "threads": threads, "device": device}
                checkpoint.save(folder.path, folder.digest, nimg, state.tensors(), scalars)
            if stopping:
                why = f"signal {received[0]}" if received else f"{stop_nimg} images asked for"
                raise TrainingStopped(f"{run.experiment}: {why}: saved at {nimg} in {folder.path}; run again to go on.")

    # ---------------- done
    export(folder, state, "last", nimg)
    draw_grid(folder, state, nimg, device)
    wall_sec = time.perf_counter() - started
    cost = {"wall_sec": wall_sec, "images_per_sec": nimg / wall_sec, "memory_mib": memory_mib(device)}
    folder.publish(out, records or out, nimg, cost, device=device, threads=threads, deterministic=deterministic)


def export(folder: RunFolder, state: State, name: str, nimg: int) -> None:
    """Write the averaged generator to the run folder."""
    metadata = {"experiment": folder.run.experiment, "seed": str(folder.run.seed), "digest": folder.digest}
    generator_file.save_generator(
        folder.path / "weights" / f"{name}.safetensors", state.average.current(), nimg, metadata
    )


def draw_grid(folder: RunFolder, state: State, nimg: int, device: str) -> None:
    """Write a picture of the averaged generator's first 64 samples."""
    images = next(draw.sample_chunks(state.average.current(), 64, folder.run.seed, device))
    grid.grid_png(images, folder.path / "grids" / f"{nimg:09d}.png", columns=8)


def diverged(folder: RunFolder, state: State, nimg: int, means: dict[str, float]) -> TrainingDiverged:
    """Dump the state beside the checkpoints and say which number went wrong."""
    dump = folder.path / "diverged"
    checkpoint.save(dump, folder.digest, nimg, state.tensors(), {name: repr(value) for name, value in means.items()})
    bad = ", ".join(f"{name} is {value}" for name, value in means.items() if not np.isfinite(value))
    return TrainingDiverged(f"{folder.run.experiment}: diverged before {nimg} images: {bad}. The state is in {dump}.")
