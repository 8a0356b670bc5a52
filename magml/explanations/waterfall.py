"""One patient's reasons as a waterfall: from the model's starting risk to the patient's risk."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from magml.errors import InputError, nearest
from magml.explanations.stability import STABLE
from magml.explanations.words import (
    describe_domain,
    describe_feature,
    describe_percent,
    describe_value,
)
from magml.files import atomic_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from magml.explanations.explain import Explanation, Level

#: Okabe and Ito's colours, told apart by the colour-blind and in grey print.
RAISES, LOWERS, UNSTABLE, TOTAL = "#D55E00", "#0072B2", "#BBBBBB", "#333333"

# Inches.
_WIDTH, _LABELS, _GAP, _RIGHT = 10.5, 4.4, 0.15, 0.35
_TOP, _BOTTOM, _LINE, _PAD = 0.95, 1.5, 0.175, 0.16
_SIZE, _SMALL = 10.0, 8.5
_NOTE = (
    "Reasons show what the model used, not what caused a low magnesium. They are exact Shapley "
    "values of the model's log-odds{scaled}. Grey: the model's members disagree on the direction "
    f"(fewer than {STABLE:.0%} share it) or on the weight, so read it as undecided."
)


@dataclass(frozen=True)
class Bar:
    """One bar: what it stands for, its value in words, and what it adds."""

    label: str
    detail: str
    amount: float
    stable: bool = True


def draw_waterfall(
    explanation: Explanation,
    row: int,
    *,
    level: Level,
    scale: str,
    top: int,
    path: str | os.PathLike[str],
) -> Path:
    """Draw one row of an explanation to a PNG file, the same bytes for the same input.

    Parameters
    ----------
    explanation
        The explanation.
    row
        Position of the row.
    level
        ``feature``, ``concept`` or ``domain``.
    scale
        ``risk`` or ``log_odds``.
    top
        Reasons drawn one by one.
    path
        File to write, ending in ``.png``.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    InputError
        If there is no such row, level or scale, or the file is no PNG.
    """
    if not -len(explanation) <= row < len(explanation):
        raise InputError(
            f"row {row} of an explanation of {len(explanation)} rows",
            f"0 to {len(explanation) - 1}",
            "choose a row of the input",
        )
    if scale not in ("risk", "log_odds"):
        raise InputError(f"the scale {scale!r}", nearest(scale, ("risk", "log_odds")))
    target = Path(path)
    if target.suffix.lower() != ".png":
        raise InputError(f"'{target.name}'", "a file ending in .png", "rename the output file")
    from matplotlib import style

    with style.context("default"), atomic_file(target) as beside:
        figure = _figure(explanation, row, bars(explanation, row, level, scale, top), scale)
        figure.savefig(beside, format="png", dpi=150, metadata={"Software": None})
    return target


def bars(explanation: Explanation, row: int, level: Level, scale: str, top: int) -> list[Bar]:
    """Return a row's bars, the largest first and all others summed in the last."""
    names, log_odds, risks = explanation.at_level(level)
    amounts = (risks if scale == "risk" else log_odds)[row]
    order = [int(i) for i in np.argsort(-np.abs(amounts), kind="stable") if amounts[i] != 0]
    # One more bar instead of "1 other".
    shown = order if len(order) <= top + 1 else order[:top]
    stable = explanation.stable(level)[row]
    found = [
        Bar(*_words(explanation, row, level, names[i]), float(amounts[i]), bool(stable[i]))
        for i in shown
    ]
    rest = order[len(shown) :]
    if rest:
        what = {"feature": "features", "concept": "concepts", "domain": "domains"}[level]
        found.append(Bar(f"{len(rest)} other {what}", "", float(amounts[rest].sum())))
    return found


def _words(explanation: Explanation, row: int, level: Level, name: str) -> tuple[str, str]:
    """Return the label of a bar and its value in words."""
    schema, catalogue = explanation.schema, explanation.catalogue
    members = [
        i
        for i, f in enumerate(schema)
        if name == {"feature": f.name, "concept": f.concept, "domain": f.domain}[level]
    ]
    # The value shown is that of the feature with the largest part.
    largest = max(members, key=lambda i: abs(explanation.log_odds[row, i]))
    feature = schema[largest]
    value = describe_value(feature, float(explanation.values[row, largest]), catalogue)
    if level == "feature":
        return describe_feature(feature), value
    if level == "domain":
        return describe_domain(name, catalogue), f"mostly {feature.label}: {value}"
    words = describe_feature(feature)
    rest = words.removeprefix(feature.label).lstrip(", ")
    return feature.label, f"{rest}: {value}" if rest else value


