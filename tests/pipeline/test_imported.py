"""A released checkpoint leads on to a verdict: the stages of the scale `imported`, run as DVC would run them."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from harness import cli
from harness.config import experiments, schema
from harness.paths import Checkout
from harness.pipeline import suite
from models.transgan.generator import build_generator
from tests import scoring
from tests.comparison import reviewer
from tests.models.test_official import export


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """The reviewer's checkout with two experiments of its row, one trained and one with released weights."""
    reviewer.checkout(tmp_path)
    protocol = scoring.entry(n_fake=reviewer.N_FAKE, references={"any": {"n_real": reviewer.N_REAL}})
    (tmp_path / "experiments/protocols").unlink()  # a link to the project's
    reviewer.write(tmp_path / "experiments/protocols/tiny.yaml", {"tiny": protocol})
    suite_of_checkpoints = {"about": "", "scorers": ["torch"], "protocols": ["tiny"], "tables": {}}
    reviewer.write(tmp_path / "experiments/suites/checkpoints.yaml", suite_of_checkpoints)
    torch.manual_seed(0)
    torch.save({"avg_gen_state_dict": export(build_generator(32, size="XS"))}, tmp_path / "theirs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / ".cache"))
    return Checkout(tmp_path)


def run(*arguments: str) -> int:
    try:
        return cli.run(arguments)
    except SystemExit as end:
        return int(end.code or 0)


def stages(folder: Path) -> list[str]:
    """The command lines of a scale's pipeline in order, with DVC's placeholders filled in."""
    params = yaml.safe_load((folder / "params.yaml").read_text())
    lines = []
    for stage in yaml.safe_load((folder / "dvc.yaml").read_text())["stages"].values():
        items: dict[str, Any] = stage.get("foreach", {"": {}})
        for key, item in items.items():
            line = stage.get("do", stage)["cmd"].replace("${key}", key).replace("${threads}", str(params["threads"]))
            for name, value in item.items():
                line = line.replace(f"${{item.{name}}}", str(value))
            lines.append(line)
    return lines


@pytest.mark.slow
def test_one_command_and_the_generated_stages_lead_to_a_verdict(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("import", "transgan", "theirs", "--as", "xs") == 0
    said = capsys.readouterr().out
    assert "TransGAN XS, 32 px, from avg_gen_state_dict, the weights of xs-imported" in said
    assert said.endswith("next: dvc repro results/imported/dvc.yaml && harness check --params results/imported\n")
    monkeypatch.chdir(checkout.results / "imported")
    for line in stages(Path()):
        assert line.startswith("harness ")
        assert run(*shlex.split(line)[1:]) == 0, capsys.readouterr().err
    capsys.readouterr()
    assert run("check") == 1
    verdict = next(line for line in capsys.readouterr().out.splitlines() if "fixture / GAN-A" in line)
    assert verdict.startswith("checkpoint  xs-imported ")
    assert verdict.split()[-2:] == ["outside", "fail"]  # the weights are random


def test_every_further_experiment_is_a_row_more(checkout: Checkout) -> None:
    assert run("import", "transgan", "theirs", "--as", "xs-checkpoint") == 0
    assert run("import", "transgan", "theirs", "--as", "xs") == 0
    assert run("import", "transgan", "theirs", "--as", "xs") == 0, "once more, from another file perhaps"
    rows = suite.read(checkout, "imported").tables["imported"]
    assert [*rows] == ["xs-checkpoint", "xs-imported"]
    known: dict[str, schema.Experiment] = experiments.load(checkout.root)
    assert known["xs-imported"].recipe == "transgan-checkpoint"
    assert known["xs-imported"].reported == known["xs"].reported
    for name in rows:
        assert checkout.released(known[name].checkpoint).is_file()


def test_weights_of_another_network_change_nothing(checkout: Checkout, capsys: pytest.CaptureFixture[str]) -> None:
    wide = reviewer.XS | {"generator": {"model": "transgan-xs", "width": 256}, "dataset": "shapes", "recipe": "tiny"}
    reviewer.write(checkout.experiments / "tables/wide.yaml", {"wide": wide})
    before = sorted(checkout.root.rglob("*"))
    for name, said in (("wide", "for experiment wide: not this network"), ("wdie", "Did you mean 'wide'")):
        assert run("import", "transgan", "theirs", "--as", name) == 1
        assert said in capsys.readouterr().err
    assert run("import", "transgan", "theirs") == cli.USAGE
    assert run("import", "transgan", "theirs", "--as", "xs", "--out", "x") == cli.USAGE
    assert run("import", "transgan", "theirs", "--as", "xs", "--size", "S") == cli.USAGE
    assert sorted(checkout.root.rglob("*")) == before
