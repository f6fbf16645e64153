"""Suites: `experiments/suites/<scale>.yaml`, from which a scale's params.yaml and dvc.yaml are generated."""

import dataclasses
import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from harness.config import experiments, reader, schema, yaml_file
from harness.config.experiments import Scale
from harness.config.ranges import Count, Device, Distinct, Name, Seeds, Snapshots, Threads
from harness.errors import HarnessError, nearest
from harness.files import write_text
from harness.paths import PARAMS, RESOURCES, Checkout, ScaleFolder, dump_name, run_name, weights_folder
from harness.pipeline.planned_scores import Planner, check_references, draws_curve, references
from harness.pipeline.stages import pipeline

AT_ROOT = "quick"  # the scale whose files lie at the repository root; the others lie in results/<scale>
PIPELINE = "dvc.yaml"
FREE = ("device", "threads", "limit_nimg")  # keys of params.yaml that may differ from the suite
Scorers = Annotated[tuple[schema.Scorer, ...], Distinct()]


@dataclass(frozen=True)
class Row:
    """One experiment of a suite; None: the suite's own value."""

    seeds: Seeds | None = None
    snapshots: Snapshots | None = None  # last, best or image counts
    limit_nimg: Count | None = None
    protocols: tuple[str, ...] = ()  # beside the suite's


@dataclass(frozen=True)
class Curve:
    """How the snapshots at image counts are scored where they only draw a curve: protocols and scorers of their own."""

    protocols: tuple[str, ...]
    scorers: Scorers


@dataclass(frozen=True)
class Suite:
    """What a scale runs: experiments by table, and how they are scored.

    `protocols`: all rows are scored under them, those of a data set that a protocol says nothing of excepted. `curve`:
    how snapshots at an image count are scored instead. `choose`: what the best snapshot is chosen by.
    """

    about: str
    protocols: tuple[str, ...]
    tables: dict[str, dict[str, Row | None]]
    seeds: Seeds = (0,)
    snapshots: Snapshots = ("last",)
    limit_nimg_each: Count | None = None  # a cap on every training that has none of its own
    curve: Curve | None = None
    choose: Name = "choose-5k"
    scorers: Scorers = ("tf", "clean")
    threads: Threads = 2
    device: Device = "auto"
    limit_nimg: Count | None = None
    overlay: str = ""

    def rows(self) -> dict[str, Row]:
        """Every experiment with its seeds, snapshots and limit."""
        out: dict[str, Row] = {}
        for experiments_of_table in self.tables.values():
            for name, row in experiments_of_table.items():
                row = row or Row()
                out[name] = Row(
                    self.seeds if row.seeds is None else row.seeds,
                    tuple(map(str, self.snapshots if row.snapshots is None else row.snapshots)),
                    self.limit_nimg_each if row.limit_nimg is None else row.limit_nimg,
                    row.protocols,
                )
        return out


@dataclass(frozen=True)
class Generated:
    """The two files of a scale, as values; `resources` is a hand-written third, which a folder without one is given."""

    folder: Path
    params: dict[str, Any]
    pipeline: dict[str, Any]
    command: str  # what writes them
    resources: Path  # need not exist
    elsewhere: bool  # in a folder that --out names, not the scale's own


def names(checkout: Checkout) -> list[str]:
    """Every suite of a checkout."""
    return sorted(path.stem for path in checkout.suites.glob("*.yaml"))


def suite_file(checkout: Checkout, scale: str) -> Path:
    """The file of one suite, which need not exist."""
    return checkout.suites / f"{scale}.yaml"


def folder_of(checkout: Checkout, scale: str) -> Path:
    """The folder of a scale's generated files, unless `harness scale write --out` names another."""
    return checkout.root if scale == AT_ROOT else checkout.results / scale


def params_of(checkout: Checkout, scale: str | None = None) -> Path:
    """Return the params.yaml of a scale's name or folder; of neither, the one at the root.

    Raises:
        HarnessError: there is none.
    """
    own = checkout.root if scale is None else folder_of(checkout, scale)
    places = [own] if scale is None else [own, Path(os.path.abspath(scale)), checkout.root / scale]
    for place in places:
        path = place / PARAMS if place.is_dir() else place
        if path.name == PARAMS and path.is_file():
            return path
    if scale is None:
        raise HarnessError(f"{own}: holds no {PARAMS}; name a scale: {', '.join(names(checkout))}.")
    raise HarnessError(
        f"'{scale}' is no scale of {checkout.root} and no folder with a {PARAMS}.{nearest(scale, names(checkout))}"
    )


