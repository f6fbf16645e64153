"""Released checkpoints: names and shapes as saved, strict loading, and the same images after the detour."""

import json
import math
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from harness.commands.import_checkpoint import command
from harness.errors import HarnessError
from models.transgan import build_discriminator, build_generator, neurips, official
from models.transgan.official import export
from tests.models import fill
from tests.paths import GOLDEN as GOLDEN_DIR
from tests.training import tiny

GOLDEN = json.loads((GOLDEN_DIR / "official_state_dicts.json").read_text())
OFFICIAL = {which.replace("critic", "discriminator"): shapes for which, shapes in GOLDEN.items()}
NETWORKS = {
    "v1 generator CIFAR-10 XL": lambda: build_generator(32, size="XL"),
    "v1 generator STL-10 768": lambda: build_generator(48, size="L"),
    "v1 generator CelebA-64": lambda: build_generator(64, size="XL"),
    "v1 discriminator 32 px": lambda: build_discriminator(32),
    "NeurIPS generator cifar10": lambda: neurips.build_generator(32),
    "NeurIPS discriminator cifar10": lambda: neurips.build_discriminator(32),
    "NeurIPS generator stl10": lambda: neurips.build_generator(48),
    "NeurIPS discriminator stl10": lambda: neurips.build_discriminator(48),
}


