"""OMOP: the two public data sets, with counts taken from their files."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest

from magml.sources import open_source


def read(folder: Path, name: str) -> pd.DataFrame:
    with gzip.open(folder / f"{name}.csv.gz", "rt") as handle:
        return pd.read_csv(handle, dtype=str)


@pytest.mark.data
def test_the_mimic_iv_demo(shared_data: Path) -> None:
    folder = shared_data / "omop_mimic4_demo"
    conditions, visits = read(folder, "condition_occurrence"), read(folder, "visit_occurrence")
    joined = conditions.merge(visits, on="visit_occurrence_id")
    at_start = joined["condition_start_datetime"] == joined["visit_start_datetime"]
    billed = joined["condition_type_concept_id"] == "32821"
    # Codes billed at discharge stand at the very start of their visit: 3,806 of 3,833.
    assert (billed.sum(), (at_start & billed).sum(), at_start.sum()) == (3833, 3806, 3806)
    events = open_source(
        "omop",
        folder,
        source_vocabularies={"condition_occurrence": "ICD"},
        visits={8870: "inpatient", 581385: "inpatient"},
    ).materialise()
    counted = dict(
        events.connection.execute(
            f"SELECT split_part(code, '//', 1), count(*) FROM {events.relation} GROUP BY ALL"
        ).fetchall()
    )
    # Which revision a code is of, told by its concept: ids of ICD-9-CM begin with 44.
    ninth = conditions["condition_source_concept_id"].str.startswith("44")
    coded = conditions["condition_type_concept_id"] == "32821"
    assert counted["ICD9CM"] == (ninth & coded).sum() == 1852
    assert counted["ICD10CM"] == (~ninth & coded).sum() == 1981
    assert counted["DRUG"] == len(read(folder, "drug_exposure")) == 18229
    assert (counted["MEDS_BIRTH"], counted["MEDS_DEATH"]) == (100, 15)
    # No billed code is known before its visit's end.
    finish = joined.assign(end=pd.to_datetime(joined["visit_end_datetime"]))[billed]
    early = events.connection.execute(
        f"SELECT e.source, e.known_time FROM {events.relation} e WHERE code LIKE 'ICD%'"
    ).df()
    early["condition_occurrence_id"] = early["source"].str.partition(":")[2]
    both = early.merge(finish, on="condition_occurrence_id")
    assert len(both) == 3833
    assert (both["known_time"] >= both["end"]).all()
    ids = events.connection.execute(
        "SELECT min(subject_id), max(subject_id), count(DISTINCT subject_id) "
        f"FROM {events.relation}"
    ).fetchall()[0]
    people = read(folder, "person")["person_id"].astype("int64")
    assert ids == (people.min(), people.max(), 100)
    assert not any(
        code != code.strip()
        for (code,) in events.connection.execute(
            f"SELECT DISTINCT code FROM {events.relation}"
        ).fetchall()
    )


@pytest.mark.data
def test_the_synthea_zip(shared_data: Path) -> None:
    events = open_source(
        "omop", shared_data / "omop_synthea27" / "Synthea27NjParquet_5.4.zip"
    ).materialise()
    query = events.connection.execute
    magnesium = query(
        f"SELECT unit, list(numeric_value ORDER BY numeric_value) FROM {events.relation} "
        "WHERE code = 'LOINC//19123-9' GROUP BY ALL"
    ).fetchall()
    values = [1.7, 1.7, 1.8, 1.8, 1.8, 1.9, 1.9, 2.1, 2.1, 2.2, 2.2, 2.3]
    assert magnesium == [("mg/dL", values)]
    # Every one of 10,040 measurements stands at midnight, so none is known on its own day.
    midnight, known_later, count = query(
        "SELECT count(*) FILTER (WHERE time = date_trunc('day', time)), "
        "count(*) FILTER (WHERE known_time >= time + INTERVAL 1 DAY), count(*) "
        f"FROM {events.relation} WHERE source LIKE 'measurement:%'"
    ).fetchall()[0]
    assert midnight == known_later == count == 10040
    assert any("10040 of 10040 times are midnight" in note for note in events.notes)
    people = query(f"SELECT count(DISTINCT subject_id) FROM {events.relation}").fetchall()[0][0]
    assert people == 28
