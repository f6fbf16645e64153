"""What the doctor's tests share."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import yaml

from harness.config.experiments import Scale, open_scale
from harness.doctor import devices
from harness.doctor.devices import Machine
from harness.doctor.finding import Finding
from harness.paths import Checkout
from harness.records import train_record
from tests.paths import ROOT
from tests.records import score_trees
from tests.scoring import entry, scored

SPEED = 1e9  # operations per second
FIGURES = devices.read(Checkout(ROOT))
CPU = Machine("a CPU", "cpu", None, {"float32": SPEED, "bfloat16": SPEED}, 2, FIGURES)

RUN = {"experiment": "tiny-sngan", "seed": 0, "dataset": "tiny"}
PROTOCOL: dict[str, Any] = {"dataset": "tiny", "n_fake": 64, "references": {"any": {"n_real": 16}}, "layer": 2048}
PARAMS = {
    "scale": "tiny",
    "root": "",
    "out": "results/tiny/",
    "runs": {"tiny-sngan-seed0": RUN},
    "dumps": {"tiny-sngan-seed0-last": {**RUN, "snapshot": "last"} | scored(**PROTOCOL)},
}


def write_scale(root: Path, changes: dict[str, Any] | None = None) -> Scale:
    """Write params.yaml with some keys changed, and open it."""
    params = copy.deepcopy(PARAMS) | (changes or {})
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    return open_scale(root / "params.yaml")


def scored_with(root: Path, **changes: Any) -> dict[str, Any]:
    """Change the protocol `tiny`, and return what params.yaml says then."""
    own = PROTOCOL | changes
    write_protocol(root, own)
    return {"dumps": {key: dump | scored(**own) for key, dump in PARAMS["dumps"].items()}}


def write_protocol(root: Path, own: dict[str, Any]) -> None:
    changes = {key: value for key, value in own.items() if key != "dataset"}
    path = root / "experiments" / "protocols" / "tiny.yaml"
    path.write_text(yaml.safe_dump({"tiny": entry(**changes)}))


def statuses(findings: list[Finding], area: str) -> list[str]:
    return [finding.status for finding in findings if finding.area == area]


def messages(findings: list[Finding]) -> str:
    return "\n".join(finding.message for finding in findings)


def record(root: Path, **versions: int) -> Path:
    path = root / "results" / "tiny" / "records" / "tiny-sngan" / "seed0" / "train" / "train.json"
    run = {"experiment": "tiny-sngan", "scale": "tiny", "nimg": 8, "planned_nimg": 8}
    made = score_trees.trained(score_trees.score(**run), "0" * 64)
    train_record.write(path, dataclasses.replace(made, run=dataclasses.replace(made.run, versions=versions)))
    return path
