"""The score stage: one record a protocol from one pass, and nothing else moves when one of them changes."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import cli
from harness.errors import HarnessError
from harness.files import read_json
from tests.metrics.inception.helpers import PixelExtractor
from tests.scoring import entry, scored

SMALL: dict[str, Any] = {"n_fake": 8, "references": {"any": {"n_real": 10}}, "is_splits": 4}
OF_DUMP = "out/records/e/seed0/last/torch"


def plan(**protocols: dict[str, Any]) -> None:
    """Write protocols beside `tiny`, and ask for all of them of the dump of `e`."""
    Path("experiments/protocols/more.yaml").write_text(yaml.safe_dump({k: entry(**v) for k, v in protocols.items()}))
    params = yaml.safe_load(Path("params.yaml").read_text())
    stamps = scored("tiny", scorers=("torch",))["scores"]["torch"]
    for name, changes in protocols.items():
        stamps |= scored("tiny", name, ("torch",), **changes)["scores"]["torch"]
    params["dumps"]["e-seed0-last"] |= {"scores": {"torch": stamps}, "variants": ["rounded", "float"]}
    Path("params.yaml").write_text(yaml.safe_dump(params))


def run(*arguments: str) -> None:
    assert cli.run(arguments) == 0, arguments


def records() -> dict[str, Any]:
    return {path.stem: read_json(path) for path in Path(OF_DUMP).glob("*.json")}


@pytest.fixture
def sampled(tiny_scale: Path, monkeypatch: pytest.MonkeyPatch, pixel_scorer: list[PixelExtractor]) -> Path:
    monkeypatch.chdir(tiny_scale)
    monkeypatch.setenv("HARNESS_CACHE", str(tiny_scale / ".cache"))
    plan(small=SMALL, floats={"quantisation": "float"})
    run("references", "tiny")
    run("train", "e")
    run("sample", "e")
    return tiny_scale


def test_every_protocol_has_its_record(sampled: Path, pixel_scorer: list[PixelExtractor]) -> None:
    run("score-dump", "e", "--scorer", "torch")
    found = {name: one["protocol"] for name, one in records().items()}
    assert {name: (p["name"], p["n_fake"], p["n_real"], p["quantisation"]) for name, p in found.items()} == {
        "tiny": ("tiny", 10, 20, "uint8, rounded"),
        "small": ("small", 8, 10, "uint8, rounded"),
        "floats": ("floats", 10, 20, "float"),
    }
    assert len(pixel_scorer) == 2, "one pass over the rounded file for two protocols, one over the floats"


def test_a_changed_version_leaves_the_scores_of_other_protocols_alone(sampled: Path) -> None:
    run("score-dump", "e", "--scorer", "torch")
    before = records()
    plan(small=SMALL | {"version": 2})
    run("score-dump", "e", "--scorer", "torch")
    after = records()
    assert after.keys() == {"tiny", "small"}, "what is no longer planned is removed"
    for part in ("values", "protocol", "content"):
        assert after["tiny"][part] == before["tiny"][part]
    assert after["small"]["values"] == before["small"]["values"]
    assert (before["small"]["protocol"]["version"], after["small"]["protocol"]["version"]) == (1, 2)


def test_what_changed_since_is_named(sampled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("experiments/protocols/more.yaml")
    path.write_text(path.read_text().replace("n_fake: 8", "n_fake: 9"))
    assert cli.run(["score-dump", "e", "--scorer", "torch"]) == 1
    assert "protocol 'small' changed since" in capsys.readouterr().err
    assert records() == {}
    path.write_text(path.read_text().replace("n_fake: 9", "n_fake: 8"))
    assert cli.run(["score-dump", "e", "--scorer", "tf"]) == 1
    assert "unknown scorer in" in capsys.readouterr().err


def test_facts_are_of_data_sets_that_are_defined_and_packed_as_defined(
    tiny_scale: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tiny_scale)
    assert cli.run(["references", "tinny"]) == 1
    assert "datasets.yaml: no data set 'tinny'. Did you mean 'tiny'?" in capsys.readouterr().err
    path = Path("experiments/datasets.yaml")
    path.write_text(path.read_text().replace("split: drawn", "split: test"))
    assert cli.run(["references", "tiny"]) == 1
    assert "another definition of 'tiny'" in capsys.readouterr().err
    Path("data/tiny/card.json").unlink()
    assert cli.run(["references", "tiny"]) == 1
    assert "data set 'tiny' is not packed yet: `harness data tiny`" in capsys.readouterr().err
    assert not Path("out/references").exists()


def test_a_reference_that_was_packed_otherwise_is_refused(sampled: Path) -> None:
    from harness.config.experiments import find_scale
    from harness.pipeline import references

    path = Path("out/references/tiny.json")
    path.write_text(path.read_text().replace('"split": "drawn"', '"split": "other"'))
    with pytest.raises(HarnessError, match=r"'tiny' was packed otherwise since \(split differ\)"):
        references.check(find_scale(), "tiny", {"tiny"})
    path.unlink()
    with pytest.raises(HarnessError, match="no such file; run `harness references tiny`"):
        references.check(find_scale(), "tiny", {"tiny"})
