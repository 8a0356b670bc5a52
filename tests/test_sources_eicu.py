"""The layout eicu: its artificial timeline and when each table's rows are known."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from magml.errors import InputError
from magml.events import Events
from magml.sources import open_source

#: Unit stay, hospitalisation, person, age, year, clock time, hospital admission and discharge and
#: unit discharge as minutes from unit admission.
STAYS = [
    (100, 10, "a-1", "60", 2014, "08:00:00", -120, 4320, 600),
    (101, 10, "a-1", "60", 2014, "08:00:00", -1560, 2880, 500),
    (110, 11, "a-1", "61", 2015, "23:30:00", -30, 5000, 4000),
    # Same year, same age: nothing tells which came first.
    (200, 20, "b-2", "> 89", 2014, "12:00:00", 60, 2000, 900),
    (210, 21, "b-2", "> 89", 2014, "07:00:00", 0, 1000, 900),
    # Same year, the age tells: 31 came before 30.
    (300, 30, "c-3", "71", 2014, "10:00:00", 0, 1440, 1000),
    (310, 31, "c-3", "70", 2014, "06:15:00", 0, 1440, 1000),
]
#: When each unit stay that is kept begins, worked out by hand. Stay 200 enters the unit an hour
#: before the hospital, at noon of the second day; stay 300 follows a day in hospital, the day of
#: admission and 30 days.
ADMITTED = {
    100: dt.datetime(2014, 1, 1, 10, 0),
    101: dt.datetime(2014, 1, 2, 10, 0),
    110: dt.datetime(2015, 1, 2, 0, 0),
    200: dt.datetime(2014, 1, 2, 11, 0),
    310: dt.datetime(2014, 1, 1, 6, 15),
    300: dt.datetime(2014, 2, 2, 10, 0),
}


def patient(**columns: Any) -> pd.DataFrame:
    """Return the table patient for `STAYS`, with columns replaced."""
    names = (
        "patientunitstayid", "patienthealthsystemstayid", "uniquepid", "age",
        "hospitaldischargeyear", "hospitaladmittime24", "hospitaladmitoffset",
        "hospitaldischargeoffset", "unitdischargeoffset",
    )  # fmt: skip
    frame = pd.DataFrame(STAYS, columns=list(names)).assign(
        gender="Female",
        ethnicity="Caucasian",
        hospitalid=59,
        admissionheight=160.0,
        admissionweight=70.5,
        dischargeweight=69.0,
        unittype="MICU",
        unitadmitsource="Operating Room",
        hospitaldischargestatus="Alive",
    )
    return frame.assign(**columns)


def write(folder: Path, **tables: pd.DataFrame) -> Path:
    """Write tables as Parquet, `patient` among them, and return the folder."""
    for name, frame in {"patient": patient(), **tables}.items():
        frame.to_parquet(folder / f"{name}.parquet")
    return folder


def rows(
    events: Events, where: str, columns: str = "code, time, known_time"
) -> list[tuple[Any, ...]]:
    """Return chosen rows in a fixed order."""
    return events.connection.execute(
        f"SELECT {columns} FROM {events.relation} WHERE {where} ORDER BY ALL"
    ).fetchall()


def after(stay: int, minutes: float) -> dt.datetime:
    """Return a moment as the tables give it: minutes after a unit admission."""
    return ADMITTED[stay] + dt.timedelta(minutes=minutes)


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


def test_medication_orders(tmp_path: Path) -> None:
    medication = pd.DataFrame(
        [
            (1, 100, 10, 60, 600, "furosemide 40 mg", "No", "IV", "No"),  # before its start
            (2, 100, 90, 60, 0, "omeprazole", "No", "PO", "No"),  # afterwards; end unknown
            (3, 100, 10, 60, 900, "magnesium sulfate", "No", None, "Yes"),
            (4, 100, 10, 60, 900, "heparin", "Yes", "IV", "No"),  # cancelled
            (5, 100, 10, 60, 900, None, "No", "IV", "No"),  # without a name
            (6, 100, 10, 60, 30, "lisinopril", "No", "PO", "No"),  # stopped before its start
            (7, 100, 10, 9000, 9999, "aspirin", "No", "PO", "No"),  # starts after discharge
            (8, 100, 10, 60, 99999, "insulin", "No", "SC", "No"),  # ends after discharge
        ],
        columns=[
            "medicationid", "patientunitstayid", "drugorderoffset", "drugstartoffset",
            "drugstopoffset", "drugname", "drugordercancelled", "routeadmin", "prn",
        ],
    )  # fmt: skip
    events = open_source("eicu", write(tmp_path, medication=medication))
    assert rows(
        events, "code LIKE 'DRUG//%'", "source, code, text_value, time, known_time, end_time"
    ) == [
        (f"medication:{number}", f"DRUG//{name}", text, after(100, 60), after(100, known), end)
        for number, name, text, known, end in (
            (1, "furosemide 40 mg", "scheduled; IV", 10, after(100, 600)),
            (2, "omeprazole", "scheduled; PO", 90, after(100, 4320)),
            (3, "magnesium sulfate", "prn", 10, after(100, 900)),
            (8, "insulin", "scheduled; SC", 10, after(100, 4320)),
        )
    ]
    (note,) = [note for note in events.notes if note.startswith("medication")]
    assert note.startswith(
        "medication: of 8 orders, 1 without a drug name, 1 cancelled, 1 stopped before their start"
        " and 1 that start after discharge"
    )


def test_infusions_hold_until_the_next_charting(tmp_path: Path) -> None:
    infusion = pd.DataFrame(
        [
            (1, 0, "Magnesium Sulfate (gm/hr)", "2"),
            (2, 60, "Magnesium Sulfate (gm/hr)", "ERROR"),
            (3, 90, "Magnesium Sulfate (gm/hr)", "1.5"),
            (4, 120, "Magnesium Sulfate (gm/hr)", "0"),
            (5, 200, "Magnesium Sulfate (gm/hr)", "1"),
            (6, 30, "Propofol ()", "10"),
        ],
        columns=["infusiondrugid", "infusionoffset", "drugname", "drugrate"],
    ).assign(patientunitstayid=100)
    columns = "source, code, time, known_time, end_time, numeric_value, unit, text_value"
    events = open_source("eicu", write(tmp_path, infusiondrug=infusion))
    magnesium = "DRUG//Magnesium Sulfate"
    at = lambda minutes: after(100, minutes)  # noqa: E731
    assert rows(events, "code LIKE 'DRUG//%'", columns) == [
        ("infusiondrug:1", magnesium, at(0), at(0), at(90), 2.0, "gm/hr", "infusion"),
        ("infusiondrug:3", magnesium, at(90), at(90), at(120), 1.5, "gm/hr", "infusion"),
        ("infusiondrug:5", magnesium, at(200), at(200), at(440), 1.0, "gm/hr", "infusion"),
        ("infusiondrug:6", "DRUG//Propofol", at(30), at(30), at(270), 10.0, None, "infusion"),
    ]
    shorter = open_source("eicu", tmp_path, infusion_gap="1h")
    assert rows(shorter, "source = 'infusiondrug:1'", "end_time") == [(at(60),)]


def test_what_was_taken_before_admission(tmp_path: Path) -> None:
    admission = pd.DataFrame(
        {
            "admissiondrugid": [1, 2],
            "patientunitstayid": [100, 100],
            "drugoffset": [20, -500],
            "drugenteredoffset": [50, -400],
            "drugname": ["LASIX", "OMEPRAZOLE"],
        }
    )
    events = open_source("eicu", write(tmp_path, admissiondrug=admission))
    assert rows(events, "code LIKE 'DRUG//%'", "code, time, known_time, end_time, text_value") == [
        ("DRUG//LASIX", after(100, 20), after(100, 50), None, "home"),
        ("DRUG//OMEPRAZOLE", after(100, -500), after(100, -120), None, "home"),
    ]


def test_diagnoses_and_their_codes(tmp_path: Path) -> None:
    diagnosis = pd.DataFrame(
        {
            "diagnosisid": [1, 2, 3, 4],
            "patientunitstayid": [100] * 4,
            "diagnosisoffset": [30, 40, 50, 60],
            "diagnosisstring": ["a|hypertension", "b|overdose", "c|tracheostomy", "d|pneumonia"],
            "icd9code": ["401.9, I10", "E980.2, 965.00, T40.60", "31.1", "486, 486, V08, J18.9"],
        }
    )
    events = open_source("eicu", write(tmp_path, diagnosis=diagnosis))
    found = rows(events, "source LIKE 'diagnosis:%'")
    expected = {
        30: ["CONDITION//a|hypertension", "ICD10CM//I10", "ICD9CM//401.9"],
        40: ["CONDITION//b|overdose", "ICD10CM//T40.60", "ICD9CM//965.00", "ICD9CM//E980.2"],
        50: ["CONDITION//c|tracheostomy"],
        60: ["CONDITION//d|pneumonia", "ICD10CM//J18.9", "ICD9CM//486", "ICD9CM//V08"],
    }
    assert found == sorted(
        (code, after(100, minute), after(100, minute))
        for minute, codes in expected.items()
        for code in codes
    )


def test_history_admission_diagnosis_treatment_and_plans(tmp_path: Path) -> None:
    stay = {"patientunitstayid": [100, 100]}
    history = "notes/Progress Notes/Past History"
    events = open_source(
        "eicu",
        write(
            tmp_path,
            pasthistory=pd.DataFrame(
                {
                    "pasthistoryid": [1, 2],
                    **stay,
                    "pasthistoryoffset": [5, 5],
                    "pasthistoryenteredoffset": [17, 17],
                    "pasthistorypath": [
                        f"{history}/Organ Systems/Hematology/Oncology (R)/Cancer/Cancer",
                        f"{history}/Past History Obtain Options/Performed",
                    ],
                }
            ),
            admissiondx=pd.DataFrame(
                {
                    "admissiondxid": [1, 2],
                    **stay,
                    "admitdxenteredoffset": [40, 40],
                    "admitdxpath": [
                        "admission diagnosis|All Diagnosis|Non-operative|Diagnosis|Renal|Failure",
                        "admission diagnosis|Elective|Yes",
                    ],
                }
            ),
            treatment=pd.DataFrame(
                {
                    "treatmentid": [1, 2],
                    **stay,
                    "treatmentoffset": [70, 80],
                    "treatmentstring": ["renal|dialysis|CVVH", None],
                }
            ),
            careplangeneral=pd.DataFrame(
                {
                    "cplgeneralid": [1, 2],
                    **stay,
                    "cplitemoffset": [90, 95],
                    "cplgroup": ["Route-Status", "Route-Status"],
                    "cplitemvalue": ["NPO", None],
                }
            ),
        ),
    )
    assert rows(events, "split_part(source, ':', 1) <> 'patient'") == [
        ("CARE//Route-Status|NPO", after(100, 90), after(100, 90)),
        ("CONDITION//Non-operative|Diagnosis|Renal|Failure", after(100, 40), after(100, 40)),
        ("CONDITION//history/Hematology/Oncology (R)/Cancer/Cancer", after(100, 5), after(100, 17)),
        ("PROCEDURE//renal|dialysis|CVVH", after(100, 70), after(100, 70)),
    ]


def test_intake_output_and_weight(tmp_path: Path) -> None:
    root = "flowsheet|Flowsheet Cell Labels|I&O|"
    table = pd.DataFrame(
        [
            (1, 60, 75, f"{root}Output (ml)|Urine", "Urine", 100.0),
            (2, 60, 80, f"{root}Output (ml)|Foley cath", "Foley cath", 20.0),
            (3, 60, 75, f"{root}Output (ml)|Urine Count", "Urine Count", 1.0),
            (4, 60, 20, f"{root}Output (ml)|Stool", "Stool", 200.0),  # entered before it happened
            (5, 60, 75, f"{root}Intake (ml)|Nutrition (ml)|TPN", "TPN", 65.0),
            (6, 60, 75, f"{root}Intake (ml)|Nutrition (ml)|% Eaten", "% Eaten", 75.0),
            (7, 60, 75, f"{root}Weight|Bodyweight (kg)", "Bodyweight (kg)", 80.0),
            (8, 60, 75, f"{root}Weight|Bodyweight (lb)", "Bodyweight (lb)", 176.4),
        ],
        columns=[
            "intakeoutputid", "intakeoutputoffset", "intakeoutputentryoffset", "cellpath",
            "celllabel", "cellvaluenumeric",
        ],
    ).assign(patientunitstayid=100)  # fmt: skip
    grid = pd.DataFrame({"stay_id": [100], "time": [3600], "urine": [120.0], "hr": [70.0]})
    events = open_source("eicu", write(tmp_path, intakeoutput=table, hourly=grid))
    noted = after(100, 75)
    assert rows(
        events, "source LIKE 'intake%'", "code, known_time, numeric_value, unit, source"
    ) == [
        ("CARE//Intake|% Eaten", noted, 75.0, "%", "intakeoutput:6"),
        ("CARE//Intake|TPN", noted, 65.0, "mL", "intakeoutput:5"),
        ("CARE//Output|Stool", after(100, 60), 200.0, "mL", "intakeoutput:4"),
        ("CARE//Output|Urine Count", noted, 1.0, "1", "intakeoutput:3"),
        ("VITAL//Bodyweight", noted, 80.0, "kg", "intakeoutput:7"),
        ("VITAL//Bodyweight", noted, 176.4, "lb", "intakeoutput:8"),
        ("VITAL//urine output", after(100, 80), 120.0, "mL", "intakeoutput:1"),
    ]
    assert rows(events, "source LIKE 'hourly:%'", "code") == [("VITAL//heartrate",)], (
        "the grid's urine is the same millilitres"
    )


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


@pytest.fixture(scope="module")
def demo(shared_data: Path) -> Events:
    """The eICU demo as a stored table."""
    return open_source("eicu", shared_data / "eicu_demo").materialise()


@pytest.fixture(scope="module")
def kept(shared_data: Path) -> pd.DataFrame:
    """Stays whose place is known, by another way: a loop over each person's hospitalisations."""
    table = pd.read_parquet(shared_data / "eicu_demo" / "patient.parquet")
    table["years"] = pd.to_numeric(table.age.replace("> 89", "90"))
    hospitalisations = table.drop_duplicates("patienthealthsystemstayid")
    keep: set[int] = set()
    for _, of_year in hospitalisations.groupby(["uniquepid", "hospitaldischargeyear"]):
        known = of_year.dropna(subset="years")
        if known.empty:
            keep.add(of_year.patienthealthsystemstayid.min())
        for _, same in known.groupby("years"):
            keep.add(same.patienthealthsystemstayid.min())
    return table[table.patienthealthsystemstayid.isin(keep)]


