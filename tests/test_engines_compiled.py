"""The plan's SQL for engines that no test can reach, and what is said where one is missing."""

from __future__ import annotations

import sys

import pytest
import sqlglot
from sqlglot import exp

from magml.engines.queries import engine_queries, rows_of_people
from magml.engines.table import named
from magml.errors import MissingDependencyError
from magml.features import DIALECTS, compile_plan
from magml.features.plan import INPUTS, PREFIX
from magml.spark.session import require_java, require_spark
from tests.test_oracle import the_catalogue

#: Functions that sqlglot does not know by name and that the engines document.
KNOWN = {
    "databricks": {"BIGINT"},
    "bigquery": {"IEEE_DIVIDE"},
    "snowflake": {"TIMESTAMP_FROM_PARTS", "IFF"},
}


def queries(dialect: str) -> dict[str, exp.Expression]:
    """Return each part of the plan, parsed in its own dialect."""
    found = engine_queries(compile_plan(the_catalogue()), dialect)
    found = {**found, "rows": rows_of_people(dialect)}
    return {part: sqlglot.parse_one(sql, read=dialect) for part, sql in found.items()}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_part_parses_and_gives_the_same_columns(dialect: str) -> None:
    embedded = queries("duckdb")
    for part, tree in queries(dialect).items():
        assert tree.named_selects == embedded[part].named_selects, part
        read = {table.name.removeprefix(PREFIX) for table in tree.find_all(exp.Table)}
        assert read == {
            table.name.removeprefix(PREFIX) for table in embedded[part].find_all(exp.Table)
        }
        assert read <= {*INPUTS, "wanted", "people"}
        again = sqlglot.parse_one(tree.sql(dialect), read=dialect)
        assert again.sql(dialect) == tree.sql(dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_function_is_one_of_the_engine(dialect: str) -> None:
    unknown = {
        node.name.upper()
        for tree in queries(dialect).values()
        for node in tree.find_all(exp.Anonymous)
    }
    assert unknown <= KNOWN.get(dialect, set())


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_value_of_a_row_is_in_the_sql(dialect: str) -> None:
    """Codes, units and times travel as tables: the SQL holds numbers of the plan alone."""
    for part, tree in queries(dialect).items():
        texts = {node.name for node in tree.find_all(exp.Literal) if node.is_string}
        assert texts <= {"", "SITE//", "SITE//%", "1970-01-01T00:00:00", "1970-01-01 00:00:00"}, (
            part
        )


@pytest.mark.parametrize("dialect", DIALECTS)
def test_relations_get_the_names_of_the_engine(dialect: str) -> None:
    sql = engine_queries(compile_plan(the_catalogue()), dialect)["map"]
    names = {name: f"their_{name}" for name in ("events", "concept_map", "prediction_times")}
    text = named(sql, names)
    assert PREFIX not in text
    assert all(name in text for name in names.values())


def test_spark_reads_no_moment_through_the_time_zone_of_a_session() -> None:
    for part, tree in queries("databricks").items():
        assert not list(tree.find_all(exp.DateDiff, exp.TimestampDiff)), part
        kinds = {node.to.sql("databricks") for node in tree.find_all(exp.Cast)}
        assert "TIMESTAMP" not in kinds, part


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(MissingDependencyError, match="Java is not installed"):
        require_java()
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(MissingDependencyError, match=r"magml\[spark\]"):
        require_spark()