def _figure(explanation: Explanation, row: int, shown: list[Bar], scale: str) -> Figure:
    """Return the drawing."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    percent = scale == "risk"
    start = explanation.base_risk if percent else explanation.base
    end = float((explanation.risk if percent else explanation.margin)[row])
    figure = Figure(dpi=150)
    measure = _Measure(FigureCanvasAgg(figure).get_renderer())
    scaled = ", rescaled so that they sum to the calibrated risk" if percent else ""
    note = measure.wrap(_NOTE.format(scaled=scaled), _WIDTH - 0.6, _SMALL)
    title = measure.wrap(explanation.title, _WIDTH - 0.6, 13)
    labels = [measure.wrap(bar.label, _LABELS - 0.3, _SIZE) for bar in shown]
    details = [measure.wrap(bar.detail, _LABELS - 0.3, _SMALL) for bar in shown]
    ends = [["The model's starting point"], ["This prediction"]]
    lines = [1, *(len(a) + len(b) for a, b in zip(labels, details, strict=True)), 1]
    heights = [_LINE * count + _PAD for count in lines]
    top = _TOP + 0.24 * (len(title) - 1)
    bottom = _BOTTOM + 0.16 * (len(note) - 2)
    height = top + sum(heights) + bottom
    figure.set_size_inches(_WIDTH, height)

    def write(x: float, y: float, text: str, **style: Any) -> None:
        figure.text(x / _WIDTH, 1 - y / height, text, parse_math=False, **style)

    for number, line in enumerate(title):
        write(0.3, 0.36 + 0.24 * number, line, fontsize=13, fontweight="bold")
    when = np.datetime_as_string(explanation.prediction_time[row], unit="m").replace("T", " ")
    figures = (
        f"Risk {describe_percent(end)}, from a starting risk of {describe_percent(start)}"
        if percent
        else f"Log-odds {end:+.3f}, from {start:+.3f}".replace("-", "−")
    )
    write(0.3, top - 0.33, f"{figures}. Prediction time {when}.", fontsize=10, color="#444444")
    for number, line in enumerate(note):
        write(
            0.3, height - 0.16 * (len(note) - number) + 0.02, line, fontsize=_SMALL, color="#555555"
        )

    y = top
    centres = []
    for label, detail, size in zip(
        [ends[0], *labels, ends[1]], [[], *details, []], heights, strict=True
    ):
        at = y + (size - _LINE * (len(label) + len(detail))) / 2 + 0.13
        for number, line in enumerate([*label, *detail]):
            plain = number < len(label)
            write(
                _LABELS,
                at + _LINE * number,
                line,
                ha="right",
                fontsize=_SIZE if plain else _SMALL,
                color="black" if plain else "#555555",
                fontweight="bold" if label in ends else "normal",
            )
        centres.append(y - top + size / 2)
        y += size
    left = _LABELS + _GAP
    axes = figure.add_axes(
        (
            left / _WIDTH,
            bottom / height,
            (_WIDTH - left - _RIGHT) / _WIDTH,
            sum(heights) / height,
        )
    )
    axes.set_ylim(sum(heights), 0)
    _draw(axes, shown, centres, start, end, percent)
    _legend(figure, shown, height, bottom)
    return figure


def _draw(
    axes: Any, shown: list[Bar], centres: list[float], start: float, end: float, percent: bool
) -> None:
    """Draw the bars and what each adds."""
    unit = 100.0 if percent else 1.0
    edges = [start * unit]
    for bar in shown:
        edges.append(edges[-1] + bar.amount * unit)
    origin = 0.0 if percent else start * unit
    low, high = min([*edges, origin, end * unit]), max([*edges, origin, end * unit])
    span = (high - low) or 1.0
    # What a bar takes away is written to its left, where there must be room for it.
    written = [after for bar, after in zip(shown, edges[1:], strict=True) if bar.amount <= 0]
    axes.set_xlim(min([low - 0.02 * span, *(x - 0.22 * span for x in written)]), high + 0.22 * span)
    thick, nudge = 0.24, 0.012 * span
    for centre, value in ((centres[0], start * unit), (centres[-1], end * unit)):
        if percent:
            axes.barh(centre, value, height=thick, color=TOTAL)
        else:
            axes.plot([value], [centre], marker="D", color=TOTAL, markersize=8)
        text = describe_percent(value / unit) if percent else f"{value:+.3f}".replace("-", "−")
        away = value + (nudge if percent else 2 * nudge)
        axes.text(away, centre, f" {text}", va="center", fontsize=_SIZE, weight="bold")
    for bar, centre, before, after in zip(shown, centres[1:-1], edges, edges[1:], strict=False):
        colour = UNSTABLE if not bar.stable else RAISES if bar.amount > 0 else LOWERS
        axes.barh(
            centre,
            after - before,
            left=before,
            height=thick,
            color=colour,
            hatch=None if bar.stable else "////",
            edgecolor="none" if bar.stable else "#666666",
            linewidth=0 if bar.stable else 0.5,
        )
        amount = bar.amount * unit
        text = f"{amount:+.1f} points" if percent else f"{amount:+.3f}"
        if percent and abs(amount) < 0.1:
            text = f"{amount:+.2f} points"
        raises = bar.amount > 0
        axes.text(
            after + (nudge if raises else -nudge),
            centre,
            text.replace("-", "−"),
            va="center",
            ha="left" if raises else "right",
            fontsize=_SMALL,
        )
    for number, edge in enumerate(edges):
        axes.plot([edge, edge], centres[number : number + 2], color="#888888", lw=0.8, zorder=0)
    if not percent:
        axes.axvline(start, color="#CCCCCC", lw=0.8, zorder=0)
    axes.set_yticks([])
    axes.tick_params(labelsize=_SMALL)
    axes.set_xlabel(
        "Risk (%); contributions in percentage points" if percent else "Log-odds", fontsize=9
    )
    if percent:
        from matplotlib.ticker import FuncFormatter

        # Partial sums may leave 0 to 100%; no risk does, so no tick says so.
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda x, _: f"{x:g}" if -1e-9 <= x <= 100 + 1e-9 else "")
        )
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _legend(figure: Figure, shown: list[Bar], height: float, bottom: float) -> None:
    """Explain the colours in use."""
    from matplotlib.patches import Patch

    entries = []
    if any(bar.stable and bar.amount > 0 for bar in shown):
        entries.append(Patch(color=RAISES, label="raises the risk"))
    if any(bar.stable and bar.amount < 0 for bar in shown):
        entries.append(Patch(color=LOWERS, label="lowers the risk"))
    if any(not bar.stable for bar in shown):
        entries.append(
            Patch(facecolor=UNSTABLE, hatch="////", edgecolor="#666666", label="undecided")
        )
    if entries:
        figure.legend(
            handles=entries,
            loc="upper right",
            bbox_to_anchor=(1 - _RIGHT / _WIDTH, (bottom - 0.5) / height),
            ncols=len(entries),
            fontsize=_SMALL,
            frameon=False,
            borderaxespad=0,
        )


class _Measure:
    """Breaks text into lines by its drawn width, so that no label is cut."""

    def __init__(self, renderer: Any) -> None:
        self._renderer = renderer

    def wrap(self, text: str, width: float, size: float) -> list[str]:
        """Return the lines of a text that is to fit a width in inches."""
        lines: list[str] = []
        for word in text.split():
            if lines and self._width(f"{lines[-1]} {word}", size) <= width:
                lines[-1] = f"{lines[-1]} {word}"
                continue
            while self._width(word, size) > width:
                fitting = (
                    n for n in range(len(word), 1, -1) if self._width(word[:n], size) <= width
                )
                cut = next(fitting, 1)
                lines.append(word[:cut])
                word = word[cut:]
            lines.append(word)
        return lines

    def _width(self, text: str, size: float) -> float:
        from matplotlib.font_manager import FontProperties

        # The renderer measures in pixels of its figure.
        font = FontProperties(size=size, weight="bold" if size > _SIZE else "normal")
        found, _, _ = self._renderer.get_text_width_height_descent(text, font, False)
        return float(found) / 150
