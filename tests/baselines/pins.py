"""Numbers pinned for every model of the catalogue; `python -m tests.baselines.pins` adds those that are missing.

Parameter counts with a `source` equal that entry of golden_baselines.json (under `parameter_and_mac_counts`), which a
test checks. The others, and all forward statistics, are this code's own: they show a change, not correctness.
"""

import json
from pathlib import Path
from typing import Any

import torch

from harness import files
from harness.config import experiments
from harness.networks import registry
from tests.paths import GOLDEN

COUNTS = GOLDEN / "parameter_counts.json"
FORWARD = GOLDEN / "forward_statistics.json"
ROLES = ("generator", "discriminator")
KEYS = {"generator": "generator", "discriminator": "critic"}  # of the golden file


def read(path: Path) -> dict[str, Any]:
    """Return the pinned entries by `model@resolution`."""
    return json.loads(path.read_text()) if path.exists() else {}


def catalogue() -> list[tuple[str, int]]:
    """Return every model with each of its resolutions."""
    return [(name, side) for name, model in sorted(experiments.load_models().items()) for side in model.resolutions]


def key(name: str, resolution: int) -> str:
    """Return the name of an entry."""
    return f"{name}@{resolution}"


def count(name: str, resolution: int) -> dict[str, int]:
    """Count parameters, without memory for them."""
    with torch.device("meta"):
        networks = {KEYS[role]: registry.build(role, {"model": name}, resolution) for role in ROLES}
        return {key: registry.parameters(network) for key, network in networks.items()}


@torch.no_grad()
def forward(name: str, resolution: int) -> dict[str, Any]:
    """Return statistics of two images and their logits, in evaluation mode, for weights and latents of seed 0."""
    torch.manual_seed(0)
    generator, discriminator = (registry.build(role, {"model": name}, resolution).eval() for role in ROLES)
    torch.manual_seed(1)  # latents, and noise where the generator adds some
    image = generator(torch.randn(2, generator.latent_dim))
    return {
        "version": experiments.load_models()[name].version,
        "image": {"mean": image.mean().item(), "std": image.std().item(), "pixel": image[0, :, 1, 2].tolist()},
        "logits": discriminator(image).flatten().tolist(),
    }


def _add_missing(path: Path, measure: Any) -> None:
    entries = read(path)
    for name, resolution in catalogue():
        if key(name, resolution) not in entries:
            entries[key(name, resolution)] = measure(name, resolution)
    files.write_json(path, dict(sorted(entries.items())))


if __name__ == "__main__":
    torch.set_num_threads(1)
    _add_missing(COUNTS, count)
    _add_missing(FORWARD, forward)
