"""The timeline of a page as lanes: one a laboratory value, one an exposure."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from magml.review.web.marks import Axis

#: Height of a lane of values in pixels, and the room kept free above and below its points.
HEIGHT, _MARGIN = 64, 14
_STEPS = tuple(timedelta(hours=hours) for hours in (3, 6, 12, 24, 48, 7 * 24, 14 * 24, 30 * 24))
_TICKS = 8


def lanes(timeline: dict[str, Any]) -> dict[str, Any]:
    """Return positions for a timeline's marks: percent across, pixels down."""
    start, end = _moment(timeline["start"]), _moment(timeline["end"])
    axis = Axis(0.0, (end - start).total_seconds())

    def at(text: str) -> float:
        return (_moment(text) - start).total_seconds()

    return {
        "labs": [_lab(lab, axis, at) for lab in timeline["labs"]],
        "exposures": [_exposure(one, axis, at) for one in timeline["exposures"]],
        "ticks": _ticks(start, end, axis),
        "start": timeline["start"],
        "end": timeline["end"],
        "height": HEIGHT,
    }


def _lab(lab: dict[str, Any], axis: Axis, at: Any) -> dict[str, Any]:
    values = [value for _, value in lab["points"]]
    reference = lab["reference"]
    low, high = min([*values, *(reference or [])]), max([*values, *(reference or [])])
    span = (high - low) or abs(high) or 1.0

    def down(value: float) -> float:
        share = (high - value) / span if high > low else 0.5
        return round(_MARGIN + share * (HEIGHT - 2 * _MARGIN), 1)

    points = [
        {
            "x": axis.at(at(time)),
            "y": down(value),
            "text": f"{value:g} {lab['unit']}, {time}",
            "outside": bool(reference) and not reference[0] <= value <= reference[1],
        }
        for time, value in lab["points"]
    ]
    latest = values[-1]
    band = None
    side = ""
    if reference:
        least, most = reference
        band = {"y": down(most), "height": max(1.0, down(least) - down(most))}
        side = "below" if latest < least else "above" if latest > most else "within"
    return {
        "label": lab["label"],
        "unit": lab["unit"],
        "latest": f"{latest:g}",
        "side": side,
        "reference": None if not reference else f"{reference[0]:g}–{reference[1]:g}",
        "band": band,
        "points": points,
        "pairs": list(pairwise(points)),
        "words": f"{lab['label']}: {len(points)} values, from {min(values):g} to {max(values):g} "
        f"{lab['unit']}, latest {latest:g}",
    }


def _exposure(one: dict[str, Any], axis: Axis, at: Any) -> dict[str, Any]:
    begun = max(0.0, at(one["start"]))
    ended = axis.high if one["end"] is None else min(axis.high, at(one["end"]))
    until = "still open" if one["end"] is None else f"until {one['end']}"
    return {
        "label": one["label"],
        "x": axis.at(begun),
        "width": axis.width(begun, max(ended, begun + 0.004 * axis.high)),
        "earlier": one["earlier"],
        "open": one["end"] is None,
        "text": f"{one['label']}: since {one['start']}, {until}",
        "until": until,
        "since": one["start"],
    }


def _ticks(start: datetime, end: datetime, axis: Axis) -> list[dict[str, str]]:
    """Return moments before the prediction time, in hours or days."""
    span = end - start
    step = next((one for one in _STEPS if span / one <= _TICKS), _STEPS[-1])
    found, back = [], timedelta(0)
    while back <= span:
        hours = back / timedelta(hours=1)
        text = f"{hours:g} h" if step < timedelta(days=1) else f"{hours / 24:g} d"
        found.append(
            {
                "x": axis.at(axis.high - back.total_seconds()),
                "text": "now" if not back else f"−{text}",
            }
        )
        back += step
    return found[::-1]


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
