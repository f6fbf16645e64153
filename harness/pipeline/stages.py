"""A scale's dvc.yaml as a value: its stages, from its params.yaml."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.paths import PARAMS, ScaleFolder

EXPERIMENT, SNAPSHOT = "${item.experiment}", "${item.snapshot}"  # DVC's placeholders within a stage
Output = str | dict[str, Any]
Keeping = Callable[[Path], Output]
SEED: Any = "${item.seed}"  # stands where paths take a number


def pipeline(
    params: dict[str, Any],
    scorers: tuple[str, ...],
    sources: dict[str, str],
    references: dict[str, list[str]],
    effects: list[str],
) -> dict[str, Any]:
    """Return a scale's dvc.yaml.

    Stages depend on resolved recipes (plan/*.json), on stamps of protocols and on versions, never on source files.
    Command lines take nothing from params.yaml, and `device` is no dependency.

    Big files and plans are in DVC's cache; small files are in git. The scale at the root has no file in git (it is made
    anew in minutes), so DVC's cache holds its small files, too, and `dvc repro` brings a removed folder back.

    Args:
        params: the scale's params.yaml.
        sources: see `suite._sources`.
        references: see `planned_scores.Planner.references`.
        effects: what the page shows of `Checkout.effects`, from the root.
    """
    root, folder, kept = params["root"], ScaleFolder(Path(params["out"])), _keeping(in_git=not params["out"])
    run = f"{EXPERIMENT} --seed {SEED}"
    artifacts, records = folder.artifacts(EXPERIMENT, SEED), folder.records(EXPERIMENT, SEED)
    versions = f"{root}experiments/versions.yaml"
    reals = str(folder.references("${item.references}"))  # a few hashes stand for the images
    stages: dict[str, Any] = {
        "plan": {
            "cmd": "harness plan",
            "params": [{PARAMS: ["scale", "overlay", "runs", "dumps", "choices", "limit_nimg"]}],
            "deps": [
                f"{root}experiments/{name}"
                for name in (
                    *("datasets.yaml", "models", "overlays.yaml", "protocols", "recipes"),
                    *(f"suites/{params['scale']}.yaml", "tables", "versions.yaml"),
                )
            ],
            "outs": [str(folder.out / "plan")],
        },
        "train": {
            "foreach": {
                key: {"experiment": one["experiment"], "seed": one["seed"], "source": sources[one["experiment"]]}
                for key, one in params["runs"].items()
            },
            "do": {
                "cmd": f"harness train {run}",
                "deps": [str(folder.out / "plan" / "${key}.json"), f"{root}${{item.source}}"],
                "params": [{PARAMS: ["threads"]}],
                "outs": [
                    str(artifacts / "weights"),
                    kept(folder.train_record(EXPERIMENT, SEED)),
                    kept(records / "train" / "grids"),
                    kept(records / "train" / "history.csv"),
                ],
            },
        },
    }
    for name, data in references.items():
        stages[f"references-{name}"] = {
            "cmd": f"harness references {' '.join(data)}",
            "deps": [f"{root}data/{one}/card.json" for one in data],
            "outs": [kept(folder.references(name))],
        }
    if params["choices"]:
        stages["choose"] = {
            "foreach": {key: _item(one, "references") for key, one in params["choices"].items()},
            "do": {
                "cmd": f"harness choose {run}",
                "deps": [str(artifacts / "weights"), reals],
                "params": [{PARAMS: ["choices.${key}.stamp", "threads"]}, {versions: ["sampler", "scorer-torch"]}],
                "outs": [str(artifacts / "chosen"), kept(folder.choice(EXPERIMENT, SEED))],
            },
        }
    samples, record = folder.samples(EXPERIMENT, SEED, SNAPSHOT), folder.sample_record(EXPERIMENT, SEED, SNAPSHOT)
    stages["sample"] = {
        "foreach": {key: _item(one, "snapshot", "weights") for key, one in params["dumps"].items()},
        "do": {
            "cmd": f"harness sample {run} --snapshot {SNAPSHOT}",
            "deps": [
                str(artifacts / "${item.weights}" / f"{SNAPSHOT}.safetensors"),
                f"{root}data/${{item.dataset}}/card.json",  # the images that samples are held against as copies
            ],
            "params": [
                {PARAMS: ["dumps.${key}.n_fake", "dumps.${key}.variants", "threads"]},
                {versions: ["sampler"]},
            ],
            "outs": [str(samples), kept(record), kept(folder.grid(EXPERIMENT, SEED, SNAPSHOT))],
        },
    }
    for scorer in scorers:
        scored = {
            key: _item(one, "snapshot", "references") for key, one in params["dumps"].items() if scorer in one["scores"]
        }
        if not scored:
            continue
        stages[f"score-{scorer}"] = {
            "foreach": scored,
            "do": {
                "cmd": f"harness score-dump {run} --snapshot {SNAPSHOT} --scorer {scorer}",
                "deps": [str(samples), str(record), reals],
                "params": [
                    {PARAMS: [f"dumps.${{key}}.scores.{scorer}", "threads"]},
                    {versions: [f"scorer-{scorer}"]},
                ],
                "outs": [kept(folder.scorer(EXPERIMENT, SEED, SNAPSHOT, scorer))],  # a record a protocol
            },
        }
    return {"stages": stages | _ends(root, folder, kept, effects)}


def _ends(root: str, folder: ScaleFolder, kept: Keeping, effects: list[str]) -> dict[str, Any]:
    return {
        "tables": {
            "cmd": "harness tables",
            "params": [{PARAMS: ["runs", "dumps"]}],  # tables are of what is planned
            "deps": [
                *(str(folder.out / "plan"), str(folder.all_records), f"{root}experiments/datasets.yaml"),
                *(f"{root}experiments/tables", f"{root}results/reported"),
            ],
            "outs": [kept(folder.tables)],
            # both folders are in git for every scale, so that DVC's commands find them before anything was run
            "metrics": [{str(folder.metrics): {"cache": False}}],
            "plots": [{str(folder.plots): {"cache": False, "template": "runs", "x": "nimg", "y": "value"}}],
        },
        "check": {
            "cmd": "harness check --write",
            "deps": [
                str(folder.tables),
                f"{root}experiments/claims.yaml",
                f"{root}experiments/tolerances.yaml",
                f"{root}results/history.csv",
            ],
            "outs": [kept(folder.check)],
        },
        "report": {
            "cmd": "harness report",
            "deps": [
                *(str(folder.check), str(folder.all_records), str(folder.tables)),
                *(f"{root}{path}" for path in ("results/verified.json", *effects)),
            ],
            "outs": [kept(folder.report)],
        },
    }


def _item(entry: dict[str, Any], *more: str) -> dict[str, Any]:
    return {key: entry[key] for key in ("experiment", "seed", "dataset", *more)}


def _keeping(in_git: bool) -> Keeping:
    """Return what writes a small output down: kept in git, outside DVC's cache, or in the cache."""

    def kept(path: Path) -> Output:
        return {str(path): {"cache": False}} if in_git else str(path)

    return kept
