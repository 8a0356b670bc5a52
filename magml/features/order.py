"""Bringing people's events together, where reading one range would otherwise read all of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from magml.events.table import text

if TYPE_CHECKING:
    from magml.events.table import Events

#: How often all rows may be read in total before they are better sorted once.
_READ = 3.0


def by_people(events: Events, ends: NDArray[np.int64]) -> Events:
    """Return events of which a range of people can be read without the others.

    Parameters
    ----------
    events
        Any events. A table made by `Events.materialise` and Parquet files sorted by person are
        returned as they are; others are stored once in the order of people, on disk where memory
        does not hold them.
    ends
        The last person of each range that will be read.
    """
    if len(ends) < 2:
        return events
    share = _table(events)
    if share is None:
        share = _files(events.files, ends)
    return events if share <= _READ else events.materialise()


def _table(events: Events) -> float | None:
    """Return how far people are strewn over a table, 1 being together; None for a view."""
    connection, name = events.connection, text(events.relation)
    if not connection.execute(
        f"SELECT 1 FROM duckdb_tables() WHERE table_name = {name}"
    ).fetchall():
        return None
    span, rows = connection.execute(
        f"SELECT sum(last - first + 1), sum(n) FROM (SELECT min(rowid) AS first, "
        f"max(rowid) AS last, count(*) AS n FROM {events.relation} GROUP BY subject_id)"
    ).fetchall()[0]
    # A person strewn over the rows of her own range costs nothing.
    return float(span) / max(1, rows) if rows else 0.0


def _files(files: tuple[Path, ...], ends: NDArray[np.int64]) -> float:
    """Return how often rows of Parquet files are read, by their row groups' people."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    read = rows = 0
    if not files or any(path.suffix != ".parquet" for path in files):
        return float("inf")
    for path in files:
        try:
            metadata = pq.read_metadata(path)
        except (OSError, pa.ArrowException):
            return float("inf")
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            columns = [group.column(k) for k in range(group.num_columns)]
            own = [c for c in columns if c.path_in_schema == "subject_id"]
            if not own or not own[0].is_stats_set or not own[0].statistics.has_min_max:
                return float("inf")
            low, high = own[0].statistics.min, own[0].statistics.max
            first, last = np.searchsorted(ends, [low, high])
            rows += group.num_rows
            read += group.num_rows * int(min(last, len(ends) - 1) - min(first, len(ends) - 1) + 1)
    return read / max(1, rows)
