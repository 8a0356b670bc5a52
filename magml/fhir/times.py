"""FHIR dates: a moment where there is one, the whole span of a day, month or year where not."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from zoneinfo import ZoneInfo

_SHAPE = re.compile(
    r"(\d{4})(?:-(\d{2})(?:-(\d{2})(T\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:\d{2})?)?)?)?"
)


@dataclass(frozen=True)
class Span:
    """When something was, as exactly as it was written.

    Attributes
    ----------
    start
        Its moment, or the first moment of its day, month or year; naive, in the source's zone.
    end
        When it was over for certain: the moment itself, or the end of its day, month or year.
    """

    start: dt.datetime
    end: dt.datetime


def span(text: object, zone: ZoneInfo) -> Span | None:
    """Return the span of a FHIR date, dateTime or instant; None if it is none.

    Parameters
    ----------
    text
        Such as ``2025``, ``2025-03``, ``2025-03-01`` or ``2025-03-01T08:00:00+01:00``.
    zone
        Zone that moments with an offset are converted to.

    Examples
    --------
    >>> utc = ZoneInfo("UTC")
    >>> span("2025-03-01T08:00:00+01:00", utc).start
    datetime.datetime(2025, 3, 1, 7, 0)
    >>> span("2025-02", utc).end
    datetime.datetime(2025, 3, 1, 0, 0)
    >>> span("yesterday", utc) is None
    True
    """
    found = _SHAPE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    year, month, day, clock = found.groups()
    try:
        if clock:
            moment = dt.datetime.fromisoformat(found.group())
            if moment.tzinfo is not None:
                moment = moment.astimezone(zone).replace(tzinfo=None)
            return Span(moment, moment)
        start = dt.datetime(int(year), int(month or 1), int(day or 1))
        if day:
            return Span(start, start + dt.timedelta(days=1))
        if month:
            following = start.year + start.month // 12, start.month % 12 + 1
            return Span(start, dt.datetime(*following, 1))
        return Span(start, dt.datetime(start.year + 1, 1, 1))
    except (ValueError, OverflowError):
        return None
