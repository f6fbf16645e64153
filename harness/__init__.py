"""TransGAN-bench: train, sample and score GANs under one protocol, and hold the scores against reported ones."""

import operator
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.records.results import Results
    from harness.records.score_record import ScoreRecord
    from harness.records.train_record import TrainRecord


def train(
    experiment: str,
    seed: int = 0,
    *,
    scale: Path | str | None = None,
    device: str | None = None,
    threads: int | None = None,
) -> "TrainRecord":
    """Train one experiment of a scale, as `harness train` does; see `harness.training.experiment.train`.

    Args:
        scale: a `params.yaml` or its folder; default: the nearest one at or above the working folder.
        device: `auto`, `cpu`, `cuda` or `cuda:N`; default: `cpu`.
        threads: CPU threads; default: the scale's.

    Example:
        >>> import harness
        >>> record = harness.train("quick-cifar10-transgan", seed=0)
        >>> record.weights_sha256["last"]

    Raises:
        HarnessError: an unknown experiment, unfit data, a training that was stopped or diverged, or a full disk.
    """
    from harness.training import experiment as stage

    return stage.train(experiment, seed, scale=scale, device=device, threads=threads)


def score(
    samples: Path | str,
    reference: Path | str,
    *,
    protocol: str | None = None,
    scorer: str | None = None,
    weights: str | None = None,
    layer: int | None = None,
    n: int | None = None,
    n_real: int | None = None,
    splits: int | None = None,
    bias: bool | None = None,
    kid: bool = False,
    extras: bool = False,
    bootstrap: int = 0,
    resizer: str | None = None,
    declared: dict[str, Any] | None = None,
    record: Path | str | None = None,
    protocol_name: str | None = None,
    allow_jpeg: bool = False,
    batch: int = 50,
    device: str | None = None,
    threads: int | None = None,
    cache: Path | str | None = None,
    root: Path | str | None = None,
) -> "ScoreRecord":
    """Score images against a reference, as `harness score` does.

    Args:
        samples: npy, npz (`images` or `arr_0`) of uint8 [N, R, R, 3], or a folder of PNGs.
        reference: the like, a packed data set's name or folder, or statistics (npz with `mu` and `sigma`).
        protocol: a named way of scoring (`harness protocols`), which decides the following options down to `bias`, and
            `resizer`; one that is given all the same must agree with it.
        scorer: `tf`, `torch` or `clean`; default: the protocol's first, else `tf`.
        weights: of Inception: `official` (default), `trunk`, `stand-in` or a file.
        layer: 64, 192, 768 or 2048 channels (default).
        n, n_real: the first so many images (None: all); of statistics from elsewhere, how many images made them.
        splits, bias: of the Inception Score; default: 10, without.
        kid: kernel distance, too; features are then kept in the cache.
        extras: FID extrapolated to infinitely many samples, improved precision and recall (k = 3, on the scorer's own
            features), too; features are then kept.
        bootstrap: draws of images for the interval of FID, in place of the jackknife over blocks; features are kept.
        resizer: `tf1-bilinear`, ... (see `harness score --help`); default: the scorer's own.
        declared: protocol of a reference or of samples that do not say it themselves, e.g. {"split": "train"}.
        record: the samples' `samples.json`; default: beside them, or where their scale keeps it.
        protocol_name: default: `custom`; the names of protocols are not taken.
        device: `auto` (default: CUDA where torch, or TensorFlow, sees it), `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads; default: 2.
        cache: default: HARNESS_CACHE, else `.cache` of the checkout.
        root: checkout whose data sets are known by name; default: the one around the working folder.

    Example:
        >>> import harness
        >>> record = harness.score("fakes/", "cifar10", n=10_000)
        >>> record.values.fid, record.protocol.n_real

    Raises:
        HarnessError: unfit images or statistics, missing weights, an undefined combination, or images that are not
            those that a record names.
    """
    from harness.errors import HarnessError
    from harness.metrics.as_protocol import Options, request
    from harness.metrics.extractors.base import Setup
    from harness.metrics.request import Request
    from harness.metrics.score import score
    from harness.paths import cache_of

    root, place = (Path(folder) if folder is not None else None for folder in (root, cache))
    if declared is not None and not isinstance(declared, Mapping):
        raise HarnessError(f"declared={declared!r}: expected a mapping, such as {{'ema': True}}.")
    counts = {"layer": layer, "n": n, "n_real": n_real, "splits": splits, "bootstrap": bootstrap, "batch": batch}
    whole = {name: _whole(name, value) for name, value in (counts | {"threads": threads}).items()}
    if isinstance(samples, str) and samples.startswith("./"):
        samples = os.path.abspath(samples)  # a path, even where its name is that of a data set
    base = Request(
        Path(samples),
        str(reference),
        setup=Setup(
            batch=50 if whole["batch"] is None else whole["batch"],
            threads=2 if whole["threads"] is None else whole["threads"],
            device=device or "auto",
            cache=place or cache_of(root),
        ),
        record=Path(record) if record is not None else None,
        declared=dict(declared or {}),
        allow_jpeg=allow_jpeg,
        extras=extras,
        bootstrap=whole["bootstrap"] or 0,
        root=root,
    )
    options = Options(
        scorer, weights, whole["layer"], whole["n"], whole["n_real"], whole["splits"], bias, resizer, protocol_name
    )
    return score(request(base, options, protocol, kid, root))


def _whole(name: str, value: Any) -> Any:
    """Return a whole number as an int, NumPy's included; None stays None."""
    from harness.errors import HarnessError

    try:
        if isinstance(value, bool):
            raise TypeError
        return None if value is None else operator.index(value)
    except TypeError:
        raise HarnessError(f"{name}={value!r}: expected a whole number.") from None


def load_results(path: Path | str = "results") -> "Results":
    """Read the measured scores of one scale (`results/quick`) or of all (`results`) as tidy data frames.

    Returns:
        `scores`, `training` and `curves`: columns of numbers are numeric, `scale` is a column of all; `summary()` pools
        seeds (n, mean, sd, Student's interval), never snapshots or protocols.

    Example:
        >>> import harness
        >>> results = harness.load_results("results/quick")
        >>> results.summary().query("metric == 'fid' and snapshot == 'last'")

    Raises:
        HarnessError: no scores there, or a broken file.
    """
    from harness.records import results

    return results.load(path)
