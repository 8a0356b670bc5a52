"""How the plots of an evaluation look: colours, sizes, captions, and bytes that do not vary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from magml.files import atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from magml.evaluation.performance import Performance

#: Okabe and Ito's palette, which colour-blind readers can tell apart; yellow is too pale for lines.
BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE, BLACK = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#E69F00",
    "#56B4E9",
    "#CC79A7",
    "#000000",
)
GREY = "#767676"
#: Colours of people with and without the outcome.
EVENT, NO_EVENT = VERMILION, SKY
_BASELINES = (VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK)
_DASHES = ("-", "--", ":")

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so every machine draws the same
    "font.size": 11,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "lines.linewidth": 1.5,
}


@contextmanager
def plot_style() -> Iterator[None]:
    """Draw in magml's style, whatever the user's own matplotlib settings are."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def new_figure(width: float, height: float) -> Figure:
    """A figure of its own, outside pyplot, so that no window or global state is touched."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    padding = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure = Figure(figsize=(width, height), layout=padding)
    FigureCanvasAgg(figure)
    return figure


def height_for(performance: Performance, least: float, share: float = 1.0) -> float:
    """Height at which a legend of two lines a model fits into this share of the figure."""
    return max(least, (1.2 + 0.45 * (len(performance.models) + 2)) / share)


def line_style(performance: Performance, model: str) -> dict[str, Any]:
    """Colour, dash and width of one model's line; the reference is drawn thick and on top."""
    place = performance.models.index(model)
    if place == 0:
        return {"color": BLUE, "linestyle": "-", "linewidth": 2.6, "zorder": 5}
    dash, colour = divmod(place - 1, len(_BASELINES))
    return {
        "color": _BASELINES[colour],
        "linestyle": _DASHES[dash % len(_DASHES)],
        "linewidth": 1.4,
        "zorder": 3,
    }


def readable(name: str) -> str:
    """A model's name for people, on lines of at most 26 characters."""
    return fill(name.replace("_", " "), 26)


def with_interval(performance: Performance, metric: str, model: str) -> str:
    """Text such as "0.79 (0.77 to 0.81)"."""
    value, low, high = performance.value(metric, model)
    if value != value:
        return "not estimable"
    return f"{value:.2f} ({low:.2f} to {high:.2f})" if low == low else f"{value:.2f}"


def caption(
    figure: Figure, performance: Performance, note: str = "", *, intervals: bool = True
) -> None:
    """Write n, cases and, where a figure shows intervals, their kind under it."""
    share = performance.events / performance.n
    text = f"n = {performance.n:,}; {performance.events:,} with the outcome ({share:.1%})"
    if performance.weighted:
        text += f"; rows weighted, weighted share {performance.prevalence:.1%}"
    if intervals:
        text += (
            f". {performance.level:.0%} intervals: {performance.replicates:,} bootstrap resamples "
            f"of {performance.groups:,} groups"
        )
    text += f". {note}"
    width = int(figure.get_figwidth() * 14)
    figure.supxlabel(fill(text.strip(), width), fontsize=9, color="#404040", x=0.01, ha="left")


def percent_axes(axes: Axes, which: str) -> None:
    """Label shares in percent, without a sign, on the axes named in `which`, such as "xy"."""
    for letter in which:
        axis = axes.xaxis if letter == "x" else axes.yaxis
        axis.set_major_formatter(lambda value, _: f"{round(100 * abs(value), 6):g}%")


def legend_beside(axes: Axes, title: str | None = None) -> None:
    """Put the legend to the right of the axes, where it hides nothing."""
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.01, 1.0), title=title, alignment="left",
        borderaxespad=0.0, labelspacing=0.7,
    )  # fmt: skip


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG without a version or a time in it, so that equal figures are equal bytes."""
    with atomic_file(path) as beside:
        figure.savefig(beside, format="png", dpi=150, metadata={"Software": None})
    return path
