"""Raw files of the Challenge read out of an archive, in memory and within limits.

Members are streamed; nothing is written to a path that an archive names.
"""

from __future__ import annotations

import csv
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from magml.errors import InputError

if TYPE_CHECKING:
    import duckdb

#: The Challenge has 12,000 records of at most 100 kB; these limits stop decompression bombs.
MAXIMUM_MEMBERS = 100_000
MAXIMUM_MEMBER_BYTES = 4_000_000
MAXIMUM_TOTAL_BYTES = 2_000_000_000
_Read = Callable[[int], bytes]
_BATCH = 200_000
_ENDINGS = (".tgz", ".tar.gz", ".tar", ".zip")
_HEADER = ["Time", "Parameter", "Value"]


def is_archive(path: Path) -> bool:
    """Tell whether a path looks like an archive that can be read."""
    return path.is_file() and path.name.lower().endswith(_ENDINGS)


def read_archive(
    paths: tuple[Path, ...], connection: duckdb.DuckDBPyConnection, relation: str
) -> None:
    """Make a temporary table of the raw rows in archives.

    Parameters
    ----------
    paths
        Archives whose members ``<RecordID>.txt`` are records; others are passed over.
    connection
        DuckDB connection to use.
    relation
        Name of the table: RecordID, time, param, value, faulty.

    Raises
    ------
    InputError
        An archive that is damaged, beyond the limits, or without records; a malformed record.
    """
    import pyarrow as pa

    connection.execute(
        f"CREATE TEMP TABLE {relation} "
        "(RecordID BIGINT, time VARCHAR, param VARCHAR, value DOUBLE, faulty BOOLEAN)"
    )
    batch = f"{relation}_batch"
    columns: tuple[list[int], list[str], list[str], list[str]] = ([], [], [], [])

    def flush() -> None:
        table = pa.table(
            {
                name: pa.array(values, type=pa.int64() if name == "RecordID" else pa.string())
                for name, values in zip(
                    ("RecordID", "time", "param", "value"), columns, strict=True
                )
            }
        )
        connection.register(batch, table)
        connection.execute(
            f"INSERT INTO {relation} SELECT RecordID, time, nullif(param, ''), "
            "TRY_CAST(nullif(value, '') AS DOUBLE), "
            f"value <> '' AND TRY_CAST(value AS DOUBLE) IS NULL FROM {batch}"
        )
        connection.unregister(batch)
        for values in columns:
            values.clear()

    records = 0
    for path in paths:
        for name, content in _members(path):
            records += 1
            record = int(PurePosixPath(name).stem)
            rows = csv.reader(io.StringIO(content))
            if next(rows, None) != _HEADER:
                raise InputError(
                    f"a record of '{path.name}' has no header 'Time,Parameter,Value'",
                    "raw files of the PhysioNet 2012 Challenge",
                    "check the archive",
                )
            for row in rows:
                if not row:
                    continue
                if len(row) != 3:
                    raise InputError(
                        f"a record of '{path.name}' has a line with {len(row)} fields",
                        "three fields: Time,Parameter,Value",
                        "check the archive",
                    )
                for values, value in zip(columns, (record, *row), strict=True):
                    values.append(value)  # type: ignore[attr-defined]
            if len(columns[0]) >= _BATCH:
                flush()
    if not records:
        raise InputError(
            f"'{paths[0].name}' holds no record of the Challenge",
            "members such as set-a/132539.txt",
            "check the archive",
        )
    flush()


def _members(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each record in an archive."""
    try:
        opened = _zip_members(path) if path.name.lower().endswith(".zip") else _tar_members(path)
        total = 0
        for number, (name, size, read) in enumerate(opened, start=1):
            if number > MAXIMUM_MEMBERS:
                raise _beyond(path, f"more than {MAXIMUM_MEMBERS:,} members")
            if not _is_record(name):
                continue
            if size > MAXIMUM_MEMBER_BYTES:
                raise _beyond(path, f"a member of {size:,} bytes")
            # A header may understate the size: never read more than the limit.
            content = read(MAXIMUM_MEMBER_BYTES + 1)
            total += len(content)
            if len(content) > MAXIMUM_MEMBER_BYTES or total > MAXIMUM_TOTAL_BYTES:
                raise _beyond(path, f"more than {MAXIMUM_TOTAL_BYTES:,} bytes of records")
            yield name, content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"a record of '{path.name}' is not text in UTF-8", "text files", "check the archive"
        ) from error
    except (
        tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError,
        # Methods of packing, passwords and members without a name, which zipfile does not know.
        NotImplementedError, RuntimeError, ValueError, IndexError,
    ) as error:  # fmt: skip
        raise InputError(
            f"'{path.name}' cannot be read as an archive ({type(error).__name__})",
            "a complete .zip, .tar, .tgz or .tar.gz file",
            "fetch the file again",
        ) from error


def _tar_members(path: Path) -> Iterator[tuple[str, int, _Read]]:
    """Yield name, size and reader of each regular member of a tar archive, in stream order."""
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            handle = archive.extractfile(member) if member.isreg() else None
            if handle is not None:
                yield member.name, member.size, handle.read
            else:
                yield "", 0, _nothing


def _zip_members(path: Path) -> Iterator[tuple[str, int, _Read]]:
    """Yield name, size and reader of each member of a zip archive."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.is_dir() or not _is_record(member.filename):
                yield "", 0, _nothing
                continue
            with archive.open(member) as handle:
                yield member.filename, member.file_size, handle.read


def _is_record(name: str) -> bool:
    """Tell whether a member's name is that of a record."""
    posix = PurePosixPath(name)
    return posix.suffix == ".txt" and posix.stem.isdigit()


def _nothing(_: int) -> bytes:
    return b""


def _beyond(path: Path, seen: str) -> InputError:
    """Return the error for an archive beyond the limits."""
    return InputError(
        f"'{path.name}' holds {seen}",
        f"at most {MAXIMUM_MEMBERS:,} members of {MAXIMUM_MEMBER_BYTES:,} bytes",
        "check where the archive comes from",
    )
