"""Every committed record of a bench is what the page beside it says."""

from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from harness.bench import effects, intervals, launch, launch_scale, pipeline, processes, sampling, scores, train
from harness.files import read_json
from harness.pipeline import coverage
from tests.paths import ROOT
from tests.tree import name

FOLDER = ROOT / "results/bench"
PAGES: dict[str, Callable[[dict[str, Any]], str]] = {
    "coverage": coverage.markdown,
    "effects-*": effects.markdown,
    "intervals": intervals.markdown,
    "launch": launch.markdown,
    "launch-quick": launch_scale.markdown,
    "pipeline": pipeline.markdown,
    "sampling-[cg]pu": sampling.markdown,
    "scores": scores.markdown,
    "train-[cg]pu": train.markdown,
    "train-gpu-busy-host": train.markdown,
    "train-processes-[cg]pu": processes.markdown,
}


@pytest.mark.parametrize("path", sorted({path.with_suffix(".json") for path in FOLDER.iterdir()}), ids=name)
def test_a_page_says_what_its_record_says(path: Path) -> None:
    (markdown,) = (page for pattern, page in PAGES.items() if fnmatchcase(path.stem, pattern))
    assert markdown(read_json(path)) == path.with_suffix(".md").read_text(encoding="utf-8")
