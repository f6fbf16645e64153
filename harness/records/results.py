"""Measured scores as tidy data frames, read from the records that the stages leave under `results/<scale>/records`."""

import dataclasses
import re
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness import progress
from harness.config.reader import read_yaml
from harness.errors import HarnessError
from harness.files import read_json
from harness.paths import PARAMS, ScaleFolder
from harness.records import chain, score_record, train_record
from harness.records.score_record import METRICS, Content, Protocol, Run, ScoreRecord, Values
from harness.records.train_record import TrainRecord

RENAMED = {"name": "protocol", "version": "protocol_version"}  # field of `Protocol` -> column
PROVENANCE = ("git_commit", "git_dirty", "device", "threads", "wall_sec", "device_sec")
GROUP = ("scale", "experiment", "snapshot", "scorer", "protocol_id", "partial")  # what seeds are pooled within
SUMMARY = tuple(dict.fromkeys([*GROUP[:-2], "protocol", *GROUP[-2:]]))  # with the protocol's name
DISTINCT = ("seed", "samples_sha256", "weights_sha256")  # what differs between two trainings
TRAINING = ("scale", "experiment", "seed", "dataset", "nimg", "wall_sec", "device_sec", "device", "path")
TRAINING_NUMBERS = ("seed", "nimg", "wall_sec", "device_sec")


def _columns(kind: type[Any], *numbers: type) -> list[str]:
    """Columns of a dataclass, or those of its fields that are of one of the types `numbers` or None."""
    hints = typing.get_type_hints(kind)
    names = [f.name for f in dataclasses.fields(kind)]
    if numbers:
        names = [
            name for name in names if set(typing.get_args(hints[name]) or (hints[name],)) - {type(None)} <= {*numbers}
        ]
    return [RENAMED.get(name, name) if kind is Protocol else name for name in names]


INTERVALS = tuple(f"{metric}_{end}" for metric in METRICS for end in ("low", "high"))
VALUES = (*_columns(Values, float), *INTERVALS)
SCORES = list(
    dict.fromkeys(
        [
            *_columns(Run),
            "trained_on",
            "first_weights",
            *VALUES,
            "interval_by",
            *_columns(Protocol),
            "protocol_id",
            *_columns(Content),
            *PROVENANCE,
            "path",
        ]
    )
)
NUMBERS = [*_columns(Run, int), "first_weights", *VALUES, *_columns(Protocol, int), "threads", "wall_sec", "device_sec"]


@dataclass(frozen=True)
class Results:
    """What was measured, tidy; `scale` and `path` are columns of all three.

    `scores`: one row per score record: run, data set that it was trained on (`trained_on`), share that the first
    weights have in the average that was scored (`first_weights`, 0 to 1), both None where the training's record is not
    there or does not say, values, protocol with the `dataset` that it was scored against, `protocol_id`, content
    hashes, provenance. `training`: one row per training (its data set, images, seconds, device). `curves`: the training
    histories below each other.
    """

    scores: pd.DataFrame
    training: pd.DataFrame
    curves: pd.DataFrame

    def summary(self, level: float = 0.95) -> pd.DataFrame:
        """Return mean, standard deviation and interval over seeds; never over snapshots, protocols or scorers.

        One row per scale, experiment, snapshot, scorer, protocol and metric. Columns: those of `SUMMARY`; `metric`
        (fid, is, kid); `n` seeds; `mean`; `sd` (divisor n - 1); `low` and `high`, the two-sided Student interval of
        the mean at `level`. The last three are NaN for one seed, and the interval is where trainings are counted twice
        (`distinct_trainings`).

        Raises:
            HarnessError: a level outside 0..1.
        """
        from scipy import stats

        if not 0 < level < 1:
            raise HarnessError(f"level is {level}; write a number between 0 and 1, such as 0.95.")
        columns = [*SUMMARY, *DISTINCT]
        long = pd.concat(
            [self.scores[columns].assign(metric=metric, value=self.scores[key]) for metric, key in METRICS.items()]
        ).dropna(subset=["value"])
        grouped = long.groupby([*SUMMARY, "metric"], dropna=False)
        found = grouped["value"].agg(n="count", mean="mean", sd="std")
        distinct = grouped[[*DISTINCT]].agg(lambda column: not column.dropna().duplicated().any()).all(axis=1)
        n = found["n"].where((found["n"] > 1) & distinct)
        half = stats.t.ppf((1 + level) / 2, n - 1) * found["sd"] / n**0.5
        return found.assign(low=found["mean"] - half, high=found["mean"] + half).reset_index()


