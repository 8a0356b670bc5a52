"""The same people written as plain tables, as MEDS and as OMOP, for the round trip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from magml.simulation import generate_hospital

TURNAROUND = pd.Timedelta(minutes=60)
STAY = pd.Timedelta(days=4)
VITALS = {"LOINC//8867-4": "heart_rate", "LOINC//8480-6": "pressure"}

PLAIN = """
tables:
  - file: people.{ending}
    person: patient
    events:
      - {{code: MEDS_BIRTH, time: born}}
      - {{code: {{column: sex, vocabulary: GENDER, values: {{w: F, m: M}}}}, static: true}}
      - {{code: {{column: house, vocabulary: SITE}}, static: true}}
  - file: stays.{ending}
    person: patient
    time: admitted
    known: at once
    events:
      - {{code: VISIT//inpatient, end: left}}
  - file: labs.{ending}
    person: patient
    key: row
    time: drawn
    known: {{after: 60min}}
    events:
      - {{code: {{column: test, vocabulary: LAB}}, value: result, unit: {{column: unit}}}}
  - file: charts.{ending}
    person: patient
    time: charted
    known: at once
    events:
      - {{code: LOINC//8867-4, value: heart_rate, unit: /min}}
      - {{code: LOINC//8480-6, value: pressure, unit: "mm[Hg]"}}
  - file: drugs.{ending}
    person: patient
    time: started
    known: at once
    events:
      - {{code: {{column: atc, vocabulary: ATC}}}}
  - file: diagnoses.{ending}
    person: patient
    time: admitted
    known: left
    events:
      - {{code: {{column: icd, vocabulary: ICD10CM}}}}
  - file: orders.{ending}
    person: patient
    time: at
    known: at once
    events:
      - {{code: {{column: what, vocabulary: CARE}}}}
names:
{names}
"""


def truth(n: int = 60, seed: int = 7) -> pd.DataFrame:
    """Return the events that every layout must give: results an hour after the draw."""
    frame = generate_hospital(n, seed=seed).events.to_pandas()
    for column in ("time", "end_time"):
        # A midnight would be read as a date without clock time.
        at_midnight = frame[column].notna() & (frame[column].dt.normalize() == frame[column])
        frame.loc[at_midnight, column] += pd.Timedelta(minutes=1)
    kind = frame["source"].str.partition(":")[0]
    frame["kind"] = kind
    frame["known_time"] = frame["time"]
    frame.loc[kind == "lab", "known_time"] += TURNAROUND
    frame.loc[kind == "diagnosis", "known_time"] += STAY
    frame.loc[frame["code"] == "MEDS_BIRTH", "known_time"] = pd.NaT
    assert not (frame["known_time"].dt.normalize() == frame["known_time"]).any()
    return frame.reset_index(drop=True)


def write_plain(frame: pd.DataFrame, folder: Path, ending: str) -> None:
    """Write tables under names of their own, with local laboratory codes, and a mapping."""
    folder.mkdir(parents=True)
    who = frame["subject_id"].rename("patient")

    def table(name: str, rows: pd.Series, **columns: pd.Series) -> None:
        _write(pd.DataFrame({"patient": who, **columns})[rows], folder / f"{name}.{ending}")

    kind, code = frame["kind"], frame["code"]
    born = frame.loc[code == "MEDS_BIRTH"].set_index("subject_id")["time"]
    sex = frame.loc[code.str.startswith("GENDER")].set_index("subject_id")["code"]
    site = frame.loc[code.str.startswith("SITE")].set_index("subject_id")["code"]
    people = pd.DataFrame(
        {
            "born": born,
            "sex": sex.map({"GENDER//F": "w", "GENDER//M": "m"}),
            "house": site.str[6:],
        }
    )
    _write(people.rename_axis("patient").reset_index(), folder / f"people.{ending}")
    table("stays", kind == "visit", admitted=frame["time"], left=frame["end_time"])
    local = {c: f"T{i:02d}" for i, c in enumerate(sorted(code[kind == "lab"].unique()))}
    table(
        "labs",
        kind == "lab",
        row=pd.Series(np.arange(len(frame)), index=frame.index),
        drawn=frame["time"],
        test=code.map(local),
        result=frame["numeric_value"],
        unit=frame["unit"],
    )
    vital = frame[kind == "vital"].assign(name=code.map(VITALS))
    wide = vital.pivot(index=["subject_id", "time"], columns="name", values="numeric_value")
    wide = wide.reset_index().rename(columns={"subject_id": "patient", "time": "charted"})
    _write(wide, folder / f"charts.{ending}")
    table("drugs", kind == "drug", started=frame["time"], atc=code.str[5:])
    table(
        "diagnoses",
        kind == "diagnosis",
        admitted=frame["time"],
        left=frame["known_time"],
        icd=code.str[9:],
    )
    table("orders", kind == "care", at=frame["time"], what=code.str[6:])
    names = "\n".join(f"  {name}: {full}" for full, name in local.items())
    (folder / "mapping.yaml").write_text(PLAIN.format(ending=ending, names=names))


def write_meds(frame: pd.DataFrame, folder: Path) -> None:
    """Write shards with units inside codes, local item numbers, and diagnoses at discharge."""
    items = {c: 50_000 + i for i, c in enumerate(sorted(frame["code"].unique()))}
    rows, described = [], {}
    for event in frame.itertuples():
        time, code, value = event.time, event.code, event.numeric_value
        if event.kind == "lab":
            local = f"LAB//{items[code]}//{event.unit}"
            described[local] = ("an analyte", [code.replace("//", "/")])
            code = local
        elif event.kind == "vital":
            code = f"{code}//{event.unit}"
        elif event.kind == "diagnosis":
            local = f"DIAGNOSIS//ICD//10//{code[9:].replace('.', '')}"
            described[local] = ("a diagnosis", [code.replace("//", "/")])
            time, code = event.known_time, local
        elif event.kind == "visit":
            rows.append((event.subject_id, event.end_time, "HOSPITAL_DISCHARGE//HOME", np.nan))
            code = "HOSPITAL_ADMISSION//URGENT//WALK-IN"
        rows.append((event.subject_id, time, code, value))
    table = pd.DataFrame(rows, columns=["subject_id", "time", "code", "numeric_value"])
    table = table.sort_values(["subject_id", "time"], kind="stable")
    schema = pa.schema(
        [
            ("subject_id", pa.int64()),
            ("time", pa.timestamp("us")),
            ("code", pa.string()),
            ("numeric_value", pa.float32()),
        ]
    )
    half = table["subject_id"].median()
    for name, part in (
        ("train/0", table[table["subject_id"] <= half]),
        ("held_out/0", table[table["subject_id"] > half]),
    ):
        path = folder / "data" / f"{name}.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pandas(part, schema=schema, preserve_index=False), path)
    (folder / "metadata").mkdir()
    codes = pa.table(
        {
            "code": list(described),
            "description": [text for text, _ in described.values()],
            "parent_codes": [parents for _, parents in described.values()],
        }
    )
    pq.write_table(codes, folder / "metadata" / "codes.parquet")


def write_omop(frame: pd.DataFrame, folder: Path, ending: str) -> None:
    """Write a CDM 5.4 with negative ids, standard and source concepts, and UCUM units."""
    folder.mkdir(parents=True)
    concepts = _Concepts()
    kind, who = frame["kind"], frame["subject_id"]
    people = pd.DataFrame({"person_id": sorted(who.unique())})
    part = {
        name: frame.loc[frame["code"].str.startswith(start)].set_index("subject_id")
        for name, start in (("born", "MEDS_BIRTH"), ("sex", "GENDER"), ("site", "SITE"))
    }
    people["gender_concept_id"] = people["person_id"].map(
        part["sex"]["code"].map({"GENDER//F": 8532, "GENDER//M": 8507})
    )
    people["birth_datetime"] = people["person_id"].map(part["born"]["time"])
    people["year_of_birth"] = people["birth_datetime"].dt.year
    people["care_site_id"] = people["person_id"].map(part["site"]["code"].map(_site))
    sites = pd.DataFrame({"care_site_id": [1, 2, 3], "care_site_name": ["A", "B", "C"]})

    visits = frame[kind.isin(["visit", "diagnosis"])].reset_index(drop=True)
    visits["visit_occurrence_id"] = -1 - visits.index
    finish = visits["end_time"].fillna(visits["known_time"])
    tables = {
        "person": people,
        "care_site": sites,
        "visit_occurrence": pd.DataFrame(
            {
                "visit_occurrence_id": visits["visit_occurrence_id"],
                "person_id": visits["subject_id"],
                "visit_concept_id": np.where(visits["kind"] == "visit", 9201, 9202),
                **_period("visit", visits["time"], finish),
            }
        ),
    }
    sick = visits[visits["kind"] == "diagnosis"]
    tables["condition_occurrence"] = pd.DataFrame(
        {
            "condition_occurrence_id": sick.index,
            "person_id": sick["subject_id"],
            "condition_concept_id": [concepts.add(f"SNOMED//{c[9:]}9") for c in sick["code"]],
            "condition_source_concept_id": [concepts.add(c) for c in sick["code"]],
            "condition_source_value": sick["code"].str[9:] + "  ",
            "condition_type_concept_id": 32821,
            **_period("condition", sick["time"], sick["known_time"]),
            "visit_occurrence_id": sick["visit_occurrence_id"],
        }
    )
    drug = frame[kind == "drug"]
    tables["drug_exposure"] = pd.DataFrame(
        {
            "drug_exposure_id": drug.index,
            "person_id": drug["subject_id"],
            "drug_concept_id": [concepts.add(c) for c in drug["code"]],
            "drug_exposure_start_date": drug["time"].dt.date,
            "drug_exposure_start_datetime": drug["time"],
        }
    )
    measured = frame[kind.isin(["lab", "vital"])]
    tables["measurement"] = pd.DataFrame(
        {
            "measurement_id": measured.index,
            "person_id": measured["subject_id"],
            "measurement_concept_id": [
                concepts.add(c, "Clinical Observation" if c in VITALS else "Lab Test")
                for c in measured["code"]
            ],
            "measurement_date": measured["time"].dt.date,
            "measurement_datetime": measured["time"],
            "value_as_number": measured["numeric_value"],
            "unit_concept_id": [concepts.add(f"UCUM//{u}") for u in measured["unit"]],
            "unit_source_value": "as the analyser says",
        }
    )
    care = frame[kind == "care"]
    tables["observation"] = pd.DataFrame(
        {
            "observation_id": care.index,
            "person_id": care["subject_id"],
            "observation_concept_id": 0,
            "observation_type_concept_id": 32817,
            "observation_date": care["time"].dt.date,
            "observation_datetime": care["time"],
            "observation_source_value": care["code"].str[6:],
        }
    )
    tables["concept"] = concepts.table()
    for name, table in tables.items():
        for column in ("person_id", "visit_occurrence_id"):
            if column in table:
                table[column] = table[column].astype("int64")
        _write(table, folder / f"{name}.{ending}")


def _site(code: str) -> int:
    return "ABC".index(code[6:]) + 1


def _period(stem: str, start: pd.Series, end: pd.Series) -> dict[str, pd.Series]:
    return {
        f"{stem}_start_date": start.dt.date,
        f"{stem}_start_datetime": start,
        f"{stem}_end_date": end.dt.date,
        f"{stem}_end_datetime": end,
    }


class _Concepts:
    """A concept table that grows as it is used."""

    def __init__(self) -> None:
        self.ids: dict[str, tuple[int, str]] = {}

    def add(self, code: str, kind: str = "") -> int:
        return self.ids.setdefault(code, (4_000_000 + len(self.ids), kind))[0]

    def table(self) -> pd.DataFrame:
        rows = [
            (number, f"name of {code}", *code.split("//", 1), kind)
            for code, (number, kind) in self.ids.items()
        ]
        return pd.DataFrame(
            rows,
            columns=[
                "concept_id",
                "concept_name",
                "vocabulary_id",
                "concept_code",
                "concept_class_id",
            ],
        )


def _write(table: pd.DataFrame, path: Path) -> None:
    if path.suffix == ".parquet":
        table.to_parquet(path, index=False)
    else:
        table.to_csv(path, index=False)
