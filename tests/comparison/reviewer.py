"""A checkout for tests of samples from elsewhere: a small data set, and a ledger that states the stand-in Inception.

Its numbers are made up for these tests; they are no scores of any model.
"""

from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from harness.data.fetch import prepare
from tests.conftest import TINY
from tests.metrics.inception.helpers import shape_images
from tests.paths import ROOT

N_FAKE, N_REAL = 24, 40
ROWS = {"fixture/GAN-A": "1.93", "fixture/GAN-B": "1.40", "fixture/GAN-C": "2.60"}  # the samples score about 2
SCORE = ("score", "--scorer", "torch", "--weights", "stand-in", "--layer", "64", "--threads", "1")
DECLARED = ("--declare", "ema=true", "--declare", "quantisation=uint8, rounded")
PROTOCOL = {
    "about": "Made up for a test.",
    "split": {"stated": "train"},
    "crop": {"stated": "none"},
    "n_fake": {"stated": N_FAKE},
    "n_real": {"stated": N_REAL},
    "layer": {"stated": 64},
    "inception": {"stated": "stand-in"},
    "resizer": {"stated": "tf1-bilinear"},
    "quantisation": {"stated": "uint8, rounded"},
    "is_splits": {"unknown": "no IS is reported"},
    "is_bias": {"unknown": "no IS is reported"},
    "ema": {"stated": True},
    "snapshot": {"presumed": ["last", "best"], "because": "made up"},
    "kid_subsets": {"unknown": "no KID is reported"},
    "kid_subset_size": {"unknown": "no KID is reported"},
}
EFFECT = {"field": "snapshot", "metric": "fid", "values": ["best", "last"], "share": [0.0, 0.01]}
AIDS = {"effects": [EFFECT | {"because": "made up"}], "released_weights": ["transgan-checkpoint"]}


XS = {"generator": {"model": "transgan-xs"}, "discriminator": {"model": "transgan-xs", "width": 16, "depth": 1}}
RECIPE = TINY["experiments/recipes/tiny.yaml"]["tiny"] | {"ema": {"kind": "fixed", "decay": 0.9}}
NOTHING = {"length_nimg": 0, "snapshots_nimg": [], "grids_nimg": []}  # is trained
LINKS = ("experiments/models", "experiments/protocols", "experiments/overlays.yaml", "results/history.csv")


def checkout(folder: Path, rows: dict[str, str] = ROWS) -> Path:
    """Write the checkout: data set `shapes`, folders of samples `seed0` to `seed2`, ledger, tolerances, experiments."""
    write_pngs(folder / "pictures", shape_images(N_REAL, seed=100))
    for seed in range(3):
        write_pngs(folder / f"seed{seed}", shape_images(N_FAKE, seed=seed) // 2)
    entry = {"source": "folder", "path": str(folder / "pictures"), "split": "train", "resolution": 32}
    tolerances = yaml.safe_load((ROOT / "experiments/tolerances.yaml").read_text())
    tolerances["checkpoint"]["min_n_fake"]["value"] = N_FAKE
    tolerances["checkpoint"]["fid_sd_at_10k"]["value"] = 0.001
    tolerances["checkpoint"]["max_sd"]["value"] = tolerances["training"]["max_spread"]["value"] = 0.5  # of 40 samples
    tolerances["control"] |= {"rows": [], "secondary": []}
    schema = yaml.safe_load((ROOT / "results/reported/schema.yaml").read_text())
    schema["columns"]["dataset"]["values"] = ["shapes"]
    xs = XS | {"dataset": "shapes", "recipe": "tiny", "reported": ["fixture/GAN-A"]}
    for name, value in {
        "experiments/datasets.yaml": {"shapes": entry | {"count": N_REAL, "version": 1, "licence": "ours"}},
        "experiments/tolerances.yaml": tolerances,
        "experiments/recipes/tiny.yaml": {"tiny": RECIPE, "transgan-checkpoint": RECIPE | NOTHING},
        "experiments/tables/xs.yaml": {"xs": xs, "xs-checkpoint": xs | {"checkpoint": "theirs.safetensors"}},
        "experiments/versions.yaml": TINY["experiments/versions.yaml"],
        "experiments/claims.yaml": {"level": {"value": 0.95, "because": "a test"}, "scales": {}, "claims": {}},
        "results/reported/protocols.yaml": {"fixture": PROTOCOL, **AIDS},
        "results/reported/schema.yaml": schema,
        "results/reported/tables.yaml": {"fixture": {"title": "A fixture", "ledger": ["fixture"]}},
    }.items():
        write(folder / name, value)
    head = ",".join(schema["columns"])
    lines = [
        f"Nobody,,{link.replace('/', ',')},,shapes,32,fid,{value},,fixture,made up for a test,verified,,,,"
        for link, value in rows.items()
    ]
    (folder / "results/reported/fixture.csv").write_text("\n".join([head, *lines]) + "\n")
    for name in LINKS:
        (folder / name).symlink_to(ROOT / name)
    prepare("shapes", folder / "data/shapes", folder)
    return folder


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(value))


def write_pngs(folder: Path, images: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:03}.png")
