"""FHIR R4 as a source: a Bundle, or a folder of NDJSON as a bulk export writes it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from magml.errors import InputError
from magml.events.table import SQL_TYPES, Events, connect
from magml.fhir.rows import Reader, Resource, Row
from magml.limits import VARIABLE, check_document, check_files, limits
from magml.sources.tables import relation_name
from magml.tables import EVENTS, SUBJECT_MAP

if TYPE_CHECKING:
    import duckdb

_BATCH = 50_000
_REFERRED = ('"Medication"', '"Encounter"')


def read_bundle(
    bundle: Any, connection: duckdb.DuckDBPyConnection | None = None, *, zone: str = "UTC"
) -> Events:
    """Return the events of a FHIR Bundle.

    Parameters
    ----------
    bundle
        A Bundle (or a list of resources) as parsed JSON.
    connection
        DuckDB connection to use; default a new one.
    zone
        IANA zone in which the events' naive times are; moments with an offset are converted.

    Returns
    -------
    Events
        With the subject map (``Patient/abc``), and notes on what was left out and why.

    Raises
    ------
    InputError
        If it is no Bundle, or no patient's record is in it.

    Examples
    --------
    >>> events = read_bundle([
    ...     {"resourceType": "Patient", "id": "abc", "birthDate": "1950-06-01"},
    ...     {"resourceType": "Observation", "id": "k1", "status": "final",
    ...      "subject": {"reference": "Patient/abc"}, "effectiveDateTime": "2025-03-01T06:00:00Z",
    ...      "code": {"coding": [{"system": "http://loinc.org", "code": "2823-3"}]},
    ...      "valueQuantity": {"value": 3.1, "unit": "mmol/L"}}])
    >>> events.count()
    2
    """
    if isinstance(bundle, dict) and bundle.get("resourceType") == "Bundle":
        entries = bundle.get("entry") or []
        if not isinstance(entries, list):
            raise InputError("a Bundle whose entry is no list", "a FHIR R4 Bundle")
        found = [entry.get("resource") for entry in entries if isinstance(entry, dict)]
    elif isinstance(bundle, list):
        found = bundle
    else:
        raise InputError(
            "no FHIR Bundle", "an object with resourceType Bundle", "send a Bundle with entries"
        )
    resources = [item for item in found if isinstance(item, dict)]
    return _events(lambda: iter(resources), resources, connection, zone, ())


def read_ndjson(
    folder: str | Path,
    connection: duckdb.DuckDBPyConnection | None = None,
    *,
    zone: str = "UTC",
) -> Events:
    """Return the events of a folder of NDJSON files, gzipped or not, as a bulk export writes.

    Parameters
    ----------
    folder
        Folder with ``*.ndjson`` or ``*.ndjson.gz``, or one such file.
    connection, zone
        As for `read_bundle`.

    Raises
    ------
    InputError
        If there is no such file, or a line is no JSON; the file and the line's number are named.
    """
    path = Path(folder)
    files = [path] if path.is_file() else sorted(
        [*path.glob("*.ndjson"), *path.glob("*.ndjson.gz")]
    )  # fmt: skip
    if not files:
        raise InputError(
            f"no .ndjson file in '{path.name}'", "a FHIR bulk export", "check the folder"
        )
    check_files(files)
    referred = (
        json.loads(line)
        for file in files
        for line in _lines(file)
        if any(kind in line[:300] for kind in _REFERRED)
    )
    return _events(lambda: _resources(files), referred, connection, zone, tuple(files))


def open_layout(data: Any, connection: duckdb.DuckDBPyConnection, *, zone: str = "UTC") -> Events:
    """Open a FHIR export: a folder of NDJSON, an NDJSON file, or a JSON file with a Bundle."""
    path = Path(data)
    if path.is_file() and path.suffix == ".json":
        try:
            check_document(path)
            return read_bundle(json.loads(path.read_text(encoding="utf-8")), connection, zone=zone)
        except (ValueError, RecursionError) as error:
            raise InputError(f"'{path.name}' is not JSON", "a FHIR Bundle") from error
    return read_ndjson(path, connection, zone=zone)


def _lines(file: Path) -> Iterator[str]:
    opened = gzip.open if file.suffix == ".gz" else open
    longest = limits().document
    try:
        with opened(file, "rt", encoding="utf-8") as stream:
            for number in range(1, 2**62):
                line = stream.readline(longest + 1)
                if not line:
                    return
                if len(line) > longest:
                    raise InputError(
                        f"'{file.name}' line {number} has more than {longest} characters",
                        "one resource a line",
                        "check that the file is NDJSON; if it is right, raise the limit with "
                        f"{VARIABLE}=document=SIZE",
                    )
                if line.strip():
                    yield line
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(
            f"'{file.name}' does not read ({type(error).__name__})",
            "NDJSON in UTF-8, gzipped or not",
            "export it again",
        ) from error


def _resources(files: Iterable[Path]) -> Iterator[Resource]:
    for file in files:
        for number, line in enumerate(_lines(file), start=1):
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(
                    f"'{file.name}': its resource {number} is not JSON",
                    "one resource a line",
                    "export it again",
                ) from error
            if isinstance(value, dict):
                yield value


def _events(
    resources: Any,
    referred: Iterable[Resource],
    connection: duckdb.DuckDBPyConnection | None,
    zone: str,
    files: tuple[Path, ...],
) -> Events:
    """Store the events of resources in a table of the connection."""
    try:
        reader = Reader(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise InputError(f"no time zone {zone!r}", "an IANA zone such as Europe/Athens") from error
    most = limits().references
    try:
        for resource in referred:
            if isinstance(resource, dict):
                reader.remember(resource)
                _check_kept(reader, most)
    except (ValueError, RecursionError) as error:
        raise InputError("a line that is not JSON", "NDJSON", "export it again") from error
    connection = connection or connect()
    relation = relation_name(connection, "fhir")
    columns = ", ".join(f"{c.name} {SQL_TYPES[c.type]}" for c in EVENTS.columns)
    connection.execute(f"CREATE TEMP TABLE {relation} ({columns})")
    batch: list[Row] = []
    total = 0
    for resource in resources():
        batch += reader.rows(resource)
        if len(batch) >= _BATCH:
            _check_kept(reader, most)
            total += _store(connection, relation, batch)
    total += _store(connection, relation, batch)
    if not total:
        raise InputError(
            "no record of any patient",
            "Patient, Encounter, Observation, Condition, Medication... resources",
            "check the export: " + ("; ".join(_notes(reader)) or "it holds no resources"),
        )
    subjects = relation_name(connection, "fhir_subjects")
    connection.execute(f"CREATE TEMP TABLE {subjects} (subject_id BIGINT, source_id VARCHAR)")
    map_ = _arrow({"subject_id": list(reader.subjects), "source_id": [*reader.subjects.values()]})
    connection.register("magml_fhir_batch", map_)
    connection.execute(f"INSERT INTO {subjects} SELECT * FROM magml_fhir_batch")
    connection.unregister("magml_fhir_batch")
    assert SUBJECT_MAP.names == ("subject_id", "source_id")
    return Events(
        connection, relation, subjects=subjects, name="fhir", notes=_notes(reader), files=files
    )


def _check_kept(reader: Reader, most: int) -> None:
    """Refuse more patients and references than are kept in memory."""
    if len(reader.medications) + len(reader.encounters) + len(reader.subjects) > most:
        raise InputError(
            f"more than {most} patients, encounters and medications",
            "at most the limit 'references', which are kept in memory",
            f"read the export in parts, or raise the limit with {VARIABLE}=references=NUMBER",
        )


def _store(connection: duckdb.DuckDBPyConnection, relation: str, batch: list[Row]) -> int:
    """Append a batch and empty it; return how many rows it had."""
    if not batch:
        return 0
    table = _arrow({name: [getattr(row, name) for row in batch] for name in EVENTS.names})
    connection.register("magml_fhir_batch", table)
    connection.execute(f"INSERT INTO {relation} SELECT * FROM magml_fhir_batch")
    connection.unregister("magml_fhir_batch")
    size = len(batch)
    batch.clear()
    return size


def _arrow(columns: dict[str, list[Any]]) -> Any:
    import pyarrow as pa

    kinds = {
        "int64": pa.int64(),
        "float64": pa.float64(),
        "string": pa.string(),
        "timestamp": pa.timestamp("us"),
    }
    types = {c.name: kinds[c.type] for c in (*EVENTS.columns, *SUBJECT_MAP.columns)}
    try:
        return pa.table({name: pa.array(values, types[name]) for name, values in columns.items()})
    except (UnicodeError, pa.ArrowInvalid) as error:
        raise InputError("text that is not valid Unicode", "UTF-8", "export it again") from error


def _notes(reader: Reader) -> tuple[str, ...]:
    return tuple(f"{count} left out: {why}" for why, count in sorted(reader.left_out.items()))
