"""A pipeline's stages as DVC sees them, prepared and recorded as `dvc repro` prepares and records them.

`dvc commit -f` is not the same: it copies outputs that git keeps into DVC's cache of runs. The calls here are DVC's
own, but not its public interface; a test holds the entries against those of a repro.
"""

import json
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from harness.errors import HarnessError

LOCK_WAIT_SEC = 600.0  # for another DVC command; one that runs a stage does not hold the lock meanwhile


@dataclass(frozen=True)
class Stage:
    """One stage: what it needs and what it makes, as absolute paths."""

    name: str
    deps: tuple[Path, ...]
    outs: tuple[Path, ...]
    dvc: Any  # DVC's own object

    @property
    def pipeline(self) -> Path:
        """The dvc.yaml that defines it, or the .dvc file that it is."""
        return Path(self.dvc.dvcfile.path)


@dataclass(frozen=True)
class Prepared:
    """What is to be done about a stage: nothing, record what is there or DVC's cache of runs gave back, or run it."""

    state: Literal["current", "made", "restored", "stale"]
    inputs: Any = None  # command, parameters, hashes of dependencies: JSON
    commands: tuple[list[str], ...] = ()  # argument lists, one after the other
    folder: str = ""  # to run them in
    environment: dict[str, str] | None = None  # that DVC adds


