"""Suites of tests: a checkout with the suite `tiny`."""

from pathlib import Path
from typing import Any

import yaml

from harness.config import experiments
from harness.paths import Checkout
from harness.pipeline import suite
from tests.conftest import TINY
from tests.paths import ROOT

OVERLAYS = {
    "half": {
        "about": "",
        "changes": {"precision": "bfloat16", "compile": True},
        "exceptions": [{"experiments": ["f"], "changes": {"compile": False}, "because": "a test"}],
    }
}


def tiny_checkout(tmp_path: Path) -> Checkout:
    """Make a checkout with the suite `tiny` of two experiments; nothing is packed."""
    for name, value in TINY.items():
        if name != "params.yaml":
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(yaml.safe_dump(value))
    (tmp_path / "experiments/models").symlink_to(ROOT / "experiments/models")
    (tmp_path / "experiments/overlays.yaml").write_text(yaml.safe_dump(OVERLAYS))
    write(tmp_path, {"e": {}, "f": {"seeds": [0, 1], "snapshots": [8, "best", "last"]}})
    return Checkout(tmp_path)


def write_protocols(checkout: Checkout, **entries: dict[str, Any]) -> None:
    (checkout.root / "experiments/protocols/more.yaml").write_text(yaml.safe_dump(entries))


def write(root: Path, rows: dict[str, Any], **others: Any) -> None:
    path = root / "experiments/suites/tiny.yaml"
    path.parent.mkdir(exist_ok=True)
    value = {"about": "", "protocols": ["tiny"], "choose": "tiny", "tables": {"t": rows}}
    path.write_text(yaml.safe_dump(value | others))


def made(checkout: Checkout, **options: Any) -> experiments.Scale:
    """The scale `tiny` as written."""
    paths = suite.write([suite.generate(checkout, "tiny", **options)])
    return experiments.open_scale(paths[0])
