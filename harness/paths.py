"""Every path of a checkout and of a scale, in one place.

A *checkout* is a folder with `experiments/datasets.yaml`. Commands look for it upwards from the working folder, so they
work in any folder of a checkout and never read the data, experiments or ledger of another one, whichever the package
was installed from. A wheel carries the experiments and the ledger of the checkout that it was built from (`setup.py`);
they are read where no folder upwards is a checkout, and are never mixed with those of one.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import HarnessError

MARKER = Path("experiments") / "datasets.yaml"
PARAMS = "params.yaml"
HISTORY = "history.csv"  # of a training
RESOURCES = "resources.yaml"  # beside a dvc.yaml: what `harness launch` gives its stages
PLOT = ("run", "nimg", "value")  # columns of a file of `plots/`
CACHE_VARIABLE = "HARNESS_CACHE"
INSTALLED = Path(__file__).resolve().parent / "checkout"  # of a wheel; a checkout's own package has none


def find_root(start: Path | None = None) -> Path:
    """Return the checkout that `start` (default: the working folder) lies in, as an absolute path.

    Where a wheel is installed and the working folder is in no checkout, it is `INSTALLED`, which can only be read.

    Raises:
        HarnessError: no folder above `start` is a checkout.
    """
    place = Path(os.path.abspath(start if start is not None else Path.cwd()))
    for folder in (place, *place.parents):
        if (folder / MARKER).is_file():
            return folder
    if start is None and (INSTALLED / MARKER).is_file():
        return INSTALLED
    raise HarnessError(
        f"{place}: not inside a checkout (no folder above it holds {MARKER}); "
        "change into one, or name it with --root DIR."
    )


def find_clone(root: Path | None = None) -> Path:
    """Return the checkout as `find_root` does, for what writes into it or needs more of it than a wheel carries.

    Raises:
        HarnessError: no folder above is a checkout.
    """
    found = find_root(root)
    if found == INSTALLED:
        raise HarnessError(
            f"{Path.cwd()}: this needs a checkout, and no folder above holds {MARKER}. The installed package alone can "
            "score samples, pack data sets and show models, protocols, experiments and reported numbers; else clone "
            "the repository and change into it, or name it with --root DIR."
        )
    return found


def find_params(root: Path | None = None, start: Path | None = None) -> Path:
    """Return the nearest `params.yaml` at or above `start` within its checkout, or that of `root` if it is given.

    Raises:
        HarnessError: not inside a checkout, or no params.yaml up to its root.
    """
    if root is not None:
        start = root = find_root(root)
    else:
        root = find_clone(start)
        start = Path(os.path.abspath(start if start is not None else Path.cwd()))
    for folder in (start, *start.parents):
        if (folder / PARAMS).is_file():
            return folder / PARAMS
        if folder == root:
            break
    raise HarnessError(f"{root}: holds no {PARAMS}; name a scale's with --params FILE.")


def user_cache() -> Path:
    """Return the cache to use outside a checkout: HARNESS_CACHE, else a folder of the user's own cache."""
    place = os.environ.get(CACHE_VARIABLE)
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(place) if place else base / "transgan-bench"


def cache_of(root: Path | None = None) -> Path:
    """Return the cache of the checkout `root`; without it, of the one around the working folder, else `user_cache`.

    Raises:
        HarnessError: `root` is no checkout.
    """
    if root is not None:
        return Checkout.find(root).cache
    try:
        return Checkout.find().cache
    except HarnessError:
        return user_cache()


