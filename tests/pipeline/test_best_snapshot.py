"""The `best` snapshot: chosen on samples of its own, and said so wherever its score goes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from safetensors.torch import load_file

from harness.cli import group
from harness.config import experiments
from harness.errors import HarnessError
from harness.metrics.extractors.base import Setup
from harness.metrics.request import Request
from harness.metrics.score import score
from harness.networks import registry
from harness.pipeline import best_snapshot
from harness.sampling import draw
from tests.scoring import chosen, entry
from tests.training import tiny

N = 12


@pytest.fixture
def trained(tiny_scale: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny scale with `e` trained (snapshots at 8 and 16 of 16 images) and a choice asked for."""
    monkeypatch.chdir(tiny_scale)
    monkeypatch.setenv("HARNESS_CACHE", str(tiny_scale / "cache"))
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["choices"] = {"e-seed0": params["runs"]["e-seed0"] | chosen("tiny", "choice", n_fake=N)}
    Path("experiments/protocols/choice.yaml").write_text(yaml.safe_dump({"choice": entry(n_fake=N)}))
    params["dumps"]["e-seed0-best"] = {**params["dumps"]["e-seed0-last"], "snapshot": "best", "weights": "chosen"}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    run("references", "tiny")
    run("train", "e", "--checkpoints", "checkpoints")
    return tiny_scale


def run(*arguments: str) -> str:
    """One `harness` command that must succeed; its output."""
    done = CliRunner().invoke(group, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def read(path: str) -> Any:
    return json.loads(Path(path).read_text())


def test_best_is_the_lowest_fid_of_the_choice_s_own_dumps(trained: Path) -> None:
    assert "<- best" in run("choose", "e")
    record = read("out/records/e/seed0/best/choice.json")
    assert [(one["snapshot"], one["nimg"]) for one in record["candidates"]] == [("8", 8), ("last", 16)]
    spec = experiments.open_scale(Path("params.yaml")).run("e", 0)
    for one in record["candidates"]:
        generator = registry.build("generator", spec.generator, 32)
        tiny.load_generator(generator, Path(f"out/runs/e/seed0/weights/{one['snapshot']}.safetensors"))
        dump = trained / f"{one['snapshot']}.npy"
        np.save(dump, np.concatenate(list(draw.sample_chunks(generator, N, best_snapshot.choice_seed(0)))))
        setup = Setup("stand-in", 64, batch=64, threads=1, cache=trained / "cache")
        again = score(Request(dump, str(trained / "data/tiny"), "torch", setup, n_real=20))
        assert one["fid"] == pytest.approx(again.values.fid, rel=1e-9)
    best = min(record["candidates"], key=lambda one: one["fid"])
    assert record["chosen"] == best["snapshot"]
    chosen, source = (
        load_file(f"out/runs/e/seed0/{name}.safetensors") for name in ("chosen/best", f"weights/{best['snapshot']}")
    )
    assert chosen.keys() == source.keys()
    assert all(chosen[key].equal(source[key]) for key in chosen)


def test_a_score_of_best_says_how_it_was_chosen(trained: Path) -> None:
    run("choose", "e")
    run("sample", "e", "--snapshot", "best")
    sample_record = read("out/records/e/seed0/best/samples.json")
    assert sample_record["snapshot"] == "best"
    assert sample_record["selection"] == (
        f"lowest FID of 2 snapshots, {N} other samples each, torch scorer, stand-in Inception, layer 64"
    )
    run("score-dump", "e", "--snapshot", "best", "--scorer", "torch")
    score = read("out/records/e/seed0/best/torch/tiny.json")
    assert score["protocol"]["selection"] == sample_record["selection"]
    assert score["run"]["snapshot"] == "best"


@pytest.mark.parametrize(("limit_nimg", "partial"), [(None, False), (12, True)])
def test_the_best_of_a_whole_training_is_not_partial(trained: Path, limit_nimg: int | None, partial: bool) -> None:
    """It may lie before the end, and is what papers report; of a training that was cut short it is partial."""
    params = yaml.safe_load(Path("params.yaml").read_text())
    Path("params.yaml").write_text(yaml.safe_dump({**params, "limit_nimg": limit_nimg}))
    run("train", "e", "--checkpoints", "others")
    run("choose", "e")
    for snapshot, expected in (("best", partial), ("last", partial), ("8", True)):
        run("sample", "e", "--snapshot", snapshot, "--n", "3")
        assert read(f"out/records/e/seed0/{snapshot}/samples.json")["partial"] is expected


def test_the_choice_never_sees_the_reported_samples() -> None:
    """Its latents are of another stream, for every seed in use."""
    seeds = range(100)
    assert not {best_snapshot.choice_seed(seed) for seed in seeds} & set(seeds)
    assert len({draw.chunk_seed(s, 0) for seed in seeds for s in (seed, best_snapshot.choice_seed(seed))}) == 200


def test_without_a_choice_best_is_refused(trained: Path) -> None:
    with pytest.raises(HarnessError, match=r"best\.safetensors: no such weights; run `harness choose`"):
        run("sample", "e", "--snapshot", "best")


def test_a_missing_snapshot_is_named(trained: Path) -> None:
    Path("out/runs/e/seed0/weights/8.safetensors").unlink()
    with pytest.raises(HarnessError, match=r"no 8\.safetensors; run `harness train e`"):
        run("choose", "e")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("dumps.e-seed0-best.weights", "weights", "the snapshot 'best' lies in 'chosen'"),
        ("choices.e-seed0.dataset", "other", r"choices\.e-seed0 must repeat runs\.e-seed0"),
        ("choices", {}, "needs a choice; add 'e-seed0' to choices"),
        ("limit_nimg", 4, "keeps no snapshot to choose from"),
    ],
)
def test_plan_refuses_a_choice_that_cannot_be(trained: Path, key: str, value: Any, message: str) -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())
    place = params
    *path, name = key.split(".")
    for part in path:
        place = place[part]
    place[name] = value
    Path("params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(HarnessError, match=message):
        run("plan")
