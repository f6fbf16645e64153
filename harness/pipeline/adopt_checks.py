"""What must hold of records and files made elsewhere: every link, from the plan to the scores."""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.config import protocols, reader
from harness.config.experiments import Run, Scale, pick
from harness.config.protocols import Planned
from harness.config.schema import DumpKey
from harness.data import card
from harness.data.images import open_dump, open_images
from harness.errors import HarnessError
from harness.files import read_json, sha256_file
from harness.metrics.inception.weights import NAMES
from harness.paths import ScaleFolder, dump_name
from harness.pipeline.best_snapshot import choice_seed
from harness.records import chain, choice_record, results, seal, train_record
from harness.records.choice_record import ChoiceRecord
from harness.records.sample_record import SampleRecord
from harness.records.train_record import TrainRecord
from harness.training.run_folder import digest_of


def check(scale: Scale, source: ScaleFolder, run: Run, present: Iterable[Path]) -> list[str]:
    """Check one training, and whatever of its choice, dumps and scores is present.

    Args:
        source: where it lies.
        present: its files, relative to `source.out`; those of whole stages that the scale plans.

    Returns:
        Remarks: records that name no commit.

    Raises:
        HarnessError: the first thing that is wrong, naming the file.
    """
    present = set(present)
    trained = check_training(scale, source, run)
    records = {source.train_record(run.experiment, run.seed): trained.provenance}
    choice = source.choice(run.experiment, run.seed)
    if choice.relative_to(source.out) in present:
        train_record.open_snapshot(source, run.experiment, run.seed, "best")
        records[choice] = check_choice_record(scale, run, trained, choice).provenance
    for path in source.records(run.experiment, run.seed).glob("*/samples.json"):
        sample = check_dump(scale, source, run, trained, path)
        records[path] = sample["provenance"]
        planned = protocols.of_dump(scale, run.experiment, run.seed, path.parent.name)
        for score in sorted(path.parent.glob("*/*.json")):
            records[score] = check_score(scale, source, score, path, sample)
        for scorer, mine in planned.items():
            folder = path.parent / scorer
            if folder.is_dir():
                found, wanted = {one.stem for one in folder.glob("*.json")}, {one.protocol for one in mine}
                _same(folder, {"protocols": sorted(found)}, {"protocols": sorted(wanted)})
    return [remark for path, provenance in records.items() for remark in commit_of(path, provenance)]


def check_training(scale: Scale, source: ScaleFolder, run: Run) -> TrainRecord:
    """Check a training against the plan and the data here, and every file of it against its record."""
    place = source.train_record(run.experiment, run.seed)
    record = check_train_record(scale, place, run)
    expected = {"last", *map(str, run.recipe.snapshots_nimg)} if record.digest else {"last"}
    folders = source.training(run.experiment, run.seed)
    kept = {path.stem for path in folders.weights.glob("*.safetensors")}
    if not expected == kept == set(record.weights_sha256):
        raise HarnessError(
            f"{place}: names snapshots {_list(record.weights_sha256)}, {folders.weights} holds {_list(kept)}, planned "
            f"are {_list(expected)}."
        )
    if record.digest is None:
        released = scale.checkout.released(scale.definitions.experiments[run.experiment].checkpoint)
        _same(place, {"weights_sha256": record.weights_sha256["last"]}, {"weights_sha256": sha256_file(released)})
    for snapshot in sorted(expected):
        train_record.open_snapshot(source, run.experiment, run.seed, snapshot)
    chain.check_history(place, record)
    return record


def check_train_record(scale: Scale, place: Path, run: Run) -> TrainRecord:
    """Check a training's record against the plan; its digest, too, where the data's pixels are known here."""
    record = train_record.read(place)
    if changes := train_record.planned_otherwise(record, run):
        raise HarnessError(f"{place}: is not the training that {scale.path} plans: {'; '.join(changes)}.")
    pixels = known_pixels(scale, run.dataset, None)
    if record.digest is not None and pixels is not None:
        _same(place, {"digest": record.digest}, {"digest": digest_of(run, pixels)})
    return record


def check_choice_record(scale: Scale, run: Run, trained: TrainRecord, place: Path) -> ChoiceRecord:
    """Check how `best` was chosen against the training's record and the plan."""
    record, planned = choice_record.read(place), protocols.of_choice(scale, run.experiment, run.seed)
    weights = {one.snapshot: one.weights_sha256 for one in record.candidates}
    _same(place, {"candidates": weights}, {"candidates": trained.weights_sha256})
    wanted = {
        "name": planned.protocol,
        "version": planned.version,
        "n_fake": planned.n_fake,
        "quantisation": planned.quantisation,
        "layer": planned.layer,
        "sampling_seed": choice_seed(run.seed),
    }
    if (n_real := count_of(scale, planned)) is not None:
        wanted["n_real"] = n_real
    _same(place, {key: record.protocol.get(key) for key in wanted}, wanted)
    return record


