"""Where a result comes from: commit, packages, device, threads."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

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


def _git(*arguments: str) -> str | None:
    folder = Path(__file__).resolve().parent.parent
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


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


def collect(**extra: Any) -> dict[str, Any]:
    """Describe the software and machine of this process.

    `git_commit` is None outside a git checkout (a source tarball, say); `git_dirty` looks at tracked files only and
    leaves out `dvc.lock`, which a pipeline rewrites while it runs.

    Args:
        extra: further entries (device, threads, seeds, hashes, seconds), laid over the common ones.
    """
    status = _git("status", "--porcelain", "--untracked-files=no")
    changed = [line for line in (status or "").splitlines() if not line.endswith("dvc.lock")]
    return {
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(changed) if status is not None else None,
        "python": platform.python_version(),
        "packages": _packages(),
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
        **extra,
    }
