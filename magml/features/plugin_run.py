"""Running feature plug-ins on visible rows, and the checks that they see nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from magml.definitions.catalogue import PluginDeclaration
from magml.errors import DefinitionError
from magml.events.table import text
from magml.features.names import matches
from magml.features.plugins import EventRow, PluginFunction, resolve_plugins

if TYPE_CHECKING:
    from magml.events.table import Events
    from magml.features.plan import Plan

_BATCH = 100_000
#: People whose values are computed again, in another order and with rows of the future added.
_CHECKED_PEOPLE = 25
_FIELDS = ", ".join(f"e.{name}" for name in EventRow._fields)


def fill_plugins(
    plan: Plan,
    events: Events,
    at_relation: str,
    columns: Mapping[str, NDArray[np.float32]],
    *,
    check: bool,
) -> None:
    """Write the columns of a plan's plug-ins.

    Parameters
    ----------
    at_relation
        Relation with ``row_id``, ``subject_id``, ``prediction_time``.
    columns
        By plug-in its column, float32 [n] in the order of ``row_id``, changed in place.
    check
        Whether the first people's values are put to the test, as in training.

    Raises
    ------
    BundleError
        If a plug-in is missing, or another than the plan's.
    DefinitionError
        If a plug-in fails, returns no number, or a test shows that it depends on anything but
        the visible rows.
    """
    functions = resolve_plugins(plan.plugins)
    for item in plan.plugins:
        column, function = columns[item.name], functions[item.name]
        column[:] = np.nan
        seen: list[tuple[Sequence[EventRow], datetime, float]] = []
        for rows, moments in _histories(plan, item, events, at_relation):
            for position, t in moments:
                value = call(item.name, function, visible(rows, t), t)
                column[position] = value
                if check and len(seen) < _CHECKED_PEOPLE:
                    seen.append((rows, t, value))
        if check:
            check_plugin(item.name, function, seen)


def visible(rows: Sequence[EventRow], t: datetime) -> tuple[EventRow, ...]:
    """Return the rows that are known and have begun before t, with ends after t left open."""
    found = []
    for row in rows:
        known = row.known_time or row.time or datetime.min
        if known >= t or (row.time is not None and row.time >= t):
            continue
        if row.end_time is not None and row.end_time > t:
            row = row._replace(end_time=None)
        found.append(row)
    return tuple(found)


def call(name: str, function: PluginFunction, rows: tuple[EventRow, ...], t: datetime) -> float:
    """Return a plug-in's value as a float, NaN for None.

    Raises
    ------
    DefinitionError
        If it raises, or returns what is no finite number.
    """
    try:
        value: Any = function(rows, t)
    except Exception as error:
        raise DefinitionError(
            f"the feature plug-in {name} failed ({type(error).__name__})",
            "a number or None for every person",
            "correct the plug-in",
        ) from error
    if value is None:
        return math.nan
    if not isinstance(value, int | float | np.number) or math.isinf(value):
        raise DefinitionError(
            f"the feature plug-in {name} returned a {type(value).__name__}"
            + (" that is infinite" if isinstance(value, float) else ""),
            "a finite number or None",
            "correct the plug-in",
        )
    return float(value)


def check_plugin(
    name: str, function: PluginFunction, seen: Sequence[tuple[Sequence[EventRow], datetime, float]]
) -> None:
    """Refuse a plug-in that depends on anything but the visible rows.

    Every value is computed again, the last person first, and once more with copies of the
    person's rows that happen or become known at the prediction time or after it. All must agree.

    Parameters
    ----------
    seen
        A person's rows, those of the future included, the prediction time, and the value found.
    """
    for rows, t, value in reversed(seen):
        again = call(name, function, visible(rows, t), t)
        later = call(name, function, visible((*rows, *_planted(rows, t)), t), t)
        for other, why in (
            (again, "gives another value when it is asked again"),
            (later, "changes when rows known at or after the prediction time are added"),
        ):
            if not (other == value or (math.isnan(other) and math.isnan(value))):
                raise DefinitionError(
                    f"the feature plug-in {name} {why}",
                    "a function of the visible rows and the prediction time alone",
                    "remove state, clocks, random numbers and other sources from the plug-in",
                )


def _planted(rows: Sequence[EventRow], t: datetime) -> Iterator[EventRow]:
    """Yield rows that nobody knew before t: known exactly then or later, or not yet begun."""
    for row in rows:
        for delay in (timedelta(), timedelta(hours=1)):
            yield row._replace(known_time=t + delay)
            yield row._replace(time=t + delay, known_time=None)


def _histories(
    plan: Plan, item: PluginDeclaration, events: Events, at_relation: str
) -> Iterator[tuple[tuple[EventRow, ...], list[tuple[int, datetime]]]]:
    """Yield each person's rows, and the positions and moments of the prediction times."""
    connection = events.connection
    codes = [
        code
        for (code,) in connection.execute(
            f"SELECT DISTINCT code FROM {events.relation} ORDER BY code"
        ).fetchall()
        if _wanted(plan, item, code)
    ]
    moments: dict[int, list[tuple[int, datetime]]] = {}
    for position, (subject, t) in enumerate(
        connection.execute(
            f"SELECT subject_id, prediction_time FROM {at_relation} ORDER BY row_id"
        ).fetchall()
    ):
        moments.setdefault(subject, []).append((position, t))
    listed = ", ".join(text(code) for code in codes) or "NULL"
    reader = connection.sql(
        f"SELECT e.subject_id, {_FIELDS} FROM {events.relation} e WHERE e.code IN ({listed}) "
        f"AND e.subject_id IN (SELECT subject_id FROM {at_relation}) "
        # Every column orders, so that no engine's order of equal rows shows.
        f"ORDER BY e.subject_id, e.time NULLS FIRST, {_FIELDS}"
    ).to_arrow_reader(_BATCH)
    try:
        records = (tuple(record.values()) for batch in reader for record in batch.to_pylist())
        for subject, group in groupby(records, key=itemgetter(0)):
            rows = tuple(EventRow(*record[1:]) for record in group)
            yield rows, moments.pop(subject)
    finally:
        reader.close()
    for rest in moments.values():
        yield (), rest


def _wanted(plan: Plan, item: PluginDeclaration, code: str) -> bool:
    """Return whether a plug-in sees the rows of a code."""
    if not any(fnmatchcase(code, pattern) for pattern in item.codes):
        return False
    return item.reads_magnesium or not matches(plan.withheld, code)
