"""The recorded rows behind reasons, as one line of text a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from magml.events import Events
    from magml.explanations.explain import Explanation
    from magml.features import Plan
    from magml.features.evidence import EvidenceRow
    from magml.features.few import FewRecords

#: Reasons of a prediction time whose rows are looked up unless another number is asked for.
TOP = 10
#: Rows shown of one reason, the newest; the others are counted.
_SHOWN = 5
#: Prediction times whose records are held at once.
_BLOCK = 500


def evidence_of(
    explanation: Explanation, plan: Plan, events: Events | FewRecords, top: int = TOP
) -> dict[tuple[int, str], str]:
    """Return the rows behind the largest reasons of each prediction time.

    Parameters
    ----------
    explanation
        The reasons.
    plan
        The plan that computed the features.
    events
        The records they were computed from.
    top
        Reasons of each prediction time to look up.

    Returns
    -------
    dict
        By (row, feature), the rows as text, newest first; empty where nothing is recorded.
    """
    from magml.features import find_evidence

    names = np.array([feature.name for feature in explanation.schema], dtype=object)
    size = np.abs(explanation.log_odds)
    order = np.argsort(-size, axis=1, kind="stable")[:, :top]
    found: dict[tuple[int, str], str] = {}
    for start in range(0, len(explanation), _BLOCK):
        rows = range(start, min(start + _BLOCK, len(explanation)))
        requests = [
            (
                int(explanation.subject_id[row]),
                explanation.prediction_time[row],
                tuple(names[[column for column in order[row] if size[row, column] > 0]]),
            )
            for row in rows
        ]
        for row, answer in zip(rows, find_evidence(plan, events, requests), strict=True):
            for name, lines in answer.items():
                found[row, name] = describe_rows(lines)
    return found


def describe_rows(rows: tuple[EvidenceRow, ...]) -> str:
    """Return rows as text, newest first, the oldest only counted when there are many.

    Parameters
    ----------
    rows
        Rows in the order of time.

    Examples
    --------
    >>> from datetime import datetime
    >>> from magml.features.evidence import EvidenceRow
    >>> describe_rows((EvidenceRow(
    ...     datetime(2025, 3, 1, 6), None, None, "LOINC//2823-3", 3.1, "mmol/L", None, "lab 7",
    ...     3.1),))
    '2025-03-01 06:00 LOINC//2823-3 3.1 mmol/L [lab 7]'
    """
    lines = [_describe(row) for row in rows[::-1][:_SHOWN]]
    if len(rows) > _SHOWN:
        lines.append(f"and {len(rows) - _SHOWN} earlier")
    return "; ".join(lines)


def _describe(row: EvidenceRow) -> str:
    parts = [] if row.time is None else [f"{row.time:%Y-%m-%d %H:%M}"]
    if row.end_time is not None:
        parts.append(f"to {row.end_time:%Y-%m-%d %H:%M}")
    parts.append(row.code)
    if row.value is not None:
        parts.append(f"{row.value:g}" + (f" {row.unit}" if row.unit else ""))
    elif row.text_value:
        parts.append(row.text_value)
    if row.source:
        parts.append(f"[{row.source}]")
    return " ".join(parts)
