"""The layout eicu: its artificial timeline and when each table's rows are known."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
import pytest

from magml.errors import InputError
from magml.sources import open_source
from tests.eicu_tables import ADMITTED, STAYS, after, patient, rows, write


def test_the_timeline_and_who_is_left_out(tmp_path: Path) -> None:
    events = open_source("eicu", write(tmp_path))
    assert rows(events, "code = 'VISIT//icu'", "visit_id, time, known_time, end_time") == sorted(
        (
            str(stay[0]),
            ADMITTED[stay[0]],
            ADMITTED[stay[0]],
            after(stay[0], stay[8]),
        )
        for stay in STAYS
        if stay[0] != 210
    )
    noon = dt.datetime(2014, 1, 2, 12, 0)
    assert rows(events, "code = 'VISIT//inpatient'", "subject_id, time, end_time, visit_id") == [
        (1, dt.datetime(2014, 1, 1, 8), after(100, 4320), "hospitalisation-10"),
        (1, dt.datetime(2015, 1, 1, 23, 30), after(110, 5000), "hospitalisation-11"),
        (2, noon, after(200, 2000), "hospitalisation-20"),
        (3, ADMITTED[310], after(310, 1440), "hospitalisation-31"),
        (3, ADMITTED[300], after(300, 1440), "hospitalisation-30"),
    ]
    assert any(
        "1 hospitalisations (1 unit stays, 1 persons) were left out" in n for n in events.notes
    )
    assert rows(events, "subject_id = 2 AND code = 'SITE//59'", "time, known_time") == [
        (ADMITTED[200], ADMITTED[200])
    ]
    assert events.connection.execute(f"SELECT * FROM {events.subjects} ORDER BY 1").fetchall() == [
        (1, "a-1"),
        (2, "b-2"),
        (3, "c-3"),
    ]


def test_an_age_that_is_missing_leaves_the_order_unknown(tmp_path: Path) -> None:
    ages = [stay[3] for stay in STAYS[:-1]] + [None]
    events = open_source("eicu", write(tmp_path, patient=patient(age=ages)))
    assert rows(events, "subject_id = 3 AND code = 'VISIT//icu'", "visit_id") == [("300",)]


def test_who_the_person_is(tmp_path: Path) -> None:
    table = patient(gender=["Female", "Male", "Male", "", "", "Unknown", "Male"])
    table["ethnicity"] = ["", "Asian", "Caucasian", *[None] * 4]
    events = open_source("eicu", write(tmp_path, patient=table))
    year = dt.timedelta(days=365.25)
    assert rows(events, "code = 'MEDS_BIRTH'", "subject_id, time") == [
        (1, dt.datetime(2014, 1, 1, 8) - 60 * year),
        (2, dt.datetime(2014, 1, 2, 12) - 90 * year),
        (3, ADMITTED[310] - 70 * year),
    ]
    assert rows(events, "code LIKE 'GENDER//%'", "subject_id, code, time") == [
        (1, "GENDER//F", None),
        (3, "GENDER//M", None),
    ]
    assert rows(events, "code LIKE 'RACE//%'", "subject_id, code") == [(1, "RACE//Asian")]
    assert rows(
        events, "visit_id = '110' AND time = known_time", "code, time, numeric_value, unit"
    ) == [
        ("CARE//unit admit source|Operating Room", ADMITTED[110], None, None),
        ("UNIT//MICU", ADMITTED[110], None, None),
        ("VISIT//icu", ADMITTED[110], None, None),
        ("VITAL//admissionheight", ADMITTED[110], 160.0, "cm"),
        ("VITAL//admissionweight", ADMITTED[110], 70.5, "kg"),
    ]


def test_what_discharge_tells_is_not_in_the_events(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    diagnosis = pd.DataFrame(
        {
            "diagnosisid": [1],
            "patientunitstayid": [100],
            "diagnosisoffset": [30],
            "diagnosisstring": ["renal|AKI"],
            "icd9code": ["584.9, N17.9"],
            "activeupondischarge": ["True"],
        }
    )
    contents = []
    for folder, status, weight in ((first, "Alive", 50.0), (second, "Expired", 99.0)):
        folder.mkdir()
        write(
            folder,
            patient=patient(hospitaldischargestatus=status, dischargeweight=weight),
            diagnosis=diagnosis.assign(activeupondischarge=str(status == "Alive")),
            apacheapsvar=pd.DataFrame({"patientunitstayid": [100], "creatinine": [weight]}),
        )
        contents.append(rows(open_source("eicu", folder), "true", "*"))
    assert contents[0] == contents[1]


def test_nothing_of_a_later_hospitalisation_is_known_before_it(tmp_path: Path) -> None:
    # 400 days before the second admission lies before the first one on the artificial timeline.
    diagnosis = pd.DataFrame(
        {
            "diagnosisid": [1],
            "patientunitstayid": [110],
            "diagnosisoffset": [-400 * 1440],
            "diagnosisstring": ["renal|electrolyte imbalance|hypomagnesemia"],
            "icd9code": [None],
        }
    )
    events = open_source("eicu", write(tmp_path, diagnosis=diagnosis))
    assert rows(events, "source = 'diagnosis:1'") == [
        (
            "CONDITION//renal|electrolyte imbalance|hypomagnesemia",
            after(110, -400 * 1440),
            dt.datetime(2015, 1, 1, 23, 30),
        )
    ]


LAB = pd.DataFrame(
    [
        # Revised later; at once; before; a blood gas; bedside glucose; a result in words.
        (1, 100, 60, 1, "magnesium", 1.6, "1.6", "mg/dL", "mg/dL", 99),
        (2, 100, 60, 1, "potassium", 3.9, "3.9", "mmol/L", "mEq/L", 60),
        (3, 100, 60, 3, "Hgb", 9.1, "9.1", "g/dL", "%", 50),
        (4, 100, 60, 7, "pH", 7.3, "7.3", None, "units", None),
        (5, 100, 60, 4, "bedside glucose", 140.0, "140", "mg/dL", "mg/dL", 60),
        (6, 100, 60, 1, "troponin - I", None, "<0.02", "ng/mL", "ng/mL", 70),
        (7, 100, -600, 1, "sodium", 139.0, "139", "mmol/L", "mmol/L", -570),
    ],
    columns=[
        "labid", "patientunitstayid", "labresultoffset", "labtypeid", "labname", "labresult",
        "labresulttext", "labmeasurenamesystem", "labmeasurenameinterface",
        "labresultrevisedoffset",
    ],
)  # fmt: skip


def test_laboratory_results(tmp_path: Path) -> None:
    events = open_source("eicu", write(tmp_path, lab=LAB))
    columns = "source, code, time, known_time, numeric_value, unit, text_value"
    drawn = after(100, 60)
    assert rows(events, "code LIKE 'LAB//%'", columns) == [
        ("lab:1", "LAB//magnesium", drawn, after(100, 99), 1.6, "mg/dL", None),
        ("lab:2", "LAB//potassium", drawn, after(100, 105), 3.9, "mmol/L", None),
        ("lab:3", "LAB//Hgb", drawn, after(100, 105), 9.1, "g/dL", None),
        ("lab:4", "LAB//pH", drawn, after(100, 75), 7.3, "1", None),
        ("lab:5", "LAB//bedside glucose", drawn, after(100, 75), 140.0, "mg/dL", None),
        ("lab:6", "LAB//troponin - I", drawn, after(100, 70), None, "ng/mL", "<0.02"),
        # Drawn eight hours before the hospital admitted the person: known from admission on.
        ("lab:7", "LAB//sodium", after(100, -600), after(100, -120), 139.0, "mmol/L", None),
    ]


def test_the_hourly_grid_where_there_are_no_raw_rows(tmp_path: Path) -> None:
    grid = pd.DataFrame(
        {
            "stay_id": [100, 101, 101, 210],
            "time": [3600, 0, 7200, 0],
            "mg": [1.6, None, 2.1, 1.0],
            "ph": [None, 7.2, None, None],
            "hr": [80.0, float("nan"), 90.0, 70.0],
            "urine": [50.0, None, None, None],
        }
    )
    columns = "source, code, time, known_time, numeric_value, unit"
    hour = dt.timedelta(hours=1)
    start, later = ADMITTED[101], after(101, 120)
    of_101 = [
        ("hourly:101/0/ph", "LAB//pH", start, start + 1.25 * hour, 7.2, "1"),
        ("hourly:101/7200/hr", "VITAL//heartrate", later, later + hour, 90.0, "/min"),
        ("hourly:101/7200/mg", "LAB//magnesium", later, later + 1.75 * hour, 2.1, "mg/dL"),
    ]
    cell = after(100, 60)
    vitals = [
        ("hourly:100/3600/hr", "VITAL//heartrate", cell, cell + hour, 80.0, "/min"),
        ("hourly:100/3600/urine", "VITAL//urine output", cell, cell + hour, 50.0, "mL"),
    ]
    magnesium = (
        "hourly:100/3600/mg", "LAB//magnesium", cell, cell + 1.75 * hour, 1.6, "mg/dL",
    )  # fmt: skip
    events = open_source("eicu", write(tmp_path, hourly=grid))
    assert rows(events, "source LIKE 'hourly:%'", columns) == sorted([*vitals, magnesium, *of_101])
    # Stay 100 has raw rows: its specimens come from there alone, its vital signs stay.
    LAB.to_csv(tmp_path / "raw.csv.gz", index=False)
    events = open_source("eicu", tmp_path, lab=tmp_path / "raw.csv.gz")
    assert rows(events, "source LIKE 'hourly:%'", columns) == sorted([*vitals, *of_101])
    assert len(rows(events, "source LIKE 'lab:%'")) == 7


def test_vital_signs_without_a_grid(tmp_path: Path) -> None:
    periodic = pd.DataFrame(
        {
            "patientunitstayid": [100] * 4,
            "observationoffset": [-5, 0, 5, 60],
            "heartrate": [70.0, 80.0, 90.0, None],
            "temperature": [None, None, 37.0, 38.0],
        }
    )
    aperiodic = pd.DataFrame(
        {
            "vitalaperiodicid": [9],
            "patientunitstayid": [100],
            "observationoffset": [3],
            "noninvasivesystolic": [120.0],
            "noninvasivediastolic": [None],
        }
    )
    events = open_source("eicu", write(tmp_path, vitalperiodic=periodic, vitalaperiodic=aperiodic))
    assert rows(events, "source LIKE 'vital%'", "code, time, known_time, numeric_value, unit") == [
        ("VITAL//heartrate", after(100, -60), after(100, 0), 70.0, "/min"),
        ("VITAL//heartrate", after(100, 0), after(100, 60), 85.0, "/min"),
        ("VITAL//noninvasivesystolic", after(100, 3), after(100, 3), 120.0, "mmHg"),
        ("VITAL//temperature", after(100, 0), after(100, 60), 37.0, "Cel"),
        ("VITAL//temperature", after(100, 60), after(100, 120), 38.0, "Cel"),
    ]


def test_csv_and_parquet_give_the_same_events(tmp_path: Path) -> None:
    for name in ("csv", "parquet"):
        (tmp_path / name).mkdir()
    write(tmp_path / "parquet", lab=LAB)
    patient().to_csv(tmp_path / "csv" / "patient.csv", index=False)
    LAB.to_csv(tmp_path / "csv" / "lab.csv.gz", index=False)
    first, second = (open_source("eicu", tmp_path / name) for name in ("csv", "parquet"))
    assert rows(first, "true", "*") == rows(second, "true", "*")


def test_tables_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no table patient"):
        open_source("eicu", tmp_path)
    write(tmp_path, patient=patient().drop(columns="uniquepid"))
    with pytest.raises(InputError, match="has no column uniquepid"):
        open_source("eicu", tmp_path)
    write(tmp_path, patient=patient(uniquepid=None))
    with pytest.raises(InputError, match="7 rows of patient lack uniquepid"):
        open_source("eicu", tmp_path)
    write(tmp_path, patient=pd.concat([patient(), patient().iloc[:2]]))
    with pytest.raises(InputError, match="2 unit stays stand more than once"):
        open_source("eicu", tmp_path)
    write(tmp_path, patient=patient().iloc[:0])
    with pytest.raises(InputError, match="patient is empty"):
        open_source("eicu", tmp_path)
    with pytest.raises(InputError, match="check the option lab"):
        open_source("eicu", tmp_path, lab=tmp_path / "nowhere.csv")
