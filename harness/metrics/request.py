"""What is scored and how, and everything that can be refused before a pass begins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.config.protocols import VARIANTS, Planned
from harness.config.reader import check_name
from harness.data.card import check_definition
from harness.data.images import Images, open_dump, open_images, record_of
from harness.errors import HarnessError, nearest
from harness.metrics import reference_statistics
from harness.metrics.extractors.base import LAYERS, RESIZERS, Setup, resizer_of
from harness.metrics.find import find_reference, find_samples
from harness.metrics.inception.weights import NAMES
from harness.records import chain
from harness.records.score_record import SHA256

OF_SAMPLES: dict[str, type] = {  # what a user may say of samples that do not say it themselves
    "ema": bool,
    "snapshot": str,
    "quantisation": str,
    "n_fake": int,
    "resolution": int,
}
DECLARED: dict[str, type] = {  # that, and what a user may say of a reference
    **OF_SAMPLES,
    "dataset": str,
    "split": str,
    "crop": str,
    "resize": str,
    "stand_in_data": bool,
    "n_real": int,
    "real_pixels_sha256": str,
    "resizer": str,  # of statistics from elsewhere, as the next
    "inception": str,
}
KINDS = {bool: "true or false", int: "a count from 1", str: "text"}  # in words
WORDS = {  # declarations that must be one of the field's words -> those words
    "quantisation": tuple(VARIANTS),
    "snapshot": ("last", "best", "checkpoint"),  # or an image count
    "resizer": tuple(sorted({resizer for known in RESIZERS.values() for resizer in known})),
    "inception": NAMES,
}
LEAST_DRAWS = 20  # of a bootstrap: the sd of fewer is off by more than a sixth
CUSTOM = "custom"  # name of a score that no named protocol was asked for


@dataclass(frozen=True)
class Request:
    """What is scored, and how. `n`, `n_real`: the first so many images (None: all).

    `is_fewer_allowed`: if there are fewer samples than `n`, all of them are scored, with a caveat.
    """

    samples: Path  # as the reference
    reference: str  # folder, npy, npz, statistics npz, packed data set, or the name of one in data/
    scorer: str = "tf"
    setup: Setup = field(default_factory=Setup)
    record: Path | None = None  # samples.json of the dump, when it is not beside it
    n: int | None = None
    n_real: int | None = None  # of statistics from elsewhere: how many images made them
    is_splits: int = 10
    is_bias: bool = False  # add softmax/biases to the Inception Score's logits
    kid: bool = False
    extras: bool = False  # FID at infinitely many images, precision and recall
    bootstrap: int = 0  # draws of images for the interval of FID; 0: a jackknife over blocks
    resizer: str | None = None  # one of `extractors.base.RESIZERS`; None: the scorer's own
    protocol_name: str | None = None  # default: `custom`
    protocol_version: int = 1
    planned: Planned | None = None  # what the named protocol asks for, which samples and weights are held against
    remarks: tuple[str, ...] = ()  # caveats that are known before anything is opened
    is_fewer_allowed: bool = False
    declared: dict[str, Any] = field(default_factory=dict)  # keys and types of DECLARED
    allow_jpeg: bool = False
    root: Path | None = None  # checkout whose data sets are known by name; default: that of the working folder

    @property
    def keeps_real_features(self) -> bool:
        """Whether the features of the real images must be kept."""
        return self.kid or self.extras

    @property
    def keeps_features(self) -> bool:
        """Whether the features of the samples must be kept."""
        return self.keeps_real_features or self.bootstrap > 0

    def shared(self) -> tuple[Any, ...]:
        """Return what requests have in common that one pass over the samples can serve."""
        floats = self.declared.get("quantisation")
        return (self.samples, self.record, self.scorer, self.setup, self.resizer, self.allow_jpeg, self.root, floats)


@dataclass(frozen=True)
class Opened:
    """One request's images: `reals` is None if `target`, the reference's path, is a statistics file.

    `stated`: what a statistics file in place of the samples says of them, as a declaration would; {} for images.
    """

    request: Request
    samples: Images
    target: Path
    reals: Images | None
    stated: Mapping[str, int | None] = field(default_factory=dict)

    @property
    def is_samples_foreign(self) -> bool:
        """Whether the samples are statistics that this harness did not make."""
        return bool(self.stated) and self.stated["n_fake"] is None

    @property
    def caveats(self) -> tuple[str, ...]:
        """What the reader must know of the images."""
        reals = self.reals.caveats if self.reals is not None else ()
        of_images = (*(f"samples: {text}" for text in self.samples.caveats), *(f"reference: {text}" for text in reals))
        return (*self.request.remarks, *of_images)


@dataclass(frozen=True)
class Inputs:
    """What was opened for requests that share a pass; the samples' record is {} for samples from elsewhere.

    `statistics`: the file that stands in place of the samples.
    """

    sample_record: dict[str, Any]
    requests: tuple[Opened, ...]
    statistics: Path | None = None

    @property
    def samples(self) -> Images:
        """As many as one pass must read."""
        return max((one.samples for one in self.requests), key=len)

    @property
    def reals(self) -> dict[Path, Images]:
        """As many of each reference as one pass must read."""
        longest: dict[Path, Images] = {}
        for one in self.requests:
            if one.reals is not None and len(one.reals) > len(longest.get(one.target, ())):
                longest[one.target] = one.reals
        return longest

    def counts(self, target: Path) -> set[int]:
        """The numbers of first images of a reference that requests ask for."""
        return {len(one.reals) for one in self.requests if one.reals is not None and one.target == target}


def open_inputs(requests: Sequence[Request]) -> Inputs:
    """Check requests that share a pass and open their images, the samples first.

    Raises:
        HarnessError: options that make no sense; images that are missing, unfit, too few or of two sizes; a record that
            disagrees with the images or with the training it names.
    """
    assert requests, "nothing is asked for"
    first = requests[0]
    assert all(one.shared() == first.shared() for one in requests), "requests of one pass differ in what they share"
    for request in requests:
        check_options(request)
    path, references = find_samples(first.samples, first.root), dict[Path, Images]()
    if reference_statistics.is_statistics(path):
        return Inputs({}, tuple(_opened_statistics(request, path, references) for request in requests), path)
    floats = first.declared.get("quantisation") == "float"
    samples, record = open_dump(path, first.record, first.allow_jpeg, floats)
    check_definition(samples.card, path, first.root)
    place = first.record or record_of(path)
    if record:
        assert place is not None, "it was read"
        chain.check_sample(place, record)
    if first.resizer == "pil-bicubic" and "float" in (samples.quantisation, first.declared.get("quantisation")):
        raise HarnessError(
            f"{samples.path}: floats, but --resizer pil-bicubic takes 8-bit images; score another variant."
        )
    return Inputs(record, tuple(_opened(request, samples, references) for request in requests))


def _opened(request: Request, samples: Images, references: dict[Path, Images]) -> Opened:
    """Open the reference of one request, unless it is among `references` already."""
    n, samples = request.n, _held_against_plan(request, samples)
    if n is not None and request.is_fewer_allowed and len(samples) < n:
        fewer = f"{len(samples):,}, fewer than the {n:,} of protocol {request.protocol_name}"
        samples, n = replace(samples, caveats=(*samples.caveats, fewer)), None
    samples = samples.first(n)
    if request.is_splits > len(samples) and request.setup.layer == 2048 and request.scorer != "clean":
        raise HarnessError(f"{samples.path}: {len(samples)} images in {request.is_splits} splits; use fewer --splits.")
    target = find_reference(request.reference, request.root)
    if target not in references and reference_statistics.is_statistics(target):
        if request.keeps_real_features:
            what = "KID needs" if request.kid else "precision and recall need"
            raise HarnessError(f"{target}: statistics hold no features, which {what}; give the real images.")
        return Opened(request, samples, target, None)
    if target not in references:
        references[target] = open_images(target, allow_jpeg=request.allow_jpeg)
        check_definition(references[target].card, target, request.root)
    reals = references[target].first(request.n_real)
    if reals.resolution != samples.resolution:
        raise HarnessError(
            f"{samples.path} has {samples.resolution} px and {target} {reals.resolution} px; score images of one size."
        )
    return Opened(request, samples, target, reals)


def _held_against_plan(request: Request, samples: Images) -> Images:
    """Return the samples, with a caveat if nobody says whether they are quantised as the named protocol asks.

    Raises:
        HarnessError: they are quantised otherwise.
    """
    if request.planned is None:
        return samples
    name, asked = request.planned.protocol, request.planned.quantisation
    said = samples.quantisation or request.declared.get("quantisation")
    if said is None:
        return replace(samples, caveats=(*samples.caveats, f"quantisation unknown, {asked} under protocol {name}"))
    if said != asked:
        raise HarnessError(
            f"{samples.path}: the samples are `{said}`, protocol '{name}' says `{asked}`; give such samples "
            f"(of a dump: {VARIANTS[asked]}.npy), or leave --protocol out."
        )
    return samples


class _Unseen:
    """The pixels of images that only statistics are left of."""

    def __init__(self, n: int, resolution: int):
        self.shape = (n, resolution, resolution, 3)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: slice) -> np.ndarray:
        raise AssertionError("statistics hold no pixels")


def _opened_statistics(request: Request, path: Path, references: dict[Path, Images]) -> Opened:
    """Open the reference of a request whose samples are a statistics file."""
    unfit = {"--kid": request.kid, "--extras": request.extras, "--bootstrap": request.bootstrap}
    planned = request.planned
    unfit |= {"--n": request.n is not None and planned is None, "--run": request.record is not None}
    for option in (option for option, is_asked in unfit.items() if is_asked):
        raise HarnessError(f"{path}: statistics are of all their images and hold no features; leave out {option}.")
    count, known = reference_statistics.count(path), request.declared
    n, side = count or known.get("n_fake"), known.get("resolution")
    for name, value in (("n_fake", n), ("resolution", side)):
        if value is None:
            raise HarnessError(f"{path}: statistics do not say `{name}` of their samples; add --declare {name}=N.")
    assert n is not None, "checked above"
    if planned is not None and n > planned.n_fake:
        raise HarnessError(f"{path}: of {n:,} samples, protocol '{planned.protocol}' says {planned.n_fake:,}.")
    assert side is not None, "checked above"
    of_file = "" if count else "; samples_sha256 is of their file"
    samples = Images(_Unseen(n, side), path, found=f"statistics of {n:,} images", caveats=(f"statistics{of_file}",))
    unsplit = replace(request, is_splits=1)  # there is no Inception Score to split
    stated = {"n_fake": count, "resolution": None}
    return replace(_opened(unsplit, samples, references), request=request, stated=stated)


def check_options(request: Request) -> None:
    """Raise HarnessError, naming option and value, for what no images could make sense of."""
    setup = request.setup
    resizer_of(request.scorer, request.resizer)
    if setup.layer not in LAYERS:
        raise HarnessError(f"--layer {setup.layer}: unknown; valid: {', '.join(map(str, LAYERS))}.")
    counts = (("--n", request.n, 2), ("--n-real", request.n_real, 2), ("--splits", request.is_splits, 1))
    for option, count, least in (*counts, ("--batch", setup.batch, 1), ("--threads", setup.threads, 1)):
        if count is not None and count < least:
            raise HarnessError(f"{option} {count}: must be at least {least}.")
    if request.protocol_name is not None:
        check_name(request.protocol_name, "--protocol-name")
    if request.is_bias and (request.scorer == "clean" or setup.layer != 2048):
        raise HarnessError("--bias: the Inception Score exists only at layer 2048 of the tf and torch scorers.")
    if request.bootstrap and request.bootstrap < LEAST_DRAWS:
        raise HarnessError(f"--bootstrap {request.bootstrap}: a spread needs at least {LEAST_DRAWS} draws.")
    for key, value in request.declared.items():
        _check_declared(key, value)


def _check_declared(key: str, value: Any) -> None:
    if key not in DECLARED:
        raise HarnessError(f"--declare {key}: no such entry of a protocol.{nearest(key, DECLARED)}")
    if type(value) is not DECLARED[key] or (isinstance(value, int) and DECLARED[key] is int and value < 1):
        raise HarnessError(f"--declare {key}={value}: expected {KINDS[DECLARED[key]]}.")
    words = WORDS.get(key, ())
    if words and value not in words and not (key == "snapshot" and str(value).isdecimal()):
        images = ", or an image count" if key == "snapshot" else ""
        raise HarnessError(f"--declare {key}={value}: expected one of {'; '.join(words)}{images}.")
    if key == "real_pixels_sha256" and not SHA256.fullmatch(str(value)):
        raise HarnessError(f"--declare {key}={value}: expected 64 hexadecimal digits.")