def read(checkout: Checkout, scale: str) -> Suite:
    """Read one suite.

    Raises:
        HarnessError: no such suite; an unknown key; a value that its field does not allow; no experiment, one that does
            not exist, or that stands in two tables; an unknown overlay; a scorer of the curve that is none of the
            suite's; a name that is not fit for a path or a command line.
    """
    path = suite_file(checkout, scale)
    experiments.pick(scale, dict.fromkeys(names(checkout)), "suite")
    suite = reader.read(Suite, reader.read_yaml(path), str(path))
    known, tables = experiments.load(checkout.root), dict[str, str]()
    for table, rows in suite.tables.items():
        for name in rows:
            experiments.pick(name, known, f"experiment in {path}: tables.{table}:")
            if name in tables:
                raise HarnessError(f"{path}: '{name}' stands in tables.{tables[name]} and tables.{table}; delete one.")
            tables[name] = table
    if not tables:
        raise HarnessError(f"{path}: tables: no experiment stands in it; list one of `harness experiments` there.")
    for name in (scale, *tables):
        reader.check_name(name, str(path))
    if suite.overlay:
        experiments.pick(suite.overlay, reader.read_yaml(checkout.overlays), f"overlay in {path}: overlay:")
    others = [scorer for scorer in (suite.curve.scorers if suite.curve else ()) if scorer not in suite.scorers]
    if others:
        raise HarnessError(
            f"{path}: curve.scorers: {others[0]} is none of `scorers` ({', '.join(suite.scorers)}), which alone have "
            "stages; add it there."
        )
    return suite


def generate(
    checkout: Checkout, scale: str, folder: Path | None = None, overlay: str | None = None, of: str | None = None
) -> Generated:
    """Return the files of a scale.

    Args:
        folder: where they will lie, inside the checkout; default: the root for `quick`, else results/<scale>.
        overlay: in place of the suite's.
        of: the suite to read, for a scale that has none yet; default: the scale's own.

    Raises:
        HarnessError: see `read`; or `folder` lies outside the checkout, the overlay is unknown, or a protocol cannot
            serve a row, names the suite's file.
    """
    suite = read(checkout, of or scale)
    path = suite_file(checkout, of or scale)
    if overlay == suite.overlay:
        overlay = None  # the suite's own
    suite = suite if overlay is None else dataclasses.replace(suite, overlay=overlay)
    known = experiments.load(checkout.root)
    experiments.load_overlay(suite.overlay, checkout.root)
    own = folder_of(checkout, scale)
    folder = Path(os.path.abspath(folder or own))
    if folder != checkout.root and checkout.root not in folder.parents:
        raise HarnessError(f"{folder}: lies outside the checkout {checkout.root}; a scale's folder is inside one.")
    command = f"harness scale write {shlex.quote(scale)}"
    if overlay:
        if folder == own:
            raise HarnessError(f"{folder}: is the folder of the scale without overlay; name another with --out.")
        command += f" --overlay {shlex.quote(overlay)}"
    if folder != own:
        command += f" --out {shlex.quote(str(folder.relative_to(checkout.root)))}"
    root = "" if folder == checkout.root else os.path.relpath(checkout.root, folder) + "/"
    out = f"results/{scale}/" if folder == checkout.root else ""
    planner = Planner(checkout, suite, known)
    try:
        params = _params(suite, scale, root, out, planner)
        references = planner.references()
    except HarnessError as error:
        raise HarnessError(f"{path}: {error}") from None
    checked = reader.read(schema.Params, params, str(path))
    check_references(Scale(path, checked, checkout.root, folder / out))
    effects = [str(record.relative_to(checkout.root)) for record in checkout.effects]
    made = pipeline(params, suite.scorers, _sources(checkout, params, known), references, effects)
    return Generated(folder, params, made, command, own / RESOURCES, elsewhere=folder != own)


def _params(suite: Suite, scale: str, root: str, out: str, planner: "Planner") -> dict[str, Any]:
    runs, dumps, choices = dict[str, Any](), dict[str, Any](), dict[str, Any]()
    for name, row in suite.rows().items():
        scored = {
            of_curve: planner.scored(name, row, of_curve) for of_curve in set(map(draws_curve, row.snapshots or ()))
        }
        for seed in row.seeds or ():
            run = {"experiment": name, "seed": seed, "dataset": planner.dataset(name)}
            limit = {} if row.limit_nimg is None else {"limit_nimg": row.limit_nimg}
            runs[run_name(name, seed)] = run | limit
            if "best" in (row.snapshots or ()):
                choices[run_name(name, seed)] = run | planner.choice(name)
            for snapshot in row.snapshots or ():
                place = {"snapshot": snapshot, "weights": weights_folder(snapshot)}
                dumps[dump_name(name, seed, snapshot)] = run | place | scored[draws_curve(snapshot)]
    return {
        "scale": scale,
        "overlay": suite.overlay,
        "root": root,
        "out": out,
        "device": suite.device,
        "threads": suite.threads,
        "limit_nimg": suite.limit_nimg,
        "runs": runs,
        "dumps": dumps,
        "choices": choices,
    }


def _sources(checkout: Checkout, params: dict[str, Any], known: dict[str, schema.Experiment]) -> dict[str, str]:
    """What each experiment's weights are made from, from the root: a data set or a released checkpoint."""
    out = {}
    for run in params["runs"].values():
        released = known[run["experiment"]].checkpoint
        path = checkout.released(released) if released else checkout.data(run["dataset"]) / "train.npy"
        out[run["experiment"]] = str(path.relative_to(checkout.root))
    return out


