"""What is run: YAML read into frozen dataclasses; an unknown key is an error that names the nearest one.

Lengths and schedules are in real images seen by the critic (`nimg`).
"""

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from harness.errors import HarnessError, nearest

T = TypeVar("T")
LOADER = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)  # the same YAML, read several times faster where libyaml is there


# ---------------------------------------------------------------- recipe: how a model is trained


@dataclass(frozen=True)
class Optimiser:
    """Adam; `decay: linear` goes from `lr` to 0 over the recipe's length."""

    lr: float
    betas: tuple[float, float]
    eps: float = 1e-8
    decay: str = "constant"  # constant | linear


@dataclass(frozen=True)
class Penalty:
    """A regulariser of the critic's input gradient.

    `gradient`: weight / target^2 * mean((|grad D(x_hat)| - target)^2) at interpolates; `r1`: weight *
    mean(|grad D(x)|^2) at reals (weight = gamma / 2). `every` > 1 is lazy: the term is
    multiplied by `every`.
    """

    kind: str = "none"  # none | gradient | r1
    weight: float = 0.0
    target: float = 1.0
    every: int = 1
    through_augment: bool = True  # r1: gradient with respect to the image before (True) or after (False) augmentation


@dataclass(frozen=True)
class Drift:
    """Keeps the critic near zero: `squared-mean` = weight * E[D(real)]^2; `mean-square` = weight * E[D(real)^2]."""

    kind: str = "none"  # none | squared-mean | mean-square
    weight: float = 0.0


@dataclass(frozen=True)
class Ema:
    """Moving average of the generator's parameters.

    `fixed`: `decay` per generator step. `half-life`: 0.5^(critic batch / max(min(half_life_nimg, ramp * nimg), 1e-8)).
    `start_nimg`: before it the average is a plain copy. `buffers`: `copy` takes the live network's buffers.
    """

    kind: str = "none"  # none | fixed | half-life
    decay: float = 0.0
    half_life_nimg: float = 0.0
    ramp: float | None = None
    start_nimg: int = 0


@dataclass(frozen=True)
class Ada:
    """Adaptive augmentation probability (StyleGAN2-ADA): pipe `bgc`."""

    target: float = 0.6
    speed_nimg: int = 500_000
    every: int = 4


@dataclass(frozen=True)
class Augment:
    """Differentiable augmentation of every image the critic sees, in the order of `policy`."""

    policy: tuple[str, ...] = ()  # of: color, translation, cutout
    translation: float = 0.125
    cutout: float = 0.5
    cutout_probability: float = 1.0  # one draw per critic call
    ada: Ada | None = None


@dataclass(frozen=True)
class Locality:
    """Locality-aware initialisation: attention limited to `half_width` until `until_nimg`, then free."""

    shape: str = "band"  # band (1-D, as released) | window (2-D, as the paper draws it)
    schedule: tuple[tuple[int, int], ...] = ()  # (until_nimg, half_width), ascending


@dataclass(frozen=True)
class Cotraining:
    """Multi-task co-training: super-resolution of average-pooled reals, MSE times `weight` until `until_nimg`."""

    weight: float = 50.0
    until_nimg: int = 0


@dataclass(frozen=True)
class PathLength:
    """StyleGAN2 path-length regularisation: every `every` generator steps, the term is multiplied by `every`."""

    weight: float = 2.0
    every: int = 4
    decay: float = 0.01
    batch_shrink: int = 2  # the term is computed on a generator batch smaller by this factor


@dataclass(frozen=True)
class Growth:
    """Progressive growing: a resolution fades in over `fade_nimg`, stays `stable_nimg`; Adam resets at each change."""

    first_resolution: int = 4
    first_nimg: int = 400_000
    fade_nimg: int = 400_000
    stable_nimg: int = 400_000


@dataclass(frozen=True)
class Recipe:
    """How an experiment is trained: one critic step sees `critic_batch` real images and advances `nimg` by as much."""

    objective: str  # wasserstein | hinge | lsgan | non-saturating
    length_nimg: int
    critic_batch: int
    generator_batch: int
    critic_optimiser: Optimiser
    generator_optimiser: Optimiser
    n_critic: int = 1
    generator_phase: int = 0  # the generator is updated after critic step k when k % n_critic == generator_phase
    simultaneous: bool = False  # critic and generator use the same fakes and the same weights (progressive GAN)
    penalty: Penalty = Penalty()
    drift: Drift = Drift()
    clip_grad_norm: float | None = None
    ema: Ema = Ema()
    augment: Augment = Augment()
    flip: bool = False
    dequantise: str = "none"  # none | wgan-gp: 2 (v / 256 - 0.5) + U(0, 1/128) | sn-gan: v / 128 - 1 + U(0, 1/128)
    locality: Locality | None = None
    cotraining: Cotraining | None = None
    path_length: PathLength | None = None
    growth: Growth | None = None
    precision: str = "float32"  # float32 | bfloat16 (autocast)
    compile: bool = False
    snapshots_nimg: tuple[int, ...] = ()
    grids_nimg: tuple[int, ...] = ()
    log_every_nimg: int = 10_000
    checkpoint_every_nimg: int = 100_000
    source: str = ""  # where the numbers come from


