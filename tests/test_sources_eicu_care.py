"""eICU: drugs, diagnoses, treatments and charted care, table by table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from magml.sources import open_source
from tests.eicu_tables import after, rows, write


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
        (f"medication:{number}", f"DRUG//{name}//inpatient", text, after(100, 60), known, end)
        for number, name, text, known, end in (
            (1, "furosemide 40 mg", "scheduled; IV", after(100, 10), after(100, 600)),
            (2, "omeprazole", "scheduled; PO", after(100, 90), after(100, 4320)),
            (3, "magnesium sulfate//as needed", "prn", after(100, 10), after(100, 900)),
            (8, "insulin", "scheduled; SC", after(100, 10), after(100, 4320)),
        )
    ]
    (note,) = [note for note in events.notes if note.startswith("medication")]
    assert note.startswith(
        "medication: 0 of 8 orders have no drug name and were given the commonest of their "
        "drughiclseqno; 1 without a drug name, 1 cancelled, 1 stopped before their start and 1 "
        "that start after discharge"
    )


def test_orders_without_a_name_take_the_commonest_of_their_number(tmp_path: Path) -> None:
    names = ["LASIX", "furosemide", "furosemide", None, " ", None, "aspirin", None]
    numbers = [3660, 3660, 3660, 3660, 3660, 77, 0, 0]
    medication = pd.DataFrame(
        [
            (k, 100, 10, 60, 600, name, number)
            for k, (name, number) in enumerate(zip(names, numbers, strict=True))
        ],
        columns=[
            "medicationid", "patientunitstayid", "drugorderoffset", "drugstartoffset",
            "drugstopoffset", "drugname", "drughiclseqno",
        ],
    )  # fmt: skip
    events = open_source("eicu", write(tmp_path, medication=medication))
    found = rows(events, "code LIKE 'DRUG//%'", "source, code")
    assert [code.split("//")[1] for _, code in found] == ["LASIX", *["furosemide"] * 4, "aspirin"]
    assert any(
        note.startswith("medication: 2 of 8 orders have no drug name") for note in events.notes
    )


def test_doses_of_orders(tmp_path: Path) -> None:
    written = [
        ("40 mg", "BID", "No", 80.0, "mg/d"),
        ("1,000 MG", "Once X1", "No", 1000.0, "MG"),
        ("2 g", "q 6 hour", "No", 8.0, "g/d"),
        ("40 mg", "Daily", "Yes", None, None),  # as needed: how often is not known
        ("40 mg", "See Admin Notes", "No", None, None),
        ("40 mg", None, "No", None, None),
        ("4 3", "Daily", "No", None, None),  # a number for a unit
        ("50 mL/hr", "Continuous", "No", 50.0, "mL/hr"),
        ("20 MEQ", "Q1H X2", "No", None, None),
    ]
    medication = pd.DataFrame(
        [
            (k, 100, 10, 60, 600, f"drug {k}", dosage, frequency, prn)
            for k, (dosage, frequency, prn, _, _) in enumerate(written)
        ],
        columns=[
            "medicationid", "patientunitstayid", "drugorderoffset", "drugstartoffset",
            "drugstopoffset", "drugname", "dosage", "frequency", "prn",
        ],
    )  # fmt: skip
    events = open_source("eicu", write(tmp_path, medication=medication))
    found = rows(events, "code LIKE 'DRUG//%'", "source, numeric_value, unit")
    assert found == [
        (f"medication:{k}", value, unit) for k, (_, _, _, value, unit) in enumerate(written)
    ]


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
    magnesium, propofol = "DRUG//Magnesium Sulfate//inpatient", "DRUG//Propofol//inpatient"
    at = lambda minutes: after(100, minutes)  # noqa: E731
    assert rows(events, "code LIKE 'DRUG//%'", columns) == [
        ("infusiondrug:1", magnesium, at(0), at(0), at(90), 2.0, "gm/hr", "infusion"),
        ("infusiondrug:3", magnesium, at(90), at(90), at(120), 1.5, "gm/hr", "infusion"),
        ("infusiondrug:5", magnesium, at(200), at(200), at(440), 1.0, "gm/hr", "infusion"),
        ("infusiondrug:6", propofol, at(30), at(30), at(270), 10.0, None, "infusion"),
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
        ("DRUG//LASIX//outpatient", after(100, 20), after(100, 50), None, "home"),
        ("DRUG//OMEPRAZOLE//outpatient", after(100, -500), after(100, -120), None, "home"),
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