def load(path: Path | str = "results") -> Results:
    """Read one scale's folder (it holds `records`) or a folder of scales, e.g. `results`.

    Example:
        >>> import harness
        >>> results = harness.load_results("results/quick")
        >>> results.summary().query("metric == 'fid' and snapshot == 'last'")

    A scale whose params.yaml lies beside its records and names an overlay is called `SCALE+OVERLAY` in all frames, so
    that nothing pools its scores with those of the scale itself.

    Raises:
        HarnessError: no scores there; a broken record; one in another's place; one that is there twice; records that
            disagree on the samples or weights that they are of.
    """
    path = Path(path)
    folders = [path] if (path / "records").is_dir() else sorted(p.parent for p in path.glob("*/records"))
    scores, training, curves = [], [], []
    for folder in map(ScaleFolder, folders):
        files = folder.scores()
        with_bar = progress.over(files, len(files), "record", f"records of {folder.out.name}", is_brief=True)
        records = {file: placed(folder, file) for file in with_bar}
        if not records:
            continue
        _check_chain(folder, records)
        found = [row(record, file) for file, record in records.items()]
        scale = _scale_of(found)
        name = f"{scale}+{overlay}" if (overlay := _overlay_of(folder)) else scale
        trained = [_trained(scale, file) for file in folder.train_records()]
        by_run = {(record.run.experiment, record.run.seed): record for record, _ in trained}
        scores += [
            one | {"scale": name} | _of_training(one, by_run.get((one["experiment"], one["seed"]))) for one in found
        ]
        training += [_training(*one) | {"scale": name} for one in trained]
        curves += [_curve(name, file) for file in folder.histories()]
    if not scores:
        raise HarnessError(
            f"{path}: no scores (records/EXPERIMENT/seedS/SNAPSHOT/SCORER/PROTOCOL.json); run `dvc repro` first."
        )
    _refuse_copies(scores)
    return Results(
        scores=frame(scores),
        training=_numeric(pd.DataFrame(training, columns=TRAINING), TRAINING_NUMBERS),
        curves=pd.concat(curves, ignore_index=True)
        if curves
        else _numeric(pd.DataFrame(columns=[*CURVE, "nimg"]), ["seed", "nimg"]),
    )


def frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return rows of `row` as a frame: numbers are numeric columns with NaN, everything else keeps None."""
    return _numeric(pd.DataFrame(rows, columns=SCORES), NUMBERS)


def row(record: ScoreRecord, path: Path) -> dict[str, Any]:
    """Return a record as one flat row; `protocol` is the protocol's name, a snapshot is always text."""
    protocol = {RENAMED.get(key, key): value for key, value in dataclasses.asdict(record.protocol).items()}
    values = dataclasses.asdict(record.values)
    for metric in METRICS:
        values[f"{metric}_low"], values[f"{metric}_high"] = values.pop(f"{metric}_interval") or (None, None)
    provenance = {key: record.provenance.get(key) for key in PROVENANCE}
    parts = dataclasses.asdict(record.run), values, protocol, dataclasses.asdict(record.content), provenance
    merged: dict[str, Any] = {"protocol_id": record.protocol.protocol_id, "path": str(path)}
    for part in parts:
        merged |= part
    return merged


def placed(folder: ScaleFolder, path: Path) -> ScoreRecord:
    """Read a record and check that it lies where its run, scorer and protocol belong.

    Raises:
        HarnessError: a broken record, or one in another's place, naming both places.
    """
    run_of(folder, path)
    record = score_record.read(path)
    run = record.run
    if run.experiment is None or run.seed is None or run.snapshot is None:
        raise HarnessError(
            f"{path}: a score of samples from elsewhere; move it out of {folder.all_records}, name it with --foreign."
        )
    place = folder.score(run.experiment, run.seed, run.snapshot, record.protocol.scorer, record.protocol.name)
    if place != path:
        also = "which is there as well: one of both is a copy; move it away" if place.exists() else "move it there"
        raise HarnessError(f"{path}: this record belongs at {place}, {also}.")
    return record


def run_of(folder: ScaleFolder, path: Path) -> tuple[str, int]:
    """Return experiment and seed of a record, from its place.

    Raises:
        HarnessError: the folder's name is no seed.
    """
    experiment, name = path.relative_to(folder.all_records).parts[:2]
    if not re.fullmatch(r"seed(0|[1-9][0-9]*)", name):
        raise HarnessError(
            f"{folder.all_records / experiment / name}: the folder's name is no seed (seed0, seed1, ...); "
            "if it is a copy, move it away."
        )
    return experiment, int(name.removeprefix("seed"))


