"""The page with images of a data set: beside their samples, and never where pages are committed."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.config.experiments import find_scale
from harness.data import packed
from harness.errors import HarnessError
from harness.pipeline.sample import sample
from harness.report import with_real
from harness.training.experiment import train


def pictures(page: Path) -> list[np.ndarray]:
    found = re.findall(r'src="data:image/png;base64,([^"]*)"', page.read_text())
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in found]


def test_samples_stand_beside_the_nearest_trained_images(tiny_scale: Path, tmp_path: Path) -> None:
    scale = find_scale(tiny_scale)
    train("f", scale=scale)
    sample(scale, scale.run("f", 0), n=4)
    page = with_real.write(scale, tmp_path / "local.html")
    real, samples, nearest = pictures(page)
    data = packed.load(tiny_scale / "data/tiny").images
    drawn = np.load(scale.folder.dump("f", 0, "last"))
    assert np.array_equal(real[2:34, 2:34], data[0])
    assert np.array_equal(samples[2:34, 2:34], drawn[0])
    assert any(np.array_equal(nearest[2:34, 2:34], one) for one in data)
    said = page.read_text()
    assert "do not commit or publish it" in said
    assert "f, seed 0, after 16 images seen" in said
    assert "http" not in said
    assert not scale.folder.report.exists()


@pytest.mark.parametrize("place", ["results/page.html", "results/x/report/index.html", "out/report/index.html"])
def test_it_never_lies_where_pages_are_committed(tiny_scale: Path, place: str) -> None:
    with pytest.raises(HarnessError, match="images of a data set must not be"):
        with_real.write(find_scale(tiny_scale), tiny_scale / place)
    assert not (tiny_scale / place).exists()


def test_without_a_dump_there_is_nothing_to_show(tiny_scale: Path, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no training has its last dump"):
        with_real.write(find_scale(tiny_scale), tmp_path / "local.html")
    assert not (tmp_path / "local.html").exists()
