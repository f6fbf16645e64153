"""A training made elsewhere enters a scale as if its stages had run there; what does not fit changes nothing."""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import cli, provenance
from harness.cli import group
from harness.config.experiments import find_scale
from harness.errors import HarnessError
from harness.files import read_json, write_json
from harness.paths import Checkout
from harness.pipeline import adopt, contributed, suite
from harness.records import seal
from harness.training import published
from tests.conftest import tiny_root
from tests.paths import ROOT
from tests.scoring import entry

OUT = Path("results/tiny")
RUN, RECORDS = OUT / "runs/f/seed0", OUT / "records/f/seed0"
COMMIT = {"git_commit": "0" * 40, "git_dirty": False}
LAST = ("last", "best")
STAGES = {"train@f-seed0", "choose@f-seed0"} | {f"{k}@f-seed0-{s}" for k in ("sample", "score-torch") for s in LAST}


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose scale `tiny` was reproduced by DVC, each command in this process."""
    import dvc.stage
    from dvc.repo import Repo

    root = tiny_root(tmp_path_factory.mktemp("elsewhere"))
    for link in [path for path in root.glob("*/*") if path.is_symlink()]:  # DVC follows no links out of its folder
        target = link.resolve()
        link.unlink()
        (shutil.copytree if target.is_dir() else shutil.copy)(target, link)
    shutil.copy(ROOT / "experiments/overlays.yaml", root / "experiments")
    (root / "experiments/protocols/choice.yaml").write_text(yaml.safe_dump({"choice": entry(n_fake=4)}))
    (root / "experiments/suites").mkdir()
    rows = {"f": {"snapshots": ["last", "best"]}}
    made = {
        "about": "",
        "threads": 1,
        "protocols": ["tiny"],
        "choose": "choice",
        "scorers": ["torch"],
        "tables": {"t": rows},
    }
    (root / "experiments/suites/tiny.yaml").write_text(yaml.safe_dump(made))
    suite.write([suite.generate(Checkout(root), "tiny", root)])
    Repo.init(str(root), no_scm=True).close()

    def in_process(stage: Any, *_: Any, **__: Any) -> None:
        group.main(shlex.split(stage.cmd)[1:], standalone_mode=False)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("HARNESS_CACHE", str(root / ".cache"))
        patch.setattr(dvc.stage, "run_stage", in_process)
        patch.setattr(provenance, "commit", lambda _: COMMIT)
        with Repo(str(root)) as repo:
            ran = repo.reproduce([f"score-torch@f-seed0-{snapshot}" for snapshot in LAST])
    assert {stage.name for stage in ran} == STAGES | {"plan", "references-tiny"}
    return root


@pytest.fixture
def here(elsewhere: Path, tmp_path: Path) -> Path:
    """The same checkout on another machine: data and plan are made, nothing is trained."""
    skipped = shutil.ignore_patterns("runs", "records", "dvc.lock", ".cache", ".checkpoints", "cache", "tmp")
    return shutil.copytree(elsewhere, tmp_path / "here", ignore=skipped)


@pytest.fixture
def sent(elsewhere: Path, tmp_path: Path) -> Path:
    """The folder of the scale's results as it arrives."""
    return shutil.copytree(elsewhere / OUT, tmp_path / "sent")


def lock(root: Path) -> dict[str, Any]:
    return yaml.safe_load((root / "dvc.lock").read_text())["stages"]


def runs(root: Path) -> set[str]:
    """What DVC's cache of runs holds."""
    folder = root / ".dvc/cache/runs"
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def stale(root: Path) -> set[str]:
    """Stages that DVC would run."""
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        return {address.split(":")[-1] for address in repo.status()}


@pytest.mark.parametrize("folder", [".", "runs/f/seed0", "records/f/seed0"])
def test_stages_are_recorded_as_a_repro_records_them(elsewhere: Path, here: Path, sent: Path, folder: str) -> None:
    (one,) = adopt.adopt(find_scale(here), sent / folder)
    assert set(one.stages) == STAGES
    assert (one.device, one.remarks) == ("cpu", ())
    expected = lock(elsewhere)
    assert lock(here) == {name: expected[name] for name in STAGES}
    assert not STAGES & stale(here)
    for path in (elsewhere / OUT).rglob("*"):
        if path.is_file() and path.parts[-2] != "plan":
            assert (here / OUT / path.relative_to(elsewhere / OUT)).read_bytes() == path.read_bytes(), path
    assert runs(here) <= runs(elsewhere)
    assert len(runs(here)) == len(STAGES), "nothing here is kept in git, so that DVC's cache of runs has every stage"
    assert [one.stages for one in adopt.adopt(find_scale(here), sent)] == [one.stages], "a second time changes nothing"


