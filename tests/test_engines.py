"""The plan on engines of the institution: PostgreSQL and Spark with executors of their own."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score as auroc

import magml
import magml.spark
from magml import postgres
from magml.bundle import write_bundle
from magml.definitions import read_catalogue
from magml.engines.build import build_matrix
from magml.errors import BundleError, InputError, MissingDependencyError, UnitError
from magml.experiments.study import build_study, read_definitions
from magml.features import compile_plan, with_plugins
from magml.features.cases import read_cases, run_cases
from magml.models.bag import fit_bag
from magml.progress import silent
from magml.simulation import generate_hospital
from magml.spark import contents as spark_contents
from magml.spark.executors import check_executors
from tests.bundle_parts import contents
from tests.engine_parts import (
    Bring,
    against_the_oracle,
    differences,
    embedded,
    executors,
    histories,
    postgresql_connection,
    spark_cluster,
    table_of,
    times_of,
    to_postgres,
    to_spark,
)
from tests.test_oracle import the_catalogue
from tests.test_train import small_workspace

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


def test_a_model_trained_on_spark_is_one_of_the_same_kind(
    spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a bag trained on one machine on the very people that trained on Spark."""
    workspace = small_workspace(tmp_path / "workspace", members=2, rounds=30, calibrating=1)
    path = generate_hospital(2500, seed=11).write(tmp_path / "hospital")
    definitions = read_definitions("demo", by_labels=False, workspace=workspace)
    study = build_study(definitions, data=path, report=silent)
    labels = pd.DataFrame(
        {
            "subject_id": study.rows.persons,
            "prediction_time": study.matrix.prediction_time,
            "boolean_value": study.rows.labels.astype(bool),
        }
    )[study.rows.evaluated]
    found: list[Any] = []
    contents_of = spark_contents.contents
    monkeypatch.setattr(
        spark_contents,
        "contents",
        lambda trained, *rest: found.append(trained) or contents_of(trained, *rest),
    )
    result = magml.spark.train(
        "hypomagnesemia_screen",
        events=magml.spark.events(spark, to_spark(spark, study.rows.events.to_arrow())),
        labels=to_spark(spark, labels),
        out=tmp_path / "runs",
        workspace=workspace,
        test_share=0.4,
        seed=1,
    )
    (trained,) = found
    train, test = trained.sides.train, trained.sides.test
    assert not set(train.persons) & set(test.persons)
    assert len(train.labels) + len(test.labels) == len(labels)
    model = magml.load(result.bundle)
    assert len(model.bag.boosters) == 2
    assert "has not seen" in model.card_text
    metrics = result.metrics
    assert metrics["n"] == len(test.labels)
    assert metrics["auroc"]["low"] > 0.6  # a coin is 0.5
    assert {"age_sex", "logistic"} <= set(metrics["models"])
    columns = [trained.plan.features.index(name) for name in model.features]
    own = fit_bag(
        train.values[:, columns],
        train.labels,
        train.persons,
        model.definition.estimator,
        seed=1,
        features=model.features,
    )
    X = test.values[:, columns]
    assert np.corrcoef(own.margin(X), model.bag.margin(X))[0, 1] > 0.9
    assert abs(auroc(test.labels, own.margin(X)) - auroc(test.labels, model.bag.margin(X))) < 0.05
    # Its scores come from events like anybody's.
    at = labels[["subject_id", "prediction_time"]].iloc[:5]
    assert magml.load(result.bundle).score(study.rows.events, at)["risk"].between(0, 1).all()


def test_executors_of_another_version_are_refused(
    spark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(magml, "__version__", "0.0.9", raising=False)
    with pytest.raises(MissingDependencyError, match=r"the driver magml 0\.0\.9"):
        check_executors(spark)


def test_an_executor_killed_in_the_middle_changes_nothing(spark: Any) -> None:
    _, table, at = world()
    plan = compile_plan(the_catalogue())
    events = magml.spark.events(spark, to_spark(spark, table))
    victim = executors(spark)[0]
    killer = threading.Timer(1.0, os.kill, (victim, signal.SIGKILL))
    killer.start()
    found = build_matrix(plan, events, at, strict=False)
    assert not killer.is_alive()
    assert victim not in executors(spark)
    assert not differences(found, plan, embedded(plan, table, at))
