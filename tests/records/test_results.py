"""Results as frames: what is pooled, what is refused, what a scale plans."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import harness
from harness.errors import HarnessError
from harness.files import read_json, write_json
from harness.paths import ScaleFolder
from harness.records import results, score_record
from tests.paths import ROOT
from tests.records import score_trees
from tests.records.score_trees import score


def test_the_summary_pools_seeds_and_never_snapshots(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        score_trees.add(tmp_path, seed=seed, fid=10.0 + seed)
        score_trees.add(tmp_path, seed=seed, snapshot="1000", nimg=1000, fid=100.0 + seed)
        score_trees.add(tmp_path, "clean", seed=seed, fid=20.0)
    found = harness.load_results(tmp_path).summary().query("metric == 'fid'")
    rows = found.set_index(["snapshot", "scorer"])[["n", "mean", "sd"]]
    assert rows.loc[("last", "tf")].to_list() == [3, 11.0, 1.0]
    assert rows.loc[("1000", "tf")].to_list() == [3, 101.0, 1.0]
    assert rows.loc[("last", "clean")].to_list() == [3, 20.0, 0.0]


def test_nothing_pools_a_scale_with_itself_under_an_overlay(tmp_path: Path) -> None:
    for seed, folder in enumerate((tmp_path / "plain", tmp_path / "plain", tmp_path / "fast")):
        score_trees.add(folder, seed=seed, fid=10.0 + seed)
    (tmp_path / "fast/params.yaml").write_text("overlay: fast\n")
    (tmp_path / "plain/params.yaml").write_text("overlay: ''\n")
    found = harness.load_results(tmp_path)
    pooled = found.summary().query("metric == 'fid'").set_index("scale")["n"].to_dict()
    assert pooled == {"test": 2, "test+fast": 1}
    for table in (found.training, found.curves):
        assert set(table["scale"]) == {"test", "test+fast"}


@pytest.mark.parametrize("field", ["resize", "selection", "reference", "declared", "real_pixels_sha256", "n_fake"])
def test_the_summary_never_pools_two_protocols(tmp_path: Path, field: str) -> None:
    other = {"declared": ("split",), "real_pixels_sha256": "ef" * 32, "n_fake": 10}.get(field, "another")
    score_trees.add(tmp_path, seed=0)
    score_trees.add(tmp_path, seed=1, **{field: other})
    assert set(harness.load_results(tmp_path).summary()["n"]) == {1}


def test_every_frame_has_its_scale_and_its_numbers() -> None:
    found = harness.load_results(ROOT / "results/mini")
    for table in (found.scores, found.training, found.curves):
        assert set(table["scale"]) == {"mini"}
        assert table["seed"].dtype == table["nimg"].dtype == "int64"
    assert all(kind.kind in "if" for kind in found.curves.drop(columns=["scale", "experiment", "path"]).dtypes)
    assert found.scores[results.NUMBERS].dtypes.map(pd.api.types.is_numeric_dtype).all()
    last = found.summary().query("metric == 'fid' and snapshot == 'last' and scorer == 'tf' and protocol == 'mini'")
    means = last.set_index("experiment")["mean"]
    assert means["mini-conv"] < 1 < means["mini-untrained"]


def test_frames_of_nothing_are_numeric_too(tmp_path: Path) -> None:
    path = score_trees.add(tmp_path)
    shutil.rmtree(path.parents[2] / "train")
    found = results.load(tmp_path)
    assert len(found.training) == len(found.curves) == 0
    for table in (found.training, found.curves):
        assert table[["seed", "nimg"]].dtypes.map(pd.api.types.is_numeric_dtype).all()


def test_the_summary_has_students_interval(tmp_path: Path) -> None:
    """By hand: mean 34/3, sd 1.527525, upper 2.5 % of Student's t with 2 degrees of freedom 4.302653."""
    for seed, fid in enumerate((10.0, 11.0, 13.0)):
        score_trees.add(tmp_path, seed=seed, fid=fid)
    found = harness.load_results(tmp_path)
    row = found.summary().set_index("metric").loc["fid"]
    assert (row["low"], row["high"]) == pytest.approx((34 / 3 - 3.794583, 34 / 3 + 3.794583), abs=1e-6)
    narrower = found.summary(level=0.5).set_index("metric").loc["fid"]
    assert row["low"] < narrower["low"] < narrower["high"] < row["high"]
    with pytest.raises(HarnessError, match="level is 95; write a number between 0 and 1"):
        found.summary(level=95)


