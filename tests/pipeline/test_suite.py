"""Suites: the files of every scale are what its suite gives, and what cannot be run is refused with the remedy."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from harness.cli import group
from harness.config import experiments, schema
from harness.errors import HarnessError
from harness.paths import Checkout
from harness.pipeline import suite
from harness.pipeline.score import scorer_device
from tests.paths import ROOT
from tests.pipeline.suites import made, tiny_checkout, write, write_protocols
from tests.scoring import entry

KEYS = {f.name for f in dataclasses.fields(schema.Params)}
SCALES = suite.names(Checkout(ROOT))


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """See `suites.tiny_checkout`."""
    return tiny_checkout(tmp_path)


@pytest.mark.parametrize("scale", SCALES)
def test_the_committed_files_are_what_the_suite_gives(scale: str) -> None:
    found = suite.generate(Checkout(ROOT), scale)
    for name, value in (("params.yaml", found.params), ("dvc.yaml", found.pipeline)):
        path = found.folder / name
        assert path.is_file(), path
        assert not path.is_symlink(), path
        assert yaml.safe_load(path.read_text()) == value, f"{path}: run `{found.command}`"
        assert "&id" not in path.read_text(), "people read it"
    assert (
        found.command in (found.folder / "dvc.yaml").read_text().splitlines()[0]
    )  # `dvc exp run -S` rewrites the other


@pytest.mark.parametrize("scale", SCALES)
def test_every_stage_has_its_name(scale: str) -> None:
    """The trainings, dumps and scores of a scale, under the names that paths and records use."""
    found = suite.generate(Checkout(ROOT), scale)
    stages, params = found.pipeline["stages"], found.params
    assert list(stages["train"]["foreach"]) == list(params["runs"])
    for name in ("sample", "score-tf"):
        assert list(stages[name]["foreach"]) == list(params["dumps"])
    assert ("choose" in stages) == bool(params["choices"])


def test_a_report_waits_for_what_its_page_shows_of_protocol_fields(checkout: Checkout) -> None:
    def waits() -> list[str]:
        deps: list[str] = suite.generate(checkout, "tiny").pipeline["stages"]["report"]["deps"]
        return [path for path in deps if "bench" in path]

    assert waits() == []
    checkout.bench.mkdir(parents=True)
    for layer in (2048, 768):
        (checkout.bench / f"effects-{layer}.json").touch()
    assert waits() == ["../../results/bench/effects-768.json", "../../results/bench/effects-2048.json"]


def test_seeds_and_snapshots_of_a_row(checkout: Checkout) -> None:
    params = made(checkout).params
    assert list(params.runs) == ["e-seed0", "f-seed0", "f-seed1"]
    assert list(params.choices) == ["f-seed0", "f-seed1"]
    assert [key for key in params.dumps if key.startswith("f-seed1")] == [
        "f-seed1-8",
        "f-seed1-best",
        "f-seed1-last",
    ]
    assert params.dumps["f-seed1-best"].weights == "chosen"


def test_an_overlay_of_the_suite_s_own(checkout: Checkout) -> None:
    """Its files lie in the scale's own folder, and their command names no overlay."""
    write(checkout.root, {"e": {}}, overlay="half")
    scale = made(checkout)
    suite.check(scale)
    assert scale.run("e", 0).recipe.precision == "bfloat16"
    assert suite.generate(checkout, "tiny").command == "harness scale write tiny"


def test_a_limit_of_one_row(checkout: Checkout) -> None:
    write(checkout.root, {"e": {"limit_nimg": 8}, "f": {}})
    scale = made(checkout)
    assert scale.run("e", 0).recipe.length_nimg == 8
    assert scale.run("f", 0).recipe.length_nimg == 16
    assert scale.run("e", 0).partial


