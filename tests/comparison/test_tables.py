"""Tables: numbers and words of the same rows, the same bytes twice, nothing measured left out."""

import dataclasses
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

import harness
from harness.comparison import protocols, reported, run_tables, table_formats, tables, words
from harness.config import schema
from harness.errors import HarnessError
from harness.records import results
from tests.comparison.test_table_formats import cells_of_markdown
from tests.paths import ROOT
from tests.records import score_trees
from tests.tree import committed
from tests.tree import name as place

STAND_IN = {
    "experiment": "quick-cifar10-transgan",
    "dataset": "standin-cifar10",
    "stand_in_data": True,
    "stand_in_inception": True,
    "inception": "stand-in",
    "n_fake": 64,
    "n_real": 128,
    "fid": 0.01,
}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root") / "results" / "test"
    for seed, fid in enumerate((18.9, 19.1, 19.3)):
        score_trees.add(folder, experiment="t4-transgan-s", seed=seed, fid=fid, is_mean=8.2)
        score_trees.add(folder, "clean", experiment="t4-transgan-s", seed=seed, fid=fid + 2)
    score_trees.add(folder, experiment="t2-stylegan2", fid=19.9, is_mean=9.0)
    score_trees.add(folder, experiment="t1-autogan-autogan", fid=12.8, is_mean=8.5)
    score_trees.add(folder, experiment="mini-untrained", layer=768, inception="trunk", n_fake=2000, is_mean=None)
    score_trees.add(folder, **STAND_IN)
    make(folder)
    return folder


def make(folder: Path, unverified: bool = False) -> tables.Measured:
    scale = score_trees.scale_of(folder)
    measured = tables.measure(scale, unverified)
    tables.write(scale, measured, unverified)
    return measured


def frame(out: Path, name: str) -> pd.DataFrame:
    """The table as printed."""
    header, _, *rows = cells_of_markdown((out / "tables" / f"{name}.md").read_text(encoding="utf-8"))
    return pd.DataFrame(rows, columns=header)


def numbers(out: Path, name: str) -> pd.DataFrame:
    """The csv, as pandas reads it."""
    return pd.read_csv(out / "tables" / f"{name}.csv")


def test_all_of_the_papers_tables_are_made(out: Path) -> None:
    names = [entry["name"] for entry in json.loads((out / "tables" / "index.json").read_text())["tables"]]
    papers = ["pairing", "augmentation", "cotraining-locality", "sizes", "cifar10", "stl10", "celeba64"]
    assert names == ["protocol", "runs", *papers]
    for name in names:
        assert all((out / "tables" / f"{name}.{kind}").is_file() for kind in ("csv", "md", "tex"))


def test_a_row_holds_reported_reproduced_difference_seeds_and_cost(out: Path) -> None:
    row = frame(out, "sizes").set_index("model").loc["TransGAN-S"]
    assert row["experiment"] == "t4-transgan-s"
    assert (row["IS reported"], row["FID reported"], row["confidence"]) == ("8.22 ± 0.14", "18.58", "verified")
    assert (row["IS"], row["FID"], row["clean FID"]) == ("8.20 ± 0.00", "19.10 ± 0.20", "21.10 ± 0.20")
    assert row["clean KID"] == "0.0123 ± 0.0000"
    assert (row["ΔIS"], row["ΔFID"]) == ("-0.02", "+0.52")
    assert (row["seeds"], row["GPU h"], row["images seen"]) == ("3", "6.00", "240M")
    assert row["comparable"].startswith("FID: presumed (n_fake, ")


def test_a_row_that_was_not_run_says_so(out: Path) -> None:
    assert frame(out, "sizes").set_index("model").loc["TransGAN-M", "experiment"] == "not run"


def test_a_difference_is_shown_only_where_protocols_compare(out: Path) -> None:
    row = frame(out, "augmentation").set_index(["model", "variant"]).loc[("StyleGAN v2", "no DA")]
    assert (row["experiment"], row["FID"], row["ΔFID"]) == ("t2-stylegan2", "19.90", "—")
    assert "FID: no (n_fake, split, n_real)" in row["comparable"]


