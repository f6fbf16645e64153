"""Time and size of a scale, from operations or from earlier trainings."""

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from harness.cli import group
from harness.config import experiments
from harness.config.experiments import Scale
from harness.doctor import devices, estimate, estimate_text, recorded
from harness.doctor.devices import Machine
from harness.doctor.estimate import Cost, Estimate, Training
from harness.doctor.image_counts import image_counts
from harness.doctor.recorded import Recorded
from harness.errors import HarnessError
from harness.files import read_json, write_json
from harness.networks.operations import Count
from harness.paths import Checkout
from harness.pipeline import suite
from harness.pipeline.plan import find_problems
from tests.doctor.helpers import CPU, FIGURES, PROTOCOL, SPEED, record, write_scale
from tests.paths import ROOT
from tests.records import score_trees
from tests.scoring import chosen, entry, scored

GPU = Machine("a card", "cuda", "H100", {"float32": 1e12}, 4, FIGURES)


def cost(scale: Scale, machine: Machine = CPU) -> Estimate:
    runs, problems = find_problems(scale)
    assert not problems
    return estimate.estimate(scale, runs, machine)


def training(**changes: Any) -> Training:
    """A generator of 10 and a discriminator of 100 multiply-adds; a recipe of 1,000 images, no penalty, no snapshot."""
    recipe = experiments.definitions().recipe("sngan")
    values = {"length_nimg": 1000, "n_critic": 2, "discriminator_batch": 4, "generator_batch": 8, "snapshots_nimg": ()}
    run = experiments.Run(
        scale="s",
        experiment="e",
        seed=0,
        dataset="d",
        resolution=32,
        generator={"model": "g"},
        discriminator={"model": "d"},
        recipe=dataclasses.replace(recipe, **(values | changes)),
        versions={},
        planned_nimg=1000,
    )
    return Training(run, Count(5, 10, 3, launches=7), Count(2, 100, launches=11))


def test_a_training_by_its_operations_by_hand() -> None:
    """20 to draw, 3 x 200 on a real and on a fake, every second step 3 x 220 on twice the images: 1,880 an image."""
    found = estimate.training_cost(training(), CPU, {})
    operations = 20 + 2 * 600 + 660 * 8 / 4 / 2
    assert operations == 1880
    share = FIGURES.efficiency["cpu"].float32
    assert found.seconds["train"] == pytest.approx(1000 * operations / (SPEED * share.value))
    assert (found.low, found.high) == pytest.approx((found.total / share.factor, found.total * share.factor))
    assert found.basis == {"counted"}
    # weights in three places; two checkpoints of four times 5 and three times 2 parameters; 4 bytes each
    assert found.bytes == 3 * 4 * 5 + 2 * 4 * (20 + 6)


def test_small_networks_on_a_gpu_wait_for_their_kernels_by_hand() -> None:
    """7 to draw, 6 x 11 to judge, every second step 3 x 18 for the generator, over 4 images; nothing if compiled."""
    found = estimate.training_cost(training(), GPU, {})
    assert found.seconds["train"] == pytest.approx(1000 * (7 + 66 + 54 / 2) / 4 * FIGURES.launch_sec.value)
    compiled = estimate.training_cost(training(compile=True), GPU, {})
    share = FIGURES.efficiency["gpu"].float32.value
    assert compiled.seconds["train"] == pytest.approx(1000 * 1880 / (1e12 * share))
    with pytest.raises(HarnessError, match="a card has no bfloat16 arithmetic"):
        estimate.training_cost(training(precision="bfloat16"), GPU, {})


def at_speeds(*speeds: float) -> dict[str, list[Recorded]]:
    """Records of `training()` at images per second."""
    one = training()
    key = recorded.speed_key({"model": "g"}, {"model": "d"}, 32, one.run.recipe)
    return {key: [Recorded(speed, one.run.recipe, 10) for speed in speeds]}


def test_a_recorded_speed_is_scaled_to_another_recipe_of_the_same_networks() -> None:
    found = estimate.training_cost(training(), GPU, at_speeds(50.0))
    assert (found.seconds["train"], found.low, found.high) == pytest.approx((20.0, 20.0 / 1.2, 20.0 * 1.2))
    assert found.basis == {"measured"}
    costlier = estimate.training_cost(training(n_critic=1), GPU, at_speeds(50.0))
    assert costlier.seconds["train"] == pytest.approx(20.0 * (1220 + 1320) / 1880)
    assert estimate.training_cost(training(compile=True), GPU, at_speeds(50.0)).basis == {"counted"}


