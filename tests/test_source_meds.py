"""MEDS: what a code means, starts and ends, and the label schema."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from magml.errors import InputError
from magml.events import Events, read_labels
from magml.features import build_features
from magml.sources import open_source
from magml.sources.meds_codes import meaning

WHO = -(2**61) - 3  # does not survive a float


def at(text: str | None) -> dt.datetime | None:
    return None if text is None else dt.datetime.fromisoformat(text)


def write(
    folder: Path,
    rows: list[tuple],
    codes: dict[str, tuple[str | None, list[str] | None]] | None = None,
    **extra: pa.Array,
) -> Path:
    """Write rows of time, code, number, text as two shards."""
    table = pa.table(
        {
            "subject_id": pa.array([WHO] * len(rows), pa.int64()),
            "time": pa.array([at(row[0]) for row in rows], pa.timestamp("us")),
            "code": [row[1] for row in rows],
            "numeric_value": pa.array([(*row, None)[2] for row in rows], pa.float32()),
            "text_value": pa.array([(*row, None, None)[3] for row in rows], pa.large_string()),
            **extra,
        }
    )
    for split, part in (("train", table[:1]), ("tuning", table[1:])):
        (folder / "data" / split).mkdir(parents=True)
        pq.write_table(part, folder / "data" / split / "0.parquet")
    if codes is not None:
        (folder / "metadata").mkdir()
        described = {
            "code": list(codes),
            "description": pa.array([text for text, _ in codes.values()], pa.string()),
            "parent_codes": pa.array(
                [parents for _, parents in codes.values()], pa.list_(pa.string())
            ),
        }
        pq.write_table(pa.table(described), folder / "metadata" / "codes.parquet")
    return folder


def read(events: Events) -> list[tuple]:
    """Return code, time, known, end, value, unit of the events, in order."""
    found = events.connection.execute(
        "SELECT subject_id, code, time, known_time, end_time, numeric_value, unit "
        f"FROM {events.relation}"
    ).fetchall()
    assert {row[0] for row in found} == {WHO}
    return sorted((row[1:] for row in found), key=str)


def row(code: str, time: str | None, known: str | None, end: str | None = None, *more: object):
    value, unit = (*more, None, None)[:2]
    return (code, at(time), at(known), at(end), value, unit)


def test_labs_units_and_the_turnaround(tmp_path: Path) -> None:
    eight, nine = "2020-01-01 08:00", "2020-01-01 09:00"
    folder = write(
        tmp_path,
        [
            (None, "GENDER//F"),
            ("1950-01-01", "MEDS_BIRTH"),
            (eight, "LAB//RESULT//50960//mg/dL", 1.7, "1.7"),
            (eight, "LAB//SPECIMEN_COLLECTED//50960"),
            (eight, "LAB//51000//UNK", 3.0),
            (eight, "LAB//potassium//mmol/L", 4.1),
            (eight, "LOINC//8867-4///min", 80),
            (eight, "LAB//220045//bpm", 81),
            (eight, "VITAL//RR///min", 18),
            ("2020-01-01", "LAB//potassium//mmol/L", 4.2),
            (None, "LAB//potassium//mmol/L", 4.3),
        ],
        {
            "LAB//RESULT//50960//mg/dL": ("Magnesium", ["LOINC/2601-3", "LOCAL/77"]),
            "LAB//51000//UNK": ("Triglycerides", None),
            "LAB//220045//bpm": ("Heart Rate", ["LOINC/8867-4"]),
        },
    )
    assert read(open_source("meds", folder)) == sorted(
        [
            row("GENDER//F", None, None),
            row("MEDS_BIRTH", "1950-01-01", None),
            # Single precision holds 1.7000000477; the number that was written comes back.
            row("LOINC//2601-3", eight, nine, None, 1.7, "mg/dL"),
            row("LAB//Triglycerides", eight, nine, None, 3.0, None),
            row("LAB//potassium", eight, nine, None, 4.1, "mmol/L"),
            row("LOINC//8867-4", eight, eight, None, 80.0, "/min"),
            row("LOINC//8867-4", eight, eight, None, 81.0, "bpm"),
            row("VITAL//RR", eight, eight, None, 18.0, "/min"),
            # A date is known at the end of its day; what has no time holds always.
            row("LAB//potassium", "2020-01-01", "2020-01-02", None, 4.2, "mmol/L"),
            row("LAB//potassium", None, None, None, 4.3, "mmol/L"),
        ],
        key=str,
    )
    prompt = read(open_source("meds", folder, lab_turnaround="0min", midnight="clock"))
    assert row("LOINC//2601-3", eight, eight, None, 1.7, "mg/dL") in prompt
    assert row("LAB//potassium", "2020-01-01", "2020-01-01", None, 4.2, "mmol/L") in prompt
    renamed = open_source(
        "meds",
        folder,
        names={"LAB//potassium": "LOINC//2823-3"},
        units={"LOINC//2823-3": "meq/L"},
    )
    assert row("LOINC//2823-3", eight, nine, None, 4.1, "meq/L") in read(renamed)


def test_starts_are_paired_with_the_next_end_of_the_same(tmp_path: Path) -> None:
    day = [f"2020-01-0{number} 10:00" for number in range(1, 10)]
    folder = write(
        tmp_path,
        [
            (day[0], "HOSPITAL_ADMISSION//URGENT//UNK"),
            (day[0], "ICU_ADMISSION//Medical Intensive Care Unit (MICU)"),
            (day[1], "ICU_DISCHARGE//Somewhere else"),
            (day[2], "HOSPITAL_DISCHARGE//HOME"),
            (day[2], "DIAGNOSIS//ICD//10//E119"),
            (day[2], "DIAGNOSIS//ICD//9//25000"),
            # The first of these has no end of its own and must not take the second's.
            (day[4], "HOSPITAL_ADMISSION//URGENT//UNK"),
            (day[6], "HOSPITAL_ADMISSION//URGENT//UNK"),
            (day[7], "HOSPITAL_DISCHARGE//HOME"),
            (day[0], "MEDICATION//START//Pantoprazole"),
            (day[1], "MEDICATION//STOP//Pantoprazole"),
            (day[1], "MEDICATION//START//Pantoprazole"),
            (day[1], "MEDICATION//STOP//Aspirin"),
            (day[3], "MEDICATION//Furosemide//Administered"),
            (day[3], "MEDICATION//Furosemide//Not Given"),
            (day[3], "INFUSION_START//221906", 0.1),
            (day[4], "INFUSION_END//221906", 5.0),
        ],
        {"INFUSION_START//221906": ("Norepinephrine", ["RxNorm/7512"])},
    )
    assert read(open_source("meds", folder)) == sorted(
        [
            row("VISIT//inpatient", day[0], day[0], day[2]),
            row("VISIT//icu", day[0], day[0], day[1]),
            row("UNIT//Medical Intensive Care Unit (MICU)", day[0], day[0], day[1]),
            row("ICD10CM//E119", day[2], day[2]),
            row("ICD9CM//25000", day[2], day[2]),
            row("VISIT//inpatient", day[4], day[4]),
            row("VISIT//inpatient", day[6], day[6], day[7]),
            row("DRUG//Pantoprazole", day[0], day[0], day[1]),
            row("DRUG//Pantoprazole", day[1], day[1]),
            row("DRUG//Furosemide", day[3], day[3], day[4]),
            row("RxNorm//7512", day[3], day[3], day[4], pytest.approx(0.1)),
            row("DRUG//Norepinephrine", day[3], day[3], day[4], pytest.approx(0.1)),
        ],
        key=str,
    )


def test_a_diagnosis_stamped_at_discharge_is_unknown_during_the_stay(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        [
            ("2020-01-01 10:00", "HOSPITAL_ADMISSION//URGENT//UNK"),
            ("2020-01-03 10:00", "HOSPITAL_DISCHARGE//HOME"),
            ("2020-01-03 10:00", "DIAGNOSIS//ICD//10//E119"),
        ],
    )
    times = ["2020-01-02 10:00:00", "2020-01-03 10:00:00", "2020-01-03 10:00:01"]
    frame = build_features(
        open_source("meds", folder),
        pd.DataFrame({"subject_id": WHO, "prediction_time": pd.to_datetime(times)}),
        features=["comorbidity.diabetes.present"],
    )
    assert frame["comorbidity.diabetes.present"].tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("LOINC/2823-3", ("LOINC//2823-3",)),
        ("RxNorm/308182", ("RxNorm//308182",)),
        ("ICD10/E11.9", ("ICD10CM//E11.9",)),
        ("Gender/F", ("GENDER//F",)),
        ("RACE//WHITE", ("RACE//WHITE",)),
        ("Visit/IP", ("VISIT//inpatient",)),
        ("PROCEDURE//ICD//9//3893", ("ICD9Proc//3893",)),
        ("TRANSFER_TO//admit//Neurology", ("UNIT//Neurology",)),
        ("SUBJECT_WEIGHT_AT_INFUSION//KG", ("VITAL//weight",)),
        ("MEDS_DEATH", ("MEDS_DEATH",)),
        ("CARE//NPO", ("CARE//NPO",)),
        ("MEDICATION//START//UNK", ()),
        ("HOSPITAL_DISCHARGE//HOME", ()),
        ("a code of nobody else", ("a code of nobody else",)),
    ],
)
def test_codes_as_data_sets_write_them(code: str, expected: tuple[str, ...]) -> None:
    assert meaning(code).codes == expected


def test_columns_beyond_meds_are_taken_as_they_are(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        [
            ("2020-01-01 08:00", "LOINC//2823-3", 4.0),
            ("2020-01-01 09:00", "LOINC//2823-3", 4.4),
        ],
        known_time=pa.array([at("2020-01-01 08:20"), None], pa.timestamp("us")),
        end_time=pa.array([None, at("2020-01-02 08:00")], pa.timestamp("us")),
        unit=["mmol/L", "mmol/L"],
        hadm_id=pa.array([5, None], pa.int64()),
    )
    events = open_source("meds", folder)
    assert read(events) == sorted(
        [
            row("LOINC//2823-3", "2020-01-01 08:00", "2020-01-01 08:20", None, 4.0, "mmol/L"),
            row(
                "LOINC//2823-3",
                "2020-01-01 09:00",
                "2020-01-01 10:00",
                "2020-01-02 08:00",
                pytest.approx(4.4),
                "mmol/L",
            ),
        ],
        key=str,
    )
    visits = events.connection.execute(
        f"SELECT visit_id, source FROM {events.relation} ORDER BY time"
    ).fetchall()
    assert visits == [("5", "meds:LOINC//2823-3"), (None, "meds:LOINC//2823-3")]


def test_labels_of_the_standard_are_read_as_they_are(tmp_path: Path) -> None:
    folder = write(tmp_path, [("2020-01-01 08:00", "LOINC//2823-3", 4.0), (None, "GENDER//F")])
    labels = pa.table(
        {
            "subject_id": pa.array([WHO], pa.int64()),
            "prediction_time": pa.array([at("2020-01-02")], pa.timestamp("us")),
            "boolean_value": [True],
            "integer_value": pa.array([None], pa.int64()),
            "float_value": pa.array([None], pa.float32()),
            "categorical_value": pa.array([None], pa.string()),
        }
    )
    (folder / "labels").mkdir()
    pq.write_table(labels, folder / "labels" / "0.parquet")
    events = open_source("meds", folder)
    assert events.count() == 2  # labels are not data
    relation = read_labels(folder / "labels", events.connection)
    assert events.connection.execute(f"SELECT * FROM {relation}").fetchall() == [
        (WHO, at("2020-01-02"), True)
    ]


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no Parquet shards"):
        open_source("meds", tmp_path / "empty")
    folder = tmp_path / "wrong"
    (folder / "data").mkdir(parents=True)
    shard = folder / "data" / "0.parquet"
    for table, told in (
        ({"subject_id": [1], "time": [at("2020-01-01")]}, "no column code"),
        ({"subject_id": ["a"], "time": [at("2020-01-01")], "code": ["x"]}, "of type VARCHAR"),
        ({"subject_id": [1], "time": ["monday"], "code": ["x"]}, "column 'time'"),
        (
            {"subject_id": pa.array([None], pa.int64()), "time": [at("2020-01-01")], "code": ["x"]},
            "1 of 1 rows have no subject_id",
        ),
    ):
        pq.write_table(pa.table(table), shard)
        with pytest.raises(InputError, match=told):
            open_source("meds", folder)
    shard.write_bytes(b"Jane Doe")
    with pytest.raises(InputError, match="cannot be read") as caught:
        open_source("meds", folder)
    assert "Jane" not in str(caught.value)
