"""The layout ``physionet2012``: the PhysioNet/CinC Challenge 2012, as Parquet or raw files.

Silva I, Moody G, Scott DJ, Celi LA, Mark RG. Predicting in-hospital mortality of ICU patients:
the PhysioNet/Computing in Cardiology Challenge 2012. Comput Cardiol 2012;39:245-248.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.clock import seconds
from magml.errors import InputError
from magml.events.table import Events, text
from magml.files import visible
from magml.sources.archive import is_archive, read_archive
from magml.sources.tables import (
    check_units_option,
    event_rows,
    relation_name,
    source_table,
    with_units,
)

if TYPE_CHECKING:
    import duckdb

#: Every stay begins at the same artificial moment: the Challenge gives times since admission only.
EPOCH = "TIMESTAMP '2000-01-01 00:00:00'"
#: ICUType of the general descriptors, in the order 1 to 4.
UNIT_TYPES = ("CCU", "CSRU", "MICU", "SICU")
_COLUMNS = ("RecordID", "time", "param", "value")


def open_layout(
    data: Any,
    connection: duckdb.DuckDBPyConnection,
    *,
    lab_turnaround: str = "45min",
    gas_turnaround: str = "15min",
    units: dict[str, str] | None = None,
) -> Events:
    """Open the Challenge's records as events.

    Parameters
    ----------
    data
        ``events.parquet`` (RecordID, time as HH:MM since admission, param, value) or a folder
        with it; a folder of raw text files; an archive of them (.zip, .tar, .tgz, .tar.gz) or a
        folder of archives. Outcome files are never read.
    connection
        DuckDB connection to use.
    lab_turnaround, gas_turnaround
        Time from a specimen to its result for laboratory values and for blood gases, which the
        Challenge does not record (see ``docs/sources.md`` for what the defaults rest on).
    units
        ``{code: unit}`` that replaces the unit stated in the source's table, for example
        ``{"LAB//Mg": "mmol/L"}``, what the Challenge's page says.

    Raises
    ------
    InputError
        No usable file, a missing column, a time that is not HH:MM, a value that is no number.
    """
    delays = {"lab": seconds(lab_turnaround), "gas": seconds(gas_turnaround), "bedside": 0}
    given = check_units_option(units)
    raw, files = _bring(Path(data), connection)
    notes = _check(raw, connection)
    parameters = source_table("physionet2012")
    stated = {
        _code(name, entry): entry["unit"]
        for name, entry in parameters.items()
        if "declared" in entry
    }
    view = relation_name(connection, "physionet2012")
    sql = with_units(_events_sql(raw, parameters, delays), given)
    connection.execute(f"CREATE TEMP VIEW {view} AS {sql}")
    subjects = relation_name(connection, "subjects")
    connection.execute(
        f"CREATE TEMP VIEW {subjects} AS SELECT DISTINCT RecordID AS subject_id, "
        f"RecordID::VARCHAR AS source_id FROM {raw}"
    )
    return Events(
        connection,
        view,
        subjects=subjects,
        name="physionet2012",
        notes=(
            f"known_time: laboratory results {lab_turnaround}, blood gases {gas_turnaround} after "
            "their time; bedside values at once",
            "times run from an artificial admission, 2000-01-01 00:00",
            *notes,
        ),
        files=files,
        unit_overrides={**stated, **given},
    )


def _events_sql(raw: str, parameters: dict[str, Any], delays: dict[str, int]) -> str:
    """Return the SELECT that turns raw rows into events."""
    listed = ", ".join(
        f"({text(name)}, {text(_code(name, entry))}, {text(entry['unit'])}, "
        f"{delays[entry['kind']]}, {entry.get('missing', 'NULL')})"
        for name, entry in parameters.items()
    )
    origin = (
        f"{raw} r JOIN (VALUES {listed}) p(param, code, unit, delay, missing) ON r.param = p.param"
    )
    unit_type = " ".join(f"WHEN {i} THEN 'UNIT//{u}'" for i, u in enumerate(UNIT_TYPES, start=1))
    of_stay = {"subject_id": "RecordID", "visit_id": "RecordID", "source": _source_of("param")}
    return "\nUNION ALL\n".join(
        (
            event_rows(
                origin,
                "r.value IS NOT NULL AND r.value IS DISTINCT FROM p.missing",
                subject_id="r.RecordID",
                time=f"{EPOCH} + {_since('r.time')}",
                code="p.code",
                numeric_value="r.value",
                unit="p.unit",
                known_time=f"CASE WHEN p.delay > 0 THEN {EPOCH} + {_since('r.time')} "
                "+ to_seconds(p.delay) END",
                visit_id="r.RecordID",
                source=_source_of("r.param"),
            ),
            event_rows(
                raw,
                "param = 'Age' AND value >= 0",
                code="'MEDS_BIRTH'",
                time=f"{EPOCH} - to_hours(round(value * 365.25 * 24)::BIGINT)",
                **of_stay,
            ),
            event_rows(
                raw,
                "param = 'Gender' AND value IN (0, 1)",
                code="CASE value WHEN 0 THEN 'GENDER//F' ELSE 'GENDER//M' END",
                **of_stay,
            ),
            event_rows(
                raw,
                "param = 'ICUType' AND value IN (1, 2, 3, 4)",
                code=f"CASE value {unit_type} END",
                time=EPOCH,
                **of_stay,
            ),
            event_rows(
                f"(SELECT DISTINCT RecordID FROM {raw})",
                subject_id="RecordID",
                code="'VISIT//icu'",
                time=EPOCH,
                visit_id="RecordID",
                source="'events:' || RecordID",
            ),
        )
    )


def _code(name: str, entry: dict[str, Any]) -> str:
    """Return the code of a parameter."""
    return f"{'VITAL' if entry['kind'] == 'bedside' else 'LAB'}//{name}"


def _since(time: str) -> str:
    """Return the interval of an HH:MM text, which may exceed 24 hours."""
    return (
        f"to_minutes(split_part({time}, ':', 1)::BIGINT * 60 + split_part({time}, ':', 2)::BIGINT)"
    )


def _source_of(parameter: str) -> str:
    """Return the expression that names the row."""
    return f"'events:' || RecordID || '/' || time || '/' || {parameter}"


def _bring(path: Path, connection: duckdb.DuckDBPyConnection) -> tuple[str, tuple[Path, ...]]:
    """Return a relation with the raw rows as text and number, and the files behind it."""
    raw = relation_name(connection, "raw")
    if path.is_dir():
        if (path / "events.parquet").is_file():
            return _parquet(path / "events.parquet", connection, raw)
        texts = [file for file in visible(path, "*.txt") if file.stem.isdigit()]
        if texts:
            return _text_files(path, texts, connection, raw)
        tables = sorted(path.glob("*.parquet"))
        if len(tables) == 1:  # records under another name
            return _parquet(tables[0], connection, raw)
        archives = tuple(sorted(file for file in path.iterdir() if is_archive(file)))
        if archives:
            read_archive(archives, connection, raw)
            return raw, archives
        seen = ", ".join(sorted(file.name for file in path.iterdir())[:10]) or "nothing"
        raise InputError(
            f"the folder '{path.name}' holds no PhysioNet 2012 records (found: {seen})",
            "events.parquet, raw files such as 132539.txt, or an archive of them",
            "name the folder or file that holds the records",
        )
    if path.suffix == ".parquet":
        return _parquet(path, connection, raw)
    if is_archive(path):
        read_archive((path,), connection, raw)
        return raw, (path,)
    if path.suffix == ".txt" and path.stem.isdigit():
        return _text_files(path.parent, [path], connection, raw)
    raise InputError(
        f"'{path.name}' is no PhysioNet 2012 file",
        "a Parquet file, a raw file such as 132539.txt, or an archive (.zip, .tar, .tgz, .tar.gz)",
        "name such a file, or the folder",
    )


def _parquet(
    path: Path, connection: duckdb.DuckDBPyConnection, raw: str
) -> tuple[str, tuple[Path, ...]]:
    """Make a view of the rows of a Parquet file."""
    origin = f"read_parquet({text(path)})"
    try:
        described = connection.execute(f"DESCRIBE SELECT * FROM {origin}").fetchall()
    except Exception as error:
        raise InputError(
            f"'{path.name}' cannot be read ({type(error).__name__})",
            "a Parquet file",
            "check the file",
        ) from error
    have = [str(row[0]) for row in described]
    missing = [column for column in _COLUMNS if column not in have]
    if missing:
        raise InputError(
            f"'{path.name}' has no column {', '.join(missing)} (columns: {', '.join(have[:20])})",
            "the columns RecordID, time, param, value",
            "rename the columns",
        )
    connection.execute(
        f"CREATE TEMP VIEW {raw} AS SELECT TRY_CAST(RecordID AS BIGINT) AS RecordID, "
        f"time::VARCHAR AS time, param::VARCHAR AS param, TRY_CAST(value AS DOUBLE) AS value, "
        f"value IS NOT NULL AND TRY_CAST(value AS DOUBLE) IS NULL AS faulty FROM {origin}"
    )
    return raw, (path,)


def _text_files(
    folder: Path, files: list[Path], connection: duckdb.DuckDBPyConnection, raw: str
) -> tuple[str, tuple[Path, ...]]:
    """Make a view of the rows of raw text files."""
    names = "[" + ", ".join(text(file) for file in files) + "]"
    lines = (
        f"read_csv({names}, header = false, auto_detect = false, delim = ',', filename = true, "
        "columns = {'time': 'VARCHAR', 'param': 'VARCHAR', 'value': 'VARCHAR'})"
    )
    try:
        headers = connection.execute(
            f"SELECT count(*) FROM {lines} "
            "WHERE time = 'Time' AND param = 'Parameter' AND value = 'Value'"
        ).fetchall()[0][0]
    except Exception as error:
        raise InputError(
            f"a raw file in '{folder.name}' cannot be read ({type(error).__name__})",
            "text files with the three columns Time,Parameter,Value",
            "check the files",
        ) from error
    if headers != len(files):
        raise InputError(
            f"{len(files)} raw files in '{folder.name}', but {headers} headers "
            "'Time,Parameter,Value'",
            "that header as the first line of each file",
            "remove the files that are no records of the Challenge",
        )
    connection.execute(
        f"CREATE TEMP VIEW {raw} AS SELECT "
        "regexp_extract(filename, '([0-9]+)\\.txt$', 1)::BIGINT AS RecordID, time, param, "
        "TRY_CAST(value AS DOUBLE) AS value, "
        "value IS NOT NULL AND TRY_CAST(value AS DOUBLE) IS NULL AS faulty "
        f"FROM {lines} WHERE NOT (time = 'Time' AND param = 'Parameter')"
    )
    return raw, tuple(files)


def _check(raw: str, connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Refuse rows that cannot be read, and describe what will be left out."""
    known = [*source_table("physionet2012"), "Age", "Gender", "ICUType", "RecordID"]
    listed = ", ".join(text(name) for name in known)
    clock = "regexp_full_match(time, '[0-9]{2,3}:[0-5][0-9]')"
    rows, no_id, bad_time, faulty, unknown, missing = connection.execute(
        f"""SELECT count(*), count(*) - count(RecordID),
               count(*) FILTER (WHERE NOT coalesce({clock}, false)),
               count(*) FILTER (WHERE faulty),
               count(*) FILTER (WHERE param IS NULL OR param NOT IN ({listed})),
               count(*) FILTER (WHERE param IN ('Height', 'Weight', 'Gender') AND value = -1)
            FROM {raw}"""
    ).fetchall()[0]
    if rows == 0:
        raise InputError("no rows", "records of the Challenge", "check the file given")
    for count, seen, expected in (
        (no_id, "rows have no RecordID", "a whole number"),
        (bad_time, "times are not HH:MM since admission", "for example 07:30"),
        (faulty, "values are no numbers", "a number"),
    ):
        if count:
            raise InputError(f"{count} of {rows} {seen}", expected, "correct these rows")
    notes = [f"{missing} values of -1 (Height, Weight, Gender) mean missing and were left out"]
    if unknown:
        notes.append(f"{unknown} rows of parameters without a stated unit were left out")
    return notes
