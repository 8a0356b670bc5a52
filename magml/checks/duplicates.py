"""Rows that stand more than once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from magml.events.table import Events

#: With more rows than this, those of a share of the people are compared.
MOST_ROWS = 12_000_000
_SAME = "subject_id, time, known_time, end_time, code, numeric_value, unit, text_value, visit_id"


@dataclass(frozen=True)
class Duplicates:
    """Rows that say what another row says.

    `repeated` counts rows beyond the first of each set of equal ones; `conflicting` counts moments
    at which one person has different values of one code and unit. `share` is the share of the
    people looked at, as 1 in `share`; the counts are already raised by it.
    """

    repeated: int
    by_code: tuple[tuple[str, int], ...]
    conflicting: int
    share: int


def find_duplicates(events: Events, rows: int) -> Duplicates:
    """Count repeated rows; `source`, which names the row of a table, does not tell rows apart."""
    share = max(1, -(-rows // MOST_ROWS))
    connection = events.connection
    of = f"FROM {events.relation}"
    if share > 1:
        of += f" WHERE hash(subject_id) % {share} = 0"
    # Digests of eight bytes instead of the rows: the table of groups then fits into memory.
    found = connection.execute(f"""
        SELECT code, sum(n - 1) FROM (
            SELECT any_value(code) AS code, count(*) AS n
            FROM (SELECT hash({_SAME}) AS h, hash(code) AS code {of})
            GROUP BY h HAVING count(*) > 1)
        GROUP BY code""").fetchall()
    conflicting = connection.execute(f"""
        SELECT count(*) FROM (
            SELECT 1 FROM (
                SELECT hash(subject_id, time, code, unit) AS h, numeric_value AS v {of}
                {"AND" if share > 1 else "WHERE"} time IS NOT NULL AND isfinite(numeric_value))
            GROUP BY h HAVING min(v) < max(v))""").fetchall()[0][0]
    names: dict[int, str] = {}
    if found:
        names = dict(
            connection.execute(
                f"SELECT DISTINCT hash(code), code FROM {events.relation}"
            ).fetchall()
        )
    by_code = sorted(
        ((names[code], int(n) * share) for code, n in found), key=lambda row: (-row[1], row[0])
    )
    return Duplicates(sum(n for _, n in by_code), tuple(by_code), int(conflicting) * share, share)
