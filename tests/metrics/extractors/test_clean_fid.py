"""The clean-fid scorer against the library's own path, with stand-in weights."""

import dataclasses
import importlib.metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harness.errors import HarnessError
from harness.metrics.extractors import clean_fid
from harness.metrics.extractors.base import Setup
from harness.metrics.inception.torchscript import write_script
from tests.metrics.features import distance_by_rows
from tests.metrics.inception.helpers import parameters


def images(n: int, resolution: int = 32, seed: int = 0) -> np.ndarray:
    """Coloured noise, read-only as a dump is."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 255, (n, 4, 4, 3)).repeat(resolution // 4, 1).repeat(resolution // 4, 2)
    batch = np.clip(low + rng.normal(0, 25, low.shape), 0, 255).astype(np.uint8)
    batch.flags.writeable = False
    return batch


@pytest.fixture(scope="module")
def setup(tmp_path_factory) -> Setup:
    return Setup(weights="stand-in", cache=tmp_path_factory.mktemp("cache"), threads=1, batch=4)


@pytest.fixture(scope="module")
def script(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("script") / clean_fid.SCRIPT_NAME
    write_script(parameters(), path)
    return path


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


# ---------------------------------------------------------------- features


@pytest.mark.verifies("clean scorer's features equal the clean-fid library's (2048 channels, stand-in weights)")
def test_clean_features_are_the_librarys_own(setup, script):
    from cleanfid.inception_torchscript import InceptionV3W
    from cleanfid.resize import build_resizer

    batch = images(2)
    resized = np.stack([build_resizer("clean")(image) for image in batch]).transpose(0, 3, 1, 2)
    with torch.no_grad():
        expected = InceptionV3W(str(script.parent), download=False)(torch.from_numpy(resized)).numpy()
    extractor = clean_fid.open_extractor(setup)
    features, logits = extractor(batch)
    assert features.shape == (2, 2048)
    assert features.dtype == np.float32
    assert logits is None
    assert relative(expected[0], expected[1]) > 1e-2  # the images can be told apart, far beyond the tolerance
    assert relative(features, expected) < 1e-5
    assert (extractor.scorer, extractor.resizer, extractor.kind) == ("clean", "clean-bicubic", "stand-in")
    assert extractor.versions == {"clean-fid": "0.1.35", "torch": torch.__version__}
    # a short last batch gives the same rows
    assert relative(extractor(batch[1:])[0], features[1:]) < 1e-5


@pytest.mark.slow
def test_legacy_features_are_the_librarys_own_and_other_ones(setup, script):
    from cleanfid.inception_torchscript import InceptionV3W

    batch = images(1)
    pixels = torch.tensor(batch).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        expected = InceptionV3W(str(script.parent), download=False, resize_inside=True)(pixels).numpy()
    legacy = clean_fid.open_extractor(setup, "tf1-bilinear")
    assert legacy.resizer == "tf1-bilinear"
    assert relative(legacy(batch)[0], expected) < 1e-5
    # the resize inside the written script is TensorFlow 1's
    ours = clean_fid.module_features(parameters(), 2048, "legacy_tensorflow", torch.device("cpu"))
    with torch.inference_mode():
        assert relative(ours(batch).numpy(), expected) < 1e-5
        clean = clean_fid.module_features(parameters(), 2048, "clean", torch.device("cpu"))(batch).numpy()
    assert relative(clean, expected) > 1e-3


@pytest.mark.parametrize("layer", [64, 192])
def test_shallow_layers_use_the_librarys_resize(setup, layer):
    from cleanfid.resize import build_resizer

    from harness.metrics.inception import torch_module

    batch = images(2, 48)
    resized = np.stack([build_resizer("clean")(image) for image in batch]).transpose(0, 3, 1, 2)
    with torch.no_grad():
        expected = torch_module.build(parameters(), layer)(torch.from_numpy(resized)).numpy()
    features, _ = clean_fid.open_extractor(dataclasses.replace(setup, layer=layer))(batch)
    assert features.shape == (2, layer)
    assert relative(features, expected) < 1e-5


@pytest.mark.parametrize("resizer", ["clean-bicubic", "tf1-bilinear"])
def test_floats_are_taken_and_a_batch_cut_into_parts_has_the_same_features(setup, resizer):
    extractor = clean_fid.open_extractor(dataclasses.replace(setup, layer=64), resizer)
    batch = images(33)
    whole, _ = extractor(batch)
    alone = np.concatenate([extractor(batch[i : i + 3])[0] for i in range(0, 33, 3)])
    assert relative(alone, whole) < 1e-5
    np.testing.assert_array_equal(extractor(batch.astype(np.float32))[0], whole)
    assert relative(extractor(batch + np.float32(0.4))[0], whole) > 1e-4, "nothing is rounded"


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["clean", "legacy_tensorflow"])
def test_fid_is_the_librarys_own_from_png_folders(setup, script, tmp_path, mode):
    """compute_fid of the library, its loader, resize, network and square root, against ours."""
    from cleanfid.fid import compute_fid
    from cleanfid.inception_torchscript import InceptionV3W

    sets = [images(24, seed=1), images(20, seed=2) // 2]
    for name, batch in zip("ab", sets, strict=True):
        (tmp_path / name).mkdir()
        for i, image in enumerate(batch):
            Image.fromarray(image).save(tmp_path / name / f"{i:03d}.png")
    network = InceptionV3W(str(script.parent), download=False, resize_inside=mode == "legacy_tensorflow")
    options = {"num_workers": 0, "batch_size": 8, "device": torch.device("cpu"), "verbose": False}
    expected = compute_fid(
        str(tmp_path / "a"), str(tmp_path / "b"), mode=mode, custom_feat_extractor=network, **options
    )
    extractor = clean_fid.open_extractor(setup, {mode: resizer for resizer, mode in clean_fid.MODES.items()}[mode])
    real, fake = (np.concatenate([extractor(s[i : i + 4])[0] for i in range(0, len(s), 4)]) for s in sets)
    assert distance_by_rows(real.astype(float), fake.astype(float)) == pytest.approx(expected, rel=1e-3)


# ---------------------------------------------------------------- refusals


def test_no_script_is_read_or_left(setup, tmp_path, monkeypatch):
    """A script in the cache is code of somebody else's; ours is written for the process alone."""
    place = tmp_path / "inception" / clean_fid.SCRIPT_NAME
    place.parent.mkdir()
    place.write_bytes(b"another's")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    clean_fid.open_extractor(dataclasses.replace(setup, cache=tmp_path))
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == [clean_fid.SCRIPT_NAME]
    assert place.read_bytes() == b"another's"


def test_another_version_of_the_library_is_refused(setup, monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.1.36")
    with pytest.raises(HarnessError, match=r"needs clean-fid 0\.1\.35, found 0\.1\.36"):
        clean_fid.open_extractor(setup)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_missing_device_is_refused(setup):
    with pytest.raises(HarnessError, match="torch sees no GPU"):
        clean_fid.open_extractor(dataclasses.replace(setup, device="cuda"))
