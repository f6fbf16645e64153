"""What a stage is given."""

from pathlib import Path

import pytest
import yaml

from harness.cluster.engine import Node
from harness.cluster.resources import Resources, resources
from harness.config.yaml_file import Loader
from harness.errors import HarnessError
from tests.paths import ROOT

NAMES = ["train@a-celeba-1", "train@b", "check"]


def given(folder: Path, value: object) -> dict[str, Resources]:
    (folder / "resources.yaml").write_text(yaml.safe_dump(value, sort_keys=False))
    return resources(folder / "dvc.yaml", NAMES)


def test_the_first_pattern_that_matches_counts(tmp_path: Path) -> None:
    found = given(
        tmp_path,
        {
            "default": {"memory_gib": 2},
            "stages": {"train@*-celeba-*": {"cpus": 8, "gpus": 2}, "train@*": {"cpus": 4}},
        },
    )
    assert found == {
        "train@a-celeba-1": Resources(cpus=8, gpus=2, memory_gib=2),
        "train@b": Resources(cpus=4, memory_gib=2),
        "check": Resources(memory_gib=2),
    }


def test_without_a_file_every_stage_gets_the_default(tmp_path: Path) -> None:
    assert resources(tmp_path / "dvc.yaml", ["a"]) == {"a": Resources(cpus=1, gpus=0, memory_gib=4)}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"stages": {"trian@*": {"gpus": 1}}}, r"'trian@\*' matches no stage"),
        ({"stages": {"check": {"gpus": 2}}}, "check is given 2 GPUs; only trainings"),
        ({"default": {"gpus": 2}}, "check is given 2 GPUs; only trainings"),
        ({"stages": {"check": {"gpus": -1}}}, "must be at least 0"),
        ({"stages": {"check": {"cpus": 0}}}, "must be at least 1"),
        ({"stages": {"check": {"gpu": 1}}}, "gpus"),
        ({"default": {"memory_gib": -1}}, "must be above 0"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, value: object, message: str) -> None:
    with pytest.raises(HarnessError, match=message) as caught:
        given(tmp_path, value)
    assert "resources.yaml" in str(caught.value)


def test_a_machine_fits_in_every_respect() -> None:
    node = Node("n", cpus=4, gpus=1, memory_gib=8)
    assert node.fits(Resources(4, 1, 8))
    assert not any(node.fits(one) for one in (Resources(5, 1, 8), Resources(4, 1, 8.5)))
    assert not Node("n", 4, 0, 8).fits(Resources(4, 1, 8))


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*/resources.yaml")), ids=lambda path: path.parent.name)
def test_files_of_the_scales_fit_their_pipelines(path: Path) -> None:
    stages = yaml.load(path.with_name("dvc.yaml").read_text(), Loader)["stages"]
    names = [f"{name}@{key}" for name, one in stages.items() for key in one.get("foreach", ())]
    found = resources(path.with_name("dvc.yaml"), [*names, *(stages.keys() - {"train"})])
    assert {one.gpus for name, one in found.items() if name.startswith("train@")} == {1}
    assert found["tables"] == Resources()
