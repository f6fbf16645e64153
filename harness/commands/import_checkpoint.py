"""`harness import`: a released checkpoint becomes weights of this project."""

from pathlib import Path

import click

from harness.commands.options import FOLDER, root_option


@click.group("import")
def command() -> None:
    """Convert released checkpoints to this project's weights.

    Example: harness import transgan cifar_checkpoint --out last.safetensors
    """


@command.command("transgan")
@click.argument("checkpoint", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, help="Safetensors file to write.")
@click.option("--size", help="S, M, L, XL or NeurIPS; default: what the shapes say.")
@click.option("--resolution", type=int, help="Image side in pixels; default: what the shapes say.")
@click.option("--part", type=click.Choice(["generator", "discriminator"]), default="generator", show_default=True)
def transgan(checkpoint: Path, out: Path, size: str | None, resolution: int | None, part: str) -> None:
    """Convert a network of VITA-Group/TransGAN (v1 or NeurIPS; 32, 48 or 64 px).

    Of a generator, the averaged weights are taken where the file has them. Every tensor must be there under its
    official name and shape: missing and unexpected ones are listed. Code in the file is not executed. An experiment
    named `...-checkpoint` samples the result when it stands as data/checkpoints/EXPERIMENT.safetensors.

    Example: harness import transgan cifar_checkpoint --out last.safetensors --size XL --resolution 32
    """
    from harness.training.import_checkpoint import import_transgan

    made = import_transgan(checkpoint, out, size, resolution, part)
    click.echo(
        f"{out}: TransGAN {made['size']} {part}, {made['resolution']} px, from {made['checkpoint_key']}; "
        f"sha256 {made['weights_sha256']}"
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

    click.echo(obtain(name, Checkout.find(root)))
