"""What a recipe, an experiment and a scale are: frozen dataclasses, read from YAML by `harness.config.reader`.

Lengths and schedules are in real images seen by the discriminator (`nimg`).
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from harness.config.ranges import (
    Count,
    Decay,
    Device,
    Folder,
    Fraction,
    Images,
    Matches,
    Name,
    NonNegative,
    Positive,
    Seed,
    Several,
    Snapshot,
    Threads,
)

# ---------------------------------------------------------------- recipe: how a model is trained


@dataclass(frozen=True)
class Optimiser:
    """Adam; `decay: linear` goes from `lr` to 0 over the recipe's length."""

    lr: Positive
    betas: tuple[Decay, Decay]
    eps: Positive = 1e-8
    decay: Literal["constant", "linear"] = "constant"


@dataclass(frozen=True)
class Penalty:
    """A regulariser of the discriminator's input gradient.

    `gradient`: weight / target^2 * mean((|grad D(x_hat)| - target)^2) at interpolates; `r1`: weight *
    mean(|grad D(x)|^2) at reals (weight = gamma / 2). `every` > 1 is lazy: the term is
    multiplied by `every`.
    """

    kind: Literal["none", "gradient", "r1"] = "none"
    weight: NonNegative = 0.0
    target: Positive = 1.0
    every: Count = 1
    through_augment: bool = True  # r1: gradient with respect to the image before (True) or after (False) augmentation


@dataclass(frozen=True)
class Drift:
    """Keeps the discriminator near zero: `squared-mean` = weight * E[D(real)]^2; `mean-square` = weight *
    E[D(real)^2]."""

    kind: Literal["none", "squared-mean", "mean-square"] = "none"
    weight: NonNegative = 0.0


@dataclass(frozen=True)
class Ema:
    """Moving average of the generator's parameters.

    `fixed`: `decay` per generator step. `half-life`: 0.5^(discriminator batch / max(min(half_life_nimg, ramp * nimg),
    1e-8)).
    `start_nimg`: before it the average is a plain copy. `buffers`: `copy` takes the live network's buffers.
    """

    kind: Literal["none", "fixed", "half-life"] = "none"
    decay: Decay = 0.0
    half_life_nimg: NonNegative = 0.0
    ramp: NonNegative | None = None
    start_nimg: Images = 0


@dataclass(frozen=True)
class Ada:
    """Adaptive augmentation probability (StyleGAN2-ADA): pipe `bgc`."""

    target: Fraction = 0.6
    speed_nimg: Count = 500_000
    every: Count = 4


@dataclass(frozen=True)
class Augment:
    """Differentiable augmentation of every image the discriminator sees, in the order of `policy`."""

    policy: tuple[Literal["color", "translation", "cutout"], ...] = ()
    translation: Fraction = 0.125
    cutout: Fraction = 0.5
    cutout_probability: Fraction = 1.0  # one draw per discriminator call
    ada: Ada | None = None


@dataclass(frozen=True)
class Locality:
    """Locality-aware initialisation: attention limited to `half_width` until `until_nimg`, then free."""

    shape: Literal["band", "window"] = "band"  # 1-D, as released, or 2-D, as the paper draws it
    schedule: tuple[tuple[Images, Images], ...] = ()  # (until_nimg, half_width), ascending


@dataclass(frozen=True)
class Cotraining:
    """Multi-task co-training: super-resolution of average-pooled reals, MSE times `weight` until `until_nimg`."""

    weight: NonNegative = 50.0
    until_nimg: Images = 0


@dataclass(frozen=True)
class PathLength:
    """StyleGAN2 path-length regularisation: every `every` generator steps, the term is multiplied by `every`."""

    weight: NonNegative = 2.0
    every: Count = 4
    decay: Fraction = 0.01
    batch_shrink: Count = 2  # the term is computed on a generator batch smaller by this factor


@dataclass(frozen=True)
class Growth:
    """Progressive growing: a resolution fades in over `fade_nimg`, stays `stable_nimg`; Adam resets at each change."""

    first_resolution: Count = 4
    first_nimg: Images = 400_000
    fade_nimg: Count = 400_000
    stable_nimg: Images = 400_000