@dataclass(frozen=True)
class Checkout:
    """Folders and files of one checkout."""

    root: Path

    @classmethod
    def find(cls, root: Path | None = None) -> "Checkout":
        """Return the checkout at or above `root` (default: the working folder); see `find_root`."""
        return cls(find_root(root))

    @classmethod
    def clone(cls, root: Path | None = None) -> "Checkout":
        """Return a checkout that can be written; see `find_clone`."""
        return cls(find_clone(root))

    @property
    def experiments(self) -> Path:
        """What is run, as YAML."""
        return self.root / "experiments"

    @property
    def datasets(self) -> Path:
        """Definitions of the data sets."""
        return self.root / MARKER

    @property
    def versions(self) -> Path:
        """Integer versions of trainer, sampler and scorers."""
        return self.experiments / "versions.yaml"

    @property
    def suites(self) -> Path:
        """What each scale runs, a file a scale."""
        return self.experiments / "suites"

    @property
    def protocols(self) -> Path:
        """Named ways of scoring."""
        return self.experiments / "protocols"

    @property
    def devices(self) -> Path:
        """What machines compute with."""
        return self.experiments / "devices.yaml"

    @property
    def overlays(self) -> Path:
        """Named changes to every recipe of a scale."""
        return self.experiments / "overlays.yaml"

    @property
    def claims(self) -> Path:
        """What the paper argues, as contrasts of experiments."""
        return self.experiments / "claims.yaml"

    @property
    def tolerances(self) -> Path:
        """How far a measured score may be from a reported one."""
        return self.experiments / "tolerances.yaml"

    @property
    def results(self) -> Path:
        """What was measured, a folder a scale, and the ledger."""
        return self.root / "results"

    @property
    def reported(self) -> Path:
        """The ledger of reported scores."""
        return self.results / "reported"

    @property
    def history(self) -> Path:
        """Our own recorded scores."""
        return self.results / "history.csv"

    @property
    def verified(self) -> Path:
        """Claims that a recorded test run verified."""
        return self.results / "verified.json"

    @property
    def bench(self) -> Path:
        """Speed against named peers."""
        return self.results / "bench"

    @property
    def effects(self) -> list[Path]:
        """What each field of a protocol is worth, a record for each number of channels that was measured."""
        return sorted(self.bench.glob("effects-*.json"), key=lambda path: int(path.stem.split("-")[1]))

    @property
    def cache(self) -> Path:
        """Inception weights, reference statistics, features: HARNESS_CACHE, else `.cache`."""
        place = os.environ.get(CACHE_VARIABLE)
        return Path(place) if place else user_cache() if self.root == INSTALLED else self.root / ".cache"

    @property
    def checkpoints(self) -> Path:
        """Working state of trainings; never an output of a pipeline."""
        return self.root / ".checkpoints"

    def data(self, name: str = "") -> Path:
        """The folder of packed data sets, or one of them; without a checkout in the user's cache."""
        return (user_cache() if self.root == INSTALLED else self.root) / "data" / name

    def released(self, name: str) -> Path:
        """A released checkpoint, as `harness import` wrote it."""
        return self.data("checkpoints") / name

    @property
    def self_test(self) -> Path:
        """What the scorers gave on real data with the official weights; see `metrics.self_test`."""
        return self.results / "self-test.json"

    def train_records(self) -> list[Path]:
        """Every train.json of every scale, in order."""
        return sorted(self.results.glob("*/records/*/seed*/train/train.json"))


