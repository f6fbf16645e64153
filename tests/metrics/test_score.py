"""Scoring as a function: what is known beats what is declared, what is read is what is named, caches heal."""

import functools
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import harness
from harness.data import seal as seal_card
from harness.data.images import open_images
from harness.errors import HarnessError
from harness.files import sha256_file, sha256_pixels, write_json
from harness.metrics import feature_file, reference_statistics
from harness.metrics import score as module
from harness.metrics.extractors.base import Setup
from harness.metrics.kid import kernel_distance
from harness.records.score_record import ScoreRecord
from tests.metrics.inception.helpers import PixelExtractor, noise_images

Sets = tuple[Path, Path]
Opened = list[PixelExtractor]


def scored(sets: Sets, **options: Any) -> ScoreRecord:
    """Score the two sets with a cache of their own."""
    options = {"layer": 64, "cache": sets[0].parent / "cache"} | options
    return harness.score(*sets, **options)


def save(path: Path, images: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, images)
    return path


@pytest.fixture(autouse=True)
def few_subsets(monkeypatch: pytest.MonkeyPatch) -> None:
    """KID of three subsets: what it is of matters here."""
    monkeypatch.setattr(module, "kernel_distance", functools.partial(kernel_distance, subsets=3))


# ---------------------------------------------------------------- caches


def kept(sets: Sets, kind: str) -> Path:
    """The one kept entry of the reference."""
    found = [
        p for p in (sets[0].parent / "cache" / kind).iterdir() if kind == "references" or p.stat().st_size > 30_000
    ]
    assert len(found) == 1
    return found[0]


