"""What of a scale's results its params.yaml plans now, what is left out, and what is missing."""

from typing import Any

import pandas as pd

from harness.config.experiments import Scale
from harness.records import train_record
from harness.records.results import Results

OfSeeds = tuple[str, str, str, str]  # experiment, snapshot, scorer, protocol: what scores of several seeds share


def split(results: Results, scale: Scale) -> tuple[Results, list[str]]:
    """Split results into what the scale's params.yaml plans now, and remarks, each beginning with what it is about.

    Planned are the trainings of its `runs`, with the recipe, length and versions that it plans now, and the scores of
    its dumps under their protocols. Remarks name the records that are left out, and the planned seeds that are
    missing beside others; these scores say so in a column more, `absent_seeds`, and are compared with nothing.

    Raises:
        HarnessError: a broken record of a training.
    """
    params = scale.params
    runs = {(run.experiment, run.seed) for run in params.runs.values()}
    lengths = {name: scale.run(name, seed).recipe.length_nimg for name, seed in dict(sorted(runs)).items()}
    dumps = {(dump.experiment, dump.seed, dump.snapshot): dump for dump in params.dumps.values()}
    remarks = []
    changed = {key: _planned_otherwise(scale, *key) for key in sorted(runs)}

    def reason(one: dict[str, Any]) -> str:
        dump = dumps.get((one["experiment"], one["seed"], one["snapshot"]))
        if dump is None:
            return "no dump of params.yaml"
        if one["scale"].split("+")[0] != params.scale:
            return f"scale '{one['scale']}', planned '{params.scale}'"
        stamp = dump.scores.get(one["scorer"], {}).get(one["protocol"])
        if stamp is None:
            return f"no score by {one['scorer']} under protocol '{one['protocol']}' is planned"
        if stamp.split("-")[0] != str(one["protocol_version"]):
            return f"protocol '{one['protocol']}' version {one['protocol_version']}, planned is {stamp.split('-')[0]}"
        length = lengths[one["experiment"]]  # of every seed
        if one["snapshot"] == "last" and one["nimg"] != length:
            return f"trained for {one['nimg']} images, {length} are planned"
        return changed[one["experiment"], one["seed"]]

    reasons = [reason(one) for one in results.scores.to_dict("records")]
    remarks += [f"left out: {path}: {why}" for path, why in zip(results.scores["path"], reasons, strict=True) if why]
    keys = [(one["experiment"], one["seed"]) for one in results.training.to_dict("records")]
    whys = ["no run of params.yaml" if key not in runs else changed[key] for key in keys]
    remarks += [f"left out: {path}: {why}" for path, why in zip(results.training["path"], whys, strict=True) if why]
    of_curves = zip(results.curves["experiment"], results.curves["seed"], strict=True)
    scores = results.scores[[not why for why in reasons]].reset_index(drop=True)
    absent = _absent_seeds(scores, scale)
    remarks += [f"missing: {'/'.join(key)}: {said}" for key, said in absent.items()]
    kept = Results(
        scores=scores.assign(absent_seeds=[absent.get(_of_seeds(one)) for one in scores.to_dict("records")]),
        training=results.training.loc[[not why for why in whys]].reset_index(drop=True),
        curves=results.curves.loc[[changed.get(key) == "" for key in of_curves]].reset_index(drop=True),
    )
    return kept, remarks


def _planned_otherwise(scale: Scale, experiment: str, seed: int) -> str:
    """Return why a training is not the one that is planned; empty for one that is."""
    path = scale.folder.train_record(experiment, seed)
    if not path.is_file():
        return "no record of its training, so nobody can say how it was trained"
    changes = train_record.planned_otherwise(train_record.read(path), scale.run(experiment, seed))
    more = f" and {len(changes) - 1} more" if len(changes) > 1 else ""
    return f"its training was planned otherwise since then ({changes[0]}{more})" if changes else ""


def _of_seeds(one: dict[str, Any]) -> OfSeeds:
    return one["experiment"], one["snapshot"], one["scorer"], one["protocol"]


def _absent_seeds(scores: pd.DataFrame, scale: Scale) -> dict[OfSeeds, str]:
    """Return, by `_of_seeds`, which planned seeds a score lacks that other seeds have, and why.

    A training that diverged, or was not scored, must not leave a mean of the seeds that went well.
    """
    planned_seeds: dict[OfSeeds, set[int]] = {}
    for dump in scale.params.dumps.values():
        for scorer, named in dump.scores.items():
            for protocol in named:
                planned_seeds.setdefault((dump.experiment, dump.snapshot, scorer, protocol), set()).add(dump.seed)
    there: dict[OfSeeds, set[int]] = {}
    for one in scores.to_dict("records"):
        there.setdefault(_of_seeds(one), set()).add(one["seed"])
    out = {}
    for key, seeds in there.items():
        if missing := sorted(planned_seeds[key] - seeds):
            said = ", ".join(f"{seed} ({_why_absent(scale, key[0], seed)})" for seed in missing)
            out[key] = f"{len(missing)} of {len(planned_seeds[key])} planned seeds are not there: {said}"
    return out


def _why_absent(scale: Scale, experiment: str, seed: int) -> str:
    folders = scale.folder.training(experiment, seed)
    if folders.stopped.is_file():
        stopped = train_record.read_stopped(folders.stopped)
        return f"{stopped.state} after {stopped.nimg:,} images"
    return "not scored" if folders.record.is_file() else "not trained"
