"""Plots of explanations over a cohort. No dot is a person: each stands for ten or more."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from magml.evaluation import plot_style as style
from magml.evaluation.checks import SMALL_CELL
from magml.explanations.people import People, groups_of_people
from magml.explanations.words import describe_feature, describe_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from magml.explanations.explain import Explanation
    from magml.explanations.overview import Overview, Rows

_BARS = 15
_SWARM = 12
_PANELS = 6
#: A feature of so few values is drawn value by value.
_FEW_VALUES = 12
#: From low to high values; told apart by the colour-blind and in grey print.
_COLOURS = "cividis"
_MISSING = "#B0B0B0"


def plot_overview(
    why: Explanation, found: Overview, people: People, folder: str | os.PathLike[str]
) -> dict[str, Path]:
    """Write ``importance.png``, ``beeswarm.png`` and ``dependence.png``.

    Parameters
    ----------
    why
        The explanations.
    found
        Their overview.
    people
        The people behind their rows.
    folder
        Where the files go.

    Returns
    -------
    dict of str to pathlib.Path
        The same input gives the same bytes.
    """
    target = Path(folder)
    with style.plot_style():
        return {
            "importance": _importance(found, target / "importance.png"),
            "beeswarm": _beeswarm(why, found, people, target / "beeswarm.png"),
            "dependence": _dependence(why, found, people, target / "dependence.png"),
        }


def _leading(found: Overview, level: str, top: int) -> Rows:
    """Return the most important entries of a level that contribute at all."""
    rows = [row for row in found.importance if row["level"] == level and row["value"] > 0]
    return tuple(rows[:top])


def _importance(found: Overview, path: Path) -> Path:
    """Draw importance by domain and by concept with intervals."""
    domains, concepts = _leading(found, "domain", 10), _leading(found, "concept", _BARS)
    height = 1.6 + 0.34 * (len(domains) + len(concepts) + 3)
    figure = style.new_figure(9.6, height)
    upper, lower = figure.subplots(
        2, 1, height_ratios=[max(len(domains), 2), max(len(concepts), 2)]
    )
    for axes, rows, title in (
        (upper, domains, "By domain"),
        (lower, concepts, f"By concept, the {len(concepts)} most important"),
    ):
        values = np.array([row["value"] for row in rows])
        ends = np.array([[row["low"], row["high"]] for row in rows]).reshape(-1, 2)
        spread = np.abs(ends.T - values) if len(rows) else None
        axes.barh(
            range(len(rows)), values, xerr=spread, color=style.BLUE, height=0.62,
            error_kw={"ecolor": "#202020", "elinewidth": 1.1, "capsize": 2.5},
        )  # fmt: skip
        axes.set_yticks(range(len(rows)), [style.fill(row["label"], 46) for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_title(title)
        axes.tick_params(axis="y", length=0)
    lower.set_xlabel("mean absolute contribution (log-odds)")
    _caption(figure, found, "What the model uses; not what causes a low magnesium.")
    return style.save(figure, path)


def _beeswarm(why: Explanation, found: Overview, people: People, path: Path) -> Path:
    """Draw the contributions of the leading features, coloured by the feature's value."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    rows = _leading(found, "feature", _SWARM)
    place = {feature.name: k for k, feature in enumerate(why.schema)}
    figure = style.new_figure(9.6, 2.0 + 0.5 * max(len(rows), 2))
    axes = figure.subplots()
    for y, row in enumerate(rows):
        column = place[row["name"]]
        x, offset, rank = _dots(why.log_odds[:, column], why.values[:, column], people.codes)
        grey = np.isnan(rank)
        axes.scatter(x[grey], y + offset[grey], s=20, color=_MISSING, edgecolors="none", zorder=2)
        axes.scatter(
            x[~grey], y + offset[~grey], s=20, c=rank[~grey], cmap=_COLOURS, vmin=0, vmax=1,
            edgecolors="none", zorder=3,
        )  # fmt: skip
    axes.axvline(0, color="#808080", lw=0.8, zorder=1)
    axes.set_yticks(range(len(rows)), [style.fill(row["label"], 42) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("contribution to the log-odds: left lowers the risk, right raises it")
    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), _COLOURS), ax=axes, fraction=0.03)
    bar.set_ticks([0, 1], labels=["low", "high"])
    bar.set_label("value of the feature (grey: missing)")
    _caption(figure, found, "Each dot is a group of ten people or more with similar contributions.")
    return style.save(figure, path)


