"""A dump is drawn from a snapshot of the planned training, and says so."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml

import harness
from harness.config.experiments import Scale, find_scale
from harness.config.reader import merge
from harness.data.images import open_dump
from harness.errors import HarnessError
from harness.files import sha256_file
from harness.pipeline.sample import sample
from harness.records import chain
from harness.training.experiment import train
from tests.devices import DEVICES
from tests.metrics.inception.helpers import PixelExtractor


def asking_for(scale: Scale, variants: list[str]) -> Scale:
    """The scale with protocols that ask for these variants of f's dump."""
    dump = replace(scale.params.dumps["f-seed0-last"], variants=tuple(variants))
    return replace(scale, params=replace(scale.params, dumps={**scale.params.dumps, "f-seed0-last": dump}))


def test_the_variants_asked_for_are_written_and_recorded(tiny_scale: Path) -> None:
    scale = find_scale(tiny_scale)
    train("f", scale=scale)
    run = scale.run("f", 0)
    plain = sample(asking_for(scale, ["rounded"]), run, n=70)
    assert {path.name for path in scale.folder.samples("f", 0, "last").iterdir()} == {"rounded.npy"}
    several = sample(asking_for(scale, ["truncated", "float", "min-max"]), run, n=70)
    assert several.samples_sha256 == plain.samples_sha256 == plain.files["rounded.npy"].sha256, "it names the drawing"
    card = scale.folder.sample_record("f", 0, "last")
    chain.check_sample(card, json.loads(card.read_text()))
    assert set(several.files) == {"truncated.npy", "float.npy", "min-max.npy"}
    for name, file in several.files.items():
        images, _ = open_dump(scale.folder.samples("f", 0, "last") / name, card)
        assert (images.quantisation, images.sha256()) == (file.quantisation, file.sha256)
        assert images.pixels[0:70].dtype == (np.float32 if name == "float.npy" else np.uint8)
    np.save(scale.folder.dump("f", 0, "last"), np.zeros((70, 32, 32, 3), np.uint8))
    with pytest.raises(HarnessError, match=r"says nothing of rounded\.npy, only of float\.npy, min-max\.npy, trunc"):
        open_dump(scale.folder.dump("f", 0, "last"), card)


def test_a_dump_of_floats_is_scored_as_its_record_says(tiny_scale: Path, pixel_scorer: list[PixelExtractor]) -> None:
    scale = find_scale(tiny_scale)
    train("f", scale=scale)
    sample(asking_for(scale, ["float", "rounded"]), scale.run("f", 0), n=20)
    card, found = scale.folder.sample_record("f", 0, "last"), {}
    score = partial(harness.score, reference="tiny", record=card, layer=64, cache=tiny_scale, root=tiny_scale)
    for variant in ("float", "rounded"):
        found[variant] = score(scale.folder.dump("f", 0, "last", variant), n=15)
    assert found["float"].protocol.quantisation == "float"
    assert found["float"].values != found["rounded"].values
    assert found["float"].values.fid == pytest.approx(found["rounded"].values.fid, rel=0.1)
    for variant, record in found.items():
        said = json.loads(card.read_text())["files"][f"{variant}.npy"]
        assert record.content.dump_sha256 == said["sha256"] != record.content.samples_sha256
        chain.check_score(Path("score.json"), record, card, json.loads(card.read_text()))
    other = replace(found["float"], protocol=replace(found["float"].protocol, quantisation="uint8, truncated"))
    with pytest.raises(HarnessError, match="says nothing of samples as uint8, truncated"):
        chain.check_score(Path("score.json"), other, card, json.loads(card.read_text()))
    with pytest.raises(HarnessError, match="already says float"):
        score(scale.folder.dump("f", 0, "last", "float"), declared={"quantisation": "uint8, rounded"})


def test_only_the_planned_training_is_sampled(tiny_scale: Path) -> None:
    scale = find_scale(tiny_scale)
    train("f", scale=scale)
    record = sample(scale, scale.run("f", 0), n=3)
    assert json.loads(scale.folder.sample_record("f", 0, "last").read_text())["samples_sha256"] == record.samples_sha256
    assert record.weights_sha256 == sha256_file(scale.folder.weights("f", 0, "last"))
    with pytest.raises(HarnessError, match="no snapshot 'bset'; the recipe keeps last, best, 8"):
        sample(scale, scale.run("f", 0), "bset")

    path = tiny_scale / "experiments/tables/tiny.yaml"
    changed = {"f": {"changes": {"discriminator_optimiser": {"lr": 0.5}}}}
    path.write_text(yaml.safe_dump(merge(yaml.safe_load(path.read_text()), changed)))
    scale = find_scale(tiny_scale)
    with pytest.raises(
        HarnessError, match=r"planned otherwise since then \(recipe\.discriminator_optimiser\.lr: 0\.001"
    ):
        sample(scale, scale.run("f", 0), n=3)


@pytest.mark.parametrize("device", DEVICES)
def test_a_device_trains_and_draws_what_a_cpu_draws(tiny_scale: Path, device: str) -> None:
    """Of the same weights and latents; float arithmetic may move a value over the edge of a level."""
    scale = find_scale(tiny_scale)
    trained, run = train("f", scale=scale, device=device), scale.run("f", 0)
    dumps = {}
    for place in (device, "cpu"):
        record = sample(scale, run, n=8, device=place)
        assert record.provenance["device"] == place
        dumps[place] = np.load(scale.folder.dump("f", 0, "last")).astype(int)
    assert trained.provenance["device"] == device
    assert len(np.unique(dumps["cpu"])) > 10, "an image says something"
    off = np.abs(dumps[device] - dumps["cpu"])
    assert off.max() <= 1
    assert (off > 0).mean() < 0.01
