"""Experiments, recipes and models as data: the YAML under `experiments/`, resolved into what one stage runs."""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.config import reader, schema
from harness.errors import HarnessError, nearest
from harness.paths import (
    PARAMS,
    Checkout,
    ScaleFolder,
    dump_name,
    find_params,
    find_root,
    run_name,
    weights_folder,
)


@dataclass(frozen=True)
class Model:
    """One entry of `experiments/models/*.yaml`: where a network lives and with which options it is built."""

    module: str
    version: int  # bumped when the model's results change; a stage reruns when it does
    resolutions: tuple[int, ...]
    generator: dict[str, Any] = dataclasses.field(default_factory=dict)
    discriminator: dict[str, Any] = dataclasses.field(default_factory=dict)
    tables: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True)
class Run:
    """One training, resolved: everything that decides its result, and nothing else."""

    scale: str
    experiment: str
    seed: int
    dataset: str
    resolution: int
    generator: dict[str, Any]
    discriminator: dict[str, Any]
    recipe: schema.Recipe
    versions: dict[str, int]
    planned_nimg: int  # length of the full recipe; `recipe.length_nimg` may be capped by the scale

    @property
    def partial(self) -> bool:
        """Whether the scale cut the recipe short."""
        return self.recipe.length_nimg < self.planned_nimg


def _merged(folder: Path) -> dict[str, tuple[dict[str, Any], str]]:
    """All entries of a folder's YAML files by name, each with the place it came from."""
    out: dict[str, tuple[dict[str, Any], str]] = {}
    for path in sorted(folder.glob("*.yaml")):
        for name, value in reader.read_yaml(path).items():
            where = f"{path.relative_to(folder.parent.parent)}: {name}"
            if name in out:
                raise HarnessError(f"{where}: already defined in {out[name][1]}; names are unique, rename one.")
            if not isinstance(value, dict):
                raise HarnessError(f"{where}: expected a mapping, got {value!r}.")
            out[name] = (value, where)
    return out


def pick(name: str, table: dict[str, Any], what: str) -> Any:
    """Return `table[name]`, or raise a HarnessError that names the nearest entry."""
    if name not in table:
        raise HarnessError(f"unknown {what} '{name}'.{nearest(name, table)}")
    return table[name]


def load(root: Path | None = None) -> dict[str, schema.Experiment]:
    """Every experiment of `experiments/tables/*.yaml`, by name."""
    entries = _merged(Checkout.find(root).experiments / "tables")
    return {name: reader.read(schema.Experiment, value, where) for name, (value, where) in entries.items()}


def load_models(root: Path | None = None) -> dict[str, Model]:
    """Every model of `experiments/models/*.yaml`, by name."""
    entries = _merged(Checkout.find(root).experiments / "models")
    return {name: reader.read(Model, value, where) for name, (value, where) in entries.items()}


def load_recipe(name: str, changes: dict[str, Any] | None = None, root: Path | None = None) -> schema.Recipe:
    """The named recipe with everything it is `based_on`, and `changes` laid over it.

    Raises:
        HarnessError: unknown recipe or key, or recipes that are based on each other in a circle.
    """
    entries = _merged(Checkout.find(root).experiments / "recipes")
    value: dict[str, Any] = {}
    seen: list[str] = []
    current: str | None = name
    _, place = pick(name, entries, "recipe")
    while current is not None:
        if current in seen:
            raise HarnessError(
                f"{place}: recipes are based on each other in a circle: {' -> '.join([*seen, current])}."
            )
        seen.append(current)
        own, _ = pick(current, entries, "recipe")
        value = reader.merge({k: v for k, v in own.items() if k != "based_on"}, value)
        current = own.get("based_on")
    return reader.read(schema.Recipe, reader.merge(value, changes or {}), place)


def load_versions(root: Path | None = None) -> dict[str, int]:
    """Integer versions of the trainer, the sampler and the scorers (`experiments/versions.yaml`)."""
    return reader.read_yaml(Checkout.find(root).versions)


def load_datasets(root: Path | None = None) -> dict[str, dict[str, Any]]:
    """Definitions of the data sets (`experiments/datasets.yaml`), by name."""
    return reader.read_yaml(Checkout.find(root).datasets)


def load_overlay(name: str, root: Path | None = None) -> schema.Overlay:
    """Return the named entry of `experiments/overlays.yaml`; the empty name changes nothing.

    Raises:
        HarnessError: unknown overlay or key.
    """
    if not name:
        return schema.Overlay("", {})
    path = Checkout.find(root).overlays
    return reader.read(schema.Overlay, pick(name, reader.read_yaml(path), "overlay"), f"{path}: {name}")


@dataclass(frozen=True)
class Scale:
    """A params.yaml, with the folders it speaks of: repository root and results, as absolute paths."""

    path: Path
    params: schema.Params
    root: Path
    out: Path

    def run(self, experiment: str, seed: int) -> Run:
        """Resolve one training; see `resolve`."""
        return resolve(self.params, experiment, seed, self.root)

    @property
    def folder(self) -> ScaleFolder:
        """Every path of this scale's results."""
        return ScaleFolder(self.out)

    @property
    def checkout(self) -> Checkout:
        """Every path of the checkout that the scale belongs to."""
        return Checkout(self.root)


