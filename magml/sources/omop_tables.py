"""Finding the tables of the OMOP CDM: a folder, a zip, a DuckDB file, or an open connection."""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from magml.errors import InputError
from magml.events.table import identifier, reading, text
from magml.limits import VARIABLE, limits
from magml.sources.scans import Scan, scan_files, scan_relation, typed_view
from magml.sources.tables import relation_name

if TYPE_CHECKING:
    import duckdb

#: Tables that are looked for; any other table of the CDM is left alone.
TABLES = (
    "person",
    "death",
    "observation_period",
    "visit_occurrence",
    "visit_detail",
    "condition_occurrence",
    "drug_exposure",
    "drug_era",
    "procedure_occurrence",
    "measurement",
    "observation",
    "care_site",
    "concept",
    "concept_ancestor",
)
_ENDINGS = (".parquet", ".csv.gz", ".csv", ".tsv", ".txt")
_DATABASES = (".duckdb", ".db", ".ddb")


@dataclass(frozen=True)
class OmopTables:
    """The tables found, each once.

    Attributes
    ----------
    scans
        Table to scan, in lower case.
    concepts
        Every concept table found: the CDM's own, ``2b_concept``, and the one of the option.
    zone
        Zone that aware timestamps are converted to.
    """

    scans: Mapping[str, Scan]
    concepts: tuple[Scan, ...]
    connection: duckdb.DuckDBPyConnection
    zone: str | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that stand behind the tables."""
        found = [file for scan in (*self.scans.values(), *self.concepts) for file in scan.files]
        return tuple(dict.fromkeys(found))

    def has(self, name: str) -> bool:
        """Tell whether a table is there."""
        return name in self.scans

    def filled(self, name: str) -> bool:
        """Tell whether a table is there and has rows."""
        if name not in self.scans:
            return False
        query = f"SELECT 1 FROM {self.scans[name].origin} LIMIT 1"
        return bool(self.connection.execute(query).fetchall())

    def view(self, name: str, columns: Mapping[str, str], optional: tuple[str, ...] = ()) -> str:
        """Make a typed view of a table; see `magml.sources.scans.typed_view`."""
        return typed_view(
            self.scans[name],
            columns,
            self.connection,
            layout="omop",
            optional=optional,
            zone=self.zone,
        )


def find_tables(
    data: Any,
    connection: duckdb.DuckDBPyConnection,
    *,
    schema: str | None = None,
    concepts: str | Path | None = None,
    zone: str | None = None,
) -> OmopTables:
    """Find the tables of a CDM.

    Parameters
    ----------
    data
        A folder or zip of Parquet or CSV files under the tables' names, a DuckDB file, or
        `connection` itself.
    connection
        DuckDB connection to use.
    schema
        Schema of a database that holds the tables: ``cdm``, or ``database.cdm``.
    concepts
        A further concept table: a file such as Athena's ``CONCEPT.csv``, or its folder.

    Raises
    ------
    InputError
        If there is no table ``person``, or a file cannot be read.
    """
    if not isinstance(data, str | Path):
        scans, what = _of_schema(connection, schema or "main"), "the connection"
    else:
        path = Path(data)
        what = f"'{path.name}'"
        if path.suffix.lower() in _DATABASES:
            scans = _of_database(path, connection, schema)
        elif schema is not None:
            raise InputError(
                f"schema {schema!r} given for {what}, which is no database",
                "a schema of a DuckDB file or connection",
                "remove the option schema",
            )
        elif path.suffix.lower() == ".zip":
            scans = _of_folder(_unpacked(path), connection, (path,))
        elif path.is_dir():
            scans = _of_folder(path, connection)
        else:
            raise InputError(
                f"{what} is no folder, zip or DuckDB file",
                "tables of the OMOP CDM",
                "name the folder of the tables",
            )
    if "person" not in scans:
        raise InputError(
            f"{what} has no table person (tables found: {', '.join(sorted(scans)) or 'none'})",
            "the tables of the OMOP CDM under their own names, for example person.parquet",
            "name the folder of the CDM's tables, or the schema in the option schema",
        )
    own = [scans.pop(name) for name in ("concept", "2b_concept") if name in scans]
    if concepts is not None:
        own.append(_given_concepts(Path(concepts), connection))
    return OmopTables(scans, tuple(own), connection, zone)


def _of_folder(
    folder: Path, connection: duckdb.DuckDBPyConnection, instead: tuple[Path, ...] = ()
) -> dict[str, Scan]:
    """Return the scans of a folder, or of the one folder inside it that holds the tables."""
    found = _files(folder)
    if "person" not in found:
        inner = [path for path in sorted(folder.iterdir()) if path.is_dir()]
        inner = [path for path in inner if "person" in _files(path)]
        if len(inner) > 1:
            raise InputError(
                f"'{folder.name}' holds {len(inner)} folders with a table person",
                "one CDM",
                "name the folder of one of them",
            )
        found = _files(inner[0]) if inner else found
    scans = {}
    for name, files in found.items():
        scan = scan_files(files, connection, files[0].name if len(files) == 1 else name)
        # Files unpacked from a zip are gone later: the fingerprint is that of the zip.
        scans[name] = Scan(scan.label, scan.origin, scan.types, instead or scan.files)
    return scans


def _files(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Return the files of each table in a folder; a folder of shards is one table."""
    found: dict[str, tuple[Path, ...]] = {}
    wanted = {*TABLES, "2b_concept"}
    for ending in reversed(_ENDINGS):
        for path in sorted(folder.iterdir()):
            if path.is_file() and path.name.lower().endswith(ending):
                name = path.name.lower().removesuffix(ending)
                if name in wanted:
                    found[name] = (path,)
    for path in sorted(folder.iterdir()):
        shards = tuple(sorted(path.glob("*.parquet"))) if path.is_dir() else ()
        if shards and path.name.lower() in wanted:
            found[path.name.lower()] = shards
    return found


