"""Time and size of a scale, from operations or from earlier trainings."""

from pathlib import Path

import pytest
import yaml

from harness.config import experiments
from harness.config.experiments import Scale, open_scale
from harness.doctor import estimate
from harness.pipeline.plan import find_problems
from tests.doctor.helpers import record, write_scale
from tests.paths import ROOT

SPEED = 1e9  # operations per second


@pytest.fixture(autouse=True)
def speed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(estimate, "matmul_speed", lambda *_: SPEED)


def cost(scale: Scale) -> dict:
    runs, problems = find_problems(scale)
    assert not problems
    return estimate.scale_cost(scale, estimate.count_all(scale, runs), "cpu")


def test_estimate_from_operations_then_from_records(root: Path):
    scale = write_scale(root)
    counted = cost(scale)
    assert counted["trainings"]["tiny-sngan-seed0"]["basis"] == "counted"
    assert counted["seconds"]["total"] == pytest.approx(
        sum(counted["seconds"][k] for k in ("train", "sample", "score"))
    )
    assert counted["bytes"]["data"] == 20 * 32 * 32 * 3
    assert counted["bytes"]["sample"] == 64 * 32 * 32 * 3
    record(root, sngan=1)
    measured = cost(scale)
    length = experiments.load_recipe("cpu-sngan").length_nimg
    assert measured["seconds"]["train"] == pytest.approx(length / 50)
    assert measured["trainings"]["tiny-sngan-seed0"]["basis"] == "measured"
    assert estimate.measured_speeds(root, "cuda") == {}, "a CPU's speed says nothing about a GPU"


def test_estimate_counts_the_dumps_that_best_is_chosen_on(root: Path):
    scale = write_scale(root)
    key, entry = next(iter(scale.params.runs.items()))
    plain = cost(scale)["seconds"]
    chosen = cost(write_scale(root, {"choices": {key: vars(entry)}}))["seconds"]
    candidates = len(scale.run(entry.experiment, entry.seed).recipe.snapshots_nimg) + 1
    images = candidates * scale.params.scoring.n_choose
    extra = images * estimate.INCEPTION_FLOP / (SPEED * estimate.INCEPTION_EFFICIENCY)
    assert chosen["score"] - plain["score"] == pytest.approx(extra)
    assert chosen["sample"] > plain["sample"]
    assert chosen["train"] == plain["train"]


def test_released_weights_take_no_training(root: Path):
    path = root / "experiments" / "tables" / "tiny.yaml"
    table = yaml.safe_load(path.read_text())
    table["tiny-sngan"]["checkpoint"] = "released.safetensors"
    path.write_text(yaml.safe_dump(table))
    estimated = cost(write_scale(root))
    assert estimated["trainings"]["tiny-sngan-seed0"]["basis"] == "released"
    assert estimated["seconds"]["train"] == 0
    assert estimated["seconds"]["sample"] > 0


@pytest.mark.parametrize(
    "name", ["cpu", "short", *(pytest.param(n, marks=pytest.mark.slow) for n in ("checkpoints", "paper"))]
)
def test_every_scale_has_an_estimate(name: str):
    """With StyleGAN2, whose count fails if its parameters require gradients."""
    scale = open_scale(ROOT / "results" / name / "params.yaml")
    estimated = cost(scale)
    assert set(estimated["trainings"]) == set(scale.params.runs)
    assert estimated["seconds"]["total"] > 0
