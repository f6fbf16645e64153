"""Tables of everything measured: every score, and all models under one protocol."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from harness.comparison import protocols, reported, uncertainty, words
from harness.comparison.reported import Ledger
from harness.comparison.table_formats import Table, Words, as_text, data
from harness.config import schema
from harness.records.results import Results
from harness.records.score_record import OF_TRAINING, compared_fields

REFERENCE_SCORERS = ("tf", "torch")  # TF-Inception numbers, best first
ONE_PROTOCOL = tuple(name for name in compared_fields("fid") if name not in OF_TRAINING)  # that models are ranked under
SHOWN = (  # scorer, column of `Results.scores`, column of data, heading, digits
    ("tf", "is_mean", "tf_is", "TF IS", 2),
    ("tf", "fid", "tf_fid", "TF FID", 2),
    ("torch", "is_mean", "torch_is", "torch IS", 2),
    ("torch", "fid", "torch_fid", "torch FID", 2),
    ("clean", "fid", "clean_fid", "clean FID", 2),
    ("clean", "kid", "clean_kid", "clean KID", 4),
)
OF_PROTOCOL = ("protocol", "dataset", "split", "n_real", "n_fake", "inception", "layer")
COST = ("gpu_hours", "cpu_hours", "images_seen")


def mean_sd(values: pd.Series) -> tuple[float | None, float | None]:
    """Return mean and standard deviation (divisor n - 1) of what is there; None for a mean of none, an sd of one."""
    values = values.dropna().astype(float)
    return (float(values.mean()) if len(values) else None), (float(values.std()) if len(values) > 1 else None)


def cost(training: pd.DataFrame, experiment: str, seeds: Iterable[int]) -> dict[str, Any]:
    """Return hours on GPU and CPU and images seen, summed over some seeds of an experiment; None for none."""
    mine = training[(training["experiment"] == experiment) & training["seed"].isin(list(seeds))]
    if mine.empty:
        return dict.fromkeys(COST)
    on_cpu = mine["device"].str.startswith("cpu")
    gpu, cpu = (
        float(mine.loc[where, "device_sec"].sum()) / 3600 if where.any() else None for where in (~on_cpu, on_cpu)
    )
    return {"gpu_hours": gpu, "cpu_hours": cpu, "images_seen": int(mine["nimg"].sum())}


RUNS: Words = {
    "experiment": as_text("experiment"),
    "trained on": as_text("trained_on"),
    "seed": as_text("seed"),
    "snapshot": as_text("snapshot"),
    "images seen": lambda row: words.count(row["images_seen"]),
    **{title: words.mean_sd(key, digits) for _, _, key, title, digits in SHOWN},
    **uncertainty.words({key: title for _, _, key, title, _ in SHOWN}),
    "protocol": words.measured_protocol,
    "caveats": as_text("caveats"),
    "reported in": as_text("reported_in"),
    "GPU h": words.hours,
}
RUNS_DATA = (
    "scale",
    "experiment",
    "trained_on",
    "seed",
    "snapshot",
    "images_seen",
    "planned_nimg",
    *(key for _, _, key, _, _ in SHOWN),
    *uncertainty.columns(key for _, _, key, _, _ in SHOWN),
    *OF_PROTOCOL,
    "caveats",
    "reported_in",
    "gpu_hours",
    "cpu_hours",
)


def runs_table(results: Results, experiments: Mapping[str, schema.Experiment]) -> Table:
    """Return every score there is, with its protocol in short, whether or not the paper has a row for it.

    One line per dump and images it was scored against; a column for each scorer's IS, FID or KID.
    """
    lines = []
    alike = ["nimg", "snapshot", "protocol", *(name for name in ONE_PROTOCOL if name != "resizer")]
    group = results.scores.groupby(["experiment", *alike], sort=False, dropna=False).ngroup()
    for _, part in results.scores.groupby(["experiment", "seed", *alike], sort=True, dropna=False):
        seeds = results.scores[group == group[part.index[0]]]
        first = part.iloc[0].to_dict()
        experiment = experiments.get(first["experiment"])
        tables = dict.fromkeys(link.split("/")[0] for link in (experiment.reported if experiment else ()))
        hours = cost(results.training, first["experiment"], [first["seed"]])
        lines.append(
            {name: protocols.plain(first[name]) for name in RUNS_DATA if name in first}
            | {
                **{key: mean_sd(part.loc[part["scorer"] == who, column])[0] for who, column, key, _, _ in SHOWN},
                **_uncertainties(part, seeds),
                "images_seen": protocols.plain(first["nimg"]),
                "caveats": ", ".join(words.caveats(first)),
                "reported_in": ", ".join(tables) or protocols.NO_ROW,
                "gpu_hours": hours["gpu_hours"],
                "cpu_hours": hours["cpu_hours"],
            }
        )
    note = "TF and torch: the 2015 Inception with TensorFlow's resize; clean: clean-fid's. GPU h is the training's. "
    return Table("runs", "Every measured score", data(lines, RUNS_DATA), RUNS, note + uncertainty.NOTE)


def _uncertainties(part: pd.DataFrame, seeds: pd.DataFrame) -> dict[str, float | None]:
    out: dict[str, float | None] = {}
    for who, column, key, _, _ in SHOWN:
        mine, all_seeds = (rows[rows["scorer"] == who] for rows in (part, seeds))
        out |= uncertainty.cells(mine, all_seeds, column, key)
    return out


# ---------------------------------------------------------------- one protocol for all


def common_nimg(scores: pd.DataFrame) -> int | None:
    """Return the largest number of images seen that every trained experiment has a snapshot at; None if there is none.

    Only scores of which some experiment has several snapshots need one: None if each has a single one. A chosen
    snapshot (`best`) is none of them.
    """
    trained = scores[(scores["snapshot"] != "best") & (scores["planned_nimg"] > 0)]
    lengths = [set(part["nimg"]) for _, part in trained.groupby("experiment")]
    if not lengths or max(map(len, lengths)) == 1:
        return None
    return max(map(int, set.intersection(*lengths)), default=None)


def compared_snapshots(scores: pd.DataFrame) -> pd.Series:
    """Return which scores stand for their experiments where experiments are compared with each other.

    Those at the largest common snapshot; the last ones where there is no common one. Untrained networks always.
    """
    nimg = common_nimg(scores)
    if nimg is None:
        several = scores.groupby("experiment")["snapshot"].transform("nunique") > 1
        return ~several | (scores["snapshot"] == "last")
    return (scores["planned_nimg"] == 0) | ((scores["nimg"] == nimg) & (scores["snapshot"] != "best"))


def common_note(scores: pd.DataFrame) -> str:
    """Return a sentence on the snapshot at which experiments are compared; empty if each has a single one."""
    nimg = common_nimg(scores)
    return f" Compared with each other after {words.count(nimg)} images, the largest snapshot all have." if nimg else ""


PROTOCOL: Words = {
    "data set": as_text("dataset"),
    "rank here": as_text("rank"),
    "experiment": as_text("experiment"),
    "trained on": as_text("trained_on"),
    "snapshot": as_text("snapshot"),
    "FID here": lambda row: f"{row['fid']:.2f}",
    **uncertainty.words({"fid": "FID"}),
    "one protocol": lambda row: f"{words.measured_protocol(row)}, {row['resizer']}",
    "seeds": as_text("seeds"),
    "rank reported": as_text("rank_reported"),
    "FID reported": words.printed("fid"),
    "reported protocol": as_text("fid_reported_protocol"),  # in words where there is a ledger
    "rank change": lambda row: words.rank_change(row["rank_change"]),
    "caveats": as_text("caveats"),
}
PROTOCOL_DATA = (
    "scale",
    "rank",
    "experiment",
    "trained_on",
    "snapshot",
    "scorer",
    "fid",
    "fid_sd",
    *uncertainty.columns(["fid"]),
    "seeds",
    *OF_PROTOCOL,
    "resizer",
    "rank_reported",
    *reported.columns("fid"),
    "rank_change",
    "caveats",
)
PROTOCOL_NOTE = (
    "Reported FIDs come from different protocols (sample counts, split, network), so their order means little; "
    "the rank change is where a model goes when all are scored alike. Ranks count models that have both numbers."
)


def protocol_table(
    results: Results, experiments: Mapping[str, schema.Experiment], ledger: Ledger, unverified: bool = False
) -> Table:
    """Return all models under one protocol per data set, beside what was reported, and how the order changes.

    Per data set the protocol that most experiments share is taken; ranks count only models that have both numbers, at
    the largest snapshot that all have.
    """
    lines: list[dict[str, Any]] = []
    note = PROTOCOL_NOTE
    scores = results.scores[results.scores["scorer"].isin(REFERENCE_SCORERS) & results.scores["fid"].notna()]
    for _, part in scores.groupby("dataset", sort=True):
        kinds = part.groupby([*ONE_PROTOCOL, "scorer"], dropna=False).ngroup()
        chosen = part[kinds == part.groupby(kinds)["experiment"].nunique().sort_index().idxmax()]
        compared = compared_snapshots(chosen)
        note += common_note(chosen)
        block = []
        for first, group in protocols.groups(chosen):
            fid, sd = mean_sd(group["fid"])
            block.append(
                {
                    **{
                        key: first[key]
                        for key in ("scale", "experiment", "trained_on", "snapshot", "scorer", *OF_PROTOCOL, "resizer")
                    },
                    "fid": fid,
                    "fid_sd": sd,
                    **uncertainty.cells(group, group, "fid", "fid"),
                    "seeds": len(group),
                    "caveats": ", ".join(words.caveats(first)),
                    "ranked": bool(compared[group.index].all()),
                    **_reported_fid(first["experiment"], experiments, ledger, unverified),
                }
            )
        lines += _ranked(block)
    return Table(
        "protocol",
        "All models under one protocol",
        data(lines, PROTOCOL_DATA),
        {**PROTOCOL, **words.reported_protocol(ledger)},
        note,
    )


def _reported_fid(
    experiment: str, experiments: Mapping[str, schema.Experiment], ledger: Ledger, unverified: bool
) -> dict[str, Any]:
    spec = experiments.get(experiment)
    for link in spec.reported if spec else ():
        for row in reported.reported_rows_for(ledger, link, spec).to_dict("records"):  # type: ignore[arg-type]
            if row["metric"] == "fid" and (unverified or row["confidence"] != "unverified"):
                return reported.cells(row)
    return {}


def _ranked(block: list[dict[str, Any]]) -> list[dict[str, Any]]:
    block = sorted(block, key=lambda line: (line["fid"], line["experiment"], line["snapshot"]))
    both = [line for line in block if "fid_reported" in line and line["ranked"]]
    values = [float(line["fid_reported"]) for line in both]
    for i, (line, value) in enumerate(zip(both, values, strict=True), 1):
        there = 1 + sum(other < value for other in values)
        line |= {"rank": i, "rank_reported": there, "rank_change": there - i}
    return block
