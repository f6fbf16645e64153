"""Memorisation on the page: numbers of the last dumps of real data, nothing where none were taken."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.files import write_json
from harness.paths import ScaleFolder
from harness.records import results
from harness.records.sample_record import Memorisation
from harness.report import copies
from tests.comparison.test_tables import STAND_IN
from tests.records import score_trees

FOUND = Memorisation(
    dataset="cifar10",
    pixels_sha256="ab" * 32,
    trained=24_000,
    mirrored=True,
    held_out="not trained on",
    held_out_dataset="cifar10",
    side=16,
    n=1000,
    n_held_out=1000,
    sample_distances=(10.04, 15.0, 20.0, 25.0, 30.0),
    held_out_distances=(11.0, 16.0, 21.0, 26.0, 31.0),
    closer=0.5312,
)


def rows(out: Path, **runs: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Rows of a scale whose last dumps' records have these memorisations."""
    folder = ScaleFolder(out)
    scores = results.load(out).scores
    for name, memorisation in runs.items():
        write_json(folder.sample_record(name.replace("_", "-"), 0, "last"), {"memorisation": memorisation})
    return copies.rows(folder, scores)


def test_a_row_says_how_near_samples_lie_beside_images_held_out(tmp_path: Path) -> None:
    score_trees.add(tmp_path, experiment="mini-conv")
    (row,) = rows(tmp_path, mini_conv=dataclasses.asdict(FOUND))
    assert (row["trained"], row["closer"], row["of"]) == ("24k", "0.53", "images of cifar10 not seen")
    assert row["samples"] == ["10.0", "25.0"]
    assert row["others"] == ["11.0", "26.0"]
    assert copies.HEADINGS == ("1%", "50%")


def test_what_samples_were_held_against_is_said_of_each_kind(tmp_path: Path) -> None:
    """Images that were trained on are not called held out."""
    own = "trained on, leave-one-out"
    for name in ("mini-conv", "mini-transgan"):
        score_trees.add(tmp_path, experiment=name)
    folder, scores = ScaleFolder(tmp_path), results.load(tmp_path).scores

    def tables(**kinds: str) -> list[copies.Compared]:
        for name, kind in kinds.items():
            said = dataclasses.asdict(FOUND) | {"held_out": kind}
            write_json(folder.sample_record(name.replace("_", "-"), 0, "last"), {"memorisation": said})
        return copies.tables(folder, scores)

    held_out, seen = tables(mini_conv="not trained on", mini_transgan=own)
    assert [row["experiment"] for row in held_out.rows] == ["mini-conv"]
    assert [row["experiment"] for row in seen.rows] == ["mini-transgan"]
    assert held_out.heading == "held out"
    assert "held out from the training" in held_out.beside
    assert seen.heading == "trained, without itself"
    assert "trained images, each held against all others but itself" in seen.beside
    assert seen.rows[0]["of"] == "images of cifar10 seen"
    (only,) = tables(mini_conv=own)
    assert len(only.rows) == 2


def test_older_records_and_stand_ins_have_no_row(tmp_path: Path) -> None:
    score_trees.add(tmp_path, experiment="mini-conv")
    score_trees.add(tmp_path, experiment="mini-transgan")
    score_trees.add(tmp_path, **STAND_IN)
    said = dataclasses.asdict(FOUND)
    assert rows(tmp_path, mini_transgan=None, quick_cifar10_transgan=said) == []


def test_numbers_that_cannot_be_are_refused(tmp_path: Path) -> None:
    score_trees.add(tmp_path, experiment="mini-conv")
    with pytest.raises(HarnessError, match=r"samples\.json: memorisation\.closer: 1\.5 "):
        rows(tmp_path, mini_conv=dataclasses.asdict(FOUND) | {"closer": 1.5})
