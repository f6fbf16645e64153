"""Is everything there that a scale needs? Each check lists all that is missing, and fetches nothing."""

import functools
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from harness.config import experiments
from harness.config.experiments import Scale
from harness.data import fetch, load
from harness.data.card import Definition, definition, matches
from harness.device import check_device
from harness.doctor import devices
from harness.doctor.estimate import Estimate, estimate
from harness.doctor.finding import Finding
from harness.doctor.machine import check_machine
from harness.errors import HarnessError
from harness.files import sha256_pixels
from harness.paths import Checkout
from harness.pipeline.plan import find_problems
from harness.pipeline.planned_scores import all_planned, references
from harness.records import train_record
from harness.training.released_weights import VARIABLE


def examine(params_file: Path, root: Path, device: str | None = None) -> tuple[list[Finding], Estimate | None]:
    """Run every check for the scale of `params_file`; return findings and estimate (None if it could not be made).

    Args:
        params_file: the scale's params.yaml.
        root: the checkout worked on.
        device: where the scale will run; default: its own `device`.
    """
    findings = check_machine(root)
    if any(finding.area == "shadowing" and finding.status == "error" for finding in findings):
        return findings, None  # the networks that an estimate would build are not ours
    try:
        scale = experiments.open_scale(params_file)
    except HarnessError as error:
        return [*findings, Finding("scale", "error", str(error))], None
    runs, problems = find_problems(scale)
    findings += [Finding("scale", "error", problem) for problem in problems]
    checks: tuple[Callable[[], list[Finding]], ...] = (
        lambda: check_checkpoints(scale),
        lambda: check_data([*(run.dataset for run in scale.params.runs.values()), *references(scale)], root),
        *(functools.partial(check_weights, name, scale.checkout.cache) for name in weights_of(scale)),
        lambda: check_results(root),
    )
    for check in checks:
        try:
            findings += check()
        except HarnessError as error:
            findings.append(Finding("scale", "error", str(error)))
    try:
        device = check_device(device or scale.params.device)
    except HarnessError as error:
        return [*findings, Finding("devices", "error", str(error))], None
    if any(finding.status == "error" and finding.area == "scale" for finding in findings):
        return findings, None
    try:
        found = estimate(scale, runs, devices.machine(scale.checkout, device, scale.params.threads))
    except HarnessError as error:
        return [*findings, Finding("scale", "error", str(error))], None
    return [*findings, check_disk(scale.params.scale, found.total.bytes, shutil.disk_usage(root).free)], found


def check_checkpoints(scale: Scale) -> list[Finding]:
    """Look for the released weights that experiments name."""
    known = experiments.load(scale.root)
    planned = {run.experiment for run in scale.params.runs.values()} & known.keys()
    names = {name: known[name].checkpoint for name in planned if known[name].checkpoint}
    folder = os.environ.get(VARIABLE, "")
    out = []
    for experiment, name in sorted(names.items()):
        places = [scale.checkout.released(name), *([Path(folder) / name] if folder else [])]
        found = next((place for place in places if place.is_file()), None)
        if found is not None:
            out.append(Finding("checkpoints", "ok", f"{experiment}: {found}"))
        else:
            fix = (
                f"write it with `harness import transgan CHECKPOINT --out {places[0]}`, or set {VARIABLE} to its folder"
            )
            out.append(Finding("checkpoints", "error", f"{experiment} scores released weights: no {places[0]}; {fix}."))
    return out


def check_data(names: Iterable[str], root: Path) -> list[Finding]:
    """Look at data sets: packed, of this definition, with the pixels of its card?"""
    out = []
    for name in sorted(set(names)):
        folder, entry = root / "data" / name, definition(name, root)
        if not folder.is_dir():
            out.append(_not_packed(name, entry, root))
            continue
        try:
            found = load(folder)
        except HarnessError as error:
            out.append(Finding("data", "error", str(error)))
            continue
        sha256 = sha256_pixels(found.images)
        details = {"name": name, "count": len(found), "pixels_sha256": sha256, "stand_in": found.card["stand_in"]}
        if sha256 != found.card["pixels_sha256"]:
            out.append(
                Finding("data", "error", f"{folder}: the pixels are not those of its card; `harness data {name}`.")
            )
        elif not matches(found.card, name, entry):
            out.append(Finding("data", "error", f"{folder}: made by another definition; `harness data {name}`."))
        else:
            out.append(Finding("data", "ok", f"{name}: {len(found):,} images, sha256 {sha256[:12]}", details))
    return out


