"""Somebody's samples held against a row of the ledger: fields, numbers, verdicts, exit codes."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness import cli
from harness.comparison import foreign, reported
from harness.errors import HarnessError
from harness.metrics import score
from harness.metrics.extractors.base import Setup
from harness.metrics.fid import GaussianStatistics
from harness.records import score_record
from tests.comparison import reviewer
from tests.comparison.reviewer import DECLARED, SCORE
from tests.metrics.inception.helpers import PixelExtractor, shape_images
from tests.paths import ROOT

Run = Callable[..., tuple[int, str, str]]


ROWS = {"fixture/GAN-A": 1.0, "fixture/GAN-B": 0.35, "fixture/GAN-C": 1.4}  # times what the first samples score


class Extractor(PixelExtractor):
    """A scorer without weights that calls itself as the torch scorer with stand-in weights does."""

    scorer, resizer = "torch", "tf1-bilinear"


def measured() -> float:
    """What the samples of the first seed score."""
    real, fake = (shape_images(n, seed) // by for n, seed, by in ((reviewer.N_REAL, 100, 1), (reviewer.N_FAKE, 0, 2)))
    features = [Extractor(Setup())(images)[0].astype(np.float64) for images in (real, fake)]
    (mean, covariance), (of_fake, its) = ((rows.mean(axis=0), np.cov(rows, rowvar=False)) for rows in features)
    return GaussianStatistics(mean, covariance).distance(of_fake, its).value


FID = measured()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = {row: f"{share * FID:.2f}" for row, share in ROWS.items()}
    return reviewer.checkout(tmp_path_factory.mktemp("checkout"), rows)


@pytest.fixture
def run(checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `harness score` in the checkout: exit code, stdout, stderr."""
    monkeypatch.chdir(checkout)
    monkeypatch.setenv("HARNESS_CACHE", str(checkout / ".cache"))
    monkeypatch.setattr(score, "open_extractor", lambda _, setup, resizer: Extractor(setup))

    def call(*arguments: str) -> tuple[int, str, str]:
        try:
            code = cli.run([*SCORE, *arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        return (code, *capsys.readouterr())

    return call


@pytest.mark.parametrize(
    ("row", "verdict", "code"), [("GAN-A", "within", 0), ("GAN-B", "outside", 1), ("GAN-C", "too-good", 1)]
)
def test_a_folder_of_pngs_and_a_row_give_a_verdict_in_one_line(run: Run, row: str, verdict: str, code: int) -> None:
    found, out, err = run("seed0", "shapes", "--against", f"fixture/{row}", "--as", "released", *DECLARED)
    assert found == code, err
    assert out.splitlines()[-1].endswith(f": {verdict} (declared: ema, quantisation)")
    assert "samples: 24 PNGs of 32 px\nreference: 40 images of 32 px" in err


@pytest.mark.parametrize(
    ("row", "verdict", "code"), [("GAN-A", "within", 0), ("GAN-B", "outside", 1), ("GAN-C", "too-good", 1)]
)
def test_folders_of_three_seeds_are_judged_as_trainings(run: Run, row: str, verdict: str, code: int) -> None:
    more = (*DECLARED, "--declare", "snapshot=last", "--as", "retrained")
    found, out, _ = run("seed0", "seed1", "seed2", "shapes", "--against", f"fixture/{row}", *more)
    assert found == code
    assert f", 3 dumps: {verdict} (presumed; declared: ema, quantisation, snapshot)" in out.splitlines()[-1]


def test_two_seeds_are_too_few_and_the_same_one_twice_is_noticed(run: Run) -> None:
    more = (*DECLARED, "--declare", "snapshot=last", "--as", "retrained", "--against", "fixture/GAN-A")
    code, out, _ = run("seed0", "seed1", "shapes", *more)
    assert (code, out.splitlines()[-1].split(": ", 1)[1].split()[0]) == (2, "insufficient-runs")
    code, out, _ = run("seed0", "seed1", "seed0", "shapes", *more)
    assert code == 2
    assert "not-comparable (samples_sha256)" in out


def test_dumps_that_were_not_scored_alike_are_no_seeds(run: Run, checkout: Path) -> None:
    reviewer.write_pngs(checkout / "fewer", np.zeros((0, 32, 32, 3), np.uint8))
    for path in sorted((checkout / "seed0").iterdir())[:20]:
        shutil.copy(path, checkout / "fewer")
    arguments = ("--against", "fixture", "--as", "retrained", *DECLARED)
    code, _, err = run("seed1", "fewer", "shapes", *arguments)
    assert code == 1
    assert "seed1 and fewer: not scored alike (n_fake 24 and 20)" in err
    code, _, err = run("fewer", "shapes", *arguments)
    assert "warning: 20 samples, fewer than the 24 of fixture" in err


def test_without_as_the_distance_is_printed_and_no_verdict(run: Run) -> None:
    code, out, err = run("seed0", "shapes", "--against", "fixture/GAN-B")
    assert code == 2
    assert f"reported {0.35 * FID:.2f} (+" in out
    assert "neither released nor retrained" in out
    assert "no verdict without --as released" in err
    assert "add --declare ema=true|false --declare snapshot=last|best|checkpoint --declare quantisation=" in err


def test_json_says_row_by_row_what_the_fields_are_to_each_other(run: Run) -> None:
    code, out, _ = run("seed0", "shapes", "--against", "fixture", "--as", "released", *DECLARED[:2], "--json")
    found = json.loads(out)
    assert (code, found["exit_code"]) == (2, 2)
    assert [row["row"] for row in found["rows"]] == [*ROWS]
    fields = {line["field"]: line["fid"] for line in found["rows"][0]["fields"]}
    expected = {"n_fake": "equal", "ema": "declared", "quantisation": "unknown", "snapshot": "the authors'"}
    assert {name: fields[name] for name in expected} == expected
    (verdict,) = found["rows"][0]["verdicts"]
    assert (verdict["verdict"], verdict["blocking_fields"], verdict["reported"]) == (
        "not-comparable",
        ["quantisation"],
        round(FID, 2),
    )
    assert found["scores"][0]["protocol"]["declared"] == ["ema"]
    code, out, _ = run("seed0", "shapes", "--n", "20", "--against", "fixture/GAN-A", "--as", "released", "--json")
    fields = {line["field"]: line["fid"] for line in json.loads(out)["rows"][0]["fields"]}
    assert fields["n_fake"] == "stated otherwise"


def test_the_claim_stands_in_the_record(run: Run, checkout: Path) -> None:
    out = checkout / "theirs.json"
    arguments = ("--against", "fixture/GAN-A", "--as", "released", *DECLARED, "--out", str(out))
    assert run("seed0", "shapes", *arguments)[0] == 0
    assert score_record.read(out).claim == score_record.Claim("released", ("fixture/GAN-A",))
    assert score_record.read(out).run.experiment is None


@pytest.mark.parametrize("name", ["T4-model-scaling/TransGAN-S", "autogan-cifar10", "cifar10"])
def test_against_the_papers_rows_a_stand_in_is_comparable_with_nothing(
    run: Run, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    shutil.copytree(checkout, tmp_path / "other", ignore=shutil.ignore_patterns("reported"))
    (tmp_path / "other/results").mkdir(exist_ok=True)
    (tmp_path / "other/results/reported").symlink_to(ROOT / "results/reported")
    monkeypatch.chdir(tmp_path / "other")
    code, out, err = run("seed0", "shapes", "--against", name, "--as", "released", *DECLARED)
    assert code == 2
    judged = [line for line in out.splitlines() if re.search(r"\b(FID|IS) +measured", line)]
    assert judged
    assert "--protocol autogan-50k" in err, "which scores as the row was scored"
    assert ("field  " in out) == ("TransGAN" in name), "of many rows only the verdicts are printed"
    assert len(err.splitlines()) < 20
    assert all("not-comparable (" in line and "stand_in_inception" in line for line in judged)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("seed0", "shapes", "--against", "fixtrue/GAN-A", "--as", "released"), "Nearest: fixture/GAN-A"),
        (("seed0", "shapes", "--as", "released"), "--as and several SAMPLES need --against"),
        (("seed0", "seed1", "shapes"), "--as and several SAMPLES need --against"),
        (("seed0",), "SAMPLES and REFERENCE are both needed"),
        (("seed0", "shapes", "--samples", "seed1"), "samples are named twice"),
        (("seed0", "seed1", "shapes", "--against", "fixture", "--out", "x.json"), "--out and --run are of one dump"),
        (("seed0", "shapes", "--against", "fixture", "--as", "mine"), "'mine' is not one of"),
    ],
)
def test_a_wrong_command_line_is_exit_code_64(run: Run, arguments: tuple[str, ...], said: str) -> None:
    code, out, err = run(*arguments)
    assert code == cli.USAGE
    assert said in err
    assert out == ""


