"""OMOP concepts as codes of events: the concept table, ingredients, and names as written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from magml.errors import InputError, nearest
from magml.events.table import text
from magml.sources.omop_tables import OmopTables
from magml.sources.scans import typed_view
from magml.sources.tables import relation_name, source_table

if TYPE_CHECKING:
    import duckdb

#: Tables with a concept and a source concept, and the stem of those columns.
STEMS = {
    "condition_occurrence": "condition",
    "drug_exposure": "drug",
    "procedure_occurrence": "procedure",
    "measurement": "measurement",
    "observation": "observation",
}
#: Further columns that hold concepts.
_MORE = {
    "person": ("gender_concept_id", "race_concept_id"),
    "visit_occurrence": ("visit_concept_id",),
    "visit_detail": ("visit_detail_concept_id",),
    "drug_era": ("drug_concept_id",),
    "measurement": ("unit_concept_id", "value_as_concept_id"),
    "observation": ("unit_concept_id", "value_as_concept_id"),
}
_COLUMNS = {
    "concept_id": "BIGINT",
    "concept_name": "VARCHAR",
    "vocabulary_id": "VARCHAR",
    "concept_class_id": "VARCHAR",
    "concept_code": "VARCHAR",
}


def build_codes(tables: OmopTables, connection: duckdb.DuckDBPyConnection) -> str:
    """Make a table of the concepts that the data use, and return its name.

    Its columns: ``concept_id``; ``code`` (``VOCABULARY//CODE``, null for a concept of the
    institution's own); ``name``; ``unit`` (UCUM); ``class``; ``icd``; ``ingredients`` (RxNorm
    codes of a drug's ingredients, where ``concept_ancestor`` tells them).
    """
    settings = source_table("omop")
    used, codes = (relation_name(connection, name) for name in ("used", "codes"))
    connection.execute(f"CREATE TEMP TABLE {used} AS {_used(tables)}")
    parts = [
        typed_view(scan, _COLUMNS, connection, layout="omop", optional=("concept_class_id",))
        for scan in tables.concepts
    ]
    listed = ", ".join(_COLUMNS)
    concepts = " UNION ALL ".join(f"SELECT {listed} FROM {part}" for part in parts) or (
        "SELECT " + ", ".join(f"NULL::{kind} AS {name}" for name, kind in _COLUMNS.items())
    )
    renamed = " ".join(
        f"WHEN {text(omop)} THEN {text(own)}" for omop, own in settings["vocabularies"].items()
    )
    connection.execute(
        f"""
        CREATE TEMP TABLE {codes} AS
        SELECT concept_id,
               CASE WHEN concept_id < {settings["local_from"]} THEN
                   CASE vocabulary_id {renamed} ELSE vocabulary_id END || '//' || concept_code
               END AS code,
               concept_name AS name,
               CASE WHEN vocabulary_id = 'UCUM' THEN concept_code END AS unit,
               concept_class_id AS class,
               coalesce(starts_with(vocabulary_id, 'ICD'), false) AS icd,
               NULL::VARCHAR[] AS ingredients
        FROM ({concepts}) SEMI JOIN {used} USING (concept_id)
        WHERE concept_id <> 0
        QUALIFY row_number() OVER (
            PARTITION BY concept_id ORDER BY vocabulary_id, concept_code) = 1
        """
    )
    if tables.filled("concept_ancestor"):
        _add_ingredients(tables, connection, codes, concepts)
    return codes


def _used(tables: OmopTables) -> str:
    """Return the query for all concepts that stand in the data."""
    columns = {name: list(more) for name, more in _MORE.items()}
    for name, stem in STEMS.items():
        more = columns.setdefault(name, [])
        more += [f"{stem}_concept_id", f"{stem}_source_concept_id"]
    queries = []
    for name, listed in columns.items():
        if not tables.has(name):
            continue
        view = tables.view(name, dict.fromkeys(listed, "BIGINT"), optional=tuple(listed))
        queries.append(f"SELECT unnest([{', '.join(listed)}]) AS concept_id FROM {view}")
    return f"SELECT DISTINCT concept_id FROM ({' UNION ALL '.join(queries)})"


def _add_ingredients(
    tables: OmopTables, connection: duckdb.DuckDBPyConnection, codes: str, concepts: str
) -> None:
    """Tell each drug its ingredients: a product's own code does not name them."""
    view = tables.view(
        "concept_ancestor",
        {"ancestor_concept_id": "BIGINT", "descendant_concept_id": "BIGINT"},
    )
    connection.execute(
        f"""
        UPDATE {codes} SET ingredients = found.ingredients
        FROM (
            SELECT a.descendant_concept_id AS concept_id,
                   list(DISTINCT 'RxNorm//' || c.concept_code) AS ingredients
            FROM {view} a
            SEMI JOIN {codes} d ON d.concept_id = a.descendant_concept_id
            JOIN ({concepts}) c ON c.concept_id = a.ancestor_concept_id
            WHERE c.vocabulary_id = 'RxNorm' AND c.concept_class_id = 'Ingredient'
            GROUP BY ALL
        ) found WHERE found.concept_id = {codes}.concept_id
        """
    )


def coded(view: str, stem: str, codes: str, prefix: str, named: str, given: str = "NULL") -> str:
    """Return SQL of a table's rows, once for each code that a row has.

    Parameters
    ----------
    view
        Typed view of the table.
    stem
        ``condition`` for ``condition_concept_id`` and so on.
    codes
        Table of `build_codes`.
    prefix
        SQL of the vocabulary of names as written: ``'DRUG//'``.
    named
        SQL condition under which a row with codes also gets the concept's name.
    given
        SQL of a code made from the source value, where the option ``source_vocabularies`` says
        how; used where the source concept is not in the concept table.

    Returns
    -------
    str
        A query with the columns of `view` (``t.*``), ``code``, ``class``, ``icd``.
    """
    source = f"coalesce(r.code, CASE WHEN r.concept_id IS NULL THEN {given} END)"
    # A name as written stands for a row that has no code. The institution's own concept is
    # named by its concept, because the source value is often the number of an item.
    written = f"coalesce(r.name, s.name, t.{stem}_source_value)"
    return f"""
        SELECT t.*, coalesce(s.class, r.class) AS class,
               coalesce(s.icd, false) OR coalesce(r.icd, false)
                   OR coalesce(starts_with({source}, 'ICD'), false) AS icd,
               unnest(list_distinct(list_concat([
                   s.code,
                   {source},
                   {prefix} || trim(CASE
                       WHEN coalesce(s.code, {source}) IS NULL THEN {written}
                       WHEN {named} THEN coalesce(s.name, r.name)
                   END)
               ], coalesce(s.ingredients, [])))) AS code
        FROM {view} t
        LEFT JOIN {codes} s ON s.concept_id = t.{stem}_concept_id
        LEFT JOIN {codes} r ON r.concept_id = t.{stem}_source_concept_id"""


def source_codes(vocabularies: Mapping[str, str], table: str) -> str:
    """Return SQL of the code that a source value stands for, or ``NULL``.

    Vocabulary ``ICD`` tells ICD-9-CM from ICD-10-CM by the code's form. Codes that begin with E
    or V exist in both: they go with the other codes of their visit, which uses one revision.
    """
    vocabulary = vocabularies.get(table)
    value = f"upper(replace(t.{STEMS[table]}_source_value, '.', ''))"
    if vocabulary is None:
        return "NULL"
    if vocabulary != "ICD":
        return f"{text(vocabulary + '//')} || t.{STEMS[table]}_source_value"
    return (
        f"CASE WHEN regexp_full_match({value}, '[0-9]{{3,5}}') THEN 'ICD9CM//' || {value} "
        f"WHEN regexp_full_match({value}, '[A-Z][0-9][0-9A-Z]{{1,5}}') THEN "
        f"CASE WHEN regexp_matches({value}, '^[^EV]') OR t.tenth THEN 'ICD10CM//' "
        f"ELSE 'ICD9CM//' END || {value} END"
    )


def with_revision(view: str, vocabularies: Mapping[str, str], table: str) -> str:
    """Return a view's rows with ``tenth``: whether its visit uses ICD-10, where that is needed."""
    if vocabularies.get(table) != "ICD":
        return view
    value = f"upper({STEMS[table]}_source_value)"
    return (
        f"(SELECT *, coalesce(bool_or(regexp_matches({value}, '^[A-DF-UW-Z][0-9]')) OVER "
        f"(PARTITION BY person_id, visit_occurrence_id), false) AS tenth FROM {view})"
    )


def check_vocabularies(option: Any) -> dict[str, str]:
    """Return the option ``source_vocabularies`` if it maps tables to vocabularies."""
    if option is None:
        return {}
    if not isinstance(option, Mapping) or not all(
        isinstance(value, str) and value and "//" not in value for value in option.values()
    ):
        raise InputError(
            "the option source_vocabularies is not a mapping from tables to vocabularies",
            "for example {condition_occurrence: ICD10CM}",
            "correct the option",
        )
    for table in option:
        if table not in STEMS:
            raise InputError(
                f"the option source_vocabularies names {table!r}",
                nearest(str(table), STEMS),
                "correct the option",
            )
    return dict(option)