def flips(path: Path, n: int) -> Any:
    """Yield with one bit of the file flipped, n times."""
    whole, rng = path.read_bytes(), random.Random(0)
    for _ in range(n):
        flipped = bytearray(whole)
        flipped[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        yield
    path.write_bytes(whole)


def test_a_flipped_bit_in_a_cache_changes_nothing(sets: Sets, pixel_scorer: Opened) -> None:
    """Kept statistics are either the ones that were written or absent; so are features."""
    scored(sets, kid=True)
    images, setup = open_images(sets[1]), Setup(layer=64, cache=sets[0].parent / "cache")
    key = reference_statistics.content_of(images, pixel_scorer[0], 64)
    features = reference_statistics.feature_file(setup.cache, key)
    mean, rows, refused = reference_statistics.find(setup.cache, key).gaussian.mean, features.read().copy(), 0
    for _ in flips(kept(sets, "references"), 200):
        found = reference_statistics.find(setup.cache, key)
        refused += found is None
        assert found is None or (found.gaussian.mean == mean).all()
    for _ in flips(features.path, 200):
        refused += features.read() is None
        assert features.read() is None or (features.read() == rows).all()
    assert refused > 300


def test_rewritten_statistics_are_neither_used_nor_believed(sets: Sets, pixel_scorer: Opened) -> None:
    """A whole npz with another mean under the old digest."""
    expected = scored(sets).values
    path = kept(sets, "references")
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    np.savez(path, **(arrays | {"mu": arrays["mu"] + 1}))
    with pytest.raises(HarnessError, match="not as it was written"):
        scored((sets[0], path))
    assert scored(sets).values == expected


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def shortened(path: Path) -> None:
    """As if the pass had ended early: the first rows of the features."""
    path.write_bytes(path.read_bytes()[: 100 * 64 * 4])


@pytest.mark.parametrize("kind", ["references", "features"])
@pytest.mark.parametrize("spoil", [cut, emptied, shortened])
def test_a_damaged_cache_is_computed_again_with_a_warning(
    sets: Sets, pixel_scorer: Opened, kind: str, spoil: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    expected = scored(sets, kid=True).values
    path = kept(sets, kind)
    spoil(path)
    capsys.readouterr()
    assert scored(sets, kid=True).values == expected
    assert f"warning: {path} is damaged" in capsys.readouterr().err
    assert scored(sets, kid=True).values == expected
    assert [one.images_seen for one in pixel_scorer] == [240, 240, 90]


def test_another_entrys_features_under_this_name_are_not_read(sets: Sets, pixel_scorer: Opened) -> None:
    expected = scored(sets, kid=True).values
    path = kept(sets, "features")
    whole = path.read_bytes()
    scored((sets[0], save(sets[0].with_name("others.npy"), noise_images(150, seed=9))), kid=True)
    (other,) = (p for p in path.parent.iterdir() if p != path and p.stat().st_size == len(whole))
    path.write_bytes(other.read_bytes())
    assert scored(sets, kid=True).values == expected


def test_a_cache_that_cannot_be_written_costs_no_score(
    sets: Sets, pixel_scorer: Opened, capsys: pytest.CaptureFixture[str]
) -> None:
    """Statistics are not kept then; features are needed, and missed before the pass."""
    expected = scored(sets).values
    sets[0].with_name("file").touch()
    for place in ("/proc/nope", sets[0].with_name("file")):
        capsys.readouterr()
        assert scored(sets, cache=place).values == expected
        assert f"warning: statistics are not kept: {place}/references/" in capsys.readouterr().err
        with pytest.raises(HarnessError, match=f"{place}/features: cannot be written .*--cache"):
            scored(sets, cache=place, kid=True)
        assert pixel_scorer[-1].images_seen == 0


def test_a_full_disk_is_noticed_before_the_pass(
    sets: Sets, pixel_scorer: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_file.shutil, "disk_usage", lambda _: SimpleNamespace(free=90 * 64 * 4 - 1))
    with pytest.raises(HarnessError, match="needs 23,040 bytes, 23,039 are free"):
        scored(sets, bootstrap=20)
    assert pixel_scorer[-1].images_seen == 0


def test_features_that_a_killed_score_left_are_swept(sets: Sets, pixel_scorer: Opened) -> None:
    left = sets[0].parent / "cache/features/.0123.features.89ab.part"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    scored(sets)
    assert left.exists(), "without features nobody looks there"
    scored(sets, kid=True)
    assert not left.exists()


def test_two_scores_at_once_on_one_cache_do_not_mix(sets: Sets, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second begins and ends while the first is in the middle of its pass."""

    class Interrupted(PixelExtractor):
        inner: list[ScoreRecord] = []  # noqa: RUF012

        def __call__(self, images: np.ndarray) -> Any:
            if self.images_seen == 50 and not self.inner:
                self.inner.append(None)  # type: ignore[arg-type]
                self.inner[0] = scored(sets, kid=True)
            return super().__call__(images)

    monkeypatch.setattr(module, "open_extractor", lambda _, setup, resizer: Interrupted(setup))
    outer = scored(sets, kid=True)
    alone = scored(sets, kid=True, cache=sets[0].parent / "alone")
    assert outer.values == Interrupted.inner[0].values == alone.values


# ---------------------------------------------------------------- what is read is what is named


@pytest.mark.parametrize("changed", [0, 1], ids=["samples", "reference"])
def test_images_rewritten_during_the_pass_are_refused(
    sets: Sets, monkeypatch: pytest.MonkeyPatch, changed: int
) -> None:
    class Meddling(PixelExtractor):
        def __call__(self, images: np.ndarray) -> Any:
            if self.images_seen == 0:
                pixels = np.load(sets[changed])
                pixels[-1] ^= 1
                np.save(sets[changed], pixels)
            return super().__call__(images)

    monkeypatch.setattr(module, "open_extractor", lambda _, setup, resizer: Meddling(setup))
    with pytest.raises(HarnessError, match="changed while it was read"):
        scored(sets, kid=True)
    left = [path for path in (sets[0].parent / "cache").rglob("*") if path.is_file()]
    assert len(left) == changed, "at most the features of the samples, which were read in peace"


def test_the_record_names_what_was_read(sets: Sets, pixel_scorer: Opened) -> None:
    found = scored(sets, n=80, n_real=100).content
    assert found.samples_sha256 == sha256_pixels(np.load(sets[0])[:80])
    assert found.real_pixels_sha256 == sha256_pixels(np.load(sets[1])[:100])


def packed(folder: Path, images: np.ndarray, **changes: Any) -> Path:
    save(folder / "train.npy", images)
    card = {"name": folder.name, "stand_in": True, "split": "train", "crop": "none", "resize": "none", "labels": False}
    card |= {"resolution": 8, "count": len(images), "pixels_sha256": sha256_pixels(images)}
    write_json(folder / "card.json", seal_card(card | changes))
    return folder


def test_a_definition_that_changed_since_the_data_set_was_packed_is_refused(
    tiny_scale: Path, sets: Sets, pixel_scorer: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On either side, by name and by path; a set of another name is nobody's business."""
    monkeypatch.chdir(tiny_scale)
    save(sets[0], noise_images(90, seed=1, side=32))
    assert scored((sets[0], Path("tiny"))).protocol.dataset == "tiny"
    path = tiny_scale / "experiments/datasets.yaml"
    path.write_text(path.read_text().replace("split: drawn", "split: test"))
    for pair in ((sets[0], Path("tiny")), (sets[0], Path("data/tiny")), (Path("tiny"), sets[0])):
        with pytest.raises(HarnessError, match=r"\(split differ\); run `harness data tiny --out .*data/tiny`"):
            scored(pair, cache=tiny_scale / "cache")
    path.write_text(path.read_text().replace("tiny:", "other:"))
    assert scored((sets[0], Path("data/tiny"))).protocol.split == "drawn"


# ---------------------------------------------------------------- declared and unknown


def test_what_a_card_says_cannot_be_declared_otherwise(sets: Sets, pixel_scorer: Opened) -> None:
    data = packed(sets[0].parent / "standin", np.load(sets[1]))
    with pytest.raises(HarnessError, match=r"--declare dataset=celeba: .*standin.* already says standin"):
        scored((sets[0], data), declared={"dataset": "celeba"})
    with pytest.raises(HarnessError, match=r"stand_in_data=False: .* already says True"):
        scored((sets[0], data), declared={"stand_in_data": False})
    assert all(one.images_seen == 0 for one in pixel_scorer)
    assert scored((sets[0], data), declared={"split": "train"}).protocol.declared == (), "it is known, not declared"


def test_what_own_statistics_say_cannot_be_declared_otherwise(sets: Sets, pixel_scorer: Opened) -> None:
    scored((sets[0], packed(sets[0].parent / "standin", np.load(sets[1]))))
    own = kept(sets, "references")
    found = scored((sets[0], own)).protocol
    assert (found.dataset, found.stand_in_data, found.reference) == ("standin", True, "statistics")
    assert found.statistics_sha256 == sha256_file(own)
    with pytest.raises(HarnessError, match="already says standin"):
        scored((sets[0], own), declared={"dataset": "celeba"})


def test_the_pixels_that_are_there_cannot_be_declared_otherwise(sets: Sets, pixel_scorer: Opened) -> None:
    with pytest.raises(HarnessError, match=r"real_pixels_sha256=0000.*already says"):
        scored(sets, declared={"real_pixels_sha256": "0" * 64})
    assert [one.images_seen for one in pixel_scorer] == [0]


def test_what_nobody_knows_is_null_and_what_is_declared_is_listed(sets: Sets, pixel_scorer: Opened) -> None:
    unknown = scored(sets).protocol
    fields = ("dataset", "split", "crop", "resize", "stand_in_data", "quantisation", "ema", "snapshot")
    assert [getattr(unknown, name) for name in fields] == [None] * len(fields)
    declared = scored(sets, declared={"dataset": "cifar10", "stand_in_data": False}).protocol
    assert (declared.dataset, declared.stand_in_data) == ("cifar10", False)
    assert declared.declared == ("dataset", "stand_in_data")
    assert declared.protocol_id != unknown.protocol_id


def test_two_statistics_files_are_two_protocols(sets: Sets, pixel_scorer: Opened) -> None:
    ids = set()
    for seed in (2, 3):
        rows = PixelExtractor(Setup())(noise_images(150, seed=seed))[0].astype(np.float64)
        path = sets[0].parent / f"stats{seed}.npz"
        np.savez(path, mu=rows.mean(axis=0), sigma=np.cov(rows, rowvar=False))
        ids.add(scored((sets[0], path), n_real=150).protocol.protocol_id)
    assert len(ids) == 2


# ---------------------------------------------------------------- remarks


def test_too_few_images_for_the_layer_are_a_caveat(
    sets: Sets, pixel_scorer: Opened, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scored(sets).protocol.caveats == ()
    found = scored(sets, n=64)
    assert any("64 generated images at 64 channels" in text for text in found.protocol.caveats)
    assert "warning: 64 generated images" in capsys.readouterr().err


@pytest.mark.parametrize("n", [150, 100])
def test_the_reference_scored_against_itself_is_a_caveat(
    sets: Sets, pixel_scorer: Opened, capsys: pytest.CaptureFixture[str], n: int
) -> None:
    """The first of its images, too, under another name."""
    images = save(sets[0].with_name("copy.npy"), np.load(sets[1])[:n])
    said = "the samples are the reference's own images"
    assert said in scored((images, sets[1])).protocol.caveats
    assert f"warning: {said}" in capsys.readouterr().err
    assert said not in scored(sets).protocol.caveats
    (own,) = (path for path in (sets[0].parent / "cache/references").glob("*.npz") if np.load(path)["count"] == 150)
    assert (said in scored((images, own)).protocol.caveats) == (n == 150)


def test_provenance_says_the_device_that_was_used(sets: Sets, monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere(PixelExtractor):
        def __init__(self, setup: Setup):
            super().__init__(setup)
            self.device_used = "cuda:1"

    monkeypatch.setattr(module, "open_extractor", lambda _, setup, resizer: Elsewhere(setup))
    assert scored(sets).provenance["device"] == "cuda:1"