@pytest.mark.parametrize(("key", "value"), [("device", "cpu"), ("threads", 1), ("limit_nimg", 8)])
def test_what_a_machine_decides_may_differ(checkout: Checkout, key: str, value: Any) -> None:
    scale = made(checkout)
    assert getattr(scale.params, key) != value
    suite.check(dataclasses.replace(scale, params=dataclasses.replace(scale.params, **{key: value})))


@pytest.mark.parametrize("key", sorted(KEYS - {*suite.FREE, "scale", "overlay"}))
def test_everything_else_is_the_suite_s(checkout: Checkout, key: str) -> None:
    scale = made(checkout)
    other: Any = {} if isinstance(getattr(scale.params, key), dict) else "other"
    params = dataclasses.replace(scale.params, **{key: other})
    with pytest.raises(HarnessError, match=f"`{key}` is not what .*run `harness scale write tiny`"):
        suite.check(dataclasses.replace(scale, params=params))


def test_a_scale_without_a_suite_is_refused_where_there_are_suites(checkout: Checkout) -> None:
    scale = made(checkout)
    (checkout.suites / "tiny.yaml").rename(checkout.suites / "tinny.yaml")
    with pytest.raises(HarnessError, match=r"unknown suite 'tiny'.*'tinny'"):
        suite.check(scale)


@pytest.mark.parametrize(
    ("setting", "scorer", "device"),
    [
        ("cuda", "torch", "cuda"),
        ("cuda", "tf", "auto"),
        ("auto", "tf", "auto"),
        ("cpu", "tf", "cpu"),
        ("cpu", "clean", "cpu"),
    ],
)
def test_scores_are_made_on_the_scale_s_device(checkout: Checkout, setting: str, scorer: str, device: str) -> None:
    """The setting reaches a score stage through params.yaml, not through its command line, which DVC compares."""
    write(checkout.root, {"e": {}}, device=setting)
    command = suite.generate(checkout, "tiny").pipeline["stages"]["score-tf"]["do"]["cmd"]
    assert "--device" not in command
    assert scorer_device(setting, scorer) == device


def test_an_overlay_lies_elsewhere_and_changes_recipes(checkout: Checkout) -> None:
    folder = checkout.results / "tiny-half"
    scale = made(checkout, folder=folder, overlay="half")
    assert scale.params.overlay == "half"
    assert scale.root == checkout.root
    recipes = {name: scale.run(name, 0).recipe for name in "ef"}
    assert {name: (recipe.precision, recipe.compile) for name, recipe in recipes.items()} == {
        "e": ("bfloat16", True),
        "f": ("bfloat16", False),
    }
    suite.check(scale)
    with pytest.raises(HarnessError, match="folder of the scale without overlay"):
        suite.generate(checkout, "tiny", overlay="half")
    with pytest.raises(HarnessError, match=r"unknown overlay 'haf'.*half"):
        suite.generate(checkout, "tiny", folder, "haf")


def test_a_copy_is_a_scale_of_one_s_own(checkout: Checkout) -> None:
    done = CliRunner().invoke(group, ["scale", "copy", "tiny", "mine", "--root", str(checkout.root)])
    assert done.exit_code == 0, done.output
    scale = experiments.open_scale(checkout.results / "mine/params.yaml")
    assert scale.params.scale == "mine"
    suite.check(scale)
    with pytest.raises(HarnessError, match="is there already"):
        suite.copy(checkout, "tiny", "mine")
    with pytest.raises(HarnessError, match="must be a name"):
        suite.copy(checkout, "tiny", "../mine")


def test_stages_of_a_copy_are_given_what_those_of_the_original_are(checkout: Checkout) -> None:
    """Under another name, and under an overlay in another folder; a file that is there stays."""
    own = checkout.results / "tiny/resources.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("default: {gpus: 1}\n")
    assert checkout.results / "mine/resources.yaml" in suite.copy(checkout, "tiny", "mine")
    half, elsewhere = (
        suite.generate(checkout, "tiny", checkout.root / "half", "half"),
        checkout.root / "half/resources.yaml",
    )
    assert elsewhere in suite.write([half])
    for path in (checkout.results / "mine/resources.yaml", elsewhere):
        assert path.read_text() == own.read_text()
    elsewhere.write_text("default: {gpus: 0}\n")
    assert elsewhere not in suite.write([half])
    assert elsewhere.read_text() == "default: {gpus: 0}\n"


