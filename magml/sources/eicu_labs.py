"""eICU: laboratory results, the hourly grid, and bedside measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magml.events.table import text
from magml.sources.tables import TableFolder, event_rows, relation_name, source_table

if TYPE_CHECKING:
    import duckdb

    from magml.sources.eicu_timeline import Timeline

LAB_COLUMNS = {
    "labid": "BIGINT",
    "patientunitstayid": "BIGINT",
    "labresultoffset": "BIGINT",
    "labtypeid": "BIGINT",
    "labname": "VARCHAR",
    "labresult": "DOUBLE",
    "labresulttext": "VARCHAR",
    "labmeasurenamesystem": "VARCHAR",
    "labmeasurenameinterface": "VARCHAR",
    "labresultrevisedoffset": "BIGINT",
}
_LAB_OPTIONAL = ("labtypeid", "labresulttext", "labmeasurenameinterface")


def measurement_rows(
    tables: TableFolder,
    timeline: Timeline,
    connection: duckdb.DuckDBPyConnection,
    delays: dict[str, int],
) -> tuple[list[str], list[str]]:
    """Return queries for measurements, and notes.

    Parameters
    ----------
    tables
        Folder of tables.
    timeline
        Timeline of the persons.
    connection
        DuckDB connection to use.
    delays
        Seconds from specimen to result by kind: ``lab``, ``gas``, ``bedside``.
    """
    queries: list[str] = []
    notes: list[str] = []
    raw_stays: str | None = None
    if tables.has("lab"):
        lab = tables.view("lab", LAB_COLUMNS, optional=_LAB_OPTIONAL)
        raw_stays = relation_name(connection, "stays_with_labs")
        connection.execute(
            f"CREATE TEMP TABLE {raw_stays} AS SELECT DISTINCT patientunitstayid FROM {lab}"
        )
        queries.append(_lab_sql(lab, timeline, delays))
        number = connection.execute(f"SELECT count(*) FROM {raw_stays}").fetchall()[0][0]
        notes.append(
            f"laboratory results of {number} stays from the table lab: known at "
            "labresultrevisedoffset where it is later than labresultoffset, else after the "
            "turnaround"
        )
    if tables.has("hourly"):
        queries += _hourly_sql(tables, timeline, raw_stays, delays)
        notes.append(
            "values of the hourly grid: time is the start of their hour, known at its end, "
            "laboratory results after the turnaround from then"
        )
        return queries, notes
    # The grid was made from these two tables: they are read only where there is no grid.
    if tables.has("vitalperiodic"):
        queries += _vital_periodic_sql(tables, timeline)
        notes.append("vitalperiodic: one median an hour, known at its end")
    if tables.has("vitalaperiodic"):
        queries += _vital_aperiodic_sql(tables, timeline)
        notes.append("vitalaperiodic: blood pressure by cuff, known at once")
    return queries, notes


def _lab_sql(lab: str, timeline: Timeline, delays: dict[str, int]) -> str:
    """Return the query for raw laboratory results."""
    table = source_table("eicu")
    units = " ".join(
        f"WHEN {text(name)} THEN {text(unit)}" for name, unit in table["lab_units"].items()
    )
    quick = ", ".join(text(name) for name in table["point_of_care"])
    delay = (
        f"CASE WHEN l.labtypeid = {table['gas_labtype']} OR l.labname IN ({quick}) "
        f"THEN {delays['gas']} ELSE {delays['lab']} END"
    )
    time = "s.unit_admit + to_minutes(l.labresultoffset)"
    revised = "s.unit_admit + to_minutes(l.labresultrevisedoffset)"
    return event_rows(
        f"{lab} l JOIN {timeline.stays} s USING (patientunitstayid)",
        "l.labname IS NOT NULL AND l.labresultoffset IS NOT NULL",
        subject_id="s.subject_id",
        time=time,
        code="'LAB//' || trim(l.labname)",
        numeric_value="l.labresult",
        unit=f"coalesce(nullif(trim(replace(l.labmeasurenamesystem, '&#176;C', 'Cel')), ''), "
        f"CASE trim(l.labname) {units} END, nullif(trim(l.labmeasurenameinterface), ''))",
        text_value="CASE WHEN l.labresult IS NULL THEN l.labresulttext END",
        known_time="greatest(s.known_from, "
        f"CASE WHEN l.labresultrevisedoffset > l.labresultoffset THEN {revised} "
        f"ELSE {time} + to_seconds({delay}) END)",
        visit_id="l.patientunitstayid",
        source="'lab:' || l.labid",
    )


def _hourly_sql(
    tables: TableFolder, timeline: Timeline, raw_stays: str | None, delays: dict[str, int]
) -> list[str]:
    """Return queries for the hourly grid."""
    mapping: dict[str, Any] = source_table("eicu")["hourly"]
    have = set(tables.columns("hourly"))
    used = {column: entry for column, entry in mapping.items() if column in have}
    if tables.has("intakeoutput"):
        # The same millilitres stand in intakeoutput, with the minute of their entry.
        used.pop("urine", None)
    view = tables.view(
        "hourly", {"stay_id": "BIGINT", "time": "BIGINT", **dict.fromkeys(used, "DOUBLE")}
    )
    if not used:
        return []
    listed = ", ".join(
        f"({text(column)}, {text(entry['code'])}, {text(entry['unit'])}, "
        f"{3600 + delays[entry['kind']]}, {entry['kind'] != 'bedside'})"
        for column, entry in used.items()
    )
    cells = f"(UNPIVOT {view} ON {', '.join(used)} INTO NAME grid_column VALUE cell)"
    where = "NOT isnan(h.cell)"
    if raw_stays:
        where += (
            f" AND NOT (c.specimen AND h.stay_id IN (SELECT patientunitstayid FROM {raw_stays}))"
        )
    start = 's.unit_admit + to_seconds(h."time")'
    return [
        event_rows(
            f"{cells} h JOIN (VALUES {listed}) c(grid_column, code, unit, delay, specimen) "
            f"USING (grid_column) JOIN {timeline.stays} s ON s.patientunitstayid = h.stay_id",
            where,
            subject_id="s.subject_id",
            time=start,
            code="c.code",
            numeric_value="h.cell",
            unit="c.unit",
            known_time=f"greatest(s.known_from, {start} + to_seconds(c.delay))",
            visit_id="h.stay_id",
            source="'hourly:' || h.stay_id || '/' || h.\"time\" || '/' || grid_column",
        )
    ]


def _vital_periodic_sql(tables: TableFolder, timeline: Timeline) -> list[str]:
    """Return queries for five-minute vital signs, reduced to hourly medians."""
    mapping = source_table("eicu")["vitalperiodic"]
    view = tables.view(
        "vitalperiodic",
        {
            "patientunitstayid": "BIGINT",
            "observationoffset": "BIGINT",
            **dict.fromkeys(mapping, "DOUBLE"),
        },
        optional=tuple(mapping),
    )
    medians = ", ".join(f"median({column}) AS {column}" for column in mapping)
    hourly = (
        f"SELECT patientunitstayid, floor(observationoffset / 60)::BIGINT AS hour, {medians} "
        f"FROM {view} GROUP BY ALL"
    )
    listed = ", ".join(
        f"({text(column)}, {text(entry['code'])}, {text(entry['unit'])})"
        for column, entry in mapping.items()
    )
    start = "s.unit_admit + to_hours(h.hour)"
    return [
        event_rows(
            f"(UNPIVOT ({hourly}) ON {', '.join(mapping)} INTO NAME grid_column VALUE cell) h "
            f"JOIN (VALUES {listed}) c(grid_column, code, unit) USING (grid_column) "
            f"JOIN {timeline.stays} s USING (patientunitstayid)",
            subject_id="s.subject_id",
            time=start,
            code="c.code",
            numeric_value="h.cell",
            unit="c.unit",
            known_time=f"greatest(s.known_from, {start} + to_hours(1))",
            visit_id="patientunitstayid",
            source="'vitalperiodic:' || patientunitstayid || '/' || h.hour || '/' || grid_column",
        )
    ]


def _vital_aperiodic_sql(tables: TableFolder, timeline: Timeline) -> list[str]:
    """Return queries for measurements taken now and then."""
    mapping = source_table("eicu")["vitalaperiodic"]
    view = tables.view(
        "vitalaperiodic",
        {
            "vitalaperiodicid": "BIGINT",
            "patientunitstayid": "BIGINT",
            "observationoffset": "BIGINT",
            **dict.fromkeys(mapping, "DOUBLE"),
        },
        optional=tuple(mapping),
    )
    time = "s.unit_admit + to_minutes(v.observationoffset)"
    return [
        event_rows(
            f"{view} v JOIN {timeline.stays} s USING (patientunitstayid)",
            f"v.{column} IS NOT NULL",
            subject_id="s.subject_id",
            time=time,
            code=text(entry["code"]),
            numeric_value=f"v.{column}",
            unit=text(entry["unit"]),
            known_time=f"greatest(s.known_from, {time})",
            visit_id="v.patientunitstayid",
            source="'vitalaperiodic:' || v.vitalaperiodicid",
        )
        for column, entry in mapping.items()
    ]
