"""Simulated records as an OMOP CDM 5.4, for the layout ``omop`` and for any tool that reads one.

Codes stand as source values and concepts are 0, unmapped: the standard vocabularies are Athena's to
give out. :data:`READING` tells the layout which vocabulary each table's source values are of.

What a CDM has no place for is lost: when a result, a drug or a late code was known (the layout's
rules stand in: an hour for laboratory values, the end of the visit for diagnoses, the start for
drugs) and how long fasting lasted. A drug that goes on has no end date, although the CDM asks for
one: an invented end would stop it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

#: Options of the layout ``omop`` for these tables.
READING: dict[str, Any] = {
    "source_vocabularies": {
        "condition_occurrence": "ICD10CM",
        "drug_exposure": "ATC",
        "measurement": "LOINC",
    },
    "names": {
        f"CARE//{code}": code
        for code in (
            "DIET//magnesium",
            "DIET//magnesium_supplement",
            "DIET//alcohol_usual",
            "GENE//SLC12A3",
        )
    },
}
_EHR, _EXAMINED, _HISPANIC, _NOT_HISPANIC = 32817, 32836, 38003563, 38003564
_BEDSIDE = "('29463-7', '8302-2', '8480-6', '8867-4')"
_RACES = "CASE race WHEN 'White' THEN 8527 WHEN 'Black or African American' THEN 8516 ELSE 0 END"
_VISITS = "CASE kind WHEN 'inpatient' THEN 9201 WHEN 'emergency' THEN 9203 ELSE 9202 END"
#: Of each table the columns that the CDM demands and those that hold something.
_TABLES = {
    "person": f"""
        SELECT subject_id AS person_id, CASE sex WHEN 'F' THEN 8532 ELSE 8507 END
               AS gender_concept_id, year(born)::INTEGER AS year_of_birth,
               month(born)::INTEGER AS month_of_birth, day(born)::INTEGER AS day_of_birth,
               born AS birth_datetime, {_RACES} AS race_concept_id,
               CASE race WHEN 'Hispanic' THEN {_HISPANIC} ELSE {_NOT_HISPANIC} END
               AS ethnicity_concept_id, ascii(site) - 64 AS care_site_id,
               subject_id::VARCHAR AS person_source_value, sex AS gender_source_value,
               race AS race_source_value
        FROM (SELECT subject_id, max(time) FILTER (WHERE code = 'MEDS_BIRTH') AS born,
                     max(rest) FILTER (WHERE stem = 'GENDER') AS sex,
                     max(rest) FILTER (WHERE stem = 'RACE') AS race,
                     max(rest) FILTER (WHERE stem = 'SITE') AS site
              FROM rows GROUP BY subject_id) ORDER BY person_id""",
    "observation_period": f"""
        SELECT row_number() OVER (ORDER BY subject_id) AS observation_period_id,
               subject_id AS person_id, $first::DATE AS observation_period_start_date,
               $last::DATE AS observation_period_end_date, {_EHR} AS period_type_concept_id
        FROM (SELECT DISTINCT subject_id FROM rows) ORDER BY person_id""",
    "visit_occurrence": f"""
        SELECT visit_id::BIGINT AS visit_occurrence_id, subject_id AS person_id,
               {_VISITS} AS visit_concept_id, time::DATE AS visit_start_date,
               time AS visit_start_datetime, end_time::DATE AS visit_end_date,
               end_time AS visit_end_datetime, {_EHR} AS visit_type_concept_id,
               kind AS visit_source_value
        FROM (SELECT *, rest AS kind FROM rows WHERE stem = 'VISIT' AND rest <> 'icu')
        ORDER BY visit_occurrence_id""",
    "visit_detail": f"""
        SELECT row_number() OVER (ORDER BY visit_id::BIGINT) AS visit_detail_id,
               subject_id AS person_id, 32037 AS visit_detail_concept_id,
               time::DATE AS visit_detail_start_date, time AS visit_detail_start_datetime,
               end_time::DATE AS visit_detail_end_date, end_time AS visit_detail_end_datetime,
               {_EHR} AS visit_detail_type_concept_id, 100 AS care_site_id,
               visit_id::BIGINT AS visit_occurrence_id
        FROM rows WHERE code = 'VISIT//icu' ORDER BY visit_detail_id""",
    "condition_occurrence": f"""
        SELECT row_number() OVER (ORDER BY number) AS condition_occurrence_id,
               subject_id AS person_id, 0 AS condition_concept_id,
               time::DATE AS condition_start_date, time AS condition_start_datetime,
               {_EHR} AS condition_type_concept_id, visit_id::BIGINT AS visit_occurrence_id,
               rest AS condition_source_value, 0 AS condition_source_concept_id
        FROM rows WHERE stem = 'ICD10CM' ORDER BY condition_occurrence_id""",
    "drug_exposure": f"""
        SELECT row_number() OVER (ORDER BY number) AS drug_exposure_id, subject_id AS person_id,
               0 AS drug_concept_id, time::DATE AS drug_exposure_start_date,
               time AS drug_exposure_start_datetime, end_time::DATE AS drug_exposure_end_date,
               end_time AS drug_exposure_end_datetime, {_EHR} AS drug_type_concept_id,
               visit_id::BIGINT AS visit_occurrence_id, rest AS drug_source_value,
               0 AS drug_source_concept_id
        FROM rows WHERE stem = 'ATC' ORDER BY drug_exposure_id""",
    "measurement": f"""
        SELECT row_number() OVER (ORDER BY number) AS measurement_id, subject_id AS person_id,
               0 AS measurement_concept_id, time::DATE AS measurement_date,
               time AS measurement_datetime,
               CASE WHEN rest IN {_BEDSIDE} THEN {_EXAMINED} ELSE {_EHR} END
               AS measurement_type_concept_id, numeric_value AS value_as_number,
               0 AS unit_concept_id, visit_id::BIGINT AS visit_occurrence_id,
               rest AS measurement_source_value, 0 AS measurement_source_concept_id,
               unit AS unit_source_value
        FROM rows WHERE stem = 'LOINC' ORDER BY measurement_id""",
    "observation": f"""
        SELECT row_number() OVER (ORDER BY number) AS observation_id, subject_id AS person_id,
               0 AS observation_concept_id, time::DATE AS observation_date,
               time AS observation_datetime, {_EHR} AS observation_type_concept_id,
               numeric_value AS value_as_number, visit_id::BIGINT AS visit_occurrence_id,
               CASE stem WHEN 'CARE' THEN rest ELSE code END AS observation_source_value,
               0 AS observation_source_concept_id, unit AS unit_source_value
        FROM rows WHERE stem IN ('DIET', 'CARE', 'GENE') ORDER BY observation_id""",
    "care_site": """
        SELECT ascii(rest) - 64 AS care_site_id, rest AS care_site_name
        FROM (SELECT DISTINCT rest FROM rows WHERE stem = 'SITE')
        UNION ALL SELECT 100, 'MICU' ORDER BY care_site_id""",
    "cdm_source": """
        SELECT 'magml simulator' AS cdm_source_name, 'magml' AS cdm_source_abbreviation,
               'synthetic' AS cdm_holder, $last::DATE AS source_release_date,
               $last::DATE AS cdm_release_date, '5.4' AS cdm_version,
               756265 AS cdm_version_concept_id, 'none' AS vocabulary_version""",
}


def write_omop(events: Any, folder: Path, first: Any, last: Any) -> None:
    """Write events as the tables of a CDM, one Parquet file each.

    Parameters
    ----------
    events : pyarrow.Table
        Simulated records.
    folder
        Folder that exists.
    first, last : datetime64
        First and last day of the records.
    """
    import duckdb
    import pyarrow.parquet as pq

    from magml.events.simulated import marked

    connection = duckdb.connect()
    connection.register("events", events)
    connection.execute(
        "CREATE TEMP TABLE rows AS SELECT *, split_part(code, '//', 1) AS stem, "
        "regexp_replace(code, '^[^/]*//', '') AS rest, row_number() OVER () AS number FROM events"
    )
    for name, query in _TABLES.items():
        given = {key: value for key, value in (("first", first), ("last", last))
                 if f"${key}" in query}  # fmt: skip
        found = connection.sql(query, params=given).to_arrow_table()
        pq.write_table(marked(found), folder / f"{name}.parquet")
    connection.close()