@pytest.mark.data
def test_demo_counts_against_pandas(shared_data: Path, demo: Events, kept: pd.DataFrame) -> None:
    stays = set(kept.patientunitstayid)

    def table(name: str) -> pd.DataFrame:
        frame = pd.read_parquet(shared_data / "eicu_demo" / f"{name}.parquet")
        return frame[frame["stay_id" if name == "hourly" else "patientunitstayid"].isin(stays)]

    counts = {
        (source, code): number
        for source, code, number in demo.connection.execute(
            f"SELECT split_part(source, ':', 1), code, count(*) FROM {demo.relation} GROUP BY ALL"
        ).fetchall()
    }

    def total(source: str, prefix: str) -> int:
        return sum(n for (s, c), n in counts.items() if s == source and c.startswith(prefix))

    assert counts["patient", "VISIT//icu"] == len(kept)
    assert counts["patient", "VISIT//inpatient"] == kept.patienthealthsystemstayid.nunique()
    grid = table("hourly")
    assert counts["hourly", "LAB//magnesium"] == grid.mg.notna().sum()
    assert counts["hourly", "VITAL//heartrate"] == grid.hr.notna().sum()
    medication = table("medication").dropna(subset="drugname")
    medication = medication[medication.drugordercancelled != "Yes"]
    late = medication.drugstopoffset < medication.drugstartoffset
    medication = medication[~(late & (medication.drugstopoffset != 0))]
    ends = kept.assign(end=kept[["hospitaldischargeoffset", "unitdischargeoffset"]].max(axis=1))
    ends["at"] = ends.end - ends.hospitaladmitoffset
    last = ends.patienthealthsystemstayid.map(ends.groupby("patienthealthsystemstayid")["at"].max())
    end_of = dict(zip(ends.patientunitstayid, last + ends.hospitaladmitoffset, strict=True))
    before = medication.drugstartoffset < medication.patientunitstayid.map(end_of)
    assert total("medication", "DRUG//") == before.sum()
    diagnosis = table("diagnosis")
    assert total("diagnosis", "CONDITION//") == len(diagnosis)
    codes = diagnosis.assign(code=diagnosis.icd9code.str.split(", ")).explode("code")
    written = codes.drop_duplicates(["diagnosisid", "code"]).code.dropna().tolist()
    assert total("diagnosis", "ICD") == len(written) - written.count("31.1")
    assert total("diagnosis", "ICD10CM//E83.42") == written.count("E83.42") > 100
    assert total("treatment", "PROCEDURE//") == table("treatment").treatmentstring.notna().sum()
    assert total("careplangeneral", "CARE//") == table("careplangeneral").cplitemvalue.notna().sum()
    rates = pd.to_numeric(table("infusiondrug").drugrate, errors="coerce")
    assert total("infusiondrug", "DRUG//") == (rates > 0).sum()


