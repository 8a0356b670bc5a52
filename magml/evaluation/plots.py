"""Plots of an evaluation as PNG files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from magml.errors import InputError
from magml.evaluation import plot_style as style
from magml.evaluation.checks import (
    SMALL_CELL,
    TREAT_ALL,
    TREAT_NONE,
    check_labels,
    check_reference,
    check_risks,
    check_weights,
)
from magml.evaluation.discrimination import rank, tally
from magml.evaluation.measures import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

    from magml.evaluation.performance import Performance

    Floats = NDArray[np.float64]

_FOREST = ("auroc", "auprc", "log_loss", "brier")
_MOST_BINS = 30


def write_plots(
    performance: Performance,
    labels: ArrayLike,
    risks: Mapping[str, ArrayLike],
    folder: str | os.PathLike[str],
    *,
    weights: ArrayLike | None = None,
    outcome: str = "outcome",
) -> dict[str, Path]:
    """Write the plots of an evaluation; the same input gives the same bytes.

    Parameters
    ----------
    performance : Performance
        What `evaluate` returned.
    labels, risks, weights
        What `evaluate` was given.
    folder : path
        Where the files go; made if missing.
    outcome : str
        What the outcome is called in the legends, such as "low magnesium".

    Returns
    -------
    dict of str to pathlib.Path
        `calibration` (with the predicted risks by outcome under it), `roc`, `precision_recall`,
        `decision_curve`, `risk_distribution` and, where there are models to compare with,
        `differences`. The outermost bars of histograms hold all people beyond them, at least ten.

    Raises
    ------
    InputError
        If the rows or models are not those of `performance`, or the folder cannot be made.

    Examples
    --------
    >>> import tempfile
    >>> from magml.evaluation import evaluate
    >>> y, risks = [0, 1, 0, 1], {"model": [0.2, 0.7, 0.4, 0.3]}
    >>> done = evaluate(y, risks, groups=[1, 2, 3, 4], replicates=10)
    >>> sorted(write_plots(done, y, risks, tempfile.mkdtemp()))
    ['calibration', 'decision_curve', 'precision_recall', 'risk_distribution', 'roc']
    """
    events = check_labels(labels)
    checked = check_risks(risks, events.size)
    for model in performance.models:
        check_reference(model, list(checked))
    used = check_weights(weights, events)
    given = (events.size, int(events.sum()), weights is not None)
    if given != (performance.n, performance.events, performance.weighted):
        raise InputError(
            f"{given[0]} rows, {given[1]} events, {'with' if given[2] else 'without'} weights",
            f"the evaluated {performance.n} rows, {performance.events} events, "
            f"{'with' if performance.weighted else 'without'} weights",
            "pass what evaluate was given",
        )
    shown = {model: checked[model] for model in performance.models}
    target = Path(folder)
    drawings: dict[str, Callable[[], Figure]] = {
        "calibration": lambda: _calibration(performance, events, shown, used, outcome),
        "roc": lambda: _roc(performance, events, shown, used),
        "precision_recall": lambda: _precision_recall(performance, events, shown, used),
        "decision_curve": lambda: _decision_curve(performance),
        "risk_distribution": lambda: _distribution(performance, events, shown, used, outcome),
    }
    if len(performance.models) > 1:
        drawings["differences"] = lambda: _differences(performance)
    with style.plot_style():
        return {name: style.save(draw(), target / f"{name}.png") for name, draw in drawings.items()}


def _calibration(
    performance: Performance,
    events: NDArray[np.bool_],
    risks: Mapping[str, Floats],
    weights: Floats,
    outcome: str,
) -> Figure:
    figure = style.new_figure(8.6, style.height_for(performance, 7.4, share=0.75))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3.4, 1.0])
    table = performance.calibration
    top = 0.0
    for model in performance.models:
        curve = table[(table["model"] == model) & (table["kind"] == "curve")]
        slope = style.with_interval(performance, "calibration_slope", model)
        upper.plot(
            curve["predicted"],
            curve["observed"],
            label=f"{style.readable(model)}\nslope {slope}",
            marker="o" if len(curve) == 1 else None,
            **style.line_style(performance, model),
        )
        top = max(top, float(curve["predicted"].max()), float(curve["observed"].max()))
        if model == performance.reference:
            upper.fill_between(
                curve["predicted"], curve["low"], curve["high"], color=style.BLUE, alpha=0.15, lw=0
            )
            groups = table[(table["model"] == model) & (table["kind"] == "group")]
            spread = np.abs(groups[["low", "high"]].to_numpy().T - groups["observed"].to_numpy())
            upper.errorbar(
                groups["predicted"], groups["observed"], spread, fmt="o", color=style.BLUE,
                markerfacecolor="white", markersize=6, elinewidth=1.2, zorder=6,
                label="Groups of similar risk\n(Wilson interval)",
            )  # fmt: skip
            top = max([top, *groups["predicted"], *groups["observed"]])
    top = min(1.0, 1.08 * top)
    upper.axline((0, 0), slope=1, color=style.GREY, lw=1.0, ls=(0, (4, 3)), label="Ideal", zorder=1)
    upper.set(xlim=(0, top), ylim=(-0.012 * top, top), ylabel=f"Observed share with {outcome}")
    upper.set_title("Calibration")
    _mirrored(lower, events, risks[performance.reference], weights, top, outcome)
    lower.set_xlabel("Predicted risk")
    style.percent_axes(upper, "xy")
    style.legend_beside(upper)
    style.legend_beside(lower, title=f"Risks by {style.readable(performance.reference)}")
    style.caption(figure, performance, "The outermost bars hold all risks beyond them.")
    return figure


def _mirrored(
    axes: Axes,
    events: NDArray[np.bool_],
    risks: Floats,
    weights: Floats,
    top: float,
    outcome: str,
) -> None:
    """Histogram of people with the outcome upwards, of the others downwards."""
    edges = _bin_edges(events, top)
    pooled = np.minimum(_pool_tails(risks), top)
    for mask, sign, colour, name in (
        (events, 1, style.EVENT, f"With {outcome}"),
        (~events, -1, style.NO_EVENT, f"Without {outcome}"),
    ):
        share = np.histogram(pooled[mask], edges, weights=weights[mask])[0] / weights[mask].sum()
        axes.bar(edges[:-1], sign * share, np.diff(edges), align="edge", color=colour, label=name)
    axes.axhline(0, color=style.BLACK, lw=0.8)
    style.percent_axes(axes, "y")
    axes.set_ylabel("Share of\neach class")


def _bin_edges(events: NDArray[np.bool_], top: float) -> Floats:
    """Edges of bars that hold a small cell of the rarer class on average, five bars at least."""
    rarer = int(min(events.sum(), (~events).sum()))
    return np.linspace(0.0, top, int(np.clip(rarer // SMALL_CELL, 5, _MOST_BINS)) + 1)


def _pool_tails(risks: Floats) -> Floats:
    """Risks with at least a small cell of people at each end of their range."""
    cell = min(SMALL_CELL, (risks.size + 1) // 2)
    ordered = np.sort(risks)
    return np.clip(risks, ordered[cell - 1], ordered[-cell])


def _roc(
    performance: Performance,
    events: NDArray[np.bool_],
    risks: Mapping[str, Floats],
    weights: Floats,
) -> Figure:
    figure = style.new_figure(8.6, style.height_for(performance, 5.6))
    axes = figure.subplots()
    for model, values in risks.items():
        true, false = _operating_points(events, values, weights)
        axes.plot(
            false / false[-1],
            true / true[-1],
            label=f"{style.readable(model)}\n{style.with_interval(performance, 'auroc', model)}",
            **style.line_style(performance, model),
        )
    axes.plot([0, 1], [0, 1], color=style.GREY, lw=1.0, ls=(0, (4, 3)), label="Chance", zorder=1)
    axes.set(
        xlim=(0, 1), ylim=(0, 1.005), aspect="equal",
        xlabel="1 - specificity (false positive rate)",
        ylabel="Sensitivity (true positive rate)",
    )  # fmt: skip
    axes.set_title("ROC curve")
    style.percent_axes(axes, "xy")
    style.legend_beside(axes, title="AUROC")
    style.caption(figure, performance)
    return figure


def _precision_recall(
    performance: Performance,
    events: NDArray[np.bool_],
    risks: Mapping[str, Floats],
    weights: Floats,
) -> Figure:
    figure = style.new_figure(8.6, style.height_for(performance, 5.6))
    axes = figure.subplots()
    for model, values in risks.items():
        true, false = _operating_points(events, values, weights)
        axes.step(
            true[1:] / true[-1],
            true[1:] / (true[1:] + false[1:]),
            where="pre",
            marker="o" if true.size == 2 else None,
            label=f"{style.readable(model)}\n{style.with_interval(performance, 'auprc', model)}",
            **style.line_style(performance, model),
        )
    share = performance.prevalence
    axes.axhline(share, color=style.GREY, lw=1.0, ls=(0, (4, 3)), label=f"Prevalence {share:.1%}")
    axes.set(
        xlim=(0, 1), ylim=(0, 1.005), aspect="equal",
        xlabel="Recall (sensitivity)", ylabel="Precision (positive predictive value)",
    )  # fmt: skip
    axes.set_title("Precision-recall curve")
    style.percent_axes(axes, "xy")
    style.legend_beside(axes, title="AUPRC (average precision)")
    style.caption(figure, performance)
    return figure


def _operating_points(
    events: NDArray[np.bool_], risks: Floats, weights: Floats
) -> tuple[Floats, Floats]:
    """Weight of true and false positives at each distinct risk, from nobody to everybody.

    Points at which fewer than a small cell of people are flagged are left out: they would show
    single people, and precision means nothing there.
    """
    distinct, rows = np.unique(-risks, return_counts=True)
    true, false = tally(rank(events, risks), weights[None, :]).at(-distinct)
    shown = (np.cumsum(rows) >= SMALL_CELL) & (true[0] + false[0] > 0)
    shown[-1] = True
    return np.append(0.0, true[0][shown]), np.append(0.0, false[0][shown])


def _decision_curve(performance: Performance) -> Figure:
    figure = style.new_figure(8.6, style.height_for(performance, 5.2))
    axes = figure.subplots()
    table = performance.net_benefit
    highest = float(table["net_benefit"].max())
    lowest = -0.15 * highest
    for model in performance.models:
        curve = table[table["model"] == model]
        axes.plot(
            curve["threshold"],
            curve["net_benefit"],
            label=style.readable(model),
            **style.line_style(performance, model),
        )
        # Far below 0 a curve only says "no"; the scale is kept for where it says how much.
        lowest = max(min(lowest, 1.1 * float(curve["net_benefit"].min())), -0.5 * highest)
        if model == performance.reference:
            axes.fill_between(
                curve["threshold"], curve["low"], curve["high"], color=style.BLUE, alpha=0.15, lw=0
            )
            highest = max(highest, float(curve["high"].max()))
    everybody = table[table["model"] == TREAT_ALL]
    axes.plot(
        everybody["threshold"],
        everybody["net_benefit"],
        color=style.GREY,
        lw=1.4,
        label="Treat all",
    )
    nobody = table[table["model"] == TREAT_NONE]
    axes.plot(
        nobody["threshold"], nobody["net_benefit"], color=style.BLACK, lw=1.0, label="Treat none"
    )
    axes.set(
        xlim=(0, float(table["threshold"].max())), ylim=(lowest, 1.05 * highest),
        xlabel="Risk threshold at which one would act",
        ylabel="Net benefit (true positives per person)",
    )  # fmt: skip
    axes.set_title("Decision curve")
    style.percent_axes(axes, "x")
    style.legend_beside(axes)
    style.caption(
        figure, performance, f"Band: interval of {style.readable(performance.reference)}."
    )
    return figure


def _distribution(
    performance: Performance,
    events: NDArray[np.bool_],
    risks: Mapping[str, Floats],
    weights: Floats,
    outcome: str,
) -> Figure:
    count = len(risks)
    figure = style.new_figure(8.6, 4.6 + 0.5 * count)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3.0, 0.6 + 0.45 * count])
    pooled = _pool_tails(risks[performance.reference])
    top = min(1.0, 1.02 * max(np.quantile(values, 0.995) for values in risks.values()))
    edges = _bin_edges(events, max(top, float(pooled.max())))
    classes = (
        (~events, style.NO_EVENT, f"Without {outcome}"),
        (events, style.EVENT, f"With {outcome}"),
    )
    for mask, colour, name in classes:
        share = weights[mask] / weights[mask].sum()
        drawn: dict[str, Any] = {"bins": edges, "weights": share, "color": colour}
        upper.hist(pooled[mask], alpha=0.35, label=f"{name} (n = {int(mask.sum()):,})", **drawn)
        upper.hist(pooled[mask], histtype="step", lw=1.5, **drawn)
    upper.set_ylabel("Share of each class")
    upper.set_title(f"Predicted risk by outcome: {style.readable(performance.reference)}")
    upper.legend(loc="upper right")
    style.percent_axes(upper, "xy")
    for row, values in enumerate(risks.values()):
        for mask, colour, shift in ((events, style.EVENT, -0.16), (~events, style.NO_EVENT, 0.16)):
            low, first, middle, third, high = _quantiles(values[mask], weights[mask])
            lower.plot([low, high], [row + shift] * 2, color=colour, lw=1.5)
            lower.plot([first, third], [row + shift] * 2, color=colour, lw=6, solid_capstyle="butt")
            lower.plot(middle, row + shift, "o", color="white", mec=style.BLACK, ms=5, zorder=4)
    lower.set_yticks(range(count), [style.readable(model) for model in risks])
    lower.set(ylim=(count - 0.5, -0.5), xlim=(0, edges[-1]), xlabel="Predicted risk")
    lower.tick_params(axis="y", length=0)
    style.caption(
        figure,
        performance,
        "The outermost bars hold all risks beyond them. "
        "Lower panel: median (circle), middle half (bar), 5% to 95% (line).",
        intervals=False,
    )
    return figure


def _quantiles(values: Floats, weights: Floats) -> Floats:
    """Weighted 5%, 25%, 50%, 75% and 95% points."""
    return np.quantile(
        values, [0.05, 0.25, 0.5, 0.75, 0.95], weights=weights, method="inverted_cdf"
    )


def _differences(performance: Performance) -> Figure:
    others = performance.models[1:]
    figure = style.new_figure(11.0, 2.6 + 0.42 * len(others))
    panels = figure.subplots(1, len(_FOREST), sharey=True)
    table = performance.differences
    for axes, metric in zip(panels, _FOREST, strict=True):
        rows = table[table["metric"] == metric].set_index("model").loc[list(others)]
        better = METRICS[metric].better == "higher"
        # Losses are turned round, so that to the right the reference is better in every panel.
        sign = 1.0 if better else -1.0
        value = sign * rows["difference"].to_numpy()
        ends = sign * rows[["low", "high"]].to_numpy()
        axes.axvline(0, color=style.GREY, lw=1.0)
        axes.hlines(range(len(others)), ends.min(axis=1), ends.max(axis=1), color=style.BLUE, lw=2)
        axes.plot(value, range(len(others)), "s", color=style.BLUE, ms=6)
        axes.locator_params(axis="x", nbins=4)
        axes.set_title(METRICS[metric].title)
        axes.set_xlabel("Higher by" if better else "Lower by")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.12)
    panels[0].set_yticks(range(len(others)), [style.readable(model) for model in others])
    panels[0].set_ylim(len(others) - 0.5, -0.5)
    figure.suptitle(
        f"{style.readable(performance.reference)} compared with each baseline",
        x=0.01, ha="left", fontsize=13, fontweight="bold",
    )  # fmt: skip
    style.caption(
        figure, performance,
        f"To the right of 0, {style.readable(performance.reference)} is better. Paired on the "
        "same rows and resamples.",
    )  # fmt: skip
    return figure