@pytest.mark.parametrize(
    ("speeds", "expected"),
    [
        ((50, 20, 40), (25, 20, 50)),
        ((50, 49, 51), (20, 20 / 1.2, 20 * 1.2)),
        ((50, 10, 51), (20, 20 / 1.2, 100)),
        ((50, 25), (30, 20, 40)),
    ],
)
def test_recorded_speeds_that_differ_give_a_range(speeds: tuple[float, ...], expected: tuple[float, ...]) -> None:
    """The median, from the fastest to the slowest, and never nearer than a factor of 1.2."""
    found = estimate.training_cost(training(), GPU, at_speeds(*speeds))
    assert (found.seconds["train"], found.low, found.high) == pytest.approx(expected)
    assert found.basis == {"measured"}


def test_estimate_from_operations_then_from_records(root: Path) -> None:
    scale = write_scale(root)
    counted = cost(scale)
    assert counted.trainings["tiny-sngan-seed0"].basis == {"counted"}
    assert counted.data_bytes == 20 * 32 * 32 * 3
    record(root, sngan=1)
    assert cost(scale).trainings["tiny-sngan-seed0"].basis == {"counted"}, "the record says nothing of its recipe"
    whole_record(root, "cpu")
    measured = cost(scale).trainings["tiny-sngan-seed0"]
    assert measured.seconds["train"] == pytest.approx(experiments.definitions().recipe("sngan").length_nimg / 50)
    assert measured.basis == {"measured"}


def whole_record(root: Path, device: str, seed: int = 0, **provenance: Any) -> None:
    """The record of a training, at 50 images a second."""
    path = record(root, sngan=1)
    if seed:
        folder = path.parent.parent
        path = shutil.move(folder, folder.with_name(f"seed{seed}")) / "train/train.json"
    network = {"model": "sngan"}
    run = read_json(path)["run"] | {"generator": network, "discriminator": network}
    recipe = dataclasses.asdict(experiments.definitions().recipe("sngan"))
    run["planned_nimg"] = nimg = recipe["length_nimg"]
    cost = {"images": nimg, "wall_sec": 9.0, "images_per_sec": 50.0}
    provenance["device"] = device
    score_trees.edit(path, run=run, recipe=recipe, nimg=nimg, cost=cost, provenance=provenance)


