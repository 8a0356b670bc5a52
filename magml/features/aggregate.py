"""Aggregating the mapped rows of a range of people, in numpy.

The same aggregates as the plan's queries ``points``, ``exposures`` and ``doses``, in the same
form: other engines run the SQL, DuckDB maps and streams the rows and this module aggregates
them. Rows are sorted once by person, concept and time; every aggregate is then a pass over
neighbours. What a pair of row and concept gets depends on its own values alone, so that a person
scored by herself gets, bit for bit, what she gets among millions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magml.features.combine import Long
from magml.features.periods import aggregate_doses, aggregate_exposures, group_starts
from magml.features.plan import MICROSECONDS, OPEN, STATIC, Plan, used_statistics
from magml.features.ranges import Rows

Ints = NDArray[np.int64]

#: Rows that are joined with prediction times at once; more prediction times take more turns.
_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Turn:
    """Columns of the queries ``points``, ``exposures`` and ``doses`` about some rows."""

    rows: range
    points: Long
    exposures: Long
    doses: Long


def aggregate(plan: Plan, rows: Rows, subject_id: Ints, t_us: Ints) -> Iterator[Turn]:
    """Yield aggregates of moments, exposures and doses, by batches of prediction times.

    Parameters
    ----------
    plan
        The plan whose concepts the rows are mapped to.
    rows
        Mapped rows, in any order.
    subject_id, t_us
        Prediction times of these people, sorted by person, int64 [rows].

    Yields
    ------
    Turn
        ``row_id`` is a position in `t_us`.
    """
    moments, _, superseded = _corrected(rows.where(rows.concept_id < plan.first_exposure))
    dated = rows.time_us > STATIC
    periods = (rows.concept_id >= plan.first_exposure) & (rows.concept_id < plan.first_dose)
    exposed = rows.where(periods & dated)
    exposed = exposed.take(_order(_key(exposed), exposed))
    given = rows.where((rows.concept_id >= plan.first_dose) & dated)
    given, per_hour, replaced = _corrected_doses(plan, given)
    for first, last in _turns((moments, exposed, given), subject_id):
        turn, times = subject_id[first:last], t_us[first:last]
        points = _points(plan, moments, *_visible(moments, turn, times, superseded))
        exposures = aggregate_exposures(plan, exposed, *_visible(exposed, turn, times))
        doses = aggregate_doses(plan, given, per_hour, *_visible(given, turn, times, replaced))
        for long in (points, exposures, doses):
            long["row_id"] += first
        yield Turn(range(first, last), points, exposures, doses)


def _visible(
    rows: Rows, subject_id: Ints, t_us: Ints, until: Ints | None = None
) -> tuple[Ints, Ints, Ints]:
    """Return the pairs of a prediction time and a row that is known and has begun before it.

    Parameters
    ----------
    rows
        Rows sorted by person.
    subject_id, t_us
        Prediction times, sorted by person, int64 [k].
    until
        When another row takes the place of each, int64 [rows].

    Returns
    -------
    tuple
        Position of the prediction time, position of the row, and the time itself; int64 [pairs].
    """
    row, index = _joined(rows.subject_id, subject_id)
    t = t_us[row]
    visible = (rows.known_us[index] < t) & (rows.time_us[index] < t)
    if until is not None:
        visible &= until[index] >= t
    if visible.all():  # as where people have one prediction time each
        return row, index, t
    some = np.flatnonzero(visible)
    return row[some], index[some], t[some]


def _corrected(rows: Rows) -> tuple[Rows, Ints, Ints]:
    """Return rows in order, their order, and when the next of the same moment takes its place."""
    rows, order, same = _sorted_moments(rows)
    superseded = np.full(len(same), OPEN, dtype=np.int64)
    again = np.flatnonzero(same)
    superseded[again - 1] = rows.known_us[again]
    return rows, order, superseded


def _corrected_doses(plan: Plan, rows: Rows) -> tuple[Rows, NDArray[np.bool_], Ints]:
    """Return doses under the ids of their drugs, which are rates, and when they are replaced.

    A rate may correct a total of the same drug, and the other way round.
    """
    per_hour = rows.concept_id >= len(plan.concepts)
    drug = np.where(per_hour, rows.concept_id - plan.drugs, rows.concept_id)
    rows, order, superseded = _corrected(replace(rows, concept_id=drug.astype(np.int32)))
    return rows, per_hour[order], superseded


def _key(rows: Rows) -> Ints | None:
    """Return one number that sorts by subject, concept and time; None where it does not fit."""
    if len(rows) == 0:
        return None
    # Rows of one person mostly stand together: runs are few, and cheap to rank.
    runs = np.flatnonzero(np.append(True, rows.subject_id[1:] != rows.subject_id[:-1]))
    rank = np.unique(rows.subject_id[runs], return_inverse=True)[1]
    person = np.repeat(rank, np.diff(runs, append=len(rows)))
    dated = rows.time_us > STATIC
    since = np.where(dated, rows.time_us, OPEN)
    since -= since.min()
    others = int(person.max()).bit_length() + int(rows.concept_id.max()).bit_length()
    # Moments of whole seconds end in the same six zeros: to leave those is cheaper than to divide.
    in_use = int(np.bitwise_or.reduce(since, where=dated))
    zeros = (in_use & -in_use).bit_length() - 1 if in_use else 0
    if others + (in_use >> zeros).bit_length() < 63:
        since >>= zeros
    elif not np.any(since % MICROSECONDS, where=dated):
        since //= MICROSECONDS
    since = np.where(dated, since + 1, 0)
    bits = [int(part.max()).bit_length() for part in (person, rows.concept_id, since)]
    if sum(bits) > 63:
        return None
    return (((person << bits[1]) | rows.concept_id) << bits[2]) | since


def _order(key: Ints | None, rows: Rows) -> Ints:
    if key is None:
        return np.lexsort((rows.time_us, rows.concept_id, rows.subject_id))
    return np.argsort(key)


def _sorted_moments(rows: Rows) -> tuple[Rows, Ints, NDArray[np.bool_]]:
    """Return rows by subject, concept, time, known, value and end, their order, and who repeats.

    Equal to the one before are rows of one subject, concept and time. Those alone need the last
    three keys, and with them their order is that of their content alone.
    """
    order = _order(_key(rows), rows)
    rows = rows.take(order)
    same = np.zeros(len(order), dtype=bool)
    if len(order) == 0:
        return rows, order, same
    same[1:] = True
    for values in (rows.time_us, rows.concept_id, rows.subject_id):
        same[1:] &= values[1:] == values[:-1]
    several = same.copy()
    several[:-1] |= same[1:]
    among = np.flatnonzero(several)
    if len(among):
        some = rows.take(among)
        least = (some.end_us, some.value, some.known_us)
        ranked = np.lexsort((*least, some.time_us, some.concept_id, some.subject_id))
        order[among] = order[among[ranked]]
        rows.put(among, some.take(ranked))
    return rows, order, same


def _turns(parts: tuple[Rows, ...], subject_id: Ints) -> Iterator[tuple[int, int]]:
    """Yield runs of prediction times whose joins with the rows are not too long."""
    length = np.zeros(len(subject_id), dtype=np.int64)
    for rows in parts:
        length += np.searchsorted(rows.subject_id, subject_id, side="right")
        length -= np.searchsorted(rows.subject_id, subject_id)
    turn = np.cumsum(length) // _AT_ONCE
    starts = [0, *(np.flatnonzero(np.diff(turn)) + 1).tolist()]
    yield from zip(starts, [*starts[1:], len(subject_id)], strict=True)


def _joined(sorted_ids: Ints, subject_id: Ints) -> tuple[Ints, Ints]:
    """Return, for every pair of prediction time and row of its person, their positions."""
    start = np.searchsorted(sorted_ids, subject_id)
    length = np.searchsorted(sorted_ids, subject_id, side="right") - start
    row = np.repeat(np.arange(len(subject_id)), length)
    shift = start - np.concatenate([[0], np.cumsum(length)[:-1]])
    return row, np.arange(len(row)) + np.repeat(shift, length)


def _points(plan: Plan, moments: Rows, row: Ints, index: Ints, t: Ints) -> dict[str, Any]:
    """Aggregate visible moments by row, concept and bin, as the query ``points``."""
    concept, time, value = (
        moments.concept_id[index],
        moments.time_us[index],
        moments.value[index],
    )
    place = _bins(plan, concept, time, t)
    kept = np.flatnonzero(place >= 0)
    if len(kept) < len(place):
        row, concept, time, value = row[kept], concept[kept], time[kept], value[kept]
        t, place = t[kept], place[kept]
    starts = group_starts(row, concept, place)
    found: dict[str, Any] = {"row_id": row[starts]}
    if len(starts) == 0:
        return found
    n = np.diff(starts, append=len(row))
    ends = starts + n - 1
    used = used_statistics(plan)
    total = np.add.reduceat(value, starts)
    found |= {
        "concept_id": concept[starts],
        "bin": place[starts],
        "n": n,
        "total": total,
        "least": np.minimum.reduceat(value, starts),
        "most": np.maximum.reduceat(value, starts),
        "first": value[starts],
        "last": value[ends],
        "newest_us": time[ends],
    }
    if used & {"sd", "slope"}:
        off = value - np.repeat(total / n, n)
        found["variance"] = np.add.reduceat(off * off, starts) / n
    if "slope" in used:
        offset = (time - t).astype(np.float64)
        mean = np.add.reduceat(offset, starts) / n
        along = offset - np.repeat(mean, n)
        found["offset"] = mean
        found["offset_variance"] = np.add.reduceat(along * along, starts) / n
        found["covariance"] = np.add.reduceat(along * off, starts) / n
    return found


def _bins(plan: Plan, concept: NDArray[np.int32], time: Ints, t: Ints) -> NDArray[np.int8]:
    """Return the bin of every row by its concept's windows, -1 for what no window holds."""
    bounds, lengths, older = _windows(plan)
    age = t - time
    place = np.zeros(len(age), dtype=np.int8)
    for bound in bounds:
        place += age > bound[concept]
    last, whole = lengths[concept], older[concept]
    place[(place >= last) & ~whole] = -1
    static = (time == STATIC) & whole
    place[static] = last[static] + 1
    return place


@lru_cache(maxsize=8)
def _windows(plan: Plan) -> tuple[list[Ints], NDArray[np.int8], NDArray[np.bool_]]:
    """Return each concept's windows in microseconds, their number, and whether more is used."""
    widest = max((len(c.windows) for c in plan.concepts), default=0)
    bounds = [
        [c.windows[k] * MICROSECONDS if k < len(c.windows) else OPEN for c in plan.concepts]
        for k in range(widest)
    ]
    lengths = np.array([len(c.windows) for c in plan.concepts], dtype=np.int8)
    older = np.array([c.older for c in plan.concepts], dtype=bool)
    return [np.array(bound) for bound in bounds], lengths, older
