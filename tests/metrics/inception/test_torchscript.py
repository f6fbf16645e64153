"""The TorchScript written from the weights, and its tensors read back without running it."""

import hashlib
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.errors import HarnessError
from harness.metrics.inception import topology, torch_module, weights
from harness.metrics.inception.torchscript import read_tensors, write_script
from tests.metrics.inception.helpers import parameters, shape_images

NVIDIA_URL = (  # of clean-fid's downloads_helper
    "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt"
)


@pytest.fixture(scope="module")
def script(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("script") / "inception.pt"
    write_script(parameters(), path)
    return path


def tensors_of(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        return read_tensors(archive)


def test_tensors_are_those_that_torch_finds(script):
    state = torch.jit.load(str(script)).state_dict()
    found = tensors_of(script)
    assert state.keys() <= found.keys()
    for name, tensor in state.items():
        np.testing.assert_array_equal(found[name], tensor.numpy())


def test_written_script_holds_the_graphs_tensors(script):
    assert differences(tensors_of(script), parameters()) == []


def test_written_script_has_nvidias_interface(script):
    network = torch.jit.load(str(script))
    pixels = torch.tensor(shape_images(1, 0)).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        features, p = network(pixels, return_features=True), network(pixels)
    assert features.shape == (1, 2048)
    logits = features.numpy() @ parameters().softmax_weights + parameters().softmax_biases
    np.testing.assert_allclose(p, torch.from_numpy(logits).softmax(1), atol=1e-5)


# ---------------------------------------------------------------- NVIDIA's file


def differences(tensors: dict[str, np.ndarray], held: topology.Parameters) -> list[str]:
    """Names of weights that `tensors` lacks and of tensors that are no weights, whatever names `tensors` has.

    Batch-norm scales that are all one may be missing (the 2015 graph does not scale); other constant tensors, and those
    shorter than the narrowest layer's 32 channels, are not weights.
    """
    there = Counter(fingerprint(array) for array in tensors.values() if array.dtype.kind == "f")
    out = []
    for name, array in held.arrays():
        layout = {"kernel": (3, 2, 0, 1), "weights": (1, 0)}.get(name.rsplit("/", 1)[1], (0,))
        key = fingerprint(array.transpose(layout))
        there[key] -= 1
        if there[key] < 0 and not (name.endswith("/gamma") and (array == 1).all()):
            out.append(name)
    for name, array in tensors.items():
        constant = array.size < 32 or bool((array == array.flat[0]).all())
        if array.dtype.kind == "f" and there[fingerprint(array)] > 0 and not constant:
            out.append(name)
    return out


def fingerprint(array: np.ndarray) -> tuple[tuple[int, ...], str]:
    return array.shape, hashlib.sha256(np.ascontiguousarray(array, dtype=np.float32).tobytes()).hexdigest()


def test_one_changed_number_is_a_difference(script):
    tensors = tensors_of(script)
    name = next(n for n, a in tensors.items() if a.shape == (64, 192, 1, 1))
    changed = tensors[name].copy()
    changed.flat[7] *= 1 + 1e-6
    (lacks, foreign) = differences(tensors | {name: changed}, parameters())
    assert lacks.endswith("/kernel")
    assert foreign == name


@pytest.mark.verifies("the official 2048-channel graph and NVIDIA's TorchScript hold the same tensors")
@pytest.mark.network
@pytest.mark.slow
def test_nvidias_file_holds_the_official_graph(tmp_path):
    """Downloads both official files; then NVIDIA's is also run, as clean-fid does."""
    import pooch

    try:
        found = weights.load("official", tmp_path)
        path = Path(pooch.retrieve(NVIDIA_URL, None, "nvidia.pt", tmp_path))
    except (HarnessError, OSError) as error:
        pytest.skip(str(error))
    assert differences(tensors_of(path), found.parameters) == []
    pixels = torch.rand(2, 3, topology.SIZE, topology.SIZE, generator=torch.Generator().manual_seed(0)) * 255
    with torch.inference_mode():
        theirs = torch.jit.load(str(path)).eval().layers((pixels - 128) / 128)
        ours = torch_module.build(found.parameters)(pixels)
    assert float((ours - theirs.reshape(ours.shape)).abs().max()) < 1e-3 * float(theirs.abs().max())
