"""`harness.train`, the function behind the subcommand, and the chain from the data set's card to the dump."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

import harness
from harness.cli import run
from harness.errors import HarnessError
from harness.files import sha256_file
from harness.records import train_record


def test_an_experiment_is_trained_from_a_notebook(tiny_scale: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tiny_scale / "deeper").mkdir()
    monkeypatch.chdir(tiny_scale / "deeper")
    record = harness.train("e")
    assert train_record.read(tiny_scale / "out/records/e/seed0/train/train.json") == record
    weights = tiny_scale / "out/runs/e/seed0/weights"
    assert record.weights_sha256 == {name: sha256_file(weights / f"{name}.safetensors") for name in ("8", "last")}
    assert (record.run.experiment, record.nimg, record.provenance["threads"]) == ("e", 16, 1)
    card = json.loads((tiny_scale / "data/tiny/card.json").read_text())
    assert record.provenance["pixels_sha256"] == card["pixels_sha256"]
    monkeypatch.chdir("/")
    again = harness.train("e", 0, scale=tiny_scale / "params.yaml", device="cpu", threads=1)
    assert again.weights_sha256 == record.weights_sha256
    assert run(["sample", "e", "--root", str(tiny_scale), "--n", "3"]) == 0, "from outside of the checkout"
    # the next stage opens these weights by the record, and no others
    monkeypatch.chdir(tiny_scale)
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["runs"]["e-seed1"] = params["runs"]["e-seed0"] | {"seed": 1}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    assert run(["train", "e", "--seed", "1"]) == 0
    (weights / "last.safetensors").write_bytes(Path("out/runs/e/seed1/weights/last.safetensors").read_bytes())
    assert run(["sample", "e"]) == 1
    assert np.load("out/runs/e/seed0/last/samples/rounded.npy").shape == (3, 32, 32, 3), "the earlier dump is intact"


def test_pixels_of_another_card_are_not_trained_on(tiny_scale: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tiny_scale / "data/tiny/train.npy"
    pixels = np.load(path)
    pixels[3, 5, 7] ^= 1
    np.save(path, pixels)
    with pytest.raises(HarnessError, match=r"card\.json says"):
        harness.train("e", scale=tiny_scale)
    assert not (tiny_scale / "out").exists()
    assert not (tiny_scale / ".checkpoints").exists()


@pytest.mark.parametrize(("device", "message"), [("gpu", "device 'gpu' is unknown"), ("cuda:99", "GPU.* here")])
def test_a_device_that_is_not_there_is_a_sentence(device: str, message: str, tiny_scale: Path) -> None:
    with pytest.raises(HarnessError, match=message):
        harness.train("e", scale=tiny_scale, device=device)


def test_a_stopped_subcommand_says_so(
    tiny_scale: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tiny_scale)
    assert run(["train", "e", "--seed", "7", "--stop-after-nimg", "8"]) == 1
    assert "plans no training of 'e' with seed 7" in capsys.readouterr().err
    assert not Path("out").exists()
    assert run(["train", "e", "--stop-after-nimg", "8"]) == 143
    assert "run again to go on" in capsys.readouterr().err
    stopped = Path("out/records/e/seed0/train/stopped.json")
    assert json.loads(stopped.read_text())["nimg"] == 8
    assert run(["train", "e"]) == 0
    assert not stopped.exists()
