"""The training loop, for every model of the benchmark. Lengths and schedules are in real images seen by the critic (nimg)."""

import dataclasses
import functools
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from harness import provenance, sampling, zoo
from harness.config import Locality, Recipe
from harness.errors import HarnessError, TrainingDiverged, nearest
from harness.files import write_json
from harness.training import augment, checkpoint, losses, runfolder, steps
from harness.training.ema import Average
from harness.training.history import TIMING, History, Meter
from harness.training.state import State, adam, batch_independent, learning_rate
from harness.training.streams import DEQUANTISE, ImageStream, derive_seed

if TYPE_CHECKING:
    from harness.experiments import Run

TERMS = ("critic_loss", "real_logit", "fake_logit", "penalty", "drift", "critic_grad_norm")
TERMS += ("generator_loss", "super_resolution", "generator_grad_norm")
COLUMNS = ("nimg", *TERMS, "critic_lr", "generator_lr", *TIMING)


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
    stop_nimg: int | None = None,
    build: Callable[[str, dict[str, Any], int], nn.Module] = zoo.build,
) -> None:
    """Train one generator, from where an interrupted run of the same identity left off.

    Args:
        images: uint8 [N, R, R, 3].
        out: receives `weights/last.safetensors` (the averaged generator) and `weights/<nimg>.safetensors`.
        checkpoints: folder for working state, one subfolder per run identity; never an output of a pipeline.
        records: receives `train/history.csv`, `train/train.json` and `train/grids/*.png`; default: `out`.
        stop_nimg: save and leave once this many images are seen.
        build: makes the networks from (role, spec, resolution).

    Raises:
        TrainingDiverged: NaN or infinity in a loss or gradient norm; the state is dumped beside the checkpoints.
        TrainingStopped: SIGTERM, SIGINT or `stop_nimg`; the state is saved.
        HarnessError: a recipe that cannot be run, or a full disk (the previous checkpoint is intact).
    """
    recipe, batch = run.recipe, run.recipe.critic_batch
    check_recipe(recipe)
    assert images.shape[1:] == (run.resolution, run.resolution, 3), f"{images.shape} is not {run.resolution} px RGB"
    torch.set_num_threads(threads)
    identity = runfolder.identity(run, images)
    folder, digest = runfolder.open_folder(checkpoints, run, identity)

    # ---------------- networks, optimisers, average
    torch.manual_seed(derive_seed(run.seed, "generator"))
    generator = build("generator", run.generator, run.resolution).to(device).train()
    torch.manual_seed(derive_seed(run.seed, "critic"))
    critic = build("critic", run.critic, run.resolution).to(device).train()
    state = State(
        generator=generator,
        critic=critic,
        average=Average(generator, recipe.ema),
        generator_optimiser=adam(generator, recipe.generator_optimiser),
        critic_optimiser=adam(critic, recipe.critic_optimiser),
        meter=Meter(device),
        extra={},
    )
    latent_dim: int = generator.latent_dim  # type: ignore[assignment]
    stream = ImageStream(images, run.seed, device)
    batched = batch_independent(critic, run.resolution)
    critic_call = steps.autocast(critic, device, recipe.precision)
    generator_call = steps.autocast(generator, device, recipe.precision)
    augmented = functools.partial(augment.apply, recipe.augment)
    draw = functools.partial(augment.draw, recipe.augment, resolution=run.resolution, device=device)

    # ---------------- resume
    nimg, wall_sec = 0, 0.0
    saved = checkpoint.load(folder, digest)
    if saved is not None:
        nimg, tensors, scalars = saved
        state.restore(tensors)
        wall_sec = scalars["wall_sec"]
        print(f"{run.experiment}: resuming at {nimg} of {recipe.length_nimg} images from {folder}", file=sys.stderr)
    history = History(folder / "history.csv", COLUMNS, nimg)
    started, logged_at, logged_nimg = time.perf_counter() - wall_sec, time.perf_counter(), nimg

    def save() -> None:
        checkpoint.save(folder, digest, nimg, state.tensors(), {"wall_sec": time.perf_counter() - started})

    bar = tqdm(total=recipe.length_nimg, initial=nimg, unit="img", unit_scale=True, desc=run.experiment)
    with bar, signals() as received:
        while nimg < recipe.length_nimg:
            # ---------------- schedules and randomness: functions of (seed, nimg)
            assert nimg % batch == 0, f"{nimg} images are not whole critic batches of {batch}"
            step = nimg // batch
            torch.manual_seed(derive_seed(run.seed, "iteration", nimg))
            rates = {
                "critic_lr": learning_rate(recipe.critic_optimiser, nimg, run.planned_nimg),
                "generator_lr": learning_rate(recipe.generator_optimiser, nimg, run.planned_nimg),
            }
            state.critic_optimiser.param_groups[0]["lr"] = rates["critic_lr"]
            state.generator_optimiser.param_groups[0]["lr"] = rates["generator_lr"]
            if recipe.locality is not None:
                for network in (generator, state.average.module):
                    network.set_locality(recipe.locality.shape, half_width(recipe.locality, nimg))  # type: ignore[operator]

            # ---------------- critic step
            reals = stream.batch(nimg, batch, recipe.flip, recipe.dequantise)
            with torch.no_grad():
                fakes = generator_call(torch.randn(batch, latent_dim, device=device))
            alpha = torch.rand(batch, device=device)
            draws = steps.CriticDraws(draw(batch), draw(batch), draw(batch), alpha)
            state.critic_optimiser.zero_grad()
            terms = steps.critic_terms(critic_call, recipe, augmented, reals, fakes, draws, batched)
            terms["critic_loss"].backward()
            terms["critic_grad_norm"] = steps.update(state.critic_optimiser, recipe.clip_grad_norm)

            # ---------------- generator step and moving average
            if step % recipe.n_critic == recipe.generator_phase:
                critic.requires_grad_(False)
                latents = torch.randn(recipe.generator_batch, latent_dim, device=device)
                state.generator_optimiser.zero_grad()
                terms |= steps.generator_terms(
                    generator_call, critic_call, recipe, augmented, latents, draw(recipe.generator_batch)
                )
                loss = terms["generator_loss"]
                if recipe.cotraining is not None and nimg < recipe.cotraining.until_nimg:
                    terms["super_resolution"] = steps.super_resolution_loss(generator, reals)
                    loss = loss + recipe.cotraining.weight * terms["super_resolution"]
                loss.backward()
                terms["generator_grad_norm"] = steps.update(state.generator_optimiser, recipe.clip_grad_norm)
                critic.requires_grad_(True)
                state.average.update(nimg, batch)
            state.meter.add(terms)
            previous, nimg = nimg, nimg + batch
            bar.update(min(batch, recipe.length_nimg - previous))

            # ---------------- log, snapshots, grids
            last = nimg >= recipe.length_nimg
            stopping = bool(received) or (stop_nimg is not None and nimg >= stop_nimg and not last)
            log_due = last or crossed(recipe.log_every_nimg, previous, nimg)
            save_due = last or stopping or crossed(recipe.checkpoint_every_nimg, previous, nimg)
            snapshots = [n for n in recipe.snapshots_nimg if previous < n <= nimg]
            if log_due or save_due or snapshots:
                means = state.meter.means()
                if not np.isfinite(list(means.values())).all():
                    raise diverged(folder, digest, nimg, state, means)
            if log_due:
                now = time.perf_counter()
                timing = ((nimg - logged_nimg) / (now - logged_at), now - started, memory_mib(device))
                history.append({"nimg": nimg, **means, **rates, **dict(zip(TIMING, timing, strict=True))})
                state.meter.clear()
                logged_at, logged_nimg = now, nimg
                bar.set_postfix({k: f"{means[k]:.3g}" for k in ("critic_loss", "generator_loss") if k in means})
            for n in snapshots:
                export(folder / "weights" / f"{n}.safetensors", run, nimg, state)
            for n in (n for n in recipe.grids_nimg if previous < n <= nimg):
                grid(folder / "grids" / f"{n:09d}.png", run, state, device)

            # ---------------- checkpoint
            if save_due:
                save()
            if stopping and not last:
                why = f"signal {received[0]}" if received else f"--stop-after-nimg {stop_nimg}"
                raise TrainingStopped(
                    f"{run.experiment}: {why}: saved at {nimg} images in {folder}; run again to go on."
                )

    # ---------------- done: publish
    export(folder / "weights" / "last.safetensors", run, nimg, state)
    records = records or out
    for path in sorted((folder / "weights").glob("*.safetensors")):
        runfolder.publish(path, Path(out) / "weights" / path.name)
    for path in sorted((folder / "grids").glob("*.png")):
        runfolder.publish(path, Path(records) / "train" / "grids" / path.name)
    runfolder.publish(folder / "history.csv", Path(records) / "train" / "history.csv")
    write_json(
        Path(records) / "train" / "train.json",
        {
            "schema": 1,
            "run": {k: v for k, v in dataclasses.asdict(run).items() if k != "recipe"},
            "recipe": dataclasses.asdict(recipe),
            "identity": digest,
            "nimg": nimg,
            "partial": run.planned_nimg > recipe.length_nimg,
            "cost": {
                "images": nimg,
                "wall_sec": time.perf_counter() - started,
                "images_per_sec": nimg / (time.perf_counter() - started),
                "memory_mib": memory_mib(device),
            },
            "provenance": provenance.collect(device=device, threads=threads, pixels_sha256=identity["pixels_sha256"]),
        },
    )


