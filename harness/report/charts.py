"""Curves as SVG: FID against images seen, and losses. The same inputs give the same bytes."""

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from harness.comparison import words
from harness.records.results import GROUP, Results
from harness.report.finding import Panel, counts, panels

# Light and dark colours, each at least 4.5 : 1 on the page's ground; the order keeps neighbours apart for
# colour-blind readers, as that of Okabe and Ito (2008), whose own yellow and sky blue are too pale for lines on white.
LIGHT = ("#0b62a8", "#b84a00", "#00755a", "#a13d7b", "#7d5f00", "#187389", "#5b4bb5", "#8a3a2e")
DARK = ("#6db3f2", "#ff9a5c", "#4fd1a5", "#f095c9", "#e6c04a", "#7fd3ee", "#b9adff", "#e8a195")
INK, SOFT, GRID, PAPER = "#1c2431", "#566172", "#e0e5ec", "#fefefe"  # roles; each a colour that no other has
VARIABLES = {INK: "--ink", SOFT: "--soft", GRID: "--line", PAPER: "--paper"}
VARIABLES |= {colour: f"--m{i}" for i, colour in enumerate(LIGHT)}
LABEL = 13  # points from one label to the next
LEAST = 0.001  # FID that an axis begins at, at the lowest: there is no logarithm of 0
MARGIN = 1.15  # from the lowest and highest FID to the ends of an axis, as a ratio
# Dashes and markers of the first eight models, the next eight, the next: colours repeat, looks do not.
LOOKS = (("-", "o"), ((0, (5, 2)), "s"), ((0, (1, 1.2)), "^"), ((0, (6, 1.5, 1, 1.5)), "D"))
MOST_SAID = 6  # lines that a caption names; of more, the figure's own description does
LOSSES = {"discriminator_loss": "discriminator loss", "generator_loss": "generator loss"}
MOST_POINTS = 128  # of a loss curve; longer ones are averaged, as a figure has no more pixels and a page no more room
STYLE: Any = {
    "svg.hashsalt": "harness",  # element ids otherwise differ from run to run
    "svg.fonttype": "none",  # text stays text, in the page's font
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "axes.facecolor": PAPER,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "figure.facecolor": PAPER,
}


@dataclass(frozen=True)
class Chart:
    """A figure: the file beside the page, its text, and the SVG with fixed colours."""

    name: str
    title: str
    caption: str
    svg: str

    @property
    def inline(self) -> str:
        """The SVG for inside the page: ids of its own, and the page's colours, light or dark."""
        text = re.sub(r'\bid="', f'id="{self.name}-', self.svg)
        text = re.sub(r'href="#', f'href="#{self.name}-', text).replace("url(#", f"url(#{self.name}-")
        text = re.sub(r'aria-labelledby="title desc"', f'aria-labelledby="{self.name}-title {self.name}-desc"', text)
        for colour, variable in VARIABLES.items():
            text = text.replace(colour, f"var({variable})")
        return text


def colour_indices(scores: pd.DataFrame) -> dict[str, int | None]:
    """Return experiment -> place in the palette, the same in all figures and tables; None for untrained controls."""
    trained = sorted(set(scores.loc[scores["planned_nimg"] > 0, "experiment"]))
    places: dict[str, int | None] = {str(name): i for i, name in enumerate(trained)}
    return dict.fromkeys(sorted(set(scores["experiment"]) - set(trained))) | places


