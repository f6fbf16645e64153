"""Configuration: what is misspelt, missing or contradictory is named."""

from pathlib import Path

import pytest
import yaml

from harness.config import experiments, reader, schema
from harness.errors import HarnessError
from tests.paths import ROOT
from tests.scoring import scored

ADAM = {"lr": "1e-4", "betas": [0, 0.9]}
RECIPE = {
    "objective": "hinge",
    "length_nimg": "1e6",
    "discriminator_batch": 32,
    "generator_batch": 64,
    "discriminator_optimiser": ADAM,
    "generator_optimiser": ADAM,
}
PARAMS = {
    "scale": "s",
    "root": "",
    "out": "out/",
    "runs": {"e-seed0": {"experiment": "e", "seed": 0, "dataset": "tiny"}},
    "dumps": {"e-seed0-last": {"experiment": "e", "seed": 0, "dataset": "tiny", "snapshot": "last"} | scored("tiny")},
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository root with one experiment."""
    tree = {
        "tables/t.yaml": {
            "e": {"dataset": "tiny", "generator": {"model": "m"}, "discriminator": {"model": "m"}, "recipe": "child"}
        },
        "models/m.yaml": {"m": {"module": "models.m", "version": 3, "resolutions": [8]}},
        "recipes/r.yaml": {"parent": RECIPE, "child": {"based_on": "parent", "flip": True}},
        "datasets.yaml": {"tiny": {"resolution": 8}},
        "versions.yaml": {"trainer": 7, "sampler": 1, "scorer-tf": 1, "scorer-torch": 1, "scorer-clean": 1},
    }
    for name, value in tree.items():
        path = tmp_path / "experiments" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(value))
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    return tmp_path


def rewrite(path: Path, **changes: object) -> None:
    path.write_text(yaml.safe_dump(reader.merge(yaml.safe_load(path.read_text()), changes)))


def test_a_recipe_reads_numbers_as_yaml_writes_them():
    recipe = reader.read(schema.Recipe, RECIPE, "here")
    assert recipe.discriminator_optimiser.lr == 1e-4
    assert recipe.length_nimg == 1_000_000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"objectiv": "hinge"}, ["unknown key 'objectiv'", "'objective'"]),
        ({"ema": {"kind": "fixed", "decai": 0.9}}, ["here.ema", "'decai'", "'decay'"]),
        ({"discriminator_batch": "many"}, ["here.discriminator_batch", "'many'"]),
        ({"flip": 1}, ["here.flip", "true or false"]),
        ({"discriminator_optimiser": {"lr": 1, "betas": [0.5]}}, ["betas", "2 values"]),
        ({"discriminator_batch": True}, ["here.discriminator_batch", "whole number"]),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_place(change: dict, words: list[str]):
    with pytest.raises(HarnessError) as error:
        reader.read(schema.Recipe, {**RECIPE, **change}, "here")
    for word in words:
        assert word in str(error.value)


def test_a_missing_key_is_named():
    with pytest.raises(HarnessError, match="missing key 'objective'"):
        reader.read(schema.Recipe, {k: v for k, v in RECIPE.items() if k != "objective"}, "here")


def test_a_run_resolves_inheritance_versions_and_the_cap(root: Path):
    rewrite(root / "params.yaml", limit_nimg=500)
    run = experiments.open_scale(root / "params.yaml").run("e", 0)
    assert run.recipe.flip
    assert run.recipe.objective == "hinge"
    assert run.versions == {"trainer": 7, "m": 3}
    assert (run.recipe.length_nimg, run.planned_nimg, run.partial) == (500, 1_000_000, True)


def test_changes_of_an_experiment_lie_over_its_recipe(root: Path):
    rewrite(root / "experiments/tables/t.yaml", e={"changes": {"discriminator_optimiser": {"lr": 0.5}}})
    run = experiments.open_scale(root / "params.yaml").run("e", 0)
    assert run.recipe.discriminator_optimiser == schema.Optimiser(lr=0.5, betas=(0.0, 0.9))


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        ("experiments/tables/t.yaml", {"e": {"recipe": "chidl"}}, "'child'"),
        ("experiments/tables/t.yaml", {"e": {"generator": {"model": "mm"}}}, "'m'"),
        ("experiments/tables/t.yaml", {"e": {"dataset": "tinny"}}, "'tiny'"),
        ("experiments/recipes/r.yaml", {"parent": {"based_on": "child"}}, "circle"),
        ("experiments/models/m.yaml", {"m": {"resolutions": [16]}}, "8 px"),
        ("experiments/recipes/r.yaml", {"child": {"flipp": True}}, "'flip'"),
    ],
)
def test_what_an_experiment_names_must_exist(root: Path, file: str, changes: dict, words: str):
    rewrite(root / file, **changes)
    with pytest.raises(HarnessError, match=words):
        experiments.open_scale(root / "params.yaml").run("e", 0)


def test_a_stage_key_must_say_what_it_runs(root: Path):
    rewrite(root / "params.yaml", runs={"e-seed1": {"experiment": "e", "seed": 0, "dataset": "tiny"}})
    with pytest.raises(HarnessError, match="should be 'e-seed0'"):
        experiments.open_scale(root / "params.yaml")


def test_two_files_may_not_define_one_name(root: Path):
    (root / "experiments/tables/u.yaml").write_text((root / "experiments/tables/t.yaml").read_text())
    with pytest.raises(HarnessError, match="already defined in"):
        experiments.load(root)


def test_every_experiment_of_the_project_resolves():
    models, datasets = experiments.load_models(), experiments.load_datasets()
    for name, spec in experiments.load().items():
        resolution = datasets[spec.dataset]["resolution"]
        experiments.definitions().recipe(spec.recipe, spec.changes)
        for network in (spec.generator, spec.discriminator):
            assert resolution in models[network["model"]].resolutions, name


@pytest.mark.parametrize("params", ["params.yaml", "results/mini/params.yaml"])
def test_every_scale_resolves(params: str):
    scale = experiments.open_scale(ROOT / params)
    for run in scale.params.runs.values():
        assert scale.run(run.experiment, run.seed).dataset == run.dataset
