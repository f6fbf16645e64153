"""What a scale found, in sentences made from its scores by fixed rules."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from harness.comparison import words
from harness.comparison.check import Checked
from harness.comparison.claims import CONTRADICTED, UNDECIDABLE
from harness.comparison.run_tables import ONE_PROTOCOL, REFERENCE_SCORERS, common_nimg
from harness.records.results import Results

SCORERS = {
    "tf": "TensorFlow Inception",
    "torch": "torch Inception",
    "clean": "clean-fid",
}  # in this order
REASONS = words.LABELS | {"partial": "scored before the recipe's end"}
REASONS |= {"stand_in_data": "stand-in data", "stand_in_inception": "stand-in Inception"}
SYMBOLS = {"supported": "✓", "contradicted": "✗", "undecidable": "?"}
CHIEF = 3  # reasons of undecidable claims that are named, the most frequent first
STAND_INS = (
    "This scale has no finding: its images are drawn stand-ins or its Inception has random weights, so its scores show "
    "that every line runs and say nothing about any model."
)
NO_CURVE = (
    "This scale has no finding yet: no model was scored at two or more image counts on real data, "
    "so there is no curve to compare at."
)


@dataclass(frozen=True)
class Panel:
    """FID of one data set under one scorer and protocol: models with at least two points, and untrained controls."""

    dataset: str
    scorer: str
    curves: pd.DataFrame
    controls: pd.DataFrame

    @property
    def title(self) -> str:
        """Scorer and protocol in words."""
        return f"{SCORERS[self.scorer]}, {counts(self.curves.iloc[0].to_dict())}"

    @property
    def models(self) -> int:
        """How many models have a curve."""
        return int(self.curves["experiment"].nunique())

    def parts(self) -> "dict[str, Panel]":
        """The panel of each training data set that has a curve, that of most models first."""
        return {
            name: replace(
                self,
                curves=self.curves[trained_on(self.curves) == name],
                controls=self.controls[trained_on(self.controls) == name],
            )
            for name in training_sets(self.curves)
        }

    @property
    def stand_in(self) -> bool:
        """Whether the scores measure nothing, or nobody knows."""
        return bool(stand_ins(self.curves).any())


def trained_on(scores: pd.DataFrame) -> pd.Series:
    """Return the data set that each score's model was trained on; the one it was scored against where none is known."""
    return scores["trained_on"].where(scores["trained_on"].notna(), scores["dataset"])


def training_sets(scores: pd.DataFrame) -> list[str]:
    """Return the training data sets, that of most models first."""
    models = scores.groupby(trained_on(scores))["experiment"].nunique().sort_index()
    return [str(name) for name in models.sort_values(ascending=False, kind="stable").index]


def counts(row: Mapping[str, Any]) -> str:
    """Return what a FID was made of, `1,000 samples against 10,000 train images of cifar10, 768 channels`."""
    images = f"{int(row['n_fake']):,} samples against {int(row['n_real']):,} {row['split']} images of {row['dataset']}"
    return f"{images}, {int(row['layer'])} channels"


def stand_ins(scores: pd.DataFrame) -> pd.Series:
    """Return which scores are of stand-ins, or not known to be of real data and a real Inception."""
    real = scores[["stand_in_data", "stand_in_inception"]].map(lambda value: value is False)
    return ~real.all(axis=1)


def panels(scores: pd.DataFrame) -> list[Panel]:
    """Return the panels of a scale, by data set and scorer; a scorer without a curve of two points has none."""
    out = []
    scores = scores[scores["fid"].notna() & (scores["snapshot"] != "best")]
    alike = [name for name in ONE_PROTOCOL if name != "dataset"]
    for (dataset, scorer, *_), part in scores.groupby(["dataset", "scorer", *alike], sort=True, dropna=False):
        trained = part[part["planned_nimg"] > 0]
        curves = trained[trained.groupby("experiment")["nimg"].transform("nunique") > 1]
        if len(curves):
            out.append(Panel(str(dataset), str(scorer), curves, part[part["planned_nimg"] == 0]))
    return sorted(out, key=lambda panel: (panel.dataset, list(SCORERS).index(panel.scorer), panel.title))


