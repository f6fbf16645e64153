"""`harness models`: sizes equal the golden ones, and nothing is claimed that was not done."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.pipeline import catalogue


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, int], dict]:
    """Rows of five models."""
    names = ("transgan-s", "transgan-xl", "sngan", "autogan", "stylegan2-cifar")
    return {(row["name"], row["resolution"]): row for row in catalogue.rows(names)}


@pytest.mark.parametrize(("name", "size"), [("transgan-s", "S"), ("transgan-xl", "XL")])
@pytest.mark.parametrize(("dataset", "resolution"), [("cifar10", 32), ("stl10", 48)])
def test_transgan_sizes(rows: dict, golden_dir: Path, name: str, size: str, dataset: str, resolution: int):
    golden = json.loads((golden_dir / "golden.json").read_text())["params_and_macs"][dataset]
    row = rows[name, resolution]
    assert row["generator_parameters"] == golden[size]["functional_total"]
    assert row["generator_macs"] == golden[size]["macs_total"]
    assert row["discriminator_parameters"] == golden["D"]["total"]
    assert row["discriminator_macs"] == golden["D"]["macs_total"]


def test_baseline_sizes(rows: dict, golden_dir: Path):
    golden = json.loads((golden_dir / "golden_baselines.json").read_text())["parameter_and_mac_counts"]
    public = golden["run_with_public_code"]
    for name, resolution, entry in [
        ("sngan", 32, "sngan_pytorch_cifar"),
        ("sngan", 48, "mimicry_sngan_48"),
        ("autogan", 32, "autogan_a_32"),
        ("autogan", 64, "autogan_a_64"),
    ]:
        assert rows[name, resolution]["generator_parameters"] == public[f"{entry}_G"]["params"]
        assert rows[name, resolution]["generator_macs"] == public[f"{entry}_G"]["macs"]
    style = golden["stylegan2_run"]["ada_cifar_32"]
    assert rows["stylegan2-cifar", 32]["generator_macs"] == style["G_macs"]["total"]
    assert rows["stylegan2-cifar", 32]["discriminator_macs"] == style["D_macs"]


def test_an_unknown_model_names_the_nearest():
    with pytest.raises(HarnessError, match="'sngan'"):
        catalogue.rows(["sngann"])


def test_the_table_has_one_line_per_row(rows: dict):
    lines = catalogue.table(list(rows.values())).splitlines()
    assert len(lines) == len(rows) + 1
    assert "34.37 M" in next(line for line in lines if line.startswith("transgan-s"))


def test_what_was_trained_and_scored_is_read_from_the_records():
    names = ["sngan-narrow", "transgan-mini", "wgan-gp-narrow"]
    found = {(row["name"], row["resolution"]): row for row in catalogue.rows(names)}
    done = {key: (row["trained"], row["scored"]) for key, row in found.items()}
    assert done["transgan-mini", 16] == (True, True)  # scale mini
    assert done["wgan-gp-narrow", 16] == (False, False), "mini's has other widths than the one whose size is listed"
    assert done["wgan-gp-narrow", 32] == (False, False)  # quick's, on stand-ins, does not count
    assert done["sngan-narrow", 16] == (False, False)


def test_tables_are_those_that_an_experiment_of_the_model_is_held_against(rows: dict):
    assert "T1-pairing" in rows["transgan-s", 32]["tables"]
    assert rows["transgan-s", 48]["tables"] == []
    assert "T6-stl10-comparison" in rows["autogan", 48]["tables"]
    assert rows["autogan", 64]["tables"] == []


def test_the_command_prints_json():
    done = subprocess.run(
        [sys.executable, "-m", "harness", "models", "dcgan", "--json"], capture_output=True, text=True, check=True
    )
    assert {row["resolution"] for row in json.loads(done.stdout)} == {32, 48, 64}
