"""Samples for the page, cut from the grids of the records and embedded. No pixel of a data set is ever among them."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.comparison import words
from harness.errors import HarnessError
from harness.paths import ScaleFolder
from harness.report.finding import trained_on, training_sets
from harness.sampling.grid import grid

COUNTS = (16, 8, 4, 2)  # samples of a snapshot; the most that keep the pictures of a page within BUDGET
BUDGET = 2_000_000  # characters of embedded pictures, so that a page with 30 models stays under 3 MB


def rows(out: ScaleFolder, scores: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a row an experiment: samples of its lowest seed early, in the middle and at the end of training.

    Those on the training data set of most models come first.

    Raises:
        HarnessError: see `samples`.
    """
    sets = training_sets(scores)
    for most in COUNTS:
        found = [_row(out, name, part, most) for name, part in scores.groupby("experiment", sort=True)]
        found = [row for row in found if row["pictures"]]
        found.sort(key=lambda row: sets.index(row["trained_on"]))
        if sum(len(picture["uri"]) for row in found for picture in row["pictures"]) <= BUDGET:
            break
    return found


def _row(out: ScaleFolder, experiment: Any, scores: pd.DataFrame, most: int) -> dict[str, Any]:
    seed = int(scores["seed"].min())
    mine = scores[scores["seed"] == seed].drop_duplicates("snapshot")
    grids = out.training(experiment, seed).grids.glob("*.png")  # of the same latents all along
    files = {int(path.stem): path for path in grids if path.stem.isdigit()}
    for one in mine.dropna(subset=["nimg"]).to_dict("records"):
        path = out.grid(experiment, seed, one["snapshot"])
        if path.is_file():
            files.setdefault(int(one["nimg"]), path)
    counts = sorted(files)
    trained = [n for n in counts if n > 0] or counts
    shown = sorted({trained[0], trained[len(trained) // 2], trained[-1]}) if trained else []
    return {
        "experiment": str(experiment),
        "untrained": bool((mine["planned_nimg"] == 0).all()),
        "trained_on": str(trained_on(mine).iloc[0]),
        "stand_in": bool((mine["stand_in_data"] != False).any()),  # noqa: E712 (None is not known to be real)
        "seed": seed,
        "pictures": [
            {
                "uri": samples(files[n], int(mine["resolution"].iloc[0]), most),
                "images": words.count(n),
                "alt": f"{most} samples of {experiment}, seed {seed}, after {n:,} images seen",
            }
            for n in shown
        ],
    }


def samples(path: Path, resolution: int, most: int = COUNTS[0]) -> str:
    """Return the first samples of a grid, as a data URI: two rows of half as many, of up to four one row.

    Args:
        resolution: of a sample, in pixels; the grid has 2 pixels between samples, and as many columns as it likes.

    Raises:
        HarnessError: not a picture, or not one of samples of this size.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise HarnessError(f"{path}: not a readable picture ({error}); delete it and run its stage again.") from None
    pitch = resolution + 2
    if any((side - 2) % pitch for side in pixels.shape[:2]):
        size = " x ".join(map(str, pixels.shape[1::-1]))
        raise HarnessError(f"{path}: {size} pixels are no grid of samples of {resolution}; run its stage again.")
    tiles = [
        pixels[y : y + resolution, x : x + resolution]
        for y in range(2, pixels.shape[0], pitch)
        for x in range(2, pixels.shape[1], pitch)
    ]
    shown = tiles[:most]
    return embedded(grid(np.stack(shown), min(len(shown), max(4, len(shown) // 2))))


def embedded(pixels: np.ndarray) -> str:
    """Return uint8 [H,W,3] as a PNG in a data URI."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
