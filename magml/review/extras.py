"""What an explanation may hold besides its reasons: the one place that asks for it.

A bundle without percentiles of its cohort has no tests to propose and no places in the cohort;
the pages then leave these parts out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from magml.bundle import Model
    from magml.explanations import Explanation
    from magml.explanations.explain import Level

#: Below this share of agreeing members a reason is undecided, where nothing better is known.
_STABLE = 0.8
#: Proposals shown of each kind.
_TOP = 5


def stable_reasons(why: Explanation, level: Level) -> NDArray[np.bool_]:
    """Return which reasons are stable, shape (n, number of groups at the level)."""
    judged = getattr(why, "stable", None)
    if judged is not None:
        return np.asarray(judged(level), dtype=bool)
    return np.asarray(why.stability[level] >= _STABLE, dtype=bool)


def rank_ranges(why: Explanation, level: Level) -> NDArray[np.int16] | None:
    """Return between which places most members put each reason, shape (n, groups, 2), or None."""
    found: NDArray[np.int16] | None = getattr(why, "ranks", {}).get(level)
    return found


def place_in_cohort(why: Explanation, row: int, feature: str) -> str:
    """Return in words where a value lies among the people the model learned from, or nothing."""
    ask = getattr(why, "position", None)
    position = None if ask is None else ask(row, feature)
    return "" if position is None else str(position.words())


def next_tests(model: Model, values: NDArray[np.float32]) -> list[dict[str, Any]]:
    """Return the tests without a result that would most change the model's answer.

    Parameters
    ----------
    model
        The model.
    values
        One row of the plan's matrix, shape (q,).
    """
    try:
        from magml.explanations import missing_tests  # type: ignore[attr-defined,unused-ignore]
    except ImportError:
        return []
    if getattr(model, "reference", None) is None:
        return []
    return [
        {
            "label": test.label,
            "unit": test.unit or "",
            "low": float(test.low),
            "high": float(test.high),
            "change": float(test.change),
            "value_at_low": float(test.value_at_low),
            "value_at_high": float(test.value_at_high),
        }
        for test in missing_tests(model, values, top=_TOP)
    ]


def what_ifs(
    model: Model, values: NDArray[np.float32], concepts: list[str]
) -> list[dict[str, Any]]:
    """Return the model's answers without each of some modifiable exposures or conditions.

    Parameters
    ----------
    model
        The model.
    values
        One row of the plan's matrix, shape (q,).
    concepts
        Concepts that are recorded of the patient and modifiable by the catalogue.
    """
    try:
        from magml.explanations import what_if  # type: ignore[attr-defined,unused-ignore]
    except ImportError:
        return []
    found = []
    for concept in concepts[:_TOP]:
        answer = what_if(model, values, {concept: "absent"})
        if answer.features:
            found.append(
                {
                    "statement": str(answer.statement),
                    "after": float(answer.after),
                    "low": float(answer.low),
                    "high": float(answer.high),
                    "note": str(answer.note),
                }
            )
    return found