def findings(found: Results, sizes: Mapping[str, int] | None = None) -> list[str]:
    """Return one sentence a training data set: the best and the worst at the largest image count of all its curves.

    That of most models comes first; an untrained control stands with the data set of its networks.

    Args:
        sizes: data set -> its images, where they are known.
    """
    shown = [panel for panel in panels(found.scores) if not panel.stand_in]
    if not shown:
        return [STAND_INS if bool(stand_ins(found.scores).all()) else NO_CURVE]
    parts: dict[tuple[str, str], list[Panel]] = {}
    for panel in shown:
        for name, part in panel.parts().items():
            parts.setdefault((panel.dataset, name), []).append(part)
    said, title = [], ""
    for (_, name), its in sorted(parts.items(), key=lambda item: -item[1][0].models):
        size = (sizes or {}).get(name)
        said.append(_finding(f"{name} ({size:,} images)" if size else name, its, title))
        title = its[0].title
    return said


def _finding(trained: str, its: list[Panel], before: str) -> str:
    """Return the sentence of a data set; `before` is how the scores of the sentence before were made, empty if none."""
    first, *others = its
    nimg = common_nimg(first.curves)
    if nimg is None:
        return f"The curves of models trained on {trained} share no image count, so they are not ranked."
    means = ranked(first, nimg)
    several = [len(part) for _, part in first.curves[first.curves["nimg"] == nimg].groupby("experiment")]
    seeds = f"{min(several)} to {max(several)} seeds" if min(several) < max(several) else f"{several[0]} seeds"
    seeds = "one seed each, so without an interval" if max(several) == 1 else f"means of {seeds}"
    best, worst = means.index[0], means.index[-1]
    said = f"Trained on {trained}, at {nimg:,} images seen"
    said += ": " if before or len(means) == 1 else ", the largest count that all these curves share: "
    if len(means) == 1:
        said += f"{best}, the only curve, has FID {means[best]:.2f}"
    else:
        said += f"{best} has the lowest FID, {means[best]:.2f}, and {worst} the highest, {means[worst]:.2f}"
    control = _controls(first)
    said += "".join(f"; the untrained control {name} has {value:.2f}" for name, value in control.items())
    said += f" ({'scored alike' if first.title == before else first.title}; {seeds})"
    return said + "".join(_second(panel, nimg, best, worst, control) for panel in others) + "."


def _second(panel: Panel, nimg: int, best: str, worst: str, control: Mapping[str, float]) -> str:
    """Return what another scorer says of the same models at the same count; empty where it has not scored them."""
    means = ranked(panel, nimg)
    if not {best, worst} <= set(means.index):
        return ""
    here = _controls(panel)
    named = dict.fromkeys((best, worst))
    values = [means[name] for name in named] + [here[name] for name in control if name in here]
    numbers = ", ".join(f"{value:.2f}" for value in values)
    agrees = (means.index[0], means.index[-1]) == (best, worst)
    other = "" if agrees else f", and others in front: {means.index[0]} is lowest, {means.index[-1]} highest"
    return f"; {SCORERS[panel.scorer]} gives {numbers}{other}"


def ranked(panel: Panel, nimg: int) -> pd.Series:
    """Return the mean FID over seeds of each curve at an image count, lowest first."""
    at = panel.curves[panel.curves["nimg"] == nimg]
    return at.groupby("experiment")["fid"].mean().sort_values(kind="stable")


def _controls(panel: Panel) -> dict[str, float]:
    return {str(name): float(value) for name, value in panel.controls.groupby("experiment")["fid"].mean().items()}


