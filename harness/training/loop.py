"""The training loop for every model; lengths and schedules are in real images the discriminator has seen (nimg)."""

import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from harness import progress, provenance
from harness.device import check_device
from harness.errors import HarnessError, TrainingDiverged
from harness.networks import registry
from harness.networks.generator_file import not_finite, save_generator
from harness.paths import TrainingFolders, run_name
from harness.records import train_record
from harness.records.train_record import Cost, StoppedRecord, TrainRecord, trained_run
from harness.sampling import draw, grid
from harness.training import checkpoint
from harness.training.device import memory_mib, set_device, signals
from harness.training.history import TIMING, History
from harness.training.image_stream import ImageStream, derive_seed
from harness.training.published import clear, publish
from harness.training.ranks import RankLost, Ranks, joined, launched, own_device
from harness.training.run_folder import RunFolder, open_run_folder
from harness.training.schedules import check_processes, check_recipe, crossed, half_width, learning_rate
from harness.training.state import Build, State, build_networks, new_state
from harness.training.steps import Steps
from harness.training.terms import TERMS

if TYPE_CHECKING:
    from harness.config.experiments import Run

COLUMNS = ("nimg", *TERMS, "discriminator_lr", "generator_lr", *TIMING)


class TrainingStopped(HarnessError):
    """The run saved its state and left before its end, after `nimg` images; run it again to go on."""

    exit_code = 143  # 128 + SIGTERM; not zero, so that a pipeline does not take the stage for done

    def __init__(self, message: str, nimg: int) -> None:
        super().__init__(message)
        self.nimg = nimg


def train(
    run: "Run",
    images: np.ndarray,
    artifacts_dir: Path,
    checkpoints: Path,
    device: str = "cpu",
    threads: int = 2,
    *,
    records_dir: Path | None = None,
    deterministic: bool = False,
    stop_nimg: int | None = None,
    checkout: Path | None = None,
    build: Build = registry.build,
) -> TrainRecord:
    """Train one generator, going on where an interrupted run of the same identity left off.

    Started by torchrun or `training.processes`, this is one of several processes that train as one; the first writes.

    Args:
        run: what to train; its recipe says how.
        images: uint8 [N, R, R, 3].
        artifacts_dir: receives `weights/last.safetensors` (the averaged generator) and `weights/<nimg>.safetensors`.
        checkpoints: folder for working state, one subfolder per run identity; never an output of a pipeline.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads of each process; results repeat bit for bit at an equal number only.
        records_dir: receives `train/history.csv`, `train/train.json` and `train/grids/*.png`; default: `artifacts_dir`.
        deterministic: deterministic kernels on a GPU.
        stop_nimg: save and leave once this many images are seen.
        checkout: root of the checkout that names the run, for the record's provenance.
        build: makes the networks from (role, spec, resolution).

    Raises:
        TrainingDiverged: NaN or infinity in a loss, a gradient norm or the averaged generator; the state is dumped
            beside the checkpoints.
        TrainingStopped: SIGTERM, SIGINT, SIGHUP or `stop_nimg`; the state is saved.
        RankLost: another of several processes died or hangs (the previous checkpoint is intact).
        HarnessError: a recipe that cannot be run, another process at the same training, or a full disk (the previous
            checkpoint is intact).
    """
    check_recipe(run.recipe)
    check_processes(run.recipe, launched())
    assert images.shape[1:] == (run.resolution, run.resolution, 3), f"{images.shape} is not {run.resolution} px RGB"
    device = check_device(device)
    set_device(own_device(device), threads, deterministic, run.recipe.precision)
    folders = TrainingFolders(Path(artifacts_dir), Path(records_dir or artifacts_dir))
    with joined(device) as ranks, open_run_folder(checkpoints, run, images, ranks.writes) as folder:
        pixels_sha256 = folder.identity["pixels_sha256"]
        environment = {"device": device, "threads": threads, "processes": ranks.count, "deterministic": deterministic}
        where_from = provenance.collect(checkout, pixels_sha256=pixels_sha256, **environment)
        try:
            return _train(folder, images, folders, where_from, stop_nimg, build, ranks)
        except (TrainingStopped, TrainingDiverged) as error:
            if ranks.writes:
                write_stopped(folder, folders, error, where_from)
            ranks.largest(0)  # leave together
            raise
        except RankLost as error:
            raise RankLost(
                f"{run.experiment}: {error} What was saved in {folder.path} is intact; run again to go on."
            ) from error


