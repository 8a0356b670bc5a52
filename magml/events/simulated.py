"""The mark of simulated records, in the metadata of Arrow tables and of their Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from magml.events.table import Events

_KEY = b"magml.simulated"


def marked(table: pa.Table) -> pa.Table:
    """Return a table marked as simulated; Parquet files written of it are, too.

    Examples
    --------
    >>> import pyarrow as pa
    >>> carries_mark(marked(pa.table({"subject_id": [1]})).schema.metadata)
    True
    """
    return table.replace_schema_metadata({**(table.schema.metadata or {}), _KEY: b"1"})


def carries_mark(metadata: dict[bytes, bytes] | None) -> bool:
    """Return whether metadata of a table or a file have the mark."""
    return _KEY in (metadata or {})


def are_simulated(events: Events) -> bool:
    """Return whether events come from simulated records: marked tables, or any marked file."""
    return events.simulated or any(_file_marked(path) for path in events.files)


def _file_marked(path: Path) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix != ".parquet" or not path.is_file():
        return False
    try:
        return carries_mark(pq.read_metadata(path).metadata)
    except pa.ArrowException:
        return False
