"""The suites `paper` and `checkpoints`: every ledger row is answered or listed, and every training can be resolved."""

import fnmatch

import pytest
import torch

from harness.comparison import reported
from harness.comparison.reported import Ledger
from harness.config import experiments, reader
from harness.config.schema import Experiment
from harness.errors import HarnessError
from harness.networks import registry
from harness.paths import Checkout
from harness.pipeline import planned_scores as planner
from harness.pipeline import suite
from harness.training import schedules
from tests.paths import ROOT

CHECKOUT = Checkout(ROOT)


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return reported.load(CHECKOUT.reported)


@pytest.fixture(scope="module")
def known() -> dict[str, Experiment]:
    return experiments.load(ROOT)


@pytest.fixture(scope="module")
def rows() -> dict[str, suite.Row]:
    """Experiments of both suites."""
    return {**suite.read(CHECKOUT, "paper").rows(), **suite.read(CHECKOUT, "checkpoints").rows()}


@pytest.mark.parametrize("scale", ["paper", "checkpoints"])
def test_rows_of_released_weights_depend_on_their_file(known: dict[str, Experiment], scale: str) -> None:
    """Another file is another row: its stage runs again. All other trainings depend on their pixels."""
    train = suite.generate(CHECKOUT, scale).pipeline["stages"]["train"]
    assert train["do"]["deps"][-1].endswith("${item.source}")
    for item in train["foreach"].values():
        experiment = known[item["experiment"]]
        file = f"data/checkpoints/{experiment.checkpoint}" if experiment.checkpoint else None
        assert item["source"] == (file or f"data/{experiment.dataset}/train.npy")
    released = [item for item in train["foreach"].values() if known[item["experiment"]].checkpoint]
    assert bool(released) == (scale == "checkpoints")


def test_what_computes_depends_on_the_number_of_threads() -> None:
    """Sums over threads differ in their last digits, so `threads` decides results and another number runs again."""
    stages = suite.generate(CHECKOUT, "paper").pipeline["stages"]
    computing = {"train", "choose", "sample", "score-tf", "score-torch", "score-clean"}
    assert computing <= set(stages)
    for name in computing:
        keys = [key for entry in stages[name]["do"]["params"] for key in entry.get("params.yaml", ())]
        assert "threads" in keys, name


def answers(ledger: Ledger, experiment: Experiment) -> list[tuple[str, str, str]]:
    """(link, data set, protocol) of the ledger rows that an experiment answers."""
    found = [reported.reported_rows_for(ledger, link, experiment) for link in experiment.reported]
    return [(row.link, row.dataset, row.protocol) for part in found for row in part.itertuples()]


def test_every_ledger_row_is_answered_or_listed(
    ledger: Ledger, known: dict[str, Experiment], rows: dict[str, suite.Row]
) -> None:
    measured = {f"{link} @{data}" for name in rows for link, data, _ in answers(ledger, known[name])}
    every = {f"{row.link} @{row.dataset}" for row in ledger.rows.itertuples()}
    listed: dict[str, str] = {}
    for reason, entry in reader.read_yaml(ROOT / "experiments/unanswered.yaml").items():
        assert set(entry) == {"because", "rows"}, reason
        for pattern in entry["rows"]:
            found = fnmatch.filter(every, pattern if " @" in pattern else f"{pattern} @*")
            assert found, f"{reason}: '{pattern}' names no row"
            for row in found:
                assert row not in listed, f"{row}: listed under {listed[row]} and {reason}"
                listed[row] = reason
    assert not measured & listed.keys()
    assert every - measured - listed.keys() == set()


def test_every_experiment_that_answers_a_row_is_in_a_suite(
    known: dict[str, Experiment], rows: dict[str, suite.Row]
) -> None:
    assert {name for name, experiment in known.items() if experiment.reported} - rows.keys() == set()


def test_paper_trains_and_checkpoints_do_not(known: dict[str, Experiment]) -> None:
    for scale, released in (("paper", False), ("checkpoints", True)):
        assert {bool(known[name].checkpoint) for name in suite.read(CHECKOUT, scale).rows()} == {released}


def test_best_stands_beside_last_where_a_source_may_report_it(
    ledger: Ledger, known: dict[str, Experiment], rows: dict[str, suite.Row]
) -> None:
    for name, row in rows.items():
        values = {v for *_, p in answers(ledger, known[name]) for v in ledger.protocols[p].fields["snapshot"].values}
        assert row.snapshots is not None
        assert ("best" in row.snapshots) == ("best" in values and not known[name].checkpoint), name
        assert "last" in row.snapshots


@pytest.mark.parametrize("scale", ["paper", "checkpoints"])
def test_all_models_share_a_protocol_and_the_official_weights(scale: str) -> None:
    found = experiments.open_scale(ROOT / "results" / scale / "params.yaml")
    planner.check_references(found)
    assert {one.inception for one in planner.all_planned(found)} == {"official"}
    for key, dump in found.params.dumps.items():
        assert "train-50k" in dump.scores["tf"], key
        assert "train-50k" in dump.scores["clean"], key


def test_what_a_training_is_made_from_has_a_stage() -> None:
    made = reader.read_yaml(ROOT / "data/params.yaml")
    outputs = {f"data/{name}/train.npy" for name in made["datasets"]}
    outputs |= {f"data/checkpoints/{name}" for name in made["checkpoints"]}
    for scale in suite.names(CHECKOUT):
        trainings = suite.generate(CHECKOUT, scale).pipeline["stages"]["train"]["foreach"]
        assert {one["source"] for one in trainings.values()} <= outputs
        found = experiments.open_scale(suite.generate(CHECKOUT, scale).folder / "params.yaml")
        assert {f"data/{name}/train.npy" for name in planner.references(found)} <= outputs


def test_three_seeds() -> None:
    assert {row.seeds for row in suite.read(CHECKOUT, "paper").rows().values()} == {(0, 1, 2)}


def test_the_overlay_fast_compiles_what_can_be_compiled(known: dict[str, Experiment]) -> None:
    """Its exceptions are exactly the trainings that refuse a compiled step."""
    overlay = experiments.load_overlay("fast", ROOT)
    models, datasets = experiments.load_models(ROOT), experiments.load_datasets(ROOT)
    excepted, spectral = set(), dict[tuple[str, int], bool]()
    for name in suite.read(CHECKOUT, "paper").rows():
        experiment = known[name]
        recipe = experiments.definitions(ROOT).recipe(
            experiment.recipe, reader.merge(experiment.changes, overlay.changes)
        )
        try:
            schedules.check_recipe(recipe)
        except HarnessError:
            excepted.add(name)
        if recipe.penalty.kind != "none" and recipe.penalty.every == 1:
            key = experiment.discriminator["model"], datasets[experiment.dataset]["resolution"]
            if key not in spectral:
                with torch.device("meta"):
                    network = registry.build("discriminator", experiment.discriminator, key[1], models)
                spectral[key] = any(buffer.endswith("weight_u") for buffer, _ in network.named_buffers())
            if spectral[key]:
                excepted.add(name)
    assert {name for exception in overlay.exceptions for name in exception.experiments} == excepted
    assert all(overlay.changes_of(name) == {"precision": "bfloat16", "compile": False} for name in excepted)
