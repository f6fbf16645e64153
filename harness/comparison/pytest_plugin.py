"""A pytest entry for a project's CI: demand that an experiment stays within tolerance.

    # test_scores.py, run with: pytest -p harness.comparison.pytest_plugin --harness-params results/paper
    def test_transgan_s_stays_within_tolerance(harness_verdict):
        harness_verdict("t4-transgan-s", allow=("within",))

Verdicts are made from the scale's records, as `harness check` does.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --harness-root and --harness-params, as --root and --params of `harness check`."""
    parser.addoption("--harness-root", type=Path, help="checkout; default: the one around the working folder")
    parser.addoption("--harness-params", type=Path, help="params.yaml, or its folder, of the scale that is demanded")


@pytest.fixture(scope="session")
def harness_verdict(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Return `demand(experiment, allow=("within", "near"), metric=None)`, which fails the test unless it holds."""
    from harness.comparison import check
    from harness.comparison.table_formats import plain
    from harness.comparison.verdicts import VERDICTS
    from harness.config.experiments import find_scale, pick
    from harness.errors import HarnessError
    from harness.records.score_record import METRICS

    options = request.config.getoption
    scale = find_scale(options("--harness-root"), options("--harness-params"))
    found = check.check(scale).verdicts
    known = {run.experiment: run for run in scale.params.runs.values()}

    def demand(experiment: str, allow: Sequence[str] = ("within", "near"), metric: str | None = None) -> None:
        """Every decided verdict of `experiment` (of `metric`: `fid` or `is`, if given) is allowed, and there is one.

        An experiment that the scale does not plan, a metric or a verdict that does not exist fails the test, too.
        """
        __tracebackhide__ = True
        allow = (allow,) if isinstance(allow, str) else allow
        problem = ""
        try:
            pick(experiment, known, "experiment")
            for word in allow:
                pick(word, dict.fromkeys(VERDICTS), "verdict in allow:")
            if metric is not None:
                pick(metric, METRICS, "metric")
        except HarnessError as error:
            problem = str(error)
        if problem:
            pytest.fail(f"{scale.path}: {problem}", pytrace=False)
        mine = found[found["experiment"] == experiment]
        if metric is not None:
            mine = mine[mine["metric"] == metric]
        if mine.empty:
            pytest.fail(f"{experiment}: no verdict; no score of it is held against anything", pytrace=False)
        decided = mine[mine["status"] != "none"]
        if decided.empty:
            pytest.fail(f"{experiment}: not-comparable\n{plain(check.listing(mine))}", pytrace=False)
        bad = decided[[not set(words.split(" to ")) <= set(allow) for words in decided["verdict"]]]
        if len(bad):
            pytest.fail(f"{experiment}: not {' or '.join(allow)}\n{plain(check.listing(bad))}", pytrace=False)

    return demand
