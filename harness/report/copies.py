"""Memorisation in numbers: how near samples lie to the trained images, beside images held out."""

from typing import Any

import pandas as pd

from harness.comparison import words
from harness.config import reader
from harness.files import read_json
from harness.paths import ScaleFolder
from harness.records.sample_record import QUANTILES, Memorisation

SHOWN = (0.01, 0.5)  # of `QUANTILES`
HELD_OUT = {
    "another data set": "{name}",
    "not trained on": "images of {name} not seen",
    "trained on, leave-one-out": "images of {name} seen, each without itself",
}
HEADINGS = tuple(f"{q:.0%}" for q in SHOWN)


def rows(out: ScaleFolder, scores: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a row a training on real images whose last dump says it; distances as `HEADINGS` name them.

    Raises:
        HarnessError: a record that is none.
    """
    real = scores[(scores["stand_in_data"] == False) & (scores["snapshot"] == "last")]  # noqa: E712 (None is unknown)
    found = []
    for one in real.drop_duplicates(["experiment", "seed"]).sort_values(["experiment", "seed"]).to_dict("records"):
        path = out.sample_record(one["experiment"], one["seed"], "last")
        said = read_json(path).get("memorisation") if path.is_file() else None
        if said is None:
            continue
        memorisation = reader.read(Memorisation, said, f"{path}: memorisation")
        found.append(
            {
                "experiment": one["experiment"],
                "seed": str(one["seed"]),
                "trained": words.count(memorisation.trained),
                "samples": _distances(memorisation.sample_distances),
                "held_out": _distances(memorisation.held_out_distances),
                "closer": f"{memorisation.closer:.2f}",
                "of": HELD_OUT[memorisation.held_out].format(name=memorisation.held_out_dataset),
            }
        )
    return found


def _distances(quantiles: tuple[float, ...]) -> list[str]:
    return [f"{quantiles[QUANTILES.index(q)]:.1f}" for q in SHOWN]
