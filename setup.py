"""What pyproject.toml cannot say: a wheel carries the experiments and the ledger of its checkout.

They stand once in the repository, where users edit them, and are copied into `harness/checkout` of a wheel only; see
`harness.paths.find_root`. An editable installation has none: it reads the checkout.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CARRIED = ("experiments", "results/reported", "results/verified.json")
ROOT = Path(__file__).resolve().parent


class BuildWithCheckout(build_py):
    """Copies `CARRIED` beside the code."""

    def run(self) -> None:
        """Build as usual, then copy."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "harness" / "checkout"
        shutil.rmtree(target, ignore_errors=True)  # of an earlier build
        for name in CARRIED:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, target / name)


setup(cmdclass={"build_py": BuildWithCheckout})
