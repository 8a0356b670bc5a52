"""Valid inputs that fuzzing starts from."""

from __future__ import annotations

import atexit
import io
import json
import os
import shutil
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

from magml.definitions.catalogue import DomainFile
from magml.definitions.experiment import ExperimentDefinition
from magml.definitions.model import ModelDefinition
from magml.monitoring import Thresholds
from magml.sources.plain_mapping import Mapping

ROOT = Path(__file__).resolve().parent.parent.parent
KINDS = (
    "Patient", "Encounter", "Observation", "MedicationRequest", "MedicationAdministration",
    "MedicationStatement", "Medication", "Condition", "Procedure", "NutritionOrder",
    "NutritionIntake", "Bundle", "Device",
)  # fmt: skip
KEYS = (
    "resourceType", "id", "status", "subject", "patient", "reference", "code", "coding", "system",
    "display", "text", "birthDate", "gender", "deceasedDateTime", "extension", "url", "period",
    "start", "end", "class", "effectiveDateTime", "effectivePeriod", "issued", "valueQuantity",
    "value", "unit", "comparator", "component", "valueInteger", "valueString", "intent",
    "authoredOn", "dosageInstruction", "timing", "repeat", "boundsPeriod", "dispenseRequest",
    "validityPeriod", "medicationCodeableConcept", "medicationReference", "contained",
    "verificationStatus", "onsetDateTime", "recordedDate", "meta", "lastUpdated", "encounter",
    "performedDateTime", "dateTime", "enteralFormula", "oralDiet", "type", "ingredientLabel",
    "nutrient", "concept", "amount", "occurrenceDateTime", "recorded", "entry", "resource",
)  # fmt: skip
_SELF = {"reference": "Patient/a"}
RESOURCES: tuple[dict[str, Any], ...] = (
    {"resourceType": "Patient", "id": "a", "birthDate": "1950-06-01", "gender": "female",
     "deceasedDateTime": "2025-04-01", "extension": [{"url": "x", "extension": []}]},
    {"resourceType": "Encounter", "id": "e", "status": "finished", "subject": _SELF,
     "class": {"code": "IMP"}, "period": {"start": "2025-02-01T00:00:00Z", "end": "2025-02-04"}},
    {"resourceType": "Observation", "id": "k", "status": "final", "subject": _SELF,
     "code": {"coding": [{"system": "http://loinc.org", "code": "2823-3", "display": "K"}]},
     "effectiveDateTime": "2025-03-01T06:00:00Z", "issued": "2025-03-01T07:00:00Z",
     "valueQuantity": {"value": 3.1, "unit": "mmol/L", "comparator": "<"},
     "component": [{"code": {"text": "x"}, "valueInteger": 3}]},
    {"resourceType": "MedicationRequest", "id": "m", "status": "active", "intent": "order",
     "subject": _SELF, "authoredOn": "2025-01-01T08:00:00Z",
     "medicationReference": {"reference": "#d"}, "contained": [{"id": "d", "code": {"text": "o"}}],
     "dosageInstruction": [{"timing": {"repeat": {"boundsPeriod": {"start": "2025-01-02"}}}}]},
    {"resourceType": "MedicationAdministration", "id": "g", "status": "completed",
     "subject": _SELF, "effectivePeriod": {"start": "2025-01-03T08:00:00Z", "end": "2025-01-04"},
     "medicationCodeableConcept": {"coding": [{"system": "http://www.whocc.no/atc",
                                               "code": "A02BC01"}]}},
    {"resourceType": "MedicationStatement", "id": "s", "status": "active", "subject": _SELF,
     "dateAsserted": "2025-01-05", "medicationReference": {"reference": "Medication/x"}},
    {"resourceType": "Medication", "id": "x", "code": {"text": "omeprazole"}},
    {"resourceType": "Condition", "id": "c", "subject": _SELF, "recordedDate": "2025-01-10",
     "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "E11.9"}]},
     "verificationStatus": {"coding": [{"code": "confirmed"}]}, "onsetDateTime": "2019",
     "encounter": {"reference": "Encounter/e"}},
    {"resourceType": "Procedure", "id": "p", "status": "completed", "subject": _SELF,
     "code": {"text": "dialysis"}, "performedPeriod": {"start": "2025-01-01", "end": "2025-01-02"}},
    {"resourceType": "NutritionOrder", "id": "n", "status": "active", "patient": _SELF,
     "dateTime": "2025-01-01", "enteralFormula": {}, "oralDiet": {"type": [{"text": "NPO"}]}},
    {"resourceType": "NutritionIntake", "id": "i", "status": "completed", "subject": _SELF,
     "occurrenceDateTime": "2025-01-01", "ingredientLabel": [
         {"nutrient": {"concept": {"text": "magnesium"}}, "amount": {"value": 300, "unit": "mg"}}]},
)  # fmt: skip
REQUEST: dict[str, Any] = {
    "events": [
        {"subject_id": 1, "time": "1960-03-01T00:00:00", "code": "MEDS_BIRTH"},
        {"subject_id": 1, "time": "2025-03-01T05:00:00Z", "code": "LOINC//2823-3",
         "numeric_value": 3.1, "unit": "mmol/L", "text_value": None,
         "known_time": "2025-03-01T05:30:00Z", "end_time": None, "visit_id": "v", "source": "s"},
    ],
    "at": [{"subject_id": 1, "prediction_time": "2025-03-01T08:00:00"}],
    "top": 3,
}  # fmt: skip
_MAPPING = """
tables:
  - file: labs.csv
    person: patient
    key: row
    time: drawn
    known: {after: 60min}
    events:
      - {code: {column: test, vocabulary: LAB}, value: result, unit: {column: unit}}
names: {LAB//K: LOINC//2823-3}
"""


