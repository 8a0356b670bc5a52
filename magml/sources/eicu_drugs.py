"""eICU: medication orders, infusions and medications taken before admission."""

from __future__ import annotations

from typing import TYPE_CHECKING

from magml.sources.orders import ordered_dose, written_amount
from magml.sources.tables import TableFolder, event_rows

if TYPE_CHECKING:
    import duckdb

    from magml.sources.eicu_timeline import Timeline


def drug_rows(
    tables: TableFolder,
    timeline: Timeline,
    connection: duckdb.DuckDBPyConnection,
    infusion_gap: int,
) -> tuple[list[str], list[str]]:
    """Return queries for drug exposures, and notes with counts of rows left out.

    Parameters
    ----------
    tables
        Folder of tables.
    timeline
        Timeline of the persons.
    connection
        DuckDB connection to use.
    infusion_gap
        Seconds after which a charted rate no longer says that the infusion runs.
    """
    queries: list[str] = []
    notes: list[str] = []
    for name, build in (
        ("medication", _medication),
        ("infusiondrug", _infusion),
        ("admissiondrug", _admission),
    ):
        if tables.has(name):
            query, note = build(tables, timeline, connection, infusion_gap)
            queries.append(query)
            notes.append(note)
    return queries, notes


def _medication(
    tables: TableFolder, timeline: Timeline, connection: duckdb.DuckDBPyConnection, _: int
) -> tuple[str, str]:
    """Return the query for medication orders, and its note."""
    view = tables.view(
        "medication",
        {
            "medicationid": "BIGINT",
            "patientunitstayid": "BIGINT",
            "drugorderoffset": "BIGINT",
            "drugstartoffset": "BIGINT",
            "drugstopoffset": "BIGINT",
            "drugname": "VARCHAR",
            "drugordercancelled": "VARCHAR",
            "routeadmin": "VARCHAR",
            "prn": "VARCHAR",
            "dosage": "VARCHAR",
            "frequency": "VARCHAR",
            "drughiclseqno": "BIGINT",
        },
        optional=(
            "routeadmin", "prn", "drugordercancelled", "dosage", "frequency", "drughiclseqno",
        ),
    )  # fmt: skip
    orders = f"{_named(view)} m JOIN {timeline.stays} s USING (patientunitstayid)"
    start = "s.unit_admit + to_minutes(m.drugstartoffset)"
    named = "m.name IS NOT NULL"
    running = "coalesce(m.drugordercancelled, '') <> 'Yes'"
    # 0 is far too frequent as an end to be a time: it stands for "not recorded".
    stopped = "m.drugstopoffset < m.drugstartoffset AND m.drugstopoffset <> 0"
    late = f"{start} >= s.ends"
    as_needed = "coalesce(m.prn = 'Yes', false)"
    value, unit = ordered_dose(*written_amount("m.dosage"), "m.frequency")
    count, given, unnamed, cancelled, backward, after = connection.execute(
        f"""
        SELECT count(*), count(*) FILTER (WHERE {named} AND nullif(trim(m.drugname), '') IS NULL),
               count(*) FILTER (WHERE NOT {named}),
               count(*) FILTER (WHERE {named} AND NOT {running}),
               count(*) FILTER (WHERE {named} AND {running} AND {stopped}),
               count(*) FILTER (WHERE {named} AND {running} AND NOT coalesce({stopped}, false)
                                AND {late})
        FROM {orders}
        """
    ).fetchall()[0]
    query = event_rows(
        orders,
        f"{named} AND {running} AND NOT coalesce({stopped}, false) AND NOT {late} "
        "AND m.drugstartoffset IS NOT NULL",
        subject_id="s.subject_id",
        time=start,
        code="'DRUG//' || m.name || "
        f"CASE WHEN {as_needed} THEN '//as needed' ELSE '' END || '//inpatient'",
        numeric_value=f"CASE WHEN NOT {as_needed} THEN {value} END",
        unit=f"CASE WHEN NOT {as_needed} AND ({value}) IS NOT NULL THEN {unit} END",
        text_value="CASE WHEN m.prn = 'Yes' THEN 'prn' ELSE 'scheduled' END "
        "|| coalesce('; ' || nullif(trim(m.routeadmin), ''), '')",
        known_time="greatest(s.known_from, s.unit_admit + "
        "to_minutes(coalesce(m.drugorderoffset, m.drugstartoffset)))",
        end_time="least(s.ends, s.unit_admit + to_minutes(nullif(m.drugstopoffset, 0)))",
        visit_id="m.patientunitstayid",
        source="'medication:' || m.medicationid",
    )
    return query, (
        f"medication: {given} of {count} orders have no drug name and were given the commonest of "
        f"their drughiclseqno; {unnamed} without a drug name, {cancelled} cancelled, "
        f"{backward} stopped before their start and {after} that start after discharge were left "
        "out; known when ordered; a dose is the dosage times the frequency, where both can be read "
        "and the order is not as needed; an end of 0 is unknown, and every order ends with the "
        "hospitalisation"
    )


