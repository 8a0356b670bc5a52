"""The layout ``plain``: a folder of CSV or Parquet tables and a mapping file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.errors import InputError
from magml.events.table import Events
from magml.features.names import order_marks
from magml.sources.plain_mapping import Mapping, read_mapping
from magml.sources.plain_table import PlainTable
from magml.sources.scans import check_zone, with_names
from magml.sources.tables import relation_name

if TYPE_CHECKING:
    import duckdb


def open_layout(
    data: Any,
    connection: duckdb.DuckDBPyConnection,
    *,
    mapping: str | Path | None = None,
) -> Events:
    """Open plain tables as events.

    Parameters
    ----------
    data
        Folder of the tables.
    connection
        DuckDB connection to use.
    mapping
        The mapping file; default ``mapping.yaml`` in the folder.

    Raises
    ------
    DefinitionError
        A mapping that does not parse or leaves open when something was known.
    InputError
        A table or column that is not there, times or ids that cannot be read, with counts.
    """
    folder = Path(data)
    if not folder.is_dir():
        raise InputError(
            f"'{folder.name}' is not a folder", "a folder of tables", "name the folder"
        )
    path = Path(mapping) if mapping is not None else folder / "mapping.yaml"
    definition = read_mapping(path)
    check_zone(definition.zone)
    queries: list[str] = []
    people: list[str] = []
    notes: list[str] = []
    files = [path]
    for table in definition.tables:
        reader = PlainTable(folder, table, definition, connection)
        notes += reader.check()
        queries += [reader.event(event) for event in table.events]
        people.append(reader.people())
        files += reader.scan.files
    view, subjects = relation_name(connection, "plain"), relation_name(connection, "subjects")
    union = "\nUNION ALL\n".join(queries)
    renamed, unused = _names(definition, union, connection)
    connection.execute(f"CREATE TEMP VIEW {view} AS {with_names(union, renamed)}")
    connection.execute(
        f"CREATE TEMP VIEW {subjects} AS SELECT DISTINCT subject_id, source_id "
        f"FROM ({' UNION ALL '.join(people)}) WHERE subject_id IS NOT NULL"
    )
    if unused:
        notes.append(f"names that no row has: {', '.join(unused)}")
    if definition.midnight == "date":
        notes.append("a time at midnight is a date without clock time, known at the day's end")
    return Events(
        connection,
        view,
        subjects=subjects,
        name="plain",
        notes=tuple(notes),
        files=tuple(dict.fromkeys(files)),
    )


def _names(
    definition: Mapping, union: str, connection: duckdb.DuckDBPyConnection
) -> tuple[dict[str, str], list[str]]:
    """Return the codes to replace, and the names of the mapping that no row has."""
    if not definition.names:
        return {}, []
    codes = [
        row[0] for row in connection.execute(f"SELECT DISTINCT code FROM ({union})").fetchall()
    ]
    renamed, used = {}, set()
    for code in codes:
        bare, marks = order_marks(code)
        for name in (bare, bare.partition("//")[2]):
            if name in definition.names:
                behind = "".join(f"//{mark}" for mark in sorted(marks))
                renamed[code] = definition.names[name] + behind
                used.add(name)
                break
    return renamed, sorted(set(definition.names) - used)
