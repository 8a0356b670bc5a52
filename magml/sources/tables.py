"""What the sources share: finding and checking tables, and rows of events in SQL."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from magml.errors import InputError
from magml.events.table import SQL_TYPES, identifier, text
from magml.limits import check_files
from magml.tables import EVENTS

if TYPE_CHECKING:
    import duckdb

#: Endings under which a table is looked for, the best first.
ENDINGS = (".parquet", ".csv.gz", ".csv")


def relation_name(connection: duckdb.DuckDBPyConnection, what: str) -> str:
    """Return a name for a relation that this connection does not have yet."""
    connection.execute("CREATE SEQUENCE IF NOT EXISTS magml_sources")
    number = connection.execute("SELECT nextval('magml_sources')").fetchall()[0][0]
    return f"magml_source_{number}_{what}"


@cache
def source_table(name: str) -> Any:
    """Return the parsed YAML table that stands beside a source."""
    content = resources.files("magml.sources").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(content)


def event_rows(origin: str, where: str = "", **columns: str) -> str:
    """Return a SELECT with the columns of events in order; those not given are null.

    Parameters
    ----------
    origin
        What stands behind FROM.
    where
        Condition, if any.
    **columns
        SQL expression of each column.
    """
    unknown = set(columns) - set(EVENTS.names)
    if unknown:
        raise KeyError(f"events have no column {sorted(unknown)}")
    listed = ",\n       ".join(
        f"({columns.get(column.name, 'NULL')})::{SQL_TYPES[column.type]} AS {column.name}"
        for column in EVENTS.columns
    )
    return f"SELECT {listed}\nFROM {origin}" + (f"\nWHERE {where}" if where else "")


def with_units(sql: str, units: Mapping[str, str]) -> str:
    """Return the events of a query with the unit of some codes replaced."""
    if not units:
        return sql
    cases = " ".join(f"WHEN {text(code)} THEN {text(unit)}" for code, unit in units.items())
    return f"SELECT * REPLACE (CASE code {cases} ELSE unit END AS unit) FROM ({sql})"


def check_units_option(units: Any) -> dict[str, str]:
    """Return the option ``units`` if it maps codes to units."""
    if units is None:
        return {}
    if not isinstance(units, Mapping) or not all(
        isinstance(key, str) and "//" in key and isinstance(value, str)
        for key, value in units.items()
    ):
        raise InputError(
            "the option units is not a mapping from codes to units",
            "for example {LAB//Mg: mg/dL}",
            "correct the option",
        )
    return dict(units)


class TableFolder:
    """A folder of tables under their own names, as Parquet or CSV.

    Attributes
    ----------
    files
        The files used so far.
    """

    def __init__(
        self,
        folder: Path,
        connection: duckdb.DuckDBPyConnection,
        layout: str,
        overrides: Mapping[str, Path] | None = None,
    ) -> None:
        if not folder.is_dir():
            raise InputError(
                f"'{folder.name}' is not a folder",
                f"a folder of {layout} tables",
                "name the folder",
            )
        self.folder, self.connection, self.layout = folder, connection, layout
        self.files: list[Path] = []
        found: dict[str, Path] = {}
        for ending in reversed(ENDINGS):
            for path in sorted(folder.iterdir()):
                if path.is_file() and path.name.lower().endswith(ending):
                    found[path.name.lower().removesuffix(ending)] = path
        self._found = {**found, **(overrides or {})}

    def has(self, name: str) -> bool:
        """Tell whether the folder holds a table."""
        return name in self._found

    def view(self, name: str, columns: Mapping[str, str], optional: tuple[str, ...] = ()) -> str:
        """Make a view of a table with typed columns and return its name.

        Parameters
        ----------
        name
            Name of the table.
        columns
            Column name to DuckDB type (``INTEGER``, ``DOUBLE``, ``VARCHAR``).
        optional
            Columns that may be absent; they are null then.

        Raises
        ------
        InputError
            A missing table or column, a file that cannot be read, text in a column of numbers.
        """
        if not self.has(name):
            have = ", ".join(sorted(self._found)) or "none"
            raise InputError(
                f"the folder '{self.folder.name}' has no table {name} (tables found: {have})",
                f"{name} as {', '.join(name + ending for ending in ENDINGS)}",
                f"name the folder of the {self.layout} tables, or add the file",
            )
        path = self._found[name]
        check_files([path])
        origin, have_types = self._describe(path)
        missing = [c for c in columns if c not in have_types and c not in optional]
        if missing:
            raise InputError(
                f"{path.name} has no column {', '.join(missing)} "
                f"(columns: {', '.join(sorted(have_types)[:30])})",
                f"the column {missing[0]} as {columns[missing[0]]}",
                f"compare the file with the {self.layout} documentation, or rename the column",
            )
        self._check_numbers(path, origin, columns, have_types)
        listed = ", ".join(
            f"{identifier(column)}::{kind} AS {column}"
            if column in have_types
            else f"NULL::{kind} AS {column}"
            for column, kind in columns.items()
        )
        view = relation_name(self.connection, name)
        self.connection.execute(f"CREATE TEMP VIEW {view} AS SELECT {listed} FROM {origin}")
        self.files.append(path)
        return view

    def columns(self, name: str) -> tuple[str, ...]:
        """Return the column names of a table, in lower case."""
        return tuple(self._describe(self._found[name])[1])

    def _describe(self, path: Path) -> tuple[str, dict[str, str]]:
        """Return SQL that scans a file, and its columns' types."""
        origin = (
            f"read_parquet({text(path)})"
            if path.name.lower().endswith(".parquet")
            else f"read_csv({text(path)}, header = true, all_varchar = true, nullstr = '')"
        )
        try:
            described = self.connection.execute(f"DESCRIBE SELECT * FROM {origin}").fetchall()
        except Exception as error:
            raise InputError(
                f"{path.name} cannot be read ({type(error).__name__})",
                "a readable Parquet or CSV file",
                "check the file, for example whether the download is complete",
            ) from error
        return origin, {str(row[0]).lower(): str(row[1]) for row in described}

    def _check_numbers(
        self, path: Path, origin: str, columns: Mapping[str, str], have: Mapping[str, str]
    ) -> None:
        """Refuse text where a number must be, with counts; typed columns need no look."""
        suspects = [
            column
            for column, kind in columns.items()
            if kind != "VARCHAR" and have.get(column) == "VARCHAR"
        ]
        if not suspects:
            return
        counts = self.connection.execute(
            "SELECT "
            + ", ".join(
                f"count(*) FILTER (WHERE {identifier(c)} IS NOT NULL "
                f"AND TRY_CAST({identifier(c)} AS {columns[c]}) IS NULL)"
                for c in suspects
            )
            + f" FROM {origin}"
        ).fetchall()[0]
        for column, count in zip(suspects, counts, strict=True):
            if count:
                raise InputError(
                    f"{path.name}: {count} values of {column} are not of type {columns[column]}",
                    f"{columns[column]} in every row, or nothing",
                    "correct the column",
                )
