"""eICU: diagnoses, past history, treatments, care plans, intake and output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from magml.events.table import text
from magml.sources.tables import TableFolder, event_rows, source_table

if TYPE_CHECKING:
    from magml.sources.eicu_timeline import Timeline

_STAY = "patientunitstayid"


def care_rows(tables: TableFolder, timeline: Timeline) -> tuple[list[str], list[str]]:
    """Return queries for diagnoses and care, and notes.

    Parameters
    ----------
    tables
        Folder of tables.
    timeline
        Timeline of the persons.
    """
    queries: list[str] = []
    for name, build in (
        ("diagnosis", _diagnosis),
        ("admissiondx", _admission_diagnosis),
        ("pasthistory", _past_history),
        ("treatment", _treatment),
        ("careplangeneral", _care_plan),
        ("intakeoutput", _intake_output),
    ):
        if tables.has(name):
            queries += build(tables, timeline)
    notes = [
        "diagnoses, history, treatments and care plans are known when the care team entered them; "
        "activeupondischarge is never read"
    ]
    return queries, notes if queries else []


def _joined(view: str, timeline: Timeline) -> str:
    """Return a table joined to its stays."""
    return f"{view} t JOIN {timeline.stays} s USING ({_STAY})"


def _columns(
    offset: str, code: str, table: str, key: str, known: str | None = None, **more: str
) -> dict[str, str]:
    """Return the expressions that these tables share; `known` is an offset, default `offset`."""
    entered = f"coalesce(t.{known or offset}, t.{offset})"
    return {
        "subject_id": "s.subject_id",
        "time": f"s.unit_admit + to_minutes(t.{offset})",
        "code": code,
        "known_time": "greatest(s.known_from, "
        f"s.unit_admit + to_minutes(greatest(t.{offset}, {entered})))",
        "visit_id": f"t.{_STAY}",
        "source": f"'{table}:' || t.{key}",
        **more,
    }


def _diagnosis(tables: TableFolder, timeline: Timeline) -> list[str]:
    """Return queries for diagnoses: the path as written, and each code in ``icd9code``."""
    view = tables.view(
        "diagnosis",
        {
            "diagnosisid": "BIGINT",
            _STAY: "BIGINT",
            "diagnosisoffset": "BIGINT",
            "diagnosisstring": "VARCHAR",
            "icd9code": "VARCHAR",
        },
    )
    # "401.9, I10" holds ICD-9-CM and ICD-10-CM codes; some stand several times. Three digits, E
    # with three digits and V with two are ICD-9-CM; other letters, and E with two digits, are
    # ICD-10-CM. Two digits alone are ICD-9-CM procedures (31.1 tracheostomy), which would read as
    # diagnoses (311) once the point is dropped: their text is kept, the code is not.
    split = (
        f"(SELECT DISTINCT diagnosisid, {_STAY}, diagnosisoffset, upper(trim(code)) AS code FROM "
        f"(SELECT *, unnest(string_split(icd9code, ',')) AS code FROM {view}))"
    )
    icd9 = "regexp_full_match(t.code, '([0-9]{3}|E[0-9]{3}|V[0-9]{2})(\\.[0-9]{1,2})?')"
    return [
        event_rows(
            _joined(view, timeline),
            "trim(coalesce(t.diagnosisstring, '')) <> ''",
            **_columns(
                "diagnosisoffset",
                "'CONDITION//' || trim(t.diagnosisstring)",
                "diagnosis",
                "diagnosisid",
            ),
        ),
        event_rows(
            _joined(split, timeline),
            f"{icd9} OR regexp_full_match(t.code, '[A-Z][0-9][0-9A-Z](\\.[0-9A-Z]{{1,4}})?')",
            **_columns(
                "diagnosisoffset",
                f"CASE WHEN {icd9} THEN 'ICD9CM//' ELSE 'ICD10CM//' END || t.code",
                "diagnosis",
                "diagnosisid",
            ),
        ),
    ]


def _admission_diagnosis(tables: TableFolder, timeline: Timeline) -> list[str]:
    """Return the query for diagnoses and organ systems at unit admission."""
    view = tables.view(
        "admissiondx",
        {
            "admissiondxid": "BIGINT",
            _STAY: "BIGINT",
            "admitdxenteredoffset": "BIGINT",
            "admitdxpath": "VARCHAR",
        },
    )
    return [
        event_rows(
            _joined(view, timeline),
            "t.admitdxpath LIKE '%|Diagnosis|%' OR t.admitdxpath LIKE '%|Organ System|%'",
            **_columns(
                "admitdxenteredoffset",
                "'CONDITION//' || regexp_replace(trim(t.admitdxpath), "
                "'^admission diagnosis\\|(All Diagnosis\\|)?', '')",
                "admissiondx",
                "admissiondxid",
            ),
        )
    ]


def _past_history(tables: TableFolder, timeline: Timeline) -> list[str]:
    """Return the query for past history: the path below its organ system, as written."""
    view = tables.view(
        "pasthistory",
        {
            "pasthistoryid": "BIGINT",
            _STAY: "BIGINT",
            "pasthistoryoffset": "BIGINT",
            "pasthistoryenteredoffset": "BIGINT",
            "pasthistorypath": "VARCHAR",
        },
    )
    return [
        event_rows(
            _joined(view, timeline),
            "t.pasthistorypath LIKE '%/Organ Systems/%'",
            **_columns(
                "pasthistoryoffset",
                "'CONDITION//' || regexp_replace(trim(t.pasthistorypath), "
                "'^.*/Organ Systems/', 'history/')",
                "pasthistory",
                "pasthistoryid",
                known="pasthistoryenteredoffset",
            ),
        )
    ]


def _treatment(tables: TableFolder, timeline: Timeline) -> list[str]:
    """Return the query for treatments as the care team ticked them."""
    view = tables.view(
        "treatment",
        {
            "treatmentid": "BIGINT",
            _STAY: "BIGINT",
            "treatmentoffset": "BIGINT",
            "treatmentstring": "VARCHAR",
        },
    )
    return [
        event_rows(
            _joined(view, timeline),
            "trim(coalesce(t.treatmentstring, '')) <> ''",
            **_columns(
                "treatmentoffset",
                "'PROCEDURE//' || trim(t.treatmentstring)",
                "treatment",
                "treatmentid",
            ),
        )
    ]


def _care_plan(tables: TableFolder, timeline: Timeline) -> list[str]:
    """Return the query for care plans: ``group|value``, since "None" alone says nothing."""
    view = tables.view(
        "careplangeneral",
        {
            "cplgeneralid": "BIGINT",
            _STAY: "BIGINT",
            "cplitemoffset": "BIGINT",
            "cplgroup": "VARCHAR",
            "cplitemvalue": "VARCHAR",
        },
    )
    return [
        event_rows(
            _joined(view, timeline),
            "trim(coalesce(t.cplitemvalue, '')) <> ''",
            **_columns(
                "cplitemoffset",
                "'CARE//' || coalesce(trim(t.cplgroup) || '|', '') || trim(t.cplitemvalue)",
                "careplangeneral",
                "cplgeneralid",
            ),
        )
    ]


def _intake_output(tables: TableFolder, timeline: Timeline) -> list[str]:
    """Return queries for intake, output, urine and body weight."""
    view = tables.view(
        "intakeoutput",
        {
            "intakeoutputid": "BIGINT",
            _STAY: "BIGINT",
            "intakeoutputoffset": "BIGINT",
            "intakeoutputentryoffset": "BIGINT",
            "cellpath": "VARCHAR",
            "celllabel": "VARCHAR",
            "cellvaluenumeric": "DOUBLE",
        },
    )
    rule = source_table("eicu")["urine"]
    urine = (
        "t.cellpath LIKE '%|Output (ml)|%' AND ("
        + " OR ".join(f"contains(lower(t.celllabel), {text(part)})" for part in rule["match"])
        + ") AND NOT ("
        + " OR ".join(f"contains(lower(t.celllabel), {text(part)})" for part in rule["not"])
        + ")"
    )
    named = "t.cellvaluenumeric IS NOT NULL AND trim(coalesce(t.celllabel, '')) <> ''"
    # Several catheters charted at one minute are one output: values at the same moment would
    # otherwise stand as corrections of each other.
    summed = (
        f"(SELECT {_STAY}, intakeoutputoffset, max(intakeoutputentryoffset) AS entered, "
        "sum(cellvaluenumeric) AS volume, min(intakeoutputid) AS intakeoutputid "
        f"FROM {view} t WHERE {named} AND {urine} GROUP BY ALL)"
    )
    return [
        event_rows(
            _joined(summed, timeline),
            **_columns(
                "intakeoutputoffset",
                "'VITAL//urine output'",
                "intakeoutput",
                "intakeoutputid",
                known="entered",
                numeric_value="t.volume",
                unit="'mL'",
            ),
        ),
        event_rows(
            _joined(view, timeline),
            f"{named} AND t.cellpath LIKE '%|I&O|Weight|Bodyweight (%'",
            **_columns(
                "intakeoutputoffset",
                "'VITAL//Bodyweight'",
                "intakeoutput",
                "intakeoutputid",
                known="intakeoutputentryoffset",
                numeric_value="t.cellvaluenumeric",
                unit="regexp_extract(t.celllabel, '\\((.*)\\)', 1)",
            ),
        ),
        event_rows(
            _joined(view, timeline),
            f"{named} AND t.cellpath NOT LIKE '%|I&O|Weight|%' AND NOT ({urine})",
            **_columns(
                "intakeoutputoffset",
                "'CARE//' || regexp_extract(t.cellpath, '\\|I&O\\|([A-Za-z]+)', 1) || '|' "
                "|| trim(t.celllabel)",
                "intakeoutput",
                "intakeoutputid",
                known="intakeoutputentryoffset",
                numeric_value="t.cellvaluenumeric",
                # Counts stand among the volumes: "Urine Count", "Stool Occurrence".
                unit="CASE WHEN contains(t.celllabel, '%') THEN '%' "
                "WHEN regexp_matches(lower(t.celllabel), "
                "'count|occurrence|unmeasured|number of') THEN '1' ELSE 'mL' END",
            ),
        ),
    ]