def test_both_sides_take_the_names_of_data_sets(run: Run) -> None:
    code, out, err = run("shapes", "shapes")
    assert (code, out.split()[:2]) == (0, ["FID", "0.0000"]), err
    code, _, err = run("shapse", "shapes")
    assert code == 1
    assert "shapse: no such file or folder" in err


# ---------------------------------------------------------------- names of rows


def test_a_prefix_stands_for_all_rows_below_it_and_a_data_set_for_all_of_its_own() -> None:
    ledger = reported.load(ROOT / "results/reported")
    assert foreign.find_rows(ledger, "T4-model-scaling/TransGAN-S") == (
        "T4-model-scaling/TransGAN-S/depth {5,2,2} dim 384",
    )
    assert len(foreign.find_rows(ledger, "T4-model-scaling")) == 4
    assert foreign.find_rows(ledger, "T4-model-scaling/TransGAN-S/depth {5") == (
        "T4-model-scaling/TransGAN-S/depth {5,2,2} dim 384",
    )
    of_data_set = foreign.find_rows(ledger, "cifar10")
    assert set(ledger.rows.loc[ledger.rows["link"].isin(of_data_set), "dataset"]) >= {"cifar10"}
    assert "T4-model-scaling/TransGAN-S/depth {5,2,2} dim 384" in of_data_set
    with pytest.raises(HarnessError, match=r"'t4-model-scaling/TransGAN-X'\. Nearest: T4-model-scaling/TransGAN-XL"):
        foreign.find_rows(ledger, "t4-model-scaling/TransGAN-X")
    with pytest.raises(HarnessError, match="Its tables are"):
        foreign.find_rows(ledger, "qqqqqqqq")


