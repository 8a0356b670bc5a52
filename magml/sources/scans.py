"""Files and relations as something that can stand behind FROM, with their columns' types.

What the sources for OMOP, MEDS and plain tables share: one file or relation is described once,
its columns are typed by expressions that never silently lose a value, and times get the rule of
knowledge for dates without a clock.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from magml.errors import InputError, nearest
from magml.events.table import folded, identifier, text
from magml.limits import check_files
from magml.sources.tables import relation_name

if TYPE_CHECKING:
    import duckdb

Midnight = Literal["date", "clock"]
_OFFSET = r":[0-9.]+ ?(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"


@dataclass(frozen=True)
class Scan:
    """A table that can be read.

    Attributes
    ----------
    label
        Name for messages: the file's or the relation's.
    origin
        SQL that stands behind FROM.
    types
        DuckDB type by column name as DuckDB compares them (`magml.events.table.folded`).
    files
        The files behind it.
    """

    label: str
    origin: str
    types: dict[str, str]
    files: tuple[Path, ...] = ()


def scan_files(
    files: tuple[Path, ...],
    connection: duckdb.DuckDBPyConnection,
    label: str = "",
    *,
    delimiter: str | None = None,
    encoding: str | None = None,
    quote: str | None = None,
) -> Scan:
    """Describe one table in one or several files of the same kind, Parquet or CSV.

    Parameters
    ----------
    files
        Files whose names end in ``.parquet``, or in ``.csv``, ``.tsv`` or ``.txt`` with or
        without ``.gz``. CSV columns are all read as text.
    label
        Name for messages; default the first file's.
    delimiter, encoding, quote
        Of CSV files; default what DuckDB finds, and UTF-8.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    label = label or files[0].name
    check_files(files)
    listed = "[" + ", ".join(text(file) for file in files) + "]"
    if files[0].name.lower().endswith(".parquet"):
        origin = f"read_parquet({listed}, union_by_name = true)"
        return _described(label, origin, connection, files)
    given = f", delim = {text(delimiter)}" if delimiter else ""
    given += f", quote = {text(quote)}" if quote is not None else ""
    given += f", encoding = {text(encoding)}" if encoding else ""
    try:
        found = connection.execute(
            "SELECT Delimiter, Quote, Escape, [c.name FOR c IN Columns] FROM "
            f"sniff_csv({text(files[0])}, header = true, all_varchar = true{given})"
        ).fetchall()[0]
    except Exception as error:
        raise _unreadable(label, error) from error
    # The dialect is stated from here on: finding it anew costs more than reading a small file.
    signs = ["" if sign == "(empty)" else sign for sign in found[:3]]
    columns = ", ".join(f"{text(name)}: 'VARCHAR'" for name in found[3])
    origin = (
        f"read_csv({listed}, auto_detect = false, header = true, nullstr = '', "
        f"delim = {text(signs[0])}, quote = {text(signs[1])}, escape = {text(signs[2])}, "
        f"columns = {{{columns}}}" + (f", encoding = {text(encoding)})" if encoding else ")")
    )
    return _described(label, origin, connection, files)


def scan_relation(name: str, connection: duckdb.DuckDBPyConnection, label: str) -> Scan:
    """Describe a table or view on a connection; `name` is quoted where it must be."""
    return _described(label, name, connection, ())


def _described(
    label: str, origin: str, connection: duckdb.DuckDBPyConnection, files: tuple[Path, ...]
) -> Scan:
    try:
        rows = connection.execute(f"DESCRIBE SELECT * FROM {origin}").fetchall()
    except Exception as error:
        raise _unreadable(label, error) from error
    return Scan(label, origin, {folded(str(row[0])): str(row[1]) for row in rows}, files)


def _unreadable(label: str, error: Exception) -> InputError:
    """Return the error for a table that cannot be read, without what it holds."""
    return InputError(
        f"{label} cannot be read ({type(error).__name__})",
        "a readable table: Parquet, CSV in UTF-8, or a relation of the database",
        "check the file, for example whether the download is complete, and its encoding",
    )


def check_columns(scan: Scan, columns: Mapping[str, str], what: str) -> None:
    """Refuse a table without the columns named.

    Parameters
    ----------
    columns
        Column name to what it must hold.
    what
        Where the columns are described, for the message.
    """
    for column, meaning in columns.items():
        if folded(column) not in scan.types:
            raise InputError(
                f"{scan.label} has no column {column} "
                f"(columns: {', '.join(sorted(scan.types)[:30])})",
                f"the column {column} ({meaning}); {nearest(folded(column), scan.types)}",
                f"compare the table with {what}, or rename the column",
            )


def typed_view(
    scan: Scan,
    columns: Mapping[str, str],
    connection: duckdb.DuckDBPyConnection,
    *,
    layout: str,
    optional: tuple[str, ...] = (),
    zone: str | None = None,
) -> str:
    """Make a view with typed columns and return its name.

    Parameters
    ----------
    columns
        Column name to DuckDB type (``BIGINT``, ``DOUBLE``, ``VARCHAR``, ``DATE``, ``TIMESTAMP``).
        Text loses blanks at both ends, and is null when nothing is left.
    optional
        Columns that may be absent; they are null then.
    zone
        Zone that aware timestamps are converted to; default UTC.

    Raises
    ------
    InputError
        A missing column; values that are not of the type, with their number.
    """
    needed = {c: kind for c, kind in columns.items() if c not in optional}
    check_columns(scan, needed, f"the documentation of the layout {layout}")
    listed, suspects = [], []
    for column, kind in columns.items():
        if column not in scan.types:
            listed.append(f"NULL::{kind} AS {identifier(column)}")
            continue
        given = identifier(column)
        value = typed(given, scan.types[column], kind, zone)
        listed.append(f"{value} AS {identifier(column)}")
        if scan.types[column] == "VARCHAR" and kind != "VARCHAR":
            suspects.append((column, kind, f"nullif(trim({given}), '') IS NOT NULL", value))
    _check_values(scan, suspects, connection)
    view = relation_name(connection, "view")
    connection.execute(f"CREATE TEMP VIEW {view} AS SELECT {', '.join(listed)} FROM {scan.origin}")
    return view