def _of_schema(connection: duckdb.DuckDBPyConnection, schema: str) -> dict[str, Scan]:
    """Return the scans of the tables of a schema of a connection."""
    parts = schema.split(".")
    if not all(re.fullmatch(r"\w+", part) for part in parts) or len(parts) > 2:
        raise InputError(
            f"{schema!r} is no name of a schema", "schema or database.schema", "correct the option"
        )
    where = f"table_schema = {text(parts[-1])}"
    if len(parts) == 2:
        where += f" AND table_catalog = {text(parts[0])}"
    rows = connection.execute(
        f"SELECT DISTINCT table_name FROM information_schema.tables WHERE {where} ORDER BY ALL"
    ).fetchall()
    prefix = ".".join(identifier(part) for part in parts)
    wanted = {*TABLES, "2b_concept"}
    return {
        name.lower(): scan_relation(f"{prefix}.{identifier(name)}", connection, name)
        for (name,) in rows
        if name.lower() in wanted
    }


def _of_database(
    path: Path, connection: duckdb.DuckDBPyConnection, schema: str | None
) -> dict[str, Scan]:
    """Attach a DuckDB file, never to be written to, and return the scans of its tables."""
    alias = relation_name(connection, "database")
    try:
        connection.execute(f"ATTACH {text(path)} AS {alias} (TYPE duckdb, READ_ONLY)")
    except Exception as error:
        raise InputError(
            f"'{path.name}' cannot be opened as a DuckDB database ({type(error).__name__})",
            "a file that DuckDB wrote, not open for writing elsewhere",
            "check the file, and that no other program has it open",
        ) from error
    with reading(f"the tables of '{path.name}'"):
        _refuse_views(path, connection, alias, schema or "main")
        scans = _of_schema(connection, f"{alias}.{schema or 'main'}")
    return {name: Scan(s.label, s.origin, s.types, (path,)) for name, s in scans.items()}


def _refuse_views(
    path: Path, connection: duckdb.DuckDBPyConnection, alias: str, schema: str
) -> None:
    """Refuse a file with views under the tables' names: SQL from the file, which reads anything."""
    rows = connection.execute(
        f"SELECT DISTINCT lower(view_name) FROM duckdb_views() "
        f"WHERE database_name = {text(alias)} AND schema_name = {text(schema)} ORDER BY ALL"
    ).fetchall()
    views = [name for (name,) in rows if name in {*TABLES, "2b_concept"}]
    if views:
        raise InputError(
            f"'{path.name}' holds {', '.join(views)} as a view, which runs SQL out of the file",
            "tables",
            "store them as tables; or, if you trust the file, open it yourself and give the "
            "connection (in Python)",
        )


def _unpacked(path: Path) -> Path:
    """Unpack the tables of a zip to a private folder that is removed when Python ends."""
    # Flat names of our own: nothing is ever written to a path that an archive names.
    folder = Path(tempfile.mkdtemp(prefix="magml-omop-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    wanted = {f"{name}{ending}" for name in (*TABLES, "2b_concept") for ending in _ENDINGS}
    try:
        with zipfile.ZipFile(path) as archive:
            left = most = limits().archive
            for member in archive.infolist():
                name = PurePosixPath(member.filename).name.lower()
                if name not in wanted or member.is_dir():
                    continue
                with archive.open(member) as source, (folder / name).open("xb") as target:
                    while block := source.read(1 << 20):
                        left -= len(block)
                        if left < 0:
                            raise InputError(
                                f"'{path.name}' holds more than {most} bytes",
                                "at most the limit 'archive'",
                                "unpack it, and name the folder; or raise the limit with "
                                f"{VARIABLE}=archive=SIZE",
                            )
                        target.write(block)
    except FileExistsError as error:
        raise InputError(
            f"'{path.name}' holds a table twice", "one CDM", "unpack it, and name one folder"
        ) from error
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
        raise InputError(
            f"'{path.name}' cannot be read as a zip ({type(error).__name__})",
            "a complete zip of Parquet or CSV files",
            "fetch the file again, or unpack it and name the folder",
        ) from error
    return folder


def _given_concepts(path: Path, connection: duckdb.DuckDBPyConnection) -> Scan:
    """Return the scan of the concept table given as an option."""
    if path.is_dir():
        path = next(
            (
                file
                for ending in _ENDINGS
                for file in sorted(path.iterdir())
                if file.name.lower() == f"concept{ending}"
            ),
            path / "concept.csv",
        )
    if not path.is_file():
        raise InputError(
            f"no file '{path.name}'",
            "the concept table, for example Athena's CONCEPT.csv",
            "check the option concepts",
        )
    if path.suffix.lower() in (".csv", ".tsv", ".txt"):
        with path.open(encoding="utf-8") as handle:
            if "\t" in handle.readline():
                # Athena separates by tabs and quotes nothing; its names hold quotation marks.
                return scan_files((path,), connection, delimiter="\t", quote="")
    return scan_files((path,), connection)
