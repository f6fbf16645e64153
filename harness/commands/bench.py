"""`harness bench`: speed, as ratios against a named peer in the same run."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.options import scale_options, seed_option

if TYPE_CHECKING:
    from harness.config.experiments import Scale

OUT = click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="results/bench",
    show_default=True,
    help="Folder for table and JSON.",
)


@click.group("bench")
def command() -> None:
    """Measure speed on this machine; run it when nothing else does.

    Example: harness bench scores --images 200
    """


@command.command("scores")
@click.option("--images", type=click.IntRange(10), default=200, show_default=True)
@OUT
def scores(images: int, out: Path) -> None:
    """Scorers against pytorch-fid, torch-fidelity and clean-fid, on the same images and stand-in weights.

    Needs the peers: pip install -c constraints.txt -e '.[dev]'

    Example: harness bench scores --images 200
    """
    from harness.bench import scores as bench

    bench.run(images, out)


@command.command("train")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--processes", type=click.IntRange(2), help="Instead: so many that train as one, against one.")
@click.option(
    "--threads", type=click.IntRange(1), help="With --processes: CPU threads of all together; default: all cores."
)
@OUT
def train(device: str, processes: int | None, threads: int | None, out: Path) -> None:
    """TransGAN-S training cycle against the plain eager step written straight from the specification.

    Example: harness bench train --device cuda
    """
    if processes is None:
        from harness.bench import train as bench

        bench.run(out, device)
    else:
        from harness.bench import processes as together

        together.run(out, processes, device, threads or len(os.sched_getaffinity(0)))


@command.command("sampling")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--images", type=click.IntRange(50), default=10_000, show_default=True)
@click.option("--threads", type=click.IntRange(1), help="CPU threads; default: all cores.")
@OUT
def sampling(device: str, images: int, threads: int | None, out: Path) -> None:
    """TransGAN-S draws images, the torch scorer scores them; shares of the measured float32 matrix product.

    Example: harness bench sampling --device cuda
    """
    from harness.bench import sampling as bench

    bench.run(out, device, images, threads or len(os.sched_getaffinity(0)))


@command.command("pipeline")
@OUT
def pipeline(out: Path) -> None:
    """What DVC takes when nothing is to be done, with every scale present, and what `harness --help` takes.

    Example: harness bench pipeline
    """
    from harness.bench import pipeline as bench
    from harness.paths import Checkout

    bench.run(out, Checkout.clone())


@command.command("quick")
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True, help="Stages at once, launched.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Of each stage, in both.")
@OUT
def quick(jobs: int, threads: int, out: Path) -> None:
    """The scale at the root, run by `dvc repro` and by `harness launch` in fresh clones; both must make the same.

    Some 15 minutes on two cores. Needs Ray: pip install -c constraints.txt -e '.[launch]'

    Example: harness bench quick --jobs 2 --threads 1
    """
    import sys

    from harness.bench import launch_scale as bench
    from harness.paths import Checkout

    bench.run(out, Checkout.clone(), (sys.executable, "-m", "harness", "launch", "--jobs", str(jobs)), threads)


@command.command("launch")
@click.option("--stages", type=click.IntRange(1), default=500, show_default=True, help="That `harness launch` runs.")
@click.option("--serial", type=click.IntRange(1), default=100, show_default=True, help="That `dvc repro` runs.")
@OUT
def launch(stages: int, serial: int, out: Path) -> None:
    """What a stage costs beside its own work: `harness launch --jobs 2` on Ray against `dvc repro`.

    Needs Ray: pip install -c constraints.txt -e '.[launch]'

    Example: harness bench launch --stages 500
    """
    from harness.bench import launch as bench
    from harness.cluster.ray_engine import RayEngine
    from harness.paths import Checkout

    bench.run(out, Checkout.clone(), RayEngine, stages, serial)


@command.command("intervals")
@click.option("--reference", default="cifar10", show_default=True, help="Real images: a packed data set or a file.")
@click.option("--weights", default="trunk", show_default=True, help="trunk | official | stand-in | FILE.")
@OUT
def intervals(reference: str, weights: str, out: Path) -> None:
    """Whether the intervals beside scores cover what they say, on 200 dumps, and what they cost.

    Example: harness bench intervals --reference cifar10
    """
    from harness.bench import intervals as bench
    from harness.metrics.request import find_reference
    from harness.paths import cache_of

    bench.run(out, find_reference(reference), weights, cache_of(None))


@command.command("effects")
@click.argument("experiment")
@seed_option
@click.option("--snapshot", default="last", show_default=True, help="`last`, `best` or an image count of the recipe.")
@click.option("--other", help="Another snapshot, held against it.")
@click.option("--reference", help="Real images: a packed data set or a file; default: what it is trained on.")
@click.option("--test", "tests", multiple=True, help="Other real images, of another split, say; may be repeated.")
@click.option("--n", type=click.IntRange(100), default=5000, show_default=True, help="Samples.")
@click.option("--n-real", type=click.IntRange(100), default=10_000, show_default=True, help="Real images.")
@click.option("--weights", default="trunk", show_default=True, help="trunk | official | stand-in | FILE.")
@click.option("--layer", type=int, default=768, show_default=True, help="768 | 2048 channels, ...")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@OUT
@scale_options
def effects(
    experiment: str,
    seed: int,
    snapshot: str,
    other: str | None,
    reference: str | None,
    tests: tuple[str, ...],
    n: int,
    n_real: int,
    weights: str,
    layer: int,
    threads: int,
    scale: "Scale",
    out: Path,
) -> None:
    """What each field of a protocol is worth: samples of a trained row, scored with one field changed at a time.

    Example: harness bench effects mini-transgan --params results/mini --other 80000
    """
    from harness.bench import effects as bench
    from harness.metrics.extractors.base import Setup
    from harness.paths import cache_of

    bench.run(
        out,
        scale,
        scale.run(experiment, seed),
        Setup(weights, layer, threads=threads, cache=cache_of(scale.root)),
        snapshot=snapshot,
        other=other,
        reference=reference,
        tests=tests,
        n_fake=n,
        n_real=n_real,
    )
