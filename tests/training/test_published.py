"""What a training leaves for the next stages: only when it is done, and only its own files."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.training.loop import TrainingStopped
from tests.training import tiny


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Outcome of the MLP run without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    tiny.fit(tiny.run(), folder)
    return tiny.outcome(folder)


def test_outputs_deleted_by_the_pipeline_lose_nothing(tmp_path: Path, whole: dict[str, Any]) -> None:
    import shutil

    with pytest.raises(TrainingStopped):
        tiny.fit(tiny.run(), tmp_path, stop_nimg=120)
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    tiny.fit(tiny.run(), tmp_path)
    shutil.rmtree(tmp_path / "out")
    tiny.fit(tiny.run(), tmp_path)
    tiny.assert_same(whole, tiny.outcome(tmp_path))


def test_stale_weights_never_stand_for_an_unfinished_run(tmp_path: Path) -> None:
    tiny.fit(tiny.run(), tmp_path)
    with pytest.raises(TrainingStopped):
        tiny.fit(tiny.run(seed=1), tmp_path, stop_nimg=80)
    assert not list((tmp_path / "out" / "weights").glob("*"))


def test_recipe_of_no_length_exports_the_untrained_generator(tmp_path: Path) -> None:
    run = tiny.run(length_nimg=0, snapshots_nimg=())
    tiny.fit(run, tmp_path)
    torch.manual_seed(tiny.derive_seed(0, "generator"))
    expected = tiny.build("generator", {"model": "mlp"}, 8).state_dict()
    generator = tiny.build("generator", {"model": "mlp"}, 8)
    assert tiny.load_generator(generator, tmp_path / "out" / "weights" / "last.safetensors") == 0
    assert all(torch.equal(tensor, expected[name]) for name, tensor in generator.state_dict().items())
    assert json.loads((tmp_path / "out" / "train" / "train.json").read_text())["nimg"] == 0


def test_published_files(tmp_path: Path) -> None:
    tiny.fit(tiny.run(), tmp_path)
    out = tmp_path / "out"
    assert {p.name for p in (out / "weights").iterdir()} == {"60.safetensors", "100.safetensors", "last.safetensors"}
    assert sorted(p.name for p in (out / "train" / "grids").iterdir()) == [f"{n:09d}.png" for n in (0, 80, 160)]
    generator = tiny.build("generator", {"model": "mlp"}, 8)
    seen = {n: tiny.load_generator(generator, out / "weights" / f"{n}.safetensors") for n in ("100", "last")}
    assert seen == {"100": 104, "last": 160}
    record = json.loads((out / "train" / "train.json").read_text())
    assert record["cost"]["images"] == 160
    assert record["cost"]["images_per_sec"] == pytest.approx(160 / record["cost"]["wall_sec"])
    rows = tiny.history.read(out / "train" / "history.csv")
    assert [int(row["nimg"]) for row in rows] == [48, 96, 144, 160]
    measured = ("discriminator_loss", "generator_loss", "penalty", "images_per_sec")
    assert all(np.isfinite(float(row[key])) for row in rows for key in measured)


def test_what_was_chosen_does_not_survive_another_training(tmp_path: Path) -> None:
    tiny.fit(tiny.run(), tmp_path)
    best = tmp_path / "out/chosen/best.safetensors"
    best.parent.mkdir()
    best.write_bytes(b"chosen among these weights")
    tiny.fit(tiny.run(), tmp_path)
    assert best.exists(), "the same weights, published once more"
    with pytest.raises(TrainingStopped):
        tiny.fit(tiny.run(seed=1), tmp_path, stop_nimg=80)
    assert not best.exists()
    assert not (tmp_path / "out/train/train.json").exists(), "nor does the record of those weights"


def test_a_finished_training_replaces_what_another_one_published(tmp_path: Path) -> None:
    """Its own work is done, so nothing is trained; yet the folder may hold another training's files."""
    tiny.fit(tiny.run(), tmp_path)
    tiny.fit(tiny.run(seed=1, snapshots_nimg=(16,), grids_nimg=(16,)), tmp_path)
    (tmp_path / "out/chosen").mkdir()
    (tmp_path / "out/chosen/best.safetensors").write_bytes(b"chosen among these weights")
    tiny.fit(tiny.run(), tmp_path)
    out = tmp_path / "out"
    assert {p.name for p in (out / "weights").iterdir()} == {"60.safetensors", "100.safetensors", "last.safetensors"}
    assert sorted(p.name for p in (out / "train" / "grids").iterdir()) == [f"{n:09d}.png" for n in (0, 80, 160)]
    assert not list((out / "chosen").iterdir())


def test_the_record_names_the_content_of_every_file(tmp_path: Path) -> None:
    from harness.files import sha256_file
    from harness.records import train_record

    tiny.fit(tiny.run(), tmp_path)
    out = tmp_path / "out"
    record = train_record.read(out / "train/train.json")
    assert record.weights_sha256 == {p.stem: sha256_file(p) for p in (out / "weights").iterdir()}
    assert record.history_sha256 == sha256_file(out / "train/history.csv")
    assert record.provenance["threads"] == 1
    for path in (*out.glob("weights/*"), *(tmp_path / "work").glob("*/*/*")):
        assert not path.is_file() or path.stat().st_mode & 0o777 == 0o666 & ~umask(), path


def test_folders_that_a_pipeline_hashes_never_hold_a_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, hashed = os.replace, [tmp_path / "out/weights", tmp_path / "out/train/grids"]
    published: list[str] = []

    def checked(source: Path, target: Path) -> None:
        assert Path(source).parent not in hashed, "a kill would leave it there"
        published.extend([Path(target).name] if Path(target).parent in hashed else [])
        replace(source, target)

    monkeypatch.setattr(os, "replace", checked)
    tiny.fit(tiny.run(), tmp_path)
    assert len(published) == 6


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