def _named(view: str) -> str:
    """Return the orders with a name: their own, or the commonest of their ingredients' number.

    Four orders in ten have no name but ``drughiclseqno``, which stands for a set of ingredients
    and stands beside names in other rows.
    """
    own = "nullif(trim(drugname), '')"
    return f"""(
        SELECT o.*, coalesce({own}, c.common) AS name FROM {view} o LEFT JOIN (
            SELECT drughiclseqno, arg_min(written, (-n, written)) AS common FROM (
                SELECT drughiclseqno, {own} AS written, count(*) AS n FROM {view}
                WHERE drughiclseqno > 0 AND {own} IS NOT NULL GROUP BY ALL)
            GROUP BY drughiclseqno
        ) c USING (drughiclseqno))"""


def _infusion(
    tables: TableFolder,
    timeline: Timeline,
    connection: duckdb.DuckDBPyConnection,
    infusion_gap: int,
) -> tuple[str, str]:
    """Return the query for infusions, and its note."""
    view = tables.view(
        "infusiondrug",
        {
            "infusiondrugid": "BIGINT",
            "patientunitstayid": "BIGINT",
            "infusionoffset": "BIGINT",
            "drugname": "VARCHAR",
            "drugrate": "VARCHAR",
        },
    )
    # A trailing parenthesis is the rate's unit: "Fentanyl (mcg/hr)", or "Propofol ()".
    charted = f"""(
        SELECT infusiondrugid, patientunitstayid, infusionoffset,
               trim(regexp_replace(drugname, '\\s*\\([^()]*\\)\\s*$', '')) AS drug,
               nullif(trim(regexp_extract(drugname, '\\(([^()]*)\\)\\s*$', 1)), '') AS rate_unit,
               TRY_CAST(drugrate AS DOUBLE) AS rate,
               min(infusionoffset) OVER (
                   PARTITION BY patientunitstayid, drugname ORDER BY infusionoffset
                   RANGE BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS next_offset
        FROM {view}
        WHERE drugname IS NOT NULL AND infusionoffset IS NOT NULL
          AND TRY_CAST(drugrate AS DOUBLE) IS NOT NULL)"""
    count, unread, stops = connection.execute(
        f"""
        SELECT count(*), count(*) FILTER (WHERE TRY_CAST(drugrate AS DOUBLE) IS NULL),
               count(*) FILTER (WHERE TRY_CAST(drugrate AS DOUBLE) <= 0)
        FROM {view} JOIN {timeline.stays} USING (patientunitstayid)
        """
    ).fetchall()[0]
    start = "s.unit_admit + to_minutes(i.infusionoffset)"
    query = event_rows(
        f"{charted} i JOIN {timeline.stays} s USING (patientunitstayid)",
        "i.rate > 0 AND i.drug <> ''",
        subject_id="s.subject_id",
        time=start,
        code="'DRUG//' || i.drug || '//inpatient'",
        numeric_value="i.rate",
        unit="i.rate_unit",
        text_value="'infusion'",
        known_time=f"greatest(s.known_from, {start})",
        end_time=f"least(s.unit_admit + to_minutes(i.next_offset), "
        f"{start} + to_seconds({infusion_gap}))",
        visit_id="i.patientunitstayid",
        source="'infusiondrug:' || i.infusiondrugid",
    )
    return query, (
        f"infusiondrug: of {count} charted rates, {stops} of zero end an infusion and {unread} "
        f"without a number were left out; a rate holds until the next charting, at most "
        f"{infusion_gap / 3600:g} h; known when charted"
    )


def _admission(
    tables: TableFolder, timeline: Timeline, connection: duckdb.DuckDBPyConnection, _: int
) -> tuple[str, str]:
    """Return the query for medications taken before admission, and its note."""
    view = tables.view(
        "admissiondrug",
        {
            "admissiondrugid": "BIGINT",
            "patientunitstayid": "BIGINT",
            "drugoffset": "BIGINT",
            "drugenteredoffset": "BIGINT",
            "drugname": "VARCHAR",
            "drugdosage": "DOUBLE",
            "drugunit": "VARCHAR",
            "drugadmitfrequency": "VARCHAR",
        },
        optional=("drugdosage", "drugunit", "drugadmitfrequency"),
    )
    start = "s.unit_admit + to_minutes(a.drugoffset)"
    # A dosage of 0 stands for "not recorded".
    dose, unit = "nullif(a.drugdosage, 0)", "nullif(trim(a.drugunit), '')"
    value, unit = ordered_dose(dose, unit, "a.drugadmitfrequency")
    query = event_rows(
        f"{view} a JOIN {timeline.stays} s USING (patientunitstayid)",
        "trim(coalesce(a.drugname, '')) <> '' AND a.drugoffset IS NOT NULL",
        subject_id="s.subject_id",
        time=start,
        code="'DRUG//' || trim(a.drugname) || '//outpatient'",
        numeric_value=value,
        unit=f"CASE WHEN ({value}) IS NOT NULL THEN {unit} END",
        text_value="'home'",
        known_time=f"greatest(s.known_from, {start}, "
        "s.unit_admit + to_minutes(coalesce(a.drugenteredoffset, a.drugoffset)))",
        visit_id="a.patientunitstayid",
        source="'admissiondrug:' || a.admissiondrugid",
    )
    return query, "admissiondrug: open exposures from drugoffset, known when entered"
