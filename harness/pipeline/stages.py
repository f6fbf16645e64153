"""A scale's dvc.yaml as a value: its stages, from its params.yaml."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.paths import PARAMS, ScaleFolder

EXPERIMENT, SNAPSHOT = "${item.experiment}", "${item.snapshot}"  # DVC's placeholders within a stage
Output = str | dict[str, Any]
Keeping = Callable[[Path], Output]
SEED: Any = "${item.seed}"  # stands where paths take a number


def pipeline(params: dict[str, Any], scorers: tuple[str, ...], sources: dict[str, str]) -> dict[str, Any]:
    """Return a scale's dvc.yaml.

    Stages depend on resolved recipes (plan/*.json) and on versions, never on source files. Command lines take nothing
    from params.yaml but `threads`, and `device` is no dependency.

    Big files and plans are in DVC's cache; small files are in git. The scale at the root has no file in git (it is made
    anew in minutes), so DVC's cache holds its small files, too, and `dvc repro` brings a removed folder back.

    Args:
        params: the scale's params.yaml.
        sources: see `_sources`.
    """
    root, folder, kept = params["root"], ScaleFolder(Path(params["out"])), _keeping(in_git=not params["out"])
    run = f"{EXPERIMENT} --seed {SEED}"
    artifacts, records = folder.artifacts(EXPERIMENT, SEED), folder.records(EXPERIMENT, SEED)
    versions = f"{root}experiments/versions.yaml"
    reals = f"{root}data/${{item.dataset}}/train.npy"
    stages: dict[str, Any] = {
        "plan": {
            "cmd": "harness plan",
            "params": [{PARAMS: ["scale", "overlay", "scoring", "runs", "dumps", "choices", "limit_nimg"]}],
            "deps": [
                f"{root}experiments/{name}"
                for name in (
                    *("datasets.yaml", "models", "overlays.yaml", "recipes"),
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
    if params["choices"]:
        stages["choose"] = {
            "foreach": {key: _item(one) for key, one in params["choices"].items()},
            "do": {
                "cmd": f"harness choose {run}",
                "deps": [str(artifacts / "weights"), reals],
                "params": [
                    {
                        PARAMS: [
                            *(f"scoring.{key}" for key in ("n_choose", "weights", "layer", "quantisation")),
                            "scoring.counts.${item.dataset}.n_real",
                            "threads",
                        ]
                    },
                    {versions: ["sampler", "scorer-torch"]},
                ],
                "outs": [str(artifacts / "chosen"), kept(folder.choice(EXPERIMENT, SEED))],
            },
        }
    dumps = {key: _item(one, "snapshot", "weights") for key, one in params["dumps"].items()}
    samples, record = folder.dump(EXPERIMENT, SEED, SNAPSHOT), folder.sample_record(EXPERIMENT, SEED, SNAPSHOT)
    stages["sample"] = {
        "foreach": dumps,
        "do": {
            "cmd": f"harness sample {run} --snapshot {SNAPSHOT}",
            "deps": [str(artifacts / "${item.weights}" / f"{SNAPSHOT}.safetensors")],
            "params": [
                {PARAMS: ["scoring.counts.${item.dataset}.n_fake", "scoring.quantisation", "threads"]},
                {versions: ["sampler"]},
            ],
            "outs": [str(samples), kept(record), kept(folder.grid(EXPERIMENT, SEED, SNAPSHOT))],
        },
    }
    for scorer in scorers:
        stages[f"score-{scorer}"] = {
            "foreach": {
                key: _item(one)
                | {"snapshot": one["snapshot"], "n_real": params["scoring"]["counts"][one["dataset"]]["n_real"]}
                for key, one in params["dumps"].items()
            },
            "do": _score(params, scorer, folder, samples, record, kept),
        }
    return {"stages": stages | _ends(root, folder, kept)}


def _score(
    params: dict[str, Any], scorer: str, folder: ScaleFolder, samples: Path, record: Path, kept: Keeping
) -> dict[str, Any]:
    root, scoring = params["root"], params["scoring"]
    out = folder.score(EXPERIMENT, SEED, SNAPSHOT, scorer, params["scale"])
    flags = [f"--{name}" for name, on in scoring["clean"].items() if on] if scorer == "clean" else []
    return {
        "cmd": " ".join(
            [
                f"harness score --scorer {scorer} --samples {samples} --run {record}",
                f"--reference {root}data/${{item.dataset}} --n-real ${{item.n_real}}",
                f"--weights {shlex.quote(scoring['weights'])} --layer {scoring['layer']}",
                f"--threads ${{threads}} --params {PARAMS} --out {out}",  # the device is read from there
                *flags,
            ]
        ),
        "deps": [str(samples), str(record), f"{root}data/${{item.dataset}}/train.npy"],
        "params": [{f"{root}experiments/versions.yaml": [f"scorer-{scorer}"]}],
        "outs": [kept(out)],
    }


def _ends(root: str, folder: ScaleFolder, kept: Keeping) -> dict[str, Any]:
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
            "deps": [str(folder.check), str(folder.all_records), str(folder.tables)],
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
