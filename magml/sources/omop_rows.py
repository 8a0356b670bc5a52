"""OMOP: conditions, drugs, procedures, measurements and observations."""

from __future__ import annotations

from magml.events.table import text
from magml.sources.omop_codes import coded, source_codes, with_revision
from magml.sources.omop_visits import Reader, moments, period
from magml.sources.scans import clockless
from magml.sources.tables import event_rows, source_table

#: A coded condition names itself; one without an ICD code is also looked for by its name.
_WITHOUT_ICD = (
    "NOT (coalesce(s.icd, false) OR coalesce(r.icd, false) OR coalesce(starts_with({0}, 'ICD'), "
    "false))"
)


def _columns(stem: str, key: str, *more: str) -> dict[str, str]:
    """Return the columns that the tables of clinical events share."""
    numbers = (f"{stem}_concept_id", f"{stem}_source_concept_id", f"{stem}_type_concept_id")
    return {
        key: "BIGINT",
        "person_id": "BIGINT",
        **dict.fromkeys(numbers, "BIGINT"),
        f"{stem}_source_value": "VARCHAR",
        "visit_occurrence_id": "BIGINT",
        **dict.fromkeys(more, "VARCHAR"),
    }


def _ids(numbers: list[int] | tuple[int, ...]) -> str:
    return ", ".join(str(number) for number in numbers) or "NULL"


def condition_rows(reader: Reader) -> tuple[list[str], list[str]]:
    """Return the query for conditions, and notes."""
    name, stem = "condition_occurrence", "condition"
    if not reader.tables.has(name):
        return [], []
    columns = {**_columns(stem, f"{name}_id"), **period(stem)}
    required = ("person_id", f"{stem}_start_date")
    view = reader.tables.view(name, columns, tuple(c for c in columns if c not in required))
    given = source_codes(reader.vocabularies, name)
    rows = coded(
        with_revision(view, reader.vocabularies, name),
        stem,
        reader.codes,
        "'CONDITION//'",
        _WITHOUT_ICD.format(given),
        given,
    )
    start, _ = moments(stem, reader.midnight)
    entered = f"coalesce({stem}_type_concept_id IN ({_ids(reader.entered)}), false)"
    origin = (
        f"(SELECT *, {start} AS began, {entered} AS entered FROM ({rows})) t "
        f"LEFT JOIN {reader.visits} v USING (visit_occurrence_id)"
    )
    known = reader.known("t.began")
    open_visit = "(v.visit_occurrence_id IS NOT NULL AND v.finish IS NULL AND NOT t.entered)"
    total, still_open, problem, at_start, homeless = reader.connection.execute(
        f"""
        SELECT count(*), count(*) FILTER (WHERE {open_visit}),
               count(*) FILTER (WHERE t.entered), count(*) FILTER (WHERE t.began = v.start),
               count(*) FILTER (WHERE v.visit_occurrence_id IS NULL AND NOT t.entered)
        FROM (SELECT *, {start} AS began, {entered} AS entered FROM {view}) t
        LEFT JOIN {reader.visits} v USING (visit_occurrence_id)
        """
    ).fetchall()[0]
    query = event_rows(
        origin,
        f"NOT {open_visit}",
        subject_id="t.person_id",
        time="t.began",
        code="t.code",
        known_time=f"CASE WHEN t.entered THEN greatest({known}, v.known) "
        f"ELSE greatest({known}, v.finish) END",
        visit_id="t.visit_occurrence_id",
        source=f"'{name}:' || t.{name}_id",
    )
    notes = [
        f"conditions: of {total}, {problem} are of a problem list and known when entered; the "
        "others are billed, and known at the end of their visit "
        f"({at_start} start at its very start)"
    ]
    if still_open:
        notes.append(f"{still_open} conditions of visits without an end were left out: not billed")
    if homeless:
        notes.append(f"{homeless} conditions without a visit are known at the end of their day")
    return [query], notes


