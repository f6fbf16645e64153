"""How long a launch is thought to take."""

import math
from pathlib import Path

import pytest
import yaml

from harness.cluster import forecast
from harness.cluster.engine import Node
from harness.cluster.errors import Refused
from harness.cluster.graph import check_room, without_gpu
from harness.doctor import devices
from harness.doctor.devices import Machine
from tests.cluster.helpers import ahead, row
from tests.doctor.helpers import CPU, FIGURES, PARAMS, write_scale
from tests.doctor.test_estimate import cost

# a chain of 5 hours beside three stages of 2 hours; all on one GPU but the last of the chain
CHAIN = (("a", (), 3, 1), ("b", ("a",), 1, 1), ("c", ("b",), 1, 0), ("x", (), 2, 1), ("y", (), 2, 1), ("z", (), 2, 1))


def chain() -> list:
    return list(ahead(*(row(name, after, hours=hours, gpus=gpus) for name, after, hours, gpus in CHAIN)).values())


def test_the_longest_way_comes_first() -> None:
    rows = {one.name: one.ahead for one in chain()}
    assert rows == {"a": (5, 3), "b": (2, 2), "c": (1, 1), "x": (2, 1), "y": (2, 1), "z": (2, 1)}
    assert [one.name for one in forecast.longest_chain(chain())] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("nodes", "jobs", "hours"),
    [
        ([Node("n", 8, 1, 64)], math.inf, 10),  # one GPU: a, b beside c
        ([Node("n", 8, 1, 64)], 1, 11),
        ([Node("n", 8, 2, 64)], math.inf, 6),  # a 0-3, x 0-2, y 2-4, b 3-4, c 4-5, z 4-6
        ([Node("n", 8, 1, 64), Node("m", 8, 1, 64)], math.inf, 6),
        ([Node("n", 8, 2, 4)], math.inf, 11),  # memory for one stage
        ([Node("n", 8, 9, 64)], math.inf, 5),
    ],
)
def test_the_hours_on_some_machines_by_hand(nodes: list[Node], jobs: float, hours: float) -> None:
    assert forecast.wall_hours(chain(), nodes, jobs) == pytest.approx(hours)


def test_gpus_are_doubled_until_they_no_longer_help() -> None:
    assert forecast.by_gpus(chain()) == [(1, 10), (2, 6), (4, 5)]
    assert forecast.by_gpus(chain(), 2) == [(2, 6)]
    assert forecast.by_gpus([row("a", hours=1)]) == []


def test_totals_are_said_with_what_they_rest_on() -> None:
    rows = [*chain(), row("plan")]
    for one in rows[:-1]:
        one.basis = "counted"
    said = forecast.sentences(rows, [], None, None)
    assert said == [
        "10.0 GPU-hours, and 1.0 hours of stages without a GPU (6 counted); 1 stages have no estimate and count as 0.",
        "Longest chain: 5.0 h in 3 stages: a > b > c.",
        "Wall time, if only GPUs are scarce: 1 GPU 10.0 h; 2 GPUs 6.0 h; 4 GPUs 5.0 h.",
    ]
    said = forecast.sentences(rows, [Node("n", 8, 2, 64)], 2, None)
    assert said[-1] == "Wall time on 1 machine, 2 stages at once: 6.0 h."
    assert forecast.sentences([], [], None, None) == []
    without_gpus = forecast.sentences(rows, [Node("n", 8, 0, 64)], 2, None)
    assert without_gpus == said[:2], "no wall time where a stage fits no machine"


def test_stages_of_a_scale_are_estimated_for_what_they_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    """A training on the card, its samples on the CPU; the sum is that of `harness estimate`."""
    card = Machine("a card", "cuda", "H100", {"float32": 1e12}, 4, FIGURES)
    asked = []

    def machine(_checkout: object, device: str, _threads: int, gpu: str | None) -> Machine:
        asked.append((device, gpu))
        return CPU if device == "cpu" else card

    monkeypatch.setattr(devices, "machine", machine)
    scale = write_scale(root)
    pipeline, (run,), (dump,) = root / "dvc.yaml", PARAMS["runs"], PARAMS["dumps"]
    rows = ahead(
        row("plan", pipeline=pipeline),
        row(f"train@{run}", ("plan",), pipeline, gpus=1),
        row(f"sample@{dump}", (f"train@{run}",), pipeline),
    )
    assert forecast.estimate(rows, "h100") == []
    assert sorted(asked) == [("cpu", None), ("cuda", "h100")]
    on_gpu, on_cpu = cost(scale, card), cost(scale)
    assert rows[f"train@{run}"].hours == pytest.approx(on_gpu.total.seconds["train"] / 3600)
    assert rows[f"sample@{dump}"].hours == pytest.approx(on_cpu.total.seconds["sample"] / 3600)
    assert [one.basis for one in rows.values()] == ["", "counted", "counted"]
    assert rows["plan"].ahead == (pytest.approx(sum(one.hours for one in rows.values())), 3)
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS | {"scale": "unheard"}) + "word: 1\n")
    (said,) = forecast.estimate(rows, "h100")
    assert "no estimate of hours" in said


def test_without_a_card_stages_on_a_gpu_have_no_hours(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    write_scale(root)
    (run,) = PARAMS["runs"]
    rows = ahead(row(f"train@{run}", pipeline=root / "dvc.yaml", gpus=1))
    (said,) = forecast.estimate(rows)
    assert "--card" in said
    assert rows[f"train@{run}"].basis == ""


def test_trainings_that_see_no_gpu_for_want_of_a_file_are_told(tmp_path: Path) -> None:
    pipeline = tmp_path / "dvc.yaml"
    rows = ahead(row("train@a", pipeline=pipeline), row("fetch@a", pipeline=tmp_path / "data/dvc.yaml"))
    assert without_gpu(rows, [Node("n", 8, 0, 64)]) == ""
    said = without_gpu(rows, [Node("n", 8, 1, 64)])
    assert str(tmp_path / "resources.yaml") in said
    assert "data" not in said
    (tmp_path / "resources.yaml").touch()  # whoever wrote it meant it
    assert without_gpu(rows, [Node("n", 8, 1, 64)]) == ""


def test_of_many_stages_that_fit_nowhere_some_are_named() -> None:
    rows = ahead(*(row(name, gpus=1) for name in "abcde"))
    with pytest.raises(Refused, match=r"a asks for 1 CPU, 1 GPU, 4 GiB, b .*, c .*, and 2 more: no machine has that"):
        check_room(rows, [Node("n", 8, 0, 64)])