@pytest.mark.parametrize(
    ("device", "provenance", "known"),
    [
        ("cpu", {}, "cpu"),
        ("cuda", {"gpu": "NVIDIA H100 80GB HBM3"}, "gpu"),
        ("cuda:1", {"gpu": "Tesla V100-SXM2-32GB"}, None),
        ("cuda", {}, None),
        ("cpu", {"threads": CPU.threads, "processor": "EPYC"}, "cpu"),
        ("cpu", {"threads": CPU.threads + 1}, None),
        ("cpu", {"processor": "Xeon"}, None),
        ("cpu", {"processes": 2}, None),
        ("cuda", {"gpu": "NVIDIA H100 80GB HBM3", "processes": 8}, None),
        ("cuda", {"gpu": "NVIDIA H100 80GB HBM3", "threads": 9, "processor": "Xeon"}, "gpu"),
    ],
)
def test_a_speed_counts_on_the_device_it_was_measured_on(
    root: Path, device: str, provenance: dict[str, Any], known: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one process; on a CPU also with as many threads, on the processor that is here if the record names one."""
    monkeypatch.setattr(recorded, "processor", lambda: "EPYC")
    whole_record(root, device, **provenance)
    found = {name: recorded.recorded_speeds(Checkout(root), m) for name, m in (("cpu", CPU), ("gpu", GPU))}
    assert [name for name, speeds in found.items() if speeds] == ([known] if known else [])


def test_what_happens_once_does_not_slow_the_rest(root: Path) -> None:
    """Compilation, or a pause, is in the images per second of the whole training, and not in most of its intervals.

    A training too short to leave it out counts only where there is no other.
    """
    whole_record(root, "cpu", seed=1)
    whole_record(root, "cpu")
    short, long = Checkout(root).train_records()
    short.with_name("history.csv").write_text("nimg,images_per_sec\n3,1.0\n6,3.0\n")
    ((found,),) = recorded.recorded_speeds(Checkout(root), CPU).values()
    assert found.images_per_sec in (2.0, 50.0), "one of two that are no better"
    long.with_name("history.csv").write_text("nimg,images_per_sec\n3,1.0\n6,90.0\n9,80.0\n")
    ((found,),) = recorded.recorded_speeds(Checkout(root), CPU).values()
    assert found.images_per_sec == 80.0
    short.with_name("history.csv").write_text("nimg,images_per_sec\n3,1.0\n6,40.0\n9,50.0\n")
    (both,) = recorded.recorded_speeds(Checkout(root), CPU).values()
    assert [one.images_per_sec for one in both] == [40.0, 80.0]


def test_dumps_choices_and_scores_by_hand(root: Path) -> None:
    """A scorer sees every dump and each data set's reals once; `choose` draws and scores each candidate with torch."""
    scale = write_scale(root)
    plain = cost(scale)
    scorers = 2  # tf and clean
    share = FIGURES.efficiency["cpu"].inception.value
    image = FIGURES.inception_flop.value / (SPEED * share)
    assert plain.total.seconds["score"] == pytest.approx(scorers * (64 + 16) * image)
    assert plain.shared.seconds["score"] == pytest.approx(scorers * 16 * image)
    key, run = next(iter(scale.params.runs.items()))
    choice = {"experiment": run.experiment, "seed": run.seed, "dataset": "tiny"} | chosen(**PROTOCOL)
    both = cost(write_scale(root, {"choices": {key: choice}}))
    candidates = len(scale.run(run.experiment, run.seed).recipe.snapshots_nimg) + 1
    images = candidates * PROTOCOL["n_fake"]
    drawn = plain.total.seconds["sample"] / 64 * images
    assert both.total.seconds["choose"] == pytest.approx(images * image + drawn)
    assert both.shared.seconds["score"] == pytest.approx((scorers + 1) * 16 * image), "torch's own reference"
    assert both.total.seconds["train"] == plain.total.seconds["train"]


def test_one_pass_serves_many_protocols(root: Path) -> None:
    """The largest count of those that share a pass; another quantisation is another file and another pass."""
    names = {
        "small": {"n_fake": 32, "references": {"any": {"n_real": 8}}},
        "large": {"n_fake": 64, "references": {"any": {"n_real": 16}}},
        "floats": {"n_fake": 16, "quantisation": "float"},
    }
    entries = {name: entry(**changes) for name, changes in names.items()}
    (root / "experiments/protocols/more.yaml").write_text(yaml.safe_dump(entries))
    dump = write_scale(root).params.dumps["tiny-sngan-seed0-last"]
    found = [scored("tiny", name, **changes) for name, changes in names.items()]
    scores = {s: {k: v for one in found for k, v in one["scores"][s].items()} for s in ("tf", "clean")}
    mine = vars(dump) | {"n_fake": 64, "variants": ["rounded", "float"], "scores": scores}
    counts = image_counts(write_scale(root, {"dumps": {"tiny-sngan-seed0-last": mine}}))
    of_dump = counts.dumps["tiny-sngan-seed0-last"]
    assert (of_dump.images, of_dump.bytes_each, of_dump.scored) == (64, 5, {"tf": 80, "clean": 80})
    assert counts.references == {("tf", "tiny"): 20, ("clean", "tiny"): 20}


def test_a_limit_of_one_training_is_kept(root: Path) -> None:
    scale = write_scale(root)
    whole = cost(scale).total.seconds["train"]
    entry = vars(scale.params.runs["tiny-sngan-seed0"])
    tenth = experiments.definitions().recipe("sngan").length_nimg // 10
    short = cost(write_scale(root, {"runs": {"tiny-sngan-seed0": entry | {"limit_nimg": tenth}}}))
    assert short.total.seconds["train"] == pytest.approx(whole / 10)


def test_tensorflow_scores_on_the_cpu_beside_a_gpu(root: Path) -> None:
    scale = write_scale(root)
    bench = {"images": 200, "machine": {"threads": 2}}
    rows = [
        {"comparison": "IS + FID statistics", "ours": "tf", "ours_sec": 10.0},
        {"comparison": "Frechet distance", "ours": "frechet", "ours_sec": 1.0},
    ]
    write_json(root / "results/bench/scores.json", bench | {"comparisons": rows})
    found = cost(scale, GPU).total
    assert found.seconds["score_cpu"] == pytest.approx((64 + 16) / (10 * 4)), "10 images a second and thread"
    assert found.device_total == pytest.approx(found.total - found.seconds["score_cpu"])
    write_json(root / "results/bench/scores.json", bench)
    with pytest.raises(HarnessError, match=r"scores\.json: not a record of `harness bench scores`"):
        cost(scale, GPU)


@pytest.mark.parametrize(
    ("threads", "cpu", "factor"), [(2, "EPYC", 1.2), (2, None, 1.2), (4, "EPYC", None), (2, "Xeon", 0)]
)
def test_a_scorer_is_as_fast_as_on_the_benchmark_s_processor(
    root: Path, threads: int, cpu: str | None, factor: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another number of threads is as uncertain as a count (None); another processor's benchmark says nothing (0)."""
    monkeypatch.setattr(recorded, "processor", lambda: "EPYC")
    row = {"comparison": "IS + FID statistics", "ours": "tf", "ours_sec": 10.0}
    machine = {"threads": threads} | ({"cpu": cpu} if cpu else {})
    write_json(root / "results/bench/scores.json", {"images": 200, "machine": machine, "comparisons": [row]})
    found = recorded.scorer_speeds(Checkout(root), CPU)
    assert bool(found) == (factor != 0)
    for span in found.values():
        sec = 10.0 * threads / (200 * CPU.threads)
        off = factor or FIGURES.efficiency["cpu"].inception.factor
        assert (span.seconds, span.low, span.high) == pytest.approx((sec, sec / off, sec * off))
    assert recorded.scorer_speeds(Checkout(root), GPU), "what stands beside a card is not known"


def test_released_weights_take_no_training(root: Path) -> None:
    path = root / "experiments" / "tables" / "tiny.yaml"
    table = yaml.safe_load(path.read_text())
    table["tiny-sngan"]["checkpoint"] = "released.safetensors"
    path.write_text(yaml.safe_dump(table))
    estimated = cost(write_scale(root))
    assert estimated.trainings["tiny-sngan-seed0"].basis == {"released"}
    assert estimated.total.seconds["train"] == 0
    assert estimated.total.seconds["sample"] > 0


def test_groups_sum_up_to_the_total(root: Path) -> None:
    found = cost(write_scale(root))
    for by, names in (("table", ["tiny", estimate.SHARED]), ("experiment", ["tiny-sngan", estimate.SHARED])):
        groups = found.groups(by)
        assert list(groups) == names
        assert sum(one.total for one in groups.values()) == pytest.approx(found.total.total)
        assert sum(one.bytes for one in groups.values()) == found.total.bytes


def test_every_assumption_is_said(root: Path) -> None:
    """No number rests on a guess that the text does not name."""
    text = " ".join(estimate_text.sentences(cost(write_scale(root), GPU)))
    for figure in (FIGURES.efficiency["gpu"].float32, FIGURES.launch_sec):
        assert f"({figure.confidence}, within a factor of {figure.factor:g}: {figure.because})" in text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.1234, "0.12"), (9.51, "10"), (2345.6, "2,300"), (12_345_678, "12,000,000")]
)
def test_no_more_than_two_digits(value: float, text: str) -> None:
    assert estimate_text._number(value) == text


