"""Cutting time into periods."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from magml.clock import seconds
from magml.errors import DefinitionError, InputError

_CALENDAR = {"day": "D", "week": "W-MON", "month": "MS", "quarter": "QS", "year": "YS"}
#: More periods than this are a mistake in the times, or in the choice.
_MOST = 400


@dataclass(frozen=True)
class Period:
    """A span of time, `until` not in it."""

    name: str
    since: pd.Timestamp
    until: pd.Timestamp


def cut(times: NDArray[np.datetime64], every: str) -> tuple[Period, ...]:
    """Return the periods that hold the times, in order, the empty ones between them included.

    Parameters
    ----------
    times
        Prediction times, shape (n,), at least one.
    every
        ``day``, ``week`` (from Monday), ``month``, ``quarter``, ``year``, or a duration such as
        ``30d``, counted from midnight of the first.

    Raises
    ------
    InputError
        If there would be more than 400.

    Examples
    --------
    >>> [p.name for p in cut(np.array(["2025-01-31", "2025-03-02"], "datetime64[us]"), "month")]
    ['2025-01', '2025-02', '2025-03']
    """
    first, last = pd.Timestamp(times.min()), pd.Timestamp(times.max())
    step: float
    if every in _CALENDAR:
        start = first.normalize()
        if every == "week":
            start -= pd.Timedelta(days=start.weekday())
        elif every != "day":
            start = start.to_period({"month": "M", "quarter": "Q", "year": "Y"}[every]).start_time
        frequency: str | pd.Timedelta = _CALENDAR[every]
        step = {"day": 1, "week": 7, "month": 28, "quarter": 90, "year": 365}[every]
    else:
        try:
            frequency = pd.Timedelta(seconds=seconds(every))
        except DefinitionError as error:
            raise InputError(
                f"the period {every!r}",
                f"one of {', '.join(_CALENDAR)}, or a duration such as 30d",
                "correct --every",
            ) from error
        start, step = first.normalize(), frequency / pd.Timedelta(days=1)
    if step <= 0 or (last - start) / pd.Timedelta(days=1) / step > _MOST:
        raise InputError(
            f"prediction times from {first.date()} to {last.date()}, by {every}",
            f"at most {_MOST} periods",
            "choose longer periods, or check the prediction times",
        )
    bounds = [start]
    while bounds[-1] <= last:
        bounds.append(
            bounds[-1] + frequency
            if isinstance(frequency, pd.Timedelta)
            else pd.date_range(bounds[-1], periods=2, freq=frequency)[1]
        )
    return tuple(Period(_name(since, every), since, until) for since, until in pairwise(bounds))


def _name(since: pd.Timestamp, every: str) -> str:
    if every == "month":
        return str(since.strftime("%Y-%m"))
    if every == "quarter":
        return f"{since.year} Q{since.quarter}"
    if every == "year":
        return str(since.year)
    return str(since.strftime("%Y-%m-%d"))
