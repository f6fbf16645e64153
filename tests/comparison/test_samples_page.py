"""The page on somebody else's samples shows what its commands print, and its example runs."""

import re
from pathlib import Path

import pytest

from tests.comparison import reviewer, samples_page


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return samples_page.outputs(tmp_path_factory.mktemp("page"))


def test_the_page_shows_what_its_commands_print(texts: dict[str, str]) -> None:
    page = samples_page.PAGE.read_text()
    assert samples_page.same(samples_page.made(page, texts), page), "run python -m tests.comparison.samples_page"
    assert not samples_page.same(page.replace(": within", ": outside"), page)
    assert not samples_page.same(page.replace("reported 1.93", "reported 1.43"), page)


def test_the_cases_are_the_four_answers(texts: dict[str, str]) -> None:
    ends = {name: text.rstrip().splitlines()[-1] for name, text in texts.items()}
    assert ends == {"released": "0", "retrained": "1", "foreign": "1", "nothing": "2"}
    assert ": within (declared" in texts["released"]
    assert ": outside (presumed; declared" in texts["retrained"]
    assert re.search(r"^foreign +theirs|foreign +seed0|foreign .*too-good", texts["foreign"], re.MULTILINE)


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reviewer.checkout(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / ".cache"))
    (code,) = re.findall(r"```python\n(.*?)```", samples_page.PAGE.read_text(), re.DOTALL)
    stand_in = code.replace('"theirs/", "cifar10"', '"seed0/", "shapes", scorer="torch", weights="stand-in", layer=64')
    assert stand_in != code
    *before, last = stand_in.strip().splitlines()
    scope: dict[str, object] = {}
    exec("\n".join(before), scope)
    fid, n_fake, declared = eval(last, scope)
    assert (round(fid, 1), n_fake, declared) == (1.9, reviewer.N_FAKE, ("ema",))
