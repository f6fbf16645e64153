"""`harness score --out`: nothing that is there is lost but an earlier score."""

import json

import numpy as np
import pytest
from PIL import Image

from harness.errors import HarnessError
from tests.commands.test_score import run
from tests.metrics.inception.helpers import noise_images


def test_an_input_is_never_overwritten(tmp_path, pixel_scorer, sets):
    (tmp_path / "pngs").mkdir()
    for i, image in enumerate(noise_images(12, seed=1)):
        Image.fromarray(image).save(tmp_path / f"pngs/{i}.png")
    np.savez(tmp_path / "stats.npz", mu=np.zeros(64), sigma=np.eye(64))
    (tmp_path / "record.json").write_text(json.dumps({"samples_sha256": "0" * 64}))
    (tmp_path / "link.json").symlink_to(sets[1])
    for name in (sets[0].name, sets[1].name, "stats.npz", "pngs/3.png", "record.json", "link.json"):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(HarnessError, match=f"--out .*{name}: is there and no score; name another file"):
            run(tmp_path, tmp_path / "pngs", sets[1], "--out", str(tmp_path / name))
        assert (tmp_path / name).read_bytes() == before
    assert pixel_scorer == []


def test_an_earlier_score_and_an_empty_file_are_overwritten(tmp_path, pixel_scorer, sets):
    out = tmp_path / "score.json"
    out.touch()
    run(tmp_path, *sets, "--out", str(out))
    first = json.loads(out.read_text())
    run(tmp_path, *sets, "--n", "80", "--out", str(out))
    assert json.loads(out.read_text())["protocol"]["n_fake"] == 80 != first["protocol"]["n_fake"]
