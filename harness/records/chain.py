"""The chain of content: a record names the sha256 of what it was made from, and two records must not disagree.

A link is broken when two records disagree, or when a file that is there has another hash. A file that is not there is
not broken: a fresh clone has records and no dumps.
"""

from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.files import read_json, sha256_file
from harness.paths import ScaleFolder
from harness.records.score_record import ScoreRecord, seal_of


def sealed(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record of samples with `sha256`, the digest of its other entries."""
    body = {key: value for key, value in record.items() if key != "sha256"}
    return body | {"sha256": seal_of(body)}


def check_sample(path: Path, record: dict[str, Any], weights: bool = True) -> None:
    """Check a `samples.json`: its seal, and among a scale's records its place, its training's record and the weights.

    A record that lies elsewhere has no place and no training to agree with; one written by hand has no seal.

    Args:
        weights: hash the weights' file, too, if it is there.

    Raises:
        HarnessError: a broken link, naming both ends.
    """
    if {"sha256", "provenance"} & record.keys() and sealed(record) != record:
        raise HarnessError(f"{path}: changed since it was written; draw the samples again with `harness sample`.")
    folder = _scale_of(path)
    if folder is None:
        return
    experiment, seed, snapshot = record.get("experiment"), record.get("seed"), record.get("snapshot")
    if path != folder.sample_record(str(experiment), _number(seed), str(snapshot)):
        raise HarnessError(
            f"{path}: says experiment '{experiment}', seed {seed}, snapshot '{snapshot}', which is another place; "
            "one of both is a copy: move it away."
        )
    experiment, seed, snapshot, sha256 = str(experiment), _number(seed), str(snapshot), record.get("weights_sha256")
    for place, expected in _weights_of(folder, experiment, seed, snapshot):
        if sha256 != expected:
            raise HarnessError(
                f"{path} was drawn from weights of sha256 {sha256}, but {place} says {expected}; "
                f"run `harness sample {experiment} --seed {seed} --snapshot {snapshot}` again."
            )
    file = folder.weights(experiment, seed, snapshot)
    if weights and file.is_file() and sha256_file(file) != sha256:
        raise HarnessError(
            f"{path} was drawn from weights of sha256 {sha256}, but {file} has {sha256_file(file)}; "
            f"run `harness sample {experiment} --seed {seed} --snapshot {snapshot}` again."
        )


def check_score(path: Path, record: ScoreRecord, sample_path: Path, sample: dict[str, Any]) -> None:
    """Check that a score and the record of its dump name the same samples and weights.

    Raises:
        HarnessError: they do not, naming both.
    """
    quantisation, content = record.protocol.quantisation, record.content
    files = sample.get("files") or {"": {"quantisation": quantisation, "sha256": sample.get("samples_sha256")}}
    stated = [file["sha256"] for file in files.values() if file["quantisation"] == quantisation]
    samples_sha256 = content.dump_sha256 or content.samples_sha256
    if samples_sha256 not in stated:
        said = ", ".join(map(str, stated)) or f"nothing of samples as {quantisation}"
        raise HarnessError(
            f"{path} was made from samples of sha256 {samples_sha256}, but {sample_path} says {said}; "
            "score the dump again."
        )
    mine, other = content.weights_sha256, sample.get("weights_sha256")
    if mine is not None and mine != other:
        raise HarnessError(
            f"{path} was made from weights of sha256 {mine}, but {sample_path} says {other}; score the dump again."
        )


def _weights_of(folder: ScaleFolder, experiment: str, seed: int, snapshot: str) -> list[tuple[Path, str | None]]:
    """Return what the records of a training and of a choice, if there, say of a snapshot's weights."""
    place = folder.train_record(experiment, seed)
    if snapshot == "best":
        place = folder.choice(experiment, seed)
    if not place.is_file():
        return []
    said = read_json(place)
    named = said.get("weights_sha256") if isinstance(said, dict) else None
    if snapshot != "best" and isinstance(named, dict):
        named = named.get(snapshot)
    return [(place, named)] if isinstance(named, str) else []


def _scale_of(path: Path) -> ScaleFolder | None:
    """Return the folder of the scale whose records `path` belongs to: SCALE/records/EXPERIMENT/seedS/SNAPSHOT/FILE."""
    parents = path.parents
    if len(parents) < 5 or parents[3].name != "records" or not parents[1].name.startswith("seed"):
        return None
    return ScaleFolder(parents[4])


def _number(seed: Any) -> int:
    return seed if isinstance(seed, int) else -1
