"""Reading the events of a range of people that some prediction time of theirs can use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from magml.features.arrow import to_arrow, to_numpy
from magml.features.plan import OPEN, STATIC

if TYPE_CHECKING:
    from magml.events.table import Events
    from magml.features.groups import Groups

Ints = NDArray[np.int64]
_LARGEST = 1.7e308


@dataclass(frozen=True)
class Usable:
    """Usable events; each an array [n].

    Attributes
    ----------
    subject_id, time_us, known_us, end_us, value
        As recorded; `STATIC` and `OPEN` where there is no moment, NaN where there is no number.
    group
        Which code and unit, a number of `Groups`.
    met
        Rows and values of each group, int64 [2, groups]; rows that no concept uses may be counted
        here alone.
    """

    subject_id: Ints
    group: NDArray[np.int32]
    time_us: Ints
    known_us: Ints
    end_us: Ints
    value: NDArray[np.float64]
    met: Ints = field(default_factory=lambda: np.zeros((2, 0), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.subject_id)


def counted(group: NDArray[np.int32], value: NDArray[np.float64]) -> Ints:
    """Return rows and values of each group, int64 [2, groups]."""
    real = np.abs(value) <= _LARGEST
    size = int(group.max(initial=-1)) + 1
    found = np.bincount(group * 2 + real, minlength=2 * size).reshape(size, 2)
    return np.stack([found.sum(axis=1), found[:, 1]])


class Reader:
    """Reads the usable events of one range of people after the other, by a query.

    Parameters
    ----------
    events
        The events.
    people, horizon_us
        Everyone who has prediction times, sorted, and the last of them, int64 [people].
    groups
        Numbers for codes and units; where they are complete, only rows of theirs are read.
    """

    def __init__(self, events: Events, people: Ints, horizon_us: Ints, groups: Groups) -> None:
        self.events, self.people, self.horizon_us = events, people, horizon_us
        self.groups = groups

    def meet(self) -> None:
        """Number every code and unit at once; else texts are handed over when new ones are met."""
        if not self.groups.complete:
            met = self.events.connection.execute(
                f"SELECT DISTINCT code, coalesce(unit, '') FROM {self.events.relation}"
            ).fetchall()
            self.groups.numbers(met)

    def rows_each(self) -> Ints:
        """Return the number of rows of each person, int64 [people]."""
        table = self.events.connection.sql(
            f"SELECT subject_id, count(*) AS n FROM {self.events.relation} GROUP BY subject_id"
        ).to_arrow_table()
        found = np.zeros(len(self.people), dtype=np.int64)
        subject, n = to_numpy(table["subject_id"]), to_numpy(table["n"])
        place = np.minimum(np.searchsorted(self.people, subject), len(self.people) - 1)
        own = self.people[place] == subject
        found[place[own]] = n[own]
        return found

    def read(self, first: int, last: int) -> Usable:
        """Return the usable events of the people at the positions `first` to before `last`."""
        events, how = self.events, "JOIN" if self.groups.complete else "LEFT JOIN"
        horizon = to_arrow(
            {
                "subject_id": self.people[first:last],
                "horizon": self.horizon_us[first:last].view("datetime64[us]"),
            }
        )
        known = "coalesce(e.known_time, e.time)"
        named = """, CASE WHEN g.number IS NULL THEN e.code END AS code,
                CASE WHEN g.number IS NULL THEN coalesce(e.unit, '') END AS unit"""

        def query(more: str) -> pa.Table:
            return events.connection.sql(f"""
                SELECT e.subject_id, coalesce(g.number, -1)::INTEGER AS number,
                       coalesce(epoch_us(e.time), {STATIC}) AS time_us,
                       coalesce(epoch_us({known}), {STATIC}) AS known_us,
                       coalesce(epoch_us(e.end_time), {OPEN}) AS end_us,
                       coalesce(e.numeric_value, 'NaN'::DOUBLE) AS value {more}
                FROM {events.relation} e JOIN {people} h ON e.subject_id = h.subject_id
                     {how} {groups} g ON e.code = g.code AND coalesce(e.unit, '') = g.unit
                WHERE e.subject_id BETWEEN {self.people[first]} AND {self.people[last - 1]}
                      AND ({known} IS NULL OR {known} < h.horizon)
                      AND (e.time IS NULL OR e.time < h.horizon)
            """).to_arrow_table()

        with self._registered(horizon) as (people, groups):
            # Texts are slow to hand over: they are asked for when something new was met.
            table = query("" if len(self.groups) else named)
            if len(self.groups) and to_numpy(table["number"]).min(initial=0) < 0:
                table = query(named)
        columns = (to_numpy(table[name]) for name in ("time_us", "known_us", "end_us", "value"))
        group = to_numpy(table["number"])
        if "code" in table.column_names:
            group = self._numbered(table, group)
        time_us, known_us, end_us, value = columns
        met = counted(group, value)
        return Usable(to_numpy(table["subject_id"]), group, time_us, known_us, end_us, value, met)

    def _numbered(self, table: pa.Table, number: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the rows' groups, with numbers for those that were not met before."""
        new = np.flatnonzero(number < 0)
        if not len(new):
            return number
        number = number.copy()
        some = table if len(new) == len(number) else table.filter(pa.array(number < 0))
        codes, units = (
            some[name].combine_chunks().dictionary_encode() for name in ("code", "unit")
        )
        known_codes, known_units = codes.dictionary.to_pylist(), units.dictionary.to_pylist()
        pair = to_numpy(codes.indices).astype(np.int64) * len(known_units) + to_numpy(units.indices)
        pairs, place = np.unique(pair, return_inverse=True)
        met = [
            (known_codes[p // len(known_units)], known_units[p % len(known_units)])
            for p in pairs.tolist()
        ]
        number[new] = self.groups.numbers(met)[place]
        return number

    @contextmanager
    def _registered(self, horizon: pa.Table) -> Iterator[tuple[str, str]]:
        """Yield the names of the relations that a query reads beside the events."""
        connection = self.events.connection
        names = f"magml_horizon_{id(self)}", f"magml_groups_{id(self)}"
        known = tuple(self.groups.names)  # threads that read files may add to them
        groups = to_arrow(
            {
                "number": np.arange(len(known), dtype=np.int32),
                "code": [code for code, _ in known],
                "unit": [unit for _, unit in known],
            }
        )
        try:
            for name, table in zip(names, (horizon, groups), strict=True):
                # Tables, not views of Arrow: their size is known, and events are never hashed.
                connection.register("magml_given", table)
                connection.execute(f"CREATE TEMP TABLE {name} AS FROM magml_given")
                connection.unregister("magml_given")
            yield names
        finally:
            for name in names:
                connection.execute(f"DROP TABLE IF EXISTS {name}")
