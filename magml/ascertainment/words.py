"""What a correction says, in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from magml.evaluation.measures import METRICS

if TYPE_CHECKING:
    import pandas as pd

    from magml.ascertainment.correct import Correction

#: What the corrected figures rest on, said wherever they are shown.
ASSUMPTION = (
    "Corrected figures hold if, among people with the same records, those tested and those not "
    "tested would be found low equally often. The records cannot show whether that is so; the "
    "range below says how much hangs on it."
)
_SHOWN = ("auroc", "calibration_intercept", "brier")


def describe(correction: Correction) -> tuple[str, ...]:
    """Return sentences for a report: raw and corrected, the range, and what speaks against it.

    Examples
    --------
    >>> describe(None)  # doctest: +SKIP
    ('1,000 of 4,000 ... were measured (25%).', ...)
    """
    return tuple(_sentences(correction))


def _sentences(found: Correction) -> Iterator[str]:
    share = found.tested / found.target
    yield (
        f"{found.tested:,} of {found.target:,} prediction times that could have been tested were "
        f"({share:.0%}); in the others nobody knows what would have been found."
    )
    raw, corrected = found.value("prevalence", estimate="raw"), found.value("prevalence")
    yield (
        f"Share with the outcome: {_percent(raw)} of those tested; {_percent(corrected)} estimated "
        "in everybody."
    )
    for metric in _SHOWN:
        yield (
            f"{METRICS[metric].title}: {_number(found.value(metric, estimate='raw'))} in those "
            f"tested; {_number(found.value(metric))} estimated in everybody "
            f"({_number(found.value(metric, estimate='weighted'))} by weights alone)."
        )
    yield ASSUMPTION
    yield from _range(found.sensitivity)
    yield from (f"Caution: {concern}." for concern in found.diagnostics.concerns())


def _range(table: pd.DataFrame) -> Iterator[str]:
    """Say what the figures become over the range of the unrecorded."""
    least, most = table["odds_ratio"].min(), table["odds_ratio"].max()
    if least == most:
        return
    first = next(name for name in table["model"].unique() if name)
    for metric, model, show in (("prevalence", "", "{:.1%}"), ("auroc", first, "{:.3f}")):
        rows = table[(table["metric"] == metric) & (table["model"] == model)]
        ordered = rows.sort_values("value", kind="stable")
        low, high = ordered.iloc[0], ordered.iloc[-1]
        title = "share with the outcome" if metric == "prevalence" else METRICS[metric].title
        yield (
            f"If the odds of the outcome in the untested were {least:g} to {most:g} times those of "
            f"tested people with the same records, the {title} in everybody would be "
            f"{show.format(low['value'])} (at {low['odds_ratio']:g}) to "
            f"{show.format(high['value'])} (at {high['odds_ratio']:g}); with sampling error "
            f"{show.format(rows['low'].min())} to {show.format(rows['high'].max())}."
        )


def _percent(value: tuple[float, float, float]) -> str:
    return "{:.1%} ({:.1%} to {:.1%})".format(*value)


def _number(value: tuple[float, float, float]) -> str:
    return "{:.3f} ({:.3f} to {:.3f})".format(*value)