def drug_rows(reader: Reader) -> tuple[list[str], list[str]]:
    """Return the query for drug exposures, or for drug eras where there are none, and notes."""
    name, stem = "drug_exposure", "drug"
    if not reader.tables.filled(name):
        return _eras(reader)
    columns = {
        **_columns(stem, f"{name}_id", "route_source_value", "sig", "dose_unit_source_value"),
        "quantity": "DOUBLE",
        **period(name),
    }
    required = ("person_id", f"{name}_start_date")
    view = reader.tables.view(name, columns, tuple(c for c in columns if c not in required))
    rows = coded(
        view,
        stem,
        reader.codes,
        "'DRUG//'",
        "coalesce(s.class, r.class, '') <> 'Ingredient'",
        source_codes(reader.vocabularies, name),
    )
    start, finish = moments(name, reader.midnight)
    timed = f"(SELECT *, {start} AS began, {finish} AS finish FROM {{0}}) t"
    settings = " ".join(
        f"WHEN t.drug_type_concept_id IN ({_ids(found)}) THEN {text('//' + mark)}"
        for mark, found in source_table("omop")["types"]["drugs"].items()
    )
    needed = "regexp_matches(coalesce(t.sig, ''), '(?i)\\b(prn|as needed)\\b')"
    marks = f"CASE WHEN {needed} THEN '//as needed' ELSE '' END || CASE {settings} ELSE '' END"
    whole = "nullif(trim(t.dose_unit_source_value), '')"
    backward = "coalesce(t.finish < t.began, false)"
    count, reversed_, unending = reader.connection.execute(
        f"SELECT count(*), count(*) FILTER (WHERE {backward}), "
        f"count(*) FILTER (WHERE finish IS NULL) FROM {timed.format(view)}"
    ).fetchall()[0]
    query = event_rows(
        timed.format(f"({rows})"),
        f"NOT {backward}",
        subject_id="t.person_id",
        time="t.began",
        code=f"t.code || {marks}",
        numeric_value=f"CASE WHEN {whole} IS NOT NULL AND t.quantity > 0 THEN t.quantity END",
        unit=f"CASE WHEN t.quantity > 0 THEN {whole} END",
        text_value="t.route_source_value",
        known_time=reader.known("t.began"),
        end_time="t.finish",
        visit_id="t.visit_occurrence_id",
        source=f"'{name}:' || t.{name}_id",
    )
    return [query], [
        f"drug_exposure: of {count}, {reversed_} that end before their start were left out and "
        f"{unending} have no end; the quantity is the dose of the record where "
        "dose_unit_source_value says its unit; known at their start, because OMOP records no "
        "order time. drug_era is not read: an era bridges gaps of 30 days, and so tells of a "
        "drug's return"
    ]


def _eras(reader: Reader) -> tuple[list[str], list[str]]:
    """Return the query for drug eras."""
    if not reader.tables.filled("drug_era"):
        return [], []
    view = reader.tables.view(
        "drug_era",
        {
            "drug_era_id": "BIGINT",
            "person_id": "BIGINT",
            "drug_concept_id": "BIGINT",
            "drug_era_start_date": "TIMESTAMP",
            "drug_era_end_date": "TIMESTAMP",
        },
        optional=("drug_era_id",),
    )
    origin = f"{view} t JOIN {reader.codes} c ON c.concept_id = t.drug_concept_id"
    count, unnamed = reader.connection.execute(
        f"SELECT count(*), count(*) FILTER (WHERE c.concept_id IS NULL) FROM {view} t "
        f"LEFT JOIN {reader.codes} c ON c.concept_id = t.drug_concept_id"
    ).fetchall()[0]
    query = event_rows(
        f"(SELECT t.*, coalesce(c.code, 'DRUG//' || c.name) AS code FROM {origin})",
        "code IS NOT NULL",
        subject_id="person_id",
        time="drug_era_start_date",
        code="code",
        known_time="date_trunc('day', drug_era_start_date) + INTERVAL 1 DAY",
        end_time="date_trunc('day', drug_era_end_date) + INTERVAL 1 DAY",
        source="'drug_era:' || drug_era_id",
    )
    return [query], [
        f"drug_era: of {count}, {unnamed} of concepts that are not in the concept table were left "
        "out; read because drug_exposure has no rows. An era bridges gaps of 30 days: within a gap "
        "it tells of a drug's return"
    ]


def procedure_rows(reader: Reader) -> tuple[list[str], list[str]]:
    """Return the query for procedures, and notes."""
    name, stem = "procedure_occurrence", "procedure"
    if not reader.tables.has(name):
        return [], []
    columns = {
        **_columns(stem, f"{name}_id"),
        "procedure_date": "DATE",
        "procedure_datetime": "TIMESTAMP",
    }
    required = ("person_id", "procedure_date")
    view = reader.tables.view(name, columns, tuple(c for c in columns if c not in required))
    given = source_codes(reader.vocabularies, name)
    rows = coded(
        with_revision(view, reader.vocabularies, name),
        stem,
        reader.codes,
        "'PROCEDURE//'",
        "true",
        given,
    )
    return _charted(reader, rows, name, stem, {})


def observation_rows(reader: Reader) -> tuple[list[str], list[str]]:
    """Return the query for observations, and notes."""
    name = stem = "observation"
    if not reader.tables.has(name):
        return [], []
    columns = {
        **_columns(stem, f"{name}_id", "value_as_string", "unit_source_value"),
        "observation_date": "DATE",
        "observation_datetime": "TIMESTAMP",
        "value_as_number": "DOUBLE",
        "value_as_concept_id": "BIGINT",
        "unit_concept_id": "BIGINT",
    }
    required = ("person_id", "observation_date")
    view = reader.tables.view(name, columns, tuple(c for c in columns if c not in required))
    given = source_codes(reader.vocabularies, name)
    rows = coded(
        with_revision(view, reader.vocabularies, name),
        stem,
        reader.codes,
        "'CARE//'",
        "false",
        given,
    )
    values = {
        "numeric_value": "t.value_as_number",
        "unit": "coalesce(u.unit, t.unit_source_value)",
        "text_value": "coalesce(t.value_as_string, a.name)",
    }
    return _charted(reader, rows, name, stem, values)


