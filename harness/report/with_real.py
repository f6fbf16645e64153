"""A page for this machine alone: samples beside real images, and beside the trained image nearest to each."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.comparison import words
from harness.data import packed
from harness.data.images import open_dump
from harness.errors import HarnessError
from harness.files import read_json, write_text
from harness.pipeline import memorisation
from harness.report import drawing
from harness.report.page import render
from harness.report.pictures import embedded
from harness.sampling.grid import grid

if TYPE_CHECKING:
    from harness.config.experiments import Run, Scale

SHOWN = 16  # samples of a training, and real images of a data set


def write(scale: "Scale", file: Path) -> Path:
    """Write the page of every training whose last dump and data set are on this machine; return its path.

    Raises:
        HarnessError: `file` lies in the folder of results, whose pages are committed; there is no dump with its data;
            or a dump or a data set is damaged.
    """
    file = Path(file).absolute()
    for folder in {scale.checkout.results.resolve(), scale.out.resolve()}:
        if file.resolve().is_relative_to(folder):
            raise HarnessError(
                f"{file}: lies in {folder}, where pages are committed, and images of a data set must not be; "
                "name a file elsewhere."
            )
    datasets: dict[str, dict[str, Any]] = {}
    for key in scale.params.runs.values():
        run = scale.run(key.experiment, key.seed)
        row = _row(scale, run)
        if row is None:
            continue
        if run.dataset not in datasets:
            datasets[run.dataset] = _dataset(scale, run.dataset)
        datasets[run.dataset]["runs"].append(row)
    if not datasets:
        raise HarnessError(
            f"{scale.out}: no training has its last dump and its data set on this machine; run "
            "`harness sample EXPERIMENT` and `harness data NAME`, or `dvc pull`."
        )
    colours = {"light": drawing.palette(drawing.LIGHT), "dark": drawing.palette(drawing.DARK)}
    shown = {"scale": scale.params.scale, "datasets": list(datasets.values())}
    write_text(file, render(shown | colours, "with_real.html.j2"))
    return file


def _dataset(scale: "Scale", name: str) -> dict[str, Any]:
    data = packed.load(scale.checkout.data(name))
    tiles = np.array(data.images[:SHOWN])
    return {
        "name": name,
        "n": len(tiles),
        "uri": embedded(grid(tiles, SHOWN // 2)),
        "alt": f"the first {len(tiles)} images of {name}",
        "licence": f"Licence: {data.card.get('licence')}.",
        "runs": [],
    }


def _row(scale: "Scale", run: "Run") -> dict[str, Any] | None:
    place = (run.experiment, run.seed, "last")
    record, dump = scale.folder.sample_record(*place), scale.folder.dump(*place)
    if not (record.is_file() and dump.is_file() and (scale.checkout.data(run.dataset) / packed.CARD).is_file()):
        return None
    images, _ = open_dump(dump, record)
    samples = np.concatenate(list(images.first(min(SHOWN, len(images))).stream(SHOWN)))
    said = read_json(record)
    seen = said["nimg"] if said.get("digest") is not None else None
    distances, nearest = memorisation.neighbours(scale, run, samples, seen)
    return {
        "experiment": run.experiment,
        "seed": run.seed,
        "images": words.count(said["nimg"]),
        "n": len(samples),
        "samples": embedded(grid(samples, SHOWN // 2)),
        "nearest": embedded(grid(nearest, SHOWN // 2)),
        "distances": [f"{distance:.0f}" for distance in distances],
    }