def open_scale(path: Path) -> Scale:
    """Read a scale's `params.yaml` (see `load_params`) and resolve its folders, as absolute paths.

    Raises:
        HarnessError: see `load_params`; or `root` does not lead to the checkout that the file lies in.
    """
    path = Path(os.path.abspath(path))
    params = load_params(path)
    root, out = (Path(os.path.abspath(path.parent / part)) for part in (params.root, params.out))
    if find_root(path.parent) != root:
        raise HarnessError(
            f"{path}: root: '{params.root}' leads to {root}, the file lies in the checkout {find_root(path.parent)}."
        )
    return Scale(path, params, root, out)


def find_scale(root: Path | None = None, params: Path | None = None) -> Scale:
    """Open the scale of `scale_file`.

    Raises:
        HarnessError: see `scale_file` and `open_scale`; or the scale lies in another checkout than `root`.
    """
    scale = open_scale(scale_file(root, params))
    if root is not None and find_root(root) != scale.root:
        raise HarnessError(f"{scale.path}: lies in the checkout {scale.root}, --root names {find_root(root)}.")
    return scale


def scale_file(root: Path | None = None, params: Path | None = None) -> Path:
    """Return the params.yaml that --root and --params name, as an absolute path.

    Args:
        root: the checkout to work on; default: the one around the working folder.
        params: file, or folder of a params.yaml, relative to `root` if that is given; default: the nearest params.yaml
            at or above the working folder, or that of `root`.

    Raises:
        HarnessError: not inside a checkout, or no params.yaml to be found.
    """
    if params is None:
        return find_params(root)
    path = Path(os.path.abspath(params if root is None else find_root(root) / params))
    return path / PARAMS if path.is_dir() else path


def load_params(path: Path) -> schema.Params:
    """Read a scale's `params.yaml` and check that every stage key says what it runs.

    Raises:
        HarnessError: unknown or missing keys, or a key that disagrees with its entry.
    """
    params = reader.read(schema.Params, reader.read_yaml(path), str(path))
    for key, run in params.runs.items():
        _check_key(f"{path}: runs", key, run_name(run.experiment, run.seed))
    for key, dump in params.dumps.items():
        _check_key(f"{path}: dumps", key, dump_name(dump.experiment, dump.seed, dump.snapshot))
        if run_name(dump.experiment, dump.seed) not in params.runs:
            raise HarnessError(
                f"{path}: dumps.{key} needs a training; add '{dump.experiment}-seed{dump.seed}' to runs."
            )
        place = weights_folder(dump.snapshot)
        if dump.weights != place:
            raise HarnessError(
                f"{path}: dumps.{key}: weights is '{dump.weights}', the snapshot '{dump.snapshot}' lies in '{place}'."
            )
        if dump.snapshot == "best" and f"{dump.experiment}-seed{dump.seed}" not in params.choices:
            raise HarnessError(
                f"{path}: dumps.{key} needs a choice; add '{dump.experiment}-seed{dump.seed}' to choices."
            )
    for key, choice in params.choices.items():
        if params.runs.get(key) != choice:
            raise HarnessError(f"{path}: choices.{key} must repeat runs.{key}.")
    return params


def _check_key(where: str, key: str, expected: str) -> None:
    if key != expected:
        raise HarnessError(f"{where}: key '{key}' should be '{expected}': a stage is named after what it runs.")


def resolve(params: schema.Params, experiment: str, seed: int, root: Path | None = None) -> Run:
    """Resolve one training of a scale.

    Raises:
        HarnessError: unknown experiment, model, recipe or data set, or a model that has no such resolution.
    """
    spec: schema.Experiment = pick(experiment, load(root), "experiment")
    models = load_models(root)
    dataset = pick(spec.dataset, load_datasets(root), "data set")
    for key, run in params.runs.items():
        if run.experiment == experiment and run.dataset != spec.dataset:
            raise HarnessError(
                f"params: runs.{key} says data set '{run.dataset}', the experiment says '{spec.dataset}'."
            )
    overlay = load_overlay(params.overlay, root).changes_of(experiment)
    recipe = load_recipe(spec.recipe, reader.merge(spec.changes, overlay), root)
    planned_nimg = recipe.length_nimg
    own = params.runs.get(run_name(experiment, seed))
    limits = (params.limit_nimg, own.limit_nimg if own else None)
    length_nimg = min([planned_nimg, *(limit for limit in limits if limit is not None)])
    recipe = dataclasses.replace(
        recipe,
        length_nimg=length_nimg,
        snapshots_nimg=tuple(n for n in recipe.snapshots_nimg if n <= length_nimg),
        grids_nimg=tuple(n for n in recipe.grids_nimg if n <= length_nimg),
    )
    versions = {"trainer": load_versions(root)["trainer"]}
    for role, network in (("generator", spec.generator), ("discriminator", spec.discriminator)):
        name = network.get("model")
        if name is None:
            raise HarnessError(f"experiment '{experiment}': {role} has no key 'model'.")
        model: Model = pick(name, models, "model")
        if dataset["resolution"] not in model.resolutions:
            raise HarnessError(
                f"experiment '{experiment}': model '{name}' is defined at {list(model.resolutions)} px, "
                f"data set '{spec.dataset}' is {dataset['resolution']} px."
            )
        versions[name] = model.version
    return Run(
        scale=params.scale,
        experiment=experiment,
        seed=seed,
        dataset=spec.dataset,
        resolution=dataset["resolution"],
        generator=spec.generator,
        discriminator=spec.discriminator,
        recipe=recipe,
        versions=versions,
        planned_nimg=planned_nimg,
    )
