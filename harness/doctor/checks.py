"""Is this machine fit for a scale? Each check returns findings; an `error` is something that will go wrong."""

import ctypes
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.config import experiments, schema
from harness.doctor.estimate import scale_cost
from harness.errors import HarnessError
from harness.files import read_json, sha256_pixels
from harness.paths import Checkout

CONSTRAINTS = "constraints.txt"
PACKAGES = ("harness", "models", "baselines")


@dataclass(frozen=True)
class Finding:
    """One result: `status` is ok, warning (worth knowing) or error (will fail or mislead; the message has the fix)."""

    area: str
    status: str
    message: str
    details: dict[str, Any] = field(default_factory=dict)


def examine(params_file: Path, root: Path, device: str) -> tuple[list[Finding], dict[str, Any] | None]:
    """Run every check for the scale of `params_file`; return findings and estimate (None if it could not be made)."""
    findings = check_versions(root) + check_shadowing(root) + check_torch() + check_tensorflow()
    if any(finding.area == "shadowing" and finding.status == "error" for finding in findings):
        return findings, None  # the networks that an estimate would build are not ours
    try:
        params = experiments.load_params(params_file)
        findings += check_data(params, root) + check_weights(params, cache_folder(root)) + check_results(root)
        cost = scale_cost(params, params_file, root, device)
    except HarnessError as error:
        return [*findings, Finding("scale", "error", str(error))], None
    return [*findings, check_disk(cost, shutil.disk_usage(root).free)], cost


def cache_folder(root: Path) -> Path:
    """Where Inception weights and reference statistics are kept."""
    return Path(os.environ.get("HARNESS_CACHE") or root / ".cache")


# ---------------------------------------------------------------- versions


def check_versions(root: Path) -> list[Finding]:
    """Compare what is installed with the tested set, and look for combinations known to fail."""
    found = {d.metadata["Name"].lower().replace("_", "-"): d.version for d in importlib.metadata.distributions()}
    findings = known_failures(found, sys.version_info[:2])
    file = root / CONSTRAINTS
    if not file.is_file():
        return [*findings, Finding("versions", "warning", f"{file}: no such file; the tested versions are unknown.")]
    tested = tested_versions(file.read_text(encoding="utf-8"))
    other = {n: (found[n].split("+")[0], v) for n, v in tested.items() if n in found and found[n].split("+")[0] != v}
    same = sum(name in found for name in tested) - len(other)
    for name, (have, want) in other.items():
        fix = f"pip install -c {CONSTRAINTS} {name}=={want}"
        findings.append(Finding("versions", "warning", f"{name} {have} is installed, {want} was tested: {fix}"))
    packages = {name: found[name] for name in tested if name in found}
    return [*findings, Finding("versions", "ok", f"{same} packages are the tested versions", {"packages": packages})]


def tested_versions(constraints: str) -> dict[str, str]:
    """Read the `name==version ; marker` lines that apply to this Python and system."""
    from packaging.requirements import Requirement

    lines = (line.split("#")[0].strip() for line in constraints.splitlines())
    wanted = [Requirement(line) for line in lines if line]
    return {r.name: str(r.specifier).removeprefix("==") for r in wanted if r.marker is None or r.marker.evaluate()}


def known_failures(found: dict[str, str], python: tuple[int, int]) -> list[Finding]:
    """Combinations that were seen to fail. `found`: package -> version, names in lower case with hyphens."""
    out = []

    def at_least(name: str, version: tuple[int, int]) -> bool:
        numbers = re.findall(r"\d+", found.get(name, ""))[:2]
        return len(numbers) == 2 and tuple(map(int, numbers)) >= version

    if ("tensorflow" in found or "tensorflow-cpu" in found) and at_least("triton", (3, 7)):
        what = f"triton {found['triton']} crashes when it is loaded after TensorFlow"
        out.append(Finding("versions", "error", f"{what}: install torch 2.11 with triton 3.6 ({CONSTRAINTS})."))
    if "clean-fid" in found and at_least("scipy", (1, 18)):
        what = f"SciPy {found['scipy']} removed sqrtm(disp=...), which clean-fid calls"
        out.append(Finding("versions", "error", f"{what}: pip install 'scipy<1.18'."))
    if python not in ((3, 11), (3, 12)):
        version = ".".join(map(str, python))
        out.append(
            Finding("versions", "error", f"Python {version}: TensorFlow and torch were tested on 3.11 and 3.12.")
        )
    return out


