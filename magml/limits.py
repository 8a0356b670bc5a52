"""How large what is read may be: a file beyond a limit is refused before it fills memory or disk.

Tables that DuckDB scans (CSV, Parquet, MEDS shards, OMOP, eICU, a DuckDB file) have no limit of
rows: they are streamed, and what does not fit in the memory of `magml.memory` goes to disk. Limits
hold for what is read whole, for what unfolds, and for what is kept in Python while a file passes.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from magml.errors import InputError, nearest
from magml.memory import size_of

#: Other limits, such as ``document=500MB,rows=100M``.
VARIABLE = "MAGML_LIMITS"
#: From how many unfolded bytes on the factor of unfolding matters, and how many rows.
UNFOLDED, MANY_ROWS = 100_000_000, 10_000_000
#: Most rows for one byte of a Parquet file: no column of people and times is alike in all rows.
MAXIMUM_ROWS_PER_BYTE = 50
_BLOCK = 1 << 20
_PACKED = (".zip", ".bz2", ".xz", ".zst", ".tar", ".tgz")


@dataclass(frozen=True)
class Limits:
    """What may be read.

    Attributes
    ----------
    document
        Bytes of a JSON document (a FHIR Bundle, an exported aggregate, a manifest), and of a line
        of NDJSON. Parsed it takes about ten times as much memory.
    references
        Patients, encounters and medications of a FHIR export that are kept in memory, together.
    table
        Bytes, unpacked, of a table that is read whole: SAS transport files, food tables, records
        of diet.
    rows
        Rows of such a table.
    bundle
        Bytes of all files of a bundle.
    archive
        Bytes that are unpacked from a zip of an OMOP database.
    unfolding
        Factor by which gzip may unfold, beyond the first 100 MB. Records compress five- to
        fortyfold.
    definition, values
        Bytes of a definition file (YAML), and how many values it may stand for once its aliases
        are followed.
    """

    document: int = 64_000_000
    references: int = 10_000_000
    table: int = 2_000_000_000
    rows: int = 50_000_000
    bundle: int = 4_000_000_000
    archive: int = 200_000_000_000
    unfolding: int = 200
    definition: int = 5_000_000
    values: int = 500_000


def limits() -> Limits:
    """Return the limits that hold: those of the variable ``MAGML_LIMITS``, else the usual ones.

    Raises
    ------
    InputError
        If the variable names no limit, or no size.

    Examples
    --------
    >>> limits().rows
    50000000
    """
    changed: dict[str, int] = {}
    known = [field.name for field in fields(Limits)]
    for part in os.environ.get(VARIABLE, "").split(","):
        name, _, written = (text.strip() for text in part.partition("="))
        if not name and not written:
            continue
        size = size_of(written)
        if name not in known or not size:
            raise InputError(
                f"{VARIABLE} holds {part.strip()!r}",
                nearest(name, known) if name not in known else "a size such as 500MB or 20M",
                "write limits as document=500MB,rows=100M",
            )
        changed[name] = size
    return replace(Limits(), **changed)


def check_document(path: Path) -> None:
    """Refuse a JSON document that is too large to be parsed whole.

    Raises
    ------
    InputError
        Naming the file; one that is not there is left to the reader.
    """
    _check_size(path, "document", "split it: NDJSON holds exports of any size")


def check_whole(path: Path) -> None:
    """Refuse a table that is too large to be read whole.

    Raises
    ------
    InputError
        Naming the file. What does not read at all is left to the reader, which says so.
    """
    name, most = path.name.lower(), limits()
    if name.endswith(_PACKED):
        raise InputError(
            f"'{path.name}' is packed", "a plain file, or gzip (.gz)", "unpack it first"
        )
    _check_size(path, "table", "cut it into parts, or leave out columns that are not read")
    if name.endswith(".gz"):
        _, unfolded = _unfold(path, most.table)
        if unfolded > most.table:
            raise _beyond(path, f"{most.table} bytes, unpacked", "table")
    elif name.endswith(".parquet"):
        rows, size = _parquet(path)
        if rows > most.rows:
            raise _beyond(path, f"{most.rows} rows", "rows")
        if size > most.table:
            raise _beyond(path, f"{most.table} bytes, unpacked", "table")


def check_files(files: Iterable[Path]) -> None:
    """Refuse gzipped files and Parquet files that unfold beyond all measure.

    Parameters
    ----------
    files
        Files to be read; those of other kinds are passed over. What does not read at all is left
        to the reader, which says so.

    Raises
    ------
    InputError
        Naming the file.
    """
    for path in files:
        name = path.name.lower()
        if name.endswith(".gz"):
            _check_gzip(path)
        elif name.endswith(".parquet"):
            _check_parquet(path)


def expanded_values(value: Any, most: int = Limits.values) -> int:
    """Return how many values a parsed YAML document stands for, every alias followed.

    Counting stops where `most` is passed; a document that holds itself counts as more.

    Examples
    --------
    >>> expanded_values({"a": [1, 2]})
    5
    >>> shared = [1, 2]
    >>> expanded_values([shared, shared])
    7
    """
    known: dict[int, int] = {}
    open_: set[int] = set()

    def count(one: Any) -> int:
        if not isinstance(one, dict | list | tuple | set):
            return 1
        place = id(one)
        if place in open_:
            return most + 1
        if place not in known:
            open_.add(place)
            parts = [*one.keys(), *one.values()] if isinstance(one, dict) else list(one)
            known[place] = min(1 + sum(count(part) for part in parts), most + 1)
            open_.discard(place)
        return known[place]

    return count(value)


def _check_size(path: Path, name: str, action: str) -> None:
    try:
        size = path.stat().st_size
    except OSError:
        return
    most = getattr(limits(), name)
    if size > most:
        raise _beyond(path, f"{most} bytes", name, action)


def _beyond(path: Path, most: str, name: str, action: str = "check where it is from") -> InputError:
    return InputError(
        f"'{path.name}' holds more than {most}",
        f"at most the limit '{name}'",
        f"{action}; if it is right, raise the limit with {VARIABLE}={name}=SIZE",
    )


def _check_gzip(path: Path) -> None:
    """Unfold the beginning, as far as it matters; what goes on and on is refused."""
    most = limits().unfolding
    read, unfolded = _unfold(path, UNFOLDED)
    if unfolded >= UNFOLDED and unfolded > most * read:
        raise InputError(
            f"'{path.name}' unfolds to more than {most} times its size",
            "records, which compress five- to fortyfold",
            "check where the file is from; if it is right, unpack it first, or raise the limit "
            f"with {VARIABLE}=unfolding=NUMBER",
        )


def _unfold(path: Path, most: int) -> tuple[int, int]:
    """Return how many bytes were read and to how many they unfold, up to somewhat over `most`."""
    reader = zlib.decompressobj(wbits=31)
    read = unfolded = 0
    try:
        with path.open("rb") as stream:
            while unfolded <= most:
                block = reader.unconsumed_tail or stream.read(_BLOCK)
                if not block:
                    break
                if not reader.unconsumed_tail:
                    read += len(block)
                unfolded += len(reader.decompress(block, _BLOCK))
                if reader.eof:
                    rest = reader.unused_data
                    reader = zlib.decompressobj(wbits=31)
                    if rest:
                        unfolded += len(reader.decompress(rest, _BLOCK))
    except (OSError, zlib.error):
        return read, 0
    return read - len(reader.unconsumed_tail), unfolded


def _parquet(path: Path) -> tuple[int, int]:
    """Return the rows of a Parquet file and its unpacked bytes, as it states them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        stated = pq.read_metadata(path)
        groups = range(stated.num_row_groups)
        return stated.num_rows, sum(stated.row_group(k).total_byte_size for k in groups)
    except (OSError, pa.ArrowException, ValueError):
        return 0, 0


def _check_parquet(path: Path) -> None:
    rows, _ = _parquet(path)
    if rows > MANY_ROWS and rows > MAXIMUM_ROWS_PER_BYTE * path.stat().st_size:
        raise InputError(
            f"'{path.name}' states {rows} rows in {path.stat().st_size} bytes",
            f"at most {MAXIMUM_ROWS_PER_BYTE} rows a byte: people and times differ",
            "check where the file is from",
        )
