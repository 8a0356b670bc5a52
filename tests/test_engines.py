"""The plan on engines of the institution: PostgreSQL and Spark with executors of their own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import magml
import magml.spark
from magml import postgres
from magml.bundle import write_bundle
from magml.definitions import read_catalogue
from magml.engines.build import build_matrix
from magml.errors import BundleError, InputError, UnitError
from magml.features import compile_plan, with_plugins
from magml.features.cases import read_cases, run_cases
from tests.bundle_parts import contents
from tests.engine_parts import (
    Bring,
    against_the_oracle,
    differences,
    embedded,
    histories,
    postgresql_connection,
    spark_cluster,
    table_of,
    times_of,
    to_postgres,
    to_spark,
)
from tests.test_oracle import the_catalogue

ROOT = Path(__file__).resolve().parent.parent
#: Histories of a few rows beside the one of everything.
SMALL = 80


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    with spark_cluster() as session:
        yield session


@pytest.fixture(scope="module")
def connection() -> Iterator[Any]:
    with postgresql_connection() as connection:
        connection.execute("CREATE SCHEMA cdm")
        yield connection


@pytest.fixture(scope="module", params=["postgres", "spark"])
def bring(request: pytest.FixtureRequest) -> Bring:
    """What brings a table of events to the engine."""
    if request.param == "spark":
        spark = request.getfixturevalue("spark")
        return lambda table: magml.spark.events(spark, to_spark(spark, table))
    connection, numbers = request.getfixturevalue("connection"), itertools.count()

    def write(table: Any) -> Any:
        name = f"cdm.events_{next(numbers)}"
        to_postgres(connection, table, name)
        return postgres.events(connection, name)

    return write


@cache
def world() -> tuple[list[Any], pa.Table, pa.Table]:
    events = histories(SMALL)
    return events, table_of(events), times_of(SMALL)


def test_definition_tests(bring: Bring) -> None:
    results = run_cases(read_cases(ROOT / "features"), read_catalogue(ROOT), bring)
    assert len(results) > 100
    assert not [result for result in results if not result.passed]


def test_histories_equal_the_oracle_and_the_embedded_engine(bring: Bring) -> None:
    events, table, at = world()
    plan = compile_plan(the_catalogue())
    found = build_matrix(plan, bring(table), at, strict=False)
    assert not against_the_oracle(found, events)
    own = embedded(plan, table, at)
    assert not differences(found, plan, own)
    assert (found.empty == own.empty).all()
    assert found.report == own.report


def units() -> pd.DataFrame:
    """Potassium of a hundred people, forty of them without a unit."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "subject_id": np.arange(100),
            "time": pd.Timestamp("2026-01-01"),
            "code": ["LAB//a"] * 60 + ["LOINC//2823-3"] * 40,
            "numeric_value": rng.normal(4, 0.5, 100).round(2),
            "unit": ["mmol/L"] * 60 + [None] * 40,
        }
    )


def test_units_are_inferred_or_refused_as_by_the_embedded_engine(bring: Bring) -> None:
    plan = compile_plan(read_catalogue(ROOT), ["lab.potassium.last"])
    found = build_matrix(plan, bring(units()), "2026-01-02")
    own = embedded(plan, units(), "2026-01-02", strict=True)
    assert found.report.assumed_units == own.report.assumed_units == {"LOINC//2823-3": "mmol/L"}
    assert found.report.units.findings == own.report.units.findings
    np.testing.assert_array_equal(found.values, own.values)
    wrong = units().assign(unit="mg/dL", code="LOINC//2823-3")
    with pytest.raises(UnitError):
        build_matrix(plan, bring(wrong), "2026-01-02")


def test_tables_that_do_not_fit_are_refused(bring: Bring) -> None:
    table = units()
    with pytest.raises(InputError, match="no column 'code'"):
        bring(table.rename(columns={"code": "kode"}))
    with pytest.raises(InputError, match=r"'subject_id'.*is of type"):
        bring(table.assign(subject_id=table["subject_id"].astype(str)))
    with pytest.raises(InputError, match=r"1 rows.*no usable 'code'"):
        bring(table.assign(code=[None, *table["code"][1:]]))
    plan = compile_plan(read_catalogue(ROOT), ["lab.potassium.last"])
    twice = pd.DataFrame({"subject_id": [1, 1], "prediction_time": pd.Timestamp("2026-01-02")})
    with pytest.raises(InputError, match="more than once"):
        build_matrix(plan, bring(table), twice)


def test_python_features_are_refused_by_name(bring: Bring) -> None:
    name = "comorbidity.elixhauser_count"
    catalogue = with_plugins(read_catalogue(ROOT), [name])
    with pytest.raises(InputError, match=name):
        build_matrix(compile_plan(catalogue, [name]), bring(units()), "2026-01-02")


def test_nothing_remains_in_postgresql(connection: Any) -> None:
    relations = "SELECT count(*) FROM pg_class WHERE relname LIKE '%magml%'"
    to_postgres(connection, units(), "cdm.rows")
    plan = compile_plan(read_catalogue(ROOT), ["lab.potassium.last"])
    build_matrix(plan, postgres.events(connection, "cdm.rows"), "2026-01-02")
    assert connection.execute(relations).fetchall() == [(0,)]


def test_a_role_that_may_only_read_suffices(connection: Any) -> None:
    to_postgres(connection, units(), "cdm.read_only")
    plan = compile_plan(read_catalogue(ROOT), ["lab.potassium.last"])
    connection.execute(
        "CREATE ROLE reader; GRANT USAGE ON SCHEMA cdm TO reader; "
        "GRANT SELECT ON cdm.read_only TO reader; CREATE ROLE stranger"
    )
    try:
        connection.execute("SET ROLE stranger")
        with pytest.raises(InputError, match=r"may not read the table cdm.read_only"):
            postgres.events(connection, "cdm.read_only")
        connection.execute("SET ROLE reader")
        events = postgres.events(connection, "cdm.read_only")
        assert len(build_matrix(plan, events, "2026-01-02").values) == 100
    finally:
        connection.execute("RESET ROLE")