@pytest.mark.data
def test_demo_nothing_is_known_before_it_happened(demo: Events) -> None:
    early = demo.connection.execute(
        f"SELECT DISTINCT split_part(source, ':', 1) FROM {demo.relation} WHERE known_time < time"
    ).fetchall()
    assert early == [("medication",)], "orders alone are known before they start"
    assert demo.connection.execute(
        f"SELECT count(*) FROM {demo.relation} WHERE code LIKE 'LAB//%' "
        "AND (known_time IS NULL OR known_time <= time)"
    ).fetchall() == [(0,)]
    assert demo.connection.execute(
        f"SELECT count(*) FROM {demo.relation} WHERE known_time IS NULL "
        "AND code <> 'MEDS_BIRTH' AND code NOT LIKE 'GENDER//%' AND code NOT LIKE 'RACE//%'"
    ).fetchall() == [(0,)]
    assert demo.connection.execute(
        f"SELECT count(*) FROM {demo.relation} WHERE end_time < time"
    ).fetchall() == [(0,)]


@pytest.mark.data
def test_demo_hospitalisations_do_not_overlap(demo: Events) -> None:
    overlaps = demo.connection.execute(
        f"""
        WITH v AS (SELECT subject_id, time, end_time, visit_id FROM {demo.relation}
                   WHERE code = 'VISIT//inpatient')
        SELECT count(*) FROM v a JOIN v b ON a.subject_id = b.subject_id
        AND a.visit_id <> b.visit_id AND a.time <= b.time AND b.time < a.end_time + INTERVAL 30 DAY
        """
    ).fetchall()
    assert overlaps == [(0,)]


