"""Events on a DuckDB connection: the one form in which every other part meets records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from magml.errors import InputError
from magml.tables import EVENTS

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

#: Rows sorted at once when events are stored.
_SORTED_ROWS = 4_000_000
#: DuckDB types of the declared column types.
SQL_TYPES = {
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "string": "VARCHAR",
    "timestamp": "TIMESTAMP",
    "bool": "BOOLEAN",
}


@dataclass(frozen=True)
class SetAside:
    """Values left out on request because their unit cannot be trusted.

    Attributes
    ----------
    concept, code, unit, site
        What they are of; no unit is None, and so is the site where all sites are meant.
    values
        How many values were left out.
    reason
        What was seen of them, in words.
    """

    concept: str
    code: str
    unit: str | None
    site: str | None
    values: int
    reason: str


@dataclass(frozen=True)
class Events:
    """Events in the contract's form, lazily: a view or table on a connection.

    Attributes
    ----------
    connection
        DuckDB connection that owns the relation.
    relation
        Name of a view or table with exactly the columns of `magml.tables.EVENTS`, typed.
    subjects
        Name of a relation with the subject map, or None when ids are the source's own.
    name
        The layout it came from, for summaries (``physionet2012``, ``parquet``).
    notes
        What the reader decided, in words: rules of ``known_time``, rows left out, with counts.
    files
        Files that were read, for the data fingerprint.
    unit_overrides
        Units that the source's definition states against what the records declare,
        ``code -> unit``; they are already applied in the relation.
    set_aside
        Values that were left out on request because of their unit.
    plain
        The relation that shows Parquet files as they stand, row by row and column by column, and
        these files. What is made of it has another name.
    simulated
        Whether the table in memory that they were given as is marked as simulated; of files,
        `magml.events.simulated.are_simulated` tells.
    """

    connection: duckdb.DuckDBPyConnection
    relation: str
    subjects: str | None = None
    name: str = "events"
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    unit_overrides: dict[str, str] = field(default_factory=dict)
    set_aside: tuple[SetAside, ...] = ()
    simulated: bool = False
    plain: tuple[str, tuple[Path, ...]] = ("", ())

    def count(self) -> int:
        """Return the number of rows."""
        # fetchall, not fetchone: DuckDB 2 refuses the next statement while a result is unfinished.
        with reading(f"the records of {self.name}"):
            found = self.connection.execute(f"SELECT count(*) FROM {self.relation}").fetchall()
        return int(found[0][0])

    def materialise(self) -> Events:
        """Return the same events as a temporary table in the order of people.

        The table is written by ranges of people: sorting all rows at once needs memory for all of
        them, and DuckDB then fails instead of spilling.
        """
        with reading(f"the records of {self.name}"):
            return self._materialised()

    def to_arrow(self) -> pa.Table:
        """Return all rows as an Arrow table."""
        columns = ", ".join(EVENTS.names)
        with reading(f"the records of {self.name}"):
            return self.connection.sql(f"SELECT {columns} FROM {self.relation}").to_arrow_table()

    def _materialised(self) -> Events:
        connection, name = self.connection, f"{self.relation}_stored"
        rough = f"{name}_unsorted"
        columns = ", ".join(EVENTS.names)
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {rough} AS SELECT {columns} FROM {self.relation}"
        )
        rows = connection.execute(f"SELECT count(*) FROM {rough}").fetchall()[0][0]
        parts = max(1, -(-rows // _SORTED_ROWS))
        shares = ", ".join(str(part / parts) for part in range(1, parts))
        bounds = (
            connection.execute(
                f"SELECT approx_quantile(subject_id, [{shares}]) FROM {rough}"
            ).fetchall()[0][0]
            if shares
            else []
        )
        edges = [None, *sorted(set(bounds or [])), None]
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM {rough} LIMIT 0")
        for low, high in pairwise(edges):
            above = "" if low is None else f"AND subject_id > {low}"
            below = "" if high is None else f"AND subject_id <= {high}"
            connection.execute(
                f"INSERT INTO {name} SELECT * FROM {rough} WHERE true {above} {below} "
                "ORDER BY subject_id"
            )
        connection.execute(f"DROP TABLE {rough}")
        return replace(self, relation=name)


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn the engine's complaints about what it reads into an error without path or value.

    Views are lazy: a damaged block or a line that does not fit may be met long after a file was
    opened. What the engine says of a query of ours is a defect and passes through.

    Parameters
    ----------
    what
        What is read, for the message.

    Raises
    ------
    InputError
        If the records cannot be read, or memory or disk do not hold them.
    """
    import duckdb
    import pyarrow as pa

    try:
        yield
    except (duckdb.OutOfMemoryException, MemoryError) as error:
        raise InputError(
            f"{what} need more memory or disk than there is",
            "room for the records",
            "free memory and the temporary folder, or read fewer people at once",
        ) from error
    except (
        duckdb.ParserException,
        duckdb.BinderException,
        duckdb.CatalogException,
        duckdb.InternalException,
    ):
        raise
    except (duckdb.Error, pa.ArrowException, UnicodeDecodeError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's, such as a full disk; Arrow's own have no number
        raise InputError(
            f"{what} cannot be read ({type(error).__name__})",
            "complete files, every line with the columns of the first",
            "check the files, for example whether they arrived whole",
        ) from error


def connect(memory: str | None = None, threads: int | None = None) -> duckdb.DuckDBPyConnection:
    """Return a new in-memory DuckDB connection in magml's settings.

    Parameters
    ----------
    memory
        Memory limit such as ``2GB``, beyond which DuckDB spills; default its share of the limit
        that holds (`magml.memory`).
    threads
        Number of threads; default DuckDB's own.
    """
    import duckdb

    from magml.memory import limit

    connection = duckdb.connect(":memory:")
    connection.execute("SET TimeZone = 'UTC'")
    # A file in another form would else have DuckDB fetch an extension for it from a network.
    connection.execute("SET autoinstall_known_extensions = false")
    held = limit()
    connection.execute(f"SET temp_directory = {text(held.spill)}")
    connection.execute("SET enable_progress_bar = false")
    connection.execute(f"SET memory_limit = {text(memory or f'{held.engine}B')}")
    if threads:
        connection.execute(f"SET threads = {int(threads)}")
    return connection


def text(value: str | Path) -> str:
    """Return a SQL string literal.

    Examples
    --------
    >>> text("it's")
    "'it''s'"
    """
    return "'" + str(value).replace("'", "''") + "'"


def identifier(name: str) -> str:
    """Return a quoted SQL identifier.

    Examples
    --------
    >>> identifier('a"b')
    '"a""b"'
    """
    return '"' + name.replace('"', '""') + '"'


def folded(name: str) -> str:
    """Return a column's name as DuckDB compares names: ASCII's capitals alone are small letters.

    Examples
    --------
    >>> folded("Größe"), folded("GRÖSSE")
    ('größe', 'grÖsse')
    """
    return "".join(letter.lower() if letter.isascii() else letter for letter in name)