@dataclass(frozen=True)
class Recipe:
    """How an experiment is trained: one discriminator step sees `discriminator_batch` real images and advances `nimg`
    by as much."""

    objective: Literal["wasserstein", "hinge", "lsgan", "non-saturating"]
    length_nimg: Images
    discriminator_batch: Count
    generator_batch: Count
    discriminator_optimiser: Optimiser
    generator_optimiser: Optimiser
    n_critic: Count = 1
    generator_phase: Images = (
        0  # the generator is updated after discriminator step k when k % n_critic == generator_phase
    )
    simultaneous: bool = False  # discriminator and generator use the same fakes and the same weights (progressive GAN)
    penalty: Penalty = Penalty()
    drift: Drift = Drift()
    clip_grad_norm: Positive | None = None
    ema: Ema = Ema()
    augment: Augment = Augment()
    flip: bool = False
    # wgan-gp: 2 (v / 256 - 0.5) + U(0, 1/128); sn-gan: v / 128 - 1 + U(0, 1/128)
    dequantise: Literal["none", "wgan-gp", "sn-gan"] = "none"
    locality: Locality | None = None
    cotraining: Cotraining | None = None
    path_length: PathLength | None = None
    growth: Growth | None = None
    precision: Literal["float32", "bfloat16"] = "float32"  # bfloat16: by autocast
    compile: bool = False
    snapshots_nimg: tuple[Count, ...] = ()
    grids_nimg: tuple[Images, ...] = ()
    log_every_nimg: Count = 10_000
    checkpoint_every_nimg: Count = 100_000
    source: str = ""  # where the numbers come from


@dataclass(frozen=True)
class Experiment:
    """One row of a table: data set x generator x discriminator x recipe. `changes` is laid over the named recipe."""

    dataset: Name
    generator: dict[str, Any]  # {model: name, **options of that model's build_generator}
    discriminator: dict[str, Any]
    recipe: Name
    changes: dict[str, Any] = field(default_factory=dict)
    checkpoint: Folder = ""  # released weights, not a training: what `harness import` wrote to data/checkpoints
    reported: tuple[str, ...] = ()  # ledger rows this experiment answers: "table/model/variant"
    stands_for: str = ""  # a miniature of that experiment: shown beside its row, never compared with it
    note: str = ""


@dataclass(frozen=True)
class OverlayException:
    """Experiments for which an overlay has other changes."""

    experiments: tuple[Name, ...]
    changes: dict[str, Any]
    because: str


@dataclass(frozen=True)
class Overlay:
    """Changes to every recipe of a scale, e.g. of its arithmetic; scores made under one are marked."""

    about: str
    changes: dict[str, Any]
    exceptions: tuple[OverlayException, ...] = ()

    def changes_of(self, experiment: str) -> dict[str, Any]:
        """Return what is changed in one experiment's recipe."""
        found: dict[str, Any] = dict(self.changes)
        for exception in self.exceptions:
            if experiment in exception.experiments:
                found |= exception.changes
        return found


Scorer = Literal["tf", "torch", "clean"]
Variant = Literal["rounded", "truncated", "float", "min-max"]  # files of a dump
Stamp = Annotated[str, Matches(r"[1-9][0-9]*-[0-9a-f]{8}", "the version and the digest of a planned score")]


@dataclass(frozen=True)
class RunKey:
    """One training: experiment and seed. `dataset` repeats the experiment's; `harness plan` checks it."""

    experiment: Name
    seed: Seed
    dataset: Name
    limit_nimg: Count | None = None  # a cap on this training alone


@dataclass(frozen=True)
class DumpKey:
    """One dump of samples, and its scores: experiment, seed and snapshot (`last`, `best` or an image count).

    `weights` is the folder that the snapshot lies in, for dvc.yaml: `chosen` for `best`, else `weights`. `scores`: what
    each scorer computes, protocol by protocol (see `config.protocols.Planned.stamp`); `n_fake` and `variants` are what
    all of them need, `references` names the file with the hashes of the images that they are held against.
    """

    experiment: Name
    seed: Seed
    dataset: Name
    n_fake: Several
    variants: tuple[Variant, ...]
    references: Name
    scores: dict[Scorer, dict[Name, Stamp]]
    snapshot: Snapshot = "last"
    weights: Literal["weights", "chosen"] = "weights"


@dataclass(frozen=True)
class ChoiceKey:
    """One training whose `best` snapshot is looked for, under a protocol with its stamp."""

    experiment: Name
    seed: Seed
    dataset: Name
    protocol: Name
    stamp: Stamp
    references: Name


@dataclass(frozen=True)
class Params:
    """A scale: how much of which recipes is run, and how it is scored. One `params.yaml` each."""

    scale: Name
    root: Folder  # from the folder of this file to the repository root; empty at the root
    out: Folder  # from the folder of this file to the results folder
    runs: dict[str, RunKey]
    dumps: dict[str, DumpKey]
    choices: dict[str, ChoiceKey] = field(default_factory=dict)
    overlay: str = ""  # an entry of experiments/overlays.yaml, laid over every recipe
    device: Device = "auto"  # auto: CUDA where torch sees it
    threads: Threads = 2
    limit_nimg: Count | None = None  # cap on every recipe's length; a capped run is `partial`
