"""The cases of `docs/samples.md`, run in a fixture checkout; `python -m tests.comparison.samples_page` writes them."""

import io
import os
import re
import shlex
import tempfile
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from harness import cli
from harness.config.experiments import open_scale
from harness.files import write_text
from tests.comparison import reviewer
from tests.paths import ROOT
from tests.records import score_trees

PAGE = ROOT / "docs/samples.md"
STAND_IN = "--scorer torch --weights stand-in --layer 64"  # so that the page can be made anywhere
SAID = "--declare ema=true --declare quantisation='uint8, rounded'"
CASES = {  # name -> command lines, run in this order in one checkout
    "released": [
        f"harness score seed0/ shapes {STAND_IN} \\\n    --against fixture/GAN-A --as released {SAID}",
    ],
    "retrained": [
        f"harness score seed0/ seed1/ seed2/ shapes {STAND_IN} \\\n"
        f"    --against fixture/GAN-B --as retrained {SAID} \\\n    --declare snapshot=last",
    ],
    "foreign": [
        f"harness score seed0/ shapes {STAND_IN} \\\n"
        f"    --against fixture/GAN-C --as released {SAID} \\\n    --out theirs.json | tail -1",
        "harness check --foreign theirs.json",
    ],
    "nothing": [
        f"harness score seed0/ shapes {STAND_IN} \\\n    --against T4-model-scaling/TransGAN-S --as released",
    ],
}
NUMBER = re.compile(r"\d+\.\d+")
TOLERANCE = 2e-3  # relative, of printed scores: machines differ in the last digits of float32


def checkouts(folder: Path) -> tuple[Path, Path]:
    """Two checkouts with the same samples: one with the fixture's ledger and a scale of one score, one with the
    project's ledger."""
    fixture, project = reviewer.checkout(folder / "fixture"), reviewer.checkout(folder / "project")
    for path in (project / "results/reported").iterdir():
        path.unlink()
    (project / "results/reported").rmdir()
    (project / "results/reported").symlink_to(ROOT / "results/reported")
    run = {"experiment": "xs", "seed": 0, "dataset": "shapes"}
    dump = run | {"snapshot": "last"} | score_trees.DUMP | {"scores": {"torch": {"ours": "1-00000000"}}}
    params = {"scale": "ours", "root": "", "out": "out/", "limit_nimg": None, "runs": {"xs-seed0": run}}
    reviewer.write(fixture / "params.yaml", params | {"dumps": {"xs-seed0-last": dump}})
    length = reviewer.RECIPE["length_nimg"]
    protocol = {"n_fake": reviewer.N_FAKE, "n_real": reviewer.N_REAL, "dataset": "shapes", "layer": 64}
    score_trees.add(
        fixture / "out",
        "torch",
        **protocol,
        **{"scale": "ours", "name": "ours", "experiment": "xs", "nimg": length, "planned_nimg": length},
        **{"inception": "stand-in", "stand_in_inception": True, "fid": 1.95, "is_mean": None, "is_std": None},
    )
    score_trees.as_planned(open_scale(fixture / "params.yaml"))
    return fixture, project


def outputs(folder: Path) -> dict[str, str]:
    """Run every case; return its text in the page by name."""
    fixture, project = checkouts(folder)
    texts = {}
    for name, lines in CASES.items():
        root = project if name == "nothing" else fixture
        with chdir(root), mock.patch.dict(os.environ, {"HARNESS_CACHE": str(root / ".cache")}):
            texts[name] = "\n".join(transcript(line) for line in lines)
    return texts


def transcript(line: str) -> str:
    """Run one command line; return it with what it printed and its exit code."""
    command, _, last = line.replace("\\\n", " ").partition(" | ")
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(io.StringIO() if last else out):
        try:
            code = cli.run(shlex.split(command)[1:])
        except SystemExit as end:
            code = int(end.code or 0)
    printed = [part for part in out.getvalue().rstrip("\n").split("\n") if "\r" not in part]  # no progress bars
    assert last in ("", "tail -1"), last
    body = "\n".join(part.rstrip() for part in (printed[-1:] if last else printed))
    return f"$ {line}\n{body}\n" + ("" if last else f"$ echo $?\n{code}\n")


def made(page: str, texts: dict[str, str]) -> str:
    """Return the page with every case as it runs now."""
    for name, text in texts.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        assert page.count(begin) == 1, begin
        head, rest = page.split(begin)
        page = f"{head}{begin}```\n{text}```\n{end}{rest.split(end, 1)[1]}"
    return page


def same(page: str, other: str) -> bool:
    """Whether two texts agree, scores to rounding of another machine."""
    a, b = (list(map(float, NUMBER.findall(text))) for text in (page, other))
    close = len(a) == len(b) and all(
        abs(x - y) <= TOLERANCE * max(abs(x), abs(y)) + 0.0101 for x, y in zip(a, b, strict=True)
    )
    return close and NUMBER.sub("", page) == NUMBER.sub("", other)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        write_text(PAGE, made(PAGE.read_text(), outputs(Path(temporary))))
