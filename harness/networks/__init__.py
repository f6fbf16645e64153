"""Networks by name, and a generator's weights as one checked file."""

import importlib.util
from pathlib import Path

from harness.errors import HarnessError

OURS = ("models", "baselines")  # top-level packages that come with this one
BESIDE = Path(__file__).resolve().parents[2]


def check_packages(beside: Path = BESIDE) -> None:
    """Refuse other packages of the names `models` and `baselines`, which hold the networks; imports nothing.

    Raises:
        HarnessError: Python finds another package of one of these names first, or none.
    """
    for name in OURS:
        spec = importlib.util.find_spec(name)
        found_at = (spec.submodule_search_locations or [spec.origin or "built-in"]) if spec else []
        places = [Path(place).resolve() for place in found_at]
        if beside / name not in places[:1]:
            found = places[0] if places else "nothing"
            raise HarnessError(
                f"`import {name}` finds {found}, not {beside / name} of this package: another `{name}` comes first on "
                "Python's path; take it off PYTHONPATH, change the working folder, or use an environment of its own."
            )


check_packages()
