"""Bringing tables to the contract: Parquet, CSV, pandas, Arrow, or a relation of DuckDB."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.errors import InputError, nearest
from magml.events.simulated import carries_mark
from magml.events.table import SQL_TYPES, Events, connect, identifier, reading, text
from magml.files import visible
from magml.limits import check_files
from magml.tables import EVENTS, LABELS, PREDICTION_TIMES, Column, Table

if TYPE_CHECKING:
    import duckdb

_NUMERIC = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
_REAL = (*_NUMERIC, "UBIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL")
#: DuckDB types that may stand for a declared type. DuckDB calls a column of nulls INTEGER or NULL.
_ACCEPTED: dict[str, tuple[str, ...]] = {
    "int64": _NUMERIC,
    "float64": _REAL,
    "string": ("VARCHAR", "ENUM"),
    "timestamp": ("TIMESTAMP", "DATE"),
    "bool": ("BOOLEAN",),
}


#: A kind of error as engines name it, such as "Conversion Error".
_KIND = re.compile(r"[A-Za-z ]{3,40}")


def read_events(
    data: Any,
    connection: duckdb.DuckDBPyConnection | None = None,
    zone: str | None = None,
) -> Events:
    """Return events from a file, a folder of Parquet files, pandas, Arrow, or `Events`.

    Parameters
    ----------
    data
        Path to a Parquet or CSV file or to a folder of Parquet files (MEDS shards), a pandas
        DataFrame, an Arrow table, or `Events`, which are returned as they are.
    connection
        DuckDB connection to use; default a new one.
    zone
        IANA zone that aware timestamps are converted to before they become naive; default UTC.

    Returns
    -------
    Events
        With all columns of `magml.tables.EVENTS`; absent optional ones are null.

    Raises
    ------
    InputError
        A missing column, a wrong type, an unreadable file, a null where none may be.

    Examples
    --------
    >>> import pandas as pd
    >>> events = read_events(pd.DataFrame({
    ...     "subject_id": [1], "time": [pd.Timestamp("2020-01-01 08:00")],
    ...     "code": ["LOINC//19123-9"], "numeric_value": [1.6], "unit": ["mg/dL"]}))
    >>> events.count()
    1
    """
    if isinstance(data, Events):
        return data
    connection = connection or connect()
    relation = f"magml_events_{_next(connection)}"
    files = bring(data, EVENTS, connection, relation, zone)
    name = Path(data).suffix.lstrip(".") if isinstance(data, str | Path) else "table"
    told = carries_mark(getattr(getattr(data, "schema", None), "metadata", None))
    parquet = files if all(file.suffix == ".parquet" for file in files) else ()
    return Events(
        connection,
        relation,
        name=name or "folder",
        files=files,
        simulated=told,
        plain=(relation, parquet),
    )


def read_prediction_times(
    at: Any, connection: duckdb.DuckDBPyConnection, events: Events | None, zone: str | None = None
) -> str:
    """Register prediction times and return the relation's name.

    Parameters
    ----------
    at
        A table or file with ``subject_id`` and ``prediction_time``, or one moment (a
        ``datetime``, a date, or ISO text) that holds for every person of `events`.

    Returns
    -------
    str
        Relation with ``row_id`` (0, 1, ...), ``subject_id``, ``prediction_time``, in input order.

    Raises
    ------
    InputError
        As `read_events`, and when a pair stands twice or there are none.
    """
    relation = f"magml_at_{_next(connection)}"
    moment = as_moment(at, zone)
    if moment is not None:
        assert events is not None  # only a table of prediction times does without them
        with reading(f"the records of {events.name}"):
            connection.execute(
                f"CREATE TEMP TABLE {relation} AS SELECT "
                f"(row_number() OVER (ORDER BY subject_id) - 1)::BIGINT AS row_id, subject_id, "
                f"TIMESTAMP {text(moment.isoformat(sep=' '))} AS prediction_time "
                f"FROM (SELECT DISTINCT subject_id FROM {events.relation})"
            )
    else:
        bring(at, PREDICTION_TIMES, connection, f"{relation}_in", zone, as_table=True)
        connection.execute(
            f"CREATE TEMP TABLE {relation} AS SELECT (row_number() OVER () - 1)::BIGINT AS row_id,"
            f" subject_id, prediction_time FROM {relation}_in"
        )
        connection.execute(f"DROP TABLE {relation}_in")
    rows, pairs = connection.execute(
        f"SELECT count(*), count(DISTINCT (subject_id, prediction_time)) FROM {relation}"
    ).fetchall()[0]
    if rows == 0 and moment is not None:
        raise InputError(
            "records of nobody, so that the moment holds for nobody",
            "at least one record",
            "check the source, and what its records were filtered by",
        )
    if rows == 0:
        raise InputError(
            "no prediction times", "at least one row", "check the cohort or the file given"
        )
    if rows != pairs:
        raise InputError(
            f"{rows - pairs} prediction times stand more than once",
            "each pair of subject_id and prediction_time once",
            "remove the repeated rows",
        )
    return relation


def read_labels(labels: Any, connection: duckdb.DuckDBPyConnection, zone: str | None = None) -> str:
    """Register labels (the MEDS label schema) and return the relation's name."""
    relation = f"magml_labels_{_next(connection)}"
    bring(labels, LABELS, connection, relation, zone)
    return relation