def _check_chain(folder: ScaleFolder, records: dict[Path, ScoreRecord]) -> None:
    """Compare scores with the records of their dumps, and these with their trainings', where these are there."""
    samples = {path: read_json(path) for path in folder.sample_records()}
    for path, sample in samples.items():
        if not isinstance(sample, dict):
            raise HarnessError(f"{path}: not a mapping; delete the file and run its stage again.")
        chain.check_sample(path, sample, weights=False)
    for path, record in records.items():
        place = path.parent.parent / "samples.json"
        if place in samples:
            chain.check_score(path, record, place, samples[place])
        else:
            chain.check_weights(path, record, folder)


def _scale_of(rows: list[dict[str, Any]]) -> str:
    """Return the scale that all records of a folder name."""
    first = rows[0]
    for other in rows:
        if other["scale"] != first["scale"]:
            raise HarnessError(
                f"{first['path']} is of scale '{first['scale']}', {other['path']} of '{other['scale']}'; "
                "one folder holds one scale: move the others away."
            )
    return str(first["scale"])


def _overlay_of(folder: ScaleFolder) -> str:
    """Return the overlay that the params.yaml of a scale's folder names; empty without one."""
    path = folder.out / PARAMS
    return str(read_yaml(path).get("overlay") or "") if path.is_file() else ""


def _refuse_copies(rows: list[dict[str, Any]]) -> None:
    seen: dict[tuple[Any, ...], str] = {}
    for one in rows:
        key = tuple(one[k] for k in ("scale", "experiment", "seed", "snapshot", "scorer", "protocol"))
        if key in seen:
            raise HarnessError(f"{seen[key]} and {one['path']} are of one run and protocol; move the copy away.")
        seen[key] = one["path"]


def _of_training(score: dict[str, Any], trained: TrainRecord | None) -> dict[str, Any]:
    """Return what a score's row says of its training."""
    if trained is None:
        return {"trained_on": None, "first_weights": None}
    share = train_record.first_weights(trained, score["nimg"])
    return {"trained_on": trained.run.dataset, "first_weights": share}


def _trained(scale: str, path: Path) -> tuple[TrainRecord, Path]:
    """Read a training's record and check that it lies where it belongs, with its history."""
    experiment, seed = run_of(_folder_of(path), path)
    record = train_record.read(path)
    chain.check_history(path, record)
    said = (record.run.scale, record.run.experiment, record.run.seed)
    if said != (scale, experiment, seed):
        raise HarnessError(
            f"{path}: is the record of scale '{said[0]}', experiment '{said[1]}', seed {said[2]}; "
            "it belongs elsewhere: if it is a copy, move it away."
        )
    return record, path


def _training(record: TrainRecord, path: Path) -> dict[str, Any]:
    return {
        "scale": record.run.scale,
        "experiment": record.run.experiment,
        "seed": record.run.seed,
        "dataset": record.run.dataset,
        "nimg": record.nimg,
        "wall_sec": record.cost.wall_sec,
        "device_sec": record.cost.wall_sec,  # one device a training: it is held as long as it runs
        "device": str(record.provenance.get("device", "cpu")),
        "path": str(path),
    }


CURVE = ("scale", "experiment", "seed", "path")


def _curve(scale: str, path: Path) -> pd.DataFrame:
    experiment, seed = run_of(_folder_of(path), path)
    try:
        curve = pd.read_csv(path, dtype=float)
    except (ValueError, UnicodeDecodeError) as error:  # pandas' own errors are ValueErrors
        raise HarnessError(f"{path}: not a readable csv ({error}); delete it and run its training again.") from None
    if "nimg" not in curve or curve["nimg"].isna().any():
        raise HarnessError(f"{path}: no column `nimg`; delete it and run its training again.")
    curve["nimg"] = curve["nimg"].astype("int64")
    for name, value in zip(reversed(CURVE), (str(path), seed, experiment, scale), strict=True):
        curve.insert(0, name, value)
    return curve


def _folder_of(path: Path) -> ScaleFolder:
    """Return the scale's folder of `records/EXPERIMENT/seedS/train/FILE`."""
    return ScaleFolder(path.parents[4])


def _numeric(table: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    for column in columns:
        table[column] = pd.to_numeric(table[column])
    return table


# ---------------------------------------------------------------- what may be counted


def distinct_trainings(rows: pd.DataFrame) -> dict[str, str]:
    """Return why rows that differ by seed only (one group of `GROUP`) are not as many trainings: field -> sentence.

    Empty if every row has a seed, samples and weights of its own.
    """
    problems = {}
    for column in DISTINCT:
        known = rows.dropna(subset=[column])
        for value, part in known.groupby(column, sort=True):
            if len(part) > 1:
                said = str(value)[:12]
                problems[column] = f"{column} {said} is counted {len(part)} times: {', '.join(part['path'])}"
                break
    return problems