@pytest.mark.parametrize("column", ["samples_sha256", "weights_sha256"])
def test_trainings_counted_twice_have_no_interval(tmp_path: Path, column: str) -> None:
    for seed in range(3):
        score_trees.add(tmp_path, seed=seed, fid=10.0 + seed, **{column: "ab" * 32 if seed else "cd" * 32})
    row = harness.load_results(tmp_path).summary().set_index("metric").loc["fid"]
    assert row["n"] == 3
    assert row[["low", "high"]].isna().all()


def test_columns_are_numbers_and_every_field_has_one(tmp_path: Path) -> None:
    score_trees.add(tmp_path, fid_interval=(14.1, 14.5), stand_in_data=None)
    frame = results.load(tmp_path).scores
    assert (frame["fid_low"][0], frame["fid_high"][0]) == (14.1, 14.5)
    assert frame["kid"].dtype == "float64", "a column of nothing is numeric too"
    assert frame["stand_in_data"][0] is None, "unknown is not False"
    for part in ("run", "values", "protocol", "content"):
        for name, value in score().to_json()[part].items():
            if not name.endswith("_interval"):
                column = results.RENAMED.get(name, name)
                assert column in frame, name
                assert value is None or name in ("stand_in_data",) or frame[column][0] in (value, tuple_of(value))


def tuple_of(value: object) -> object:
    return tuple(value) if isinstance(value, list | tuple) else value


# ---------------------------------------------------------------- copies and places


def copy_seed(records: Path) -> Path:
    return shutil.copytree(records / "seed0", records / "seed0 (copy)")


def copy_snapshot(records: Path) -> Path:
    return shutil.copytree(records / "seed0/last", records / "seed0/last.bak")


def copy_experiment(records: Path) -> Path:
    return shutil.copytree(records, records.with_name("other"))


def copy_scorer(records: Path) -> Path:
    return shutil.copytree(records / "seed0/last/tf", records / "seed0/last/torch")


def copy_file(records: Path) -> Path:
    folder = records / "seed0/last/tf"
    return shutil.copy(folder / "test.json", folder / "test (1).json")


def copy_seed_as_another(records: Path) -> Path:
    return shutil.copytree(records / "seed0/last", records / "seed1/last")


@pytest.mark.parametrize(
    "copy", [copy_seed, copy_snapshot, copy_experiment, copy_scorer, copy_file, copy_seed_as_another]
)
def test_a_copy_is_not_one_more_run(tmp_path: Path, copy: Callable[[Path], Path]) -> None:
    path = score_trees.add(tmp_path)
    made = copy(tmp_path / "records" / "sngan-cifar10")
    with pytest.raises(HarnessError) as error:
        results.load(tmp_path)
    assert str(made) in str(error.value)
    assert copy is copy_seed or str(path) in str(error.value), "both files are named"


def test_a_copied_scale_is_refused_naming_both(tmp_path: Path) -> None:
    path = score_trees.add(tmp_path / "test")
    shutil.copytree(tmp_path / "test", tmp_path / "test.bak")
    assert len(results.load(tmp_path / "test.bak").scores) == 1
    with pytest.raises(HarnessError) as error:
        results.load(tmp_path)
    assert str(path) in str(error.value)
    assert "test.bak" in str(error.value)


def test_two_scales_in_one_folder_are_refused(tmp_path: Path) -> None:
    score_trees.add(tmp_path)
    score_trees.add(tmp_path, experiment="other", scale="paper")
    with pytest.raises(HarnessError, match=r"'paper'.*one folder holds one scale"):
        results.load(tmp_path)


def test_samples_from_elsewhere_are_no_run(tmp_path: Path) -> None:
    nothing = dict.fromkeys(score_trees.RUN, None)
    record = score(**nothing)
    score_record.write(ScaleFolder(tmp_path).score("e", 0, "last", "tf", "test"), record)
    with pytest.raises(HarnessError, match="samples from elsewhere"):
        results.load(tmp_path)