def test_a_training_alone_is_enough_and_its_dumps_are_made_here(
    here: Path, sent: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for snapshot in LAST:
        shutil.rmtree(sent / f"records/f/seed0/{snapshot}")
        shutil.rmtree(sent / f"runs/f/seed0/{snapshot}")
    shutil.rmtree(sent / "runs/f/seed0/chosen")
    unknown = {"git_commit": None, "git_commit_unknown": "no git here", "device": "cuda"}
    edited(sent / "records/f/seed0/train/train.json", lambda v: v["provenance"].update(unknown))
    assert cli.run(["adopt", str(sent), "--params", str(here)]) == 0
    said, noted = capsys.readouterr()
    assert said.splitlines()[-1] == "f, seed 0, trained on cuda: train@f-seed0"
    assert "train.json names no commit of the code that made it (no git here)" in noted
    assert stale(here) & STAGES == STAGES - {"train@f-seed0"}


def edited(path: Path, change: Callable[[dict[str, Any]], None], seal_anew: bool = True) -> None:
    """Change a record, which is sealed again: what is found must not be its seal."""
    value = read_json(path)
    change(value)
    write_json(path, seal.sealed(value) if seal_anew else value)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def other_recipe(sent: Path) -> None:
    edited(sent / "records/f/seed0/train/train.json", lambda v: v["recipe"].update(flip=True))


def other_version(sent: Path) -> None:
    edited(sent / "records/f/seed0/train/train.json", lambda v: v["run"]["versions"].update(trainer=7))


def other_data(sent: Path) -> None:
    edited(sent / "records/f/seed0/train/train.json", lambda v: v.update(digest="0" * 16))


def other_count(sent: Path) -> None:
    edited(sent / "records/f/seed0/last/samples.json", lambda v: v.update(n=9))


def edited_dump_record(sent: Path) -> None:
    edited(sent / "records/f/seed0/last/samples.json", lambda v: v.update(nimg=15), seal_anew=False)


def edited_score(sent: Path) -> None:
    edited(sent / "records/f/seed0/last/torch/tiny.json", lambda v: v["values"].update(fid=1.0), seal_anew=False)


def edited_training(sent: Path) -> None:
    edited(sent / "records/f/seed0/train/train.json", lambda v: v["cost"].update(wall_sec=1.0), seal_anew=False)


def edited_choice(sent: Path) -> None:
    edited(sent / "records/f/seed0/best/choice.json", lambda v: v["provenance"].update(device="x"), seal_anew=False)


def other_reals(sent: Path) -> None:
    edited(sent / "records/f/seed0/last/torch/tiny.json", lambda v: v["protocol"].update(n_real=19))


def other_run(sent: Path) -> None:
    edited(sent / "records/f/seed0/last/torch/tiny.json", lambda v: v["run"].update(nimg=15, partial=True))


def dirty(sent: Path) -> None:
    edited(sent / "records/f/seed0/last/torch/tiny.json", lambda v: v["provenance"].update(git_dirty=True))


def other_choice(sent: Path) -> None:
    def worse(value: dict[str, Any]) -> None:
        value["candidates"][0]["fid"], value["candidates"][1]["fid"] = (
            value["candidates"][1]["fid"],
            value["candidates"][0]["fid"],
        )

    edited(sent / "records/f/seed0/best/choice.json", worse)


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "another recipe": (other_recipe, r"train\.json: is not the training .*recipe\.flip: True -> False"),
    "another version": (other_version, r"train\.json: is not the training .*versions\.trainer: 7 -> 1"),
    "other data": (other_data, r"train\.json: digest is '0000000000000000', expected"),
    "edited training": (edited_training, r"train\.json: changed since it was written"),
    "edited choice": (edited_choice, r"choice\.json: changed since it was written"),
    "edited dump record": (edited_dump_record, r"last/samples\.json: changed since it was written"),
    "another count": (other_count, r"last/samples\.json: n is 9, expected 10"),
    "edited score": (edited_score, r"torch/tiny\.json: changed since it was written"),
    "other reals": (other_reals, r"torch/tiny\.json: n_real is 19, expected 20"),
    "a score of another run": (other_run, r"torch/tiny\.json: nimg is 15, expected 16"),
    "uncommitted changes": (dirty, r"torch/tiny\.json: was made from uncommitted changes"),
    "another choice": (other_choice, r"choice\.json: not the record of a choice: chosen is"),
    "damaged weights": (lambda s: flip(s / "runs/f/seed0/weights/8.safetensors"), r"8\.safetensors: has sha256"),
    "damaged history": (lambda s: flip(s / "records/f/seed0/train/history.csv"), r"history\.csv has sha256"),
    "damaged dump": (lambda s: flip(s / "runs/f/seed0/last/samples/rounded.npy"), r"rounded\.npy.*sha256"),
    "another file": (
        lambda s: shutil.copy(s / "runs/f/seed0/last/samples/rounded.npy", s / "runs/f/seed0/last/samples/float.npy"),
        r"samples: files is \['float\.npy', 'rounded\.npy'\], expected \['rounded\.npy'\]",
    ),
    "no record": (
        lambda s: (s / "records/f/seed0/train/train.json").unlink(),
        r"train\.json: missing, so stage train@",
    ),
    "no weights": (lambda s: shutil.rmtree(s / "runs/f/seed0/weights"), r"weights: missing, so stage train@f-seed0 is"),
    "a snapshot less": (
        lambda s: (s / "runs/f/seed0/weights/8.safetensors").unlink(),
        r"holds last, planned are 8, last",
    ),
    "half a dump": (lambda s: (s / "records/f/seed0/last/grid.png").unlink(), r"grid\.png: missing, so stage sample@"),
    "no dump": (lambda s: shutil.rmtree(s / "runs/f/seed0/last"), r"samples: missing, so stage sample@"),
    "another seed": (
        lambda s: shutil.copytree(s / "runs/f/seed0", s / "runs/f/seed1"),
        "plans no training of 'f' with",
    ),
    "a copy": (
        lambda s: shutil.copytree(s / "runs/f/seed0", s / "runs/f/seed0 (copy)"),
        "the folder's name is no seed",
    ),
    "another snapshot": (
        lambda s: shutil.copytree(s / "records/f/seed0/last", s / "records/f/seed0/8"),
        r"records/f/seed0/8/.*: no stage of .*params\.yaml makes it",
    ),
    "nothing": (lambda s: shutil.rmtree(s / "records") or shutil.rmtree(s / "runs"), "no training here"),
}