def count_of(scale: Scale, planned: Planned) -> int | None:
    """Return how many reals a score takes; None for all of a data set whose definition leaves the count open."""
    return planned.n_real or card.definition(planned.data, scale.root).count


def check_sample_record(
    scale: Scale, run: Run, trained: TrainRecord, place: Path
) -> tuple[dict[str, Any], SampleRecord]:
    """Check a dump's record against those of its training and choice and the plan; return it, twice."""
    value = read_json(place)
    record = reader.read(SampleRecord, seal.opened(place, value, "Draw the samples again."), str(place))
    chain.check_sample(place, value)
    where = f"dump in {scale.path}: dumps:"
    dump: DumpKey = pick(dump_name(run.experiment, run.seed, record.snapshot), scale.params.dumps, where)
    wanted = {
        "scale": scale.params.scale,
        "dataset": run.dataset,
        "planned_nimg": run.planned_nimg,
        "n": dump.n_fake,
        "ema": run.recipe.ema.kind != "none",
        "digest": trained.digest,
    }
    _same(place, {key: getattr(record, key) for key in wanted}, wanted)
    _same(place, {"files": sorted(record.files)}, {"files": sorted(f"{variant}.npy" for variant in dump.variants)})
    return value, record


def check_dump(scale: Scale, source: ScaleFolder, run: Run, trained: TrainRecord, place: Path) -> dict[str, Any]:
    """Check a dump's record and its pixels; return the record."""
    value, record = check_sample_record(scale, run, trained, place)
    folder = source.samples(run.experiment, run.seed, record.snapshot)
    kept = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    _same(folder, {"files": sorted(kept)}, {"files": sorted(record.files)})
    for name in record.files:
        images, _ = open_dump(folder / name, place)  # compares the pixels with the record
        _same(
            folder / name,
            {"shape": list(images.pixels.shape)},
            {"shape": [record.n, run.resolution, run.resolution, 3]},
        )
    return value


def check_score(scale: Scale, source: ScaleFolder, place: Path, dump: Path, sample: dict[str, Any]) -> dict[str, Any]:
    """Check a score against its dump and the scale's protocol; return its provenance."""
    record = results.placed(source, place)
    chain.check_score(place, record, dump, sample)
    run = dataclasses.asdict(record.run)
    _same(place, run, {key: sample.get(key) for key in run})
    protocol = record.protocol
    of_dump = protocols.of_dump(scale, sample["experiment"], sample["seed"], sample["snapshot"])
    mine = {one.protocol: one for one in of_dump.get(protocol.scorer, [])}
    planned: Planned = pick(protocol.name, mine, f"protocol of {protocol.scorer} in {place}:")
    wanted = {
        "version": planned.version,
        "resizer": planned.resizer,
        "n_fake": planned.n_fake,
        "quantisation": planned.quantisation,
        "ema": sample["ema"],
        "selection": sample["selection"],
        "dataset": planned.data,
        "layer": planned.layer,
        "declared": (),
    }
    n_real = count_of(scale, planned)
    if n_real is not None:
        wanted["n_real"] = n_real
    if (pixels := known_pixels(scale, planned.data, n_real)) is not None:
        wanted["real_pixels_sha256"] = pixels
    if planned.inception in NAMES:
        wanted["inception"] = planned.inception
    _same(place, {key: getattr(protocol, key) for key in wanted}, wanted)
    return record.provenance


def known_pixels(scale: Scale, dataset: str, count: int | None) -> str | None:
    """Return the sha256 of the first `count` images (None: all) of a data set; None if nothing here knows it."""
    folder, entry = scale.checkout.data(dataset), card.definition(dataset, scale.root)
    if (folder / "card.json").is_file():
        return open_images(folder).first(count).sha256()
    return entry.pixels_sha256 if count in (None, entry.count) else None


def _same(place: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise HarnessError, naming the entry and both values, unless the mappings are equal."""
    for key, value in wanted.items():
        if found[key] != value:
            raise HarnessError(f"{place}: {key} is {found[key]!r}, expected {value!r}.")


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def commit_of(place: Path, provenance: Mapping[str, Any]) -> list[str]:
    """Refuse a record made from uncommitted changes; remark on one that names no commit."""
    if provenance.get("git_dirty"):
        raise HarnessError(
            f"{place}: was made from uncommitted changes of {provenance.get('git_commit')}: nobody can say of which "
            "code; run it again from a clean commit."
        )
    if not provenance.get("git_commit"):
        why = provenance.get("git_commit_unknown") or "it does not say why"
        return [f"{place} names no commit of the code that made it ({why})"]
    return []
