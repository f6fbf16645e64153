"""Released weights stand where a training's would, or the run is refused."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from harness.cli import group
from harness.errors import HarnessError
from harness.files import sha256_file
from harness.networks import registry
from harness.networks.generator_file import save_generator
from harness.paths import Checkout
from harness.records import train_record

SPEC = {"model": "transgan-xs", "width": 64, "depths": [1, 1], "latent_dim": 8}


@pytest.fixture
def folder(tiny_scale: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny scale, whose experiment `e` names a released file; the working directory."""
    path = tiny_scale / "experiments/tables/tiny.yaml"
    tables = yaml.safe_load(path.read_text())
    tables["e"]["checkpoint"] = "released.safetensors"
    path.write_text(yaml.safe_dump(tables))
    monkeypatch.chdir(tiny_scale)
    monkeypatch.setenv("HARNESS_CHECKPOINTS", str(tiny_scale))
    return tiny_scale


def run(*arguments: str) -> None:
    group.main(list(arguments), standalone_mode=False)


def released(folder: Path, nimg: int = 0, **metadata: str) -> torch.nn.Module:
    generator = registry.build("generator", SPEC, 32)
    save_generator(folder / "released.safetensors", generator, nimg, metadata)
    return generator


def test_imported_weights_are_sampled(folder: Path):
    released(folder, checkpoint_sha256="0" * 64)
    run("train", "e")
    run("sample", "e")
    record = json.loads((folder / "out/records/e/seed0/train/train.json").read_text())
    assert record["origin"]["checkpoint_sha256"] == "0" * 64
    published = (folder / "out/runs/e/seed0/weights/last.safetensors").read_bytes()
    assert published == (folder / "released.safetensors").read_bytes()


def test_a_stage_depends_on_the_checkout_s_own_file(folder: Path):
    """It is copied once; what stands in the other folder later changes nothing until it is obtained again."""
    released(folder, checkpoint_sha256="0" * 64)
    run("import", "released", "released.safetensors")
    own = folder / "data/checkpoints/released.safetensors"
    first = own.read_bytes()
    released(folder, checkpoint_sha256="1" * 64)
    run("train", "e")
    assert own.read_bytes() == first
    record = json.loads((folder / "out/records/e/seed0/train/train.json").read_text())
    assert record["origin"]["checkpoint_sha256"] == "0" * 64
    run("import", "released", "released.safetensors")
    assert own.read_bytes() != first


def test_without_the_other_folder_the_checkout_s_own_file_is_taken(folder: Path, monkeypatch: pytest.MonkeyPatch):
    released(folder, checkpoint_sha256="0" * 64)
    run("import", "released", "released.safetensors")
    monkeypatch.delenv("HARNESS_CHECKPOINTS")
    (folder / "released.safetensors").unlink()
    run("import", "released", "released.safetensors")
    (folder / "data/checkpoints/released.safetensors").unlink()
    with pytest.raises(HarnessError, match=r"harness import transgan FILE --out .*now unset"):
        run("import", "released", "released.safetensors")


def test_untrained_weights_never_stand_for_released_ones(folder: Path):
    with pytest.raises(HarnessError, match="harness import"):
        run("train", "e")
    released(folder)
    with pytest.raises(HarnessError, match="not written by `harness import`"):
        run("train", "e")
    assert not (folder / "out/runs/e/seed0/weights/last.safetensors").exists()


def test_released_weights_are_checked_and_recorded_like_a_training_s(folder: Path):
    released(folder, nimg=999, checkpoint_sha256="0" * 64)
    with pytest.raises(HarnessError, match="says nimg '999', expected '0'"):
        run("train", "e")
    Checkout(folder).released("released.safetensors").unlink()  # the copy that was taken into the checkout
    released(folder, checkpoint_sha256="0" * 64)
    chosen = folder / "out/runs/e/seed0/chosen/best.safetensors"
    chosen.parent.mkdir(parents=True)
    chosen.write_bytes(b"of an earlier training")
    run("train", "e")
    assert not chosen.exists()
    record = train_record.read(folder / "out/records/e/seed0/train/train.json")
    published = folder / "out/runs/e/seed0/weights/last.safetensors"
    assert record.weights_sha256 == {"last": sha256_file(published)}
    assert record.history_sha256 == sha256_file(folder / "out/records/e/seed0/train/history.csv")
    released(folder, checkpoint_sha256="1" * 64)
    published.write_bytes((folder / "released.safetensors").read_bytes())
    with pytest.raises(HarnessError, match="its record says"):
        run("sample", "e")