def tree(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".dvc/tmp" not in str(path)
    }


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_and_changes_nothing(here: Path, sent: Path, case: str) -> None:
    spoil, message = REFUSED[case]
    spoil(sent)
    before = tree(here)
    with pytest.raises(HarnessError, match=message):
        adopt.adopt(find_scale(here), sent)
    assert tree(here) == before


def test_a_failure_while_files_are_placed_leaves_none(here: Path, sent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise HarnessError("the disk is full")

    before = tree(here)
    monkeypatch.setattr(adopt, "copy", full)
    with pytest.raises(HarnessError, match="the disk is full"):
        adopt.adopt(find_scale(here), sent)
    assert tree(here) == before
    monkeypatch.setattr(published, "copy", full)
    with pytest.raises(HarnessError, match="the disk is full"):
        adopt.adopt(find_scale(here), sent)
    assert tree(here) == before


def test_another_training_in_its_place_is_not_overwritten(here: Path, sent: Path) -> None:
    (here / RECORDS / "train").mkdir(parents=True)
    (here / RECORDS / "train/history.csv").write_text("nimg\n")
    with pytest.raises(HarnessError, match=r"history\.csv: is there already, and .* differs"):
        adopt.adopt(find_scale(here), sent)


def test_what_stages_depend_on_must_be_here(here: Path, sent: Path) -> None:
    shutil.rmtree(here / OUT / "plan")
    with pytest.raises(HarnessError, match=r"plan/f-seed0\.json: missing, and stage train@f-seed0 depends on it"):
        adopt.adopt(find_scale(here), sent)


# ---------------------------------------------------------------- records alone

OF_RECORDS = (
    *("another recipe", "another version", "other data", "edited dump record", "another count", "edited score"),
    *("other reals", "a score of another run", "uncommitted changes", "edited training", "edited choice"),
    *("another choice", "damaged history"),
)


def findings(root: Path, folder: Path) -> tuple[list[str], bool]:
    found = contributed.examine(find_scale(root), folder)
    return list(found.findings.frame["finding"]), found.checked is not None


def without_files(sent: Path) -> Path:
    shutil.rmtree(sent / "runs")
    return sent


def test_sound_records_are_judged_alone(here: Path, sent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = yaml.safe_load((here / "params.yaml").read_text())
    params["runs"] = {"f-seed5": params["runs"]["f-seed0"] | {"seed": 5}}  # other seeds than ours are welcome
    params["dumps"] = {"f-seed5-last": params["dumps"]["f-seed0-last"] | {"seed": 5}}
    params["choices"] = {"f-seed5": params["choices"]["f-seed0"] | {"seed": 5}}
    (here / "params.yaml").write_text(yaml.safe_dump(params))
    assert findings(here, without_files(sent)) == (["sound"] * 6, True)
    assert findings(here, sent / "records") == (["sound"] * 6, True)
    with pytest.raises(SystemExit) as end:
        cli.run(["check", "--params", str(here), "--records", str(sent)])
    assert end.value.code == 2, "stand-ins are comparable with nothing"
    said = capsys.readouterr().out
    assert "f/seed0/last/torch/tiny.json" in said
    assert "6 records, 0 not sound." in said
    assert "0 pass, 0 fail" in said


@pytest.mark.parametrize("case", OF_RECORDS)
def test_records_that_do_not_fit_are_named_and_nothing_is_judged(
    here: Path, sent: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    spoil, message = REFUSED[case]
    spoil(without_files(sent))
    said, judged = findings(here, sent)
    assert any(re.search(message, sentence) for sentence in said), said
    assert not judged
    with pytest.raises(SystemExit) as end:
        cli.run(["check", "--params", str(here), "--records", str(sent)])
    assert end.value.code == 1
    assert "verdict" not in capsys.readouterr().out


def test_a_record_without_those_it_rests_on_says_nothing(here: Path, sent: Path) -> None:
    (sent / "records/f/seed0/last/samples.json").unlink()
    said, judged = findings(here, sent)
    assert not judged
    assert sum("no samples.json of its dump beside it" in sentence for sentence in said) == 1
    (sent / "records/f/seed0/best/choice.json").unlink()
    said, _ = findings(here, sent)
    assert sum("nobody can say how `best` was chosen" in sentence for sentence in said) == 1
    (sent / "records/f/seed0/train/train.json").unlink()
    said, _ = findings(here, sent)
    assert sum("no train.json of its training beside it" in sentence for sentence in said) == 2
    assert sum("rests on f/seed0/best/samples.json, which is not sound" in sentence for sentence in said) == 1


def test_a_broken_file_and_a_dump_without_scores_are_lines_of_the_table(here: Path, sent: Path) -> None:
    shutil.rmtree(sent / "records/f/seed0/last/torch")
    assert findings(here, sent)[0] == ["sound"] * 5
    (sent / "records/f/seed0/last/samples.json").write_text("{")
    said, judged = findings(here, sent)
    assert not judged
    assert said.count("sound") == 4
    assert sum("not valid JSON" in sentence for sentence in said) == 1


def test_one_training_is_not_contributed_twice(here: Path, sent: Path) -> None:
    adopt.adopt(find_scale(here), sent)
    said, judged = findings(here, sent)
    assert not judged
    assert sum("one training, twice" in sentence for sentence in said) == 1
    assert findings(here, here / OUT) == (["sound"] * 6, True), "the scale's own"
    shutil.copytree(sent / "records/f/seed0", sent / "records/f/seed1")
    said, _ = findings(here, sent)
    assert sum("seed1/train/train.json: is not the training" in one for one in said) == 1
    assert sum("rests on f/seed1/train/train.json, which is not sound" in one for one in said) == 5


def test_an_experiment_that_the_scale_has_not_is_named(here: Path, sent: Path) -> None:
    shutil.copytree(sent / "records/f", sent / "records/g")
    said, judged = findings(here, sent)
    assert not judged
    assert said.count("sound") == 6
    assert sum("has no row of 'g'" in sentence or "rests on g/seed0" in sentence for sentence in said) == 6
    shutil.rmtree(sent / "records/f")
    with pytest.raises(HarnessError, match=r"has no row of what .* holds \(g\); name the scale .* with --params"):
        contributed.examine(find_scale(here), sent)
    with pytest.raises(HarnessError, match="no records here"):
        contributed.examine(find_scale(here), sent / "runs")
    assert cli.run(["check", "--params", str(here), "--records", str(sent), "--write"]) == cli.USAGE
