"""Records that somebody else contributes, without their weights and dumps: is each sound, and what do they say?"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.comparison import check
from harness.comparison.check import Checked
from harness.comparison.table_formats import NONE, Table
from harness.config import schema
from harness.config.experiments import Scale
from harness.errors import HarnessError
from harness.files import read_json
from harness.paths import ScaleFolder, dump_name, run_name, weights_folder
from harness.pipeline import adopt_checks
from harness.records import chain, results, train_record

SOUND = "sound"
COLUMNS = ("record", "made on", "commit", "finding")


@dataclass(frozen=True)
class Contributed:
    """What was found: a line a record, and the verdicts that sound records give (None if any is not sound)."""

    findings: Table
    checked: Checked | None


def examine(scale: Scale, folder: Path) -> Contributed:
    """Check every record under `folder` against the others there, against this checkout and against the scale's own.

    Seeds that the scale does not plan are welcome; recipe, versions, data and protocol must be those of the scale.

    Args:
        folder: holds `records`, as a scale's results do, or is that folder.

    Raises:
        HarnessError: no records there, or none of an experiment that the scale has.
    """
    folder = Path(folder).absolute()
    source = ScaleFolder(folder.parent if folder.name == "records" else folder)
    paths = [  # what rests on others comes last
        *source.train_records(),
        *source.choices(),
        *source.sample_records(),
        *source.scores(),
    ]
    if not paths:
        raise HarnessError(
            f"{folder}: no records here; name a folder that holds records/EXPERIMENT/seedN, as a scale's results do."
        )
    names = {path.relative_to(source.all_records).parts[0] for path in paths}
    if names.isdisjoint(run.experiment for run in scale.params.runs.values()):
        raise HarnessError(
            f"{scale.path} has no row of what {folder} holds ({', '.join(sorted(names))}); name the scale that plans "
            "these experiments with --params."
        )
    ours = _with_trainings_of(scale, source)
    lines, unsound = [], set[Path]()
    seen: dict[str, Path] = {sha256: path for path, sha256 in _weights(scale.folder)} if scale.out != source.out else {}
    for path in paths:
        provenance: dict[str, Any] = {}
        try:
            said = read_json(path)
            if isinstance(said, dict) and isinstance(said.get("provenance"), dict):
                provenance = said["provenance"]
            for other in _rests_on(source, path):
                if other in unsound:
                    raise HarnessError(f"rests on {other}, which is not sound.")
            _check(ours, source, path, seen)
            finding = "; ".join([SOUND, *adopt_checks.commit_of(path, provenance)])
        except HarnessError as error:
            finding = str(error)
            unsound.add(path)
        lines.append(
            {
                "record": str(path.relative_to(source.all_records)),
                "made on": str(provenance.get("device", NONE)),
                "commit": str(provenance.get("git_commit") or NONE)[:10],
                "finding": finding.replace(f"{source.all_records}/", ""),
            }
        )
    note = f"{len(lines)} records, {len(unsound)} not sound."
    findings = Table("contributed", "Contributed records", pd.DataFrame(lines, columns=COLUMNS), note=note)
    return Contributed(findings, None if unsound else check.check(ours))


def _rests_on(source: ScaleFolder, path: Path) -> list[Path]:
    """Return the records of the training, of the choice and of the dump that a record is of."""
    folder = path.relative_to(source.all_records).parts
    others = [source.all_records.joinpath(*folder[:2], "train", "train.json")]
    if folder[2] == "best":
        others.append(source.all_records.joinpath(*folder[:3], "choice.json"))
    if len(folder) == len(("experiment", "seed", "snapshot", "scorer", "protocol.json")):
        others.append(source.all_records.joinpath(*folder[:3], "samples.json"))
    return [other for other in others if other != path]


def _check(scale: Scale, source: ScaleFolder, path: Path, seen: dict[str, Path]) -> None:
    """Raise HarnessError for the first thing that is wrong with one record; `seen`: weights and whose they are."""
    experiment, seed = results.run_of(source, path)
    if run_name(experiment, seed) not in scale.params.runs:
        raise HarnessError(f"{path}: {scale.path} has no row of '{experiment}'.")
    run = scale.run(experiment, seed)
    place = source.train_record(experiment, seed)
    if not place.is_file():
        raise HarnessError(f"{path}: no {place.name} of its training beside it, so nobody can say how it was trained.")
    trained = adopt_checks.check_train_record(scale, place, run)
    if path == place:
        chain.check_history(path, trained)
        for snapshot, sha256 in trained.weights_sha256.items() if trained.digest is not None else ():
            # released weights may be sampled by many
            other = seen.setdefault(sha256, path)
            if other != path:
                raise HarnessError(f"{path}: its weights '{snapshot}' are those of {other}: one training, twice.")
        return
    choice = source.choice(experiment, seed)
    if path == choice:
        adopt_checks.check_choice_record(scale, run, trained, path)
        return
    if choice.parent in path.parents and not choice.is_file():
        raise HarnessError(f"{path}: no {choice.name} beside it, so nobody can say how `best` was chosen.")
    if path.name == "samples.json":
        adopt_checks.check_sample_record(scale, run, trained, path)
        return
    dump = path.parent.parent / "samples.json"
    if not dump.is_file():
        raise HarnessError(f"{path}: no samples.json of its dump beside it, so nobody can say what was scored.")
    sample, _ = adopt_checks.check_sample_record(scale, run, trained, dump)
    adopt_checks.check_score(scale, source, path, dump, sample)


def _weights(folder: ScaleFolder) -> Iterator[tuple[Path, str]]:
    """Yield the weights that a scale's own trainings name, with their record."""
    for path in folder.train_records():
        try:
            hashes = train_record.read(path).weights_sha256
        except HarnessError:
            continue  # `harness check` of that scale says so
        for sha256 in hashes.values():
            yield path, sha256


def _with_trainings_of(scale: Scale, source: ScaleFolder) -> Scale:
    """Return the scale with its results in `source`, planning the trainings there of rows that it has."""
    rows = {run.experiment: run for run in scale.params.runs.values()}
    scored = {(dump.experiment, dump.snapshot): dump for dump in scale.params.dumps.values()}  # of every seed alike
    others = {
        dump.experiment: dump for dump in scale.params.dumps.values()
    }  # for snapshots that the scale does not have
    chosen = {choice.experiment: choice for choice in scale.params.choices.values()}
    runs, dumps, choices = dict[str, schema.RunKey](), dict[str, schema.DumpKey](), dict[str, schema.ChoiceKey]()
    for path in [*source.train_records(), *source.sample_records(), *source.scores()]:
        try:
            experiment, seed = results.run_of(source, path)
        except HarnessError:
            continue  # `_check` says so
        if experiment not in rows:
            continue
        run = dataclasses.replace(rows[experiment], seed=seed)
        runs[run_name(experiment, seed)] = run
        if experiment in chosen:
            choices[run_name(experiment, seed)] = dataclasses.replace(chosen[experiment], seed=seed)
        if path.name != "train.json" and experiment in others:
            snapshot = path.relative_to(source.all_records).parts[2]
            dumps[dump_name(experiment, seed, snapshot)] = dataclasses.replace(
                scored.get((experiment, snapshot), others[experiment]),
                seed=seed,
                snapshot=snapshot,
                weights=weights_folder(snapshot),
            )
    params = dataclasses.replace(scale.params, runs=runs, dumps=dumps, choices=choices)
    return dataclasses.replace(scale, params=params, out=source.out)
