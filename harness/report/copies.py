"""Memorisation in numbers: how near samples lie to the trained images, beside other images."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.comparison import words
from harness.config import reader
from harness.files import read_json
from harness.paths import ScaleFolder
from harness.records.sample_record import QUANTILES, Memorisation

SHOWN = (0.01, 0.5)  # of `QUANTILES`
OTHERS = {  # `Memorisation.held_out` -> the images that samples are held against
    "another data set": "{name}",
    "not trained on": "images of {name} not seen",
    "trained on, leave-one-out": "images of {name} seen",
}
HEADINGS = tuple(f"{q:.0%}" for q in SHOWN)


@dataclass(frozen=True)
class Compared:
    """Trainings whose samples were held against images of one kind, and the words for these images."""

    rows: list[dict[str, Any]]
    heading: str
    beside: str
    half: str


def tables(out: ScaleFolder, scores: pd.DataFrame) -> list[Compared]:
    """Return a table a kind of images that samples were held against: held out, or trained on and without themselves.

    Raises:
        HarnessError: see `rows`.
    """
    found = rows(out, scores)
    held_out, own = ([row for row in found if row["held_out"] is kind] for kind in (True, False))
    kinds = (
        Compared(
            held_out,
            "held out",
            "beside the same of images that were held out from the training",
            "samples lie as near as new images do",
        ),
        Compared(
            own,
            "trained, without itself",
            "beside the same of trained images, each held against all others but itself, as none were held out",
            "samples lie as near to trained images as these lie to each other",
        ),
    )
    return [kind for kind in kinds if kind.rows]


def rows(out: ScaleFolder, scores: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a row a training on real images whose last dump says it; distances as `HEADINGS` name them.

    `others`: distances of the images `of` that the samples are held against; `held_out`: whether none of them was
    trained on.

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
                "others": _distances(memorisation.held_out_distances),
                "held_out": memorisation.held_out != "trained on, leave-one-out",
                "closer": f"{memorisation.closer:.2f}",
                "of": OTHERS[memorisation.held_out].format(name=memorisation.held_out_dataset),
            }
        )
    return found


def _distances(quantiles: tuple[float, ...]) -> list[str]:
    return [f"{quantiles[QUANTILES.index(q)]:.1f}" for q in SHOWN]