@dataclass(frozen=True)
class Experiment:
    """One row of a table: data set x generator x critic x recipe. `changes` is laid over the named recipe."""

    dataset: str
    generator: dict[str, Any]  # {model: name, **options of that model's build_generator}
    critic: dict[str, Any]
    recipe: str
    changes: dict[str, Any] = field(default_factory=dict)
    checkpoint: str = (
        ""  # released weights instead of a training: a file that `harness import` wrote, in HARNESS_CHECKPOINTS
    )
    reported: tuple[str, ...] = ()  # ledger rows this experiment answers: "table/model/variant"
    note: str = ""


@dataclass(frozen=True)
class Scoring:
    """The protocol of a scale's scores."""

    n_fake: int
    n_real: int
    weights: str  # stand-in | trunk (mixed_7 only) | official
    layer: int = 2048
    clean: dict[str, bool] = field(default_factory=dict)  # further flags of the clean scorer: {kid: true}
    n_choose: int = 5000  # samples of each snapshot that `best` is chosen by
    quantisation: str = "uint8, rounded"  # | uint8, min-max stretched (mimicry's scores)


@dataclass(frozen=True)
class RunKey:
    """One training: experiment and seed. `dataset` repeats the experiment's, for dvc.yaml; `harness plan` checks it."""

    experiment: str
    seed: int
    dataset: str


@dataclass(frozen=True)
class DumpKey:
    """One dump of samples: experiment, seed and snapshot (`last`, `best` or an image count).

    `weights` is the folder that the snapshot lies in, for dvc.yaml: `chosen` for `best`, else `weights`.
    """

    experiment: str
    seed: int
    dataset: str
    snapshot: str = "last"
    weights: str = "weights"


@dataclass(frozen=True)
class Params:
    """A scale: how much of which recipes is run, and how it is scored. One `params.yaml` each."""

    scale: str
    root: str  # from the folder of this file to the repository root; empty at the root
    out: str  # from the folder of this file to the results folder
    scoring: Scoring
    runs: dict[str, RunKey]
    dumps: dict[str, DumpKey]
    choices: dict[str, RunKey] = field(default_factory=dict)  # trainings whose `best` snapshot is looked for
    threads: int = 2
    limit_nimg: int | None = None  # cap on every recipe's length; a capped run is `partial`


# ---------------------------------------------------------------- reading


def read(cls: type[T], value: Any, where: str) -> T:
    """Build frozen dataclass `cls` from nested mappings.

    Raises:
        HarnessError: an unknown key (with the nearest valid one), a missing key or a wrong type, naming `where`.
    """
    return typing.cast(T, _convert(cls, value, where))


def _convert(kind: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        return _convert(next(a for a in args if a is not type(None)), value, where)
    if dataclasses.is_dataclass(kind):
        return _convert_dataclass(kind, value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise HarnessError(f"{where}: expected a list, got {value!r}.")
        if args[-1] is Ellipsis:
            return tuple(_convert(args[0], v, f"{where}[{i}]") for i, v in enumerate(value))
        if len(value) != len(args):
            raise HarnessError(f"{where}: expected {len(args)} values, got {value!r}.")
        return tuple(_convert(a, v, f"{where}[{i}]") for i, (a, v) in enumerate(zip(args, value, strict=True)))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise HarnessError(f"{where}: expected a mapping, got {value!r}.")
        return {str(k): _convert(args[1], v, f"{where}.{k}") for k, v in value.items()}
    if kind is Any:
        return value
    if kind is float and isinstance(value, str):  # YAML reads 1e-4 as text
        try:
            return float(value)
        except ValueError:
            raise HarnessError(f"{where}: expected a number, got {value!r}.") from None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, float | str) and not isinstance(value, bool):
        try:
            if float(value) == int(float(value)):
                return int(float(value))
        except ValueError:
            pass
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise HarnessError(f"{where}: expected {kind.__name__}, got {value!r}.")
    return value


def _convert_dataclass(cls: Any, value: Any, where: str) -> Any:
    if isinstance(value, cls):
        return value
    if not isinstance(value, Mapping):
        raise HarnessError(
            f"{where}: expected a mapping with keys {', '.join(f.name for f in dataclasses.fields(cls))}."
        )
    hints = typing.get_type_hints(cls)
    for key in value:
        if key not in hints:
            raise HarnessError(f"{where}: unknown key '{key}'.{nearest(str(key), hints)}")
    for f in dataclasses.fields(cls):
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and f.name not in value:
            raise HarnessError(f"{where}: missing key '{f.name}'.")
    return cls(**{key: _convert(hints[key], v, f"{where}.{key}") for key, v in value.items()})


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML mapping.

    Raises:
        HarnessError: missing file, invalid YAML, or not a mapping.
    """
    try:
        value = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=LOADER)
    except FileNotFoundError:
        raise HarnessError(f"{path}: no such file.") from None
    except yaml.YAMLError as error:
        raise HarnessError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(value, dict):
        raise HarnessError(f"{path}: expected a mapping of names, got {type(value).__name__}.")
    return value


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `changes` over `base`, mapping by mapping; other values are replaced whole."""
    out = dict(base)
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(out.get(key), Mapping):
            out[key] = merge(out[key], value)
        else:
            out[key] = value
    return out


def digest(value: Any) -> str:
    """Return the first 16 hexadecimal digits of the sha256 of a JSON-able value (or dataclass) with sorted keys."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