def _not_packed(name: str, entry: Definition, root: Path) -> Finding:
    what = f"{name}: not packed yet"
    if entry.source == "standin":
        return Finding("data", "warning", f"{what}; it is drawn when needed.")
    try:
        place = fetch.local_source(entry, root)
    except HarnessError as error:
        return Finding("data", "error", f"{what}: {error}")
    if place is not None:
        return Finding("data", "warning", f"{what}; `harness data {name}` makes it from {place}.")
    if entry.source == "folder":
        return Finding("data", "error", f"{what}, and {entry.path} does not exist; put the images there.")
    fix = f"put {entry.archive} into a folder and set {fetch.ENVIRONMENT} to it, else it will be downloaded"
    return Finding("data", "warning", f"{what}, and no archive of it is here; {fix}.")


def weights_of(scale: Scale) -> list[str]:
    """Return the Inception weights that the scale's protocols name; none of a params.yaml that is out of date."""
    try:
        return sorted({one.inception for one in all_planned(scale)})
    except HarnessError:
        return []  # `find_problems` says it


def check_weights(spec: str, cache: Path) -> list[Finding]:
    """Look for Inception weights without fetching them."""
    from harness.metrics.inception import weights

    names = {
        "official": (weights.OFFICIAL_GRAPH, weights.OFFICIAL_ARCHIVE, weights.PORT_NAME),
        "trunk": (weights.TRUNK_NAME,),
    }
    place = os.environ.get(weights.ENVIRONMENT)
    folders = [cache / "inception", *([Path(place)] if place else [])]
    there = (
        spec not in names or any((f / n).is_file() for f in folders for n in names[spec]) or Path(place or "").is_file()
    )
    if not there:
        how = {
            "official": "it will be downloaded when first used",
            "trunk": f"set {weights.ENVIRONMENT} to {weights.TRUNK_NAME}",
        }[spec]
        status = "error" if spec == "trunk" else "warning"
        return [Finding("weights", status, f"{spec} Inception: not there yet; {how}.")]
    try:
        found = weights.load(spec, cache)
    except HarnessError as error:
        return [Finding("weights", "error", str(error))]
    details = {"kind": found.kind, "path": found.where, "sha256": found.sha256}
    return [Finding("weights", "ok", f"{found.kind} Inception: {found.where}, sha256 {found.sha256[:12]}", details)]


def check_results(root: Path) -> list[Finding]:
    """Find trainings made by an older version of their model or of the trainer."""
    current = {name: model.version for name, model in experiments.load_models(root).items()}
    current |= experiments.load_versions(root)
    out, fresh = [], 0
    for path in Checkout(root).train_records():
        try:
            old = stale(train_record.read(path).run.versions, current)
        except HarnessError as error:
            out.append(Finding("results", "error", str(error).replace(f"{root}/", "")))
            continue
        fresh += not old
        if old:
            what = f"made by {', '.join(old)}; run it again (`dvc repro`) or remove it"
            out.append(Finding("results", "error", f"{path.relative_to(root)}: {what}."))
    return [*out, Finding("results", "ok", f"{fresh} trainings are of the current versions")]


def stale(made_by: dict[str, int], current: dict[str, int]) -> list[str]:
    """Say which of the versions that made a result are no longer current (or no longer exist)."""
    old = {name: version for name, version in made_by.items() if current.get(name) != version}
    return [f"{name} version {version} (now {current.get(name, 'gone')})" for name, version in sorted(old.items())]


def check_disk(scale: str, need: int, free: int) -> Finding:
    """Compare a scale's bytes with the free disk."""
    message = f"scale {scale} takes about {need / 1e9:.1f} GB, {free / 1e9:.1f} GB are free"
    details = {"free_bytes": free, "needed_bytes": need}
    if need > free:
        return Finding("disk", "error", f"{message}: free some, or choose a smaller scale.", details)
    return Finding("disk", "ok", message, details)