def look(place: int | None) -> dict[str, Any]:
    """Return colour, dashes and marker of a model."""
    if place is None:
        return {"color": SOFT, "ls": (0, (6, 3)), "marker": "x"}
    dashes, marker = LOOKS[place // len(LIGHT) % len(LOOKS)]
    return {"color": LIGHT[place % len(LIGHT)], "ls": dashes, "marker": marker}


def fid_charts(found: Results, comparisons: pd.DataFrame) -> list[Chart]:
    """Return a chart a panel: FID against images seen, with controls and reported values that can be compared."""
    places, summary = colour_indices(found.scores), found.summary()
    out: list[Chart] = []
    for panel in panels(found.scores):
        name = f"fid-{panel.dataset}-{panel.scorer}"
        name += f"-{n + 1}" if (n := sum(c.name.startswith(name) for c in out)) else ""
        out.append(_fid_chart(name, panel, summary, _reported(panel, comparisons), places))
    return out


def _reported(panel: Panel, comparisons: pd.DataFrame) -> dict[str, float]:
    """Return experiment -> reported FID, where the scores of the panel can be held against it."""
    mine = comparisons[(comparisons["metric"] == "fid") & (comparisons["scorer"] == panel.scorer)]
    mine = mine[mine["experiment"].isin(set(panel.curves["experiment"]))]
    able = mine[[not fields for fields in mine["blocking_fields"]]].drop_duplicates("experiment")
    return {str(row["experiment"]): float(row["reported"]) for row in able.to_dict("records")}


def _fid_chart(
    name: str,
    panel: Panel,
    summary: pd.DataFrame,
    reported: Mapping[str, float],
    places: Mapping[str, int | None],
) -> Chart:
    points = panel.curves[[*GROUP, "nimg"]].drop_duplicates([*GROUP])
    points = points.merge(summary[summary["metric"] == "fid"], on=[*GROUP])
    unit, divisor = _unit(points["nimg"].max())
    labels, said = [], []
    several = points["experiment"].nunique() + panel.controls["experiment"].nunique() + len(reported)
    with _figure(1, height=max(2.6, several * LABEL / 72 / 0.77)) as (figure, (axis,)):  # an axis has 77 % of it
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
        _logarithmic(axis, "y", [value for _, value, _, _ in labels] + list(points["mean"]))
        axis.set_xlim(left=0)
        axis.set_xlabel(unit)
        axis.set_ylabel("FID (log scale, lower is better)")
        _direct_labels(axis, labels)
        svg = _svg(figure)
    bands = "Bands: 95 % interval of the mean over seeds." if points["low"].notna().any() else ""
    description = f"FID against images seen: {'; '.join(said)}. {bands}".strip()
    caption = (
        description if len(said) <= MOST_SAID else f"FID against images seen of {len(said)} lines. {bands}".strip()
    )
    return _chart(name, f"{panel.dataset}: {panel.title}", description, svg, caption)


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
        with _figure(1, height=3.2) as (figure, (axis,)):
            for side in "xy":
                ends = _logarithmic(axis, side, pairs.to_numpy().ravel())
            axis.plot(ends, ends, color=SOFT, lw=1)
            for experiment, rows in pairs.groupby(level="experiment", sort=True):
                mine = look(places[str(experiment)]) | {"ls": ""}
                axis.plot(rows["tf"], rows["clean"], ms=5, label=str(experiment), **mine)
            axis.set_xlabel("FID, TensorFlow Inception (log scale)")
            axis.set_ylabel("FID, clean-fid (log scale)")
            named = pairs.index.get_level_values("experiment").nunique() <= MOST_SAID
            if named:
                axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.02, 1))
            svg = _svg(figure)
        order = float(pairs["tf"].corr(pairs["clean"], method="spearman"))
        ratio = float((pairs["clean"] / pairs["tf"]).median())
        said = (
            f"{len(pairs)} models and snapshots by both scorers; the line is equality. clean-fid gives {ratio:.2f} "
            f"times as much in the median; the order is the same to a rank correlation (Spearman) of {order:.2f}."
            + ("" if named else " Colours and marks are those of the tables.")
        )
        name = f"scorers-{dataset}"
        name += f"-{n + 1}" if (n := sum(c.name.startswith(name) for c in out)) else ""
        title = f"{dataset}: the two scorers beside each other, {counts(dict(zip(keys, alike, strict=True)))}"
        out.append(_chart(name, title, said, svg))
    return out


