"""Is this machine fit: the tested versions, no other package in our place, devices that the libraries can use."""

import ctypes
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness import provenance
from harness.doctor.finding import Finding
from harness.paths import MARKER

CONSTRAINTS = "constraints.txt"
PACKAGES = ("harness", "models", "baselines")


def check_machine(root: Path) -> list[Finding]:
    """Run every check of this file; `root` is the checkout worked on."""
    return check_versions(root) + check_commit() + check_shadowing(root) + check_torch() + check_tensorflow()


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


def check_commit() -> list[Finding]:
    """Will records name the commit that made them?"""
    found = provenance.commit(provenance.CODE)
    if found["git_commit"] is None:
        why = found["git_commit_unknown"]
        return [Finding("provenance", "warning", f"records will name no commit: {why}.")]
    return [Finding("provenance", "ok", f"commit {found['git_commit'][:12]}", found)]


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
    """Find code of another checkout that runs in place of this one's, and other packages of our packages' names."""
    base = Path(__file__).resolve().parents[2]
    out = []
    if base != root.resolve():
        out.append(_other_code(base, root))
    owners = importlib.metadata.packages_distributions()
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        places = [Path(p).resolve() for p in (spec.submodule_search_locations or [])] if spec else []
        others = sorted(set(owners.get(name, [])) - {"transgan-bench"})
        if base / name not in places[:1]:
            where = places[0] if places else "nowhere"
            fix = "use an environment of its own, without a PYTHONPATH or working directory that holds another"
            out.append(Finding("shadowing", "error", f"`import {name}` finds {where}, not {base / name}; {fix}."))
        elif others:
            what = f"{', '.join(others)} also installs a top-level `{name}`, which one is imported depends on the path"
            out.append(Finding("shadowing", "warning", f"{what}; uninstall it or use an environment of its own."))
    return out or [Finding("shadowing", "ok", f"{', '.join(PACKAGES)} are this checkout's")]


def _other_code(base: Path, root: Path) -> Finding:
    kind = "the checkout" if (base / MARKER).is_file() else "an installation in"
    what = f"the harness that runs is {kind} {base}, the experiments and results are those of {root}"
    return Finding("shadowing", "warning", f"{what}; to run this checkout's code: pip install -e {root}")


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
