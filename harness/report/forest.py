"""A dot plot of FIDs as SVG, a row a model: for panels whose curves have too few points to be read as curves."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.comparison import words
from harness.comparison.run_tables import common_nimg
from harness.report.drawing import GRID, INK, PAPER, SOFT, Chart, chart, figure, logarithmic, look, svg_of
from harness.report.finding import Panel

FEW = 3  # image counts of a model; curves of more can be read
WIDTH = 4.5  # inches: on a phone of 390 pixels, whose page gives a figure 335, type of `SIZE` points is above 11 pixels
SIZE = 11  # points
BEYOND = 1.6  # times: how far the axis goes on beyond the points for the sake of bars
ROW = 17  # points from one row to the next
PAD = 8  # points between names and axis, for the arrow of a bar
AXIS = 1.6  # inches that the axis has at least, whatever the names take


@dataclass(frozen=True)
class Row:
    """A line of the plot: a heading without values, or a model.

    `mean` is at the compared count; `low` and `high` its interval over seeds, NaN where unknown; `others`: images seen
    -> mean elsewhere. A `mark` stands for the model's own.
    """

    label: str
    place: int | None = None
    nimg: int | None = None
    mean: float | None = None
    low: float = float("nan")
    high: float = float("nan")
    seeds: tuple[float, ...] = ()
    others: Mapping[int, float] | None = None
    mark: str = ""

    @property
    def values(self) -> list[float]:
        """All points of the row."""
        return [*self.seeds, *(self.others or {}).values()] + ([] if self.mean is None else [self.mean])


def fits(panel: Panel) -> bool:
    """Whether the curves of a panel have so few points that a dot plot says more."""
    return bool(panel.curves.groupby("experiment")["nimg"].nunique().max() <= FEW)


def forest(
    name: str, panel: Panel, points: pd.DataFrame, reported: Mapping[str, float], places: Mapping[str, int | None]
) -> Chart:
    """Return the dot plot of a panel: models by training data set and FID, then controls and reported values.

    Args:
        points: a row an experiment and image count, with `mean`, `low` and `high` over its seeds.
        reported: experiment -> reported FID.
        places: experiment -> place in the palette.
    """
    rows, said, models = list[Row](), list[str](), list[Row]()
    for trained, part in panel.parts().items():
        mine, untrained = list(_models(part, points, places)), list(_controls(part.controls))
        rows += [Row(f"trained on {trained}"), *mine, *untrained]
        said += [f"trained on {trained}: {'; '.join(map(_said, [*mine, *untrained]))}"]
        models += mine
    shown = {row.label for row in rows}
    others = [row for row in _controls(panel.controls) if row.label not in shown]
    others += [Row(f"{one}, reported", places[one], mean=value, mark="|") for one, value in reported.items()]
    svg, cut = _draw([*rows, *others])
    caption = _caption(models, len(panel.controls) > 0, bool(reported), cut)
    lines = "; ".join([*said, *map(_said, others)])
    description = f"FID of {len(models)} models, lowest first; {lines}. {caption}"
    return chart(name, panel.title, description, svg, caption)


def _models(panel: Panel, points: pd.DataFrame, places: Mapping[str, int | None]) -> Iterator[Row]:
    """Yield the rows of a training data set, lowest FID first at the largest count that all its curves share.

    Where there is none, each model's last point is taken.
    """
    shared, rows = common_nimg(panel.curves), []
    for experiment, part in panel.curves.groupby("experiment", sort=True):
        mine = points[points["experiment"] == experiment].set_index("nimg").sort_index()
        nimg = int(mine.index[-1]) if shared is None else shared
        here = mine.loc[nimg]
        rows.append(
            Row(
                str(experiment),
                places[str(experiment)],
                nimg,
                float(here["mean"]),
                float(here["low"]),
                float(here["high"]),
                tuple(part.loc[part["nimg"] == nimg, "fid"].sort_values()),
                {int(n): float(mean) for n, mean in mine["mean"].items() if n != nimg},
            )
        )
    yield from sorted(rows, key=lambda row: (row.mean, row.label))


def _controls(scores: pd.DataFrame) -> Iterator[Row]:
    for name, part in scores.groupby("experiment", sort=True):
        label = str(name) if "untrained" in str(name) else f"{name} (untrained)"
        yield Row(label, mean=float(part["fid"].mean()), seeds=tuple(part["fid"].sort_values()))


def _said(row: Row) -> str:
    """Return a row in words."""
    at = f" at {words.count(row.nimg)}" if row.nimg is not None else ""
    before = "".join(f", {value:.2f} at {words.count(n)}" for n, value in (row.others or {}).items())
    return f"{row.label} {row.mean:.2f}{at}{before}"


def _caption(rows: list[Row], controls: bool, reported: bool, cut: bool) -> str:
    at = " or ".join(words.count(n) for n in sorted({row.nimg for row in rows if row.nimg is not None}))
    before = " or ".join(words.count(n) for n in sorted({n for row in rows for n in row.others or ()}))
    parts = [f"Full marks: the mean over seeds after {at} images seen", f"hollow: after {before}", "dots: single seeds"]
    if any(pd.notna(row.low) for row in rows):
        below = ", also where it reaches below 0, as that of few seeds may and no FID can"
        below = below if any(row.low < 0 for row in rows) else ""
        parts.append("bars: 95 % interval of the mean over seeds")
        parts[-1] += f", cut with an arrow at an end of the axis{below}" if cut else ""
    parts += ["dashed: untrained"] * controls + ["upright: reported"] * reported
    return "; ".join(parts) + "."


def _draw(rows: list[Row]) -> tuple[str, bool]:
    """Return the SVG of the rows, and whether a bar is cut at an end of the axis."""
    height = (len(rows) + 1) * ROW / 72
    cut = False
    with figure(1, height) as (drawn, (axis,)):
        points = [value for row in rows for value in row.values]
        bars = [end for row in rows for end in (row.low, row.high) if pd.notna(end)]
        bounds = min(points) / BEYOND, max(points) * BEYOND
        low, high = logarithmic(axis, "x", points + [min(max(end, bounds[0]), bounds[1]) for end in bars])
        axis.set_ylim(len(rows) - 0.4, -0.6)
        for y, row in enumerate(rows):
            if row.mean is not None:
                cut |= _row(axis, y, row, (low, high))
        axis.set_yticks(range(len(rows)), [row.label for row in rows], fontsize=SIZE)
        for label, row in zip(axis.get_yticklabels(), rows, strict=True):
            heading = row.mean is None
            label.set(color=INK if heading else look(row.place)["color"], fontweight="bold" if heading else "normal")
        axis.tick_params(axis="y", length=0, pad=PAD)
        axis.tick_params(axis="x", labelsize=SIZE)
        axis.grid(visible=False, axis="y")
        axis.spines["left"].set_visible(False)
        axis.set_xlabel("FID (log scale, lower is better)", fontsize=SIZE, loc="right")
        names = max(label.get_window_extent().width for label in axis.get_yticklabels()) / drawn.dpi
        width = max(WIDTH, names + AXIS)
        drawn.set_size_inches(width, height + 0.6)
        drawn.subplots_adjust(left=(names + PAD / 72) / width, right=0.98, bottom=0.6 / (height + 0.6), top=1)
        return svg_of(drawn), cut


def _row(axis: Any, y: int, row: Row, ends: tuple[float, float]) -> bool:
    """Draw a model's row; return whether its bar is cut."""
    mine, cut = look(row.place), False
    colour, marker = mine["color"], row.mark or mine["marker"]
    if row.place is None:
        axis.axvline(row.mean, color=SOFT, lw=1, ls=mine["ls"])
    axis.axhline(y, color=GRID, lw=0.6, zorder=0.5)
    if pd.notna(row.low):
        axis.plot([max(row.low, ends[0]), min(row.high, ends[1])], [y, y], color=colour, lw=2.2, alpha=0.55)
        for beyond, end, arrow in ((row.low < ends[0], ends[0], "<"), (row.high > ends[1], ends[1], ">")):
            if beyond:
                axis.plot([end], [y], color=colour, ls="", marker=arrow, ms=6, clip_on=False)
                cut = True
    for value in (row.others or {}).values():
        axis.plot([value], [y], ls="", marker=marker, ms=6.5, color=colour, mfc=PAPER, mew=1.2)
    axis.plot([row.mean], [y], ls="", marker=marker, ms=9 if row.mark else 7, color=colour, mew=1.8 if row.mark else 1)
    axis.plot(row.seeds, [y + 0.34] * len(row.seeds), ls="", marker=".", ms=3.5, color=colour)
    return cut
