"""Experiments, recipes and models as data: the YAML under `experiments/`, resolved into what one stage runs."""

import dataclasses
import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from harness.config import reader, schema
from harness.config.ranges import Count, Matches, Name
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

if TYPE_CHECKING:
    from harness.config.protocols import Protocol

VERSIONS = ("trainer", "sampler", "scorer-tf", "scorer-torch", "scorer-clean")
Module = Annotated[str, Matches(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", "the dotted name of a Python module")]


@dataclass(frozen=True)
class Model:
    """One entry of `experiments/models/*.yaml`: where a network lives and with which options it is built."""

    module: Module
    version: Count  # bumped when the model's results change; a stage reruns when it does
    resolutions: tuple[Count, ...]
    generator: dict[str, Any] = dataclasses.field(default_factory=dict)
    discriminator: dict[str, Any] = dataclasses.field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True)
class TrainedRun:
    """What is trained, without its recipe."""

    scale: str
    experiment: str
    seed: int
    dataset: str
    resolution: int
    generator: dict[str, Any]
    discriminator: dict[str, Any]
    versions: dict[str, int]
    planned_nimg: int  # length of the full recipe; `recipe.length_nimg` may be capped by the scale


@dataclass(frozen=True)
class Run(TrainedRun):
    """One training, resolved: everything that decides its result, and nothing else."""

    recipe: schema.Recipe

    @property
    def partial(self) -> bool:
        """Whether the scale cut the recipe short."""
        return self.recipe.length_nimg < self.planned_nimg

    @property
    def snapshots(self) -> tuple[str, ...]:
        """Names of what may be sampled: `last`, `best`, and the image counts that the recipe keeps."""
        return ("last", "best", *map(str, self.recipe.snapshots_nimg))


def merged(folder: Path) -> dict[str, tuple[dict[str, Any], str]]:
    """Return all entries of a folder's YAML files by name, each with the place it came from."""
    out: dict[str, tuple[dict[str, Any], str]] = {}
    for path in sorted(folder.glob("*.yaml")):
        for name, value in reader.read_yaml(path).items():
            place = str(path.relative_to(folder.parent.parent))
            where = f"{place}: {reader.check_name(name, place)}"
            if name in out:
                raise HarnessError(f"{where}: already defined in {out[name][1]}; names are unique, rename one.")
            if not isinstance(value, dict):
                raise HarnessError(f"{where}: expected a mapping, got {value!r}.")
            out[name] = (value, where)
    return out


def pick(name: Any, table: Mapping[str, Any], what: str) -> Any:
    """Return `table[name]`, or raise a HarnessError that names the nearest entry."""
    if not isinstance(name, str) or name not in table:
        raise HarnessError(f"unknown {what} {reader.shown(name)}.{nearest(str(name), table)}")
    return table[name]


@dataclass(frozen=True)
class Definitions:
    """What `experiments/` of a checkout says, by name; every file is read when it is first asked for, and once."""

    checkout: Checkout

    @functools.cached_property
    def experiments(self) -> dict[str, schema.Experiment]:
        """Every experiment of `experiments/tables/*.yaml`; a miniature stands for one that is none."""
        entries = merged(self.checkout.experiments / "tables")
        known = {name: reader.read(schema.Experiment, value, where) for name, (value, where) in entries.items()}
        originals = {name: one for name, one in known.items() if not one.stands_for}
        for name in known.keys() - originals.keys():
            where = f"{entries[name][1]}: stands_for"
            pick(known[name].stands_for, originals, f"experiment, or a miniature itself, in {where}:")
            if known[name].reported:
                raise HarnessError(f"{where}: a miniature answers no row of the ledger; delete `reported`.")
        return known

    @functools.cached_property
    def models(self) -> dict[str, Model]:
        """Every model of `experiments/models/*.yaml`."""
        entries = merged(self.checkout.experiments / "models")
        return {name: reader.read(Model, value, where) for name, (value, where) in entries.items()}

    @functools.cached_property
    def recipes(self) -> dict[str, tuple[dict[str, Any], str]]:
        """Every entry of `experiments/recipes/*.yaml` with its place; see `recipe`."""
        return merged(self.checkout.experiments / "recipes")

    @functools.cached_property
    def versions(self) -> dict[str, int]:
        """Integer versions of the trainer, the sampler and the scorers (`experiments/versions.yaml`)."""
        path = self.checkout.versions
        versions: dict[str, int] = reader.convert(dict[Name, Count], reader.read_yaml(path), str(path))
        for name in VERSIONS:
            if name not in versions:
                raise HarnessError(f"{path}: missing key '{name}'.")
        return versions

    @functools.cached_property
    def datasets(self) -> dict[str, dict[str, Any]]:
        """Definitions of the data sets (`experiments/datasets.yaml`)."""
        path = self.checkout.datasets
        entries: dict[str, dict[str, Any]] = reader.convert(
            dict[Name, dict[str, Any]], reader.read_yaml(path), str(path)
        )
        return entries

    @functools.cached_property
    def protocols(self) -> "dict[str, Protocol]":
        """Every named way of scoring (`experiments/protocols/*.yaml`)."""
        from harness.config import protocols

        return protocols.load(self.checkout.root)

    def recipe(self, name: str, changes: Mapping[str, Any] | None = None) -> schema.Recipe:
        """Return the named recipe with everything it is `based_on`, and `changes` laid over it.

        Raises:
            HarnessError: unknown recipe or key, or recipes that are based on each other in a circle.
        """
        value: dict[str, Any] = {}
        seen: list[str] = []
        current: Any = name
        _, place = pick(name, self.recipes, "recipe")
        while current is not None:
            if current in seen:
                raise HarnessError(
                    f"{place}: recipes are based on each other in a circle: {' -> '.join([*seen, current])}."
                )
            own, _ = pick(current, self.recipes, f"recipe in {place}: based_on:")
            seen.append(current)
            value = reader.merge({k: v for k, v in own.items() if k != "based_on"}, value)
            current = own.get("based_on")
        return reader.read(schema.Recipe, reader.merge(value, changes or {}), place)

    def overlay(self, name: str) -> schema.Overlay:
        """Return the named entry of `experiments/overlays.yaml`; the empty name changes nothing.

        Raises:
            HarnessError: unknown overlay or key.
        """
        if not name:
            return schema.Overlay("", {})
        path = self.checkout.overlays
        return reader.read(schema.Overlay, pick(name, reader.read_yaml(path), "overlay"), f"{path}: {name}")

    def resolve(self, params: schema.Params, experiment: str, seed: int) -> Run:
        """Resolve one training of a scale.

        Raises:
            HarnessError: unknown experiment, model, recipe or data set, a model that has no such resolution, or a
                value that a recipe does not allow.
        """
        spec: schema.Experiment = pick(experiment, self.experiments, "experiment")
        try:
            return self._resolve(params, spec, experiment, seed)
        except HarnessError as error:
            raise HarnessError(f"experiment '{experiment}': {error}") from None

    def _resolve(self, params: schema.Params, spec: schema.Experiment, experiment: str, seed: int) -> Run:
        for key, run in params.runs.items():
            if run.experiment == experiment and run.dataset != spec.dataset:
                raise HarnessError(
                    f"params: runs.{key} says data set '{run.dataset}', the experiment says '{spec.dataset}'."
                )
        dataset = pick(spec.dataset, self.datasets, "data set")
        resolution: int = reader.convert(
            Count, dataset.get("resolution"), f"{self.checkout.datasets}: {spec.dataset}.resolution"
        )
        overlay = self.overlay(params.overlay).changes_of(experiment)
        recipe = self.recipe(spec.recipe, reader.merge(spec.changes, overlay))
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
        versions = {"trainer": self.versions["trainer"]}
        for role, network in (("generator", spec.generator), ("discriminator", spec.discriminator)):
            if "model" not in network:
                raise HarnessError(f"{role} has no key 'model'.")
            model: Model = pick(network["model"], self.models, "model")
            if resolution not in model.resolutions:
                raise HarnessError(
                    f"model '{network['model']}' is defined at {list(model.resolutions)} px, "
                    f"data set '{spec.dataset}' is {resolution} px."
                )
            versions[network["model"]] = model.version
        return Run(
            scale=params.scale,
            experiment=experiment,
            seed=seed,
            dataset=spec.dataset,
            resolution=resolution,
            generator=spec.generator,
            discriminator=spec.discriminator,
            recipe=recipe,
            versions=versions,
            planned_nimg=planned_nimg,
        )


def definitions(root: Path | None = None) -> Definitions:
    """Return what the checkout at `root` (default: the one around the working folder) says."""
    return Definitions(Checkout.find(root))


def load(root: Path | None = None) -> dict[str, schema.Experiment]:
    """Every experiment of a checkout, by name; see `Definitions`."""
    return definitions(root).experiments


def load_models(root: Path | None = None) -> dict[str, Model]:
    """Every model of a checkout, by name; see `Definitions`."""
    return definitions(root).models


def load_versions(root: Path | None = None) -> dict[str, int]:
    """Versions of trainer, sampler and scorers of a checkout; see `Definitions`."""
    return definitions(root).versions


def load_datasets(root: Path | None = None) -> dict[str, dict[str, Any]]:
    """Definitions of the data sets of a checkout, by name; see `Definitions`."""
    return definitions(root).datasets


def load_overlay(name: str, root: Path | None = None) -> schema.Overlay:
    """One overlay of a checkout; see `Definitions.overlay`."""
    return definitions(root).overlay(name)


@dataclass(frozen=True)
class Scale:
    """A params.yaml, with the folders it speaks of: repository root and results, as absolute paths."""

    path: Path
    params: schema.Params
    root: Path
    out: Path

    def run(self, experiment: str, seed: int) -> Run:
        """Resolve one planned training; see `Definitions.resolve`.

        Raises:
            HarnessError: as there; or the scale plans no such training, so that nothing would show its scores.
        """
        run = self.definitions.resolve(self.params, experiment, seed)
        if run_name(experiment, seed) not in self.params.runs:
            seeds = [str(r.seed) for r in self.params.runs.values() if r.experiment == experiment]
            planned = f"seed {', '.join(seeds)} of it" if seeds else "none of it"
            raise HarnessError(
                f"{self.path}: scale '{self.params.scale}' plans no training of '{experiment}' with seed {seed}, but "
                f"{planned}; add it there, or its tables would leave it out."
            )
        return run

    @functools.cached_property
    def definitions(self) -> Definitions:
        """Everything that the checkout's `experiments/` says."""
        return Definitions(self.checkout)

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
        found = params.runs.get(key)
        mine = (choice.experiment, choice.seed, choice.dataset)
        if found is None or (found.experiment, found.seed, found.dataset) != mine:
            raise HarnessError(f"{path}: choices.{key} must repeat runs.{key}.")
    return params


def _check_key(where: str, key: str, expected: str) -> None:
    if key != expected:
        raise HarnessError(f"{where}: key '{key}' should be '{expected}': a stage is named after what it runs.")
