"""What is scored is what a dump's record, its training and its weights say: a broken link is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.errors import HarnessError
from harness.files import read_json, sha256_file, sha256_pixels, write_json
from harness.paths import ScaleFolder
from harness.records import chain, seal, train_record
from harness.records.score_record import ScoreRecord
from tests.metrics.inception.helpers import noise_images
from tests.metrics.test_score import Opened, flips, save
from tests.records import score_trees


@pytest.fixture
def dump(tmp_path: Path, pixel_scorer: Opened) -> ScaleFolder:
    """A scale with weights, a dump and its record; `score_dump` scores it."""
    folder = ScaleFolder(tmp_path / "scale")
    images = noise_images(90, seed=1) // 2
    save(folder.dump("e", 0, "last"), images)
    weights = folder.weights("e", 0, "last")
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"weights")
    said: dict[str, Any] = {"scale": "s", "experiment": "e", "seed": 0, "snapshot": "last", "nimg": 8}
    said |= {"planned_nimg": 8, "partial": False, "n": 90, "ema": True, "quantisation": "uint8, rounded"}
    said |= {"samples_sha256": sha256_pixels(images), "weights_sha256": sha256_file(weights)}
    write_json(folder.sample_record("e", 0, "last"), seal.sealed(said))
    run = {"scale": "s", "experiment": "e", "nimg": 8, "planned_nimg": 8}
    of_dump = score_trees.score(**run, weights_sha256=said["weights_sha256"])
    train_record.write(folder.train_record("e", 0), score_trees.trained(of_dump, "0" * 64))
    save(tmp_path / "reals.npy", noise_images(150, seed=2))
    return folder


def score_dump(folder: ScaleFolder, **options: Any) -> ScoreRecord:
    record = folder.sample_record("e", 0, "last")
    sets = folder.dump("e", 0, "last"), folder.out.parent / "reals.npy"
    return harness.score(*sets, record=record, layer=64, cache=folder.out.parent / "cache", **options)


def test_a_flipped_bit_in_the_record_of_a_dump_is_refused_or_changes_nothing(dump: ScaleFolder) -> None:
    path, refused = dump.sample_record("e", 0, "last"), 0
    whole = json.loads(path.read_text())
    for _ in flips(path, 200):
        try:
            value = read_json(path)
            chain.check_sample(path, value)
        except HarnessError:
            refused += 1
        else:
            assert value == whole
    assert refused > 150


def test_a_whole_chain_is_scored(dump: ScaleFolder) -> None:
    found = score_dump(dump)
    assert found.run.experiment == "e"
    assert found.protocol.name == "custom", "the scale's name may be that of a protocol, and none was asked for"
    assert found.run.scale == "s"
    assert found.content.weights_sha256 == sha256_file(dump.weights("e", 0, "last"))


def test_a_dump_s_record_is_found_where_its_scale_keeps_it(dump: ScaleFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --run, from any folder; a training that was cut short stays one."""
    expected = score_dump(dump)
    reals, cache = dump.out.parent / "reals.npy", dump.out.parent / "cache"
    file = dump.dump("e", 0, "last")
    for folder, samples in ((dump.out, file), (file.parent, Path(file.name)), (dump.out, file.relative_to(dump.out))):
        monkeypatch.chdir(folder)
        found = harness.score(samples, reals, layer=64, cache=cache)
        assert (found.run, found.protocol, found.content) == (expected.run, expected.protocol, expected.content)
    other_weights(dump)
    with pytest.raises(HarnessError, match="was drawn with weights_sha256"):
        harness.score(file, reals, layer=64, cache=cache)


def test_a_dump_without_its_record_and_samples_of_a_like_path_are_foreign(dump: ScaleFolder) -> None:
    copy = save(dump.out.parent / "runs-of-mine/e/seed0/last/samples/rounded.npy", noise_images(90, seed=1))
    dump.sample_record("e", 0, "last").unlink()
    for file in (copy, dump.dump("e", 0, "last")):
        assert harness.score(file, dump.out.parent / "reals.npy", layer=64, cache=dump.out / "c").run.scale is None


def test_a_record_that_is_not_there_is_the_user_s_business(dump: ScaleFolder) -> None:
    with pytest.raises(HarnessError, match=r"--run /nope\.json: no such file; name the samples\.json"):
        harness.score(dump.dump("e", 0, "last"), "x", record="/nope.json", cache=dump.out)


def test_what_is_not_there_breaks_no_chain(dump: ScaleFolder) -> None:
    dump.weights("e", 0, "last").unlink()
    dump.train_record("e", 0).unlink()
    assert score_dump(dump).run.seed == 0


def other_weights(folder: ScaleFolder) -> Path:
    folder.weights("e", 0, "last").write_bytes(b"retrained")
    return folder.weights("e", 0, "last")


def other_training(folder: ScaleFolder) -> Path:
    score_trees.edit(folder.train_record("e", 0), weights_sha256={"last": "0" * 64})
    return folder.train_record("e", 0)


def other_seed(folder: ScaleFolder) -> Path:
    score_trees.edit(folder.sample_record("e", 0, "last"), seed=1)
    return folder.sample_record("e", 0, "last")


def other_experiment(folder: ScaleFolder) -> Path:
    score_trees.edit(folder.sample_record("e", 0, "last"), experiment="f")
    return folder.sample_record("e", 0, "last")


def other_pixels(folder: ScaleFolder) -> Path:
    save(folder.dump("e", 0, "last"), noise_images(90, seed=5))
    return folder.dump("e", 0, "last")


@pytest.mark.parametrize("change", [other_weights, other_training, other_seed, other_experiment, other_pixels])
def test_a_broken_link_is_refused_naming_both_ends(
    dump: ScaleFolder, pixel_scorer: Opened, change: Callable[[ScaleFolder], Path]
) -> None:
    place = change(dump)
    with pytest.raises(HarnessError) as error:
        score_dump(dump)
    assert str(place) in str(error.value)
    assert str(dump.sample_record("e", 0, "last")) in str(error.value)
    assert pixel_scorer == [], "refused before anything is opened"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"planned_nimg": 7}, "8 of 7"),
        ({"partial": None}, "partial is missing"),
        ({"ema": "yes"}, "ema"),
        ({"scale": "../x"}, r"'\.\./x'"),
    ],
)
def test_a_record_that_cannot_be_is_refused_before_the_pass(
    dump: ScaleFolder, pixel_scorer: Opened, change: dict[str, Any], said: str
) -> None:
    score_trees.edit(dump.sample_record("e", 0, "last"), **change)
    with pytest.raises(HarnessError, match=said):
        score_dump(dump)
    assert [one.images_seen for one in pixel_scorer] == [0]