def _text(*parts: str) -> str:
    return ROOT.joinpath(*parts).read_text(encoding="utf-8")


_DIET = (
    "domain: diet\ntitle: Diet\nconcepts:\n  tea: {label: Tea, kind: measurement, codes: [A//t]}\n"
)
FOODS = {
    "foods.csv": "food,magnesium_mg,energy_kcal,nova,portion_g\nOatmeal,26,71,1,250\n"
    "Almonds,270,579,1,30\n",
    "eaten.csv": "subject_id,date,food,grams,known_time\n1,2026-01-10,oatmeal,250,\n"
    "1,2026-01-10,almonds,30,2026-01-11 09:00\n",
    "asked.csv": "subject_id,date,food,times,per,portions\n1,2026-01-10,Almonds,3.5,week,1\n",
    "form.csv": "subject_id,date,known_time,birth_year,sex,pregnant,water_litres_per_day,"
    "water_magnesium_mg_per_litre,drinks_per_week\n1,2026-01-10,,1950,F,no,1.5,40,7\n",
    "chart.csv": "subject_id,start,end,route,energy_kcal,magnesium_mg\n"
    "1,2026-01-01 08:00,,none,0,0\n1,2026-01-08 08:00,2026-01-09 20:00,enteral,1500,300\n",
}
#: Classes of definitions with a valid file of each.
DEFINITIONS: tuple[tuple[Any, str], ...] = (
    (ModelDefinition, _text("models", "hypomagnesemia_screen.yaml")),
    (ExperimentDefinition, _text("experiments", "demo.yaml")),
    (DomainFile, _DIET),
    (DomainFile, _text("features", "procedures.yaml")),
    (Mapping, _MAPPING),
    (Thresholds, "missing: 0.1\nslope: 0.3\n"),
    (Thresholds, "a: &a [1, 1]\nb: &b [*a, *a]\nc: [*b, *b]\n"),
)


@cache
def BUNDLE() -> dict[str, bytes]:  # a constant that takes a second to make
    """Return the files of a bundle."""
    from magml.bundle.write import bundle_files
    from tests import bundle_parts as parts

    return bundle_files(parts.contents())


