"""The layout ``omop``: the OMOP Common Data Model 5.3 and 5.4.

Conventions follow the CDM's specification (https://ohdsi.github.io/CommonDataModel/): concept 0
is unmapped, end dates are the last day, concepts from 2,000,000,000 on are local.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.clock import seconds
from magml.errors import InputError
from magml.events.table import Events
from magml.sources.omop_codes import STEMS, build_codes, check_vocabularies
from magml.sources.omop_rows import (
    condition_rows,
    drug_rows,
    measurement_rows,
    observation_rows,
    procedure_rows,
)
from magml.sources.omop_tables import TABLES, OmopTables, find_tables
from magml.sources.omop_visits import Reader, person_rows, visit_names, visit_rows, visits_view
from magml.sources.scans import check_midnight, check_names_option, check_zone, with_names
from magml.sources.tables import check_units_option, relation_name, source_table, with_units

if TYPE_CHECKING:
    import duckdb


def open_layout(
    data: Any,
    connection: duckdb.DuckDBPyConnection,
    *,
    lab_turnaround: str = "1h",
    midnight: str = "date",
    zone: str | None = None,
    schema: str | None = None,
    concepts: str | Path | None = None,
    source_vocabularies: dict[str, str] | None = None,
    entered_types: tuple[int, ...] = (),
    visits: dict[int, str] | None = None,
    names: dict[str, str] | None = None,
    units: dict[str, str] | None = None,
) -> Events:
    """Open a CDM as events.

    Parameters
    ----------
    data
        A folder or zip of Parquet or CSV files under the tables' names, a DuckDB file, or an
        open DuckDB connection (which may have another database attached).
    connection
        DuckDB connection to use.
    lab_turnaround
        Time from ``measurement_datetime`` to the result, for what is not measured at the bedside.
    midnight
        ``date``: a timestamp at midnight is a date without clock time; ``clock``: it is a time.
    zone
        Zone that aware timestamps are converted to; default UTC.
    schema
        Schema of the tables in a database.
    concepts
        A further concept table, such as Athena's ``CONCEPT.csv``.
    source_vocabularies
        Vocabulary of a table's source values whose concept is not in the concept table:
        ``{condition_occurrence: ICD10CM}``; ``ICD`` tells revision 9 from 10 by form and visit.
    entered_types
        Further ``condition_type_concept_id`` of conditions that are known when entered.
    visits
        Further visit concepts: ``{8870: inpatient}``.
    names, units
        ``{code: code}`` and ``{code: unit}`` that replace what the tables say.

    Raises
    ------
    InputError
        A missing table or column, a file that cannot be read, an option that does not fit.
    """
    turnaround = seconds(lab_turnaround)
    renamed, given = check_names_option(names), check_units_option(units)
    vocabularies, kinds = check_vocabularies(source_vocabularies), visit_names(visits)
    at_midnight = check_midnight(midnight)
    if not isinstance(data, str | Path):
        if not hasattr(data, "execute") or not hasattr(data, "register"):
            raise InputError(
                f"a CDM given as {type(data).__name__}",
                "a folder, a zip, a DuckDB file or an open DuckDB connection",
                "name the tables' place",
            )
        connection = data
    tables = find_tables(data, connection, schema=schema, concepts=concepts, zone=check_zone(zone))
    entered = (*source_table("omop")["types"]["entered"], *(int(item) for item in entered_types))
    reader = Reader(
        tables=tables,
        connection=connection,
        codes=build_codes(tables, connection),
        visits=visits_view(tables, connection, at_midnight),
        midnight=at_midnight,
        turnaround=turnaround,
        vocabularies=vocabularies,
        entered=entered,
    )
    persons, subjects = person_rows(reader)
    queries, notes = [*persons, *visit_rows(reader, kinds)], []
    for build in (
        condition_rows,
        drug_rows,
        procedure_rows,
        measurement_rows,
        observation_rows,
    ):
        more, said = build(reader)
        queries += more
        notes += said
    view = relation_name(connection, "omop")
    sql = with_units(with_names("\nUNION ALL\n".join(queries), renamed), given)
    connection.execute(f"CREATE TEMP VIEW {view} AS {sql}")
    return Events(
        connection,
        view,
        subjects=subjects,
        name="omop",
        notes=(*notes, *_missing(reader)),
        files=tables.files,
        unit_overrides=given,
    )


def _missing(reader: Reader) -> list[str]:
    """Say which tables are absent or empty, and which concepts the concept table lacks."""
    tables = reader.tables
    absent = [name for name in TABLES if not tables.has(name) and not name.startswith("concept")]
    empty = [name for name in TABLES if tables.has(name) and not tables.filled(name)]
    notes = []
    if absent:
        notes.append(f"tables not found: {', '.join(absent)}")
    if empty:
        notes.append(f"tables without rows: {', '.join(empty)}")
    for name, stem in STEMS.items():
        if not tables.has(name):
            continue
        count, unmapped, unknown = _unknown(tables, reader, name, stem)
        if unmapped or unknown:
            notes.append(
                f"{name}: of {count} rows, {unmapped} have concept 0 and {unknown} a concept that "
                "is not in the concept table (option concepts); they are known by their source "
                "concept or value"
            )
    return notes


def _unknown(tables: OmopTables, reader: Reader, name: str, stem: str) -> tuple[int, int, int]:
    """Count rows, rows with concept 0, and rows whose concept is not in the concept table."""
    column = f"{stem}_concept_id"
    view = tables.view(name, {column: "BIGINT"}, optional=(column,))
    row = reader.connection.execute(
        f"SELECT count(*), count(*) FILTER (WHERE coalesce({column}, 0) = 0), "
        f"count(*) FILTER (WHERE {column} <> 0 AND c.concept_id IS NULL) "
        f"FROM {view} t LEFT JOIN {reader.codes} c ON c.concept_id = t.{column}"
    ).fetchall()[0]
    return int(row[0]), int(row[1]), int(row[2])
