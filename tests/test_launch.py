"""A launch as a user runs it, on a tiny scale and the CPU: trained side by side, scored, packed, brought home."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file

from harness import data, experiments, launch, launchplan, transfer, zoo
from harness.errors import HarnessError
from harness.launchplan import Clock, Plan
from harness.parcel import Limits
from harness.training.checkpoint import load_generator
from tests.conftest import tiny_root

ROOT = Path(__file__).resolve().parent.parent
PARAMS = "results/tiny/params.yaml"
PLAN = {
    "minutes": 10,
    "reserve_minutes": 1,
    "pack_minutes": 1,
    "slots": 2,
    "n_keep": 12,
    "n_real": 20,
    "assumed_images_per_sec": 1000,
    "parts": 4,
    "part_mib": 8,
    "total_mib": 24,
    "log_sec": 1,
    "tiers": [
        {
            "name": "pair",
            "entries": [
                {"experiment": "e", "until_nimg": 8, "minutes": 5, "n_score": 14, "whole": True},
                {"experiment": "f", "until_nimg": 8, "minutes": 5},
            ],
        }
    ],
}


def prepare(folder: Path) -> Path:
    """A repository root with the tiny scale in results/tiny."""
    root = tiny_root(folder)
    params = yaml.safe_load((root / "params.yaml").read_text())
    (root / "params.yaml").unlink()
    (root / "results/tiny").mkdir()
    (root / PARAMS).write_text(yaml.safe_dump({**params, "root": "../../", "out": ""}))
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stand-in weights are drawn once for all tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def away(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A repository root with the tiny scale, launched once through the command line, with room in `outbox`."""
    root = prepare(tmp_path_factory.mktemp("away"))
    (root / "results/tiny/launch.yaml").write_text(yaml.safe_dump(PLAN))
    command = [sys.executable, "-c", "from harness.commands.launch import command; command()", "run"]
    command += ["--params", PARAMS, "--device", "cpu", "--out", "outbox", "--cache", str(cache)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    return root


def events(root: Path) -> list[dict]:
    return [json.loads(line) for line in (root / "results/tiny/records/launch.jsonl").read_text().splitlines()]


def test_every_training_is_stopped_scored_and_recorded(away: Path):
    records = away / "results/tiny/records"
    for experiment, n in (("e", 14), ("f", 12)):
        score = json.loads((records / experiment / "seed0/8/torch.json").read_text())
        assert score["fid"] > 0
        assert (score["protocol"]["n_fake"], score["protocol"]["n_real"]) == (n, 20)
        assert (score["run"]["nimg"], score["run"]["partial"]) == (8, True)
        train = json.loads((records / experiment / "seed0/train/train.json").read_text())
        assert train["nimg"] == 8
        assert train["cost"]["images_per_sec"] > 0
        assert train["cost"]["memory_mib"] > 0
        assert (records / experiment / "seed0/train/history.csv").is_file()
    names = [event["event"] for event in events(away)]
    assert names[0] == "start"
    assert names[-1] == "pack"
    begun = [i for i, name in enumerate(names) if name == "begin"]
    assert len(begun) == 2
    assert max(begun) < names.index("trained"), "the two trained side by side"


def test_results_come_home(away: Path, cache: Path, tmp_path: Path):
    home = prepare(tmp_path)
    scale = launchplan.open_scale(home / PARAMS)
    tars = sorted((away / "outbox").iterdir())
    assert all(tar.stat().st_size <= 8 * 2**20 for tar in tars)
    lines = transfer.unpack(tars, scale)
    assert len(lines) == 2
    for experiment, came in (("e", 12), ("f", 14)):
        there, here = (r / f"results/tiny/runs/{experiment}/seed0/8/samples.npy" for r in (away, home))
        drawn, kept = np.load(there), np.load(here)
        assert len(kept) == scale.params.scoring.n_fake == 10
        assert np.array_equal(kept, drawn[:10])
        record = json.loads((home / f"results/tiny/records/{experiment}/seed0/8/samples.json").read_text())
        assert record["n"] == 10
        assert record["drawn"]["n"] == len(drawn)
        whole = np.load(here.parent / "whole" / "samples.npy")
        assert np.array_equal(whole, drawn[: min(came, len(drawn))])

    # the scorers at home take the dump, and it says that it was drawn elsewhere
    from harness.metrics.score import Request, Setup, score

    place = "e/seed0/8"
    request = Request(
        home / "results/tiny/runs" / place / "samples.npy",
        str(home / "data/tiny"),
        "torch",
        Setup("stand-in", 64, threads=1, cache=cache),
        record=home / "results/tiny/records" / place / "samples.json",
        n_real=20,
    )
    assert score(request)["protocol"]["n_fake"] == 10

    # half-precision weights are the generator's, to half precision
    run = scale.run("e", 0)
    generator = zoo.build("generator", run.generator, run.resolution)
    weights = home / "results/tiny/runs/e/seed0/half/8.safetensors"
    assert load_generator(generator, weights) == 8
    full = load_file(away / "results/tiny/runs/e/seed0/weights/8.safetensors")
    for name, tensor in generator.state_dict().items():
        assert np.allclose(tensor, full[name], rtol=1e-3, atol=1e-6)
    assert transfer.unpack(tars, scale) == lines, "a second time changes nothing"


def test_a_second_launch_trains_nothing_more(away: Path, cache: Path):
    before = len(events(away))
    launcher = begin(away, PLAN, cache)
    launch.run(launcher, away / "again")
    names = [event["event"] for event in events(away)[before:]]
    assert set(names) - {"progress"} == {"start", "finished", "reference", "pack"}
    assert (away / "again/results.1.tar").is_file()


def test_an_early_end_leaves_whole_comparisons(tmp_path: Path, cache: Path):
    root = prepare(tmp_path)
    recipes = root / "experiments/recipes/tiny.yaml"
    tiny = yaml.safe_load(recipes.read_text())
    tiny["tiny"] |= {"length_nimg": 10**8, "snapshots_nimg": [8, 16, 10**8], "grids_nimg": []}
    recipes.write_text(yaml.safe_dump(tiny))
    plan = json.loads(json.dumps(PLAN))
    entries = plan["tiers"][0]["entries"]
    entries[0] |= {"until_nimg": 10**8, "n_score": None}  # never done
    entries[1] |= {"until_nimg": 16}
    plan["tiers"].append({"name": "later", "entries": [{"experiment": "e", "seed": 1, "until_nimg": 16, "minutes": 8}]})
    launcher = begin(root, plan, cache)
    first, second, later = launcher.jobs

    def end_the_time() -> None:
        patience = time.monotonic() + 120
        while not (16 in first.snapshots() and 16 in second.scores()) and time.monotonic() < patience:
            time.sleep(0.05)
        launcher.clock.stop = time.monotonic()

    threading.Thread(target=end_the_time, daemon=True).start()
    launch.run(launcher, tmp_path / "outbox")
    # the unfinished training is scored where its partner is, and its records are there
    assert 16 in first.scores()
    train = json.loads((first.records / "train/train.json").read_text())
    assert 16 <= train["nimg"] < 10**8
    assert train["nimg"] == first.reached()
    log = (root / "results/tiny/records/launch.jsonl").read_text()
    assert '"event": "common", "tier": "pair", "nimg": 16' in log
    assert f'"no time", "run": "{later.name}"' in log, "nothing begins that cannot end"
    assert not later.scores()
    home = prepare(tmp_path / "home")
    lines = transfer.unpack(sorted((tmp_path / "outbox").iterdir()), launchplan.open_scale(home / PARAMS))
    assert len(lines) == 2


@pytest.mark.slow
def test_a_failed_training_is_replaced_and_does_not_stop_the_rest(tmp_path: Path, cache: Path):
    root = prepare(tmp_path)
    tables = root / "experiments/tables/tiny.yaml"
    table = yaml.safe_load(tables.read_text())
    table["broken"] = {**table["e"], "changes": {"critic_optimiser": {"lr": 1e30}}}  # diverges
    tables.write_text(yaml.safe_dump(table))
    plan = json.loads(json.dumps(PLAN))
    entry = {"experiment": "broken", "until_nimg": 8, "minutes": 5, "instead": "f"}
    plan["tiers"] = [{"name": "only", "entries": [entry]}]
    launcher = begin(root, plan, cache)
    launch.run(launcher, tmp_path / "outbox")
    assert [job.name for job in launcher.jobs] == ["f-seed0"]
    assert 8 in launcher.jobs[0].scores()
    failed = [
        json.loads(x) for x in (root / "results/tiny/records/launch.jsonl").read_text().splitlines() if '"failed"' in x
    ]
    assert failed[0]["exit_code"] == 3
    assert "diverged" in failed[0]["output"]


def test_inputs_travel(tmp_path: Path, cache: Path):
    here, there = prepare(tmp_path / "here"), prepare(tmp_path / "there")
    shutil.rmtree(there / "data" / "tiny")
    scale = launchplan.open_scale(here / PARAMS)
    tars = transfer.pack_inputs(scale, cache, tmp_path / "outbox", Limits(2, 59, 118))
    transfer.unpack(tars, launchplan.open_scale(there / PARAMS))
    ours, theirs = data.load(here / "data/tiny"), data.load(there / "data/tiny")
    assert np.array_equal(ours.images, theirs.images)
    assert ours.card == theirs.card
    assert list((there / ".cache/inception").glob("stand-in*.pb"))
    with pytest.raises(HarnessError, match="do not fit"):
        transfer.pack_inputs(scale, cache, tmp_path / "small", Limits(1, 0.1, 0.1))


# ---------------------------------------------------------------- plans


def begin(root: Path, plan: dict, cache: Path) -> launch.Launch:
    from harness import config

    parsed = config.read(Plan, plan, "plan")
    clock = Clock(parsed.minutes, parsed.reserve_minutes, parsed.pack_minutes)
    return launch.Launch(parsed, root / PARAMS, "cpu", root / ".checkpoints", cache, clock)


def test_what_is_missing_is_said_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = prepare(tmp_path)
    shutil.rmtree(root / "data" / "tiny")
    with pytest.raises(HarnessError, match="no packed data set"):
        begin(root, PLAN, root)
    monkeypatch.setattr(launchplan, "NEEDED", {"torch": "torch", "nosuch.package": "no-such-package"})
    with pytest.raises(HarnessError, match="missing: no-such-package;"):
        begin(root, PLAN, root)


def test_a_snapshot_that_the_recipe_does_not_take_is_refused(tmp_path: Path, cache: Path):
    plan = json.loads(json.dumps(PLAN))
    plan["tiers"][0]["entries"][0]["snapshots"] = [12]
    with pytest.raises(HarnessError, match=r"\[12\] are no snapshots"):
        begin(prepare(tmp_path), plan, cache)


def test_the_deadlines_leave_time_to_finish():
    clock = Clock(9.5, 1.6, 0.7)
    assert clock.finish - clock.stop == pytest.approx(96)
    assert clock.stop - clock.begun == pytest.approx(60 * 7.2)
    with pytest.raises(HarnessError, match="used up"):
        Clock(2, 1.5, 0.7)


def test_the_committed_plan_and_scale_agree():
    scale = experiments.open_scale(ROOT / "results/short/params.yaml")
    plan = launchplan.read_plan(ROOT / "results/short/launch.yaml")
    entries = [entry for tier in plan.tiers for entry in tier.entries]
    dumps = [(e.experiment, e.seed, n) for e in entries for n in e.snapshots or (e.until_nimg,)]
    assert dumps == [(d.experiment, d.seed, int(d.snapshot)) for d in scale.params.dumps.values()]
    assert {(e.experiment, e.seed) for e in entries} == {(r.experiment, r.seed) for r in scale.params.runs.values()}
    known = experiments.load()
    for entry in entries:
        for name in filter(None, (entry.experiment, entry.instead)):
            run = scale.run(name, entry.seed)
            assert run.partial
            assert known[name].reported == (), "rows of a short run answer nothing in the paper"
            assert set(entry.snapshots or (entry.until_nimg,)) <= set(run.recipe.snapshots_nimg)
    assert plan.part_mib <= 16
    assert plan.total_mib <= 64
    assert plan.parts <= 8
    assert plan.minutes < 10