def bring(
    data: Any,
    table: Table,
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    zone: str | None = None,
    *,
    as_table: bool = False,
) -> tuple[Path, ...]:
    """Make a view or table `relation` with the declared columns from `data`, checked.

    Returns the files that were read.
    """
    files: tuple[Path, ...] = ()
    if isinstance(data, str | Path):
        origin, files = _scan(Path(data), table)
    else:
        origin = _register(data, table, connection, f"{relation}_given")
    try:
        described = connection.execute(f"DESCRIBE SELECT * FROM {origin}").fetchall()
        found = {str(row[0]): str(row[1]) for row in described}

        def empty(name: str) -> bool:
            # A column without a value has whatever type its writer gave to nothing.
            query = f"SELECT 1 FROM {origin} WHERE {name} IS NOT NULL LIMIT 1"
            return not connection.execute(query).fetchall()

        def unread(name: str) -> int:
            # Texts that are no time, or have an offset, which a cast would drop.
            query = (
                f"SELECT count(*) FROM {origin} WHERE {name} IS NOT NULL AND ("
                f"TRY_CAST({name} AS TIMESTAMP) IS NULL OR regexp_matches({name}, "
                f"':[0-9.]+ *(Z|[A-Za-z]+|[+-][0-9:]+)$'))"
            )
            return int(connection.execute(query).fetchall()[0][0])

        columns = ", ".join(
            _expression(column, found, table, zone, empty, unread) for column in table.columns
        )
        what = "TEMP TABLE" if as_table else "TEMP VIEW"
        connection.execute(f"CREATE {what} {relation} AS SELECT {columns} FROM {origin}")
        _check_nulls(connection, relation, table)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"the {table.name} cannot be read ({_first_line(error)})",
            "a readable Parquet or CSV file with the declared columns",
            "check the file, and that every value has the column's type",
        ) from error
    return files


def _scan(path: Path, table: Table) -> tuple[str, tuple[Path, ...]]:
    """Return SQL that scans a path, and the files behind it."""
    if path.is_dir():
        files = tuple(visible(path, "*.parquet"))
        if not files:
            raise InputError(
                f"the folder '{path.name}' holds no Parquet file",
                f"{table.name} as Parquet files, or a path to one file",
                "name the file itself",
            )
    elif path.is_file():
        files = (path,)
    else:
        raise InputError(
            f"no file or folder '{path.name}'", f"a path to the {table.name}", "check the path"
        )
    check_files(files)
    names = "[" + ", ".join(text(file) for file in files) + "]"
    suffix = "".join(files[0].suffixes[-2:]) if files[0].suffix == ".gz" else files[0].suffix
    if suffix == ".parquet":
        return f"read_parquet({names}, union_by_name = true)", files
    if suffix in (".csv", ".csv.gz", ".tsv"):
        types = ", ".join(
            f"{text(c.name)}: {text('VARCHAR')}" for c in table.columns if c.type == "string"
        )
        options = f", types = {{{types}}}, auto_type_candidates = {_CSV_TYPES}" if types else ""
        # Only declared columns that stand in the file may be typed; sniffing reads the header.
        return (
            f"read_csv({names}, header = true, sample_size = -1{_typed(path, types, options)})",
            files,
        )
    raise InputError(
        f"'{path.name}' is neither Parquet nor CSV",
        "a file ending in .parquet, .csv or .csv.gz",
        "convert the file, or rename it",
    )


_CSV_TYPES = "['BIGINT', 'DOUBLE', 'TIMESTAMP', 'TIMESTAMPTZ', 'DATE', 'BOOLEAN', 'VARCHAR']"


def _typed(path: Path, types: str, options: str) -> str:
    """Return the CSV typing options restricted to columns that the header holds."""
    import csv
    import gzip

    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8", newline="") as handle:
            header = next(csv.reader(handle, delimiter="\t" if path.suffix == ".tsv" else ","), [])
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"'{path.name}' cannot be read as text", "a CSV file in UTF-8", "check the file"
        ) from error
    kept = ", ".join(part for part in types.split(", ") if part.split(":")[0].strip("'") in header)
    listed = f", types = {{{kept}}}" if kept else ""
    return f"{listed}, auto_type_candidates = {_CSV_TYPES}" if options else listed


