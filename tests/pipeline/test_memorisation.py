"""A dump's record says how near its samples lie to the trained images, and beside which images held out."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from harness.config import reader
from harness.config.experiments import Scale, find_scale
from harness.data import packed
from harness.data.fetch import prepare
from harness.errors import HarnessError
from harness.pipeline import memorisation
from harness.pipeline.sample import sample
from harness.records.sample_record import Memorisation, SampleRecord
from harness.training.experiment import train
from harness.training.image_stream import ImageStream


def measured(scale: Scale, samples: np.ndarray, nimg: int | None) -> Memorisation:
    found = memorisation.measure(scale, scale.run("f", 0), samples, nimg)
    assert found is not None
    return found


def define(root: Path, **entries: dict[str, object]) -> Scale:
    """The scale after changes of data sets' definitions."""
    path = root / "experiments/datasets.yaml"
    known = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({name: known.get(name, known["tiny"]) | new for name, new in entries.items()}))
    return find_scale(root)


def test_the_record_has_it_and_older_records_need_not(tiny_scale: Path) -> None:
    scale = find_scale(tiny_scale)
    train("f", scale=scale)
    record = sample(scale, scale.run("f", 0), n=12)
    found = record.memorisation
    assert found is not None
    assert (found.n, found.trained, found.n_held_out) == (12, 16, 24), "16 of 40 images were seen"
    assert (found.dataset, found.held_out, found.held_out_dataset) == ("tiny", "not trained on", "tiny")
    assert found.sample_distances[0] > 0
    assert list(found.sample_distances) == sorted(found.sample_distances)
    written = json.loads(scale.folder.sample_record("f", 0, "last").read_text())
    del written["sha256"]
    assert reader.read(SampleRecord, written, "here") == record
    del written["memorisation"]
    assert reader.read(SampleRecord, written, "here") == dataclasses.replace(record, memorisation=None)


def test_copies_of_seen_images_are_found_and_of_unseen_ones_are_not(tiny_scale: Path) -> None:
    scale = find_scale(tiny_scale)
    images = packed.load(tiny_scale / "data/tiny").images
    order = ImageStream(np.array(images), 0, "cpu").indices(0, 40).numpy()
    copies = measured(scale, images[order[:16]], 16)
    assert copies.sample_distances == (0,) * 5
    assert copies.held_out_distances[0] > 0
    assert copies.closer == 1
    assert measured(scale, images[order[16:]], 16).closer == 0.5, "they are the images held out"


def test_images_seen_are_held_out_one_by_one_where_all_were_seen(tiny_scale: Path) -> None:
    scale = find_scale(tiny_scale)
    images = packed.load(tiny_scale / "data/tiny").images
    for nimg in (40, 1000, 0, None):
        found = measured(scale, images[:10], nimg)
        assert (found.trained, found.held_out, found.n_held_out) == (40, "trained on, leave-one-out", 40)
        assert found.held_out_distances[0] > 0 == found.sample_distances[-1]


def test_the_test_split_is_held_out_where_it_is_packed(tiny_scale: Path) -> None:
    scale = define(tiny_scale, tiny={"held_out": "tiny-test"}, **{"tiny-test": {"count": 50, "split": "test"}})
    samples = np.zeros((5, 32, 32, 3), np.uint8)
    assert measured(scale, samples, 16).held_out == "not trained on"
    prepare("tiny-test", tiny_scale / "data/tiny-test", tiny_scale)
    found = measured(scale, samples, 16)
    assert (found.held_out, found.held_out_dataset, found.n_held_out) == ("another data set", "tiny-test", 50)
    assert measured(scale, packed.load(tiny_scale / "data/tiny-test").images[:], 16).closer == 0.5
    pixels = np.load(tiny_scale / "data/tiny-test/train.npy")
    np.save(tiny_scale / "data/tiny-test/train.npy", 255 - pixels)
    with pytest.raises(HarnessError, match=r"tiny-test: sha256 of the pixels"):
        measured(scale, samples, 16)


def test_nothing_is_measured_where_the_data_are_not_packed(tiny_scale: Path) -> None:
    (tiny_scale / "data/tiny/card.json").unlink()
    scale = find_scale(tiny_scale)
    assert memorisation.measure(scale, scale.run("f", 0), np.zeros((5, 32, 32, 3), np.uint8), 16) is None


def test_other_pixels_than_those_of_the_card_are_refused(tiny_scale: Path) -> None:
    pixels = np.load(tiny_scale / "data/tiny/train.npy")
    np.save(tiny_scale / "data/tiny/train.npy", 255 - pixels)
    with pytest.raises(HarnessError, match="sha256 of the pixels"):
        measured(find_scale(tiny_scale), pixels[:3], 16)
