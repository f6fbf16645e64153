"""`--protocol NAME`: every setting is the protocol's, or the option that contradicts it is named."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import harness
from harness.errors import HarnessError
from harness.metrics.as_protocol import Options, request
from harness.metrics.request import Request
from tests.metrics.inception.helpers import PixelExtractor
from tests.paths import ROOT

STYLEGAN2 = "stylegan2-10k-test"


def made(reference: str, protocol: str | None, **options: Any) -> Request:
    return request(Request(Path("x.npy"), reference), Options(**options), protocol, root=ROOT)


def test_every_setting_is_the_protocol_s() -> None:
    found = made("cifar10", STYLEGAN2)
    assert (found.scorer, found.reference, found.n, found.n_real) == ("tf", "cifar10-test", 10_000, None)
    assert (found.setup.weights, found.setup.layer, found.is_splits, found.is_bias) == ("official", 2048, 10, False)
    assert (found.protocol_name, found.protocol_version, found.resizer) == (STYLEGAN2, 1, "tf1-bilinear")
    assert made("cifar10", STYLEGAN2, scorer="torch", layer=2048).scorer == "torch"
    assert made("cifar10-16", "mini", weights="/somewhere/trunk.npz").setup.weights == "/somewhere/trunk.npz"
    assert made("cifar10-16", "mini").n_real == 10_000


def test_without_one_the_defaults_hold() -> None:
    found = made("cifar10", None, layer=768)
    assert (found.scorer, found.setup.weights, found.setup.layer) == ("tf", "official", 768)
    assert (found.n, found.is_splits, found.is_bias, found.protocol_name) == (None, 10, False, None)


@pytest.mark.parametrize(
    ("reference", "protocol", "options", "said"),
    [
        ("cifar10", STYLEGAN2, {"layer": 768}, f"--layer 768: protocol '{STYLEGAN2}' says 2048"),
        ("cifar10", STYLEGAN2, {"n": 50_000}, "--n 50000: .* says 10000"),
        ("cifar10", STYLEGAN2, {"weights": "trunk"}, "--weights trunk: .* says official"),
        ("cifar10", STYLEGAN2, {"protocol_name": "mine"}, "--protocol-name mine"),
        ("cifar10", STYLEGAN2, {"scorer": "clean"}, "unknown scorer of protocol"),
        ("stl10", STYLEGAN2, {}, "says nothing of data set 'stl10'"),
        ("cifar10", "stylegan2-10k", {}, f"unknown protocol 'stylegan2-10k'. Did you mean '{STYLEGAN2}'"),
    ],
)
def test_a_contradiction_is_named(reference: str, protocol: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(HarnessError, match=said):
        made(reference, protocol, **options)


def test_fewer_samples_than_the_protocol_s_are_a_caveat(
    tmp_path: Path, sets: tuple[Path, Path], pixel_scorer: list[PixelExtractor]
) -> None:
    """In a checkout with a protocol of its own; the reference is a path and taken whole."""
    tiny = yaml.safe_load((ROOT / "experiments/protocols/scales.yaml").read_text())
    tiny["train-50k"] |= {"inception": "stand-in", "layer": 64}
    (tmp_path / "experiments/protocols").mkdir(parents=True)
    (tmp_path / "experiments/datasets.yaml").write_text("{}")
    (tmp_path / "experiments/protocols/tiny.yaml").write_text(yaml.safe_dump({"train-50k": tiny["train-50k"]}))
    found = harness.score(*sets, protocol="train-50k", root=tmp_path, cache=tmp_path / "cache")
    assert (found.protocol.name, found.protocol.n_fake, found.protocol.n_real) == ("train-50k", 90, 150)
    assert "samples: 90, fewer than the 50,000 of protocol train-50k" in found.protocol.caveats
    alone = harness.score(*sets, layer=64, cache=tmp_path / "cache")
    assert alone.values.fid == found.values.fid