def loss_charts(found: Results) -> list[Chart]:
    """Return a chart a data set: the training losses against images seen, a panel each."""
    have = [name for name in LOSSES if name in found.curves and found.curves[name].notna().any()]
    datasets = found.scores.drop_duplicates("experiment").set_index("experiment")["dataset"]
    history = found.curves.assign(dataset=found.curves["experiment"].map(datasets))
    places, out = colour_indices(found.scores), []
    for dataset, part in history.groupby("dataset", sort=True) if have else ():
        part = part[part["nimg"] > 0]
        if part[have].dropna(how="all").empty:
            continue
        unit, divisor = _unit(part["nimg"].max())
        with _figure(len(have), height=2.6) as (figure, axes):
            for axis, column in zip(axes, have, strict=True):
                for experiment, runs in part.groupby("experiment", sort=True):
                    for j, (_, run) in enumerate(runs.groupby("seed", sort=True)):
                        points = thinned(run.sort_values("nimg")[["nimg", column]].dropna())
                        label = str(experiment) if j == 0 else None
                        mine = look(places[experiment]) | {"marker": ""}
                        axis.plot(points["nimg"] / divisor, points[column], label=label, lw=1.4, **mine)
                axis.set_xlabel(unit)
                axis.set_ylabel(LOSSES[column])
            figure.subplots_adjust(wspace=0.28)
            handles, names = axes[0].get_legend_handles_labels()
            figure.legend(handles, names, loc="upper center", ncols=2, frameon=False, bbox_to_anchor=(0.5, -0.08))
            svg = _svg(figure)
        names = sorted(set(part["experiment"]))
        said = f"Training losses on {dataset} against images seen, of "
        caption = said + (", ".join(names) if len(names) <= MOST_SAID else f"{len(names)} models") + "."
        said += f"{', '.join(names)}."
        if (longest := part.groupby(["experiment", "seed"]).size().max()) > MOST_POINTS:
            mean = f" Of {longest:,} points of a training each {-(-longest // MOST_POINTS)} neighbours are averaged."
            said, caption = said + mean, caption + mean
        out.append(_chart(f"losses-{dataset}", f"Losses, {dataset}", said, svg, caption))
    return out


def thinned(run: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a curve, or means of as many neighbours as leave at most `MOST_POINTS`."""
    together = -(-len(run) // MOST_POINTS)
    return run.groupby(np.arange(len(run)) // together).mean() if together > 1 else run


# ---------------------------------------------------------------- drawing


@contextmanager
def _figure(columns: int, height: float) -> Iterator[tuple[Any, Any]]:
    """Yield a matplotlib figure and its axes in the style of the page."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, columns, figsize=(3.5 * columns, height), squeeze=False)
        try:
            yield figure, axes[0]
        finally:
            plt.close(figure)


def every(found: Results, comparisons: pd.DataFrame) -> list[Chart]:
    """Return all figures of a page."""
    return [*fid_charts(found, comparisons), *scorer_charts(found), *loss_charts(found)]


def _unit(most: float) -> tuple[str, int]:
    for divisor, name in ((1_000_000, "million images seen"), (1_000, "thousand images seen")):
        if most >= 2 * divisor:
            return name, divisor
    return "images seen", 1


def _logarithmic(axis: Any, side: str, values: Iterable[float]) -> tuple[float, float]:
    """Make a side, "x" or "y", an axis of FIDs in which equal ratios are equally long; return its ends.

    An untrained control is often ten times as high as the curves, which would lie on each other otherwise.
    """
    from matplotlib import ticker

    low, high = max(LEAST, min(values)) / MARGIN, max(LEAST, *values) * MARGIN
    axis.set(**{f"{side}scale": "log", f"{side}lim": (low, high)})
    ticks = getattr(axis, f"{side}axis")
    ticks.set_major_locator(ticker.LogLocator(subs=(1, 2, 5), numticks=20) if high > 4 * low else ticker.MaxNLocator(5))
    ticks.set_minor_locator(ticker.NullLocator())
    ticks.set_major_formatter(ticker.FormatStrFormatter("%g"))
    return low, high


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


def _svg(figure: Any) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip()) + "\n"


def _chart(name: str, title: str, description: str, svg: str, caption: str = "") -> Chart:
    """Return a chart whose SVG says what it shows."""
    head, rest = svg.split(">", 1)
    said = f'<title id="title">{escape(title)}</title>\n<desc id="desc">{escape(description)}</desc>'
    text = f'{head} role="img" aria-labelledby="title desc">\n{said}{rest}'
    return Chart(name, title, caption or description, text)


def palette(colours: Iterable[str]) -> str:
    """Return the models' colours as CSS variables."""
    return " ".join(f"--m{i}: {colour};" for i, colour in enumerate(colours))