def test_statistics_of_unknown_making_are_comparable_only_on_the_user_s_word(run: Run, checkout: Path) -> None:
    features = Extractor(Setup())(shape_images(reviewer.N_REAL, 100))[0].astype(np.float64)
    np.savez(checkout / "theirs.npz", mu=features.mean(axis=0), sigma=np.cov(features, rowvar=False))
    said = ("dataset=shapes", "split=train", "crop=none", "resize=none", "stand_in_data=false")
    more = [*DECLARED, "--n-real", "40", *(part for one in said for part in ("--declare", one))]
    arguments = ("seed0", "theirs.npz", "--against", "fixture/GAN-A", "--as", "released", *more)
    code, out, err = run(*arguments)
    assert code == 2, err
    assert out.splitlines()[-1].endswith(": not-comparable (resizer, inception)")
    assert re.search(r"^resizer +unknown +tf1-bilinear +unknown$", out, re.MULTILINE)
    assert (
        "the statistics do not say everything; if you know it, add --declare resizer=NAME --declare inception=" in err
    )
    code, out, err = run(*arguments, "--declare", "resizer=tf1-bilinear", "--declare", "inception=stand-in")
    assert code == 0, err
    assert "within (declared: crop, dataset, ema, inception, n_real, quantisation, resize, resizer" in out
