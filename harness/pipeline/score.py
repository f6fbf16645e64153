"""The score stage: a dump through one scorer, under every protocol that a scale plans of it; a record each."""

from pathlib import Path

from harness.config import protocols
from harness.config.experiments import Run, Scale, pick
from harness.config.protocols import VARIANTS, Planned
from harness.metrics.extractors.base import Setup
from harness.metrics.request import Request
from harness.metrics.score import score_all
from harness.paths import dump_name
from harness.pipeline import references
from harness.records import score_record
from harness.records.score_record import ScoreRecord


def score_dump(
    scale: Scale,
    run: Run,
    snapshot: str,
    scorer: str,
    *,
    device: str | None = None,
    threads: int | None = None,
    cache: Path | None = None,
) -> dict[Path, ScoreRecord]:
    """Score a dump under its protocols and return the records by the files they were written to.

    Protocols that share a quantisation, resizer, weights and layer are served by one pass over the images. Records of
    protocols that are no longer planned are removed from the scorer's folder.

    Raises:
        HarnessError: nothing is planned of the dump or by the scorer; a protocol or reference that changed since; see
            `metrics.score.score_all`. Nothing is written then.
    """
    planned = protocols.of_dump(scale, run.experiment, run.seed, snapshot)
    mine: list[Planned] = pick(scorer, planned, f"scorer in {scale.path}: dumps: scores:")
    name = scale.params.dumps[dump_name(run.experiment, run.seed, snapshot)].references
    references.check(scale, name, {one.data for one in mine})
    passes: dict[tuple[object, ...], list[Request]] = {}
    for one in mine:
        request = Request(
            samples=scale.folder.dump(run.experiment, run.seed, snapshot, VARIANTS[one.quantisation]),
            reference=str(scale.checkout.data(one.data)),
            setup=Setup(
                one.inception,
                one.layer,
                threads=threads or scale.params.threads,
                device=device or scorer_device(scale.params.device, scorer),
                cache=cache or scale.checkout.cache,
            ),
            record=scale.folder.sample_record(run.experiment, run.seed, snapshot),
            root=scale.root,
            **protocols.options(one),
        )
        passes.setdefault(request.shared(), []).append(request)
    found = [record for requests in passes.values() for record in score_all(requests)]
    folder = scale.folder.scorer(run.experiment, run.seed, snapshot, scorer)
    written = {folder / f"{record.protocol.name}.json": record for record in found}
    for path in set(folder.glob("*.json")) - written.keys():
        path.unlink()
    for path, record in written.items():
        score_record.write(path, record)
    return written


def scorer_device(setting: str, scorer: str) -> str:
    """Return the device that a scale's setting means for a scorer: TensorFlow uses CUDA where its build has it."""
    return "auto" if scorer == "tf" and setting != "cpu" else setting
