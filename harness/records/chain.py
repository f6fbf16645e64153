"""The chain of content: a record names the sha256 of what it was made from, and two records must not disagree.

A link is broken when two records disagree, or when a file that is there has another hash. A file that is not there is
not broken: a fresh clone has records and no dumps.
"""

from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.files import sha256_file
from harness.paths import HISTORY, ScaleFolder
from harness.records import choice_record, seal, train_record
from harness.records.score_record import ScoreRecord
from harness.records.train_record import TrainRecord

WEIGHTS = "weights_sha256"


def check_sample(path: Path, record: dict[str, Any], weights: bool = True) -> None:
    """Check a `samples.json`: its seal, and among a scale's records its place, its training's record and the weights.

    A record that lies elsewhere has no place and no training to agree with; one written by hand has no seal.

    Args:
        weights: hash the weights' file, too, if it is there.

    Raises:
        HarnessError: a broken link, naming both ends.
    """
    if {seal.KEY, "provenance"} & record.keys():
        seal.opened(path, record, "Draw the samples again with `harness sample`.")
    folder = _scale_of(path)
    if folder is None:
        return
    experiment, seed, snapshot = record.get("experiment"), record.get("seed"), record.get("snapshot")
    if path != folder.sample_record(str(experiment), _number(seed), str(snapshot)):
        raise HarnessError(
            f"{path}: says experiment '{experiment}', seed {seed}, snapshot '{snapshot}', which is another place; "
            "one of both is a copy: move it away."
        )
    experiment, seed, snapshot = str(experiment), _number(seed), str(snapshot)
    place, said = _of_snapshot(folder, experiment, seed, snapshot)
    stated = [(place, key, value) for key, value in said.items()]
    file = folder.weights(experiment, seed, snapshot)
    if weights and file.is_file():
        stated.append((file, WEIGHTS, sha256_file(file)))
    for other, key, value in stated:
        if record.get(key) != value:
            raise HarnessError(
                f"{path} was drawn with {key} {record.get(key)}, but that of {other} is {value}; "
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


def check_weights(path: Path, record: ScoreRecord, folder: ScaleFolder) -> None:
    """Check that a score, whose dump's record is not there, is of weights that the training or the choice names.

    Raises:
        HarnessError: it is not, naming both.
    """
    run, mine = record.run, record.content.weights_sha256
    place, said = _of_snapshot(folder, str(run.experiment), _number(run.seed), str(run.snapshot))
    if mine is not None and said and mine != said[WEIGHTS]:
        raise HarnessError(
            f"{path} was made from weights of sha256 {mine}, but {place} says {said[WEIGHTS]}; sample and score it "
            "again."
        )


def check_history(path: Path, record: TrainRecord) -> None:
    """Check that the history beside a `train.json`, if there, is the one that it names.

    Raises:
        HarnessError: another history, naming both.
    """
    history = path.with_name(HISTORY)
    if history.is_file() and (found := sha256_file(history)) != record.history_sha256:
        raise HarnessError(
            f"{history} has sha256 {found}, but {path} says {record.history_sha256}; run its training again."
        )


def _of_snapshot(folder: ScaleFolder, experiment: str, seed: int, snapshot: str) -> tuple[Path, dict[str, Any]]:
    """Return the record of a training, or of the choice of `best`, and what it says of a dump of a snapshot.

    Nothing is said where the record is not there.
    """
    place = folder.choice(experiment, seed) if snapshot == "best" else folder.train_record(experiment, seed)
    if not place.is_file():
        return place, {}
    if snapshot == "best":
        choice = choice_record.read(place)
        (chosen,) = (one for one in choice.candidates if one.snapshot == choice.chosen)
        return place, {WEIGHTS: choice.weights_sha256, "selection": choice.selection, "nimg": chosen.nimg}
    trained = train_record.read(place)
    said: dict[str, Any] = {WEIGHTS: trained.weights_sha256.get(snapshot)}
    if snapshot == "last":
        said |= {"nimg": trained.nimg}
    return place, said


def _scale_of(path: Path) -> ScaleFolder | None:
    """Return the folder of the scale whose records `path` belongs to: SCALE/records/EXPERIMENT/seedS/SNAPSHOT/FILE."""
    parents = path.parents
    if len(parents) < 5 or parents[3].name != "records" or not parents[1].name.startswith("seed"):
        return None
    return ScaleFolder(parents[4])


def _number(seed: Any) -> int:
    return seed if isinstance(seed, int) else -1
