"""TransGAN's recipes and experiments: the scripts' numbers, converted to images, and one change per quirk."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from harness.config import experiments
from harness.config.schema import Recipe
from harness.errors import HarnessError
from harness.networks import registry
from tests.paths import GOLDEN as GOLDEN_DIR
from tests.paths import ROOT

SCHEDULE = json.loads((GOLDEN_DIR / "golden.json").read_text())["schedule"]
G_STEPS = 500_000
RECIPES = {"cifar10": "transgan-v1-cifar10", "stl10": "transgan-v1-stl10", "celeba64": "transgan-v1-celeba64"}
HALF_WIDTHS = {
    "cifar10": {22: 4, 32: 6, 42: 8, 60: 10},
    "stl10": {22: 4, 32: 6, 42: 8, 60: 10},
    "celeba64": {5: 8, 10: 12, 15: 16, 20: 20},
}
FILES = (
    "t1_pairing",
    "t2_augmentation",
    "t3_cotraining_locality",
    "t4_sizes",
    "cifar10",
    "stl10",
    "celeba",
    "transgan_quirks",
)


def images_per_epoch(data: str) -> int:
    golden = SCHEDULE[data]
    return golden["iters_per_epoch"] * golden["dis_batch"] if golden.get("drop_last") else golden["images"]


@pytest.mark.parametrize("data", RECIPES)
def test_lengths_and_schedules_are_the_scripts_in_images(data: str) -> None:
    recipe, golden, epoch = experiments.definitions().recipe(RECIPES[data]), SCHEDULE[data], images_per_epoch(data)
    assert recipe.discriminator_batch == golden["dis_batch"]
    assert recipe.generator_batch == 2 * recipe.discriminator_batch
    assert recipe.n_critic == golden["n_critic"]
    assert recipe.length_nimg == G_STEPS * recipe.n_critic * recipe.discriminator_batch
    assert -(-recipe.length_nimg // epoch) == pytest.approx(golden["max_epoch"], abs=1)
    assert recipe.locality is not None
    assert recipe.locality.shape == "band"
    assert recipe.locality.schedule == tuple((epoch * until, half) for until, half in HALF_WIDTHS[data].items())
    assert recipe.cotraining is not None
    assert (recipe.cotraining.weight, recipe.cotraining.until_nimg) == (50, 110 * epoch)
    assert recipe.snapshots_nimg[-1] < recipe.length_nimg


@pytest.mark.parametrize("data", RECIPES)
def test_v1_settings(data: str) -> None:
    recipe = experiments.definitions().recipe(RECIPES[data])
    assert recipe.objective == "wasserstein"
    assert (recipe.penalty.kind, recipe.penalty.weight, recipe.penalty.target) == ("gradient", 10, 1)
    assert (recipe.drift.kind, recipe.drift.weight) == ("squared-mean", 1e-3)
    for adam in (recipe.discriminator_optimiser, recipe.generator_optimiser):
        assert (adam.lr, adam.betas, adam.eps, adam.decay) == (1e-4, (0, 0.99), 1e-8, "constant")
    assert recipe.clip_grad_norm == 5
    assert (recipe.ema.kind, recipe.ema.decay, recipe.ema.start_nimg) == ("fixed", 0.999, 0)
    assert recipe.augment.policy == ("translation", "cutout", "color")
    assert (recipe.augment.translation, recipe.augment.cutout, recipe.augment.cutout_probability) == (0.2, 0.5, 0.3)
    assert recipe.flip
    assert recipe.generator_phase == 0
    assert (recipe.precision, recipe.compile) == ("float32", False)


def test_neurips_settings() -> None:
    cifar, stl = (experiments.definitions().recipe(f"transgan-neurips-{data}") for data in ("cifar10", "stl10"))
    golden = SCHEDULE["neurips_cifar10"]
    assert cifar.discriminator_batch == golden["gpus"] * golden["per_gpu_dis_batch"]
    assert cifar.n_critic == golden["n_critic"]
    assert cifar.length_nimg == G_STEPS * cifar.n_critic * cifar.discriminator_batch
    assert (cifar.ema.kind, cifar.ema.half_life_nimg, cifar.ema.ramp) == ("half-life", 500_000, 0.1)
    assert (stl.discriminator_batch, stl.generator_batch, stl.n_critic, stl.ema.ramp) == (32, 64, 5, 0.05)
    assert cifar.locality is cifar.cotraining is stl.locality is stl.cotraining is None


def test_wgangp_is_the_fragment_without_drift() -> None:
    entry = {"length_nimg": 0, "discriminator_batch": 1, "generator_batch": 1}
    adam = {"lr": 1, "betas": [0, 0]}
    changes: dict[str, Any] = {**entry, "discriminator_optimiser": adam, "generator_optimiser": adam, "source": ""}
    with_drift, without = (experiments.definitions().recipe(name, changes) for name in ("wgangp-eps", "wgangp"))
    assert changed(with_drift, without) == {"drift"}
    assert without.drift.kind == "none"


def changed(a: Recipe, b: Recipe) -> set[str]:
    return {f.name for f in dataclasses.fields(Recipe) if getattr(a, f.name) != getattr(b, f.name)}


def test_each_quirk_changes_what_it_names() -> None:
    table = experiments.load()
    base = table["t4-transgan-s"]
    faithful = experiments.definitions().recipe(base.recipe, base.changes)
    found = {}
    for name, experiment in table.items():
        if name.startswith("quirk-"):
            recipe = experiments.definitions().recipe(experiment.recipe, experiment.changes)
            options = {k for k in experiment.generator if experiment.generator[k] != base.generator.get(k)}
            assert experiment.discriminator == base.discriminator
            found[name.removeprefix("quirk-")] = changed(faithful, recipe) | options
    assert found == {
        "cotraining-constant": {"cotraining"},
        "cotraining-entry-0": {"entry_stage"},
        "clip-1": {"clip_grad_norm"},
        "locality-window": {"locality"},
        "locality-every-block": {"locality_scope"},
        "without-drift": {"drift"},
        "original-diffaug": {"augment"},
        "linear-decay": {"discriminator_optimiser", "generator_optimiser"},
        "batch-128-64": {"discriminator_batch", "generator_batch", "length_nimg"},
        "tanh": {"output"},
    }


def mine() -> dict[str, Any]:
    """Names of the experiments in TransGAN's tables."""
    from harness.config.reader import read_yaml

    table = experiments.load()
    folder = ROOT / "experiments" / "tables"
    return {name: table[name] for file in FILES for name in read_yaml(folder / f"{file}.yaml")}


