"""A checkout of its own in which a suite takes minutes: whole networks, two steps of two images, stand-in data."""

import dataclasses
import json
import shutil
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness.config import experiments, reader, schema, yaml_file
from harness.config.protocols import EVERY, Protocol
from harness.data import card
from harness.data.fetch import prepare
from harness.errors import HarnessError
from harness.files import write_text
from harness.paths import Checkout
from harness.pipeline import suite
from harness.pipeline.planned_scores import Planner
from harness.pipeline.suite import Generated, Row, Suite
from models.transgan import official

BATCH, STEPS = 2, 2
DUMPED = 10  # samples of a dump: the Inception Score has ten splits, and a split needs a sample
CHOSEN_BY = 4  # samples that a snapshot is chosen by
REALS = 16
OVERLAY = "rehearsal"


def generate(
    checkout: Checkout, scale: str, folder: Path, only: tuple[str, ...] = (), **changes: Any
) -> tuple[Generated, experiments.Scale]:
    """Write a checkout under `folder` in which `scale` is short, and return the scale's files and the scale.

    Definitions are copied. Data sets keep name and resolution, and become drawn stand-ins. What a recipe says of
    lengths and batches is changed by an overlay, so that experiments are resolved as everywhere.

    Args:
        only: shell patterns of experiments; default: all of the suite.
        changes: laid over the suite, e.g. `device`.

    Raises:
        HarnessError: no such suite, or no experiment of it matches.
    """
    original = suite.read(checkout, scale)
    rows = {name: row for name, row in original.rows().items() if not only or any(fnmatchcase(name, p) for p in only)}
    if not rows:
        raise HarnessError(f"--only {' '.join(only)}: no experiment of '{scale}' matches.")
    copy = Checkout(folder)
    shutil.copytree(checkout.experiments, copy.experiments)
    shutil.copytree(checkout.reported, copy.reported)
    shutil.copyfile(checkout.history, copy.history)
    shutil.copyfile(checkout.verified, copy.verified)
    known = experiments.definitions(checkout.root)
    overlay = known.overlay(original.overlay)
    exceptions, short = [], dict[str, Row]()
    for name, row in rows.items():
        spec = known.experiments[name]
        recipe = known.recipe(spec.recipe, reader.merge(spec.changes, overlay.changes_of(name)))
        resolution = known.datasets[spec.dataset]["resolution"]
        own = reader.merge(overlay.changes_of(name), shortened(recipe, resolution))
        exceptions.append(schema.OverlayException((name,), own, "a rehearsal is short"))
        short[name] = Row((row.seeds or (0,))[:1], snapshots(row, recipe), None, row.protocols)
    _write(copy.overlays, {OVERLAY: schema.Overlay("whole networks, two steps", {}, tuple(exceptions))})
    shutil.rmtree(copy.protocols)
    named, choosing = known.protocols, {original.choose} - {*original.protocols}
    dumped = {n: DUMPED + i for i, n in enumerate(sorted({one.n_fake for one in named.values()}))}  # nested, too
    _write(
        copy.protocols / "rehearsal.yaml",
        {
            name: short_protocol(one, CHOSEN_BY if name in choosing else dumped[one.n_fake])
            for name, one in named.items()
        },
    )
    planner = Planner(checkout, dataclasses.replace(original, tables={"": dict(rows)}), known.experiments)
    names = dict.fromkeys(known.experiments[name].dataset for name in rows)
    names |= dict.fromkeys(name for together in planner.references().values() for name in together)
    _write(copy.datasets, {name: stand_in(card.definition(name, checkout.root)) for name in names})
    made = dataclasses.replace(
        original,
        tables={"rehearsal": dict(short)},
        overlay=OVERLAY,
        limit_nimg=None,
        limit_nimg_each=None,
        **changes,
    )
    shutil.rmtree(copy.suites)
    _write(suite.suite_file(copy, scale), made)
    generated = suite.generate(copy, scale)
    opened = experiments.open_scale(suite.write([generated])[0])
    for name in names:
        prepare(name, copy.data(name), copy.root)
    return generated, opened


