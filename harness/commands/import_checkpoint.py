"""`harness import`: a released checkpoint becomes weights of this project."""

from pathlib import Path

import click

from harness.commands.options import FOLDER, root_option
from harness.errors import HarnessError


@click.group("import")
def command() -> None:
    """Convert released checkpoints to this project's weights.

    Example: harness import transgan cifar_checkpoint --out last.safetensors
    """


@command.command("transgan")
@click.argument("checkpoint", type=FOLDER)
@click.option("--out", type=FOLDER, help="Safetensors file to write.")
@click.option(
    "--as",
    "experiment",
    metavar="EXPERIMENT",
    help="Instead of --out: take it as the weights of this experiment and plan its scores in results/imported.",
)
@click.option("--size", help="S, M, L, XL or NeurIPS; default: what the shapes say.")
@click.option("--resolution", type=int, help="Image side in pixels; default: what the shapes say.")
@click.option("--part", type=click.Choice(["generator", "discriminator"]), default="generator", show_default=True)
@root_option
def transgan(
    checkpoint: Path,
    out: Path | None,
    experiment: str | None,
    size: str | None,
    resolution: int | None,
    part: str,
    root: Path | None,
) -> None:
    """Convert a network of VITA-Group/TransGAN (v1 or NeurIPS; 32, 48 or 64 px).

    Of a generator, the averaged weights are taken where the file has them. Every tensor must be there under its
    official name and shape: missing and unexpected ones are listed. Code in the file is not executed.

    With --as the result becomes the weights of an experiment, in place of its training, and a scale of its own,
    results/imported, samples, scores and judges it: `dvc repro results/imported/dvc.yaml`.

    Example: harness import transgan cifar_checkpoint --as cifar10-transgan-xl-checkpoint
    """
    if (out is None) == (experiment is None):
        raise click.UsageError("name a file with --out, or an experiment with --as.")
    if experiment is not None:
        if size or resolution or part != "generator":
            raise click.UsageError("--size, --resolution and --part belong to --out; an experiment has its own.")
        _import_as(checkpoint, experiment, root)
        return
    assert out is not None, "one of both is given"
    if out.exists() and checkpoint.exists() and out.samefile(checkpoint):
        raise HarnessError(f"--out {out}: is the checkpoint itself; name another file.")
    from harness.training.import_checkpoint import import_transgan

    made = import_transgan(checkpoint, out, size, resolution, part)
    click.echo(
        f"{out}: TransGAN {made['size']} {part}, {made['resolution']} px, from {made['checkpoint_key']}; "
        f"sha256 {made['weights_sha256']}"
    )


def _import_as(checkpoint: Path, experiment: str, root: Path | None) -> None:
    from harness.paths import Checkout
    from harness.pipeline.imported import import_as

    checkout = Checkout.clone(root)
    made, folder = import_as(checkpoint, experiment, checkout)
    place = folder.relative_to(checkout.root)
    click.echo(
        f"{made['file']}: TransGAN {made['size']}, {made['resolution']} px, from {made['checkpoint_key']}, the weights "
        f"of {made['experiment']}; sha256 {made['weights_sha256']}\n"
        f"next: dvc repro {place}/dvc.yaml && harness check --params {place}"
    )


@command.command("released")
@click.argument("name")
@root_option
def released(name: str, root: Path | None) -> None:
    """Put the imported checkpoint NAME into data/checkpoints, from the folder named by HARNESS_CHECKPOINTS.

    A stage of the pipeline: trainings that take released weights depend on the file.

    Example: HARNESS_CHECKPOINTS=/mnt/weights harness import released cifar10-transgan-xl-checkpoint.safetensors
    """
    from harness.paths import Checkout
    from harness.training.released_weights import obtain

    click.echo(obtain(name, Checkout.clone(root)))
