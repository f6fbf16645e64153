"""The bench of drawing and scoring, on few and small images."""

from pathlib import Path

import pytest

from harness.bench import sampling, train
from harness.files import read_json

SMALL = train.Size(
    generator={"width": 32, "depths": (1, 1), "latent_dim": 8}, discriminator={"width": 16, "depth": 1}, resolution=8
)


def test_rows_follow_from_seconds_and_counted_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "LAYERS", (64,))
    sampling.run(tmp_path, "cpu", 10, 1, SMALL)
    report = read_json(tmp_path / "sampling-cpu.json")
    drawn, scored = report["rows"]
    assert [drawn["name"], scored["name"]] == ["draw", "score, 64 channels"]
    assert 0 < drawn["gflop_per_image"] < 0.01 < scored["gflop_per_image"], "an Inception sees 299 px, the generator 8"
    for row in report["rows"]:
        assert row["images_per_sec"] == pytest.approx(10 / row["sec"])
        assert row["papers_sec"] == pytest.approx(50_000 / 10 * row["sec"])
        share = row["gflop_per_image"] * row["images_per_sec"] / (report["ceiling_tflops"] * 1e3)
        assert row["ratio"] == pytest.approx(share)
    assert (tmp_path / "sampling-cpu.md").read_text() == sampling.markdown(report)