@pytest.mark.verifies("names and shapes of all eight official state dicts")
@pytest.mark.parametrize("which", NETWORKS)
def test_names_and_shapes(which: str) -> None:
    with torch.device("meta"):
        network = NETWORKS[which]()
    state = {name: list(entry.shape) for name, entry in official.official_entries(network).items()}
    expected = {n: s for n, s in OFFICIAL[which].items() if n not in official.DEAD and not n.endswith(official.INDEX)}
    assert state == expected
    assert {name: list(tensor.shape) for name, tensor in export(network).items()} == OFFICIAL[which]


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(command, ["transgan", *map(str, arguments)])


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A NeurIPS pair that fits a test: same names, narrow."""
    row = neurips.NeuripsPreset((2, 1, 1), 8, "layer", "test", width=64)
    monkeypatch.setitem(neurips.PRESETS, 32, row)


@pytest.mark.parametrize("layout", ["plain", "module.", "bare", "live"])
def test_import_gives_the_same_images(tmp_path: Path, layout: str) -> None:
    torch.manual_seed(0)
    source, other = build_generator(32, size="XS"), build_generator(32, size="XS")
    state = export(source)
    if layout == "module.":
        state = {f"module.{name}": value for name, value in state.items()}
    content: Any = {"avg_gen_state_dict": state, "gen_state_dict": export(other), "epoch": 7, "best_fid": 1.5}
    if layout == "bare":
        content = state
    if layout == "live":
        content = {"gen_state_dict": state}
    torch.save(content, tmp_path / "checkpoint")
    result = run(tmp_path / "checkpoint", "--out", tmp_path / "g.safetensors")
    assert result.exit_code == 0, result.output + repr(result.exception)
    assert "TransGAN XS generator, 32 px" in result.output
    loaded = build_generator(32, size="XS")
    assert tiny.load_generator(loaded, tmp_path / "g.safetensors") == 0
    z = torch.randn(2, 128)
    assert torch.equal(loaded(z), source(z))


# Role of each tensor in the fill rule by its official name, and what its unit values are multiplied by and added to.
ROLES = {
    "l1.weight": 1, "l1.bias": 21, "attn.qkv.weight": 3, "attn.proj.weight": 4, "attn.proj.bias": 24,
    "mlp.fc1.weight": 5, "mlp.fc1.bias": 25, "mlp.fc2.weight": 6, "mlp.fc2.bias": 26, "deconv.0.weight": 7,
    "deconv.0.bias": 27, "patch_embed.weight": 8, "patch_embed.bias": 28, "cls_token": 9, "head.weight": 10,
    "head.bias": 30, "norm1.weight": 31, "norm1.bias": 32, "norm2.weight": 33, "norm2.bias": 34, "norm.weight": 35,
    "norm.bias": 36,
}  # fmt: skip


def filled_official(network: nn.Module) -> dict[str, Tensor]:
    """An official v1 state dict filled by the rule, from official names and shapes alone."""
    state = {}
    for name, entry in official.official_entries(network).items():
        stage, block, rest = 0, 0, name
        if found := re.match(r"pos_embed_?(\d*)$", name):
            state[name] = fill.values(entry.shape, 2, int(found[1] or 1) - 1)
            continue
        if found := re.match(r"(?:blocks|upsample_blocks\.(\d+))\.(\d+)\.(.+)$", name):
            stage, block, rest = (0 if found[1] is None else int(found[1]) + 1), int(found[2]), found[3]
        u = fill.values(entry.shape, ROLES[rest], stage, block)
        if rest.startswith("norm"):
            state[name] = 0.5 * u + (1 if rest.endswith("weight") else 0)
        elif rest.endswith("bias"):
            state[name] = 0.5 * u
        elif rest == "cls_token":
            state[name] = u
        else:
            state[name] = u * (6 if "qkv" in rest else 2) / math.sqrt(math.prod(entry.shape[1:]))
    return state


@torch.no_grad()
def test_official_weights_land_where_they_belong() -> None:
    """Weights filled under their official names give the golden image and scores: no two tensors are swapped."""
    golden = json.loads((GOLDEN_DIR / "golden.json").read_text())["forward"]
    with torch.device("meta"):
        generator, discriminator = build_generator(32, size="S"), build_discriminator(32)
    generator, discriminator = generator.to_empty(device="cpu").double(), discriminator.to_empty(device="cpu").double()
    official.load_official(generator, filled_official(generator), "x")
    official.load_official(discriminator, filled_official(discriminator), "x")
    image = fill.statistics(generator(fill.latent(2, 1024)))
    assert image == {
        key: pytest.approx(value, rel=1e-9, abs=0)
        for key, value in golden["g_cifar_S"]["full"]["epoch_300"]["image"].items()
    }
    scores = discriminator(fill.image(2, 32)).flatten().tolist()
    assert scores == pytest.approx(golden["d_cifar"]["full"]["logits"], rel=1e-9, abs=0)


def test_import_of_discriminators(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = build_discriminator(32)
    torch.save({"dis_state_dict": export(source), "gen_state_dict": {}}, tmp_path / "checkpoint")
    result = run(tmp_path / "checkpoint", "--out", tmp_path / "d.safetensors", "--part", "discriminator")
    assert result.exit_code == 0, result.output + repr(result.exception)
    loaded = build_discriminator(32)
    tiny.load_generator(loaded, tmp_path / "d.safetensors")
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(loaded(x), source(x))


@pytest.mark.usefixtures("narrow")
def test_import_of_the_neurips_generator(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = neurips.build_generator(32)
    torch.save({"avg_gen_state_dict": export(source)}, tmp_path / "checkpoint")
    result = run(tmp_path / "checkpoint", "--out", tmp_path / "g.safetensors")
    assert result.exit_code == 0, result.output + repr(result.exception)
    assert "TransGAN NeurIPS generator, 32 px" in result.output
    loaded = neurips.build_generator(32)
    tiny.load_generator(loaded, tmp_path / "g.safetensors")
    z = torch.randn(2, 8)
    assert torch.equal(loaded(z), source(z))


@pytest.mark.usefixtures("narrow")
def test_another_position_index_is_refused() -> None:
    network = neurips.build_generator(32)
    state = export(network)
    name = next(n for n in state if n.endswith(official.INDEX))
    state[name] = state[name].T.contiguous()
    with pytest.raises(HarnessError, match="in another order"):
        official.load_official(network, state, "x")


def test_every_problem_is_listed_and_nothing_is_loaded(tmp_path: Path) -> None:
    network = build_generator(32, size="XS")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = export(build_generator(32, size="XS"))
    del state["blocks.0.attn.qkv.weight"]
    state["blocks.0.attn.qkv.bias"] = torch.zeros(3)
    state["deconv.0.bias"] = torch.zeros(4)
    state["l1.bias"] = torch.full_like(state["l1.bias"], torch.nan)
    state["to_rgb.1.weight"] = torch.zeros(1)  # only the five dead names are known
    torch.save(state, tmp_path / "checkpoint")
    result = run(tmp_path / "checkpoint", "--out", tmp_path / "g.safetensors", "--size", "XS", "--resolution", "32")
    assert isinstance(result.exception, HarnessError)
    for problem in (
        "missing blocks.0.attn.qkv.weight",
        "unexpected blocks.0.attn.qkv.bias",
        "deconv.0.bias has shape [4], not [3]",
        "l1.bias has values that are not finite",
        "unexpected to_rgb.1.weight",
    ):
        assert problem in str(result.exception)
    assert not (tmp_path / "g.safetensors").exists()
    with pytest.raises(HarnessError):
        official.load_official(network, state, "x")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_code_in_a_checkpoint_is_not_executed(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"avg_gen_state_dict": Trap()}, tmp_path / "checkpoint")
    result = run(tmp_path / "checkpoint", "--out", tmp_path / "g.safetensors")
    assert isinstance(result.exception, HarnessError)
    assert "not readable as a checkpoint of plain tensors" in str(result.exception)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not readable"),
        (b"not a checkpoint", "not readable"),
        (b"\n<!DOCTYPE html><html>Quota exceeded</html>", "a web page, not a checkpoint"),
        ({0: torch.zeros(1)}, "not a state dict of tensors"),
        ([torch.zeros(1)], "holds a list"),
        ({"epoch": 3}, "not a state dict of tensors"),
        ({"weight": torch.zeros(1)}, "not a TransGAN generator"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "checkpoint"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    result = run(path, "--out", tmp_path / "g.safetensors")
    assert isinstance(result.exception, HarnessError)
    assert message in str(result.exception)


def test_a_truncated_or_altered_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    torch.save({"gen_state_dict": {"l1.weight": torch.ones(1000)}}, path)
    whole = path.read_bytes()
    altered = bytearray(whole)
    altered[whole.index(torch.ones(1000).numpy().tobytes()) + 2] ^= 1
    for data in (whole[:-100], whole[:1000], bytes(altered)):
        path.write_bytes(data)
        with pytest.raises(HarnessError, match=r"checkpoint: not readable .*Download it again"):
            official.read_checkpoint(path, "generator")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint"
    torch.save({"gen_state_dict": {"l1.weight": torch.zeros(100_000)}}, tmp_path / "plain")
    with zipfile.ZipFile(tmp_path / "plain") as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    monkeypatch.setattr(zipfile.ZipFile, "testzip", lambda _: pytest.fail("unpacked"))
    with pytest.raises(HarnessError, match="not readable"):
        official.read_checkpoint(path, "generator")
    monkeypatch.setattr(official, "MAX_BYTES", 1000)
    with pytest.raises(HarnessError, match="more than any released checkpoint"):
        official.read_checkpoint(tmp_path / "plain", "generator")


@pytest.mark.usefixtures("narrow")
def test_a_position_index_of_another_size_takes_no_memory() -> None:
    network = neurips.build_generator(32)
    state = export(network)
    name = next(n for n in state if n.endswith(official.INDEX))
    state[name] = torch.zeros(1).expand(1 << 20, 1 << 20)
    with pytest.raises(HarnessError, match="in another order"):
        official.load_official(network, state, "x")


def test_missing_file_other_layout_and_other_part(tmp_path: Path) -> None:
    result = run(tmp_path / "absent", "--out", tmp_path / "g.safetensors")
    assert isinstance(result.exception, HarnessError)
    assert "no such file" in str(result.exception)
    state = export(build_generator(32, width=64, depths=(1, 1, 1), latent_dim=8))
    with pytest.raises(HarnessError, match=r"no preset has 32 px, width 64, depths \[1, 1, 1\] and latent 8"):
        official.identify_generator(state, "x")
    with pytest.raises(HarnessError, match="not a TransGAN discriminator"):
        official.identify_discriminator(state, "x")


def test_identify_every_released_layout() -> None:
    found = {}
    for which, shapes in OFFICIAL.items():
        if which != "about":
            state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
            identify = official.identify_generator if "generator" in which else official.identify_discriminator
            found[which] = identify(state, which)
    assert found == {
        "v1 generator CIFAR-10 XL": ("XL", 32),
        "v1 generator STL-10 768": ("L", 48),
        "v1 generator CelebA-64": ("XL", 64),
        "v1 discriminator 32 px": ("v1", 32),
        "NeurIPS generator cifar10": ("NeurIPS", 32),
        "NeurIPS discriminator cifar10": ("NeurIPS", 32),
        "NeurIPS generator stl10": ("NeurIPS", 48),
        "NeurIPS discriminator stl10": ("NeurIPS", 48),
    }


def test_the_checkpoint_is_not_overwritten_by_its_own_conversion(tmp_path):
    for name in ("checkpoint", "link"):
        (tmp_path / "checkpoint").write_bytes(b"theirs")
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(tmp_path / "checkpoint")
        result = CliRunner().invoke(command, ["transgan", str(tmp_path / "checkpoint"), "--out", str(tmp_path / name)])
        assert "is the checkpoint itself" in str(result.exception)
        assert (tmp_path / "checkpoint").read_bytes() == b"theirs"
