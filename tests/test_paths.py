"""Which checkout is meant: the one around the working folder, or, without any, what a wheel carries."""

from pathlib import Path

import pytest

from harness import paths, provenance
from harness.errors import HarnessError
from harness.paths import MARKER, Checkout


def checkout(folder: Path) -> Path:
    (folder / MARKER).parent.mkdir(parents=True)
    (folder / MARKER).write_text("{}\n")
    return folder


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a wheel carries; the working folder is empty and outside every checkout."""
    found = checkout(tmp_path / "site-packages" / "harness" / "checkout")
    monkeypatch.setattr(paths, "INSTALLED", found)
    monkeypatch.setattr(provenance, "INSTALLED", found)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HARNESS_CACHE", raising=False)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    return found


def test_without_a_checkout_the_wheel_is_read_and_the_users_cache_written(installed: Path, tmp_path: Path) -> None:
    found = Checkout.find()
    assert found.root == installed
    assert found.reported == installed / "results" / "reported"
    own = tmp_path / "cache" / "transgan-bench"
    assert (found.cache, found.data("cifar10")) == (own, own / "data" / "cifar10")


def test_a_checkout_around_the_working_folder_comes_first(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = checkout(tmp_path / "clone")
    (root / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(root / "a" / "b")
    assert Checkout.find() == Checkout.clone() == Checkout(root)
    assert Checkout.find().cache == root / ".cache"


def test_a_folder_that_is_named_is_never_replaced_by_the_wheel(installed: Path, tmp_path: Path) -> None:
    for find in (Checkout.find, Checkout.clone):
        with pytest.raises(HarnessError, match="empty: not inside a checkout"):
            find(tmp_path / "empty")


def test_what_needs_a_checkout_says_so(installed: Path) -> None:
    for find in (Checkout.clone, paths.find_params):
        with pytest.raises(HarnessError, match=r"this needs a checkout, .*clone the repository"):
            find()


def test_an_editable_installation_reads_no_copy() -> None:
    assert not paths.INSTALLED.exists(), "only a wheel has one; remove it from the source tree"


def test_an_installed_package_claims_no_commit(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even that of a repository around the environment it is installed in."""
    assert provenance.collect()["git_commit"] is not None or "git_commit_unknown" in provenance.collect()
    monkeypatch.setattr(provenance, "CODE", installed.parents[1])
    said = provenance.collect(installed)
    assert said["git_commit"] is None
    assert "no checkout" in said["git_commit_unknown"]
    assert "checkout" not in said