def test_every_experiment_builds() -> None:
    """Each network, recipe and data set exists, and generator and discriminator fit the data set's resolution."""
    datasets, models = experiments.load_datasets(), experiments.load_models()
    built, recipes = set(), {}
    for name, experiment in mine().items():
        resolution = datasets[experiment.dataset]["resolution"]
        key = (experiment.recipe, json.dumps(experiment.changes, sort_keys=True))
        if key not in recipes:
            recipes[key] = experiments.definitions().recipe(experiment.recipe, experiment.changes)
        recipe = recipes[key]
        assert recipe.source, name
        for role, spec in (("generator", experiment.generator), ("discriminator", experiment.discriminator)):
            assert resolution in models[spec["model"]].resolutions, name
            network = (role, resolution, json.dumps(spec, sort_keys=True))
            if spec["model"].startswith("transgan") and network not in built:
                with torch.device("meta"):
                    assert registry.build(role, spec, resolution, models).resolution == resolution
                built.add(network)
        if recipe.cotraining is not None:
            assert "entry_stage" in experiment.generator, f"{name}: co-training without its branch"


def test_reported_rows_exist() -> None:
    from harness.comparison import reported

    links = set(reported.load().rows["link"])
    unknown = {(name, link) for name, experiment in mine().items() for link in experiment.reported if link not in links}
    assert not unknown


def test_a_row_is_answered_by_one_training() -> None:
    """Rows that print the same score share a training; only a checkpoint of the authors' may answer a row as well."""
    seen: dict[tuple[str, str], str] = {}
    for name, experiment in mine().items():
        if experiment.recipe != "transgan-checkpoint":
            for link in experiment.reported:
                assert (experiment.dataset, link) not in seen, (name, seen[experiment.dataset, link])
                seen[experiment.dataset, link] = name


ENTRY: dict[str, Any] = {"dataset": "d", "generator": {"model": "m"}, "discriminator": {"model": "m"}, "recipe": "r"}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"small": {"stands_for": "bgi"}}, r"tables/t\.yaml: small: stands_for: 'bgi'\. Did you mean 'big'"),
        ({"small": {"stands_for": "small"}}, "unknown experiment, or a miniature itself"),
        ({"small": {"stands_for": "big"}, "tiny": {"stands_for": "small"}}, "unknown experiment, or a miniature"),
        ({"small": {"stands_for": "big", "reported": ["a/b/c"]}}, "a miniature answers no row of the ledger"),
    ],
)
def test_a_miniature_stands_for_an_experiment(tmp_path: Path, entries: dict[str, Any], message: str) -> None:
    (tmp_path / "experiments/tables").mkdir(parents=True)
    (tmp_path / "experiments/datasets.yaml").write_text("{}\n")
    known = {name: ENTRY | more for name, more in ({"big": {}} | entries).items()}
    (tmp_path / "experiments/tables/t.yaml").write_text(yaml.safe_dump(known))
    with pytest.raises(HarnessError, match=message):
        experiments.load(tmp_path)


def test_a_miniature_knows_what_it_stands_for(tmp_path: Path) -> None:
    (tmp_path / "experiments/tables").mkdir(parents=True)
    (tmp_path / "experiments/datasets.yaml").write_text("{}\n")
    known = {"big": ENTRY, "small": ENTRY | {"stands_for": "big"}}
    (tmp_path / "experiments/tables/t.yaml").write_text(yaml.safe_dump(known))
    assert experiments.load(tmp_path)["small"].stands_for == "big"
