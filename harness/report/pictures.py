"""Pictures of the page, embedded: sample grids as PNG, curves as SVG. The same inputs give the same bytes."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.errors import HarnessError
from harness.sampling.grid import grid

COLUMNS, ROWS = 10, 4
# Eight colours that stay apart for colour-blind readers (Okabe and Ito, 2008).
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c564b")


def real_images(folder: Path) -> bytes | None:
    """The first images of a packed data set as a grid in PNG; None if the data set is not on this machine."""
    from harness import data

    if not (folder / data.CARD).is_file():
        return None
    images = np.asarray(data.load(folder).images[: COLUMNS * ROWS])
    images = images[: len(images) // COLUMNS * COLUMNS]
    if not len(images):
        return None
    return _png(grid(images, COLUMNS))


def samples(path: Path) -> str:
    """The upper rows of a sample grid (ten columns wide, as the sampler writes it), as a data URI.

    Raises:
        HarnessError: not a picture.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise HarnessError(f"{path}: not a readable picture ({error}); delete it and run its stage again.") from None
    return embedded(_png(pixels[: (pixels.shape[1] - 2) * ROWS // COLUMNS + 2]))


def embedded(png: bytes) -> str:
    """Return a PNG as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def curves(history: pd.DataFrame, columns: tuple[str, ...], titles: tuple[str, ...]) -> str:
    """Training curves as inline SVG: one panel per column, one line per run, against images seen; seeds share a colour.

    Args:
        history: `experiment`, `seed`, `nimg` and the columns.
        titles: of the panels, one per column.
    """
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    style: Any = {
        "svg.hashsalt": "harness",  # element ids otherwise differ from run to run
        "svg.fonttype": "none",  # text stays text, in the page's font
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": "#8a94a6",
        "axes.grid": True,
        "grid.color": "#e8ebf0",
        "axes.labelcolor": "#445",
        "xtick.color": "#667",
        "ytick.color": "#667",
    }
    with plt.rc_context(style):
        figure, axes = plt.subplots(1, len(columns), figsize=(4.6 * len(columns), 2.9), squeeze=False)
        for axis, column, title in zip(axes[0], columns, titles, strict=True):
            for i, (name, runs) in enumerate(history.groupby("experiment", sort=True)):
                for j, (_, run) in enumerate(runs.groupby("seed", sort=True)):
                    points = run.sort_values("nimg")[["nimg", column]].dropna()
                    look = {"color": PALETTE[i % 8], "ls": ("-", "--", ":")[i // 8 % 3], "lw": 1.4, "ms": 3}
                    label = str(name) if j == 0 else None
                    marker = "o" if len(points) < 12 else None
                    axis.plot(points["nimg"] / 1000, points[column], marker=marker, label=label, **look)
            axis.set_xlabel("thousand images seen")
            axis.set_title(title, fontsize=10, loc="left", color="#223")
        handles, names = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, names, loc="upper center", ncols=3, frameon=False, bbox_to_anchor=(0.5, 0.0))
        figure.tight_layout()
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
        plt.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