@dataclass(frozen=True)
class ScaleFolder:
    """Folders and files of one scale's results, from the folder `out`."""

    out: Path

    def plan(self, experiment: str, seed: int) -> Path:
        """Everything that decides one training."""
        return self.out / "plan" / f"{run_name(experiment, seed)}.json"

    def plans(self) -> list[Path]:
        """Every plan file, in order."""
        return sorted((self.out / "plan").glob("*.json"))

    def artifacts(self, experiment: str, seed: int) -> Path:
        """Big files of one training, kept by DVC: weights, chosen weights and dumps."""
        return self.out / "runs" / experiment / f"seed{seed}"

    def training(self, experiment: str, seed: int) -> "TrainingFolders":
        """What one training leaves."""
        return TrainingFolders(self.artifacts(experiment, seed), self.records(experiment, seed))

    def weights(self, experiment: str, seed: int, snapshot: str) -> Path:
        """The generator of one snapshot: `last`, `best` or an image count."""
        return self.artifacts(experiment, seed) / weights_folder(snapshot) / f"{snapshot}.safetensors"

    def samples(self, experiment: str, seed: int, snapshot: str) -> Path:
        """The dump of one snapshot: a folder with one file a variant."""
        return self.artifacts(experiment, seed) / snapshot / "samples"

    def dump(self, experiment: str, seed: int, snapshot: str, variant: str = "rounded") -> Path:
        """One file of a dump; see `sample_record.VARIANTS`."""
        return self.samples(experiment, seed, snapshot) / f"{variant}.npy"

    @property
    def all_records(self) -> Path:
        """Small files of all trainings, kept by git."""
        return self.out / "records"

    def records(self, experiment: str, seed: int) -> Path:
        """Small files of one training, kept by git."""
        return self.all_records / experiment / f"seed{seed}"

    def train_record(self, experiment: str, seed: int) -> Path:
        """What a training says of itself."""
        return self.training(experiment, seed).record

    def sample_record(self, experiment: str, seed: int, snapshot: str) -> Path:
        """What a dump says of itself."""
        return self.records(experiment, seed) / snapshot / "samples.json"

    def grid(self, experiment: str, seed: int, snapshot: str) -> Path:
        """A picture of a dump's first samples."""
        return self.records(experiment, seed) / snapshot / "grid.png"

    def choice(self, experiment: str, seed: int) -> Path:
        """How the best snapshot was chosen."""
        return self.records(experiment, seed) / "best" / "choice.json"

    def references(self, name: str) -> Path:
        """Hashes of the images that scores are made against."""
        return self.out / "references" / f"{name}.json"

    def scorer(self, experiment: str, seed: int, snapshot: str, scorer: str) -> Path:
        """The score records of a dump by one scorer."""
        return self.records(experiment, seed) / snapshot / scorer

    def score(self, experiment: str, seed: int, snapshot: str, scorer: str, protocol: str) -> Path:
        """One score record: a dump, a scorer and a protocol."""
        return self.scorer(experiment, seed, snapshot, scorer) / f"{protocol}.json"

    def train_records(self) -> list[Path]:
        """Every train.json, in order."""
        return sorted(self.all_records.glob("*/*/train/train.json"))

    def histories(self) -> list[Path]:
        """Every training history, in order."""
        return sorted(self.all_records.glob(f"*/*/train/{HISTORY}"))

    def choices(self) -> list[Path]:
        """Every choice.json, in order."""
        return sorted(self.all_records.glob("*/seed*/best/choice.json"))

    def sample_records(self) -> list[Path]:
        """Every samples.json, in order."""
        return sorted(self.all_records.glob("*/seed*/*/samples.json"))

    def scores(self) -> list[Path]:
        """Every score record, in order."""
        return sorted(self.all_records.glob("*/*/*/*/*.json"))

    @property
    def tables(self) -> Path:
        """Tables without verdicts."""
        return self.out / "tables"

    @property
    def check(self) -> Path:
        """Verdicts and the tables with them."""
        return self.out / "check"

    @property
    def metrics(self) -> Path:
        """Scores, a file a dump, for `dvc metrics show`."""
        return self.out / "metrics"

    @property
    def plots(self) -> Path:
        """Curves, a file a quantity, for `dvc plots show`."""
        return self.out / "plots"

    def placeholders(self) -> dict[Path, str]:
        """What holds the two folders in git before anything was run, so that DVC's commands find them: path -> text.

        .dvcignore hides the first; of plots DVC wants a file.
        """
        return {self.metrics / ".gitkeep": "", self.plots / "none.csv": ",".join(PLOT) + "\n"}

    @property
    def report(self) -> Path:
        """The page."""
        return self.out / "report"


def run_name(experiment: str, seed: int) -> str:
    """Return the name of a training: a key of params.yaml's `runs`."""
    return f"{experiment}-seed{seed}"


def dump_name(experiment: str, seed: int, snapshot: str) -> str:
    """Return the name of a dump: a key of params.yaml's `dumps`."""
    return f"{run_name(experiment, seed)}-{snapshot}"


def weights_folder(snapshot: str) -> Literal["weights", "chosen"]:
    """Return the folder of a training that holds a snapshot: what training left, or what was chosen from it."""
    return "chosen" if snapshot == "best" else "weights"


@dataclass(frozen=True)
class TrainingFolders:
    """What one training leaves: big files under `artifacts`, small ones under `records`."""

    artifacts: Path
    records: Path

    @property
    def weights(self) -> Path:
        """The generators: `last.safetensors` and one file a snapshot."""
        return self.artifacts / "weights"

    @property
    def chosen(self) -> Path:
        """What was chosen among them: `best.safetensors`."""
        return self.artifacts / "chosen"

    @property
    def train(self) -> Path:
        """Folder of the small files."""
        return self.records / "train"

    @property
    def record(self) -> Path:
        """What a finished training says of itself."""
        return self.train / "train.json"

    @property
    def stopped(self) -> Path:
        """What a training that was stopped or diverged says of itself; gone when it is finished."""
        return self.train / "stopped.json"

    @property
    def history(self) -> Path:
        """Losses and speed, a row a log point."""
        return self.train / HISTORY

    @property
    def grids(self) -> Path:
        """Pictures of samples during the training."""
        return self.train / "grids"
