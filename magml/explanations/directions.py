"""Where the model goes with the catalogue's direction of a concept, and where against it.

The catalogue states mechanism: what lowers magnesium should raise the risk of a low value. A
disagreement is no defect by itself. Who gets a drug differs from who does not, and some drugs that
waste magnesium go with higher serum values in the population (loop diuretics; Kieboom 2018).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from magml.definitions.catalogue import Concept, Derived
from magml.evaluation.checks import SMALL_CELL

if TYPE_CHECKING:
    from magml.explanations.explain import Explanation
    from magml.explanations.people import People

#: What a direction of magnesium means for the risk of a low one.
_EXPECTED = {"lowers": 1, "raises": -1}
#: Below this difference of log-odds (2% of the odds) a direction means nothing.
NEGLIGIBLE = 0.02
_LEVELS = ("last", "mean", "max", "min", "first", "sum")


def direction_rows(why: Explanation, people: People) -> tuple[dict[str, Any], ...]:
    """Compare the model with the catalogue for every concept of a stated direction.

    An exposure or a condition is compared between those with and without it, a quantity between
    values above and not above the median; those without a value are left out.

    Parameters
    ----------
    why
        Explanations.
    people
        The people behind their rows.

    Returns
    -------
    tuple of dict
        ``concept``, ``label``, ``direction`` (of magnesium, by the catalogue), ``compared``
        (``with and without``, ``high and low``), ``people`` (with it, or high), ``difference``
        (mean contribution, log-odds: with minus without, high minus low), ``low``, ``high``,
        ``verdict`` (``agrees``, ``disagrees``, ``negligible``,
        ``undecided``). Concepts with fewer than ten
        people on a side are left out. Disagreements come first, then the largest.
    """
    names, log_odds, _ = why.at_level("concept")
    found: list[dict[str, Any]] = []
    for k, name in enumerate(names):
        item = why.catalogue.described(name)
        expected = _EXPECTED.get(item.direction)
        if expected is None or not np.any(log_odds[:, k]):
            continue
        inside, outside, compared = _sides(why, name, item)
        if min(people.within(inside), people.within(outside)) < SMALL_CELL:
            continue
        value, low, high = people.difference(log_odds[:, k : k + 1], inside, outside)
        ends = sorted((float(low[0]) * expected, float(high[0]) * expected))
        verdict = "agrees" if ends[0] > 0 else "disagrees" if ends[1] < 0 else "undecided"
        if abs(value[0]) < NEGLIGIBLE:
            verdict = "negligible"
        found.append(
            {
                "concept": name,
                "label": item.label,
                "direction": item.direction,
                "compared": compared,
                "people": people.within(inside),
                "difference": float(value[0]),
                "low": float(low[0]),
                "high": float(high[0]),
                "verdict": verdict,
            }
        )
    order = {"disagrees": 0, "agrees": 1, "undecided": 2, "negligible": 3}
    found.sort(key=lambda row: (order[row["verdict"]], -abs(row["difference"]), row["concept"]))
    return tuple(found)


def _sides(
    why: Explanation, name: str, item: Any
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], str]:
    """Return which rows have it or a high value, which do not, and which of the two it is."""
    columns = [k for k, feature in enumerate(why.schema) if feature.concept == name]
    counted = isinstance(item, Derived) and item.formula in ("count_active", "product")
    recorded = isinstance(item, Concept) and item.kind in ("exposure", "condition")
    if counted or recorded:
        having: NDArray[np.bool_] = np.any(np.nan_to_num(why.values[:, columns]) > 0, axis=1)
        return having, np.logical_not(having), "with and without"
    levels = [k for s in _LEVELS for k in columns if why.schema[k].statistic == s] or columns
    values = why.values[:, levels[0]].astype(np.float64)
    known: NDArray[np.bool_] = ~np.isnan(values)
    middle = float(np.median(values[known])) if known.any() else 0.0
    above: NDArray[np.bool_] = known & (values > middle)
    return above, np.logical_and(known, ~above), "high and low"
