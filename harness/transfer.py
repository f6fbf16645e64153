"""What goes to a rented machine and what comes back: data and weights there; samples, records and weights here."""

from pathlib import Path

import numpy as np

from harness import data, experiments, parcel
from harness.data import sheets
from harness.errors import HarnessError
from harness.files import read_json, sha256_pixels, write_json, write_npy


def dump_sheets(folder: Path, n: int) -> list[Path]:
    """Write the first `n` samples of a dump's folder as sheets; returns their paths."""
    return sheets.write(np.load(folder / "samples.npy", mmap_mode="r")[:n], folder / "sheets")


def halved(weights: Path, folder: Path) -> Path:
    """Copy a safetensors file with its floats in half precision; `load_generator` reads it as it reads the original."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file

    from harness.training.checkpoint import save_tensors

    out = folder / weights.name
    with safe_open(weights, framework="pt") as handle:
        metadata = {**(handle.metadata() or {}), "precision": "float16"}
    tensors = {name: t.half() if t.is_floating_point() else t for name, t in load_file(weights).items()}
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise HarnessError(f"{weights}: {broken} are not finite in half precision; copy the file as it is.")
    save_tensors(out, tensors, metadata)
    return out


def pack_inputs(scale: experiments.Scale, cache: Path, out: Path, limits: parcel.Limits) -> list[Path]:
    """Write data sets (as sheets) and Inception weights of a scale to `out`/inputs.1.tar, .2.tar, ...

    Raises:
        HarnessError: a data set or the weights are missing, or all of it does not fit.
    """
    from harness.metrics import weights
    from harness.training.runfolder import copy

    found = weights.load(scale.params.scoring.weights, cache).path
    inception = scale.root / ".cache" / "inception" / found.name
    if found.resolve() != inception.resolve():
        copy(found, inception)
    files = [inception]
    for name in sorted({entry.dataset for entry in scale.params.runs.values()}):
        folder = scale.root / "data" / name
        images = data.load(folder)
        for extra in (data.CARD, *([data.LABELS] if images.labels is not None else [])):
            copy(folder / extra, folder / "sheets" / extra)
            files.append(folder / "sheets" / extra)
        files += sheets.write(images.images, folder / "sheets")
    left = parcel.pack(scale.root, files, out, "inputs", limits, set())
    if left:
        raise HarnessError(f"{out}: {len(left)} pieces do not fit into {limits}; allow more or larger parts.")
    return sorted(out.glob("inputs.*.tar"))


def unpack(tars: list[Path], scale: experiments.Scale) -> list[str]:
    """Place what `launch` packed, rebuild data sets and dumps from their sheets; returns one line for each.

    Raises:
        HarnessError: a damaged tar, or pixels that are not those of the data set's card.
    """
    placed, incomplete = parcel.unpack(tars, scale.root, scale.out / "launch" / "pieces")
    lines = [f"{name}: not whole yet, further tars hold the rest" for name in incomplete]
    for folder in sorted({path.parent for path in placed if path.parent.name == "sheets"}):
        if folder.parent.parent == scale.root / "data":
            lines.append(rebuild_data(folder))
        else:
            lines.append(rebuild_dump(folder, scale))
    return lines


def rebuild_data(folder: Path) -> str:
    """Make data/<name>/{train.npy, labels.npy, card.json} once all sheets are there."""
    from harness.training.runfolder import copy

    card_path, target = folder / data.CARD, folder.parent
    count = read_json(card_path)["count"] if card_path.is_file() else None
    have = sum(int(path.stem.split("-")[1]) for path in folder.glob("*.webp"))
    if count is None or have < count:
        return f"{target}: {have} images so far, further tars hold the rest"
    images = sheets.read(folder)
    if sha256_pixels(images) != read_json(card_path)["pixels_sha256"]:
        raise HarnessError(f"{folder}: the pixels are not those of {card_path}; pack and copy them again.")
    write_npy(target / data.IMAGES, images)
    for name in (data.LABELS, data.CARD):
        if (folder / name).is_file():
            copy(folder / name, target / name)
    return f"{target}: {len(images)} images"


def rebuild_dump(folder: Path, scale: experiments.Scale) -> str:
    """Make samples.npy of one dump, cut to the scale's n_fake, and `whole/` if more came."""
    heavy = folder.parent
    record_path = scale.out / "records" / heavy.relative_to(scale.out / "runs") / "samples.json"
    record = read_json(record_path)
    drawn = record.get("drawn") or {key: record[key] for key in ("n", "samples_sha256")}
    images = sheets.read(folder)
    n = min(scale.params.scoring.n_fake, len(images))
    kept = [(n, heavy / "samples.npy", record_path)]
    if len(images) > n:
        kept.append((len(images), heavy / "whole" / "samples.npy", heavy / "whole" / "samples.json"))
    for count, place, target in kept:
        write_npy(place, images[:count])
        changes = {"n": count, "samples_sha256": sha256_pixels(images[:count]), "drawn": drawn}
        write_json(target, {**record, **changes})
    return f"{heavy / 'samples.npy'}: {n} images ({len(images)} came)"
