"""The artificial timeline of eICU: persons, hospitalisations and unit stays.

eICU gives minutes from each unit admission, clock times without dates, and the year of hospital
discharge. Everything here serves one rule: an order that the data do not tell is not invented.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from magml.errors import InputError
from magml.sources.tables import TableFolder, event_rows, relation_name

if TYPE_CHECKING:
    import duckdb

PATIENT_COLUMNS = {
    "patientunitstayid": "BIGINT",
    "patienthealthsystemstayid": "BIGINT",
    "uniquepid": "VARCHAR",
    "gender": "VARCHAR",
    "age": "VARCHAR",
    "ethnicity": "VARCHAR",
    "hospitalid": "BIGINT",
    "admissionheight": "DOUBLE",
    "admissionweight": "DOUBLE",
    "hospitaladmittime24": "VARCHAR",
    "hospitaladmitoffset": "BIGINT",
    "hospitaldischargeyear": "BIGINT",
    "hospitaldischargeoffset": "BIGINT",
    "unittype": "VARCHAR",
    "unitadmitsource": "VARCHAR",
    "unitdischargeoffset": "BIGINT",
}
_OPTIONAL = ("ethnicity", "admissionheight", "admissionweight", "unitadmitsource", "unittype")
#: Days between the end of one hospitalisation and the earliest start of the next: any number
#: above zero keeps them apart; how long it really was is not in the data.
_GAP_DAYS = 30


@dataclass(frozen=True)
class Timeline:
    """Relations of the timeline on a connection.

    Attributes
    ----------
    stays
        One row a unit stay that is kept: ``patientunitstayid``, ``subject_id``, ``unit_admit``,
        ``unit_discharge``, ``hospital_admit``, ``hospital_discharge``, ``known_from`` (when the
        hospital first met the person in this hospitalisation) and columns of ``patient``.
    subjects
        Subject map.
    notes
        What was left out, with counts.
    """

    stays: str
    subjects: str
    notes: tuple[str, ...]


def build_timeline(tables: TableFolder, connection: duckdb.DuckDBPyConnection) -> Timeline:
    """Place every unit stay whose order is known on its person's timeline.

    Parameters
    ----------
    tables
        Folder with the table ``patient``.
    connection
        DuckDB connection to use.

    Raises
    ------
    InputError
        No rows, a stay that stands twice, a stay without person, hospitalisation or offset.
    """
    patient = tables.view("patient", PATIENT_COLUMNS, optional=_OPTIONAL)
    _check(patient, connection)
    stays, subjects = (relation_name(connection, name) for name in ("stays", "subjects"))
    connection.execute(
        f"CREATE TEMP TABLE {subjects} AS SELECT row_number() OVER (ORDER BY uniquepid)::BIGINT "
        f"AS subject_id, uniquepid AS source_id FROM (SELECT DISTINCT uniquepid FROM {patient})"
    )
    placed = f"{stays}_hospitalisations"
    connection.execute(f"CREATE TEMP TABLE {placed} AS {_hospitalisations_sql(patient)}")
    connection.execute(
        f"""
        CREATE TEMP TABLE {stays} AS
        SELECT p.*, m.subject_id, h.age_years, h.hospital_admit,
               h.hospital_admit + to_minutes(-p.hospitaladmitoffset) AS unit_admit,
               h.hospital_admit + to_minutes(p.unitdischargeoffset - p.hospitaladmitoffset)
                   AS unit_discharge,
               h.hospital_admit + to_minutes(h.discharge_minute) AS hospital_discharge,
               h.hospital_admit + to_minutes(h.first_minute) AS known_from,
               h.hospital_admit + to_minutes(h.last_minute) AS ends,
               row_number() OVER (
                   PARTITION BY p.patienthealthsystemstayid
                   ORDER BY -p.hospitaladmitoffset, p.patientunitstayid) AS stay_number
        FROM {patient} p
        JOIN {placed} h USING (patienthealthsystemstayid)
        JOIN {subjects} m ON m.source_id = p.uniquepid
        WHERE h.kept
        """
    )
    left, persons, stays_left, several = connection.execute(
        f"""
        SELECT count(*) FILTER (WHERE NOT kept), count(DISTINCT uniquepid) FILTER (WHERE NOT kept),
               coalesce(sum(stays) FILTER (WHERE NOT kept), 0),
               (SELECT count(*) FROM (SELECT uniquepid FROM {placed} WHERE kept
                                      GROUP BY uniquepid HAVING count(*) > 1))
        FROM {placed}
        """
    ).fetchall()[0]
    notes = [
        "times run on an artificial timeline: 1 January of the year of discharge, at the clock "
        f"time of hospital admission; later hospitalisations at least {_GAP_DAYS} days after the "
        "one before; the time between hospitalisations is not in the data"
    ]
    if left:
        notes.append(
            f"{left} hospitalisations ({stays_left} unit stays, {persons} persons) were left out: "
            "same year and age as another one of the person, so that their order is unknown; one "
            "of each such group is kept"
        )
    if several:
        notes.append(f"{several} persons have more than one hospitalisation in known order")
    return Timeline(stays, subjects, tuple(notes))


def _hospitalisations_sql(patient: str) -> str:
    """Return the query that orders hospitalisations and places them on the timeline."""
    earlier = (
        "earlier AS (PARTITION BY uniquepid, kept "
        "ORDER BY year NULLS FIRST, age_years NULLS FIRST, patienthealthsystemstayid)"
    )
    return f"""
    WITH found AS (
        SELECT uniquepid, patienthealthsystemstayid, count(*) AS stays,
               min(hospitaldischargeyear) AS year,
               min(CASE WHEN age LIKE '%>%' THEN 90 ELSE TRY_CAST(age AS INTEGER) END) AS age_years,
               min(coalesce(TRY_CAST(hospitaladmittime24 AS TIME), TIME '00:00:00')) AS clock,
               least(0, min(-hospitaladmitoffset)) AS first_minute,
               max(hospitaldischargeoffset - hospitaladmitoffset) AS discharge_minute,
               greatest(0, max(-hospitaladmitoffset
                               + greatest(unitdischargeoffset, hospitaldischargeoffset)))
                   AS last_minute
        FROM {patient}
        GROUP BY uniquepid, patienthealthsystemstayid
    ),
    -- Year of discharge, then age at admission, order the hospitalisations of a person. Where
    -- both are equal, or an age is missing, nothing does: one is kept, chosen by its identifier,
    -- which eICU drew at random.
    judged AS (
        SELECT *,
               row_number() OVER (PARTITION BY uniquepid, year, age_years
                                  ORDER BY patienthealthsystemstayid) = 1
               AND (age_years IS NOT NULL
                    OR (count(*) OVER (PARTITION BY uniquepid, year) =
                        count(*) FILTER (WHERE age_years IS NULL)
                            OVER (PARTITION BY uniquepid, year))) AS kept,
               ceil(-first_minute / 1440)::BIGINT AS lead_days,
               ceil(-first_minute / 1440)::BIGINT + ceil(last_minute / 1440)::BIGINT
                   + 1 + {_GAP_DAYS} AS days
        FROM found
    ),
    -- Start day of the k-th: not before 1 January of its year, not before the one before has
    -- ended. Unrolled, that is S(k) + max over j <= k of (1 January(j) - S(j)), where S(k) is
    -- the length of all before k.
    summed AS (
        SELECT *, make_date(coalesce(year, 2014), 1, 1) - DATE '2000-01-01' AS january,
               coalesce(sum(CASE WHEN kept THEN days END) OVER (
                   earlier ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)::BIGINT AS before
        FROM judged
        WINDOW {earlier}
    )
    SELECT * EXCLUDE (clock, january, before, days),
           DATE '2000-01-01' + (
               lead_days + before
               + max(january - before) OVER (earlier ROWS UNBOUNDED PRECEDING)
           )::INTEGER + clock AS hospital_admit
    FROM summed
    WINDOW {earlier}
    """


def visit_rows(timeline: Timeline) -> list[str]:
    """Return queries for demographics, site, unit, visits, and size at admission."""
    stays = timeline.stays
    # One row a person: the earliest stay that says it.
    first = (
        f"(SELECT * FROM {stays} WHERE {{condition}} QUALIFY row_number() OVER "
        "(PARTITION BY subject_id ORDER BY hospital_admit, stay_number) = 1)"
    )
    of_stay = {
        "subject_id": "subject_id",
        "time": "unit_admit",
        "known_time": "unit_admit",
        "visit_id": "patientunitstayid",
        "source": "'patient:' || patientunitstayid",
    }
    of_hospitalisation = {
        "subject_id": "subject_id",
        "time": "hospital_admit",
        "known_time": "greatest(known_from, hospital_admit)",
        "visit_id": "'hospitalisation-' || patienthealthsystemstayid",
        "source": "'patient:' || patientunitstayid",
    }
    return [
        event_rows(
            first.format(condition="age_years IS NOT NULL"),
            subject_id="subject_id",
            code="'MEDS_BIRTH'",
            time="hospital_admit - to_hours(round(age_years * 365.25 * 24)::BIGINT)",
            source="'patient:' || patientunitstayid",
        ),
        event_rows(
            first.format(condition="gender IN ('Female', 'Male')"),
            subject_id="subject_id",
            code="CASE gender WHEN 'Female' THEN 'GENDER//F' ELSE 'GENDER//M' END",
            source="'patient:' || patientunitstayid",
        ),
        event_rows(
            first.format(condition="trim(ethnicity) <> ''"),
            subject_id="subject_id",
            code="'RACE//' || trim(ethnicity)",
            source="'patient:' || patientunitstayid",
        ),
        event_rows(
            stays,
            "stay_number = 1",
            code="'VISIT//inpatient'",
            end_time="greatest(hospital_discharge, hospital_admit)",
            **of_hospitalisation,
        ),
        # The hospital is known from the first contact, also where the unit came before admission.
        event_rows(
            stays,
            "stay_number = 1 AND hospitalid IS NOT NULL",
            code="'SITE//' || hospitalid",
            **{**of_hospitalisation, "time": "known_from", "known_time": "known_from"},
        ),
        event_rows(
            stays,
            code="'VISIT//icu'",
            end_time="greatest(unit_discharge, unit_admit)",
            **of_stay,
        ),
        event_rows(stays, "trim(unittype) <> ''", code="'UNIT//' || trim(unittype)", **of_stay),
        event_rows(
            stays,
            "trim(unitadmitsource) <> ''",
            code="'CARE//unit admit source|' || trim(unitadmitsource)",
            **of_stay,
        ),
        event_rows(
            stays,
            "admissionweight IS NOT NULL",
            code="'VITAL//admissionweight'",
            numeric_value="admissionweight",
            unit="'kg'",
            **of_stay,
        ),
        event_rows(
            stays,
            "admissionheight IS NOT NULL",
            code="'VITAL//admissionheight'",
            numeric_value="admissionheight",
            unit="'cm'",
            **of_stay,
        ),
    ]


def _check(patient: str, connection: duckdb.DuckDBPyConnection) -> None:
    """Refuse a patient table from which no timeline can be built."""
    rows, distinct, incomplete = connection.execute(
        f"""
        SELECT count(*), count(DISTINCT patientunitstayid),
               count(*) FILTER (WHERE uniquepid IS NULL OR patientunitstayid IS NULL
                                OR patienthealthsystemstayid IS NULL OR hospitaladmitoffset IS NULL)
        FROM {patient}
        """
    ).fetchall()[0]
    if rows == 0:
        raise InputError("the table patient is empty", "unit stays", "check the file")
    if incomplete:
        raise InputError(
            f"{incomplete} rows of patient lack uniquepid, patientunitstayid, "
            "patienthealthsystemstayid or hospitaladmitoffset",
            "all four in every row",
            "complete or remove these rows",
        )
    if rows != distinct:
        raise InputError(
            f"{rows - distinct} unit stays stand more than once in patient",
            "each patientunitstayid once",
            "remove the repeated rows",
        )