def check_recipe(recipe: Recipe) -> None:
    """Refuse names and numbers that no part of the loop knows.

    Raises:
        HarnessError: an unknown name (with the nearest valid one) or a phase that never comes.
    """
    names = {
        "objective": (recipe.objective, losses.OBJECTIVES),
        "penalty.kind": (recipe.penalty.kind, ("none", "gradient", "r1")),
        "drift.kind": (recipe.drift.kind, ("none", "squared-mean", "mean-square")),
        "ema.kind": (recipe.ema.kind, ("none", "fixed", "half-life")),
        "dequantise": (recipe.dequantise, DEQUANTISE),
        "precision": (recipe.precision, ("float32", "bfloat16")),
        "critic_optimiser.decay": (recipe.critic_optimiser.decay, ("constant", "linear")),
        "generator_optimiser.decay": (recipe.generator_optimiser.decay, ("constant", "linear")),
    }
    for key, (name, valid) in names.items():
        if name not in valid:
            raise HarnessError(f"recipe: {key} '{name}' is unknown.{nearest(name, valid)}")
    augment.check_policy(recipe.augment)
    if not 0 <= recipe.generator_phase < recipe.n_critic:
        raise HarnessError(f"recipe: generator_phase {recipe.generator_phase} is not in 0..{recipe.n_critic - 1}.")


