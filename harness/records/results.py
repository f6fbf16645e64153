"""Measured scores as tidy data frames, read from the JSON that the stages leave under `results/<scale>/records`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.config import reader
from harness.errors import HarnessError
from harness.files import read_json

SCORERS = ("tf", "torch", "clean")
RUN = ("scale", "experiment", "seed", "snapshot", "nimg", "planned_nimg", "partial")
VALUES = ("fid", "is_mean", "is_std", "kid", "kid_std")
PROTOCOL = (
    "dataset",
    "split",
    "crop",
    "resolution",
    "n_fake",
    "n_real",
    "layer",
    "inception",
    "resizer",
    "quantisation",
    "is_splits",
    "is_bias",
    "ema",
    "stand_in_data",
    "stand_in_inception",
    "inception_sha256",
    "real_pixels_sha256",
)
PROVENANCE = ("git_commit", "git_dirty", "device", "threads", "samples_sha256", "wall_sec", "device_sec")


@dataclass(frozen=True)
class Results:
    """What was measured, tidy.

    `scores`: one row per score JSON (run, values, protocol, `protocol_id`, provenance). `training`: one row per
    training (images, seconds, device). `curves`: the training histories below each other.
    """

    scores: pd.DataFrame
    training: pd.DataFrame
    curves: pd.DataFrame


def load(path: Path | str = "results") -> Results:
    """Read one scale's folder (it holds `records`) or a folder of scales, e.g. `results`.

    Example:
        >>> import harness
        >>> results = harness.load_results("results/quick")
        >>> results.scores.query("scorer == 'tf'")[["experiment", "seed", "fid", "is_mean"]]

    Raises:
        HarnessError: no scores there, or a JSON that is broken or lacks an entry.
    """
    path = Path(path)
    folders = [path] if (path / "records").is_dir() else sorted(p.parent for p in path.glob("*/records"))
    scores = [_score(file) for folder in folders for file in _score_files(folder)]
    if not scores:
        raise HarnessError(
            f"{path}: no scores (records/*/seed*/*/tf.json, torch.json or clean.json); run `dvc repro` first."
        )
    training = [_training(folder, file) for folder in folders for file in find(folder, "train.json")]
    curves = [_curve(folder, file) for folder in folders for file in find(folder, "history.csv")]
    return Results(
        scores=pd.DataFrame(scores, columns=["scorer", *RUN, *VALUES, *PROTOCOL, "protocol_id", *PROVENANCE]),
        training=pd.DataFrame(training, columns=TRAINING),
        curves=pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(columns=["experiment", "seed", "nimg"]),
    )


def _score_files(folder: Path) -> list[Path]:
    return sorted(p for scorer in SCORERS for p in folder.glob(f"records/*/seed*/*/{scorer}.json"))


def _score(path: Path) -> dict[str, Any]:
    score = read_json(path)
    run, protocol, provenance = (_part(score, part, path) for part in ("run", "protocol", "provenance"))
    if _entry(score, "scorer", path) not in SCORERS:
        raise HarnessError(f"{path}: unknown scorer '{score['scorer']}'; known: {', '.join(SCORERS)}.")
    row = {"scorer": score["scorer"]}
    row |= {key: _entry(run, key, path) for key in RUN}
    row["snapshot"] = str(row["snapshot"])
    row |= {key: score.get(key) for key in VALUES}
    row |= {key: _entry(protocol, key, path) for key in PROTOCOL if not key.startswith("is_")}
    row |= {key: protocol.get(key) for key in PROTOCOL if key.startswith("is_")}  # absent where no IS is defined
    row["protocol_id"] = reader.digest({"scorer": score["scorer"], **{key: row[key] for key in PROTOCOL}})[:8]
    return row | {key: provenance.get(key) for key in PROVENANCE}


TRAINING = ("experiment", "seed", "nimg", "wall_sec", "device_sec", "device")


def find(folder: Path, name: str) -> list[Path]:
    """Records called `name` of every training of a scale, in order."""
    return sorted((folder / "records").glob(f"*/seed*/**/{name}"))


def whose(folder: Path, path: Path) -> tuple[str, int]:
    """Experiment and seed of a record, from its place."""
    experiment, seed = path.relative_to(folder / "records").parts[:2]
    return experiment, int(seed.removeprefix("seed"))


def _training(folder: Path, path: Path) -> dict[str, Any]:
    train = read_json(path)
    cost, provenance = _part(train, "cost", path), _part(train, "provenance", path)
    experiment, seed = whose(folder, path)
    return {
        "experiment": experiment,
        "seed": seed,
        "nimg": _entry(train, "nimg", path),
        "wall_sec": _entry(cost, "wall_sec", path),
        "device_sec": cost.get("device_sec", cost["wall_sec"]),  # one device a training: it is held as long as it runs
        "device": str(provenance.get("device", "cpu")),
    }


def _curve(folder: Path, path: Path) -> pd.DataFrame:
    try:
        curve = pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise HarnessError(f"{path}: not a readable csv ({error}); delete it and run its training again.") from None
    if "nimg" not in curve:
        raise HarnessError(f"{path}: no column `nimg`; delete it and run its training again.")
    experiment, seed = whose(folder, path)
    curve.insert(0, "seed", seed)
    curve.insert(0, "experiment", experiment)
    return curve


def _part(value: Any, key: str, path: Path) -> dict[str, Any]:
    part = _entry(value, key, path)
    if not isinstance(part, dict):
        raise HarnessError(f"{path}: `{key}` is not a mapping; delete the file and run its stage again.")
    return part


def _entry(value: Any, key: str, path: Path) -> Any:
    if not isinstance(value, dict) or key not in value:
        raise HarnessError(f"{path}: `{key}` is missing; delete the file and run its stage again.")
    return value[key]


def metrics(scores: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Scores for `dvc metrics show`: run name -> {tf_fid, tf_is_mean, clean_fid, clean_kid, ...}, NaN left out."""
    out: dict[str, dict[str, float]] = {}
    for row in scores.to_dict("records"):
        name = f"{row['experiment']}-seed{row['seed']}-{row['snapshot']}"
        values = {f"{row['scorer']}_{key}": float(row[key]) for key in VALUES if pd.notna(row[key])}
        out.setdefault(name, {}).update(values)
    return out