def _train(
    folder: RunFolder,
    images: np.ndarray,
    folders: TrainingFolders,
    where_from: dict[str, Any],
    stop_nimg: int | None,
    build: Build,
    ranks: Ranks,
) -> TrainRecord:
    """See `train`; `where_from` is the record's provenance."""
    run, recipe, batch = folder.run, folder.run.recipe, folder.run.recipe.discriminator_batch
    resources = {key: where_from[key] for key in ("threads", "device", "processes")}
    device = own_device(where_from["device"])

    # ---------------- set up
    generator, discriminator = build_networks(run, build, device)
    state = new_state(recipe, generator, discriminator, device)
    steps = Steps(recipe, state, run.resolution, device, ranks)
    stream = ImageStream(images, run.seed, device)

    # ---------------- resume
    nimg, wall_sec, kept = 0, 0.0, b""
    saved = ranks.from_writer(checkpoint.load(folder.path, folder.digest) if ranks.writes else None)
    if saved is not None:
        nimg, wall_sec, kept = saved.nimg, saved.scalars["wall_sec"], saved.history
        state.restore(saved.tensors)
        folder.weights_sha256 = dict(saved.weights_sha256)
    if ranks.writes:
        if saved is not None:
            resume(folder, saved, resources)
        if nimg < recipe.length_nimg:
            clear(folders)
        history = History(folder.history, COLUMNS, kept)
        if nimg == 0 and 0 in recipe.grids_nimg:
            draw_grid(folder, state, 0, device)
    started, logged_at, logged_nimg = time.perf_counter() - wall_sec, time.perf_counter(), nimg

    bar = progress.bar(recipe.length_nimg, "image", run_name(run.experiment, run.seed), nimg, ranks.writes)
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
            reals = ranks.part(stream.batch(nimg, batch, recipe.flip, recipe.dequantise))
            reals = steps.prepare(reals, lod)
            latents = steps.latents(len(reals))
            terms = steps.discriminator_step(reals, latents)
            if recipe.penalty.every > 1 and step % recipe.penalty.every == 0:
                terms = terms | steps.lazy_penalty(reals)

            # ---------------- generator step and moving average
            if step % recipe.n_critic == recipe.generator_phase:
                generator_step = step // recipe.n_critic
                if not recipe.simultaneous:  # else the discriminator's fakes are made again, from the same weights
                    latents = steps.latents(recipe.generator_batch // ranks.count)
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
            signal = ranks.largest(received[0] if received else 0)
            stopping = not last and (signal > 0 or (stop_nimg is not None and nimg >= stop_nimg))
            log_due = last or crossed(recipe.log_every_nimg, previous, nimg)
            save_due = last or stopping or crossed(recipe.checkpoint_every_nimg, previous, nimg)
            snapshots = [n for n in recipe.snapshots_nimg if previous < n <= nimg]
            if log_due or save_due or snapshots:
                means = state.meter.means()
                if save_due or snapshots:
                    means |= {name: math.nan for name in not_finite(state.average.current().state_dict())}
                if not np.isfinite(list(means.values())).all():
                    raise diverged(folder, state, nimg, means, ranks)
            if log_due and ranks.writes:
                now = time.perf_counter()
                timing = ((nimg - logged_nimg) / (now - logged_at), now - started, memory_mib(device))
                history.append({"nimg": nimg, **means, **rates, **dict(zip(TIMING, timing, strict=True))})
                logged_at, logged_nimg = now, nimg
                losses = {k: f"{means[k]:.3g}" for k in ("discriminator_loss", "generator_loss") if k in means}
                bar.set_postfix(losses, refresh=False)
            if log_due:
                state.meter.clear()

            # ---------------- snapshots, grids, checkpoint
            if save_due:
                ranks.check_equal(state.tensors())
            if ranks.writes:
                for n in snapshots:
                    export(folder, state, str(n), nimg)
                for n in (n for n in recipe.grids_nimg if previous < n <= nimg):
                    draw_grid(folder, state, n, device)
                if save_due:
                    scalars = {"wall_sec": time.perf_counter() - started, **resources}
                    beside = checkpoint.Beside(folder.weights_sha256, history.size, history.sha256)
                    checkpoint.save(folder.path, folder.digest, nimg, state.tensors(), scalars, beside)
            if stopping:
                why = f"signal {signal}" if signal else f"{stop_nimg} images asked for"
                raise TrainingStopped(
                    f"{run.experiment}: {why}: saved at {nimg} in {folder.path}; run again to go on.", nimg
                )

    # ---------------- done
    record = None
    if ranks.writes:
        export(folder, state, "last", nimg)
        draw_grid(folder, state, nimg, device)
        wall_sec = time.perf_counter() - started
        trained, told = trained_run(run)
        record = TrainRecord(
            run=trained,
            recipe=told,
            digest=folder.digest,
            nimg=nimg,
            partial=run.partial,
            weights_sha256=folder.weights_sha256,
            history_sha256=history.sha256,
            cost=Cost(nimg, wall_sec, nimg / wall_sec, memory_mib(device)),
            provenance=where_from,
        )
        weights = {name: folder.weights / f"{name}.safetensors" for name in folder.weights_sha256}
        publish(record, weights, folder.history, sorted(folder.grids.glob("*.png")), folders)
    record = ranks.from_writer(record)
    assert record is not None, "the writing process has a record"
    return record


def resume(folder: RunFolder, saved: checkpoint.Checkpoint, resources: dict[str, Any]) -> None:
    """Say where a run goes on, and whether it was begun with other resources; later checkpoints are removed."""
    checkpoint.prune(folder.path, saved.nimg)
    begun = {"processes": 1} | {key: value for key, value in saved.scalars.items() if key in resources}
    if begun != resources:
        many = f" in {begun['processes']} processes" if begun["processes"] != resources["processes"] else ""
        was = f"{begun['threads']} threads on {begun['device']}{many}"
        print(f"warning: begun with {was}; the rest will not repeat it bit for bit.", file=sys.stderr)
    run = folder.run
    print(
        f"{run.experiment}: resuming at {saved.nimg} of {run.recipe.length_nimg} images from {folder.path}",
        file=sys.stderr,
    )


def export(folder: RunFolder, state: State, name: str, nimg: int) -> None:
    """Write the averaged generator to the run folder and note its sha256."""
    metadata = {"experiment": folder.run.experiment, "seed": str(folder.run.seed), "digest": folder.digest}
    path = folder.weights / f"{name}.safetensors"
    folder.weights_sha256[name] = save_generator(path, state.average.current(), nimg, metadata)


def draw_grid(folder: RunFolder, state: State, nimg: int, device: str) -> None:
    """Write a picture of the averaged generator's first 64 samples."""
    images = next(draw.sample_chunks(state.average.current(), 64, folder.run.seed, device))
    grid.grid_png(images, folder.grids / f"{nimg:09d}.png", columns=8)


def diverged(folder: RunFolder, state: State, nimg: int, means: dict[str, float], ranks: Ranks) -> TrainingDiverged:
    """Dump the state beside the checkpoints and say which number went wrong."""
    if ranks.writes:
        scalars = {name: repr(value) for name, value in means.items()}
        checkpoint.save(folder.diverged, folder.digest, nimg, state.tensors(), scalars)
    bad = ", ".join(f"{name} is {value}" for name, value in means.items() if not np.isfinite(value))
    return TrainingDiverged(
        f"{folder.run.experiment}: diverged before {nimg} images: {bad}. The state is in {folder.diverged}.", nimg
    )


def write_stopped(
    folder: RunFolder,
    folders: TrainingFolders,
    error: TrainingStopped | TrainingDiverged,
    where_from: dict[str, Any],
) -> None:
    """Leave `stopped.json`, which says where and why a training was left; a finished one removes it."""
    run = folder.run
    record = StoppedRecord(
        experiment=run.experiment,
        seed=run.seed,
        digest=folder.digest,
        state="diverged" if isinstance(error, TrainingDiverged) else "stopped",
        why=str(error),
        nimg=error.nimg,
        length_nimg=run.recipe.length_nimg,
        checkpoint=str(folder.path),
        provenance=where_from,
    )
    try:
        train_record.write(folders.stopped, record)
    except HarnessError as failure:  # the reason for leaving matters more
        print(f"warning: {failure}", file=sys.stderr)