def check_shadowing(root: Path) -> list[Finding]:
    """Find other top-level packages that Python would import, or might under another path, in place of ours."""
    out = []
    owners = importlib.metadata.packages_distributions()
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        places = [Path(p).resolve() for p in (spec.submodule_search_locations or [])] if spec else []
        others = sorted(set(owners.get(name, [])) - {"transgan-bench"})
        if (root / name).resolve() not in places[:1]:
            where = places[0] if places else "nowhere"
            fix = (
                "run in the repository's own environment, without a PYTHONPATH or working directory that holds another"
            )
            out.append(Finding("shadowing", "error", f"`import {name}` finds {where}, not {root / name}; {fix}."))
        elif others:
            what = f"{', '.join(others)} also installs a top-level `{name}`, which one is imported depends on the path"
            out.append(Finding("shadowing", "warning", f"{what}; uninstall it or use an environment of its own."))
    return out or [Finding("shadowing", "ok", f"{', '.join(PACKAGES)} are this repository's")]


# ---------------------------------------------------------------- devices


def check_torch() -> list[Finding]:
    """List what torch sees, and say why if it does not see a GPU that is there."""
    import torch

    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    details: dict[str, Any] = {
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda_build": torch.version.cuda,
        "gpus": [{"name": gpu.name, "memory_bytes": gpu.total_memory} for gpu in gpus],
    }
    names = ", ".join(f"{gpu.name} ({gpu.total_memory / 2**30:.0f} GiB)" for gpu in gpus) or "no GPU"
    seen = Finding("devices", "ok", f"torch {torch.__version__} sees {os.cpu_count()} CPUs and {names}", details)
    problem = driver_problem(driver_version(), torch.version.cuda, bool(gpus))
    return [seen, *([Finding("devices", "error", problem)] if problem else [])]


def driver_version() -> int:
    """Ask the NVIDIA driver for the newest CUDA it runs, as 1000 major + 10 minor; 0 without a driver."""
    version = ctypes.c_int(0)
    try:
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return 0
    return version.value


def driver_problem(driver: int, build: str | None, usable: bool) -> str | None:
    """Say why torch cannot use the GPU behind a driver.

    `driver`: as of `driver_version`. `build`: the CUDA version torch was built for. A driver runs programs of its own
    major version and of older ones.
    """
    if build is None or driver == 0 or usable:
        return None
    have, need = f"{driver // 1000}.{driver % 1000 // 10}", build
    if driver // 1000 < int(build.split(".")[0]):
        why = f"the NVIDIA driver is too old: it supports CUDA {have}, torch was built for {need}"
        return f"{why}; update the driver, or use --device cpu."
    return f"an NVIDIA driver (CUDA {have}) is there, but torch sees no GPU; check CUDA_VISIBLE_DEVICES and nvidia-smi."


TENSORFLOW = """
import json, sys
from harness.metrics.extractors.tensorflow import _tensorflow
tf = _tensorflow()
devices = [device.name for device in tf.config.list_physical_devices()]
print(json.dumps({"version": tf.__version__, "devices": devices}), flush=True)
import torchvision, cleanfid
"""


