"""What a suite may not say is refused where it is written, and no file of another scale is replaced."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.cli import group
from harness.errors import HarnessError
from harness.paths import Checkout
from harness.pipeline import suite
from tests.config.test_ranges import bare
from tests.pipeline.suites import made, tiny_checkout, write, write_protocols
from tests.scoring import entry


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """See `suites.tiny_checkout`."""
    return tiny_checkout(tmp_path)


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


def test_more_reals_than_there_are_is_refused(checkout: Checkout) -> None:
    write_protocols(checkout, large=entry(references={"any": {"n_real": 41}}))
    write(checkout.root, {"e": {}}, protocols=["large"])
    with pytest.raises(HarnessError, match="protocol 'large': 41 reals of 'tiny', which has 40 images"):
        suite.check(made(checkout))


def test_a_protocol_that_no_scorer_of_the_suite_serves(checkout: Checkout) -> None:
    write_protocols(checkout, own=entry(scorers={"torch": "tf1-bilinear"}, kid=[]))
    write(checkout.root, {"e": {"protocols": ["own"]}})
    with pytest.raises(HarnessError, match="protocol 'own' is served by torch, the suite's scorers are tf, clean"):
        made(checkout)
    write(checkout.root, {"e": {"protocols": ["onw"]}})
    with pytest.raises(HarnessError, match=r"unknown protocol in suite: e: 'onw'\. Did you mean 'own'"):
        made(checkout)


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
