"""The layout ``meds``: a data set of the Medical Event Data Standard, as it is.

https://medical-event-data-standard.github.io/: shards in ``data/``, codes described in
``metadata/codes.parquet`` (``code``, ``description``, ``parent_codes``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.clock import seconds
from magml.errors import InputError
from magml.events.table import Events, identifier
from magml.files import visible
from magml.sources.meds_codes import Meaning, meaning
from magml.sources.scans import (
    Scan,
    check_columns,
    check_midnight,
    check_names_option,
    check_zone,
    known_at,
    scan_files,
    typed,
    with_names,
)
from magml.sources.tables import check_units_option, event_rows, relation_name, with_units

if TYPE_CHECKING:
    import duckdb

_REQUIRED = {
    "subject_id": "the person, 64-bit integer",
    "time": "timestamp, null for what always holds",
    "code": "text",
}
#: Optional columns of the data, the first that is there; beyond MEDS they are those of events.
_OPTIONAL = {
    "numeric_value": (("numeric_value",), "DOUBLE"),
    "text_value": (("text_value",), "VARCHAR"),
    "unit": (("unit",), "VARCHAR"),
    "known_time": (("known_time",), "TIMESTAMP"),
    "end_time": (("end_time", "end"), "TIMESTAMP"),
    "visit_id": (("visit_id", "hadm_id"), "VARCHAR"),
    "source": (("source",), "VARCHAR"),
}


def open_layout(
    data: Any,
    connection: duckdb.DuckDBPyConnection,
    *,
    lab_turnaround: str = "1h",
    administration: str = "24h",
    midnight: str = "date",
    zone: str | None = None,
    names: dict[str, str] | None = None,
    units: dict[str, str] | None = None,
) -> Events:
    """Open a MEDS data set as events.

    Parameters
    ----------
    data
        Folder of the data set, with ``data/`` and, if there is one, ``metadata/codes.parquet``.
    connection
        DuckDB connection to use.
    lab_turnaround
        Time from a laboratory value's time to its being known. MEDS has one time: ``0min`` where
        the data set states the time of the result.
    administration
        How long one administration counts as exposure to the drug.
    midnight
        ``date``: a timestamp at midnight is a date without clock time; ``clock``: it is a time.
    zone
        Zone that aware timestamps are converted to; default UTC.
    names, units
        ``{code: code}`` and ``{code: unit}`` that replace what the data set says, by the codes
        that events have.

    Raises
    ------
    InputError
        No shards, a missing column, a file that cannot be read.
    """
    turnaround, exposure = seconds(lab_turnaround), seconds(administration)
    renamed, given = check_names_option(names), check_units_option(units)
    at_midnight, at_zone = check_midnight(midnight), check_zone(zone)
    folder = Path(data)
    shards = _shards(folder)
    scan = scan_files(shards, connection, f"the data of '{folder.name}'")
    check_columns(scan, _REQUIRED, "the MEDS data schema")
    rows = _rows(scan, connection, at_zone)
    metadata = folder / "metadata" / "codes.parquet"
    meanings = _meanings(rows, metadata if metadata.is_file() else None, connection)
    table = _store(meanings, connection)
    late = f"CASE WHEN c.laboratory THEN {known_at('r.time', at_midnight, turnaround)} ELSE " + (
        f"{known_at('r.time', at_midnight)} END"
    )
    # What the record of birth says does not become known at the end of that day.
    known = f"CASE WHEN r.code <> 'MEDS_BIRTH' THEN coalesce(r.known_time, {late}) END"
    ends = _ends(rows, table, connection)
    query = event_rows(
        f"(SELECT r.*, {known} AS known, unnest(c.codes) AS event, c.unit AS code_unit, "
        f"c.administered, e.finish FROM {rows} r JOIN {table} c USING (code) "
        f"LEFT JOIN {ends} e ON e.subject_id = r.subject_id AND e.key = c.starts "
        "AND e.time = r.time)",
        subject_id="subject_id",
        time="time",
        code="event",
        numeric_value="numeric_value",
        unit="coalesce(unit, code_unit)",
        text_value="text_value",
        known_time="known",
        end_time=f"coalesce(end_time, finish, CASE WHEN administered THEN time + "
        f"to_seconds({exposure}) END)",
        visit_id="visit_id",
        source="coalesce(source, 'meds:' || code)",
    )
    view = relation_name(connection, "meds")
    sql = with_units(with_names(query, renamed), given)
    connection.execute(f"CREATE TEMP VIEW {view} AS {sql}")
    return Events(
        connection,
        view,
        name="meds",
        notes=tuple(_notes(meanings, scan, metadata.is_file(), lab_turnaround, administration)),
        files=(*shards, *((metadata,) if metadata.is_file() else ())),
        unit_overrides=given,
    )


def _shards(folder: Path) -> tuple[Path, ...]:
    """Return the shards of a data set."""
    place = folder / "data" if (folder / "data").is_dir() else folder
    shards = tuple(visible(place, "*.parquet")) if place.is_dir() else ()
    if not shards or (place == folder and not any(folder.glob("*.parquet"))):
        raise InputError(
            f"'{folder.name}' holds no Parquet shards",
            "a MEDS data set: shards in data/, codes in metadata/codes.parquet",
            "name the folder of the data set",
        )
    return shards


def _rows(scan: Scan, connection: duckdb.DuckDBPyConnection, zone: str | None) -> str:
    """Make a view of the data with typed columns."""
    for column, kind in (("subject_id", "INT"), ("time", "TIMESTAMP"), ("code", "VARCHAR")):
        if kind not in scan.types[column] and scan.types[column] not in ("NULL", '"NULL"'):
            raise InputError(
                f"column {column!r} of {scan.label} is of type {scan.types[column]}",
                _REQUIRED[column],
                "convert the column",
            )
    listed = [
        f"{typed('subject_id', scan.types['subject_id'], 'BIGINT')} AS subject_id",
        f"{typed('time', scan.types['time'], 'TIMESTAMP', zone)} AS time",
        "code",
    ]
    for name, (candidates, kind) in _OPTIONAL.items():
        there = [item for item in candidates if item in scan.types]
        if not there:
            listed.append(f"NULL::{kind} AS {name}")
            continue
        have, expression = scan.types[there[0]], identifier(there[0])
        if kind == "DOUBLE" and have == "FLOAT":
            # MEDS stores single precision: 1.7 would become 1.7000000477. The shortest decimal
            # is the number that was written.
            value = f"CASE WHEN NOT isnan({expression}) THEN {expression}::VARCHAR::DOUBLE END"
        else:
            value = typed(expression, have, kind, zone)
        listed.append(f"{value} AS {name}")
    view = relation_name(connection, "meds_rows")
    connection.execute(f"CREATE TEMP VIEW {view} AS SELECT {', '.join(listed)} FROM {scan.origin}")
    nulls = connection.execute(
        f"SELECT count(*) FILTER (WHERE subject_id IS NULL), count(*) FILTER (WHERE code IS NULL), "
        f"count(*) FROM {scan.origin}"
    ).fetchall()[0]
    for column, count in zip(("subject_id", "code"), nulls, strict=False):
        if count:
            raise InputError(
                f"{count} of {nulls[2]} rows have no {column}",
                "a value in every row",
                "correct the data set",
            )
    return view


def _meanings(
    rows: str, metadata: Path | None, connection: duckdb.DuckDBPyConnection
) -> dict[str, Meaning]:
    """Return the meaning of every code that the data use."""
    described: dict[str, tuple[str | None, list[str]]] = {}
    if metadata is not None:
        scan = scan_files((metadata,), connection, "metadata/codes.parquet")
        check_columns(scan, {"code": "text"}, "the MEDS code metadata schema")
        description = "description::VARCHAR" if "description" in scan.types else "NULL"
        parents = "parent_codes::VARCHAR[]" if "parent_codes" in scan.types else "NULL"
        for code, said, listed in connection.execute(
            f"SELECT code::VARCHAR, {description}, {parents} FROM {scan.origin}"
        ).fetchall():
            described[code] = (said, [item for item in listed or [] if item])
    codes = connection.execute(f"SELECT DISTINCT code FROM {rows} ORDER BY code").fetchall()
    return {code: meaning(code, *described.get(code, (None, []))) for (code,) in codes}


def _store(meanings: dict[str, Meaning], connection: duckdb.DuckDBPyConnection) -> str:
    """Make a table of the meanings."""
    import pyarrow as pa

    table = relation_name(connection, "meds_codes")
    values = list(meanings.values())
    arrow = pa.table(
        {
            "code": pa.array(meanings, pa.string()),
            "codes": pa.array([list(m.codes) for m in values], pa.list_(pa.string())),
            "unit": pa.array([m.unit for m in values], pa.string()),
            "starts": pa.array([m.starts for m in values], pa.string()),
            "ends": pa.array([m.ends for m in values], pa.string()),
            "visit": pa.array([m.visit for m in values], pa.bool_()),
            "laboratory": pa.array([m.laboratory for m in values], pa.bool_()),
            "administered": pa.array([m.administered for m in values], pa.bool_()),
        }
    )
    connection.register(f"{table}_arrow", arrow)
    connection.execute(f"CREATE TEMP TABLE {table} AS SELECT * FROM {table}_arrow")
    connection.unregister(f"{table}_arrow")
    return table


def _ends(rows: str, codes: str, connection: duckdb.DuckDBPyConnection) -> str:
    """Make a view of the end of each start: the next end of the same thing, later than it."""
    view = relation_name(connection, "meds_ends")
    paired = (
        "(SELECT DISTINCT r.subject_id, r.time, c.{0} AS key, c.visit FROM {1} r JOIN {2} c "
        "USING (code) WHERE c.{0} IS NOT NULL AND r.time IS NOT NULL)"
    )
    # An end at the very time of a start belongs to the one before. A visit without an end of its
    # own does not take the next visit's.
    connection.execute(
        f"""
        CREATE TEMP VIEW {view} AS
        SELECT s.subject_id, s.key, s.time,
               CASE WHEN s.visit AND e.time > s.following THEN NULL ELSE e.time END AS finish
        FROM (SELECT *, lead(time) OVER (PARTITION BY subject_id, key ORDER BY time) AS following
              FROM {paired.format("starts", rows, codes)}) s
        ASOF LEFT JOIN {paired.format("ends", rows, codes)} e
          ON e.subject_id = s.subject_id AND e.key = s.key AND e.time > s.time
        """
    )
    return view


def _notes(
    meanings: dict[str, Meaning], scan: Scan, described: bool, turnaround: str, exposure: str
) -> list[str]:
    """Say what was decided."""
    skipped = sum(1 for m in meanings.values() if not m.codes and m.ends is None)
    own = "known_time" in scan.types
    return [
        ("known_time as stated; where it is empty, " if own else "MEDS has one time: ")
        + f"laboratory values are known {turnaround} after their time, everything else at its "
        "time; diagnoses as they are stamped; midnight is a date, known at the end of that day",
        f"{len(meanings)} codes; {skipped} were passed over (specimens without a value, drugs not "
        "given)",
        f"one administration of a drug counts as exposure for {exposure}",
        *([] if described else ["no metadata/codes.parquet: local codes keep their own names"]),
    ]