def _register(data: Any, table: Table, connection: duckdb.DuckDBPyConnection, name: str) -> str:
    """Register a pandas or Arrow table and return its name."""
    module = type(data).__module__.split(".")[0]
    if module == "pandas":
        import pyarrow as pa

        # Through Arrow: object columns become one checked type instead of Python objects.
        try:
            data = pa.Table.from_pandas(data, preserve_index=False)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise InputError(
                f"a column of the {table.name} mixes types ({_first_line(error)})",
                "one type in each column",
                "convert the column",
            ) from error
    elif module not in ("pyarrow", "polars"):
        raise InputError(
            f"{table.name} given as {type(data).__name__}",
            "a path, a pandas DataFrame or an Arrow table",
            "convert the table",
        )
    connection.register(name, data)
    return name


def _expression(
    column: Column,
    found: dict[str, str],
    table: Table,
    zone: str | None,
    empty: Callable[[str], bool],
    unread: Callable[[str], int],
) -> str:
    """Return the SQL expression of a declared column over the columns found."""
    name, kind = identifier(column.name), SQL_TYPES[column.type]
    if column.name not in found:
        if column.required:
            raise InputError(
                f"the {table.name} have no column {column.name!r} "
                f"(columns: {', '.join(sorted(found)[:20])})",
                f"a column {column.name!r}: {column.meaning}; "
                f"nearest: {nearest(column.name, found)}",
                "rename or add the column",
            )
        return f"NULL::{kind} AS {name}"
    seen = found[column.name]
    if seen.startswith("TIMESTAMP WITH TIME ZONE"):
        return f"({name} AT TIME ZONE {text(zone or 'UTC')})::TIMESTAMP AS {name}"
    if seen in ('"NULL"', "NULL"):
        return f"{name}::{kind} AS {name}"
    if seen.startswith(_ACCEPTED[column.type]):
        if column.type == "float64" and seen.startswith(("FLOAT", "DOUBLE")):
            # Files written from pandas hold NaN where they mean "no value".
            return f"CASE WHEN isnan({name}) THEN NULL ELSE {name}::{kind} END AS {name}"
        return f"{name}::{kind} AS {name}"
    if column.type == "bool" and seen.startswith(_NUMERIC):
        return f"{name}::BOOLEAN AS {name}"
    if empty(name):
        return f"NULL::{kind} AS {name}"
    if column.type == "timestamp" and seen == "VARCHAR":
        # A CSV that mixes dates and times, or times with and without seconds, comes as text.
        wrong = unread(name)
        if not wrong:
            return f"{name}::TIMESTAMP AS {name}"
        raise InputError(
            f"{wrong} values of {column.name!r} of the {table.name} are not times",
            "one form in all rows: 2025-03-01, 2025-03-01 08:00, or 2025-03-01T08:00:00 (with an "
            "offset in every row or in none)",
            "convert the column",
        )
    raise InputError(
        f"column {column.name!r} of the {table.name} is of type {seen}",
        f"{column.type}: {column.meaning}",
        "convert the column",
    )


def _check_nulls(connection: duckdb.DuckDBPyConnection, relation: str, table: Table) -> None:
    """Refuse nulls where none may be, with their number."""
    strict = [column.name for column in table.columns if not column.nullable]
    counts = connection.execute(
        "SELECT " + ", ".join(f"count(*) - count({name})" for name in strict) + f" FROM {relation}"
    ).fetchall()[0]
    for name, missing in zip(strict, counts, strict=True):
        if missing:
            raise InputError(
                f"{missing} rows of the {table.name} have no {name!r}",
                "a value in every row",
                "remove or complete these rows",
            )


def as_moment(at: Any, zone: str | None = None) -> dt.datetime | None:
    """Return a moment given as datetime, date or ISO text; None when `at` is a table or path."""
    if isinstance(at, str):
        try:
            at = dt.datetime.fromisoformat(at)
        except ValueError:
            return None
    if hasattr(at, "to_pydatetime") and not hasattr(at, "columns"):
        at = at.to_pydatetime()
    if isinstance(at, dt.datetime):
        if at.tzinfo is not None:
            import zoneinfo

            at = at.astimezone(zoneinfo.ZoneInfo(zone or "UTC")).replace(tzinfo=None)
        return at
    if isinstance(at, dt.date):
        return dt.datetime.combine(at, dt.time())
    return None


def _next(connection: duckdb.DuckDBPyConnection) -> int:
    """Return a number not yet used for relations on this connection."""
    connection.execute("CREATE SEQUENCE IF NOT EXISTS magml_relations")
    return int(connection.execute("SELECT nextval('magml_relations')").fetchall()[0][0])


def _first_line(error: Exception) -> str:
    """Return the kind that an engine's message begins with; the rest may quote values."""
    kind = str(error).split(":")[0]
    return kind if _KIND.fullmatch(kind) else type(error).__name__
