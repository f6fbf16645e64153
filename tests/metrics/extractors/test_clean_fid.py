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
from harness.metrics.fid import from_features
from harness.metrics.inception import topology, weights


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
def found(setup) -> weights.Weights:
    return weights.load("stand-in", setup.cache)


@pytest.fixture(scope="module")
def script(setup, found) -> Path:
    return clean_fid.find_script(found, setup.cache)[0]


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
    assert extractor.versions == {"clean-fid": "0.1.35", "torch": torch.__version__, "torchscript": "graph"}
    # a short last batch gives the same rows
    assert relative(extractor(batch[1:])[0], features[1:]) < 1e-5


@pytest.mark.slow
def test_legacy_features_are_the_librarys_own_and_other_ones(setup, found, script):
    from cleanfid.inception_torchscript import InceptionV3W

    batch = images(1)
    pixels = torch.tensor(batch).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        expected = InceptionV3W(str(script.parent), download=False, resize_inside=True)(pixels).numpy()
    legacy = clean_fid.open_extractor(dataclasses.replace(setup, clean_mode="legacy_tensorflow"))
    assert legacy.resizer == "tf1-bilinear"
    assert relative(legacy(batch)[0], expected) < 1e-5
    # the resize inside the written script is TensorFlow 1's
    ours = clean_fid.module_features(found, 2048, "legacy_tensorflow", torch.device("cpu"))
    with torch.inference_mode():
        assert relative(ours(batch).numpy(), expected) < 1e-5
        clean = clean_fid.module_features(found, 2048, "clean", torch.device("cpu"))(batch).numpy()
    assert relative(clean, expected) > 1e-3


@pytest.mark.parametrize("layer", [64, 192])
def test_shallow_layers_use_the_librarys_resize(setup, found, layer):
    from cleanfid.resize import build_resizer

    from harness.metrics.inception import torch_module

    batch = images(2, 48)
    resized = np.stack([build_resizer("clean")(image) for image in batch]).transpose(0, 3, 1, 2)
    with torch.no_grad():
        expected = torch_module.build(found.parameters, layer)(torch.from_numpy(resized)).numpy()
    features, _ = clean_fid.open_extractor(dataclasses.replace(setup, layer=layer))(batch)
    assert features.shape == (2, layer)
    assert relative(features, expected) < 1e-5


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
    extractor = clean_fid.open_extractor(dataclasses.replace(setup, clean_mode=mode))
    real, fake = (np.concatenate([extractor(s[i : i + 4])[0] for i in range(0, len(s), 4)]) for s in sets)
    assert from_features(real, fake).value == pytest.approx(expected, rel=1e-3)


# ---------------------------------------------------------------- the TorchScript


def test_written_script_holds_the_graphs_tensors_and_has_nvidias_interface(script, found, setup):
    clean_fid.verify_script(script, found.parameters)
    assert script.name == "inception-2015-12-05.pt"
    assert setup.cache in script.parents
    network = torch.jit.load(str(script))
    pixels = torch.tensor(images(1)).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        features, p = network(pixels, return_features=True), network(pixels)
    assert features.shape == (1, 2048)
    logits = features.numpy() @ found.parameters.softmax_weights + found.parameters.softmax_biases
    np.testing.assert_allclose(p, torch.from_numpy(logits).softmax(1), atol=1e-5)


def small_parameters(gamma: float = 1.0) -> topology.Parameters:
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    conv = topology.ConvParameters(
        normal(3, 3, 3, 40), np.full(40, gamma, np.float32), normal(40), normal(40), normal(40) ** 2
    )
    return topology.Parameters({"conv": conv}, normal(40, 50), normal(50))