def typed(given: str, have: str, kind: str, zone: str | None = None) -> str:
    """Return the SQL expression of a column in a type; text that does not fit becomes null.

    Examples
    --------
    >>> typed("x", "VARCHAR", "DOUBLE")
    "TRY_CAST(nullif(trim(x), '') AS DOUBLE)"
    >>> typed("x", "INTEGER", "BIGINT")
    'x::BIGINT'
    """
    if kind == "VARCHAR":
        return f"nullif(trim({given}::VARCHAR), '')"
    if kind == "TIMESTAMP":
        if have.startswith("TIMESTAMP WITH TIME ZONE"):
            return f"({given} AT TIME ZONE {text(zone or 'UTC')})::TIMESTAMP"
        if have == "VARCHAR":
            aware = f"TRY_CAST(trim({given}) AS TIMESTAMPTZ) AT TIME ZONE {text(zone or 'UTC')}"
            return (
                f"CASE WHEN regexp_matches(trim({given}), {text(_OFFSET)}) THEN {aware} "
                f"ELSE TRY_CAST(nullif(trim({given}), '') AS TIMESTAMP) END"
            )
    if have == "VARCHAR":
        return f"TRY_CAST(nullif(trim({given}), '') AS {kind})"
    if kind == "DOUBLE" and have in ("FLOAT", "DOUBLE"):
        # Files written from pandas hold NaN where they mean "no value".
        return f"CASE WHEN isnan({given}) THEN NULL ELSE {given}::DOUBLE END"
    if kind == "BIGINT" and have in ("FLOAT", "DOUBLE"):
        return f"CASE WHEN isnan({given}) THEN NULL ELSE {given}::BIGINT END"
    return f"{given}::{kind}"


def _check_values(
    scan: Scan, suspects: list[tuple[str, str, str, str]], connection: duckdb.DuckDBPyConnection
) -> None:
    """Refuse text where a number or a time must be, with counts."""
    if not suspects:
        return
    counts = connection.execute(
        "SELECT "
        + ", ".join(
            f"count(*) FILTER (WHERE {there} AND ({value}) IS NULL)"
            for *_, there, value in suspects
        )
        + f" FROM {scan.origin}"
    ).fetchall()[0]
    for (column, kind, *_), count in zip(suspects, counts, strict=True):
        if count:
            raise InputError(
                f"{scan.label}: {count} values of {column} are not of type {kind}",
                f"{kind} in every row, or nothing",
                "correct the column",
            )


def clockless(moment: str, midnight: Midnight = "date") -> str:
    """Return SQL that is true where a moment is a date without a clock time.

    A timestamp at exactly midnight counts as one unless `midnight` is ``clock``: tables filled
    from dates hold midnight, and a real midnight read as a date is merely known late.
    """
    return f"({moment} = date_trunc('day', {moment}))" if midnight == "date" else "false"


def day_end(moment: str) -> str:
    """Return SQL of the end of a moment's day."""
    return f"(date_trunc('day', {moment}) + INTERVAL 1 DAY)"


def known_at(moment: str, midnight: Midnight = "date", delay: int = 0) -> str:
    """Return SQL of when a moment is known: at its day's end where there is no clock time.

    Parameters
    ----------
    moment
        SQL expression of a timestamp.
    delay
        Seconds from the moment to its being known, where it has a clock time.
    """
    later = f"{moment} + to_seconds({delay})" if delay else moment
    if midnight == "clock":
        return f"({later})"
    # The delay can reach past the end of the day, so the later of both counts.
    end = f"greatest({day_end(moment)}, {later})"
    return f"(CASE WHEN {clockless(moment, midnight)} THEN {end} ELSE {later} END)"


def with_names(sql: str, names: Mapping[str, str]) -> str:
    """Return the events of a query with some codes replaced by others."""
    if not names:
        return sql
    cases = " ".join(f"WHEN {text(code)} THEN {text(to)}" for code, to in names.items())
    return f"SELECT * REPLACE (CASE code {cases} ELSE code END AS code) FROM ({sql})"


def check_names_option(names: Any) -> dict[str, str]:
    """Return the option ``names`` if it maps codes to codes."""
    if names is None:
        return {}
    if not isinstance(names, Mapping) or not all(
        isinstance(code, str) and "//" in code for pair in names.items() for code in pair
    ):
        raise InputError(
            "the option names is not a mapping from codes to codes",
            "for example {LAB//MG_S: LOINC//19123-9}",
            "correct the option",
        )
    return dict(names)


def check_zone(zone: str | None) -> str | None:
    """Return a zone if it exists."""
    if zone is not None:
        try:
            zoneinfo.ZoneInfo(zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise InputError(
                f"no time zone {zone!r}",
                "an IANA name such as Europe/Berlin or UTC",
                "correct the option zone",
            ) from error
    return zone


def check_midnight(midnight: str) -> Midnight:
    """Return the option ``midnight`` if it is one of its two values."""
    if midnight == "date":
        return "date"
    if midnight == "clock":
        return "clock"
    raise InputError(
        f"the option midnight is {midnight!r}",
        "date (a timestamp at midnight is a date without clock time) or clock",
        "correct the option",
    )
