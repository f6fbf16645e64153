"""`harness import`: a released checkpoint becomes weights of this project."""

from pathlib import Path

import click


@click.group("import")
def command() -> None:
    """Convert released checkpoints to this project's weights.

    Example: harness import transgan cifar_checkpoint --out last.safetensors
    """


@command.command("transgan")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Safetensors file to write.")
@click.option("--size", help="S, M, L, XL or NeurIPS; default: what the shapes say.")
@click.option("--resolution", type=int, help="Image side in pixels; default: what the shapes say.")
@click.option("--part", type=click.Choice(["generator", "discriminator"]), default="generator", show_default=True)
def transgan(checkpoint: Path, out: Path, size: str | None, resolution: int | None, part: str) -> None:
    """Convert a network of VITA-Group/TransGAN (v1 or NeurIPS; 32, 48 or 64 px).

    Of a generator, the averaged weights are taken where the file has them. Every tensor must be there under its
    official name and shape: missing and unexpected ones are listed. Code in the file is not executed. An experiment
    named `...-checkpoint` samples the result when it stands as weights/last.safetensors of its run.

    Example: harness import transgan cifar_checkpoint --out last.safetensors --size XL --resolution 32
    """
    import torch

    from harness.files import sha256_file
    from harness.networks.generator_file import save_generator
    from models.transgan import official

    state, key = official.read_checkpoint(checkpoint, part)
    if size is None or resolution is None:
        identify = official.identify_generator if part == "generator" else official.identify_discriminator
        found_size, found_resolution = identify(state, str(checkpoint))
        size, resolution = size or found_size, resolution or found_resolution
    with torch.device("meta"):
        network = official.build(part, size, resolution)
    network.to_empty(device="cpu")
    official.load_official(network, state, str(checkpoint))
    origin = {
        "origin": "VITA-Group/TransGAN checkpoint",
        "checkpoint_sha256": sha256_file(checkpoint),
        "checkpoint_key": key,
        "part": part,
        "size": size,
        "resolution": str(resolution),
    }
    digest = save_generator(out, network, nimg=0, run=origin)
    click.echo(f"{out}: TransGAN {size} {part}, {resolution} px, from {key}; sha256 {digest}")