def test_sums_keep_every_field() -> None:
    one = Cost(low=1, high=2, bytes=3, basis={"counted"}, trainings=1)
    one.seconds["train"] = 5
    assert estimate.total([one, one]) == Cost({**Cost().seconds, "train": 10}, 2, 4, 6, {"counted"}, 2)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(group, ["estimate", *arguments])


def test_the_command_names_scale_card_and_groups(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "matmul_speed", lambda *_: SPEED)
    write_scale(root)
    done = run("--root", str(root), "--gpu", "a100")
    assert done.exit_code == 0, done.output
    assert "GPU-h" in done.stdout
    assert "total" in done.stdout
    assert "on A100 SXM" in done.stdout
    value = json.loads(run("--root", str(root), "--by", "experiment", "--device", "cpu", "--json").stdout)
    assert value["machine"].startswith("this CPU")
    assert set(value["groups"]) == {"tiny-sngan", estimate.SHARED}
    assert value["seconds"]["total"] == pytest.approx(sum(one["seconds"]["total"] for one in value["groups"].values()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpu", "h10"], "no GPU 'h10'.*h100"),
        (["papr"], "'papr' is no scale of .*'paper'"),
        (["--gpu", "h100", "--device", "cpu"], "give one of them"),
    ],
)
def test_what_does_not_exist_is_named(arguments: list[str], message: str) -> None:
    done = run("--root", str(ROOT), *arguments)
    assert done.exit_code != 0
    assert re.search(message, f"{done.exception}{done.stderr}")


@pytest.mark.parametrize("scale", [None, "quick", "mini", "results/mini", "results/mini/params.yaml"])
def test_a_scale_by_name_or_folder(scale: str | None) -> None:
    path = suite.params_of(Checkout(ROOT), scale)
    assert path == (ROOT / "results/mini/params.yaml" if "mini" in (scale or "") else ROOT / "params.yaml")


@pytest.mark.parametrize(
    "name", ["mini", *(pytest.param(n, marks=pytest.mark.slow) for n in ("short", "checkpoints", "paper"))]
)
def test_every_scale_has_an_estimate(name: str) -> None:
    """With StyleGAN2, whose count fails if its parameters require gradients, and with released weights."""
    scale = experiments.open_scale(suite.params_of(Checkout(ROOT), name))
    estimated = cost(scale)
    assert set(estimated.trainings) == set(scale.params.runs)
    assert estimated.total.total > 0
    assert set(estimated.groups("table")) >= set(suite.read(scale.checkout, name).tables)
