"""The same people as plain tables, MEDS and OMOP give the same events and the same features."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from magml.errors import InputError
from magml.events import Events, read_events
from magml.events.table import connect
from magml.features import build_features
from magml.sources import open_source
from tests.source_worlds import truth, write_meds, write_omop, write_plain

COLUMNS = ["subject_id", "time", "code", "numeric_value", "unit", "known_time", "end_time"]


@pytest.fixture(scope="module")
def world() -> pd.DataFrame:
    return truth()


@pytest.fixture(scope="module")
def expected(world: pd.DataFrame) -> pd.DataFrame:
    return features(read_events(world[COLUMNS]), world)


def moments(world: pd.DataFrame) -> pd.DataFrame:
    """One prediction a person, 24 h after admission and never on a whole minute."""
    stays = world[world["kind"] == "visit"]
    at = stays["time"] + pd.Timedelta(hours=24, seconds=1)
    return pd.DataFrame({"subject_id": stays["subject_id"], "prediction_time": at})


def features(events: Events, world: pd.DataFrame) -> pd.DataFrame:
    return build_features(events, moments(world)).sort_values("subject_id", ignore_index=True)


def listed(events: Events) -> pd.DataFrame:
    return ordered(events.to_arrow().to_pandas()[COLUMNS])


def ordered(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame[COLUMNS].astype({"time": "datetime64[us]", "known_time": "datetime64[us]"})
    return frame.sort_values(COLUMNS, ignore_index=True)


def write(layout: str, ending: str, world: pd.DataFrame, folder: Path) -> None:
    if layout == "plain":
        write_plain(world, folder, ending)
    elif layout == "omop":
        write_omop(world, folder, ending)
    else:
        write_meds(world, folder)


@pytest.mark.parametrize(
    ("layout", "ending"),
    [
        ("plain", "csv"),
        ("plain", "parquet"),
        ("omop", "csv"),
        ("omop", "csv.gz"),
        ("omop", "parquet"),
        ("meds", "parquet"),
    ],
)
def test_every_layout_gives_the_same_features(
    layout: str, ending: str, world: pd.DataFrame, expected: pd.DataFrame, tmp_path: Path
) -> None:
    write(layout, ending, world, tmp_path / "data")
    found = features(open_source(layout, tmp_path / "data"), world)
    assert list(found.columns) == list(expected.columns)
    differing = [
        name
        for name in expected.columns
        if not np.array_equal(found[name], expected[name], equal_nan=name != "prediction_time")
    ]
    assert differing == []
    # The comparison would hold of empty tables, too: drugs, labs, diagnoses, care, visits.
    for name in (
        "lab.magnesium.last",
        "medication.proton_pump_inhibitor.active",
        "comorbidity.diabetes.present",
        "care.nothing_by_mouth.present.24h",
        "care.inpatient_stay.active",
        "vital.heart_rate.last",
        "demographic.age.years",
        "demographic.female.last",
    ):
        assert found[name].nunique() > 1 or (name.endswith("stay.active") and found[name].all())


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_plain_tables_give_the_same_events(
    ending: str, world: pd.DataFrame, tmp_path: Path
) -> None:
    write_plain(world, tmp_path / "data", ending)
    found = listed(open_source("plain", tmp_path / "data"))
    pd.testing.assert_frame_equal(found, ordered(world), check_dtype=False)


def test_meds_differs_only_in_the_time_of_diagnoses(world: pd.DataFrame, tmp_path: Path) -> None:
    write_meds(world, tmp_path / "data")
    found = listed(open_source("meds", tmp_path / "data"))
    sick = world["kind"] == "diagnosis"
    stamped = world.assign(time=world["time"].where(~sick, world["known_time"]))
    pd.testing.assert_frame_equal(found, ordered(stamped), check_dtype=False)


def test_omop_adds_only_visits_and_second_codes(world: pd.DataFrame, tmp_path: Path) -> None:
    write_omop(world, tmp_path / "data", "parquet")
    found = listed(open_source("omop", tmp_path / "data"))
    added = found["code"].str.match("SNOMED//|DRUG//|VISIT//outpatient")
    pd.testing.assert_frame_equal(
        found[~added].reset_index(drop=True), ordered(world), check_dtype=False
    )
    sick, drugs = (world["kind"] == "diagnosis").sum(), (world["kind"] == "drug").sum()
    counts = found["code"].str.partition("//")[0].value_counts()
    assert counts["SNOMED"] == sick
    assert counts["DRUG"] == drugs
    assert (found["code"] == "VISIT//outpatient").sum() == sick


def test_omop_in_a_database_and_on_a_connection(world: pd.DataFrame, tmp_path: Path) -> None:
    write_omop(world, tmp_path / "cdm", "parquet")
    wanted = listed(open_source("omop", tmp_path / "cdm"))
    path = tmp_path / "cdm.duckdb"
    with duckdb.connect(str(path)) as database:
        database.execute("CREATE SCHEMA clinical")
        for file in (tmp_path / "cdm").iterdir():
            # Upper case, as some databases give it.
            database.execute(f"CREATE TABLE clinical.{file.stem.upper()} AS SELECT * FROM '{file}'")
    pd.testing.assert_frame_equal(
        listed(open_source("omop", path, schema="clinical")), wanted, check_dtype=False
    )
    with duckdb.connect(str(path)) as database:
        events = open_source("omop", database, schema="clinical")
        pd.testing.assert_frame_equal(listed(events), wanted, check_dtype=False)


def test_a_database_that_is_none_or_runs_sql_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("person_id,year_of_birth\n1,1950\n")
    with duckdb.connect(str(tmp_path / "views.duckdb")) as database:
        database.execute("CREATE SCHEMA other")
        database.execute("CREATE VIEW other.death AS SELECT 1 AS person_id")
        database.execute(f"CREATE VIEW Person AS SELECT * FROM '{secret}'")
    with pytest.raises(InputError, match="holds person as a view"):
        open_source("omop", tmp_path / "views.duckdb")
    other = sqlite3.connect(tmp_path / "other.db")
    with other:
        other.execute("CREATE TABLE person (person_id INTEGER, year_of_birth INTEGER)")
    other.close()
    with pytest.raises(InputError, match="cannot be opened as a DuckDB database") as raised:
        open_source("omop", tmp_path / "other.db")
    # Nothing is fetched to read it.
    assert "download" not in str(raised.value.__cause__)
    found = connect().execute("SELECT current_setting('autoinstall_known_extensions')").fetchall()
    assert found == [(False,)]
