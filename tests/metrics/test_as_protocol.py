"""`--protocol NAME`: every setting is the protocol's, or the option that contradicts it is named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import harness
from harness.data.fetch import prepare
from harness.errors import HarnessError
from harness.files import sha256_pixels
from harness.metrics.as_protocol import Options, request
from harness.metrics.request import Request
from harness.records import seal
from harness.records.score_record import ScoreRecord
from tests import scoring
from tests.metrics.inception.helpers import PixelExtractor, noise_images
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


@pytest.fixture
def checkout(tmp_path: Path, pixel_scorer: list[PixelExtractor], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The protocols `first` (the first 20 real images) and `test` (all of shapes-test), and two packed data sets."""
    here = tmp_path / "here"
    entry = {"source": "standin", "split": "train", "resolution": 8, "count": 30, "version": 1, "licence": "ours"}
    of = {"shapes": {"data": "shapes-test", "n_real": "all"}}
    for name, value in {
        "experiments/datasets.yaml": {"shapes": entry, "shapes-test": entry | {"split": "test", "count": 25}},
        "experiments/protocols/tiny.yaml": {
            "first": scoring.entry(scorers={"tf": "tf1-bilinear"}, kid=[]),
            "test": scoring.entry(scorers={"tf": "tf1-bilinear"}, kid=[], references=of),
        },
    }.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(yaml.safe_dump(value))
    for name in ("shapes", "shapes-test"):
        prepare(name, here / "data" / name, here)
    monkeypatch.chdir(here)
    np.save("fakes.npy", noise_images(10, seed=1))
    np.save("reals.npy", noise_images(50, seed=2))
    return here


def score(reference: str, protocol: str | None = "first", samples: str = "fakes.npy", **options: Any) -> ScoreRecord:
    return harness.score(samples, reference, protocol=protocol, cache="cache", **options)


def test_a_path_is_scored_as_the_protocol_says_of_its_data_set(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_name = score("shapes").protocol
    assert (by_name.name, by_name.n_real, by_name.split) == ("first", 20, "train")
    for place in ("data/shapes", "./data/shapes/", str(checkout / "data/shapes")):
        assert score(place).protocol == by_name
    assert (score("data/shapes-test", "test").protocol.n_real, score("shapes", "test").protocol.split) == (25, "test")
    with pytest.raises(HarnessError, match="is data set 'shapes', protocol 'test' holds samples against shapes-test"):
        score("data/shapes", "test")
    monkeypatch.chdir(checkout / "data")
    assert score("shapes", samples="../fakes.npy").protocol == by_name, "a name stays a name in the folder of data sets"


def test_a_path_that_is_no_data_set_is_counted_and_marked(checkout: Path) -> None:
    found = score("reals.npy").protocol
    assert (found.n_real, found.dataset) == (20, None)
    assert any("that protocol first means it is your word" in text for text in found.caveats)
    assert not any("your word" in text for text in score("shapes").protocol.caveats)
    with pytest.raises(HarnessError, match="--n-real 50: protocol 'first' says 20"):
        score("reals.npy", n_real=50)
    with pytest.raises(HarnessError, match="--n-real 50: protocol 'test' says all"):
        score("reals.npy", "test", n_real=50)
    np.save("few.npy", noise_images(15, seed=2))
    with pytest.raises(HarnessError, match="holds 15 images, 20 are asked for"):
        score("few.npy")


def test_statistics_are_of_as_many_images_as_the_protocol_s(checkout: Path) -> None:
    score("shapes", None, layer=64, n_real=20)
    score("shapes", None, layer=64, n_real=25)
    twenty, more = sorted(Path("cache/references").glob("*.npz"), key=lambda path: np.load(path)["count"])
    assert score(str(twenty)).protocol.n_real == 20
    with pytest.raises(HarnessError, match="made with n 25, asked for 20"):
        score(str(more))
    with np.load(twenty) as file:
        np.savez("theirs.npz", mu=file["mu"], sigma=file["sigma"])
    assert (score("theirs.npz").protocol.n_real, score("theirs.npz", n_real=20).protocol.n_real) == (None, 20)
    with pytest.raises(HarnessError, match="--declare n_real 25: protocol 'first' says 20"):
        score("theirs.npz", declared={"n_real": 25})


def test_statistics_in_place_of_samples_are_of_no_more_than_the_protocol_s(checkout: Path) -> None:
    np.savez("theirs.npz", mu=np.zeros(64), sigma=np.eye(64))
    declared = {"n_fake": 10, "resolution": 8, "quantisation": "uint8, rounded"}
    assert score("shapes", samples="theirs.npz", declared=declared).protocol.n_fake == 10
    few = score("shapes", samples="theirs.npz", declared=declared | {"n_fake": 8}).protocol
    assert "samples: 8, fewer than the 10 of protocol first" in few.caveats
    with pytest.raises(HarnessError, match=r"theirs\.npz: of 20 samples, protocol 'first' says 10"):
        score("shapes", samples="theirs.npz", declared=declared | {"n_fake": 20})


def test_samples_quantised_otherwise_do_not_get_the_protocol_s_name(checkout: Path) -> None:
    assert "samples: quantisation unknown, uint8, rounded under protocol first" in score("shapes").protocol.caveats
    assert score("shapes", declared={"quantisation": "uint8, rounded"}).protocol.name == "first"
    with pytest.raises(HarnessError, match="--declare quantisation uint8, truncated: protocol 'first' says uint8, rou"):
        score("shapes", declared={"quantisation": "uint8, truncated"})
    said = {"samples_sha256": sha256_pixels(np.load("fakes.npy")), "quantisation": "uint8, truncated"}
    Path("record.json").write_text(json.dumps(seal.sealed(said)))
    with pytest.raises(HarnessError, match=r"`uint8, truncated`, protocol 'first' says `uint8, rounded`.*rounded\.npy"):
        score("shapes", record="record.json")


def test_weights_that_are_not_the_protocol_s_do_not_get_its_name(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PixelExtractor, "kind", "file")
    with pytest.raises(HarnessError, match=r"--weights mine\.pth: is no stand-in Inception, which protocol 'first'"):
        score("shapes", weights="mine.pth")


def test_a_protocol_s_name_is_not_to_be_had_by_another_option(checkout: Path) -> None:
    with pytest.raises(HarnessError, match="only --protocol first scores by it"):
        score("shapes", None, layer=64, protocol_name="first")
    assert score("shapes", None, layer=64, protocol_name="mine").protocol.name == "mine"
    assert score("shapes", None, layer=64).protocol.name == "custom"


def test_a_name_that_is_a_path_too_is_refused(checkout: Path) -> None:
    """Somebody's folder of samples called `shapes` was scored in place of the data set, and the other way round."""
    np.save("shapes", noise_images(30, seed=9))
    Path("shapes.npy").rename("shapes")
    for sides in (("fakes.npy", "shapes"), ("shapes", "reals.npy")):
        for protocol in (None, "first"):
            with pytest.raises(HarnessError, match=r"shapes: is a data set, .*/data/shapes, and a path in .*\./shapes"):
                score(sides[1], protocol, samples=sides[0], root=checkout)
    Path("shapes").rename("pictures")
    Path("shapes").mkdir()
    for i, image in enumerate(noise_images(25, seed=3)):
        Image.fromarray(image).save(f"shapes/{i}.png")
    assert score("./shapes", None, layer=64).protocol.dataset is None
    assert score("reals.npy", None, samples="./shapes", layer=64).protocol.n_fake == 25
    assert score(str(checkout / "data/shapes"), None, layer=64).protocol.dataset == "shapes"


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
