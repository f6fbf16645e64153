"""Small synthetic results folders: score records of the real type, without any model or image behind them."""

import dataclasses
import functools
import hashlib
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from harness.config import experiments
from harness.config.experiments import TrainedRun
from harness.files import read_json, write_json, write_text
from harness.paths import HISTORY, ScaleFolder, dump_name, run_name
from harness.records import results, score_record, seal, train_record
from harness.records.score_record import Content, Protocol, Run, ScoreRecord, Values
from harness.records.train_record import Cost, TrainRecord
from tests.paths import ROOT

CIFAR10 = experiments.load_datasets(ROOT)["cifar10"]["pixels_sha256"]
PROTOCOL: dict[str, Any] = {
    "name": "test",
    "version": 1,
    "n_fake": 50000,
    "resolution": 32,
    "quantisation": "uint8, rounded",
    "ema": True,
    "snapshot": "last",
    "selection": None,
    "dataset": "cifar10",
    "split": "train",
    "crop": "none",
    "resize": "none",
    "n_real": 50000,
    "real_pixels_sha256": CIFAR10,
    "reference": "images",
    "statistics_sha256": None,
    "stand_in_data": False,
    "scorer": "tf",
    "resizer": "tf1-bilinear",
    "inception": "official",
    "inception_sha256": "cd" * 32,
    "stand_in_inception": False,
    "layer": 2048,
    "is_splits": 10,
    "is_bias": False,
    "kid_subsets": None,
    "kid_subset_size": None,
    "scorer_versions": {},
    "declared": (),
    "caveats": (),
}
DUMP = {"n_fake": 50_000, "variants": ["rounded"], "references": "cifar10"}
RUN: dict[str, Any] = {
    "scale": "test",
    "nimg": ...,  # of the experiment's recipe, as is planned_nimg
    "planned_nimg": ...,
    "experiment": "sngan-cifar10",
    "seed": 0,
    "snapshot": "last",
    "partial": False,
}


def score(scorer: str = "tf", **changes: Any) -> ScoreRecord:
    """One record; `changes` are laid over run, protocol, values and content by name. Samples differ by run."""
    run, protocol = dict(RUN), PROTOCOL | {"scorer": scorer}
    values: dict[str, Any] = {"fid": 14.3}
    values |= {"is_mean": 8.2, "is_std": 0.1} if scorer != "clean" else {"kid": 0.0123, "kid_std": 0.001}
    if scorer == "clean":
        protocol |= {"resizer": "clean-bicubic", "is_splits": None, "is_bias": None}
        protocol |= {"kid_subsets": 100, "kid_subset_size": 1000}
    known = {f.name for kind in (Run, Protocol, Values, Content) for f in fields(kind)}
    assert changes.keys() <= known, f"no entry {', '.join(changes.keys() - known)} in a score"
    for part, kind in ((run, Run), (protocol, Protocol), (values, Values)):
        part |= {key: value for key, value in changes.items() if key in {f.name for f in fields(kind)}}
    length = changes.get("planned_nimg", length_of(run["experiment"]))
    run |= {key: length for key in ("nimg", "planned_nimg") if run[key] is ...}
    if "partial" not in changes and run["nimg"] < run["planned_nimg"]:
        run["partial"] = True
    named = "/".join(str(run[key]) for key in ("scale", "experiment", "seed", "snapshot"))
    content = {
        "samples_sha256": hashlib.sha256(f"samples of {named}".encode()).hexdigest(),
        "weights_sha256": hashlib.sha256(f"weights of {named}".encode()).hexdigest(),
        "real_pixels_sha256": protocol["real_pixels_sha256"],
    }
    content |= {key: changes[key] for key in content if key in changes}
    return ScoreRecord(
        run=Run(**run),
        protocol=Protocol(**protocol),
        values=Values(**values),
        content=Content(**content),
        diagnostics={},
        provenance={"git_commit": "0" * 40, "git_dirty": False, "device": "cpu", "threads": 1, "wall_sec": 2.0},
    )


