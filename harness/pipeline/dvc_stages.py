"""A scale's stages as DVC sees them, and their entries in dvc.lock, written as `dvc repro` writes them.

`dvc commit -f` is not the same: it copies outputs that git keeps into DVC's cache of runs. The calls here are DVC's
own, but not its public interface; a test holds the entries against those of a repro.
"""

from collections.abc import Iterable, Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError


@dataclass(frozen=True)
class Stage:
    """One stage: what it needs and what it makes, as absolute paths."""

    name: str
    deps: tuple[Path, ...]
    outs: tuple[Path, ...]
    dvc: Any  # DVC's own object


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
            yield [
                Stage(
                    name=stage.name,
                    deps=tuple(Path(dep.fs_path) for dep in stage.deps if type(dep).__name__ == "Dependency"),
                    outs=tuple(Path(out.fs_path) for out in stage.outs),
                    dvc=stage,
                )
                for stage in repo.stage.load_all(str(pipeline))
            ]
    except DvcException as error:
        raise HarnessError(f"{pipeline}: DVC says: {error}") from error


def record(stages: Iterable[Stage]) -> None:
    """Hash dependencies and outputs of finished stages and write their entries into dvc.lock, all at once.

    To be called under the lock of `locked_stages`.
    """
    done = [stage.dvc for stage in stages]
    for stage in done:
        uncached = any(not out.use_cache for out in stage.outs if not (out.is_metric or out.is_plot))
        with chdir(stage.wdir):  # DVC's cache of runs takes the working folder for one inside the repository
            stage.save(run_cache=not uncached)  # the rule of `dvc repro`
            stage.commit()
    for dvcfile in {stage.dvcfile for stage in done}:
        dvcfile.dump_stages([stage for stage in done if stage.dvcfile == dvcfile], update_pipeline=False)
