"""The rehearsal: short scales that keep their branches, faults that stop nothing else, and a page of what it took."""

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner

from harness.cli import group
from harness.config import experiments
from harness.errors import HarnessError
from harness.files import sha256_file
from harness.paths import Checkout
from harness.pipeline import rehearsal_page, rehearsal_scale, suite
from harness.pipeline.rehearse import ENDS, STARTS, Job, Outcome, Step, common, perform, steps
from harness.training.progressive_growing import lod_at
from harness.training.schedules import check_recipe, half_width
from models.transgan import build_generator, official
from tests.paths import ROOT

KNOWN = experiments.definitions(ROOT)


def write_suite(root: Path, rows: dict[str, Any]) -> None:
    """The suite `tiny` with these rows, scored by the torch scorer, and what its last stages read."""
    value = {"about": "", "protocols": ["tiny"], "choose": "tiny", "tables": {"t": rows}}
    value |= {"scorers": ["torch"], "device": "cpu"}
    path = root / "experiments/suites/tiny.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(value))
    (root / "experiments/claims.yaml").write_text("level: {value: 0.95, because: a test}\nscales: {}\nclaims: {}\n")


def state(folder: Path) -> dict[str, str]:
    """Every file of a folder with its content."""
    return {str(path): sha256_file(path) for path in folder.rglob("*") if path.is_file()}


def test_a_failing_row_is_reported_and_the_others_run(tiny_scale: Path) -> None:
    table = tiny_scale / "experiments/tables/tiny.yaml"
    entries = yaml.safe_load(table.read_text())
    entries["e"]["changes"] = {"generator_optimiser": {"lr": 1e38}, "discriminator_optimiser": {"lr": 1e38}}
    table.write_text(yaml.safe_dump(entries))
    write_suite(tiny_scale, {"e": {}, "f": {"snapshots": ["best"]}})
    before = state(tiny_scale)
    page = tiny_scale.parent / "page.md"
    result = CliRunner().invoke(
        group, ["rehearse", "tiny", "--root", str(tiny_scale), "--threads", "1", "--out", str(page)]
    )
    assert result.exit_code == 1, result.output
    lines = {line.split("  ")[0]: line for line in result.stdout.splitlines() if " GiB  " in line}
    assert lines["f"].endswith("ok")
    assert lines[ENDS].endswith("ok")
    assert "FAILED train: e: diverged before" in lines["e"]
    heads, rows = rehearsal_page._read(page.read_text())
    assert heads[4:8] == ["train", "choose", "sample", "score-torch"]
    assert [row[0] for row in rows] == [STARTS, "e", "f", ENDS]
    assert "1 of 2 experiments passed" in page.read_text()
    page.unlink()
    assert state(tiny_scale) == before, "a rehearsal writes nothing into the checkout"


def trouble(arguments: list[str]) -> int:
    """Stand for the subcommands of a job: `raise`, `hungry`, `die`, or an exit code."""
    if arguments[0] == "raise":
        raise ValueError("first line\nsecond line")
    if arguments[0] == "hungry":
        array = np.ones(1 << 27)
        time.sleep(60)
        return int(array[0])
    if arguments[0] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return int(arguments[0])


def test_every_way_to_fail_has_its_sentence(tmp_path: Path) -> None:
    todo = (
        Step("train", "harness 0", deps=("nowhere",)),
        Step("choose", "harness 0", outs=("nothing",)),
        Step("sample", "harness 0", deps=("nothing",)),
        Step("score-tf", "harness 3"),
        Step("score-torch", "harness raise"),
        Step("score-clean", "harness die"),
        Step("never", "harness 0"),
    )
    outcome = perform(Job("x", todo, tmp_path, tmp_path), Outcome("x"), trouble, 20)
    assert [re.sub(r":\d+\)", ")", problem) for problem in outcome.problems] == [
        "train: its dependency nowhere does not exist",
        "choose: it wrote no nothing",
        "score-tf: exit code 3",
        "score-torch: ValueError: first line (test_rehearse.py)",
        "score-clean: its process ended with exit code -9 (killed, most often because memory was used up)",
    ]
    assert "second line" in outcome.log
    assert list(outcome.seconds) == ["train", "choose", "score-tf", "score-torch"]
    assert outcome.peak_bytes > 1 << 27


def test_a_process_over_the_limit_is_ended(tmp_path: Path) -> None:
    job = Job("x", (Step("train", "harness hungry"),), tmp_path, tmp_path)
    outcome = perform(job, Outcome("x"), trouble, memory_gib=1.0)
    assert [re.sub(r":\d+\)", ")", problem) for problem in outcome.problems] == [
        "train: ended because it held more than 1 GiB"
    ]