def add(out: Path, scorer: str = "tf", **changes: Any) -> Path:
    """Write one score, and a training record beside it, into a results folder; return the score's path."""
    record, folder = score(scorer, **changes), ScaleFolder(out)
    run = record.run
    assert run.experiment is not None, "every record here is of a run"
    assert run.seed is not None, "every record here is of a run"
    path = folder.score(run.experiment, run.seed, str(run.snapshot), scorer, record.protocol.name)
    score_record.write(path, record)
    rows = "\n".join(f"{n},{1 / n:.6f},{2 / n:.6f},100.0" for n in range(1000, 9000, 1000))
    history = f"nimg,discriminator_loss,generator_loss,images_per_sec\n{rows}\n"
    train = folder.train_record(run.experiment, run.seed)
    write_text(train.with_name(HISTORY), history)
    made = trained(record, hashlib.sha256(history.encode()).hexdigest())
    if train.is_file():  # of another snapshot, or under another protocol
        known = train_record.read(train)
        weights = known.weights_sha256 | {str(run.snapshot): weights_of(record)}
        planned = len(known.recipe) > len(made.recipe)  # see `as_planned`
        made = dataclasses.replace(known if planned else made, weights_sha256=weights)
    train_record.write(train, made)
    return path


def weights_of(record: ScoreRecord) -> str:
    """The hash that stands for no weights where a score names none."""
    return record.content.weights_sha256 or "0" * 64


def trained(record: ScoreRecord, history_sha256: str) -> TrainRecord:
    """The record of the training that a score is of, with the weights of its snapshot and, made up, of the last."""
    run = record.run
    assert run.nimg is not None, "every record here is of a run"
    assert run.planned_nimg is not None, "every record here is of a run"
    weights = weights_of(record)
    return TrainRecord(
        run=TrainedRun(
            scale=str(run.scale),
            experiment=str(run.experiment),
            seed=run.seed or 0,
            dataset=record.protocol.dataset or "cifar10",
            resolution=32,
            generator={},
            discriminator={},
            versions={},
            planned_nimg=run.planned_nimg,
        ),
        recipe={"length_nimg": run.nimg},
        digest="0" * 16,
        nimg=run.nimg,
        partial=run.nimg < run.planned_nimg,
        weights_sha256={"last": weights, str(run.snapshot): weights},
        history_sha256=history_sha256,
        cost=Cost(run.nimg, 7200.0),
        provenance={"device": "cuda"},
    )


def edit(path: Path, **changes: Any) -> None:
    """Change entries of a record and seal it again, if it was sealed, so that only what it says is wrong."""
    value = read_json(path)
    write_json(path, seal.sealed(value | changes) if seal.KEY in value else value | changes)


@functools.cache
def length_of(experiment: str) -> int:
    """Images of an experiment's recipe; of one that is not there, any number."""
    known = experiments.load(ROOT)
    if experiment not in known:
        return 80_000_000
    return experiments.definitions(ROOT).recipe(known[experiment].recipe, known[experiment].changes).length_nimg


def scale_of(out: Path) -> experiments.Scale:
    """A scale that plans every record of `out`, CHECKOUT/results/NAME, with the project's experiments and ledger."""
    root = out.parent.parent
    for name in ("experiments", "results/reported"):
        if not (root / name).exists():
            (root / name).symlink_to(ROOT / name)
    found = results.load(out).scores
    known = experiments.load(ROOT)
    runs, dumps, shorter = {}, dict[str, Any](), []
    for one in found.to_dict("records"):
        run = {"experiment": one["experiment"], "seed": one["seed"], "dataset": known[one["experiment"]].dataset}
        runs[run_name(run["experiment"], run["seed"])] = run
        key = dump_name(run["experiment"], run["seed"], one["snapshot"])
        dump = dumps.setdefault(key, run | {"snapshot": one["snapshot"]} | DUMP | {"scores": {}})
        dump["scores"].setdefault(one["scorer"], {})[one["protocol"]] = f"{one['protocol_version']}-00000000"
        if one["snapshot"] == "last" and one["nimg"] < length_of(one["experiment"]):
            shorter.append(one["nimg"])
    params = {"scale": "test", "root": "../../", "out": "", "runs": runs, "dumps": dumps}
    write_text(out / "params.yaml", yaml.safe_dump(params | {"limit_nimg": min(shorter, default=None)}))
    scale = experiments.open_scale(out / "params.yaml")
    as_planned(scale)
    return scale


def as_planned(scale: experiments.Scale) -> None:
    """Let every training's record say that it is of the recipe that the scale plans."""
    for key in scale.params.runs.values():
        run, recipe = train_record.trained_run(scale.run(key.experiment, key.seed))
        place, length = scale.folder.train_record(key.experiment, key.seed), recipe["length_nimg"]
        nimg = max(read_json(place)["nimg"], length)
        edit(place, run=dataclasses.asdict(run), recipe=recipe, nimg=nimg, partial=length < run.planned_nimg)
