import numpy as np
import pytest

from harness.bench import scores
from harness.bench.contenders import CEILING, CEILING_FLOP, CONTENDERS
from harness.errors import HarnessError


def rounds(ours: list[float], peer: list[float], off: float = 0.0) -> dict[str, list[dict]]:
    mean = np.array([1.0, 2.0])
    return {
        "a": [{"sec": t, "cpu_sec": 2 * t, "mean": mean} for t in ours],
        "b": [{"sec": t, "cpu_sec": t, "mean": mean * (1 + off)} for t in peer],
    }


def test_the_fastest_rounds_decide():
    comparison = scores.Comparison("r", "a", ("b",), 2.0, 1e-3)
    row = scores._row(comparison, "b", rounds([2.0, 1.0, 9.0], [4.0, 3.0, 5.0]))
    assert row["ratio"] == 3
    assert row["cpu_ratio"] == 1.5
    assert row["reached"]
    assert not scores._row(comparison, "b", rounds([2.0, 2.0], [3.0, 3.0]))["reached"]


def test_no_comparison_between_different_statistics():
    timed = rounds([1.0], [3.0], off=0.01)
    with pytest.raises(HarnessError, match=r"differ by 0\.0099"):
        scores._row(scores.Comparison("r", "a", ("b",), 2.0, 1e-3), "b", timed)
    assert not scores._row(scores.Comparison("r", "a", ("b",), 2.0, None), "b", timed)["same_pixels"]


def test_every_contender_exists_and_the_table_names_machine_and_miss():
    compared = {name for comparison in scores.COMPARISONS for name in (comparison.ours, *comparison.peers)}
    assert compared | {CEILING} == set(CONTENDERS)
    row = scores._row(scores.Comparison("r", "a", ("b",), 5.0, 1e-3), "b", rounds([1.0], [3.0]))
    machine = scores._machine(threads=2) | {"load_average_after": [0.0, 0.0, 0.0]}
    record = {"images": 50, "resolution": 32, "batch": 50, "rounds": 1, "weights": "stand-in"}
    shares = {"ceiling_flop_per_sec": 2e11, "reached": {"tf": 0.974, "clean": 0.9}}
    table = scores.markdown(record | {"comparisons": [row], "shares": shares, "machine": machine})
    assert "(200 GFLOP/s, measured in turns with the scorers): tf 0.97, clean 0.90." in table
    assert machine["cpu"] in table
    assert "torch-fidelity 0.4" in table
    assert "| r | a | 1.00 | b | 3.00 | 3.00 | 5.0 | no | 1.50 |" in " ".join(table.split())


def test_shares_are_of_the_fastest_rounds():
    rounds = {CEILING: [{"sec": 4.0}, {"sec": 2.0}], "tf": [{"sec": 1.0}], "clean": [{"sec": 5.0}, {"sec": 2.0}]}
    found = scores._shares(rounds, images=100)
    assert found["inception_flop"] == 11_422_336_192  # twice what hooks on the 94 convolutions count
    assert found["ceiling_flop_per_sec"] == CEILING_FLOP / 2
    assert found["reached"]["tf"] == pytest.approx(2 * 100 * 11_422_336_192 / CEILING_FLOP)
    assert found["reached"]["clean"] == pytest.approx(found["reached"]["tf"] / 2)


def test_fewer_images_than_a_batch_are_refused(tmp_path):
    with pytest.raises(HarnessError, match="one batch of 50"):
        scores.run(49, tmp_path)


@pytest.mark.slow
def test_a_contender_in_its_own_process(tmp_path):
    """The Frechet distance at its real width would take minutes here; at 16 channels it is the same code."""
    rng = np.random.default_rng(0)
    for side in (1, 2):
        rows = rng.standard_normal((100, 16)) * side
        np.save(tmp_path / f"mean{side}.npy", rows.mean(0))
        np.save(tmp_path / f"cov{side}.npy", np.cov(rows, rowvar=False))
    np.save(tmp_path / "images.npy", np.zeros((60, 2, 2, 3), np.uint8))
    work = scores.Work(tmp_path, threads=1)
    ours, peer = (scores._in_own_process(name, work) for name in ("frechet", "clean-fid frechet_distance"))
    assert ours["mean"] == pytest.approx(peer["mean"], rel=1e-9)
    assert ours["sec"] > 0