def test_unverified_rows_are_hidden_then_marked(out: Path, tmp_path: Path) -> None:
    hidden = frame(out, "pairing").set_index("model")
    mixed = ["G=Transformer D=AutoGAN", "G=AutoGAN D=Transformer"]
    assert set(hidden.loc[mixed, ["IS reported", "FID reported"]].to_numpy().ravel()) == {"—"}, "the rows stay"
    assert hidden.loc["G=AutoGAN D=AutoGAN", "FID reported"] == "12.42"
    assert "that nobody has seen in its source is left out" in (out / "tables" / "pairing.md").read_text()
    table5 = frame(out, "cifar10").query("source == 'T5-cifar10-comparison'")
    assert {"SN-GAN", "MGAN"} & set(table5["model"]) == {"SN-GAN"}, "no experiment answers MGAN's"
    folder = tmp_path / "results" / "test"
    score_trees.add(folder, experiment="t1-autogan-autogan")
    make(folder, unverified=True)
    shown = frame(folder, "pairing").set_index("model")
    assert len(shown) == 4
    assert shown.loc["G=AutoGAN D=Transformer", "FID reported"] == "49.83 †"
    assert shown.loc["G=AutoGAN D=AutoGAN", "FID reported"] == "12.42"
    assert "† recalled" in (folder / "tables" / "pairing.md").read_text()


def test_everything_measured_is_in_the_runs_table(out: Path) -> None:
    runs = frame(out, "runs").set_index(["experiment", "seed"])
    untrained, drawn = runs.loc[("mini-untrained", "0")], runs.loc[("quick-cifar10-transgan", "0")]
    assert (untrained["reported in"], untrained["caveats"]) == ("no paper row", "768-channel layer")
    assert untrained["protocol"] == "2k vs 50k cifar10 train, trunk 768"
    assert drawn["caveats"] == "STAND-IN DATA, STAND-IN INCEPTION, average holds 43 % of the first weights"
    assert runs.loc[("t4-transgan-s", "1"), "clean FID"] == "21.10"
    assert len(runs) == 7


def test_one_protocol_changes_the_order(out: Path) -> None:
    """StyleGAN2's 11.07 (10k against test) stands before AutoGAN's 12.42; scored alike it may fall behind."""
    rows = frame(out, "protocol").set_index("experiment")
    stylegan = rows.loc["t2-stylegan2"]
    assert stylegan["reported protocol"] == "10k vs 10k test"
    assert (stylegan["rank reported"], stylegan["rank here"], stylegan["rank change"]) == ("1", "3", "-2")
    assert rows.loc["t1-autogan-autogan", "rank change"] == "+1"
    assert rows.loc["t4-transgan-s", "rank change"] == "+1"
    assert stylegan["one protocol"] == "50k vs 50k cifar10 train, official 2048, tf1-bilinear"
    assert "mini-untrained" not in rows.index  # another layer: another protocol
    assert rows.loc["quick-cifar10-transgan", "rank here"] == "—"


def test_models_with_and_without_an_average_are_ranked_together(out: Path, tmp_path: Path) -> None:
    """Whether a model is sampled from an average belongs to its recipe, not to how it is scored."""
    folder = tmp_path / "results" / "test"
    for experiment, ema in (("t1-autogan-autogan", True), ("cifar10-sngan", False)):
        score_trees.add(folder, experiment=experiment, ema=ema)
    make(folder)
    assert set(frame(folder, "protocol")["experiment"]) == {"t1-autogan-autogan", "cifar10-sngan"}


def test_a_csv_holds_one_number_a_cell(out: Path) -> None:
    row = numbers(out, "sizes").set_index("model").loc["TransGAN-S"]
    assert (row["is_reported"], row["is_reported_std"], row["fid_reported"]) == (8.22, 0.14, 18.58)
    assert (row["is"], row["is_difference"]) == pytest.approx((8.2, -0.02))
    assert (row["fid"], row["fid_sd"], row["seeds"], row["fid_difference"]) == pytest.approx((19.1, 0.2, 3, 0.52))
    assert (row["clean_fid"], row["clean_fid_sd"], row["clean_seeds"]) == pytest.approx((21.1, 0.2, 3))
    assert (row["gpu_hours"], row["images_seen"], row["fid_reported_protocol"]) == (6, 3 * 80e6, "transgan-v1-cifar10")
    absent = numbers(out, "sizes").set_index("model").loc["TransGAN-M"]
    assert absent["seeds"] == 0
    assert absent[["experiment", "fid", "fid_sd", "fid_difference", "gpu_hours", "cpu_hours"]].isna().all()
    ranks = numbers(out, "protocol").set_index("experiment").loc["t2-stylegan2"]
    assert (ranks["rank"], ranks["rank_reported"], ranks["rank_change"], ranks["n_real"]) == (3, 1, -2, 50_000)
    assert set(numbers(out, "runs")["scale"]) == {"test"}