@pytest.mark.parametrize("name", sorted(KNOWN.experiments))
def test_a_short_recipe_keeps_its_branches(name: str) -> None:
    spec = KNOWN.experiments[name]
    long = KNOWN.recipe(spec.recipe, spec.changes)
    resolution = KNOWN.datasets[spec.dataset]["resolution"]
    changes = rehearsal_scale.shortened(long, resolution)
    short = KNOWN.recipe(spec.recipe, experiments.reader.merge(spec.changes, changes))
    check_recipe(short)
    batch = rehearsal_scale.BATCH
    points = range(0, short.length_nimg, batch)
    for part in ("objective", "penalty", "drift", "path_length", "dequantise", "precision", "simultaneous", "flip"):
        assert getattr(short, part) == getattr(long, part)
    if long.length_nimg == 0:
        assert short == long
        return
    assert any(step % short.n_critic == short.generator_phase for step in range(len(points)))
    assert bool(short.snapshots_nimg) == bool(long.snapshots_nimg)
    if long.growth is not None and short.growth is not None:
        lods = [lod_at(n, short.growth, resolution) for n in points]
        assert lods[0] == lod_at(0, long.growth, resolution)
        assert lods[-1] == 0
        assert {lod % 1 for lod in lods} == {0, 0.5}
    else:
        assert len(points) == rehearsal_scale.STEPS
    if long.locality is not None and short.locality is not None:
        assert [half_width(short.locality, n) for n in points] == [long.locality.schedule[0][1], None]
    if long.cotraining is not None and short.cotraining is not None:
        assert short.cotraining.until_nimg == batch
        assert short.generator_phase == 0, "the generator's step is not the co-trained one"
    assert (short.augment.ada is None) == (long.augment.ada is None)


def test_the_suite_becomes_short_and_keeps_its_names(tiny_scale: Path, tmp_path: Path) -> None:
    write_suite(tiny_scale, {"e": {}, "f": {"seeds": [1, 2], "snapshots": [8, "best", "last"]}})
    checkout = Checkout(tiny_scale)
    made, scale = rehearsal_scale.generate(checkout, "tiny", tmp_path / "short", threads=1)
    assert list(scale.params.runs) == ["e-seed0", "f-seed1"]
    assert list(scale.params.dumps) == ["e-seed0-last", "f-seed1-2", "f-seed1-best", "f-seed1-last"]
    assert scale.params.scale == "tiny"
    assert scale.params.threads == 1
    assert scale.run("f", 1).generator == experiments.load(tiny_scale)["f"].generator
    suite.check(scale)
    found = steps(made.pipeline["stages"], made.params, "f")
    assert [step.stage for step in found] == ["train", "choose", *["sample"] * 3, *["score-torch"] * 3]
    assert found[0].command == "harness train f --seed 1"
    assert not any("$" in text for step in found for text in (step.command, *step.deps, *step.outs))
    before, after = common(made.pipeline["stages"], made.params)
    assert [step.command for step in before] == ["harness references tiny"]
    assert [step.stage for step in after] == ["tables", "check", "report"]
    with pytest.raises(HarnessError, match="--only x: no experiment of 'tiny' matches"):
        rehearsal_scale.generate(checkout, "tiny", tmp_path / "other", ("x",))


def test_a_fabricated_checkpoint_is_read_as_a_released_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    one, other = (build_generator(32, width=64, depths=(1, 1, 1), latent_dim=8) for _ in range(2))
    rehearsal_scale.write_checkpoint(tmp_path / "released.pth", one)
    tensors, key = official.read_checkpoint(tmp_path / "released.pth", "generator")
    official.load_official(other, tensors, key)
    latents = torch.randn(2, 8)
    torch.testing.assert_close(one.eval()(latents), other.eval()(latents))


def test_some_experiments_replace_their_rows_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Ours\n\nBefore.\n\n<!-- rehearsal s -->\n<!-- /rehearsal s -->\n\nAfter.\n")
    facts = {"date": "2026-01-02", "machine": "a | machine", "threads": 1, "only": ()}

    def outcome(name: str, *problems: str) -> Outcome:
        return Outcome(name, 32, (1_500_000, 500_000), {"train": 1.25, "sample": 2.0}, 3 << 30, list(problems), 4.0)

    rehearsal_page.write(
        page, "s", [outcome("a"), outcome("b", "train: a | b"), outcome(ENDS)], facts | {"commit": "c1"}
    )
    assert "1 of 2 experiments passed every stage, in 12 s and at most 3.0 GiB" in page.read_text()
    some = facts | {"commit": "c2", "only": ("b",)}
    rehearsal_page.write(page, "s", [outcome("b"), outcome(ENDS)], some)
    text = page.read_text()
    assert "2 of 2 experiments passed" in text
    assert text.startswith("# Ours\n\nBefore.\n")
    assert text.endswith("<!-- /rehearsal s -->\n\nAfter.\n")
    _, rows = rehearsal_page._read(text)
    assert [(row[0], row[-2], row[-1]) for row in rows] == [("a", "c1", "—"), ("b", "c2", "—"), (ENDS, "c2", "—")]
    rehearsal_page.write(page, "t", [outcome("a"), outcome(ENDS)], facts | {"commit": "c3"})
    assert page.read_text().startswith(text.rstrip())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scale", "only"),
    [("paper", ("cifar10-progan", "t2-stylegan2")), ("checkpoints", ("cifar10-transgan-neurips-checkpoint",))],
)
def test_whole_networks(scale: str, only: tuple[str, ...], tmp_path: Path) -> None:
    before = state(ROOT / "results") | state(ROOT / "experiments")
    options = [part for name in only for part in ("--only", name)]
    result = CliRunner().invoke(group, ["rehearse", scale, "--root", str(ROOT), "--threads", "1", *options])
    assert result.exit_code == 0, result.output
    assert result.output.count("  ok") == len(only) + 2  # references, and tables, check and report
    assert state(ROOT / "results") | state(ROOT / "experiments") == before
