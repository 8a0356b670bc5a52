"""Periods in numpy: eras of exposures, and the doses of their drugs.

The same aggregates as the plan's queries ``exposures`` and ``doses``. Rows are sorted by person,
concept and time; what a pair of prediction time and concept gets depends on its own rows alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from magml.clock import MICROSECONDS_PER_HOUR, seconds
from magml.features.plan import MICROSECONDS, STATIC, Plan, used_statistics
from magml.features.ranges import Rows

Ints = NDArray[np.int64]
_DAY = 24 * MICROSECONDS_PER_HOUR


def aggregate_exposures(
    plan: Plan, exposed: Rows, row: Ints, index: Ints, t: Ints
) -> dict[str, Any]:
    """Aggregate visible periods by row and concept, as the query ``exposures``.

    Parameters
    ----------
    plan
        The plan.
    exposed
        Periods sorted by person, concept and time.
    row, index, t
        Of each pair of prediction time and visible period: position of the prediction time,
        position in `exposed`, and the time itself in microseconds; int64 [pairs].
    """
    concept, time, end = exposed.concept_id[index], exposed.time_us[index], exposed.end_us[index]
    starts = group_starts(row, concept)
    found: dict[str, Any] = {"row_id": row[starts]}
    if len(starts) == 0:
        return found
    still = end > t
    stop = np.where(still, t, np.maximum(end, time))
    reached = _reached(stop, starts)
    first = np.zeros(len(row), dtype=bool)
    first[starts] = True
    opens = first | (time > reached + _gaps(plan)[concept])
    fresh = np.where(opens, time, reached)
    found |= {
        "concept_id": concept[starts],
        "active": np.maximum.reduceat(still.astype(np.int32), starts),
        "stop_us": np.maximum.reduceat(stop, starts),
        "start_us": np.maximum.reduceat(np.where(opens, time, STATIC), starts),
        "covered_us": np.add.reduceat(np.maximum(stop - fresh, 0), starts).astype(np.float64),
    }
    used = used_statistics(plan, exposures=True)
    begins = first.copy()
    begins[1:] |= time[1:] != time[:-1]

    def counted(which: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.add.reduceat(which.astype(np.int64), starts).astype(np.float64)

    if "count" in used:
        found["begun"] = counted(begins)
    if "eras" in used:
        found["eras"] = counted(opens)
    for k, window in enumerate(plan.exposure_windows):
        edge = t - window * MICROSECONDS
        covered = np.add.reduceat(np.maximum(stop - np.maximum(fresh, edge), 0), starts)
        found[f"covered_us_{k}"] = covered.astype(np.float64)
        if "count" in used:
            found[f"begun_{k}"] = counted(begins & (time >= edge))
        if "eras" in used:
            # The one row of an era that is the first to reach into the window.
            found[f"eras_{k}"] = counted((stop >= edge) & (opens | (reached < edge)))
    return found


def aggregate_doses(
    plan: Plan, given: Rows, per_hour: NDArray[np.bool_], row: Ints, index: Ints, t: Ints
) -> dict[str, Any]:
    """Aggregate visible doses by row and drug, as the query ``doses``.

    Parameters
    ----------
    plan, row, index, t
        As `aggregate_exposures`.
    given
        Doses sorted by person, drug and time, under the ids of their drugs.
    per_hour
        Which of them are rates, bool [len(given)].
    """
    drug, time, end = given.concept_id[index], given.time_us[index], given.end_us[index]
    value, rate = given.value[index], per_hour[index]
    starts = group_starts(row, drug)
    found: dict[str, Any] = {"row_id": row[starts]}
    if len(starts) == 0:
        return found
    still = end > t
    stop = np.where(still, t, np.maximum(end, time))
    running = np.where(rate, still, time >= t - _DAY)

    def amount(edge: Ints | None) -> NDArray[np.float64]:
        begin = time if edge is None else np.maximum(time, edge)
        hours = np.maximum(stop - begin, 0) / MICROSECONDS_PER_HOUR
        total = 1.0 if edge is None else (time >= edge).astype(np.float64)
        return np.add.reduceat(value * np.where(rate, hours, total), starts)

    found |= {
        "concept_id": drug[starts],
        "stop_us": np.maximum.reduceat(stop, starts),
        "running": np.maximum.reduceat(running.astype(np.int32), starts),
        "daily": np.add.reduceat(np.where(running, value * np.where(rate, 24.0, 1.0), 0.0), starts),
        "amount": amount(None),
    }
    for k, window in enumerate(plan.exposure_windows):
        found[f"amount_{k}"] = amount(t - window * MICROSECONDS)
    return found


def group_starts(*keys: NDArray[Any]) -> Ints:
    """Return where a group of neighbours with equal keys begins."""
    if len(keys[0]) == 0:
        return np.empty(0, dtype=np.int64)
    changed = np.ones(len(keys[0]), dtype=bool)
    changed[1:] = False
    for key in keys:
        changed[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(changed)


def _gaps(plan: Plan) -> Ints:
    """Return how long after a stop the next record continues the era, by concept."""
    gaps = [seconds(c.definition.gap) if c.definition.gap else 0 for c in plan.concepts]
    return np.array(gaps, dtype=np.int64) * MICROSECONDS


def _reached(stop: Ints, starts: Ints) -> Ints:
    """Return the furthest stop before each row of its group; the first row has no meaning."""
    # A running maximum that begins anew in each group: ranks are small enough to add the group.
    order = np.argsort(stop, kind="stable")
    rank = np.empty(len(stop), dtype=np.int64)
    rank[order] = np.arange(len(stop))
    group = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(stop))) * len(stop)
    furthest = np.maximum.accumulate(rank + group) - group
    return np.concatenate([[0], stop[order][furthest[:-1]]])
