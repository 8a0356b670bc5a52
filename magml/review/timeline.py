"""A patient's labs and exposures over time, as far as they were known and stand behind reasons."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from magml.explanations.words import describe_unit

if TYPE_CHECKING:
    from magml.definitions import Catalogue
    from magml.features.evidence import EvidenceRow

#: Labs and exposures drawn.
_LABS, _EXPOSURES = 6, 10
#: The time drawn: at least and at most so long before the prediction time.
_SHORTEST, _LONGEST = timedelta(days=3), timedelta(days=90)


def timeline(
    catalogue: Catalogue, evidence: Mapping[str, tuple[EvidenceRow, ...]], when: datetime
) -> dict[str, Any]:
    """Return the values and exposures to draw, as plain values.

    Parameters
    ----------
    catalogue
        The catalogue.
    evidence
        By feature, the rows behind it; nothing else is drawn, so that nothing later than what the
        model knew can be.
    when
        The prediction time.

    Returns
    -------
    dict
        ``start`` and ``end``; ``labs``, each with ``label``, ``unit``, ``reference`` and ``points``
        (time and value in the unit); ``exposures``, each with ``label``, ``start``, ``end`` (None:
        open) and ``earlier`` (begun before what is drawn).
    """
    rows: dict[str, set[EvidenceRow]] = {}
    for name, found in evidence.items():
        feature = catalogue.features[name]
        if feature.concept in catalogue.by_name:
            rows.setdefault(feature.concept, set()).update(found)
    labs, exposures = [], []
    for concept, found_rows in rows.items():
        item = catalogue.by_name[concept]
        in_time = sorted((row for row in found_rows if row.time is not None), key=_time)
        if item.kind == "measurement" and item.unit is not None:
            points = [(_time(row), row.used) for row in in_time if row.used is not None]
            if points:
                labs.append((concept.startswith("lab."), item, points))
        elif item.kind == "exposure":
            exposures += [(item.label, _time(row), row.end_time) for row in in_time]
    labs.sort(key=lambda lab: not lab[0])  # laboratory values before vital signs
    labs = labs[:_LABS]
    first = min((points[0][0] for _, _, points in labs), default=when)
    start = max(min(first, when - _SHORTEST), when - _LONGEST)
    return {
        "start": _text(start),
        "end": _text(when),
        "labs": [
            {
                "label": item.label,
                "unit": describe_unit(item.unit),
                "reference": list(item.reference) if item.reference else None,
                "points": [
                    [_text(time), float(f"{value:.4g}")] for time, value in points if time >= start
                ],
            }
            for _, item, points in labs
            if points[-1][0] >= start
        ],
        "exposures": [
            {
                "label": label,
                "start": _text(begun),
                "end": None if end is None else _text(end),
                "earlier": begun < start,
            }
            for label, begun, end in sorted(exposures, key=lambda exposure: exposure[:2])
            if end is None or end > start
        ][:_EXPOSURES],
    }


def _time(row: EvidenceRow) -> datetime:
    return row.time or datetime.min


def _text(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="minutes")