def comparability(checked: Checked) -> str:
    """Return a sentence on whether any score of the scale can be held against a reported one, and why not."""
    lines = checked.verdicts[checked.verdicts["kind"] != "regression"]
    able = [not fields for fields in lines["blocking_fields"]]
    if any(able):
        verdicts = Counter(line["verdict"] for line in lines[able].to_dict("records"))
        said = ", ".join(f"{n} {name}" for name, n in verdicts.items())
        return f"{sum(able)} of {len(able)} comparisons with a reported number are possible: {said}."
    scores = checked.measured.results.scores
    why = [name for name, _ in reasons(checked)]
    layers = sorted({f"{layer:.0f}-channel features" for layer in scores["layer"] if layer != 2048})
    return f"Nothing here can be compared with the paper's numbers: {', '.join([*layers, *why])}."


def reasons(checked: Checked) -> list[tuple[str, int]]:
    """Return why scores cannot be held against reported ones, with counts, the most frequent first."""
    fields = Counter(field for names in checked.verdicts["blocking_fields"] for field in names or ())
    return [(REASONS.get(name, name), n) for name, n in fields.most_common()]


def claims(checked: Checked) -> Iterator[dict[str, Any]]:
    """Yield the claims, a verdict each, with its symbol."""
    for _, part in checked.claims.groupby("claim", sort=False):
        verdict = part["claim_verdict"].iloc[0]
        yield {"says": part["says"].iloc[0], "verdict": verdict, "symbol": SYMBOLS[verdict]}


def answers(claims: pd.DataFrame) -> list[str]:
    """Return a sentence a decided claim, with the effect that decides it, and one that counts the undecidable ones.

    Args:
        claims: the lines of `comparison.claims.evaluate`, or of `check/claims.csv`.
    """
    said, open_, why = [], 0, Counter[str]()
    for _, part in claims.groupby("claim", sort=False):
        verdict = part["claim_verdict"].iloc[0]
        mine = part[part["verdict"] == verdict].to_dict("records")
        if verdict == UNDECIDABLE:
            open_ += 1
            why.update(list(dict.fromkeys(_why(line["reason"]) for line in mine)))
            continue
        effects = [(f"{line['contrast']}: " if len(part) > 1 else "") + _effect(line) for line in mine]
        said.append(f"{verdict.capitalize()} at this scale: {mine[0]['says']}: {'; '.join(effects)}.")
    if open_:
        reasons = "; ".join(f"{reason}: {n}" for reason, n in why.most_common(CHIEF))
        said.append(f"Undecidable at this scale: {open_} of {claims['claim'].nunique()} claims ({reasons}).")
    return said


def _effect(line: Mapping[str, Any]) -> str:
    """Return an effect, its interval, what was needed and what that presumes.

    The sign is named where the claim is that there is a gain.
    """
    said = f"effect {line['effect']:+.2f} ({line['low']:.2f} to {line['high']:.2f})"
    said += f", more than {line['smallest']:g} was needed"
    if line["verdict"] == CONTRADICTED and line["smallest"] >= 0:
        said += ": right sign, too small" if line["effect"] > 0 else ": wrong sign or none"
    notes = [f"protocol {line['protocol']}"]
    if isinstance(line["presumed"], str) and line["presumed"]:  # of a csv NaN
        rows = line["presumed"].replace("; ", " and ")
        notes.append(f"{line['smallest']:g} presumes what nobody has seen in its source: {rows}")
    if not line["whole"]:
        notes.append(f"all after {int(line['images_seen']):,} images, not whole runs")
    return f"{said} ({'; '.join(notes)})"


def _why(reason: Any) -> str:
    """Return a contrast's reason without the names of its experiments: `one seed`, `rows not scored`."""
    if not isinstance(reason, str) or not reason:  # of a csv NaN
        return "the interval holds what was needed"
    if reason.startswith("not scored"):
        return "rows not scored"
    field = re.sub(r"^[\w.-]+: ", "", reason).split(":")[0]  # after the name of an experiment
    return REASONS.get(field, field)


def main_scorer(scores: pd.DataFrame) -> str:
    """Return the scorer whose interval a table shows: the first of TensorFlow, torch and clean-fid that has scores."""
    return next((name for name in (*REFERENCE_SCORERS, "clean") if (scores["scorer"] == name).any()), "tf")