def check_tensorflow() -> list[Finding]:
    """Import TensorFlow, then torchvision and clean-fid, in a process of its own, which may crash."""
    done = subprocess.run([sys.executable, "-c", TENSORFLOW], capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    seen = json.loads(lines[-1]) if lines else None
    out = []
    if seen:
        message = f"TensorFlow {seen['version']} sees {', '.join(seen['devices'])}"
        out.append(Finding("devices", "ok", message, {"tensorflow": seen}))
    if done.returncode < 0:
        what = f"importing TensorFlow, then torchvision, crashes Python (signal {-done.returncode})"
        out.append(Finding("versions", "error", f"{what}: pip install -c {CONSTRAINTS} -e ."))
    elif done.returncode > 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        out.append(Finding("versions", "error", f"the scorers cannot be imported: {last}"))
    return out


# ---------------------------------------------------------------- data, weights, results


def check_data(params: schema.Params, root: Path) -> list[Finding]:
    """Look at every data set of the scale: packed, of this definition, with the pixels of its card?"""
    from harness.data import load
    from harness.data.card import definition, matches

    out = []
    for name in sorted({run.dataset for run in params.runs.values()}):
        folder, entry = root / "data" / name, definition(name, root)
        if not folder.is_dir():
            count = f"{entry.count:,}" if entry.count else "the"
            out.append(
                Finding("data", "warning", f"{name}: not packed yet ({count} images); `harness data {name}` will.")
            )
            continue
        try:
            found = load(folder)
        except HarnessError as error:
            out.append(Finding("data", "error", str(error)))
            continue
        sha256 = sha256_pixels(found.images)
        details = {"name": name, "count": len(found), "pixels_sha256": sha256, "stand_in": found.card["stand_in"]}
        if sha256 != found.card["pixels_sha256"]:
            out.append(
                Finding("data", "error", f"{folder}: the pixels are not those of its card; `harness data {name}`.")
            )
        elif not matches(found.card, name, entry):
            out.append(Finding("data", "error", f"{folder}: made by another definition; `harness data {name}`."))
        else:
            out.append(Finding("data", "ok", f"{name}: {len(found):,} images, sha256 {sha256[:12]}", details))
    return out


def check_weights(params: schema.Params, cache: Path) -> list[Finding]:
    """Look for the scale's Inception weights without fetching them."""
    from harness.metrics.inception import weights

    spec = params.scoring.weights
    names = {
        "official": (weights.OFFICIAL_GRAPH, weights.OFFICIAL_ARCHIVE, weights.PORT_NAME),
        "trunk": (weights.TRUNK_NAME,),
    }
    place = os.environ.get(weights.ENVIRONMENT)
    folders = [cache / "inception", *([Path(place)] if place else [])]
    there = (
        spec not in names or any((f / n).is_file() for f in folders for n in names[spec]) or Path(place or "").is_file()
    )
    if not there:
        how = {
            "official": "it will be downloaded when first used",
            "trunk": f"set {weights.ENVIRONMENT} to {weights.TRUNK_NAME}",
        }[spec]
        status = "error" if spec == "trunk" else "warning"
        return [Finding("weights", status, f"{spec} Inception: not there yet; {how}.")]
    try:
        found = weights.load(spec, cache)
    except HarnessError as error:
        return [Finding("weights", "error", str(error))]
    details = {"kind": found.kind, "path": found.where, "sha256": found.sha256}
    return [Finding("weights", "ok", f"{found.kind} Inception: {found.where}, sha256 {found.sha256[:12]}", details)]


def check_results(root: Path) -> list[Finding]:
    """Find trainings made by an older version of their model or of the trainer."""
    current = {name: model.version for name, model in experiments.load_models(root).items()}
    current |= experiments.load_versions(root)
    out, fresh = [], 0
    for path in Checkout(root).train_records():
        try:
            old = stale(read_json(path)["run"]["versions"], current)
        except (HarnessError, KeyError, TypeError, AttributeError):
            old = ["a version that its record does not tell"]
        fresh += not old
        if old:
            what = f"made by {', '.join(old)}; run it again (`dvc repro`) or remove it"
            out.append(Finding("results", "error", f"{path.relative_to(root)}: {what}."))
    return [*out, Finding("results", "ok", f"{fresh} trainings are of the current versions")]


def stale(made_by: dict[str, int], current: dict[str, int]) -> list[str]:
    """Say which of the versions that made a result are no longer current (or no longer exist)."""
    old = {name: version for name, version in made_by.items() if current.get(name) != version}
    return [f"{name} version {version} (now {current.get(name, 'gone')})" for name, version in sorted(old.items())]


def check_disk(cost: dict[str, Any], free: int) -> Finding:
    """Compare the scale's size with the free disk."""
    need = cost["bytes"]["total"]
    message = f"scale {cost['scale']} takes about {need / 1e9:.1f} GB, {free / 1e9:.1f} GB are free"
    details = {"free_bytes": free, "needed_bytes": need}
    if need > free:
        return Finding("disk", "error", f"{message}: free some, or choose a smaller scale.", details)
    return Finding("disk", "ok", message, details)
