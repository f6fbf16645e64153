"""A small checkout to examine."""

import shutil

import pytest
import yaml

from tests.doctor.helpers import PARAMS, PROTOCOL, write_protocol
from tests.paths import ROOT


@pytest.fixture
def root(tmp_path):
    """A repository with the real models and recipes, one small data set and one experiment on it."""
    root = tmp_path / "root"
    shutil.copytree(ROOT / "experiments", root / "experiments")
    shutil.copy(ROOT / "constraints.txt", root)
    tiny = {"source": "standin", "split": "drawn", "resolution": 32, "count": 20, "licence": "x"}
    (root / "experiments" / "datasets.yaml").write_text(yaml.safe_dump({"tiny": tiny}))
    for folder in ("tables", "suites"):
        shutil.rmtree(root / "experiments" / folder)
    network = {"model": "sngan"}
    experiment = {"dataset": "tiny", "generator": network, "discriminator": network, "recipe": "sngan"}
    (root / "experiments" / "tables").mkdir()
    (root / "experiments" / "tables" / "tiny.yaml").write_text(yaml.safe_dump({"tiny-sngan": experiment}))
    write_protocol(root, PROTOCOL)
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    return root
