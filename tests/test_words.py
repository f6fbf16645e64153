"""The project writes the field's words; words that it used once and then replaced do not come back."""

import re
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.tree import identifiers, modules, name, texts

# In any text (a regular expression, without regard to case) -> what to write.
WORDS = {
    r"\blanes?\b": "comparison kind",
    r"\bbeware\b": "caveats",
    r"real_?sides?\b|\breal side\b": "reference_statistics, GaussianStatistics",
    r"skip_unread": "class_token_only",
    r"\bverbs?\b": "subcommand",
    r"\bcritics?(?![a-z])|(?<!\bn)_critics?\b": "discriminator",
    r"launch_?plan|\btf_scorer\b|\bclean_scorer\b": "the module that does it now",
    r"\bheavy files?\b": "artifacts",
    r"\bharness bundle\b": "dvc push, dvc pull",
}
# Names in code -> what to write.
NAMES = {
    "heavy": "artifacts_dir",
    "described": "sample_record or cache_key",
    "book": "ledger",
    "whose": "run_of",
    "lap": "repetition",
    "laps": "repetitions",
    "race": "comparison",
    "races": "comparisons",
    "Race": "Comparison",
    "RACES": "COMPARISONS",
    "LIVES": "PROCESSES",
    "lives": "processes",
    "life": "process",
    "Same": "EquivalentValues",
    "zoo": "registry",
    "zoo_latent": "latent_dim",
}
# Files where a word stays: the golden files' keys, the label from which network seeds derive, and the old YAML keys
# that are refused with the new name.
KEPT = {
    ("harness/config/reader.py", "discriminator"),
    ("harness/training/state.py", "discriminator"),
    ("tests/baselines/pins.py", "discriminator"),
    ("tests/config/test_fuzz.py", "discriminator"),
    ("tests/pipeline/test_plan.py", "discriminator"),
    ("tests/models/test_official.py", "discriminator"),
    ("tests/networks/test_every_model.py", "discriminator"),
}


@pytest.mark.parametrize("pattern", WORDS)
def test_retired_words_do_not_come_back(pattern: str) -> None:
    kept = {Path(__file__), *(ROOT / file for file, word in KEPT if word == WORDS[pattern])}
    found = {
        f"{name(path)}:{number}"
        for path in texts()
        if path not in kept
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(pattern, line, re.IGNORECASE)
    }
    assert not found, f"write {WORDS[pattern]} in {sorted(found)}"


def test_retired_names_do_not_come_back() -> None:
    found = {
        f"{name(path)}: {identifier}, now {NAMES[identifier]}"
        for path in modules()
        for identifier in identifiers(path)
        if identifier in NAMES
    }
    assert not found, sorted(found)
