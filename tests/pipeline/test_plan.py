"""`harness plan` finds what cannot be run before anything runs, and says all of it in sentences."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.config.experiments import find_scale
from harness.errors import HarnessError
from harness.pipeline.plan import write_plan
from tests.conftest import TINY
from tests.paths import ROOT
from tests.scoring import scored


def written(folder: Path, changes: dict[str, Any] | None = None) -> Path:
    """The tiny checkout without data.

    `changes`: place, as in `params.yaml: limit_nimg`, to value; None deletes.
    """
    files: dict[str, Any] = copy.deepcopy(TINY)
    for place, value in (changes or {}).items():
        name, _, path = place.partition(": ")
        inside = files[name]
        *parts, last = path.split(".")
        for part in parts:
            inside = inside.setdefault(part, {})
        if value is None:
            del inside[last]
        else:
            inside[last] = value
    for name, value in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(yaml.safe_dump(value))
    (folder / "experiments/models").symlink_to(ROOT / "experiments/models")
    return folder


def test_a_plan_holds_every_training_and_drops_others(tmp_path: Path) -> None:
    scale = find_scale(written(tmp_path))
    (scale.out / "plan").mkdir(parents=True)
    (scale.out / "plan/g-seed0.json").write_text("{}")
    assert write_plan(scale).keys() == {"e-seed0", "f-seed0"}
    assert [path.stem for path in scale.folder.plans()] == ["e-seed0", "f-seed0"]
    plan = json.loads((scale.out / "plan/e-seed0.json").read_text())
    assert plan["recipe"]["length_nimg"] == plan["planned_nimg"] == 16


E, TABLE, RECIPE = (
    "experiments/tables/tiny.yaml: e",
    "experiments/tables/tiny.yaml",
    "experiments/recipes/tiny.yaml: tiny",
)
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "option": ({f"{E}.generator.widht": 8}, "unknown key 'widht'. Did you mean 'width'"),
    "type of an option": (
        {f"{E}.generator.width": "wide"},
        "generator of model 'transgan-xs': width: expected a whole",
    ),
    "value of an option": ({f"{E}.discriminator.width": 10}, "width 10 is not divisible by 4 attention heads"),
    "list for a number": ({f"{E}.generator.depths": 3}, "depths: expected a list"),
    "no channels": ({"experiments/tables/tiny.yaml: f.generator.width": 0}, "generator of model 'sngan-narrow'"),
    "no model": ({f"{E}.generator.model": None}, "generator has no key 'model'"),
    "unhashable model": ({f"{E}.generator.model": ["m"]}, "unknown model ['m']"),
    "version": ({"experiments/versions.yaml: trainer": None}, "versions.yaml: missing key 'trainer'"),
    "resolution": ({"experiments/datasets.yaml: tiny.resolution": None}, "tiny.resolution: expected a whole number"),
    "other resolution": ({"experiments/datasets.yaml: tiny.resolution": 40}, "data set 'tiny' is 40 px"),
    "data set": ({"experiments/datasets.yaml: tiny.source": "nowhere"}, "tiny.source"),
    "count of a data set": ({"experiments/datasets.yaml: tiny.count": "many"}, "tiny.count: expected a whole number"),
    "too many reals": (
        {"experiments/datasets.yaml: tiny.count": 19},
        "protocol 'tiny': 20 reals of 'tiny', which has 19 images",
    ),
    "protocol that changed": (
        {"experiments/protocols/tiny.yaml: tiny.n_fake": 11},
        "protocol 'tiny' changed since: it was 1-",
    ),
    "protocol that is gone": ({"experiments/protocols/tiny.yaml: tiny": None}, "unknown protocol"),
    "based on a list": ({f"{RECIPE}.based_on": ["x"]}, "based_on: ['x']"),
    "based on a number": ({f"{RECIPE}.based_on": 5}, "based_on: 5"),
    "circle": ({f"{RECIPE}.based_on": "tiny"}, "in a circle: tiny -> tiny"),
    "learning rate": ({f"{E}.changes": {"generator_optimiser": {"lr": -1}}}, "lr: -1 must be above 0"),
    "phase": ({f"{E}.changes": {"generator_phase": 3}}, "generator_phase 3 is not in 0..0"),
    "locality": ({f"{TABLE}: f.changes.locality": {"schedule": [[8, 1]]}}, "needs a generator with `set_locality`"),
    "co-training": ({f"{E}.changes": {"cotraining": {"until_nimg": 8}}}, "cotraining needs the generator's option"),
    "growth": ({f"{E}.changes": {"growth": {}}}, "growth needs a generator with `set_lod`"),
    "path length": ({f"{E}.changes": {"path_length": {}}}, "path_length needs a generator with `images_and_styles`"),
    "old key": ({f"{E}.changes": {"critic_batch": 4}}, "'critic_batch' is called 'discriminator_batch' now"),
    "limit": (
        {"params.yaml: limit_nimg": 8, "params.yaml: dumps.e-seed0-12": {"snapshot": "12"}},
        "no snapshot '12'; the recipe keeps last, best, 8 within the scale's limit_nimg of 8 images",
    ),
    "snapshot": (
        {"params.yaml: dumps.e-seed0-5": {"snapshot": "5"}},
        "no snapshot '5'; the recipe keeps last, best, 8.",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_run_is_refused(tmp_path: Path, name: str) -> None:
    changes, words = WRONG[name]
    dump = {"experiment": "e", "seed": 0, "dataset": "tiny", "weights": "weights"} | scored("tiny")
    changes = {k: {**dump, **v} if "dumps." in k else v for k, v in changes.items()}
    scale = find_scale(written(tmp_path, changes))
    with pytest.raises(HarnessError) as error:
        write_plan(scale)
    assert words in str(error.value)
    assert not (tmp_path / "out").exists()


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    changes = {f"{E}.recipe": "tny", "experiments/tables/tiny.yaml: f.changes.growth": {}}
    with pytest.raises(HarnessError) as error:
        write_plan(find_scale(written(tmp_path, changes)))
    lines = str(error.value).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("experiment 'e': unknown recipe 'tny'. Did you mean 'tiny'")
    assert lines[1].startswith("experiment 'f': recipe: growth needs")


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("baselines.nothing", "cannot be imported"),
        ("baselines.blocks", "has no function build_generator"),
        ("os; rm", "must be the dotted name"),
    ],
)
def test_a_wrong_module_of_a_model_is_named(tmp_path: Path, module: str, words: str) -> None:
    root = written(tmp_path)
    (root / "experiments/models").unlink()
    (root / "experiments/models").mkdir()
    models = {name: {"module": module, "version": 1, "resolutions": [32]} for name in ("transgan-xs", "sngan-narrow")}
    (root / "experiments/models/m.yaml").write_text(yaml.safe_dump(models))
    with pytest.raises(HarnessError, match=words):
        write_plan(find_scale(root))


def test_a_training_that_the_scale_does_not_plan_is_refused(tmp_path: Path) -> None:
    scale = find_scale(written(tmp_path))
    with pytest.raises(HarnessError, match=r"plans no training of 'e' with seed 7, but seed 0 of it"):
        scale.run("e", 7)
