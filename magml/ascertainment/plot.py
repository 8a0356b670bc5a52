"""The picture of who gets tested: raw beside corrected, the range, and balance."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from magml.evaluation import plot_style as style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from magml.ascertainment.correct import Correction

_LABELS = {"raw": "raw: those tested", "weighted": "weighted", "robust": "doubly robust"}
_COLOURS = {"raw": style.GREY, "weighted": style.ORANGE, "robust": style.BLUE}
_MOST_COLUMNS = 15


def plot_ascertainment(correction: Correction, path: Path) -> Path:
    """Draw raw and corrected figures, the range of the unrecorded, and balance.

    Parameters
    ----------
    correction
        What :func:`magml.ascertainment.correct` returned.
    path
        PNG to write.
    """
    with style.plot_style():
        figure = style.new_figure(11.0, 7.6)
        grid = figure.subplots(2, 3)
        shown = (
            ("prevalence", "Share with the outcome"),
            ("auroc", "AUROC"),
            ("calibration_intercept", "Calibration intercept"),
        )
        for place, (metric, title) in enumerate(shown):
            _figures(grid[0, place], correction, metric, title)
        for place, (metric, title) in enumerate(shown[:2]):
            _range(grid[1, place], correction, metric, title)
        _balance(grid[1, 2], correction)
        text = (
            f"{correction.tested:,} of {correction.target:,} prediction times tested, "
            f"{correction.events:,} with the outcome; {correction.level:.0%} intervals: "
            f"{correction.settings.replicates} resamples of {correction.groups:,} groups, both "
            "models fitted again in each. Corrected figures hold if what decided about testing "
            "was recorded; the lower row says what follows if not."
        )
        figure.supxlabel(fill(text, 150), fontsize=9, color="#404040", x=0.01, ha="left")
        return style.save(figure, path)


def _figures(axes: Axes, correction: Correction, metric: str, title: str) -> None:
    for place, (estimate, label) in enumerate(_LABELS.items()):
        value, low, high = correction.value(metric, estimate=estimate)
        axes.plot([low, high], [-place, -place], color=_COLOURS[estimate], linewidth=2)
        axes.plot(value, -place, "o", color=_COLOURS[estimate], markersize=7)
        axes.text(value, -place + 0.18, label, ha="center", fontsize=9)
    axes.set_ylim(-2.6, 0.6)
    axes.set_yticks([])
    axes.set_title(title)
    if metric == "prevalence":
        style.percent_axes(axes, "x")


def _range(axes: Axes, correction: Correction, metric: str, title: str) -> None:
    table = correction.sensitivity
    rows = table[table["metric"] == metric]
    rows = rows[rows["model"] == rows["model"].iloc[0]]
    x = np.log2(rows["odds_ratio"])
    axes.fill_between(x, rows["low"], rows["high"], color=style.BLUE, alpha=0.15, linewidth=0)
    axes.plot(x, rows["value"], color=style.BLUE, marker="o", markersize=4)
    raw = correction.value(metric, estimate="raw")[0]
    axes.axhline(raw, color=style.GREY, linestyle=":")
    axes.text(float(x.min()), raw, "raw", fontsize=9, color=style.GREY, va="bottom")
    axes.set_xticks(x, [f"{ratio:g}" for ratio in rows["odds_ratio"]])
    axes.set_xlabel("odds of the outcome, untested : tested\nwith the same records")
    axes.set_title(f"{title},\nif not all was recorded", fontsize=10)
    if metric == "prevalence":
        style.percent_axes(axes, "y")


def _balance(axes: Axes, correction: Correction) -> None:
    rows = correction.balance.head(_MOST_COLUMNS).iloc[::-1]
    places = np.arange(len(rows))
    axes.axvspan(-0.1, 0.1, color="#EEEEEE", zorder=0)
    axes.plot(rows["before"], places, "o", color=style.GREY, label="raw", markersize=5)
    axes.plot(rows["after"], places, "o", color=style.ORANGE, label="weighted", markersize=5)
    axes.axvline(0, color=style.BLACK, linewidth=0.8)
    axes.set_yticks(places, [str(name) for name in rows["column"]], fontsize=6)
    axes.set_xlabel("standardised mean difference,\ntested minus everybody")
    axes.set_title("Who is tested", fontsize=10)
    axes.legend(fontsize=8, loc="upper left")