NOT_NUMBERS = {"snapshot", "protocol_id", "git_commit", "reason", "caveats", "variant", "model"}  # and hashes
EMPTY_OR_NUMBER = r"(?:[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?|nan|inf)?"


@pytest.mark.parametrize("path", committed("*.csv"), ids=place)
def test_every_committed_csv_has_numeric_columns(path: Path) -> None:
    """A column with a number in it holds nothing else, but for empty cells; markdown says numbers in words."""
    read, text = pd.read_csv(path), pd.read_csv(path, dtype=str, keep_default_na=False)
    assert not text.isin([table_formats.NONE, "None", "nan"]).any(axis=None), "an empty cell says that there is none"
    expected = [name for name in read if name.split("_")[0] in ("fid", "is", "kid", "n", "seed", "seeds", "gpu", "cpu")]
    expected = [
        name for name in expected if not name.endswith(("_protocol", "_confidence", "_verdict", "_of", "_bias"))
    ]
    for name in expected:
        assert pd.api.types.is_numeric_dtype(read[name]), f"{name} is {read[name].dtype}"
    for name in (name for name in read if name not in NOT_NUMBERS and not name.endswith("sha256")):
        number = text[name].str.fullmatch(EMPTY_OR_NUMBER) & (text[name] != "")
        assert not number.any() or pd.api.types.is_numeric_dtype(read[name]), f"{name}: {text[name].unique()[:5]}"


def test_the_same_scores_give_the_same_bytes(out: Path) -> None:
    files = sorted(p for name in ("tables", "metrics", "plots") for p in (out / name).iterdir())
    before = {p: p.read_bytes() for p in files}
    make(out)
    assert {p: p.read_bytes() for p in files} == before


def test_load_results_reads_one_scale_or_all(out: Path) -> None:
    one, every = harness.load_results(out), harness.load_results(out.parent)
    assert one.scores.equals(every.scores)
    seeds = one.scores.query("experiment == 't4-transgan-s' and scorer == 'tf'").sort_values("seed")
    assert list(seeds["fid"]) == [18.9, 19.1, 19.3]
    assert set(one.training["device"]) == {"cuda"}
    assert one.curves.query("experiment == 't4-transgan-s' and seed == 0")["nimg"].max() == 8000


def test_records_that_nobody_planned_are_named_and_left_out(out: Path) -> None:
    folder = out.parent.parent.parent / "orphans" / "results" / "test"
    shutil.copytree(out / "records", folder / "records")
    scale = score_trees.scale_of(folder)
    params = {
        key: {name: one for name, one in getattr(scale.params, key).items() if one.experiment != "t4-transgan-s"}
        for key in ("runs", "dumps")
    }
    measured = tables.measure(dataclasses.replace(scale, params=dataclasses.replace(scale.params, **params)))
    assert len([text for text in measured.remarks if "t4-transgan-s/seed1/last/tf/test.json: no dump" in text]) == 1
    assert "t4-transgan-s" not in set(measured.results.scores["experiment"])
    assert "t4-transgan-s" not in set(measured.results.training["experiment"])
    assert "t4-transgan-s" not in set(measured.comparisons["experiment"])


def test_no_path_of_this_machine_is_in_a_table(out: Path) -> None:
    for path in (out / "tables").iterdir():
        assert str(out) not in path.read_text(encoding="utf-8"), path.name


