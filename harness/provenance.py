"""Where a result comes from: commit, packages, device, threads."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.paths import INSTALLED, MARKER

PACKAGES = (
    "torch",
    "torchvision",
    "tensorflow-cpu",
    "tensorflow",
    "clean-fid",
    "numpy",
    "scipy",
    "pandas",
    "pillow",
    "dvc",
    "safetensors",
)
CODE = Path(__file__).resolve().parent.parent  # the repository of the code that computes, or where it is installed
NAME = "transgan-bench"
DECIDES = ("harness", "models", "baselines", "experiments")  # folders whose files decide a result


def _git(folder: Path, *arguments: str) -> tuple[str, str]:
    """Return git's output, and why there is none."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20)
    except FileNotFoundError:
        return "", "git is not installed"
    except (OSError, subprocess.SubprocessError) as error:
        return "", f"git: {error}"
    if done.returncode == 0:
        return done.stdout, ""
    why = (done.stderr.strip() or "git failed").splitlines()[0]
    if "dubious ownership" in why:  # the repository is another user's, as in a container
        why += f"; git config --global --add safe.directory {folder}"
    return "", why


def commit(folder: Path) -> dict[str, Any]:
    """Return `git_commit` and `git_dirty` of the repository around `folder`; where git gives none, why.

    `git_dirty` looks at tracked files, and at untracked ones where code and definitions lie (`DECIDES`). It leaves out
    `dvc.lock`, which a pipeline rewrites while it runs.
    """
    name, why = _git(folder, "rev-parse", "HEAD")
    tracked, why_not_tracked = _git(folder, "status", "--porcelain", "--untracked-files=no")
    others, why_not_others = _git(folder, "ls-files", "--others", "--exclude-standard", "--", *DECIDES)
    if unknown := why or why_not_tracked or why_not_others:
        return {"git_commit": None, "git_dirty": None, "git_commit_unknown": unknown}
    changed = [line for line in (*tracked.splitlines(), *others.splitlines()) if not line.endswith("dvc.lock")]
    return {"git_commit": name.strip(), "git_dirty": bool(changed)}


def code_commit() -> dict[str, Any]:
    """Return `commit` of the code that computes; an installed package has none, whatever repository it lies in."""
    if (CODE / MARKER).is_file():
        return commit(CODE)
    try:
        version = f" as {NAME} {importlib.metadata.version(NAME)}"
    except importlib.metadata.PackageNotFoundError:
        version = ""
    return {"git_commit": None, "git_dirty": None, "git_commit_unknown": f"the code is installed{version}, no checkout"}


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """Model name of the processor."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def collect(checkout: Path | None = None, **extra: Any) -> dict[str, Any]:
    """Describe the software and machine of this process.

    `git_commit` is the commit of the code that computes, None outside a git repository (a source tarball, a wheel);
    then `git_commit_unknown` says why.

    Args:
        checkout: root of the checkout whose experiments are run; if it is not the code's own, its commit is added
            as `checkout`.
        extra: further entries (device, threads, seeds, hashes, seconds), laid over the common ones; the name of the
            card that a device `cuda` means is added as `gpu`.
    """
    other = {}
    if checkout is not None and checkout.resolve() not in (CODE, INSTALLED):
        other = {"checkout": commit(checkout)}
    return {
        **code_commit(),
        **other,
        "python": platform.python_version(),
        "packages": _packages(),
        "machine": platform.machine(),
        "processor": processor(),
        "cpu_count": os.cpu_count(),
        **_card(str(extra.get("device", ""))),
        **extra,
    }


def _card(device: str) -> dict[str, str]:
    """Name of the GPU that a process computes on; torch is loaded then, in every process that has one."""
    torch = sys.modules.get("torch")
    if not device.startswith("cuda") or torch is None or not torch.cuda.is_available():
        return {}
    return {"gpu": torch.cuda.get_device_name(device)}
