"""What the columns of a table seem to hold, told from their names and a sample of their values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from magml.events.table import folded, identifier, reading, text
from magml.sources.scans import Scan, scan_files

if TYPE_CHECKING:
    import duckdb

#: Rows of a table that are looked at.
SAMPLE = 50_000
#: Share of the values that must have a form, so that the column is taken to have it.
_MOST = 0.95
ISO = "ISO"
#: Forms of a date and time, the more exact ones first. Those with day and month as two digits
#: between slashes come in two orders; when both fit, nobody can tell but the hospital.
_FORMATS = (
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y",
    "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %I:%M %p",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%Y%m%d %H:%M",
    "%Y%m%d%H%M",
    "%Y%m%d",
)


@dataclass(frozen=True)
class ColumnGuess:
    """What one column seems to hold.

    Attributes
    ----------
    rows, filled
        Rows of the sample, and values that are there.
    number
        Share of the values that are numbers (a bound such as "<0.3" counts).
    comma
        Whether the numbers have decimal commas.
    whole
        Whether all values are whole numbers.
    format
        ``ISO`` or a format of ``strptime`` when the values are moments, else None.
    unclear
        Whether day and month may be the other way round.
    values
        The commonest values.
    """

    name: str
    rows: int
    filled: int
    number: float
    comma: bool
    whole: bool
    format: str | None
    unclear: bool
    values: tuple[str, ...]


@dataclass(frozen=True)
class TableGuess:
    """A table: the pattern of its files, one of them, and its columns."""

    pattern: str
    file: str
    columns: tuple[ColumnGuess, ...]


def find_tables(folder: Path, connection: duckdb.DuckDBPyConnection) -> list[TableGuess]:
    """Describe the tables of a folder; files whose names differ in digits alone are one table."""
    groups: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and re.search(r"\.(parquet|(csv|tsv|txt)(\.gz)?)$", path.name.lower()):
            stem, dot, ending = path.name.partition(".")
            groups.setdefault(re.sub(r"[0-9]+", "*", stem) + dot + ending, []).append(path)
    tables = []
    for pattern, files in groups.items():
        heads = {_names(scan_files((file,), connection), connection) for file in files}
        # "table1" and "table2" with other columns are two tables, not two years of one.
        for part in [files] if len(heads) == 1 else [[file] for file in files]:
            scan = scan_files(tuple(part), connection, part[0].name)
            with reading(f"the rows of {part[0].name}"):
                columns = tuple(
                    _column(scan, name, connection) for name in _names(scan, connection)
                )
            label = pattern if len(part) > 1 else part[0].name
            tables.append(TableGuess(label, part[0].name, columns))
    return tables


def _names(scan: Scan, connection: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    rows = connection.execute(f"DESCRIBE SELECT * FROM {scan.origin}").fetchall()
    return tuple(str(row[0]) for row in rows)


def _column(scan: Scan, name: str, connection: duckdb.DuckDBPyConnection) -> ColumnGuess:
    """Describe one column by its sample."""
    kind = scan.types[folded(name)]
    cell = f"nullif(trim({identifier(name)}::VARCHAR), '')"
    bare = "regexp_replace(v, '^[<>≤≥]=? ?', '')"
    formats = ", ".join(f"count(try_strptime(v, {text(form)}))" for form in _FORMATS)
    counts = connection.execute(f"""
        SELECT count(*), count(v), count(TRY_CAST(replace({bare}, ',', '.') AS DOUBLE)),
               count(*) FILTER (regexp_full_match({bare}, '[+-]?[0-9]+,[0-9]+')),
               count(*) FILTER (regexp_full_match({bare}, '[+-]?[0-9]+[.][0-9]+')),
               count(TRY_CAST(v AS BIGINT)),
               count(*) FILTER (regexp_full_match(v, '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}.*')
                                AND TRY_CAST(v AS TIMESTAMPTZ) IS NOT NULL),
               {formats}
        FROM (SELECT {cell} AS v FROM {scan.origin} LIMIT {SAMPLE})""").fetchall()[0]
    rows, filled, numbers, commas, points, whole, iso = (int(n) for n in counts[:7])
    values = connection.execute(f"""
        SELECT v FROM (SELECT {cell} AS v FROM {scan.origin} LIMIT {SAMPLE})
        WHERE v IS NOT NULL GROUP BY v ORDER BY count(*) DESC, v LIMIT 200""").fetchall()
    form, unclear = _format(filled, kind, iso, dict(zip(_FORMATS, counts[7:], strict=True)))
    return ColumnGuess(
        name=name,
        rows=rows,
        filled=filled,
        number=numbers / filled if filled else 0.0,
        comma=commas > points,
        whole=bool(filled) and whole == filled,
        format=form,
        unclear=unclear,
        values=tuple(str(row[0]) for row in values),
    )


def _format(filled: int, kind: str, iso: int, fitting: dict[str, int]) -> tuple[str | None, bool]:
    """Return the form of a column of moments, and whether day and month may be swapped."""
    if kind.startswith(("TIMESTAMP", "DATE")) or (filled and iso >= _MOST * filled):
        return ISO, False
    if not filled:
        return None, False
    best = [form for form, n in fitting.items() if n >= _MOST * filled]
    if not best:
        return None, False
    form = best[0]
    other = form.replace("%m/%d", "%d/%m") if "%m/%d" in form else form.replace("%d/%m", "%m/%d")
    return form, other != form and other in best