class Holder(torch.nn.Module):
    def __init__(self, tensors: list[torch.Tensor]):
        super().__init__()
        for i, tensor in enumerate(tensors):
            self.register_buffer(f"t{i}", tensor.clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def nvidias(parameters: topology.Parameters) -> list[torch.Tensor]:
    """The tensors as NVIDIA stores them: torch's layouts, no batch-norm scale."""
    conv = parameters.convs["conv"]
    assert parameters.softmax_weights is not None
    arrays = [conv.kernel.transpose(3, 2, 0, 1), conv.mean, conv.variance, conv.beta]
    arrays += [parameters.softmax_weights.T, parameters.softmax_biases]
    return [torch.tensor(np.ascontiguousarray(a)) for a in arrays]


def saved(tensors: list[torch.Tensor], folder: Path) -> Path:
    path = folder / "inception-2015-12-05.pt"
    torch.jit.save(torch.jit.script(Holder(tensors)), str(path))
    return path


def test_verification_accepts_any_names_and_order_and_no_scale(tmp_path):
    parameters = small_parameters()
    tensors = [*reversed(nvidias(parameters)), torch.tensor(128.0), torch.ones(40), torch.tensor([3])]
    clean_fid.verify_script(saved(tensors, tmp_path), parameters)


@pytest.mark.parametrize("index", range(6))
def test_verification_notices_one_changed_number(tmp_path, index):
    parameters = small_parameters()
    tensors = nvidias(parameters)
    tensors[index].flatten()[7:8] *= 1 + 1e-6
    with pytest.raises(HarnessError, match="of the graph is not in it"):
        clean_fid.verify_script(saved(tensors, tmp_path), parameters)


def test_verification_notices_a_missing_scale_that_matters_and_a_foreign_tensor(tmp_path):
    with pytest.raises(HarnessError, match="conv/gamma of the graph"):
        clean_fid.verify_script(saved(nvidias(small_parameters()), tmp_path), small_parameters(gamma=1.5))
    foreign = [*nvidias(small_parameters()), torch.randn(40)]
    with pytest.raises(HarnessError, match="t6 is not in the graph"):
        clean_fid.verify_script(saved(foreign, tmp_path), small_parameters())


def test_a_truncated_script_is_refused(tmp_path):
    path = saved(nvidias(small_parameters()), tmp_path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(HarnessError, match="not a readable TorchScript"):
        clean_fid.verify_script(path, small_parameters())


def official(parameters: topology.Parameters, folder: Path) -> weights.Weights:
    found = weights.Weights("official", folder / "classify_image_graph_def.pb", "0" * 64)
    found.__dict__["parameters"] = parameters  # what the cached property would have read
    return found


def test_nvidias_file_beside_the_official_graph_is_verified_and_used(tmp_path):
    parameters = small_parameters()
    path = saved(nvidias(parameters), tmp_path)
    assert clean_fid.find_script(official(parameters, tmp_path), tmp_path / "cache") == (path, "nvidia")
    other = small_parameters(gamma=1.5)
    with pytest.raises(HarnessError, match="conv/gamma"):
        clean_fid.find_script(official(other, tmp_path), tmp_path / "cache")


def test_nvidias_file_is_downloaded_into_the_own_cache_and_verified(tmp_path, monkeypatch):
    parameters = small_parameters()
    cache = tmp_path / "cache"
    asked = {}

    def retrieve(url, known_hash, fname, path, downloader):
        asked.update(url=url, fname=fname, path=path, timeout=downloader.kwargs["timeout"])
        Path(path).mkdir(parents=True)
        return str(saved(nvidias(parameters), Path(path)))

    monkeypatch.setattr("pooch.retrieve", retrieve)
    found = official(parameters, tmp_path)
    assert clean_fid.find_script(found, cache) == (cache / "inception" / "inception-2015-12-05.pt", "nvidia")
    assert asked["url"].endswith("/inception-2015-12-05.pt")
    assert asked["timeout"] <= 60


def test_offline_the_script_is_written_from_the_official_graph(tmp_path, monkeypatch, capsys):
    def retrieve(*args, **kwargs):
        raise ConnectionError("no route")

    written = []
    monkeypatch.setattr("pooch.retrieve", retrieve)
    monkeypatch.setattr(clean_fid, "write_script", lambda p, path: written.append(p) or path.write_bytes(b"script"))
    parameters = small_parameters()
    path, source = clean_fid.find_script(official(parameters, tmp_path), tmp_path / "cache")
    assert source == "graph"
    assert written == [parameters]
    assert path.read_bytes() == b"script"
    assert "ConnectionError" in capsys.readouterr().err
    clean_fid.find_script(official(parameters, tmp_path), tmp_path / "cache")
    assert written == [parameters]  # kept under the weights' hash


# ---------------------------------------------------------------- refusals


def test_a_misspelt_mode_and_another_version_of_the_library_are_refused(setup, monkeypatch):
    with pytest.raises(HarnessError, match="Did you mean 'legacy_tensorflow'"):
        clean_fid.open_extractor(dataclasses.replace(setup, clean_mode="legacy_tensorflo"))
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.1.36")
    with pytest.raises(HarnessError, match=r"needs clean-fid 0\.1\.35, found 0\.1\.36"):
        clean_fid.open_extractor(setup)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_missing_device_is_refused(setup):
    with pytest.raises(HarnessError, match="--device cuda"):
        clean_fid.open_extractor(dataclasses.replace(setup, device="cuda"))


@pytest.mark.verifies("the official 2048-channel graph and NVIDIA's TorchScript hold the same tensors")
@pytest.mark.network
@pytest.mark.slow
def test_nvidias_file_holds_the_official_graph(tmp_path):
    """Downloads both official files: the one place where the library's TorchScript itself is looked at."""
    try:
        found = weights.load("official", tmp_path)
    except HarnessError as error:
        if "could not be downloaded" in str(error):
            pytest.skip(str(error))
        raise
    script, source = clean_fid.find_script(found, tmp_path)
    assert source == "nvidia"
    batch = images(2)
    cpu = torch.device("cpu")
    for mode in ("clean", "legacy_tensorflow"):
        with torch.inference_mode():
            theirs = clean_fid.library_features(script, mode, cpu)(batch).numpy()
            ours = clean_fid.module_features(found, 2048, mode, cpu)(batch).numpy()
        assert relative(ours, theirs) < 1e-3
