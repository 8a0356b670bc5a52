"""The layout ``events``: files already in the contract's form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.errors import InputError
from magml.events.read import bring, read_events
from magml.events.table import Events
from magml.sources.tables import relation_name
from magml.tables import SUBJECT_MAP

if TYPE_CHECKING:
    import duckdb


def open_layout(
    data: Any,
    connection: duckdb.DuckDBPyConnection,
    *,
    zone: str | None = None,
    subjects: str | Path | None = None,
) -> Events:
    """Open events in the contract's form.

    Parameters
    ----------
    data
        A Parquet or CSV file; a folder with ``events.parquet``, or with Parquet shards (in
        ``data/`` where there is such a folder, as MEDS has it); a pandas or Arrow table.
    connection
        DuckDB connection to use.
    zone
        IANA zone that aware timestamps are converted to; default UTC.
    subjects
        File with the subject map; default ``subjects.parquet`` in the folder, if there is one.

    Raises
    ------
    InputError
        As `magml.events.read_events`.
    """
    path = Path(data) if isinstance(data, str | Path) else None
    if path is not None and path.is_dir():
        if subjects is None and (path / "subjects.parquet").is_file():
            subjects = path / "subjects.parquet"
        for candidate in (path / "events.parquet", path / "data"):
            if candidate.exists():
                data = candidate
                break
        else:
            if not any(path.glob("*.parquet")):
                raise InputError(
                    f"the folder '{path.name}' holds neither events.parquet nor Parquet shards",
                    "events.parquet, a folder data/ with shards, or shards",
                    "name the file itself",
                )
            data = path
    events = replace(read_events(data, connection, zone), name="events")
    if subjects is None:
        return events
    relation = relation_name(connection, "subjects")
    files = bring(Path(subjects), SUBJECT_MAP, connection, relation)
    return replace(events, subjects=relation, files=(*events.files, *files))
