"""Suites: the files of every scale are what its suite gives, and what cannot be run is refused with the remedy."""

import dataclasses
import json
import re
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
from tests.config.test_ranges import bare
from tests.conftest import TINY
from tests.paths import ROOT
from tests.scoring import entry

KEYS = {f.name for f in dataclasses.fields(schema.Params)}
SCALES = suite.names(Checkout(ROOT))


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A checkout with the suite `tiny` of two experiments; nothing is packed."""
    for name, value in TINY.items():
        if name != "params.yaml":
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(yaml.safe_dump(value))
    (tmp_path / "experiments/models").symlink_to(ROOT / "experiments/models")
    (tmp_path / "experiments/overlays.yaml").write_text(yaml.safe_dump(OVERLAYS))
    write(tmp_path, {"e": {}, "f": {"seeds": [0, 1], "snapshots": [8, "best", "last"]}})
    return Checkout(tmp_path)


def write_protocols(checkout: Checkout, **entries: dict[str, Any]) -> None:
    (checkout.root / "experiments/protocols/more.yaml").write_text(yaml.safe_dump(entries))


OVERLAYS = {
    "half": {
        "about": "",
        "changes": {"precision": "bfloat16", "compile": True},
        "exceptions": [{"experiments": ["f"], "changes": {"compile": False}, "because": "a test"}],
    }
}


def write(root: Path, rows: dict[str, Any], **others: Any) -> None:
    path = root / "experiments/suites/tiny.yaml"
    path.parent.mkdir(exist_ok=True)
    value = {"about": "", "protocols": ["tiny"], "choose": "tiny", "tables": {"t": rows}}
    path.write_text(yaml.safe_dump(value | others))


def made(checkout: Checkout, **options: Any) -> experiments.Scale:
    """The scale `tiny` as written."""
    paths = suite.write([suite.generate(checkout, "tiny", **options)])
    return experiments.open_scale(paths[0])


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


def test_more_reals_than_there_are_is_refused(checkout: Checkout) -> None:
    write_protocols(checkout, large=entry(references={"any": {"n_real": 41}}))
    write(checkout.root, {"e": {}}, protocols=["large"])
    with pytest.raises(HarnessError, match="protocol 'large': 41 reals of 'tiny', which has 40 images"):
        suite.check(made(checkout))


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
    ("rows", "message"),
    [
        ({"ee": {}}, "unknown experiment .*'ee'"),
        ({"e": {"seed": [0]}}, "unknown key 'seed'.*seeds"),
        (
            {"e": {"snapshots": ["last; touch x"]}},
            r"t\.e\.snapshots\[0\]: 'last; touch x' must be `last`, `best` or an",
        ),
        ({"e": {"snapshots": ["../last"]}}, "must be `last`, `best` or an image count"),
        ({"e": {"snapshots": ["8", 8]}}, r"snapshots: \['8', 8\] names 8 more than once; delete the repetition"),
        ({"e": {"seeds": [1, 1]}}, r"t\.e\.seeds: \[1, 1\] names 1 more than once"),
        ({"e": {"limit_nimg": 0}}, r"t\.e\.limit_nimg: 0 must be at least 1"),
        ({}, "tables: no experiment stands in it"),
    ],
)
def test_an_unfit_row_is_named(checkout: Checkout, rows: dict[str, Any], message: str) -> None:
    write(checkout.root, rows)
    with pytest.raises(HarnessError, match=message):
        suite.generate(checkout, "tiny")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"seeds": [0, 0]}, r"seeds: \[0, 0\] names 0 more than once; delete the repetition"),
    ({"seeds": []}, r"seeds: \[\] is empty; name at least one"),
    ({"seeds": [-1]}, r"seeds\[0\]: -1 must be at least 0"),
    ({"seeds": [2**32]}, r"seeds\[0\]: 4294967296 must be at most 4294967295\."),
    ({"snapshots": [True]}, r"snapshots\[0\]: True must be `last`, `best` or an image count"),
    ({"snapshots": [0]}, r"snapshots\[0\]: 0 must be"),
    ({"snapshots": [80000.0]}, r"snapshots\[0\]: 80000\.0 must be"),
    ({"snapshots": []}, r"snapshots: \[\] is empty"),
    ({"snapshots": ["last", "last"]}, "snapshots: .* names last more than once"),
    ({"threads": 0}, "threads: 0 must be at least 1"),
    ({"limit_nimg": 0}, "limit_nimg: 0 must be at least 1"),
    ({"limit_nimg_each": 0}, "limit_nimg_each: 0 must be at least 1"),
    ({"device": "gpu"}, "device: 'gpu' must be auto, cpu, cuda or cuda:N"),
    ({"scorers": []}, r"scorers: \[\] is empty"),
    ({"scorers": ["tf", "tf"]}, "scorers: .* names tf more than once"),
    ({"choose": "a b"}, "choose: 'a b' must be a name"),
    ({"overlay": "haf"}, r"overlay: 'haf'\. Did you mean 'half'"),
    ({"protocols": ["tinny"]}, "tinny.* Did you mean 'tiny'"),
    ({"protocols": ["large"]}, "protocol 'large': 41 reals of 'tiny', which has 40 images"),
    (
        {"curve": {"protocols": ["tiny"], "scorers": ["torch"]}},
        r"curve\.scorers: torch is none of `scorers` \(tf, clean\)",
    ),
]


@pytest.mark.parametrize(("value", "message"), WRONG, ids=lambda value: json.dumps(value) if value else "")
@pytest.mark.parametrize("command", [["write", "tiny"], ["copy", "tiny", "mine"]], ids=["write", "copy"])
def test_a_suite_is_checked_where_it_is_written(
    checkout: Checkout, value: dict[str, Any], message: str, command: list[str]
) -> None:
    """The message names its file and the key, and nothing is written or started."""
    write_protocols(checkout, large=entry(references={"any": {"n_real": 41}}))
    write(checkout.root, {"e": {}}, **value)
    before = sorted(checkout.root.rglob("*"))
    done = CliRunner().invoke(group, ["scale", *command, "--root", str(checkout.root)])
    assert done.exit_code != 0
    assert isinstance(done.exception, HarnessError)
    assert re.search(rf"suites/tiny\.yaml.*{message}", str(done.exception))
    assert sorted(checkout.root.rglob("*")) == before


def test_every_value_of_a_suite_has_a_range() -> None:
    """Experiments, protocols and overlays are looked up by name; the first line of a suite is for people."""
    names = {f"suite{part}.protocols" for part in ("", ".curve", ".tables")}
    assert bare(suite.Suite, "suite") == names | {"suite.about", "suite.overlay", "suite.tables"}


def test_an_experiment_stands_in_one_table(checkout: Checkout) -> None:
    write(checkout.root, {}, tables={"t": {"e": {}}, "u": {"e": {}}})
    with pytest.raises(HarnessError, match=r"'e' stands in tables\.t and tables\.u"):
        suite.generate(checkout, "tiny")


def test_a_protocol_cannot_become_a_command(checkout: Checkout) -> None:
    write_protocols(checkout, **{"a; touch x": entry()})
    write(checkout.root, {"e": {}}, protocols=["a; touch x"])
    with pytest.raises(HarnessError, match=r"the name 'a; touch x' must be a name"):
        suite.generate(checkout, "tiny")


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


@pytest.mark.parametrize(
    ("there", "holds"),
    [
        ({"params.yaml": "scale: other\n"}, "holds the scale 'other'"),
        ({"params.yaml": "scale: tiny\noverlay: half\n"}, "holds the scale 'tiny' under the overlay 'half'"),
        ({"params.yaml": "datasets: {}\n"}, "holds a pipeline that is not of a scale"),
        ({"params.yaml": "<<<<<<< ours\n"}, "holds a pipeline that is not of a scale"),
        ({"dvc.yaml": "stages: {}\n"}, "holds a pipeline that is not of a scale"),
    ],
    ids=str,
)
def test_files_of_another_scale_are_not_replaced(checkout: Checkout, there: dict[str, str], holds: str) -> None:
    folder = checkout.results / "there"
    folder.mkdir(parents=True)
    for name, text in there.items():
        (folder / name).write_text(text)
    command = ["scale", "write", "tiny", "--out", str(folder), "--root", str(checkout.root)]
    done = CliRunner().invoke(group, command)
    assert isinstance(done.exception, HarnessError)
    assert re.search(rf"results/there: {holds}.*--out results/there` would.*'tiny'.*another", str(done.exception))
    assert {path.name: path.read_text() for path in folder.iterdir()} == there


def test_a_scale_s_own_files_are_made_anew(checkout: Checkout) -> None:
    """Also broken ones, or those of an overlay that the suite names no more; not where another scale was put there."""
    own = made(checkout).path
    good = own.read_text()
    for text in ("<<<<<<< ours\n", good.replace("overlay: ''", "overlay: half"), good):
        own.write_text(text)
        made(checkout)
        assert own.read_text() == good
    own.write_text(good.replace("scale: tiny", "scale: other"))
    with pytest.raises(HarnessError, match="results/tiny: holds the scale 'other'"):
        made(checkout)
    elsewhere = checkout.results / "elsewhere"
    assert made(checkout, folder=elsewhere).path == made(checkout, folder=elsewhere).path, "written twice"


def test_nothing_is_written_if_one_suite_is_wrong(checkout: Checkout) -> None:
    (checkout.suites / "z.yaml").write_text("about: ''\n")
    done = CliRunner().invoke(group, ["scale", "write", "--root", str(checkout.root)])
    assert isinstance(done.exception, HarnessError)
    assert not (checkout.results / "tiny").exists()


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


def test_a_protocol_that_no_scorer_of_the_suite_serves(checkout: Checkout) -> None:
    write_protocols(checkout, own=entry(scorers={"torch": "tf1-bilinear"}, kid=[]))
    write(checkout.root, {"e": {"protocols": ["own"]}})
    with pytest.raises(HarnessError, match="protocol 'own' is served by torch, the suite's scorers are tf, clean"):
        made(checkout)
    write(checkout.root, {"e": {"protocols": ["onw"]}})
    with pytest.raises(HarnessError, match=r"unknown protocol in suite: e: 'onw'\. Did you mean 'own'"):
        made(checkout)
