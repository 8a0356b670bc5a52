"""NHANES I: the unit that no file states, and the sample that magnesium is added on to."""

from __future__ import annotations

import csv
import datetime as dt
from pathlib import Path

import pytest

from magml.cohort import build_cohort
from magml.definitions import read_catalogue, read_model
from magml.definitions.experiment import Cohort
from magml.errors import InputError, UnitError
from magml.features import build_features
from magml.outcomes import find_specimens
from magml.sources import open_source

HEADER = (
    ",Age,Diastolic BP,Poverty index,Race,Red blood cells,Sedimentation rate,Serum Albumin,"
    "Serum Cholesterol,Serum Iron,Serum Magnesium,Serum Protein,Sex,Systolic BP,TIBC,TS,"
    "White blood cells,BMI,Pulse pressure\n"
)
ROWS = (
    "0,35.0,92.0,126.0,2.0,77.7,12.0,5.0,165.0,135.0,1.37,7.6,2.0,142.0,323.0,41.8,5.8,31.1,50\n"
    "5,71.0,,210.0,1.0,46.8,,4.0,298.0,89.0,1.68,6.4,1.0,,331.0,26.9,,32.4,\n"
)


def at(hour: int) -> dt.datetime:
    return dt.datetime(1973, 1, 1, hour)


def test_one_examination_and_the_added_magnesium(tmp_path: Path) -> None:
    (tmp_path / "subset_X.csv").write_text(HEADER + ROWS)
    events = open_source("nhanes1", tmp_path)
    found = events.connection.execute(
        "SELECT subject_id, code, time, known_time, numeric_value, unit "
        f"FROM {events.relation} WHERE subject_id = 0"
    ).fetchall()

    def lab(code: str, value: float, unit: str) -> tuple:
        return (0, code, at(9), at(10), value, unit)

    def bedside(code: str, value: float, unit: str) -> tuple:
        return (0, code, at(9), at(9), value, unit)

    assert sorted(found, key=str) == sorted(
        [
            (0, "GENDER//F", None, None, None, None),
            (0, "RACE//Black", None, None, None, None),
            # 35 years of 365.25 days before 1 January 1973, 9:00: 12783 days and 18 hours.
            (0, "MEDS_BIRTH", dt.datetime(1938, 1, 1, 15), None, None, None),
            (0, "VISIT//outpatient", at(9), at(9), None, None),
            (0, "LAB//serum magnesium", at(12), at(13), 1.37, "meq/L"),
            lab("LOINC//1751-7", 5.0, "g/dL"),
            lab("LOINC//2093-3", 165.0, "mg/dL"),
            lab("LOINC//2498-4", 135.0, "ug/dL"),
            lab("LOINC//2885-2", 7.6, "g/dL"),
            lab("LOINC//2500-7", 323.0, "ug/dL"),
            lab("LOINC//2502-3", 41.8, "%"),
            lab("LOINC//6690-2", 5.8, "10*3/uL"),
            lab("LAB//sedimentation rate", 12.0, "mm/h"),
            bedside("LOINC//8480-6", 142.0, "mm[Hg]"),
            bedside("LOINC//8462-4", 92.0, "mm[Hg]"),
            bedside("LOINC//39156-5", 31.1, "kg/m2"),
        ],
        key=str,
    )
    # What is missing makes no event: blood pressure, sedimentation rate, white cells.
    count = events.connection.execute(
        f"SELECT count(*) FROM {events.relation} WHERE subject_id = 5"
    ).fetchall()[0][0]
    assert count == 16 - 4


def test_another_unit_and_damaged_tables_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "subset_X.csv"
    for content, error, told in (
        (ROWS.replace("1.37", "2.0").replace("1.68", "2.1"), UnitError, "median.*2.05"),
        (ROWS.replace("1.37", "0.8").replace("1.68", "0.9"), UnitError, "1.4 to 1.88 mEq/L"),
        (ROWS.replace("\n5,", "\n0,"), InputError, "2 rows, but 1 different"),
        (ROWS.replace("165.0", "high"), InputError, "1 values of serum cholesterol"),
        ("", InputError, "0 rows"),
    ):
        path.write_text(HEADER + content)
        with pytest.raises(error, match=told):
            open_source("nhanes1", path)
    path.write_text(HEADER.replace("Serum Magnesium", "Mg") + ROWS)
    with pytest.raises(InputError, match="no column serum magnesium"):
        open_source("nhanes1", path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no file 'subset_X.csv'"):
        open_source("nhanes1", tmp_path / "empty")


@pytest.mark.data
def test_the_public_subset(shared_data: Path) -> None:
    events = open_source("nhanes1", shared_data / "nhanes1").materialise()
    with (shared_data / "nhanes1" / "subset_X.csv").open() as handle:
        values = [float(line["Serum Magnesium"]) for line in csv.DictReader(handle)]
    low = sum(value < 1.40 for value in values)
    assert (len(values), low) == (9932, 227)  # 2.3%: in mg/dL nearly all would be low
    catalogue = read_catalogue()
    outcome = read_model("hypomagnesemia_screen").outcome
    specimens = find_specimens(events, catalogue, outcome.concept)
    definition = Cohort(anchor=("VISIT//outpatient",), offset="2h", measured_before="none")
    cohort = build_cohort(events, definition, specimens, outcome).frame()
    assert (len(cohort), cohort["boolean_value"].sum()) == (9932, low)
    frame = build_features(
        events,
        cohort[["subject_id", "prediction_time"]],
        features=["lab.albumin.last", "lab.magnesium.last", "lab.white_cells.last"],
    )
    assert frame["lab.albumin.last"].notna().all()  # of the same sample, and known before
    assert frame["lab.magnesium.last"].isna().all()
    assert frame["lab.white_cells.last"].notna().sum() == 9932 - 1041
