"""A pytest entry for a project's CI: demand that an experiment stays within tolerance.

    # test_scores.py, run with: pytest -p harness.comparison.pytest_plugin --harness-out results/paper
    def test_transgan_s_stays_within_tolerance(harness_verdict):
        harness_verdict("t4-transgan-s", allow=("within",))

Verdicts are read from OUT/check, where `harness check --write` left them.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --harness-out."""
    parser.addoption(
        "--harness-out", type=Path, default=Path("results/quick"), help="results folder whose verdicts are demanded"
    )


@pytest.fixture(scope="session")
def harness_verdict(request: pytest.FixtureRequest) -> Callable[..., None]:
    """A function `demand(experiment, allow=("within", "near"), metric=None)` that fails the test unless it holds."""
    from harness.comparison import check

    found = check.read(request.config.getoption("--harness-out"))

    def demand(experiment: str, allow: Sequence[str] = ("within", "near"), metric: str | None = None) -> None:
        """Every decided verdict of `experiment` (of `metric`: `fid` or `is`, if given) is allowed, and there is one."""
        __tracebackhide__ = True
        mine = found[found["experiment"] == experiment]
        if metric is not None:
            mine = mine[mine["metric"] == metric]
        decided = mine[mine["status"] != "none"]
        if decided.empty:
            pytest.fail(f"{experiment}: no verdict\n{check.plain(check.listing(mine))}", pytrace=False)
        bad = decided[[not set(words.split(" to ")) <= set(allow) for words in decided["verdict"]]]
        if len(bad):
            pytest.fail(f"{experiment}: not {' or '.join(allow)}\n{check.plain(check.listing(bad))}", pytrace=False)

    return demand