@contextmanager
def locked_stages(pipeline: Path) -> Iterator[list[Stage]]:
    """Hold DVC's lock of the repository, so that no `dvc repro` runs meanwhile, and yield the stages of a dvc.yaml.

    Raises:
        HarnessError: no such pipeline, no DVC repository around it, or another DVC command at work.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo, lock_repo

    if not pipeline.is_file():
        raise HarnessError(f"{pipeline}: no such pipeline; write it with `harness scale write`.")
    try:
        with Repo(str(pipeline.parent)) as repo, lock_repo(repo), repo.scm_context(quiet=True):
            yield [_stage(stage) for stage in repo.stage.load_all(str(pipeline))]
    except DvcException as error:
        raise HarnessError(f"{pipeline}: DVC says: {error}") from error


def _stage(stage: Any) -> Stage:
    return Stage(
        name=getattr(stage, "name", None) or str(stage.path_in_repo),
        deps=tuple(Path(dep.fs_path) for dep in stage.deps if type(dep).__name__ == "Dependency"),
        outs=tuple(Path(out.fs_path) for out in stage.outs),
        dvc=stage,
    )


class Repository:
    """A DVC repository whose stages another program runs. Use as a context manager; every call takes DVC's lock.

    Raises:
        HarnessError: DVC refuses; its own words are passed on.
    """

    def __init__(self, folder: Path) -> None:
        from dvc.exceptions import DvcException
        from dvc.repo import Repo

        try:
            self.repo = Repo(str(folder))
        except DvcException as error:
            raise HarnessError(f"{folder}: DVC says: {error}") from error
        logging.getLogger("dvc").setLevel(logging.WARNING)  # it prints a line for each rewrite of dvc.lock
        self.root = Path(self.repo.root_dir)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.repo.close()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold DVC's lock, waiting for it while another command has it; an error of DVC's becomes a HarnessError."""
        from dvc.lock import LockError
        from dvc.repo import lock_repo

        until = time.monotonic() + LOCK_WAIT_SEC
        with ExitStack() as stack:
            while True:
                try:
                    stack.enter_context(lock_repo(self.repo))
                    break
                except LockError as error:
                    if time.monotonic() > until:
                        raise HarnessError(f"{self.root}: DVC says: {error}") from error
                    time.sleep(0.5)
            with self.errors(), self.repo.scm_context(quiet=True):
                yield

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn an error of DVC's into a HarnessError."""
        from dvc.exceptions import DvcException

        try:
            yield
        except DvcException as error:
            raise HarnessError(f"DVC says: {error}") from error

    def graph(self, targets: Sequence[str]) -> dict[str, tuple[Stage, set[str]]]:
        """Return what `dvc repro TARGETS` would look at, in its order: id -> stage and the ids it waits for.

        An id is `train@x`, or `results/paper/dvc.yaml:train@x` where the pipeline is not the repository's own.
        """
        from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

        with self.locked():
            graph = get_active_graph(self.repo.index.graph)
            plan = plan_repro(graph, collect_stages(self.repo, targets))
            return {
                _id(self.root, one): (_stage(one), {_id(self.root, before) for before in graph.successors(one)})
                for one in plan
            }

    def names(self, pipeline: Path) -> list[str]:
        """Return the names of all stages that a dvc.yaml defines."""
        with self.locked():
            return [_stage(stage).name for stage in self.repo.stage.load_all(str(pipeline))]

    def why_stale(self, stage: Stage) -> str:
        """Return what changed about a stage since it was recorded; nothing if it is up to date.

        To be called under the lock; right only once everything it depends on is up to date.
        """
        found = stage.dvc.status().get(stage.dvc.addressing, [])
        reasons = []
        for one in found:
            if isinstance(one, str):
                reasons.append("its command changed" if one == "changed checksum" else one)
                continue
            for names in one.values():
                for name, how in names.items():
                    reasons.append(f"{name} {how}" if isinstance(how, str) else f"{name}: {', '.join(map(str, how))}")
        return "; ".join(reasons)

    def hashed(self, stage: Stage) -> Any:
        """Hash a stage's dependencies; return, as plain JSON values, what decides its outputs."""
        from dvc.stage.serialize import to_single_stage_lockfile

        stage.dvc.save_deps()
        entry = to_single_stage_lockfile(stage.dvc)
        return json.loads(json.dumps({key: entry.get(key) for key in ("cmd", "deps", "params")}, default=str))

    def fresh(self, stage: Stage) -> Stage:
        """Read a stage and its entry in dvc.lock again; one that was prepared no longer knows what was recorded."""
        return _stage(stage.dvc.reload())

    def prepare(self, stage: Stage, made_from: Any = None) -> Prepared:
        """Do what `dvc repro` does before a stage's command: remove stale outputs, look into the cache of runs.

        To be called under the lock, once everything the stage depends on is up to date.

        Args:
            stage: as `graph` or `fresh` returned it, not prepared yet.
            made_from: the inputs that the outputs now in place were made from, if that is known.

        Raises:
            HarnessError: the stage has no command to run (an import, a frozen stage, a file that `dvc add` made), or
                DVC refuses.
        """
        from dvc.stage.cache import RunCacheNotFoundError
        from dvc.stage.run import _enforce_cmd_list, _make_cmd, get_executable, prepare_kwargs

        one = stage.dvc
        if not one.changed():
            return Prepared("current")
        if one.frozen or one.is_import or not one.cmd:
            raise HarnessError(
                f"{one.addressing} is stale and has no command to run; see to it with `dvc repro` first."
            )
        if made_from is not None and self.hashed(self.fresh(stage)) == made_from:
            return Prepared("made")
        with chdir(one.wdir):
            one.remove_outs(ignore_remove=False, force=False)
            try:
                self.repo.stage_cache.restore(one)
                return Prepared("restored")
            except RunCacheNotFoundError:
                pass
        settings = prepare_kwargs(one)
        executable = get_executable()
        return Prepared(
            "stale",
            inputs=self.hashed(stage),
            commands=tuple(_make_cmd(executable, line) for line in _enforce_cmd_list(one.cmd)),
            folder=settings["cwd"],
            environment={name: settings["env"][name] for name in ("DVC_ROOT", "DVC_STAGE")},
        )


def _id(root: Path, stage: Any) -> str:
    place = Path(stage.dvcfile.path).relative_to(root).as_posix()
    name = getattr(stage, "name", None)
    return place if name is None else name if place == "dvc.yaml" else f"{place}:{name}"


def record(stages: Iterable[Stage]) -> None:
    """Hash dependencies and outputs of finished stages and write their entries into dvc.lock, all at once.

    To be called under DVC's lock.
    """
    done = list(stages)
    for stage in done:
        save(stage)
    dump(done)


def save(stage: Stage) -> None:
    """Hash dependencies and outputs of a finished stage and take the outputs into DVC's cache."""
    one = stage.dvc
    uncached = any(not out.use_cache for out in one.outs if not (out.is_metric or out.is_plot))
    with chdir(one.wdir):  # DVC's cache of runs takes the working folder for one inside the repository
        one.save(run_cache=not uncached)  # the rule of `dvc repro`
        one.commit()


def dump(stages: Sequence[Stage]) -> None:
    """Write the entries of saved stages into dvc.lock, one rewrite a file."""
    for dvcfile in {stage.dvc.dvcfile for stage in stages}:
        dvcfile.dump_stages([one.dvc for one in stages if one.dvc.dvcfile == dvcfile], update_pipeline=False)