def test_data_that_is_not_there_is_named_before_anything_runs(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what waits for it; an archive that can be packed is not missing, nor is what is drawn here."""
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    scale = made(checkout)
    assert suite.waiting(scale) == []
    (checkout.root / "mine").mkdir()
    entry = {"source": "folder", "path": "mine", "split": "train", "resolution": 32, "version": 1, "licence": "ours"}
    checkout.datasets.write_text(yaml.safe_dump({"tiny": entry}))
    assert suite.waiting(scale) == []
    (checkout.root / "mine").rmdir()
    (sentence,) = suite.waiting(scale)
    assert (
        "tiny: neither packed nor in HARNESS_DATA, so the rows of 3 trainings wait for `harness data tiny`" in sentence
    )


def test_a_changed_protocol_concerns_the_dumps_that_ask_for_it(checkout: Checkout) -> None:
    """And of these the scorers that serve it: the stamps are what DVC's score stages depend on."""
    rows = {"e": {}, "f": {"protocols": ["own"]}}
    write_protocols(checkout, own=entry(scorers={"tf": "tf1-bilinear"}, kid=[]))
    write(checkout.root, rows)
    before = suite.generate(checkout, "tiny")
    write_protocols(checkout, own=entry(scorers={"tf": "tf1-bilinear"}, kid=[], version=2))
    after = suite.generate(checkout, "tiny")
    assert before.pipeline == after.pipeline
    old, new = before.params["dumps"], after.params["dumps"]
    assert old["e-seed0-last"] == new["e-seed0-last"]
    assert old["f-seed0-last"]["scores"]["clean"] == new["f-seed0-last"]["scores"]["clean"]
    assert old["f-seed0-last"]["scores"]["tf"]["tiny"] == new["f-seed0-last"]["scores"]["tf"]["tiny"]
    assert old["f-seed0-last"]["scores"]["tf"]["own"] != new["f-seed0-last"]["scores"]["tf"]["own"]
    do = after.pipeline["stages"]["score-tf"]["do"]
    assert {"params.yaml": ["dumps.${key}.scores.tf", "threads"]} in do["params"]


def test_a_protocol_draws_what_it_needs(checkout: Checkout) -> None:
    write_protocols(checkout, own=entry(n_fake=12, quantisation="float"))
    write(checkout.root, {"e": {}, "f": {"protocols": ["own"]}})
    dumps = made(checkout).params.dumps
    assert (dumps["e-seed0-last"].n_fake, dumps["e-seed0-last"].variants) == (10, ("rounded",))
    assert (dumps["f-seed0-last"].n_fake, dumps["f-seed0-last"].variants) == (12, ("rounded", "float"))


def test_a_curve_has_protocols_of_its_own(checkout: Checkout) -> None:
    write_protocols(checkout, point=entry(n_fake=3))
    curve = {"protocols": ["point"], "scorers": ["tf"]}
    write(checkout.root, {"e": {"snapshots": [8, "best", "last"]}}, curve=curve)
    scale = made(checkout)
    asked = {
        dump.snapshot: {name: list(of) for name, of in dump.scores.items()} for dump in scale.params.dumps.values()
    }
    whole = {"tf": ["tiny"], "clean": ["tiny"]}
    assert asked == {"8": {"tf": ["point"]}, "best": whole, "last": whole}
    assert scale.params.dumps["e-seed0-8"].n_fake == 3
    stages = suite.generate(checkout, "tiny").pipeline["stages"]
    assert list(stages["score-clean"]["foreach"]) == ["e-seed0-best", "e-seed0-last"]
