"""A whole scale twice, in fresh clones of the checkout: `dvc repro`, then `harness launch`, on the same cores.

Nothing is up to date and no cache is shared. Both clones compute with the same number of threads. What the two write
into `dvc.lock` must agree: the same stages, commands, parameters and files, and the same content wherever a file holds
no time, no duration and no other measure of the run itself; weights and dumps are such files.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from harness import provenance
from harness.bench import page
from harness.config.yaml_file import Loader
from harness.errors import HarnessError
from harness.files import write_json, write_text
from harness.paths import PARAMS, Checkout

REPRO = ("dvc", "repro")
BEGUN = "Running stage"  # what DVC prints for each stage that it runs
EQUAL = ("samples", "weights", "chosen")  # outputs that hold numbers and nothing else
HASHES = ("md5", "size", "nfiles", "hash")


def run(out: Path, checkout: Checkout, launch: Sequence[str], threads: int = 1) -> dict[str, Any]:
    """Time both and write `launch-quick.json` and `launch-quick.md` into `out`.

    Args:
        out: folder of the two files.
        checkout: is cloned; what is not committed does not take part.
        launch: command line of the launch.
        threads: of each stage, in both clones.

    Raises:
        HarnessError: no git checkout, a command fails, the two disagree, or DVC runs a stage after the launch.
    """
    lines = {"dvc repro": REPRO, " ".join(("harness", *launch[launch.index("launch") :])): launch}
    rows: list[dict[str, Any]] = []
    locks: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        for number, (what, line) in enumerate(lines.items()):
            folder = _clone(checkout, Path(place) / str(number), threads)
            load, begun = list(os.getloadavg()), time.perf_counter()
            _run(line, folder)
            rows.append({"what": what, "sec": time.perf_counter() - begun, "load_average_before": load})
            locks.append(_locks(folder))
            if line is launch and BEGUN in (said := _run(REPRO, folder)):
                raise HarnessError(f"dvc repro ran stages after `{what}`: {said[-2000:]}")
    compared = compare(*locks)
    cores = len(os.sched_getaffinity(0))
    machine = provenance.collect(checkout.root, threads=threads) | {"cpu": provenance.processor(), "cores": cores}
    record = {"rows": rows, "ratio": rows[0]["sec"] / rows[1]["sec"], "compared": compared, "machine": machine}
    write_json(Path(out) / "launch-quick.json", record)
    write_text(Path(out) / "launch-quick.md", markdown(record))
    return record


def _clone(checkout: Checkout, folder: Path, threads: int) -> Path:
    """Clone the last commit, and set the threads of the scale at its root."""
    _run(("git", "clone", "--quiet", str(checkout.root), str(folder)), checkout.root)
    path = folder / PARAMS
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    wanted = [f"threads: {threads}\n" if line.startswith("threads:") else line for line in lines]
    write_text(path, "".join(wanted))
    return folder


def _run(line: Sequence[str], folder: Path) -> str:
    """Run a command of this environment with the code in `folder`, and return what it prints."""
    paths = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    own = {"PYTHONPATH": str(folder), "PATH": os.pathsep.join(paths)}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HARNESS_")}
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False, env=kept | own)
    if done.returncode:
        raise HarnessError(f"`{' '.join(line)}`: exit {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def _locks(folder: Path) -> dict[str, Any]:
    """Return what every dvc.lock says: its path and a stage's name -> its entry."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("dvc.lock")):
        stages = yaml.load(path.read_text(encoding="utf-8"), Loader)["stages"]
        found |= {f"{path.relative_to(folder)}:{name}": entry for name, entry in stages.items()}
    return found


def compare(serial: Mapping[str, Any], launched: Mapping[str, Any]) -> dict[str, Any]:
    """Hold two pipelines' entries against each other.

    Returns:
        Number of stages; of outputs, and of those with equal content; of weights and dumps, all equal; and the names of
        the outputs that differ.

    Raises:
        HarnessError: other stages, commands, parameters or files, or other weights or dumps.
    """
    if _plain(serial) != _plain(launched):
        other = sorted(name for name in serial.keys() | launched.keys() if _one(serial, name) != _one(launched, name))
        raise HarnessError(f"dvc.lock of the two disagrees on {', '.join(other)}.")
    pairs = [
        (one["path"], one, two)
        for name in serial
        for one, two in zip(serial[name].get("outs", []), launched[name].get("outs", []), strict=True)
    ]
    differ = [path for path, one, two in pairs if one != two]
    strict = [path for path, *_ in pairs if Path(path).name in EQUAL]
    if wrong := sorted(set(strict) & set(differ)):
        raise HarnessError(f"the two made other numbers: {', '.join(wrong)}.")
    return {
        "stages": len(serial),
        "outputs": len(pairs),
        "equal_outputs": len(pairs) - len(differ),
        "weights_and_dumps": len(strict),
        "different_outputs": sorted(differ),
    }


def _one(entries: Mapping[str, Any], name: str) -> Any:
    return _plain(entries.get(name))


def _plain(value: Any) -> Any:
    """Return entries without hashes and sizes."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items() if key not in HASHES}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def markdown(record: dict[str, Any]) -> str:
    """Return a record's table in Markdown, with the machine named above it."""
    machine, compared = record["machine"], record["compared"]
    rows = [(row["what"], f"{row['sec']:.0f}", f"{row['load_average_before'][0]:.1f}") for row in record["rows"]]
    table = page.table("what | sec: | load average before:", rows)
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads a stage; DVC "
        f"{machine['packages']['dvc']}; once each, from a fresh clone to the last stage, Ray's start included. "
        f"`dvc repro` takes {record['ratio']:.2f} times as long.\n\n{table}\n\n"
        f"Both dvc.lock name the same {compared['stages']} stages, commands, parameters and files. All "
        f"{compared['weights_and_dumps']} weights and dumps are equal, and {compared['equal_outputs']} of "
        f"{compared['outputs']} outputs; the others are records with times in them, or are made of them. `dvc repro` "
        "after the launch ran nothing.\n"
    )