@pytest.mark.parametrize("text", ["nimg,loss\n8,x\n", "loss\n8\n", "", "nimg,loss\n,1\n"])
def test_a_broken_history_is_named(tmp_path: Path, text: str) -> None:
    path = score_trees.add(tmp_path).parents[2] / "train/history.csv"
    path.write_text(text)
    with pytest.raises(HarnessError, match=r"history\.csv.*run its training again"):
        results.load(tmp_path)


# ---------------------------------------------------------------- the chain


TRAINED = dataclasses.asdict(score_trees.trained(score(), "0" * 64).run)


@pytest.fixture
def chained(tmp_path: Path) -> ScaleFolder:
    """A score, the record of its dump and that of its training, which agree."""
    folder = ScaleFolder(tmp_path)
    record = score_record.read(score_trees.add(tmp_path))
    said = dataclasses.asdict(record.content) | dataclasses.asdict(record.run)
    write_json(folder.sample_record("sngan-cifar10", 0, "last"), said)
    return folder


def test_records_that_agree_are_read(chained: ScaleFolder) -> None:
    (one,) = results.load(chained.out).scores.to_dict("records")
    assert one["trained_on"] == "cifar10"
    chained.train_record("sngan-cifar10", 0).unlink()
    (one,) = results.load(chained.out).scores.to_dict("records")
    assert one["trained_on"] is None


@pytest.mark.parametrize(
    ("end", "changes", "other"),
    [
        ("sample_record", {"samples_sha256": "0" * 64}, "last/tf/test.json"),
        ("sample_record", {"weights_sha256": "0" * 64}, "train/train.json"),
        ("sample_record", {"seed": 1}, "last/samples.json"),
        ("sample_record", {"nimg": 1}, "train/train.json"),
        ("train_record", {"weights_sha256": {"last": "0" * 64}}, "last/samples.json"),
        ("train_record", {"run": TRAINED | {"seed": 1}}, "seed 1"),
        ("train_record", {"run": TRAINED | {"scale": "paper"}}, "scale 'paper'"),
        ("train_record", {"history_sha256": "0" * 64}, "train/history.csv"),
    ],
)
def test_records_that_disagree_are_refused(
    chained: ScaleFolder, end: str, changes: dict[str, object], other: str
) -> None:
    path = {
        "sample_record": chained.sample_record("sngan-cifar10", 0, "last"),
        "train_record": chained.train_record("sngan-cifar10", 0),
    }[end]
    score_trees.edit(path, **changes)
    with pytest.raises(HarnessError) as error:
        results.load(chained.out)
    assert str(path) in str(error.value)
    assert other in str(error.value)


def test_an_edit_of_a_trainings_record_is_noticed(chained: ScaleFolder) -> None:
    """Its cost stands in the tables, its device and commit decide whether it may be published."""
    path = chained.train_record("sngan-cifar10", 0)
    write_json(path, read_json(path) | {"provenance": {"device": "cpu", "git_dirty": False}})
    with pytest.raises(HarnessError, match=r"train\.json: changed since it was written"):
        results.load(chained.out)


# ---------------------------------------------------------------- distinct trainings, planned records


def rows(*records: score_record.ScoreRecord) -> pd.DataFrame:
    return results.frame([results.row(record, Path(f"{i}.json")) for i, record in enumerate(records)])


def test_three_seeds_are_three_trainings() -> None:
    assert results.distinct_trainings(rows(*(score(seed=seed) for seed in (0, 1, 2)))) == {}


def test_one_training_is_not_counted_thrice() -> None:
    same = rows(score(), score(), score())
    assert set(results.distinct_trainings(same)) == {"seed", "samples_sha256", "weights_sha256"}
    dump = rows(*(score(seed=seed, samples_sha256="ab" * 32) for seed in (0, 1, 2)))
    assert results.distinct_trainings(dump) == {
        "samples_sha256": "samples_sha256 abababababab is counted 3 times: 0.json, 1.json, 2.json"
    }
