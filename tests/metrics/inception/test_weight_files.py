"""Weights read from files of every format, damaged and hostile ones among them."""

import functools
import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.bench.contenders import port_state_dict
from harness.errors import HarnessError
from harness.metrics.inception import weight_files
from harness.metrics.inception.topology import NETWORK, convolutions
from tests.metrics.inception.helpers import built, parameters, shallow


def folded(layer: int = 64) -> dict[str, np.ndarray]:
    arrays = {}
    for name, conv in shallow(layer).convs.items():
        arrays[f"{name}/weights"], arrays[f"{name}/bias"] = conv.folded()
    return arrays


def port_state(layer: int = 64) -> dict[str, torch.Tensor]:
    ports = {row.port for row in NETWORK if row.name in convolutions(layer)}
    return {n: t for n, t in port_state_dict(parameters()).items() if n.rsplit(".", 2)[0] in ports}


class Hostile(torch.nn.Module):
    """Writes a file when it is loaded by `torch.jit.load`."""

    def __init__(self, path: str):
        super().__init__()
        self.path = path

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path, self.training = state
        torch.save(torch.zeros(1), self.path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def scripted(state: dict[str, torch.Tensor]) -> torch.nn.Module:
    """A TorchScript with these tensors, by these names."""
    root = torch.nn.Module()
    for name, tensor in state.items():
        *path, last = name.split(".")
        module = root
        for part in path:
            if not hasattr(module, part):
                module.add_module(part, torch.nn.Module())
            module = getattr(module, part)
        module.register_buffer(last, tensor.clone())
    return torch.jit.script(root)


def saved(value, save=np.savez) -> bytes:
    out = io.BytesIO()
    if save is np.savez:
        np.savez(out, **value)
    else:
        save(value, out)
    return out.getvalue()


FILES = {
    ".pb": lambda: built().SerializeToString(),
    ".npz": lambda: saved(folded()),
    ".pth": lambda: saved(port_state(), torch.save),
    ".pt": lambda: saved(scripted(port_state()), torch.jit.save),
}


@pytest.mark.parametrize("suffix", FILES)
def test_every_format_gives_the_weights(suffix):
    found = weight_files.read(FILES[suffix](), suffix, "some")
    assert list(found.convs) == ["conv", "conv_1", "conv_2"]
    for name, conv in found.convs.items():
        held = shallow(64).convs[name]
        for one, other in zip(conv.folded(), held.folded(), strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-7)
        if suffix != ".npz":
            np.testing.assert_array_equal(conv.kernel, held.kernel)
            np.testing.assert_array_equal(conv.variance, held.variance)


def test_the_classifier_is_read_from_a_port():
    found = weight_files.read(saved(port_state_dict(parameters()), torch.save), ".pth", "some")
    assert found.sha256() == parameters().sha256()


def test_the_older_format_of_torch_files_is_read_and_its_lies_are_refused():
    """pytorch-fid's port is not a zip file."""
    older = functools.partial(torch.save, _use_new_zipfile_serialization=False)
    assert weight_files.read(saved(port_state(), older), ".pth", "some").deepest == 64
    whole = saved(port_state(), older)
    for data in (
        whole[:-1000],
        saved(port_state() | {"x": Longer()}, older),
        saved(port_state() | {"x": Longer()}, torch.save),
    ):
        with pytest.raises(HarnessError, match="no torch file of plain tensors"):
            weight_files.read(data, ".pth", "some")


class Longer:
    """A tensor of more values than its storage has."""

    def __reduce__(self):
        storage = torch.storage.TypedStorage(wrap_storage=torch.zeros(4).untyped_storage(), dtype=torch.float32)
        return torch._utils._rebuild_tensor_v2, (storage, 0, (32,), (1,), False, OrderedDict())


def test_a_missing_misshapen_or_impossible_array_is_named():
    arrays = folded(192)
    state = port_state()
    cases = [
        (".npz", saved({k: v for k, v in arrays.items() if k != "conv_4/bias"}), "missing array conv_4/bias"),
        (".npz", saved(arrays | {"conv/bias": np.zeros(31, np.float32)}), r"conv/bias is float32 \[31\]"),
        (".npz", saved(arrays | {"conv/bias": np.full(32, np.nan, np.float32)}), "conv/beta holds NaN"),
        (".npz", saved(arrays | {"conv/bias": np.zeros(32, complex)}), "conv/bias is complex128"),
        (".npz", saved(arrays | {"conv/bias": np.array([None] * 32)}), "Python objects"),
        (".pth", saved(state | {"Conv2d_1a_3x3.bn.running_var": torch.full((32,), -1.0)}, torch.save), "variance"),
        (".pth", saved({"some": torch.zeros(3)}, torch.save), "under known names"),
    ]
    for suffix, data, message in cases:
        with pytest.raises(HarnessError, match=message):
            weight_files.read(data, suffix, "some")


@pytest.mark.parametrize("suffix", FILES)
def test_other_and_truncated_files_are_refused(suffix):
    whole = FILES[suffix]()
    for data in (b"", b"<html>quota exceeded</html>", whole[:-1000], whole[:1000], whole[1000:]):
        with pytest.raises(HarnessError, match="some-name"):
            weight_files.read(data, suffix, "some-name")


@pytest.mark.parametrize("suffix", FILES)
def test_200_flipped_bits_are_a_sentence_or_nothing(suffix):
    """A file of no pinned hash is what it says; its sha256 goes into the score."""
    whole = FILES[suffix]()
    refused = 0
    for position in np.random.default_rng(0).integers(0, 8 * len(whole), 200):
        flipped = bytearray(whole)
        flipped[position // 8] ^= 1 << position % 8
        try:
            weight_files.read(bytes(flipped), suffix, "some")
        except HarnessError:
            refused += 1
    # TensorFlow's format has no checksums; what a zip file does not check is its padding and dates
    assert refused > (0 if suffix == ".pb" else 190)


# ---------------------------------------------------------------- files made to harm


def test_a_torchscript_is_never_run(tmp_path):
    target = tmp_path / "written"
    data = saved(torch.jit.script(Hostile(str(target))), torch.jit.save)
    with pytest.raises(HarnessError, match=r"some\.pt"):
        weight_files.read(data, ".pt", "some.pt")
    assert not target.exists()
    torch.jit.load(io.BytesIO(data))
    assert target.exists(), "the file would have written, had it been loaded"


class Command:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("place", ["plain", "zip", "script"])
def test_a_pickle_is_never_run(tmp_path, place):
    target = tmp_path / "written"
    if place == "zip":
        data = saved(port_state() | {"x": Command(target)}, torch.save)
    elif place == "plain":
        data = pickle.dumps(Command(target))
    else:
        data = rewritten(FILES[".pt"](), {"data.pkl": pickle.dumps(Command(target), protocol=2)})
    with pytest.raises(HarnessError, match="no torch file of plain tensors"):
        weight_files.read(data, ".pt", "some.pt")
    assert not target.exists()


def rewritten(archive: bytes, content: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """The archive with other content in some entries, named without the leading folder."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w", compression) as new:
        for entry in old.infolist():
            short = entry.filename.partition("/")[2]
            new.writestr(entry.filename, content.get(short, old.read(entry)))
    return out.getvalue()


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_storages_of_another_size_and_bombs_are_refused(suffix, monkeypatch):
    whole = FILES[suffix]()
    bomb = rewritten(whole, {"data/0": bytes(1 << 20)}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < len(whole) + 10_000
    with pytest.raises(HarnessError, match="no torch file of plain tensors"):
        weight_files.read(rewritten(whole, {"data/0": bytes(4)}), suffix, "some")
    monkeypatch.setattr(weight_files, "MAX_BYTES", 1 << 20)
    monkeypatch.setattr(zipfile.ZipFile, "testzip", lambda _: pytest.fail("unpacked"))
    with pytest.raises(HarnessError, match="no torch file of plain tensors"):
        weight_files.read(bomb, suffix, "some")


def test_a_tensor_far_larger_than_its_storage_takes_no_memory():
    """Strides of zero show one value a million million times."""
    state = port_state()
    state["Conv2d_1a_3x3.bn.weight"] = torch.zeros(1).expand(1 << 20, 1 << 20)
    with pytest.raises(HarnessError, match=r"Conv2d_1a_3x3\.bn\.weight is float32 \[1048576, 1048576\]"):
        weight_files.read(saved(state, torch.save), ".pth", "some")