def half_width(locality: Locality, nimg: int) -> int | None:
    """Half-width of the attention mask at image count `nimg`; None after the schedule's end."""
    return next((width for until_nimg, width in locality.schedule if nimg < until_nimg), None)


def crossed(interval: int, previous: int, nimg: int) -> bool:
    """Whether a multiple of `interval` lies in (previous, nimg]."""
    return nimg // interval > previous // interval


def diverged(folder: Path, digest: str, nimg: int, state: State, means: dict[str, float]) -> TrainingDiverged:
    """Dump the state and say what went wrong."""
    terms = {name: repr(value) for name, value in means.items()}
    checkpoint.save(folder / "diverged", digest, nimg, state.tensors(), terms)
    bad = ", ".join(f"{name} {value}" for name, value in means.items() if not np.isfinite(value))
    return TrainingDiverged(f"training diverged before {nimg} images: {bad}. The state is in {folder / 'diverged'}.")


def export(path: Path, run: "Run", nimg: int, state: State) -> None:
    """Write the averaged generator."""
    metadata = {"experiment": run.experiment, "seed": str(run.seed)}
    checkpoint.save_generator(path, state.average.current(), nimg, metadata)


def grid(path: Path, run: "Run", state: State, device: str) -> None:
    """Write a picture of the averaged generator's first 64 samples."""
    sampling.grid_png(next(sampling.sample_chunks(state.average.current(), 64, run.seed, device)), path)


def memory_mib(device: str) -> float:
    """Peak memory: of the device's allocator on a GPU, of this process on a CPU."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def signals() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT instead of dying of them; the loop looks after each iteration."""
    received: list[int] = []
    try:
        old = {s: signal.signal(s, lambda number, _: received.append(number)) for s in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:  # not the main thread: signals stay with whoever has them
        old = {}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