def write(generated: Iterable[Generated]) -> list[Path]:
    """Write params.yaml and dvc.yaml of every scale, and resources.yaml where it is missing; return their paths.

    Raises:
        HarnessError: a folder holds the files of another scale, or a pipeline that is of none; nothing is written.
    """
    paths, every = [], list(generated)
    for made in every:
        _refuse_anothers(made)
    for made in every:
        heading = f"# Made by `{made.command}` of experiments/suites/{made.params['scale']}.yaml: edit that.\n"
        for name, value in ((PARAMS, made.params), (PIPELINE, made.pipeline)):
            write_text(made.folder / name, heading + yaml_file.text(value))
            paths.append(made.folder / name)
        if made.resources.is_file() and not (made.folder / RESOURCES).exists():
            write_text(made.folder / RESOURCES, made.resources.read_text(encoding="utf-8"))
            paths.append(made.folder / RESOURCES)
        for path, text in ScaleFolder(made.folder / made.params["out"]).placeholders().items():
            if not path.is_file():
                write_text(path, text)
    return paths


def _refuse_anothers(made: Generated) -> None:
    """Refuse a folder of another scale, or of another overlay: its records would stay under files that are not theirs.

    The scale's own folder may hold a params.yaml that cannot be read, which is made anew, or be under another overlay,
    which is what the suite said before.
    """
    path, there = made.folder / PARAMS, dict[str, Any]()
    if path.is_file():
        try:
            there = reader.read_yaml(path)
        except HarnessError:
            if not made.elsewhere:
                return
    elif not (made.elsewhere and (made.folder / PIPELINE).exists()):
        return
    scale, overlay = there.get("scale"), there.get("overlay") or ""
    mine = scale == made.params["scale"], not made.elsewhere or overlay == made.params["overlay"]
    if all(mine):
        return
    under = f" under the overlay '{overlay}'" if overlay else " without an overlay" if mine[0] else ""
    holds = "a pipeline that is not of a scale" if scale is None else f"the scale {reader.shown(scale)}{under}"
    raise HarnessError(
        f"{made.folder}: holds {holds}; `{made.command}` would replace its {PARAMS} and {PIPELINE} by those of the "
        f"scale '{made.params['scale']}'. Name another folder with --out, or move what lies there away."
    )


def copy(checkout: Checkout, old: str, new: str) -> list[Path]:
    """Start a suite from another one, stages given what those of the other are; return the paths of its files.

    Raises:
        HarnessError: no suite `old`, or one that is refused by `generate`; a suite `new` already, or an unfit name;
            nothing is written.
    """
    read(checkout, old)
    target = suite_file(checkout, new)
    reader.check_name(new, "harness scale copy")
    for path in (target, checkout.results / new):
        if path.exists():
            raise HarnessError(f"{path}: is there already; choose another name or delete it.")
    made = dataclasses.replace(generate(checkout, new, of=old), resources=folder_of(checkout, old) / RESOURCES)
    write_text(target, suite_file(checkout, old).read_text(encoding="utf-8"))
    return [target, *write([made])]


def check(scale: Scale) -> None:
    """Refuse a params.yaml that its suite would not give, and references that cannot be.

    In a checkout without suites every params.yaml is written by hand, and only references are looked at.

    Raises:
        HarnessError: a key other than `device`, `threads` and `limit_nimg` differs; or see `check_references`.
    """
    params, checkout = scale.params, scale.checkout
    if not checkout.suites.is_dir():
        check_references(scale)
        return
    made = generate(checkout, params.scale, scale.path.parent, params.overlay)
    expected = reader.read(schema.Params, made.params, made.command)
    for f in dataclasses.fields(schema.Params):
        if f.name not in FREE and getattr(params, f.name) != getattr(expected, f.name):
            check_references(scale)  # which names a protocol that changed
            raise HarnessError(
                f"{scale.path}: `{f.name}` is not what experiments/suites/{params.scale}.yaml gives; "
                f"edit that file and run `{made.command}`."
            )


def waiting(scale: Scale) -> list[str]:
    """Return sentences on data sets that are neither packed nor here to be packed, and on what waits for them.

    Raises:
        HarnessError: HARNESS_DATA names no folder.
    """
    from harness.data import card, fetch

    out = []
    runs = [run.dataset for run in scale.params.runs.values()]
    for name in dict.fromkeys([*runs, *references(scale)]):
        if (scale.checkout.data(name) / "train.npy").is_file():
            continue
        entry = card.definition(name, scale.root)
        if entry.source == "standin" or fetch.local_source(entry, scale.root) is not None:
            continue
        waits = f"{runs.count(name)} trainings" if name in runs else "what is scored against it"
        out.append(
            f"{name}: neither packed nor in {fetch.ENVIRONMENT}, so the rows of {waits} wait for "
            f"`harness data {name}`, which will try the official download; `dvc repro --ignore-errors` runs the others "
            "to their tables."
        )
    return out