@pytest.mark.data
def test_demo_grid_is_later_than_the_raw_rows_of_the_same_stays(shared_data: Path) -> None:
    folder = shared_data / "eicu_demo"
    grid = open_source("eicu", folder)
    raw = open_source("eicu", folder, lab=folder / "raw_lab_subset" / "lab.csv.gz")
    query = "SELECT visit_id, numeric_value, time, known_time FROM {} WHERE code = 'LAB//potassium'"
    from_grid = grid.connection.execute(query.format(grid.relation)).df()
    from_raw = raw.connection.execute(query.format(raw.relation) + " AND source LIKE 'lab:%'").df()
    from_raw["cell"] = from_raw.time.dt.floor("min")
    joined = from_raw.merge(from_grid, on=["visit_id", "numeric_value"], suffixes=("", "_grid"))
    inside = (joined.time >= joined.time_grid) & (
        joined.time < joined.time_grid + pd.Timedelta(hours=1)
    )
    joined = joined[inside]
    assert len(joined) > 300
    # The grid's time precedes the draw; its known_time does not precede the result by much, and
    # mostly not at all.
    assert ((joined.known_time_grid - joined.time) >= pd.Timedelta(minutes=45)).all()
    assert (joined.known_time_grid >= joined.known_time).mean() > 0.8
    # No laboratory value of a stay stands there twice.
    assert raw.connection.execute(
        f"SELECT count(*) FROM (SELECT visit_id FROM {raw.relation} WHERE code LIKE 'LAB//%' "
        "GROUP BY visit_id HAVING count(DISTINCT split_part(source, ':', 1)) > 1)"
    ).fetchall() == [(0,)]
