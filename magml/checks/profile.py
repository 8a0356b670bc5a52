"""What is counted of events: one grouped pass over all rows, by code and unit."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from magml.events.table import Events

_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
_YEAR = 31_557_600 * _SECOND
_OLD = "-2208988800000000"  # 1900-01-01
_SHIFTED_END = "10413792000000000"  # 2300-01-01: de-identified data reach to about 2210
#: A thing that became known so long after it happened never was, as far as a prediction goes.
_NEVER = 5 * _YEAR
#: Nobody is older.
_OLDEST = 120 * _YEAR

#: Counted for each code and unit; the SQL sees ``t``, ``k`` and ``e`` in microseconds (finite or
#: null), ``birth`` and ``death`` as the first microsecond of that day.
_COUNTS: dict[str, str] = {
    "rows": "true",
    "dated": "t IS NOT NULL",
    "values": "numeric_value BETWEEN -1.7e308 AND 1.7e308",
    "not_finite": "NOT isfinite(numeric_value)",
    "infinite": "NOT isfinite(time)",
    # People were born before 1900; whether they can be so old is another question.
    "old": f"t < {_OLD} AND code <> 'MEDS_BIRTH'",
    "future": "t > {soon}",
    "beyond": f"t >= {_SHIFTED_END}",
    "midnight": f"t % {_DAY} = 0",
    "whole_hour": f"t % {3600 * _SECOND} = 0",
    "known_missing": "time IS NOT NULL AND known_time IS NULL",
    "known_at_time": "known_time = time",
    "known_early": "k < t",
    "known_never": f"NOT isfinite(known_time) OR k - t > {_NEVER}",
    "ended_early": "e < t",
    "before_birth": "t < birth",
    "too_old": f"t - birth > {_OLDEST}",
    "after_death": f"t >= death + {_DAY}",
}


@dataclass(frozen=True)
class CodeProfile:
    """Counts of the rows of one code and unit (an empty unit is none), by the names above."""

    code: str
    unit: str
    people: int
    first: dt.datetime | None
    last: dt.datetime | None
    counts: dict[str, int]

    def __getitem__(self, name: str) -> int:
        return self.counts[name]

    @property
    def vocabulary(self) -> str:
        """The part of the code before ``//``; empty where there is none."""
        head, separator, _ = self.code.partition("//")
        return head if separator else ""


@dataclass(frozen=True)
class Profile:
    """Counts of all rows.

    Attributes
    ----------
    people
        Persons, exactly.
    with_birth, several_births, several_sexes
        Persons with a birth, with different ones, and with more than one sex.
    shifted
        Whether more than half of the dated rows lie in the future: such dates were shifted to
        protect persons, and "far future" then begins in 2300.
    """

    codes: tuple[CodeProfile, ...]
    people: int
    with_birth: int
    several_births: int
    several_sexes: int
    sites: int

    def total(self, name: str) -> int:
        """Return a count over all codes."""
        return sum(code[name] for code in self.codes)

    @cached_property
    def rows(self) -> int:
        """All rows."""
        return self.total("rows")

    @property
    def shifted(self) -> bool:
        """Whether the dates were shifted into the future on purpose."""
        return 2 * self.total("future") > self.total("dated")

    @property
    def first(self) -> str | None:
        """Earliest time, ISO 8601."""
        times = [c.first for c in self.codes if c.first]
        return min(times).isoformat() if times else None

    @property
    def last(self) -> str | None:
        """Latest time, ISO 8601."""
        times = [c.last for c in self.codes if c.last]
        return max(times).isoformat() if times else None


def profile_events(events: Events, now: dt.datetime) -> Profile:
    """Count what a check asks of events, in one pass over persons' facts and one over all rows.

    Parameters
    ----------
    events
        Events in the contract's form.
    now
        The present; what lies more than a year after it is far in the future.
    """
    connection = events.connection
    persons = f"{events.relation}_persons"
    # The first microsecond of the day, before 1970 as well.
    midnight = f"- (epoch_us(time) % {_DAY} + {_DAY}) % {_DAY}"
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE {persons} AS
        SELECT subject_id,
               min(epoch_us(time) {midnight}) FILTER (code = 'MEDS_BIRTH') AS birth,
               max(epoch_us(time) {midnight}) FILTER (code = 'MEDS_DEATH') AS death,
               min(time) FILTER (code = 'MEDS_BIRTH') < max(time) FILTER (code = 'MEDS_BIRTH')
                   AS several_births,
               min(code) FILTER (starts_with(code, 'GENDER//'))
                   < max(code) FILTER (starts_with(code, 'GENDER//')) AS several_sexes
        FROM {events.relation}
        WHERE (code IN ('MEDS_BIRTH', 'MEDS_DEATH') AND isfinite(time))
           OR starts_with(code, 'GENDER//')
        GROUP BY subject_id""")
    soon = int((now - dt.datetime(1970, 1, 1)).total_seconds()) * _SECOND + _YEAR
    counted = ", ".join(
        f"count(*) FILTER ({condition.format(soon=soon)})" for condition in _COUNTS.values()
    )
    found = connection.execute(f"""
        SELECT code, coalesce(unit, '') AS unit, approx_count_distinct(subject_id),
               min(CASE WHEN t IS NOT NULL THEN time END),
               max(CASE WHEN t IS NOT NULL THEN time END), {counted}
        FROM (
            SELECT e.*, CASE WHEN isfinite(e.time) THEN epoch_us(e.time) END AS t,
                   CASE WHEN isfinite(e.known_time) THEN epoch_us(e.known_time) END AS k,
                   CASE WHEN isfinite(e.end_time) THEN epoch_us(e.end_time) END AS e,
                   p.birth, p.death
            FROM (SELECT subject_id, time, known_time, end_time, code, unit, numeric_value
                  FROM {events.relation}) e
            LEFT JOIN {persons} p ON p.subject_id = e.subject_id)
        GROUP BY ALL""").fetchall()
    people = connection.execute(
        f"SELECT count(DISTINCT subject_id) FROM {events.relation}"
    ).fetchall()[0][0]
    births, several, sexes = connection.execute(
        f"SELECT count(birth), count(*) FILTER (several_births), count(*) FILTER (several_sexes) "
        f"FROM {persons}"
    ).fetchall()[0]
    codes = tuple(
        CodeProfile(
            str(row[0]),
            str(row[1]),
            # The estimate of a small number can exceed the number of rows.
            min(int(row[2]), int(row[5])),
            row[3],
            row[4],
            dict(zip(_COUNTS, map(int, row[5:]), strict=True)),
        )
        for row in sorted(found, key=lambda row: (row[0], row[1]))
    )
    sites = sum(code.vocabulary == "SITE" for code in codes)
    return Profile(codes, int(people), int(births), int(several), int(sexes), sites)