def test_files_that_are_stale_or_edited_are_named(out: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(out.parent.parent, tmp_path / "copy", symlinks=True)) / "results" / "test"
    scale = score_trees.scale_of(folder)
    measured = tables.measure(scale)
    assert tables.stale(scale, measured) == []
    (folder / "tables" / "sizes.csv").write_text("model\n")
    (folder / "tables" / "runs.md").unlink()
    assert tables.stale(scale, measured) == ["runs.md", "sizes.csv"]
    tables.write(scale, tables.measure(scale, unverified=True), unverified=True)
    assert tables.stale(scale, measured) == []


def several(*lengths: tuple[str, str, int]) -> pd.DataFrame:
    return pd.DataFrame(lengths, columns=["experiment", "snapshot", "nimg"]).assign(planned_nimg=100)


def test_experiments_are_compared_at_the_largest_snapshot_that_all_have() -> None:
    scores = several(("a", "10", 10), ("a", "last", 40), ("b", "10", 10), ("b", "40", 40), ("b", "last", 90))
    assert run_tables.common_nimg(scores) == 40
    assert list(scores[run_tables.compared_snapshots(scores)]["snapshot"]) == ["last", "40"]
    assert "after 40 images" in run_tables.common_note(scores)
    apart = several(("a", "10", 10), ("a", "last", 40), ("b", "last", 90))
    assert list(apart[run_tables.compared_snapshots(apart)]["snapshot"]) == ["last", "last"]
    single = several(("a", "last", 40), ("b", "last", 90))
    assert list(run_tables.compared_snapshots(single)) == [True, True]
    assert run_tables.common_note(single) == ""


def test_protocols_that_differ_have_different_ids(out: Path) -> None:
    scores = harness.load_results(out).scores
    ids = scores.groupby("experiment")["protocol_id"].agg(set)
    assert ids["t2-stylegan2"] == ids["t1-autogan-autogan"]
    assert ids["mini-untrained"].isdisjoint(ids["t2-stylegan2"])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p.write_text('{"scorer": "tf"}'), "has no seal"),
        (lambda p: p.write_text("{"), "not valid JSON"),
        (lambda p: p.write_text(p.read_text().replace('"n_fake"', '"nfake"')), "changed since it was written"),
        (lambda p: score_trees.edit(p, protocl={}), "unknown key 'protocl'"),
        (lambda p: score_trees.edit(p, protocol=score_trees.PROTOCOL | {"scorer": "tff"}), "protocol.scorer is 'tff'"),
    ],
)
def test_a_broken_score_is_named(tmp_path: Path, spoil, message: str) -> None:  # type: ignore[no-untyped-def]
    path = score_trees.add(tmp_path)
    spoil(path)
    with pytest.raises(HarnessError, match=rf"sngan-cifar10/seed0/last/tf/test\.json.*{message}"):
        results.load(tmp_path)


def test_no_scores_at_all(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no scores"):
        results.load(tmp_path)


def test_the_papers_rows_come_from_the_ledger_alone() -> None:
    """Every table's ledger names exist, so that a renamed ledger table cannot empty one silently."""
    ledger = reported.load()
    for name, spec in tables.specs(ROOT / "results" / "reported" / "tables.yaml", ledger).items():
        assert set(spec.ledger) <= set(ledger.rows["table"]), name


def test_hours_on_a_cpu_are_not_gpu_hours() -> None:
    training = pd.DataFrame(
        {"experiment": ["a", "a"], "seed": [0, 1], "nimg": [500, 1500], "device_sec": [3600.0, 1800.0]}
    )
    slow = run_tables.cost(training.assign(device="cpu"), "a", [0, 1])
    assert slow == {"gpu_hours": None, "cpu_hours": 1.5, "images_seen": 2000}
    assert words.hours(slow) == "0.00 (and 1.50 on CPU)"
    assert words.hours(run_tables.cost(training.assign(device="cuda:0"), "a", [0])) == "1.00"
    assert words.hours(run_tables.cost(training.assign(device="cpu"), "b", [0])) == "—"


def test_an_experiment_that_answers_no_ledger_row_is_an_error() -> None:
    known = {"mine": schema.Experiment("cifar10", {}, {}, "r", reported=("T4-model-scaling/TransGAN-Q/x",))}
    with pytest.raises(HarnessError, match=r"experiment mine: reported: no ledger row"):
        protocols.check_links(known, reported.load())