@cache
def xport_bytes() -> bytes:
    """Return a SAS transport file."""
    from tests.xport import write_xport

    path = folders()["root"] / "seed.xpt"
    write_xport(path, {"SEQN": [1, 2], "RIAGENDR": [1, None], "RIDAGEYR": [40, 80], "X": ["a", ""]})
    return path.read_bytes()


@cache
def folders() -> dict[str, Path]:
    """Return a folder for each kind of file, with valid ones in it; gone when the process ends."""
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="magml-fuzz-", dir=memory if memory.is_dir() else None))
    owner = os.getpid()
    atexit.register(lambda: os.getpid() == owner and shutil.rmtree(root, ignore_errors=True))
    made = {"root": root}
    for name in (
        "yaml", "manifest", "xport", "tables", "fhir", "eicu", "nhanes", "nhanes1",
        "physionet2012", "foods", "guesses",
    ):  # fmt: skip
        made[name] = root / name
        made[name].mkdir()
    for name in ("meds", "omop", "plain", "database"):
        made[name] = root / name
    _fill(made)
    return made


def _fill(made: dict[str, Path]) -> None:
    from magml.bundle.manifest import write_manifest
    from tests import eicu_tables, source_worlds
    from tests.test_source_nhanes import survey
    from tests.test_source_nhanes1 import HEADER, ROWS
    from tests.test_sources_eicu import LAB
    from tests.test_sources_physionet2012 import RECORD, SECOND

    (made["foods"] / "foods.csv").write_text(FOODS["foods.csv"])
    folder = made["manifest"]
    (folder / "a.json").write_text("{}")
    (folder / "b.ubj").write_bytes(b"\x00" * 20)
    write_manifest(folder)
    (folder / "manifest.json").rename(folder.parent / "manifest.good")
    frame = source_worlds.truth(3)
    source_worlds.write_plain(frame, made["plain"], "csv")
    source_worlds.write_meds(frame, made["meds"])
    source_worlds.write_omop(frame, made["omop"], "csv")
    _write_database(made["omop"], made["database"])
    events = frame.drop(columns=["kind"]).head(40)
    events = events.assign(boolean_value=True, prediction_time=events["time"])
    events.to_csv(made["tables"] / "good.csv", index=False)
    events.to_parquet(made["tables"] / "good.parquet")
    for number, kind in enumerate(("Patient", "Observation", "Condition")):
        lines = [json.dumps(one) for one in RESOURCES if one["resourceType"] == kind]
        (made["fhir"] / f"{number}.ndjson").write_text("\n".join(lines) + "\n")
    eicu_tables.patient().to_csv(made["eicu"] / "patient.csv", index=False)
    LAB.to_csv(made["eicu"] / "lab.csv", index=False)
    survey(made["nhanes"])
    (made["nhanes1"] / "subset_X.csv").write_text(HEADER + ROWS)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("set-a/132539.txt", RECORD)
        opened.writestr("set-a/7.txt", SECOND)
    (made["physionet2012"] / "set-a.zip").write_bytes(packed.getvalue())


def _write_database(tables: Path, folder: Path) -> None:
    """Write the tables of a CDM to a DuckDB file, and one that is another database's."""
    import sqlite3

    import duckdb

    folder.mkdir()
    # The smallest blocks, so that most of the file is used and a changed byte is met.
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{folder / 'cdm.good'}' AS cdm (BLOCK_SIZE 16384)")
        for path in tables.iterdir():
            connection.execute(f"CREATE TABLE cdm.{path.stem} AS SELECT * FROM read_csv('{path}')")
    other = sqlite3.connect(folder / "other.good")
    with other:
        other.execute("CREATE TABLE person (person_id INTEGER, year_of_birth INTEGER)")
    other.close()


@cache
def _connections() -> list[Any]:
    from magml.events.table import connect

    return [connect("2GB", 1), 0]


def kept_connection() -> Any:
    """Return a connection, a new one now and then: opening one costs more than most inputs."""
    from magml.events.table import connect

    kept = _connections()
    kept[1] += 1
    if kept[1] % 50 == 0:
        kept[0].close()
        kept[0] = connect("2GB", 1)
    return kept[0]
