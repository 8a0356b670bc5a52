"""OMOP: where the tables may stand, and what is refused."""

from __future__ import annotations

import datetime as dt
import zipfile
from pathlib import Path

import duckdb
import pytest

from magml.errors import InputError
from magml.events import Events
from magml.sources import open_source


@pytest.fixture
def cdm(tmp_path: Path) -> Path:
    folder = tmp_path / "cdm"
    folder.mkdir()
    (folder / "PERSON.csv").write_text("person_id,gender_concept_id,year_of_birth\n-3,8532,1950\n")
    (folder / "2b_concept.csv").write_text(
        "concept_id,concept_name,vocabulary_id,concept_class_id,concept_code\n"
        "2000000017,ETOH,our_chart,Chart item,225106\n"
    )
    return folder


def values(events: Events) -> list[tuple]:
    return events.connection.execute(
        f"SELECT code, time, known_time, numeric_value, unit FROM {events.relation} "
        "WHERE numeric_value IS NOT NULL"
    ).fetchall()


def test_athena_concepts_zip_shards_and_zones(cdm: Path, tmp_path: Path) -> None:
    (cdm / "measurement.csv").write_text(
        "measurement_id,person_id,measurement_concept_id,measurement_date,measurement_datetime,"
        "value_as_number,unit_source_value\n"
        "1,-3,3009999,2020-07-02,2020-07-02T08:00:00Z,1.70,mg/dL\n"
    )
    athena = tmp_path / "CONCEPT.csv"
    athena.write_text(
        "concept_id\tconcept_name\tdomain_id\tvocabulary_id\tconcept_class_id\tconcept_code\n"
        '3009999\t6" magnesium\tMeasurement\tLOINC\tLab Test\t2601-3\n'
    )
    drawn, known = dt.datetime(2020, 7, 2, 10), dt.datetime(2020, 7, 2, 11)
    wanted = [("LOINC//2601-3", drawn, known, 1.7, "mg/dL")]
    options = {"concepts": athena, "zone": "Europe/Berlin"}
    events = open_source("omop", cdm, **options)
    assert values(events) == wanted
    assert {file.name for file in events.files} == {
        "2b_concept.csv",
        "PERSON.csv",
        "measurement.csv",
        "CONCEPT.csv",
    }
    packed = tmp_path / "cdm.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for file in cdm.iterdir():
            archive.write(file, f"export/{file.name}")
        archive.writestr("__MACOSX/export/._PERSON.csv", "junk")
        archive.writestr("../../escape.csv", "junk")
    events = open_source("omop", packed, **options)
    assert values(events) == wanted
    assert packed in events.files
    # A table in shards is a folder of its name.
    (cdm / "measurement").mkdir()
    with duckdb.connect() as connection:
        source = f"read_csv('{cdm / 'measurement.csv'}', all_varchar = true)"
        for part in (0, 1):
            connection.execute(
                f"COPY (FROM {source}) TO '{cdm / 'measurement' / str(part)}.parquet'"
            )
    (cdm / "measurement.csv").unlink()
    assert values(open_source("omop", cdm, **options)) == wanted * 2


@pytest.mark.parametrize(
    ("table", "content", "options", "told"),
    [
        ("person", "id\n1\n", {}, "no column person_id"),
        ("person", "person_id\n", {}, "the table person is empty"),
        ("person", "person_id\n1\n1\n", {}, "1 stand twice"),
        ("person", "person_id\nx\n", {}, "1 values of person_id are not of type BIGINT"),
        ("death", "person_id,death_date\n1,soon\n", {}, "1 values of death_date are not"),
        ("death", "person_id\n1\n", {"zone": "Berlin"}, "no time zone 'Berlin'"),
        ("death", "person_id\n1\n", {"midnight": "noon"}, "option midnight"),
        ("death", "person_id\n1\n", {"schema": "cdm"}, "is no database"),
        ("death", "person_id\n1\n", {"names": {"a": "b"}}, "option names"),
        ("death", "person_id\n1\n", {"visits": [1]}, "option visits"),
        ("death", "person_id\n1\n", {"concepts": "absent"}, "no file 'concept.csv'|absent"),
        (
            "death",
            "person_id\n1\n",
            {"source_vocabularies": {"condition": "ICD"}},
            "did you mean 'condition_occurrence'",
        ),
        ("death", "person_id\n1\n", {"lab_turnaround": "soon"}, "not a duration"),
    ],
)
def test_what_does_not_fit_is_refused(
    cdm: Path, table: str, content: str, options: dict, told: str
) -> None:
    for path in cdm.iterdir():
        if path.stem.lower() == table:
            path.unlink()
    (cdm / f"{table}.csv").write_text(content)
    with pytest.raises(Exception, match=told) as caught:
        open_source("omop", cdm, **options)
    assert type(caught.value).__module__ == "magml.errors"


def test_no_tables_and_damaged_files_are_refused(cdm: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no table person"):
        open_source("omop", tmp_path / "empty")
    (cdm / "measurement.parquet").write_bytes(b"Jane Doe, 1.7 mg/dL")
    with pytest.raises(InputError, match=r"measurement\.parquet cannot be read") as caught:
        open_source("omop", cdm)
    assert "Jane" not in str(caught.value)
    for name, told in (("cdm.zip", "cannot be read as a zip"), ("cdm.duckdb", "cannot be opened")):
        (tmp_path / name).write_bytes(b"neither")
        with pytest.raises(InputError, match=told):
            open_source("omop", tmp_path / name)
    with pytest.raises(InputError, match="a CDM given as dict"):
        open_source("omop", {})
