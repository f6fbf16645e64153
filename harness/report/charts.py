"""Curves as SVG: FID against images seen, and losses. The same inputs give the same bytes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.comparison import words
from harness.records.results import GROUP, Results
from harness.report import forest
from harness.report.drawing import SOFT, Chart, chart, colour_indices, figure, logarithmic, look, svg_of
from harness.report.finding import Panel, counts, panels, trained_on, training_sets

LABEL = 13  # points from one label to the next
MOST_SAID = 6  # lines that a caption names; of more, the figure's own description does
LOSSES = {"discriminator_loss": "discriminator loss", "generator_loss": "generator loss"}
MOST_POINTS = 128  # of a loss curve; longer ones are averaged, as a figure has no more pixels and a page no more room


def fid_charts(found: Results, comparisons: pd.DataFrame) -> list[Chart]:
    """Return a chart a panel: FID against images seen, with controls and reported values that can be compared.

    Curves, a chart a training data set; or one dot plot where they would have few points (`forest.fits`).
    """
    places, summary = colour_indices(found.scores), found.summary()
    out: list[Chart] = []
    every = panels(found.scores)
    for panel in (part for one in every for part in ([one] if forest.fits(one) else one.parts().values())):
        name = f"fid-{panel.dataset}-{panel.scorer}"
        name += f"-{n + 1}" if (n := sum(c.name.startswith(name) for c in out)) else ""
        points = panel.curves[[*GROUP, "nimg"]].drop_duplicates([*GROUP])
        points = points.merge(summary[summary["metric"] == "fid"], on=[*GROUP])
        draw = forest.forest if forest.fits(panel) else _curves
        out.append(draw(name, panel, points, _reported(panel, comparisons), places))
    return out


def _reported(panel: Panel, comparisons: pd.DataFrame) -> dict[str, float]:
    """Return experiment -> reported FID, where the scores of the panel can be held against it."""
    mine = comparisons[(comparisons["metric"] == "fid") & (comparisons["scorer"] == panel.scorer)]
    mine = mine[mine["experiment"].isin(set(panel.curves["experiment"]))]
    able = mine[[not fields for fields in mine["blocking_fields"]]].drop_duplicates("experiment")
    return {str(row["experiment"]): float(row["reported"]) for row in able.to_dict("records")}


def _curves(
    name: str, panel: Panel, points: pd.DataFrame, reported: Mapping[str, float], places: Mapping[str, int | None]
) -> Chart:
    """Return the curves of a panel; arguments as of `forest.forest`."""
    unit, divisor = _unit(points["nimg"].max())
    labels, said = [], []
    several = points["experiment"].nunique() + panel.controls["experiment"].nunique() + len(reported)
    with figure(1, height=max(2.6, several * LABEL / 72 / 0.77)) as (drawn, (axis,)):  # an axis has 77 % of it
        for experiment, rows in points.groupby("experiment", sort=True):
            rows = rows.sort_values("nimg")
            x, mine = rows["nimg"] / divisor, look(places[str(experiment)])
            axis.plot(x, rows["mean"], ms=4, lw=1.8, **mine)
            if rows["low"].notna().any():
                axis.fill_between(x, rows["low"], rows["high"], color=mine["color"], alpha=0.18, lw=0)
            labels.append((x.iloc[-1], rows["mean"].iloc[-1], str(experiment), mine["color"]))
            ends = f"{rows['mean'].iloc[0]:.2f} to {rows['mean'].iloc[-1]:.2f}"
            said.append(f"{experiment} from {ends} at {words.count(rows['nimg'].max())}")
        for experiment, part in panel.controls.groupby("experiment", sort=True):
            value = float(part["fid"].mean())
            axis.axhline(value, lw=1.4, **look(None) | {"marker": ""})
            label = str(experiment) if "untrained" in str(experiment) else f"{experiment} (untrained)"
            labels.append((None, value, label, SOFT))
            said.append(f"untrained {experiment} {value:.2f}")
        for experiment, value in reported.items():
            axis.axhline(value, lw=1.2, color=look(places[experiment])["color"], ls=(0, (1, 3)))
            labels.append((None, value, f"{experiment}, reported", look(places[experiment])["color"]))
            said.append(f"reported for {experiment} {value:.2f}")
        logarithmic(axis, "y", [value for _, value, _, _ in labels] + list(points["mean"]))
        axis.set_xlim(left=0)
        axis.set_xlabel(unit)
        axis.set_ylabel("FID (log scale, lower is better)")
        _direct_labels(axis, labels)
        svg = svg_of(drawn)
    bands = "Bands: 95 % interval of the mean over seeds." if points["low"].notna().any() else ""
    description = f"FID against images seen: {'; '.join(said)}. {bands}".strip()
    caption = (
        description if len(said) <= MOST_SAID else f"FID against images seen of {len(said)} lines. {bands}".strip()
    )
    title = f"Trained on {training_sets(panel.curves)[0]}: {panel.title}"
    return chart(name, title, description, svg, caption)


def scorer_charts(found: Results) -> list[Chart]:
    """Return a chart a data set: FID by clean-fid against FID by TensorFlow's Inception, a point a snapshot.

    Where both scorers scored at least three models or snapshots against the same counts of images at the same layer.
    """
    places = colour_indices(found.scores)
    out: list[Chart] = []
    keys = ["dataset", "split", "n_fake", "n_real", "layer"]
    both = found.scores[found.scores["scorer"].isin(["tf", "clean"]) & found.scores["fid"].notna()]
    for alike, part in both.groupby(keys, sort=True):
        dataset = alike[0]
        pairs = part.pivot_table(index=["experiment", "snapshot"], columns="scorer", values="fid").dropna()
        if set(pairs.columns) != {"tf", "clean"} or len(pairs) < 3:
            continue
        with figure(1, height=3.2) as (drawn, (axis,)):
            for side in "xy":
                ends = logarithmic(axis, side, pairs.to_numpy().ravel())
            axis.plot(ends, ends, color=SOFT, lw=1)
            for experiment, rows in pairs.groupby(level="experiment", sort=True):
                mine = look(places[str(experiment)]) | {"ls": ""}
                axis.plot(rows["tf"], rows["clean"], ms=5, label=str(experiment), **mine)
            axis.set_xlabel("FID, TensorFlow Inception (log scale)")
            axis.set_ylabel("FID, clean-fid (log scale)")
            named = pairs.index.get_level_values("experiment").nunique() <= MOST_SAID
            if named:
                axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.02, 1))
            svg = svg_of(drawn)
        order = float(pairs["tf"].corr(pairs["clean"], method="spearman"))
        ratio = float((pairs["clean"] / pairs["tf"]).median())
        said = (
            f"{len(pairs)} models and snapshots by both scorers; the line is equality. clean-fid gives {ratio:.2f} "
            f"times as much in the median; the order is the same to a rank correlation (Spearman) of {order:.2f}."
            + ("" if named else " Colours and marks are those of the tables.")
        )
        name = f"scorers-{dataset}"
        name += f"-{n + 1}" if (n := sum(c.name.startswith(name) for c in out)) else ""
        title = f"The two scorers beside each other, {counts(dict(zip(keys, alike, strict=True)))}"
        out.append(chart(name, title, said, svg))
    return out


def loss_charts(found: Results) -> list[Chart]:
    """Return a chart a training data set: the losses against images seen, a panel each."""
    have = [name for name in LOSSES if name in found.curves and found.curves[name].notna().any()]
    datasets = trained_on(found.scores).groupby(found.scores["experiment"]).first()
    history = found.curves.assign(dataset=found.curves["experiment"].map(datasets))
    places, out = colour_indices(found.scores), []
    for dataset, part in history.groupby("dataset", sort=True) if have else ():
        part = part[part["nimg"] > 0]
        if part[have].dropna(how="all").empty:
            continue
        unit, divisor = _unit(part["nimg"].max())
        with figure(len(have), height=2.6) as (drawn, axes):
            for axis, column in zip(axes, have, strict=True):
                for experiment, runs in part.groupby("experiment", sort=True):
                    for j, (_, run) in enumerate(runs.groupby("seed", sort=True)):
                        points = thinned(run.sort_values("nimg")[["nimg", column]].dropna())
                        label = str(experiment) if j == 0 else None
                        mine = look(places[experiment]) | {"marker": ""}
                        axis.plot(points["nimg"] / divisor, points[column], label=label, lw=1.4, **mine)
                axis.set_xlabel(unit)
                axis.set_ylabel(LOSSES[column])
            drawn.subplots_adjust(wspace=0.28)
            handles, names = axes[0].get_legend_handles_labels()
            drawn.legend(handles, names, loc="upper center", ncols=2, frameon=False, bbox_to_anchor=(0.5, -0.08))
            svg = svg_of(drawn)
        names = sorted(set(part["experiment"]))
        said = f"Training losses on {dataset} against images seen, of "
        caption = said + (", ".join(names) if len(names) <= MOST_SAID else f"{len(names)} models") + "."
        said += f"{', '.join(names)}."
        if (longest := part.groupby(["experiment", "seed"]).size().max()) > MOST_POINTS:
            mean = f" Of {longest:,} points of a training each {-(-longest // MOST_POINTS)} neighbours are averaged."
            said, caption = said + mean, caption + mean
        out.append(chart(f"losses-{dataset}", f"Losses, {dataset}", said, svg, caption))
    return out


def thinned(run: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a curve, or means of as many neighbours as leave at most `MOST_POINTS`."""
    together = -(-len(run) // MOST_POINTS)
    return run.groupby(np.arange(len(run)) // together).mean() if together > 1 else run


# ---------------------------------------------------------------- drawing


def every(found: Results, comparisons: pd.DataFrame) -> list[Chart]:
    """Return all figures of a page."""
    return [*fid_charts(found, comparisons), *scorer_charts(found), *loss_charts(found)]


def _unit(most: float) -> tuple[str, int]:
    for divisor, name in ((1_000_000, "million images seen"), (1_000, "thousand images seen")):
        if most >= 2 * divisor:
            return name, divisor
    return "images seen", 1


def _direct_labels(axis: Any, labels: Sequence[tuple[float | None, float, str, str]]) -> None:
    """Write each line's name at the right of the panel, at its own height or the nearest free one."""
    left, right = axis.get_xlim()
    points = axis.get_position().height * axis.figure.get_size_inches()[1] * 72
    to_panel = axis.transData + axis.transAxes.inverted()
    starts = [float(to_panel.transform((right, value))[1]) for _, value, _, _ in labels]  # 0 bottom, 1 top
    heights = spread(starts, LABEL / points, 1.0)
    for (x, value, text, colour), start, height in zip(labels, starts, heights, strict=True):
        if x is not None:  # level to the border: between there and the names nothing crosses, as both are in order
            axis.plot([x, right], [value, value], color=colour, lw=0.6, ls=(0, (1, 2)))
        axis.annotate(
            text,
            xy=(1, start),
            xytext=(1.1, height),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=colour,
            va="center",
            fontsize=10,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.6, "shrinkA": 1, "shrinkB": 0, "relpos": (0, 0.5)},
        )
    axis.set_xlim(left, right)


def spread(values: Sequence[float], gap: float, top: float) -> list[float]:
    """Return heights at least `gap` apart, in the order of the values and as near them as can be, up to `top`."""
    from scipy.optimize import isotonic_regression

    order = np.argsort(values, kind="stable")
    steps = gap * np.arange(len(order))
    near = isotonic_regression(np.asarray(values, float)[order] - steps).x  # least squares, no step below `gap`
    out = np.empty(len(order))
    out[order] = np.clip(near, gap / 2, max(gap / 2, top - steps[-1])) + steps
    return [float(height) for height in out]
