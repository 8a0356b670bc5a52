"""The plot of tests needed per case found, by testing capacity."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from magml.evaluation import plot_style as style
from magml.evaluation.testing import AS_ORDERED, RANDOM_ORDER

if TYPE_CHECKING:
    import pandas as pd

    from magml.evaluation.performance import Performance


def plot_testing(performance: Performance, table: pd.DataFrame, path: Path) -> Path:
    """Draw tests needed per case and the share of cases found against the share tested.

    Parameters
    ----------
    performance : Performance
        What `evaluate` returned: it gives models their colours.
    table : pandas.DataFrame
        What `yield_of_testing` returned for the same rows.
    path : Path
        PNG to write.

    Returns
    -------
    Path
    """
    with style.plot_style():
        figure = style.new_figure(9.6, style.height_for(performance, 7.6, share=0.8))
        upper, lower = figure.subplots(2, 1, sharex=True)
        by_share = table[table["kind"] == "capacity"]
        for axes, value, low, high in (
            (upper, "tests_per_case", "low", "high"),
            (lower, "found", "found_low", "found_high"),
        ):
            for model in performance.models:
                rows = by_share[(by_share["model"] == model) & by_share[value].notna()]
                axes.plot(
                    rows["at"], rows[value], marker="o", markersize=4,
                    label=style.readable(model), **style.line_style(performance, model),
                )  # fmt: skip
                if model == performance.reference:
                    axes.fill_between(
                        rows["at"], rows[low], rows[high], color=style.BLUE, alpha=0.15, lw=0
                    )
            random = by_share[by_share["model"] == RANDOM_ORDER]
            axes.plot(
                random["at"], random[value], color=style.GREY, linestyle=(0, (1, 1.5)),
                label=f"{RANDOM_ORDER}\n(as ordered: everybody)",
            )  # fmt: skip
            axes.set_ylim(bottom=0)
        ordered = table[table["model"] == AS_ORDERED].iloc[0]["tests_per_case"]
        upper.set_title(f"Tests needed for one case (as ordered: {ordered:.1f})")
        upper.set_ylabel("tests per case found")
        lower.set_ylabel("share of cases found")
        lower.set_xlabel("share of people tested, highest risk first")
        style.percent_axes(lower, "xy")
        style.legend_beside(upper)
        style.caption(
            figure,
            performance,
            "Everybody here was tested by somebody's order: nothing is said about people whom "
            "nobody tested. Shares of fewer than ten people are not drawn.",
        )
        return style.save(figure, path)