def _dots(
    contributions: NDArray[np.float64], values: NDArray[np.float32], codes: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return x, vertical offset and mean rank of the value (0 to 1, NaN: missing) of each dot."""
    missing = np.isnan(values)
    rank = np.full(len(values), np.nan)
    present = np.flatnonzero(~missing)
    if len(present):
        _, inverse, counts = np.unique(values[present], return_inverse=True, return_counts=True)
        middle = np.cumsum(counts) - (counts + 1) / 2
        rank[present] = middle[inverse] / max(len(present) - 1, 1)
    span = float(np.ptp(contributions)) or 1.0
    found: list[tuple[float, float, float]] = []
    stacked: dict[int, int] = {}
    for rows in (present, np.flatnonzero(missing)):
        for run in groups_of_people(contributions[rows], codes[rows]):
            chosen = rows[run]
            x = float(contributions[chosen].mean())
            # Dots that would lie on each other are put above and below in turn.
            place = round(60 * x / span)
            level = stacked[place] = stacked.get(place, -1) + 1
            offset = 0.075 * ((level + 1) // 2) * (-1 if level % 2 else 1)
            found.append((x, float(np.clip(offset, -0.42, 0.42)), float(rank[chosen].mean())))
    dots = np.array(found).reshape(-1, 3)
    return dots[:, 0], dots[:, 1], dots[:, 2]


def _dependence(why: Explanation, found: Overview, people: People, path: Path) -> Path:
    """Draw how the contribution changes with the value, for the leading features."""
    rows = _leading(found, "feature", _PANELS)
    place = {feature.name: k for k, feature in enumerate(why.schema)}
    lines = max(1, -(-len(rows) // 2))
    figure = style.new_figure(9.6, 1.2 + 2.9 * lines)
    panels: list[Axes] = list(figure.subplots(lines, 2, squeeze=False).ravel())
    for axes, row in zip(panels, rows, strict=False):
        column = place[row["name"]]
        feature = why.schema[column]
        values = why.values[:, column].astype(np.float64)
        contributions = why.log_odds[:, column]
        present = np.flatnonzero(~np.isnan(values))
        runs = _similar(values[present], people.codes[present])
        x = [float(values[present[run]].mean()) for run in runs]
        y = [float(contributions[present[run]].mean()) for run in runs]
        spread = [float(contributions[present[run]].std()) for run in runs]
        axes.axhline(0, color="#808080", lw=0.8, zorder=1)
        axes.errorbar(
            x, y, yerr=spread, fmt="o", markersize=4, color=style.BLUE, ecolor="#9CBFD9", lw=1.2,
        )  # fmt: skip
        missing = np.isnan(values)
        if missing.any() and people.within(missing) >= SMALL_CELL:
            axes.axhline(
                float(contributions[missing].mean()), color=style.VERMILION, lw=1.2, ls="--",
                label=f"missing ({missing.mean():.0%})",
            )  # fmt: skip
            axes.legend(loc="best", fontsize=8)
        axes.set_title(style.fill(describe_feature(feature), 44), fontsize=10)
        axes.set_xlabel(describe_unit(feature.unit) or " ", fontsize=9)
        axes.tick_params(labelsize=9)
    for axes in panels[len(rows) :]:
        axes.set_axis_off()
    for axes in panels[::2]:
        axes.set_ylabel("contribution (log-odds)", fontsize=9)
    _caption(
        figure,
        found,
        "Each dot is ten people or more with similar values, with the spread (SD) of their "
        "contributions, which comes from the other features.",
    )
    return style.save(figure, path)


def _similar(values: NDArray[np.float64], codes: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Return rows of similar value: of one value each, where few are taken."""
    distinct = np.unique(values)
    if len(distinct) > _FEW_VALUES:
        return groups_of_people(values, codes, most=25)
    runs = (np.flatnonzero(values == value) for value in distinct)
    return [run for run in runs if len(np.unique(codes[run])) >= SMALL_CELL]


def _caption(figure: Any, found: Overview, note: str) -> None:
    """Write n under a figure."""
    text = (
        f"n = {found.n:,} prediction times of {found.people:,} people, explained by the final "
        f"model. 95% intervals: {found.replicates:,} bootstrap resamples of people. {note}"
    )
    wrapped = style.fill(text, int(figure.get_figwidth() * 14))
    figure.supxlabel(wrapped, fontsize=9, color="#404040", x=0.01, ha="left")
