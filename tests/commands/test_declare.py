"""`harness score --declare`: what a command line can say of samples and references, and what it cannot."""

import numpy as np
import pytest
from click.testing import CliRunner

from harness.commands.score import command
from harness.errors import HarnessError
from harness.metrics.extractors.base import Setup
from tests.commands.test_score import run
from tests.metrics.inception.helpers import PixelExtractor


def test_declarations_are_text_or_truth(tmp_path, pixel_scorer, sets):
    found = run(tmp_path, *sets, "--declare", "split=2024-01-01", "--declare", "stand_in_data=false")["protocol"]
    assert (found["split"], found["stand_in_data"]) == ("2024-01-01", False)
    with pytest.raises(HarnessError, match="expected true or false"):
        run(tmp_path, *sets, "--declare", "stand_in_data=2024-01-01")


def test_statistics_in_place_of_samples_are_declared_on_the_command_line(tmp_path, pixel_scorer, sets):
    features = PixelExtractor(Setup())(np.load(sets[0]))[0].astype(np.float64)
    np.savez(tmp_path / "theirs.npz", mu=features.mean(axis=0), sigma=np.cov(features, rowvar=False))
    of_images = run(tmp_path, *sets)
    found = run(tmp_path, tmp_path / "theirs.npz", sets[1], "--declare", "resolution=8", "--declare", "n_fake=90")
    assert found["fid"] == pytest.approx(of_images["fid"], rel=1e-6)
    assert (found["protocol"]["resolution"], found["protocol"]["n_fake"]) == (8, 90)
    for value in ("8.0", "eight", "-8", "0"):
        with pytest.raises(HarnessError, match=f"resolution={value}: expected a count from 1"):
            run(tmp_path, tmp_path / "theirs.npz", sets[1], "--declare", f"resolution={value}")


@pytest.mark.parametrize("second", ["ema=false", "ema=true"])
def test_a_key_is_declared_once(tmp_path, pixel_scorer, sets, second):
    arguments = [str(sets[0]), str(sets[1]), "--declare", "ema=true", "--declare", second]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2
    assert "--declare ema: is given twice" in result.output
    assert pixel_scorer == []
