"""How every figure of the page is drawn: colours and marks of models, axes of FIDs, SVG with a title and a text."""

import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

# Light and dark colours, each at least 4.5 : 1 on the page's ground; the order keeps neighbours apart for
# colour-blind readers, as that of Okabe and Ito (2008), whose own yellow and sky blue are too pale for lines on white.
LIGHT = ("#0b62a8", "#b84a00", "#00755a", "#a13d7b", "#7d5f00", "#187389", "#5b4bb5", "#8a3a2e")
DARK = ("#6db3f2", "#ff9a5c", "#4fd1a5", "#f095c9", "#e6c04a", "#7fd3ee", "#b9adff", "#e8a195")
INK, SOFT, GRID, PAPER = "#1c2431", "#566172", "#e0e5ec", "#fefefe"  # roles; each a colour that no other has
VARIABLES = {INK: "--ink", SOFT: "--soft", GRID: "--line", PAPER: "--paper"}
VARIABLES |= {colour: f"--m{i}" for i, colour in enumerate(LIGHT)}
LEAST = 0.001  # FID that an axis begins at, at the lowest: there is no logarithm of 0
MARGIN = 1.15  # from the lowest and highest FID to the ends of an axis, as a ratio
# Dashes and markers of the first eight models, the next eight, the next: colours repeat, looks do not.
LOOKS = (("-", "o"), ((0, (5, 2)), "s"), ((0, (1, 1.2)), "^"), ((0, (6, 1.5, 1, 1.5)), "D"))
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


@contextmanager
def figure(columns: int, height: float) -> Iterator[tuple[Any, Any]]:
    """Yield a matplotlib figure and its axes in the style of the page."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    with plt.rc_context(STYLE):
        drawn, axes = plt.subplots(1, columns, figsize=(3.5 * columns, height), squeeze=False)
        try:
            yield drawn, axes[0]
        finally:
            plt.close(drawn)


def logarithmic(axis: Any, side: str, values: Iterable[float]) -> tuple[float, float]:
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


def svg_of(drawn: Any) -> str:
    """Return a figure as SVG, the same bytes for the same figure."""
    buffer = io.StringIO()
    drawn.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip()) + "\n"


def chart(name: str, title: str, description: str, svg: str, caption: str = "") -> Chart:
    """Return a chart whose SVG says what it shows."""
    head, rest = svg.split(">", 1)
    said = f'<title id="title">{escape(title)}</title>\n<desc id="desc">{escape(description)}</desc>'
    text = f'{head} role="img" aria-labelledby="title desc">\n{said}{rest}'
    return Chart(name, title, caption or description, text)


def palette(colours: Iterable[str]) -> str:
    """Return the models' colours as CSS variables."""
    return " ".join(f"--m{i}: {colour};" for i, colour in enumerate(colours))