def short_protocol(protocol: Protocol, n_fake: int) -> dict[str, Any]:
    """Return the entry of a protocol with few samples, few reals and the stand-in Inception; the rest is kept."""
    return {key: value for key, value in dataclasses.asdict(protocol).items() if key not in ("name", "presumed")} | {
        "n_fake": n_fake,
        "references": {
            key: {"n_real": "all" if line.n_real == "all" else REALS - 2} | ({"data": line.data} if line.data else {})
            for key, line in protocol.references.items()
        },
        "inception": "stand-in",
        "sources": {EVERY: "a rehearsal"},
    }


def shortened(recipe: schema.Recipe, resolution: int) -> dict[str, Any]:
    """Return the changes by which a recipe takes two steps of two images and still reaches its branches.

    The discriminator is updated in both steps, the generator in both or, where it has several discriminator steps, in
    the one that its phase says. Schedules that a full training leaves after the first epochs end after a step:
    locality, co-training, the start of an average. ADA moves at every step, by as much as it can. A growing network
    passes through all its resolutions, a step at rest and one fading in each. Lazy penalties act at step 0 as always.
    Compilation is left out: it takes minutes a network on a CPU.
    """
    if recipe.length_nimg == 0:
        return {}
    length, changes = BATCH * STEPS, dict[str, Any]()
    if recipe.growth is not None:
        levels = (resolution // recipe.growth.first_resolution).bit_length() - 1
        length = BATCH * (2 * levels + 1)
        changes["growth"] = {"first_nimg": 0, "fade_nimg": 2 * BATCH, "stable_nimg": 0}
    if recipe.locality is not None and recipe.locality.schedule:
        changes["locality"] = {"schedule": [[BATCH, recipe.locality.schedule[0][1]]]}
    if recipe.cotraining is not None and recipe.cotraining.until_nimg:
        changes["cotraining"] = {"until_nimg": BATCH}
    if recipe.ema.start_nimg:
        changes["ema"] = {"start_nimg": BATCH}
    if recipe.augment.ada is not None:
        changes["augment"] = {"ada": {"target": 0, "speed_nimg": BATCH, "every": 1}}
    n_critic = min(recipe.n_critic, STEPS)
    return changes | {
        "length_nimg": length,
        "discriminator_batch": BATCH,
        "generator_batch": BATCH,
        "n_critic": n_critic,
        "generator_phase": min(recipe.generator_phase, n_critic - 1),
        "snapshots_nimg": [BATCH] if recipe.snapshots_nimg else [],
        "grids_nimg": [],  # there is one at the end
        "log_every_nimg": BATCH,
        "checkpoint_every_nimg": length,
        "compile": False,
    }


def snapshots(row: Row, recipe: schema.Recipe) -> tuple[str, ...]:
    """Return the snapshots that a row scores: those at an image count become the one that the short recipe keeps."""
    kept = str(BATCH if recipe.length_nimg else "last")
    return tuple(dict.fromkeys(kept if name.isdigit() else name for name in map(str, row.snapshots or ())))


def stand_in(entry: card.Definition) -> card.Definition:
    """Return the definition of drawn images of the same size."""
    return card.Definition("standin", "drawn", entry.resolution, "drawn by this project", count=REALS)


def _write(path: Path, value: dict[str, Any] | Suite) -> None:
    def plain(one: Any) -> Any:
        return dataclasses.asdict(one)

    write_text(path, yaml_file.text(json.loads(json.dumps(value, default=plain))))


@torch.no_grad()
def write_checkpoint(path: Path, generator: nn.Module) -> None:
    """Write a file as TransGAN's authors released them, with the weights of `generator` under their names."""
    state = {f"module.{name}": tensor for name, tensor in official.export(generator).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"epoch": 0, official.KEYS["generator"][0]: state}, path)
