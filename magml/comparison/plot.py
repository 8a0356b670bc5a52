"""The ladder as a picture: each rung's figures with their intervals."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from magml.evaluation import plot_style as style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from magml.comparison.result import Comparison

_CAPACITY = 0.2
Cells = list[tuple[float, float, float] | None]


def plot_ladder(result: Comparison, path: Path) -> Path:
    """Draw AUROC, net benefit and, where computable, cases found among people with normal serum.

    Parameters
    ----------
    result
        What :func:`magml.compare` found.
    path
        PNG to write.
    """
    panels: list[tuple[str, Cells, float | None]] = [
        ("AUROC\n(0.5 is chance)", _metric(result, "auroc"), 0.5),
        (
            f"Net benefit at {result.threshold:.0%} risk,\ntrue cases per 100 people",
            _benefit(result),
            0.0,
        ),
    ]
    if not result.normal_reason and len(result.normal_serum):
        title = f"Normal serum magnesium:\ncases found, testing {_CAPACITY:.0%} (%)"
        panels.append((title, _found(result), 100 * _CAPACITY))
    with style.plot_style():
        figure = style.new_figure(3.0 + 3.2 * len(panels), 1.8 + 0.5 * len(result.rungs))
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (title, cells, chance) in zip(grid, panels, strict=True):
            _panel(axes, result, title, cells, chance)
        places = list(range(len(result.rungs)))[::-1]
        grid[0].set_yticks(places, [style.readable(rung.title) for rung in result.rungs])
        grid[0].set_ylim(-0.6, len(places) - 0.4)
        note = (
            f"{result.n:,} rows, {result.events:,} cases, predicted by models that never saw "
            f"them, in the same folds. Bars: {result.level:.0%} intervals, {result.replicates:,} "
            f"resamples of {result.groups:,} groups; bars that overlap may still differ, since "
            "differences are paired (differences.csv). Dotted: chance, or testing nobody."
        )
        width = int(figure.get_figwidth() * 14)
        figure.supxlabel(fill(note, width), fontsize=9, color="#404040", x=0.01, ha="left")
        return style.save(figure, path)


def _panel(axes: Axes, result: Comparison, title: str, cells: Cells, chance: float | None) -> None:
    from magml.comparison.ladder import WITH, WITHOUT

    for place, (rung, cell) in enumerate(zip(result.rungs, cells, strict=True)):
        height = len(cells) - 1 - place
        if cell is None or cell[0] != cell[0]:
            text = "not computable" if not rung.computable else "too few to show"
            axes.text(
                0.5, height, text, fontsize=9, color=style.GREY, va="center", ha="center",
                transform=axes.get_yaxis_transform(),
            )  # fmt: skip
            continue
        value, low, high = cell
        colour = style.BLUE if rung.title in (WITH, WITHOUT) else style.BLACK
        axes.plot([low, high], [height, height], color=colour, linewidth=2)
        axes.plot(value, height, "o", color=colour, markersize=7)
        axes.text(value, height + 0.16, _short(value, title), ha="center", fontsize=9)
    if chance is not None:
        axes.axvline(chance, color=style.GREY, linestyle=":", zorder=0)
    axes.set_title(title, fontsize=11)


def _short(value: float, title: str) -> str:
    return f"{value:.2f}" if "AUROC" in title else f"{value:.1f}"


def _metric(result: Comparison, metric: str) -> Cells:
    return [result.value(r.title, metric) if r.computable else None for r in result.rungs]


def _benefit(result: Comparison) -> Cells:
    table = result.net_benefit
    table = table[(table["threshold"] - result.threshold).abs() < 1e-9].set_index("model")
    return [_row(table, r.title, "net_benefit", ("low", "high"), 100.0) for r in result.rungs]


def _found(result: Comparison) -> Cells:
    table = result.normal_serum
    table = table[(table["kind"] == "capacity") & (table["at"] == _CAPACITY)].set_index("model")
    limits = ("found_low", "found_high")
    return [_row(table, r.title, "found", limits, 100.0) for r in result.rungs]


def _row(
    table: Any, title: str, value: str, limits: tuple[str, str], scale: float
) -> tuple[float, float, float] | None:
    if title not in table.index:
        return None
    row = table.loc[title]
    return tuple(scale * float(row[name]) for name in (value, *limits))  # type: ignore[return-value]
