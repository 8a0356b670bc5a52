"""Features where the events are: a table or view in the institution's own PostgreSQL.

Everything happens in one transaction that is rolled back: prediction times, the concept map and
the mapped rows stand in temporary tables meanwhile, and nothing is written to any schema.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from magml.engines.table import (
    EngineTable,
    check_columns,
    check_counts,
    named,
    quoted_name,
)
from magml.errors import InputError, MissingDependencyError
from magml.tables import EVENTS

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa

#: PostgreSQL's types that may stand for a declared type.
_ACCEPTED = {
    "int64": ("int8", "int4", "int2"),
    "float64": ("float8", "float4", "numeric", "int8", "int4", "int2"),
    "string": ("text", "varchar", "bpchar"),
    "timestamp": ("timestamp", "date"),
}
_TYPES = {
    "int64": "bigint",
    "float64": "double precision",
    "string": "text",
    "timestamp": "timestamp",
}
#: PostgreSQL raises an error where other engines overflow to infinity or underflow to 0.
_MOST, _LEAST = 1e150, 1e-150


def events(connection: psycopg.Connection[Any], table: str, *, zone: str = "UTC") -> EngineTable:
    """Return the events that stand in a table or view of PostgreSQL.

    Parameters
    ----------
    connection
        An open psycopg connection whose role may read the table and make temporary tables. It is
        used for as long as the events are.
    table
        Name of a table or view with the columns of `magml.tables.EVENTS`, such as
        ``cdm.magml_events``; quoted where the name needs it, as in SQL.
    zone
        IANA zone in which columns with a time zone are read; columns without are taken as they
        are.

    Returns
    -------
    EngineTable

    Raises
    ------
    MissingDependencyError
        If psycopg is not installed.
    InputError
        If the table cannot be read or does not fit the contract.

    Examples
    --------
    >>> import psycopg                                               # doctest: +SKIP
    >>> connection = psycopg.connect("postgresql://reader@host/cdm") # doctest: +SKIP
    >>> rows = magml.postgres.events(connection, "cdm.magml_events") # doctest: +SKIP
    >>> magml.build_features(rows, "2025-03-01 08:00")               # doctest: +SKIP
    """
    try:
        import psycopg
    except ImportError as error:
        raise MissingDependencyError(
            "psycopg is not installed", "the extra postgres", "pip install 'magml[postgres]'"
        ) from error
    if not isinstance(connection, psycopg.Connection):
        raise InputError(
            f"a connection of type {type(connection).__name__}",
            "a psycopg.Connection",
            "open one with psycopg.connect(...)",
        )
    origin = quoted_name(table, "postgres")
    with _transaction(connection, f"the table {table}"):
        found = _described(connection, origin)
        declared = check_columns(found, _ACCEPTED, f"the table {table}")
        select = _select(origin, {n: found[n] for n in declared}, zone)
        faulty = ", ".join(f"count(*) FILTER (WHERE {n} IS NULL)" for n in ("subject_id", "code"))
        times = [n for n in ("time", "known_time") if n in declared]
        endless = ", ".join(f"count(*) FILTER (WHERE NOT isfinite({n}))" for n in times)
        (counts,) = connection.execute(f"SELECT {faulty}, {endless} FROM {origin}").fetchall()
        check_counts(
            dict(zip(["subject_id", "code", *times], counts, strict=True)), f"the table {table}"
        )

    @contextmanager
    def connect() -> Iterator[_Session]:
        with _transaction(connection, f"the table {table}"):
            yield _Session(connection, select)

    return EngineTable("postgres", connect, table)


class _Session:
    """A transaction with temporary tables (`magml.engines.Session`)."""

    def __init__(self, connection: psycopg.Connection[Any], select: str) -> None:
        self.connection = connection
        self.relations = {"events": f"({select})"}

    def put(self, name: str, table: pa.Table) -> None:
        """Copy a table into a temporary one."""
        import pyarrow as pa
        from pyarrow import csv

        kinds = {pa.int64(): "bigint", pa.int32(): "integer", pa.float64(): "double precision"}
        kinds |= {pa.bool_(): "boolean", pa.timestamp("us"): "timestamp"}
        columns = ", ".join(f'"{f.name}" {kinds.get(f.type, "text")}' for f in table.schema)
        own = self._new(name)
        self.connection.execute(f"CREATE TEMPORARY TABLE {own} ({columns})")
        text = io.BytesIO()
        csv.write_csv(table, text, csv.WriteOptions(include_header=False))
        cursor = self.connection.cursor()
        with cursor.copy(f"COPY {own} FROM STDIN (FORMAT csv)") as copy:
            copy.write(text.getbuffer())
        self.connection.execute(f"ANALYZE {own}")

    def keep(self, name: str, sql: str) -> None:
        """Write the rows of a query into a temporary table."""
        query, own = named(sql, self.relations), self._new(name)
        self.connection.execute(f"CREATE TEMPORARY TABLE {own} AS {query}")
        self.connection.execute(f"ANALYZE {own}")

    def query(self, sql: str) -> pa.Table:
        """Return the rows of a query; they come as text, which holds every digit of a double."""
        import pyarrow as pa
        from pyarrow import csv

        query = named(sql, self.relations)
        cursor = self.connection.cursor()
        described = _described(self.connection, f"({query}) q")
        schema = pa.schema([(column, _arrow(kind)) for column, kind in described.items()])
        rows = io.BytesIO()
        with cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT csv)") as copy:
            for block in copy:
                rows.write(block)
        if not rows.tell():
            return schema.empty_table()
        rows.seek(0)
        return csv.read_csv(
            rows,
            csv.ReadOptions(column_names=schema.names),
            csv.ParseOptions(newlines_in_values=True),
            csv.ConvertOptions(
                column_types=schema, strings_can_be_null=True, quoted_strings_can_be_null=False
            ),
        )

    def _new(self, name: str) -> str:
        own = f'pg_temp."magml_{name}_{uuid4().hex[:12]}"'
        self.relations[name] = own
        return own


@contextmanager
def _transaction(connection: psycopg.Connection[Any], what: str) -> Iterator[None]:
    """Run in a transaction, or a savepoint of the one that is open, and roll it back."""
    import psycopg

    try:
        with connection.transaction(force_rollback=True):
            # Every digit of a double comes back; compiling the long queries costs more than it
            # saves.
            connection.execute("SET LOCAL extra_float_digits = 1")
            connection.execute("SET LOCAL jit = off")
            connection.execute("SET LOCAL datestyle = 'ISO'")
            yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise InputError(
            f"the role may not read {what}, or may not make temporary tables",
            "SELECT on the table and TEMPORARY on the database",
            "ask for both; nothing is written to any schema",
        ) from error
    except psycopg.errors.UndefinedTable as error:
        raise InputError(
            f"{what} does not exist",
            "a table or view with the columns of the contract",
            "check the name and its schema",
        ) from error
    except psycopg.ProgrammingError:
        raise  # what the server says of a query of ours is a defect
    except psycopg.Error as error:
        kind = type(error).__name__
        raise InputError(
            f"PostgreSQL could not read {what} ({kind})",
            "a connection in working order, and room for temporary tables",
            "look into the server's log",
        ) from error


def _described(connection: psycopg.Connection[Any], origin: str) -> dict[str, str]:
    """Return the type of each column of a relation, as PostgreSQL calls it."""
    from psycopg import postgres

    cursor = connection.execute(f"SELECT * FROM {origin} LIMIT 0")
    found = {}
    for column in cursor.description or ():
        kind = postgres.types.get(column.type_code)
        found[column.name] = kind.name if kind else f"oid {column.type_code}"
    return found


def _arrow(kind: str) -> pa.DataType:
    import pyarrow as pa

    known = {"int8": pa.int64(), "int4": pa.int32(), "float8": pa.float64()}
    known["timestamp"] = pa.timestamp("us")
    return known.get(kind, pa.string())


def _select(origin: str, found: dict[str, str], zone: str) -> str:
    """Return SQL that brings a table to the contract's columns, as far as the plan reads them."""
    columns = []
    for declared in EVENTS.columns:
        name, kind = declared.name, _TYPES[declared.type]
        quoted = f'"{name}"'
        if name not in found:
            columns.append(f"NULL::{kind} AS {quoted}")
        elif found[name] == "timestamptz":
            text = zone.replace("'", "''")
            columns.append(f"({quoted} AT TIME ZONE '{text}') AS {quoted}")
        elif name == "numeric_value":
            value = f"{quoted}::{kind}"
            columns.append(
                f"CASE WHEN {value} = 0 OR abs({value}) < {_LEAST} THEN 0 "
                f"WHEN abs({value}) < {_MOST} THEN {value} END AS {quoted}"
            )
        elif name == "end_time":
            columns.append(f"CASE WHEN isfinite({quoted}) THEN {quoted}::{kind} END AS {quoted}")
        else:
            columns.append(f"{quoted}::{kind} AS {quoted}")
    return f"SELECT {', '.join(columns)} FROM {origin}"
