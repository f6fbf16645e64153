"""Small synthetic results folders: score JSON in the contract's shape, without any model or image behind it."""

import copy
from pathlib import Path
from typing import Any

from harness.files import write_json, write_text

PROTOCOL = {
    "dataset": "cifar10",
    "split": "train",
    "crop": "none",
    "resolution": 32,
    "stand_in_data": False,
    "real_pixels_sha256": "ab" * 32,
    "n_fake": 50000,
    "n_real": 50000,
    "layer": 2048,
    "inception": "official",
    "inception_sha256": "cd" * 32,
    "stand_in_inception": False,
    "resizer": "tf1-bilinear",
    "quantisation": "uint8, rounded",
    "is_splits": 10,
    "is_bias": False,
    "ema": True,
    "snapshot": "last",
}


def score(scorer: str = "tf", **changes: Any) -> dict[str, Any]:
    """One score JSON; `changes` are laid over run, protocol and values by name."""
    run = {
        "scale": "test",
        "experiment": "sngan-cifar10",
        "seed": 0,
        "snapshot": "last",
        "nimg": 80_000_000,
        "planned_nimg": 80_000_000,
        "partial": False,
    }
    value: dict[str, Any] = {"schema": 1, "scorer": scorer, "fid": 14.3}
    value |= {"is_mean": 8.2, "is_std": 0.1} if scorer != "clean" else {"kid": 0.0123, "kid_std": 0.001}
    protocol = copy.deepcopy(PROTOCOL)
    if scorer == "clean":
        protocol |= {"resizer": "clean-bicubic", "is_splits": None, "is_bias": None}
    for key, change in changes.items():
        assert key in run or key in protocol or key in ("fid", "is_mean", "is_std", "kid"), f"no entry {key} in a score"
        for part in (run, protocol, value):
            if key in part:
                part[key] = change
    if run["nimg"] < run["planned_nimg"]:
        run["partial"] = True
    return value | {
        "run": run,
        "protocol": protocol,
        "provenance": {"git_commit": "0" * 40, "git_dirty": False, "device": "cpu", "threads": 1, "wall_sec": 2.0},
        "diagnostics": {},
    }


def add(out: Path, scorer: str = "tf", **changes: Any) -> None:
    """Write one score, and a training record beside it, into a results folder."""
    value = score(scorer, **changes)
    run = value["run"]
    folder = out / "records" / run["experiment"] / f"seed{run['seed']}"
    write_json(folder / str(run["snapshot"]) / f"{scorer}.json", value)
    write_json(
        folder / "train" / "train.json",
        {
            "nimg": run["nimg"],
            "cost": {"images": run["nimg"], "wall_sec": 7200.0, "device_sec": 7200.0},
            "provenance": {"device": "cuda"},
        },
    )
    rows = "\n".join(f"{n},{1 / n:.6f},{2 / n:.6f},100.0" for n in range(1000, 9000, 1000))
    write_text(folder / "train" / "history.csv", f"nimg,discriminator_loss,generator_loss,images_per_sec\n{rows}\n")