def _charted(
    reader: Reader, rows: str, name: str, stem: str, values: dict[str, str]
) -> tuple[list[str], list[str]]:
    """Return the query for what is known when charted, or at the end of the visit when billed."""
    types = _ids(source_table("omop")["types"]["charted"])
    start = f"coalesce({stem}_datetime, {stem}_date::TIMESTAMP)"
    # A coded diagnosis or billed procedure is assigned after discharge, whatever its date says.
    billed = f"NOT coalesce({stem}_type_concept_id IN ({types}), false) OR icd"
    joins = f"LEFT JOIN {reader.visits} v USING (visit_occurrence_id)"
    if values:
        joins += (
            f" LEFT JOIN {reader.codes} u ON u.concept_id = t.unit_concept_id"
            f" LEFT JOIN {reader.codes} a ON a.concept_id = t.value_as_concept_id"
        )
    known = reader.known("t.began")
    query = event_rows(
        f"(SELECT *, {start} AS began, ({billed}) AS billed FROM ({rows})) t {joins}",
        "NOT (t.billed AND v.visit_occurrence_id IS NOT NULL AND v.finish IS NULL)",
        subject_id="t.person_id",
        time="t.began",
        code="t.code",
        known_time=f"CASE WHEN t.billed THEN greatest({known}, v.finish) ELSE {known} END",
        visit_id="t.visit_occurrence_id",
        source=f"'{name}:' || t.{name}_id",
        **values,
    )
    return [query], [
        f"{name}: charted types are known at their time, ICD codes and all other types at the end "
        "of their visit (left out where it has none yet)"
    ]


def measurement_rows(reader: Reader) -> tuple[list[str], list[str]]:
    """Return the query for measurements, and notes."""
    name = stem = "measurement"
    if not reader.tables.has(name):
        return [], []
    settings = source_table("omop")
    texts = ("unit_source_value", "value_source_value", "measurement_time")
    columns = {
        **_columns(stem, f"{name}_id", *texts),
        "measurement_date": "DATE",
        "measurement_datetime": "TIMESTAMP",
        "value_as_number": "DOUBLE",
        "value_as_concept_id": "BIGINT",
        "operator_concept_id": "BIGINT",
        "unit_concept_id": "BIGINT",
    }
    required = ("person_id", "measurement_date")
    view = reader.tables.view(name, columns, tuple(c for c in columns if c not in required))
    examined = f"t.measurement_type_concept_id IN ({_ids(settings['types']['examined'])})"
    rows = coded(
        view,
        stem,
        reader.codes,
        f"CASE WHEN {examined} THEN 'VITAL//' ELSE 'LAB//' END",
        "false",
        source_codes(reader.vocabularies, name),
    )
    start = (
        "coalesce(measurement_datetime, measurement_date + TRY_CAST(measurement_time AS TIME), "
        "measurement_date::TIMESTAMP)"
    )
    classes = ", ".join(text(item) for item in settings["bedside_classes"])
    bedside = f"coalesce({examined}, false) OR coalesce(t.class IN ({classes}), false)"
    operators = " ".join(
        f"WHEN {concept} THEN {text(sign)}" for concept, sign in settings["operators"].items()
    )
    query = event_rows(
        f"(SELECT t.*, {start} AS began, ({bedside}) AS bedside FROM ({rows}) t) t "
        f"LEFT JOIN {reader.codes} u ON u.concept_id = t.unit_concept_id "
        f"LEFT JOIN {reader.codes} a ON a.concept_id = t.value_as_concept_id",
        subject_id="t.person_id",
        time="t.began",
        code="t.code",
        numeric_value="t.value_as_number",
        unit="coalesce(u.unit, t.unit_source_value)",
        text_value=f"coalesce(CASE t.operator_concept_id {operators} END, a.name, "
        "CASE WHEN t.value_as_number IS NULL THEN t.value_source_value END)",
        known_time=f"CASE WHEN t.bedside THEN {reader.known('t.began')} "
        f"ELSE {reader.known('t.began', reader.turnaround)} END",
        visit_id="t.visit_occurrence_id",
        source=f"'{name}:' || t.{name}_id",
    )
    count, midnight = reader.connection.execute(
        f"SELECT count(*), count(*) FILTER (WHERE {clockless('began')}) "
        f"FROM (SELECT {start} AS began FROM {view})"
    ).fetchall()[0]
    return [query], [
        f"measurement: OMOP records no result time; laboratory values are known "
        f"{reader.turnaround / 60:g} min after their time, bedside values at once",
        f"measurement: {midnight} of {count} times are midnight"
        + (
            ": dates without a clock time, known at the end of that day"
            if reader.midnight == "date"
            else ", taken as clock times"
        ),
    ]
