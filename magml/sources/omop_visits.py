"""OMOP: persons, visits, units, sites, observation periods and deaths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from magml.errors import InputError
from magml.events.table import text
from magml.sources.omop_tables import OmopTables
from magml.sources.scans import Midnight, clockless, day_end, known_at
from magml.sources.tables import event_rows, relation_name, source_table

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Reader:
    """What every part of the reader needs: tables, concepts, visits and options."""

    tables: OmopTables
    connection: duckdb.DuckDBPyConnection
    codes: str
    visits: str
    midnight: Midnight
    turnaround: int
    vocabularies: Mapping[str, str]
    entered: tuple[int, ...]

    def known(self, moment: str, delay: int = 0) -> str:
        """Return SQL of when a moment is known."""
        return known_at(moment, self.midnight, delay)


def visits_view(
    tables: OmopTables, connection: duckdb.DuckDBPyConnection, midnight: Midnight
) -> str:
    """Make a view of the visits: ``visit_occurrence_id``, ``start``, ``known``, ``finish``."""
    view = relation_name(connection, "visits")
    if not tables.has("visit_occurrence"):
        connection.execute(
            f"CREATE TEMP VIEW {view} AS SELECT NULL::BIGINT AS visit_occurrence_id, NULL::BIGINT "
            "AS person_id, NULL::TIMESTAMP AS start, NULL::TIMESTAMP AS known, NULL::TIMESTAMP AS "
            "finish, NULL::BIGINT AS visit_concept_id, NULL::BIGINT AS care_site_id WHERE false"
        )
        return view
    given = tables.view(
        "visit_occurrence",
        {
            "visit_occurrence_id": "BIGINT",
            "person_id": "BIGINT",
            "visit_concept_id": "BIGINT",
            "care_site_id": "BIGINT",
            **period("visit"),
        },
        optional=("visit_concept_id", "care_site_id", *optional_times("visit")),
    )
    start, finish = moments("visit", midnight)
    connection.execute(
        f"CREATE TEMP VIEW {view} AS SELECT visit_occurrence_id, person_id, visit_concept_id, "
        f"care_site_id, start, {known_at('start', midnight)} AS known, finish "
        f"FROM (SELECT *, {start} AS start, {finish} AS finish FROM {given})"
    )
    return view


def period(stem: str) -> dict[str, str]:
    """Return the columns of a start and an end, as date and as datetime."""
    return {
        f"{stem}_start_date": "DATE",
        f"{stem}_start_datetime": "TIMESTAMP",
        f"{stem}_end_date": "DATE",
        f"{stem}_end_datetime": "TIMESTAMP",
    }


def optional_times(stem: str) -> tuple[str, ...]:
    """Return the columns of a start and an end that may be absent."""
    return (f"{stem}_start_datetime", f"{stem}_end_date", f"{stem}_end_datetime")


def moments(stem: str, midnight: Midnight) -> tuple[str, str]:
    """Return SQL of the start and the end of a row with such columns.

    An end without clock time is the end of that day: the CDM's end dates are the last day. An
    end at midnight beside a start with a clock time is a time.
    """
    start = f"coalesce({stem}_start_datetime, {stem}_start_date::TIMESTAMP)"
    end, date = f"{stem}_end_datetime", f"{stem}_end_date::TIMESTAMP"
    whole = f"{clockless(end, midnight)} AND {clockless(start, midnight)}"
    finish = (
        f"CASE WHEN {end} IS NULL THEN {day_end(date)} "
        f"WHEN {whole} THEN {day_end(end)} ELSE {end} END"
    )
    return start, finish


def person_rows(reader: Reader) -> tuple[list[str], str]:
    """Return queries for birth, sex and race, and the name of the subject map.

    Raises
    ------
    InputError
        No persons, or a person_id that is missing or stands twice.
    """
    tables, connection, codes = reader.tables, reader.connection, reader.codes
    settings = source_table("omop")
    columns = {
        "person_id": "BIGINT",
        "gender_concept_id": "BIGINT",
        "gender_source_value": "VARCHAR",
        "year_of_birth": "BIGINT",
        "month_of_birth": "BIGINT",
        "day_of_birth": "BIGINT",
        "birth_datetime": "TIMESTAMP",
        "race_concept_id": "BIGINT",
        "race_source_value": "VARCHAR",
        "ethnicity_source_value": "VARCHAR",
        "person_source_value": "VARCHAR",
        "care_site_id": "BIGINT",
    }
    person = tables.view(
        "person", columns, optional=tuple(c for c in columns if c not in ("person_id",))
    )
    rows, there, distinct = connection.execute(
        f"SELECT count(*), count(person_id), count(DISTINCT person_id) FROM {person}"
    ).fetchall()[0]
    if rows == 0 or rows != distinct:
        raise InputError(
            "the table person is empty"
            if rows == 0
            else f"{rows - there} rows of person have no person_id, {there - distinct} stand twice",
            "each person once, with a person_id",
            "correct the table person",
        )
    subjects = relation_name(connection, "subjects")
    connection.execute(
        f"CREATE TEMP VIEW {subjects} AS SELECT person_id AS subject_id, "
        f"coalesce(person_source_value, person_id::VARCHAR) AS source_id FROM {person}"
    )
    sexes = " ".join(
        f"WHEN gender_concept_id = {k} THEN '{v}'" for k, v in settings["sexes"].items()
    )
    sex = (
        f"CASE {sexes} WHEN upper(gender_source_value) IN ('F', 'FEMALE') THEN 'F' "
        "WHEN upper(gender_source_value) IN ('M', 'MALE') THEN 'M' END"
    )
    races = " ".join(
        f"WHEN race_concept_id = {k} THEN {text(v)}" for k, v in settings["races"].items()
    )
    # A month or day that is not there is the middle of what is known: half a year's error at most.
    birth = (
        "coalesce(birth_datetime, make_date(year_of_birth, coalesce(month_of_birth, 7), "
        "CASE WHEN month_of_birth IS NULL THEN 1 ELSE coalesce(day_of_birth, 15) END)::TIMESTAMP)"
    )
    row = {"subject_id": "person_id", "source": "'person:' || person_id"}
    return [
        event_rows(person, f"{birth} IS NOT NULL", time=birth, code="'MEDS_BIRTH'", **row),
        event_rows(person, f"({sex}) IS NOT NULL", code=f"'GENDER//' || {sex}", **row),
        event_rows(
            f"(SELECT p.*, coalesce(c.name, p.race_source_value, CASE {races} END, "
            f"p.ethnicity_source_value) AS race FROM {person} p "
            f"LEFT JOIN {codes} c ON c.concept_id = p.race_concept_id)",
            "race IS NOT NULL",
            code="'RACE//' || race",
            **row,
        ),
        *_sites(reader, person),
    ], subjects


def _sites(reader: Reader, person: str) -> list[str]:
    """Return queries for the site of visits and, where visits name none, of persons."""
    if not reader.tables.filled("care_site"):
        return []
    columns = {
        "care_site_id": "BIGINT",
        "care_site_name": "VARCHAR",
        "care_site_source_value": "VARCHAR",
    }
    sites = reader.tables.view("care_site", columns, optional=tuple(columns)[1:])
    name = "coalesce(k.care_site_name, k.care_site_source_value, k.care_site_id::VARCHAR)"
    return [
        event_rows(
            f"{reader.visits} v JOIN {sites} k USING (care_site_id)",
            subject_id="v.person_id",
            time="v.start",
            known_time="v.known",
            code=f"'SITE//' || {name}",
            visit_id="v.visit_occurrence_id",
            source="'visit_occurrence:' || v.visit_occurrence_id",
        ),
        event_rows(
            f"{person} p JOIN {sites} k USING (care_site_id) "
            f"ANTI JOIN (SELECT person_id FROM {reader.visits} SEMI JOIN {sites} "
            "USING (care_site_id)) v USING (person_id)",
            subject_id="p.person_id",
            code=f"'SITE//' || {name}",
            source="'person:' || p.person_id",
        ),
    ]


def visit_names(option: Any) -> dict[int, str]:
    """Return the name of each visit concept, with those of the option ``visits``."""
    names = {
        concept: name
        for name, concepts in source_table("omop")["visits"].items()
        for concept in concepts
    }
    if option is None:
        return names
    try:
        return {**names, **{int(key): str(value) for key, value in option.items()}}
    except (AttributeError, ValueError, TypeError) as error:
        raise InputError(
            "the option visits is not a mapping from visit concepts to names",
            "for example {8870: inpatient}",
            "correct the option",
        ) from error


def visit_rows(reader: Reader, names: Mapping[int, str]) -> list[str]:
    """Return queries for visits, units, observation periods and deaths."""
    kind = "CASE visit_concept_id " + " ".join(
        f"WHEN {concept} THEN {text(name)}" for concept, name in names.items()
    )
    queries = [
        event_rows(
            f"{reader.visits} v LEFT JOIN {reader.codes} c ON c.concept_id = v.visit_concept_id",
            subject_id="v.person_id",
            time="v.start",
            known_time="v.known",
            end_time="v.finish",
            code=f"'VISIT//' || {kind} ELSE coalesce(lower(c.name), 'other') END",
            visit_id="v.visit_occurrence_id",
            source="'visit_occurrence:' || v.visit_occurrence_id",
        )
    ]
    if reader.tables.has("visit_detail"):
        queries += _details(reader, names)
    if reader.tables.has("observation_period"):
        queries.append(_observation_periods(reader))
    if reader.tables.has("death"):
        queries.append(_deaths(reader))
    return queries


def _details(reader: Reader, names: Mapping[int, str]) -> list[str]:
    """Return queries for units and stays in intensive care."""
    tables, stem = reader.tables, "visit_detail"
    optional = ("visit_detail_concept_id", "care_site_id", "visit_occurrence_id")
    view = tables.view(
        stem,
        {
            "visit_detail_id": "BIGINT",
            "person_id": "BIGINT",
            **dict.fromkeys(optional, "BIGINT"),
            **period(stem),
        },
        optional=(*optional, *optional_times(stem)),
    )
    start, finish = moments(stem, reader.midnight)
    site, name = "", "NULL"
    if tables.filled("care_site"):
        sites = tables.view(
            "care_site",
            {"care_site_id": "BIGINT", "care_site_name": "VARCHAR"},
            optional=("care_site_name",),
        )
        site, name = f" LEFT JOIN {sites} k USING (care_site_id)", "k.care_site_name"
    origin = (
        f"(SELECT d.*, {start} AS start, {finish} AS finish, {name} AS unit_name, c.name AS kind "
        f"FROM {view} d LEFT JOIN {reader.codes} c ON c.concept_id = d.visit_detail_concept_id"
        f"{site})"
    )
    row = {
        "subject_id": "person_id",
        "time": "start",
        "known_time": reader.known("start"),
        "visit_id": "visit_occurrence_id",
        "source": "'visit_detail:' || visit_detail_id",
    }
    icu = ", ".join(str(concept) for concept, kind in names.items() if kind == "icu") or "NULL"
    pattern = text(source_table("omop")["icu_names"])
    return [
        event_rows(
            origin,
            f"visit_detail_concept_id IN ({icu}) OR regexp_matches(coalesce(unit_name, kind, ''), "
            f"{pattern}, 'i')",
            code="'VISIT//icu'",
            end_time="finish",
            **row,
        ),
        event_rows(origin, "unit_name IS NOT NULL", code="'UNIT//' || unit_name", **row),
    ]


def _observation_periods(reader: Reader) -> str:
    """Return the query for observation periods."""
    view = reader.tables.view(
        "observation_period",
        {
            "observation_period_id": "BIGINT",
            "person_id": "BIGINT",
            "observation_period_start_date": "DATE",
            "observation_period_end_date": "DATE",
        },
        optional=("observation_period_id",),
    )
    start = "observation_period_start_date::TIMESTAMP"
    return event_rows(
        view,
        subject_id="person_id",
        time=start,
        known_time=day_end(start),
        end_time=day_end("observation_period_end_date::TIMESTAMP"),
        code="'OBSERVATION_PERIOD'",
        source="'observation_period:' || observation_period_id",
    )


def _deaths(reader: Reader) -> str:
    """Return the query for deaths; the earliest where a person has several."""
    view = reader.tables.view(
        "death",
        {"person_id": "BIGINT", "death_date": "DATE", "death_datetime": "TIMESTAMP"},
        optional=("death_datetime", "death_date"),
    )
    return event_rows(
        f"(SELECT person_id, min(coalesce(death_datetime, death_date::TIMESTAMP)) AS died "
        f"FROM {view} GROUP BY person_id)",
        "died IS NOT NULL",
        subject_id="person_id",
        time="died",
        known_time=reader.known("died"),
        code="'MEDS_DEATH'",
        source="'death:' || person_id",
    )
