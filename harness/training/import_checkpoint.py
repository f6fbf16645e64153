"""Released checkpoints of other repositories become weights of this project."""

from pathlib import Path

import torch

from harness.files import sha256_file
from harness.networks.generator_file import save_generator
from models.transgan import official


def import_transgan(
    checkpoint: Path, out: Path, size: str | None = None, resolution: int | None = None, part: str = "generator"
) -> dict[str, str]:
    """Convert a network of VITA-Group/TransGAN (v1 or NeurIPS; 32, 48 or 64 px) and write it to `out`.

    Args:
        size, resolution: default: what the shapes of its tensors say.
        part: `generator` or `discriminator`.

    Returns:
        The metadata of the file written, and its `weights_sha256`.

    Raises:
        HarnessError: not such a checkpoint; missing, unexpected and misshapen tensors are listed.
    """
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
    return {**origin, "weights_sha256": save_generator(out, network, nimg=0, run=origin)}
