"""The ledger: what it holds, and that a mistake in it is named with its line."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.comparison import reported
from harness.config import experiments
from harness.errors import HarnessError
from tests.paths import ROOT


@pytest.fixture(scope="module")
def ledger() -> reported.Ledger:
    return reported.load()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "results" / "reported", tmp_path / "reported"))


def printed(ledger: reported.Ledger, link: str, metric: str, dataset: str = "cifar10") -> str:
    rows = reported.find(ledger, link)
    row = rows[(rows["metric"] == metric) & (rows["dataset"] == dataset)]
    assert len(row) == 1, f"{link} {metric}: {len(row)} rows"
    return str(row["printed"].item())


def test_abstract_and_table_disagree_and_both_stay(ledger: reported.Ledger) -> None:
    assert printed(ledger, "abstract/TransGAN-XL/best", "is") == "8.64"
    assert printed(ledger, "T4-model-scaling/TransGAN-XL/depth {5,4,2} dim 1024", "is") == "8.63 ± 0.16"
    assert printed(ledger, "T2-data-augmentation/AutoGAN/no DA", "is") == "8.55 ± 0.12"
    assert printed(ledger, "autogan-cifar10/AutoGAN-top1", "is") == "8.55 ± 0.10"
    assert printed(ledger, "T3-mtct-localinit/TransGAN-S/DA + MT-CT + local init", "is") == "8.22 ± 0.12"
    assert printed(ledger, "T4-model-scaling/TransGAN-S/depth {5,2,2} dim 384", "is") == "8.22 ± 0.14"


def test_controls_references_and_reproductions_are_there(ledger: reported.Ledger) -> None:
    assert printed(ledger, "sngan.pytorch/SN-GAN", "fid") == "14.21"
    assert printed(ledger, "mimicry/SNGAN", "fid") == "16.77 ± 0.04"
    assert printed(ledger, "clean-fid/AutoGAN (config A)/clean", "fid") == "21.18 ± 0.12"
    assert printed(ledger, "real-data/real data/torch-fidelity", "is") == "11.23678 ± 0.09514061"
    assert printed(ledger, "metu/TransGAN-XL/DA only, wgangp-eps, 200 epochs, best", "fid") == "26.822"
    assert printed(ledger, "neurips-abstract/TransGAN/best", "fid", "stl10") == "18.28"
    assert set(ledger.rows["confidence"]) == {"verified", "secondary", "unverified"}
    assert len(ledger.rows) == 344


def test_what_was_only_recalled_is_unverified(ledger: reported.Ledger) -> None:
    for link in ("T1-pairing/G=Transformer D=AutoGAN/no DA", "T3-mtct-localinit/TransGAN-S/DA + MT-CT"):
        assert set(reported.find(ledger, link)["confidence"]) == {"unverified"}
    assert set(reported.find(ledger, "T5-cifar10-comparison/TransGAN-XL")["confidence"]) == {"secondary"}


def test_every_row_has_a_source_and_every_presumption_a_reason(ledger: reported.Ledger) -> None:
    assert (ledger.rows["source"] != "").all()
    for protocol in ledger.protocols.values():
        assert set(protocol.fields) == set(reported.FIELDS)
        for name, field in protocol.fields.items():
            assert field.kind == "stated" or field.because, f"{protocol.name}.{name}"
    assert set(ledger.rows["protocol"]) - {"quoted"} <= set(ledger.protocols)


def test_protocols_of_the_two_rows_that_are_not_comparable(ledger: reported.Ledger) -> None:
    stylegan = ledger.protocols[reported.find(ledger, "T2-data-augmentation/StyleGAN v2/no DA")["protocol"].iloc[0]]
    transgan = ledger.protocols[reported.find(ledger, "T2-data-augmentation/TransGAN/no DA")["protocol"].iloc[0]]
    assert reported.short(stylegan) == "10k vs 10k test"
    assert reported.short(transgan) == "50k/20k? vs 50k train"
    assert transgan.fields["n_fake"].kind == "presumed"
    assert transgan.fields["quantisation"].values == ("uint8, truncated", "float")


def test_experiments_answer_rows_that_exist(ledger: reported.Ledger) -> None:
    from harness.comparison.protocols import check_links

    known = experiments.load()
    assert any(experiment.reported for experiment in known.values())
    check_links(known, ledger)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("confidence,note", "confidnce,note", r"line 1: unknown column 'confidnce'\. Did you mean 'confidence'"),
        ("stl10,48,is,10.10", "stl10,48,isc,10.10", r"line 2: unknown metric 'isc'\. Did you mean 'is'"),
        ("stl10,48,fid,25.32", "stl10,48,fid,25,32", r"line 3: 18 cells under 17 columns"),
        ("stl10,48,fid,25.32", "stl10,48,fid,25.3x", r"line 3: `value` is '25.3x', expected number"),
        ("stl10,48,fid,25.32", "stl-10,48,fid,25.32", r"line 3: unknown dataset 'stl-10'\. Did you mean 'stl10'"),
        ("stl10,48,fid,25.32", "stl10,48,is,25.32", r"line 3: the same row as .*line 2"),
        ("fid,25.32,,transgan-v1-stl10", "fid,,,transgan-v1-stl10", r"line 3: `value` is empty"),
        ("fid,25.32,,transgan-v1-stl10", "fid,25.32,,transgan-stl10", r"line 3: unknown protocol .*transgan-v1-stl10"),
        ("stl10,48,fid,25.32", "stl10,48,fid,nan", r"line 3: `value` is 'nan', expected number"),
        ("stl10,48,fid,25.32", "stl10,48,fid,1e999", r"line 3: `value` is '1e999', expected number"),
        ("stl10,48,fid,25.32", "stl10,48,fid,-25.32", r"line 3: `value` is '-25.32', expected at least 0"),
        ("stl10,48,fid,25.32", "stl10,48,fid,25_32", r"line 3: `value` is '25_32', expected number"),
        ("stl10,48,fid,25.32", "stl10,0,fid,25.32", r"line 3: `resolution` is '0', expected at least 1"),
        ("stl10,48,fid,25.32", "stl10,48.0,fid,25.32", r"line 3: `resolution` is '48.0', expected integer"),
        ("version,table", "paper,table", r"line 1: column 'paper' is there twice"),
        ("TransGAN-XL,best,stl10,48,fid", "TransGAN\x07XL,best,stl10,48,fid", r"line 3: `model` holds a control"),
        ("abstract,TransGAN-XL,best,stl10,48,fid", "abstract,TransGAN/XL,best,stl10,48,fid", r"line 3: `model` is"),
    ],
)
def test_a_mistake_is_named_with_file_and_line(copy: Path, old: str, new: str, message: str) -> None:
    edit(copy / "transgan.csv", old, new)
    with pytest.raises(HarnessError, match=rf"transgan\.csv, {message}"):
        reported.load(copy)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  crop: {stated: none}\n", "", "transgan-v1-cifar10: says nothing about `crop`"),
        ("  crop: {stated: none}\n", "  corp: {stated: none}\n", "unknown field 'corp'. Did you mean 'crop'"),
        ("{stated: none}", "{presumed: [none]}", r"transgan-v1-cifar10.crop: got .*because: why"),
        ("based_on: unknown", "based_on: unknwn", r"quoted: based_on 'unknwn', .* Did you mean 'unknown'"),
        ("metric: fid, per_image", "metric: fid, per_imge", r"effects\[0\]: unknown key 'per_imge'"),
        ("[20000, 40000]", "[20000, .inf]", r"line [0-9]+: .inf is not a finite number"),
        ("[20000, 40000]", "[40000, 20000]", r"effects\[0\]: bounds 40000.0, 20000.0"),
        ("share: [0.0, 0.05]", "share: [-2, 0.05]", r"effects\[6\]: bounds -2.0, 0.05"),
        ("share: [0.0, 0.05]", "per_image: [0.0, 0.05]", r"effects\[6\]: `per_image` is for a count"),
        (
            'values: ["best", "last"], share: [0.0',
            'values: ["best"], share: [0.0',
            r"effects\[6\]: .*write two `values`",
        ),
        ("[50000, 20000]", "[50000, 0]", r"transgan-v1-cifar10.n_fake: 0 cannot be"),
        ("{stated: none}", "{stated: .nan}", r"line [0-9]+: .nan is not a finite number"),
        ("{stated: none}", "{stated: [none]}", r"transgan-v1-cifar10.crop: \['none'\] cannot be"),
        ('{unknown: "not stated"}', "{unknown: }", r"unknown.split: got"),
        ("based_on: unknown", "based_on: [unknown]", r"quoted: based_on '\['unknown'\]'"),
        ("quoted:\n", "quoted: 3\nrest:\n", r"quoted: expected a mapping"),
        ("same:", "sane:", r"sane: expected a mapping"),
    ],
)
def test_a_mistake_in_a_protocol_is_named(copy: Path, old: str, new: str, message: str) -> None:
    edit(copy / "protocols.yaml", old, new)
    with pytest.raises(HarnessError, match=message):
        reported.load(copy)


def test_an_unknown_link_names_the_nearest_row(ledger: reported.Ledger) -> None:
    with pytest.raises(HarnessError, match="Did you mean 'abstract/TransGAN-XL/best'"):
        reported.find(ledger, "abstract/TransGAN-XL/bets")


def test_importing_harness_imports_neither_pandas_nor_torch() -> None:
    code = "import sys, harness, harness.commands.tables, harness.commands.check, harness.commands.report\n"
    code += "harness.load_results\nprint({'pandas', 'torch', 'matplotlib', 'jinja2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