@pytest.mark.parametrize("name", ["cdm.rows; DROP TABLE cdm.rows", "(SELECT 1)", "a b c", "f(1)"])
def test_what_is_no_name_of_a_table_is_refused(connection: Any, name: str) -> None:
    with pytest.raises(InputError, match="the table name"):
        postgres.events(connection, name)
    with pytest.raises(InputError, match="does not exist"):
        postgres.events(connection, "cdm.nowhere")


def test_instants_are_read_in_a_zone(connection: Any, spark: Any) -> None:
    """A quarter past seven in New York is a quarter past eleven in UTC, in July."""
    plan = compile_plan(read_catalogue(ROOT), ["lab.potassium.hours_since"])
    connection.execute(
        "CREATE TABLE cdm.instants AS SELECT 1::bigint AS subject_id, 'LOINC//2823-3' AS code, "
        "4.0 AS numeric_value, 'mmol/L' AS unit, '2026-07-01 07:15-04'::timestamptz AS time"
    )
    utc = postgres.events(connection, "cdm.instants")
    here = postgres.events(connection, "cdm.instants", zone="America/New_York")
    frame = spark.sql(
        "SELECT 1L AS subject_id, 'LOINC//2823-3' AS code, 4.0 AS numeric_value, "
        "'mmol/L' AS unit, TIMESTAMP '2026-07-01 07:15:00-04:00' AS time"
    )
    shown = magml.spark.events(spark, frame)  # the session's zone is New York
    away = magml.spark.events(spark, frame, zone="UTC")
    hours = [
        float(build_matrix(plan, events, "2026-07-01 12:15").values[0, 0])
        for events in (utc, here, shown, away)
    ]
    assert hours == [1, 5, 5, 1]


def test_the_frame_holds_the_same_as_the_matrix(spark: Any) -> None:
    """Put together by executors, also when they take few lines and rows at once."""
    _, table, at = world()
    plan = compile_plan(the_catalogue())
    events = magml.spark.events(spark, to_spark(spark, table))
    own = embedded(plan, table, at)
    frame = magml.spark.features(events, at, catalogue=the_catalogue(), strict=False)
    found = frame.toArrow().sort_by([("subject_id", "ascending"), ("prediction_time", "ascending")])
    order = np.lexsort((own.prediction_time, own.subject_id))
    np.testing.assert_array_equal(found["subject_id"].to_numpy(), own.subject_id[order])
    values = np.column_stack([found[name].to_numpy() for name in plan.features])
    again = replace(own, values=values[np.argsort(order)])
    assert not differences(again, plan, own)


def bundle_and_records(folder: Path) -> tuple[Path, pd.DataFrame, pd.DataFrame]:
    """Return a bundle, records of 300 people with potassium and a diuretic, and when to score."""
    write_bundle(folder, contents())
    rng = np.random.default_rng(3)
    start = pd.Timestamp("2026-01-01")
    people = rng.integers(0, 300, 3000)
    labs = pd.DataFrame(
        {
            "subject_id": people,
            "time": start + pd.to_timedelta(rng.integers(0, 72 * 60, 3000), unit="min"),
            "code": rng.choice(["LOINC//2823-3", "LOINC//1751-7"], 3000),
            "numeric_value": rng.normal(4, 0.6, 3000).round(2),
            "unit": "mmol/L",
        }
    )
    labs.loc[labs["code"] == "LOINC//1751-7", ["numeric_value", "unit"]] = [35.0, "g/L"]
    drugs = pd.DataFrame({"subject_id": range(0, 300, 3), "time": start, "code": "ATC//C03CA01"})
    born = pd.DataFrame(
        {"subject_id": range(290), "time": pd.Timestamp("1950-01-01"), "code": "MEDS_BIRTH"}
    )
    at = pd.DataFrame(
        {
            "subject_id": np.repeat(np.arange(310), 2),
            "prediction_time": [
                start + pd.Timedelta(days=day) for _ in range(310) for day in (1, 3)
            ],
        }
    )
    return folder, pd.concat([labs, drugs, born], ignore_index=True), at


def test_scores_and_reasons_are_those_of_one_machine(bring: Bring, tmp_path: Path) -> None:
    folder, events, at = bundle_and_records(tmp_path / "bundle")
    model = magml.load(folder)
    expected = model.score(events, at)
    table = bring(events)
    pd.testing.assert_frame_equal(model.score(table, at), expected, rtol=1e-6)
    few = at.iloc[:2]
    ours, theirs = model.explain(table, few), model.explain(events, few)
    np.testing.assert_allclose(ours.features["log_odds"], theirs.features["log_odds"], atol=1e-6)
    assert ours.evidence == theirs.evidence


def test_executors_score_whole_people_with_the_bundle(spark: Any, tmp_path: Path) -> None:
    """The same bits as on one machine, also for people without any event."""
    folder, events, at = bundle_and_records(tmp_path / "bundle")
    table = magml.spark.events(spark, to_spark(spark, events))
    expected = magml.load(folder).score(events, at)
    order = ["subject_id", "prediction_time"]
    for times in (at, to_spark(spark, at)):
        found = magml.spark.score(folder, table, times).toArrow().to_pandas()
        found = found.sort_values(order, ignore_index=True)
        pd.testing.assert_frame_equal(found, expected, check_exact=True, check_dtype=False)
    with pytest.raises(BundleError):
        magml.spark.score(tmp_path / "nowhere", table, at)
