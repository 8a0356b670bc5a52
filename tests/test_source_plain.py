"""Plain tables: a mapping file says what is what, and refuses to guess."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from magml.cohort import build_cohort
from magml.definitions import read_catalogue, read_model
from magml.definitions.experiment import Cohort
from magml.errors import DefinitionError, InputError
from magml.events import Events
from magml.features import build_features
from magml.outcomes import find_specimens
from magml.sources import open_source


def at(text: str | None) -> dt.datetime | None:
    return None if text is None else dt.datetime.fromisoformat(text)


def read(events: Events, columns: str = "code, time, known_time, end_time, numeric_value, unit"):
    found = events.connection.execute(f"SELECT {columns} FROM {events.relation}").fetchall()
    return sorted(found, key=str)


def row(code: str, time: str | None, known: str | None, end: str | None = None, *more: object):
    value, unit = (*more, None, None)[:2]
    return (code, at(time), at(known), at(end), value, unit)


#: A hospital that nobody prepared: semicolons, decimal commas, German dates and names, text ids.
GERMAN = {
    "stamm.csv": "PatNr;Geb;Geschlecht\nA-007;24.12.1950;w\nB-1;01.05.1944;m\n",
    "faelle.csv": (
        "PatNr;Fall;Aufnahme;Entlassung;Haus\n"
        "A-007;F1;01.02.2020 10:15;05.02.2020 14:00;Nord\n"
        "B-1;F2;03.02.2020 09:00;;Süd\n"
    ),
    "labor_2020.csv": (
        "lfd;PatNr;Entnahme;Freigabe;Test;Wert;Einheit\n"
        "1;A-007;01.02.2020 11:00;01.02.2020 12:05;MG_S;0,66;mmol/l\n"
        "2;A-007;01.02.2020 11:00;;K_S;3,9;mmol/l\n"
        "3;A-007;01.02.2020 11:00;01.02.2020 12:05;FERR;1.234,5;ng/ml\n"
        "4;A-007;01.02.2020 11:00;01.02.2020 12:05;CRP;<0,3;mg/dl\n"
        "5;A-007;01.02.2020 11:00;01.02.2020 12:05;K_S;hämolytisch;mmol/l\n"
        "6;A-007;01.02.2020 11:00;01.02.2020 12:05;NA_S;k.A.;mmol/l\n"
        "7;;01.02.2020 11:00;01.02.2020 12:05;NA_S;140;mmol/l\n"
    ),
    "labor_2021.csv": (
        "lfd;PatNr;Entnahme;Freigabe;Test;Wert;Einheit\n"
        "8;B-1;03.02.2020 10:00;03.02.2020 10:40;MG_S;0,81;mmol/l\n"
    ),
    "vital.csv": "PatNr;Tag;Uhr;HF;Temp\nA-007;01.02.2020;11:30;88;36,9\nB-1;03.02.2020;;70;\n",
    "medis.csv": (
        "PatNr;Von;Bis;Tage;Medikament;Status\n"
        "A-007;01.02.2020;03.02.2020;;Pantoprazol 40mg;gegeben\n"
        "A-007;01.02.2020;;14;Magnesiumoxid;gegeben\n"
        "A-007;01.02.2020;;14;Furosemid;storniert\n"
    ),
}
MAPPING = """
persons: text
names:
  MG_S: LOINC//19123-9
  LAB//K_S: LOINC//2823-3
  Pantoprazol 40mg: ATC//A02BC02
  NIE: LOINC//1-8
tables:
  - file: stamm.csv
    person: PatNr
    events:
      - {code: MEDS_BIRTH, time: {column: Geb, format: "%d.%m.%Y"}}
      - {code: {column: Geschlecht, vocabulary: GENDER, values: {w: F, m: M}}, static: true}
  - file: faelle.csv
    person: PatNr
    visit: Fall
    time: {column: Aufnahme, format: "%d.%m.%Y %H:%M"}
    known: at once
    events:
      - {code: VISIT//inpatient, end: {column: Entlassung, format: "%d.%m.%Y %H:%M"}}
      - {code: {column: Haus, vocabulary: SITE}}
  - file: labor_*.csv
    person: PatNr
    key: lfd
    decimal: ","
    missing: [k.A.]
    time: {column: Entnahme, format: "%d.%m.%Y %H:%M"}
    known: {column: Freigabe, format: "%d.%m.%Y %H:%M", after: 90min}
    events:
      - {code: {column: Test, vocabulary: LAB}, value: Wert, unit: {column: Einheit}}
  - file: vital.csv
    person: PatNr
    decimal: ","
    time: {column: Tag, clock: Uhr, format: "%d.%m.%Y %H:%M"}
    known: at once
    events:
      - {code: VITAL//heart rate, value: HF, unit: /min}
      - {code: VITAL//temperature, value: Temp, unit: Cel}
  - file: medis.csv
    person: PatNr
    time: {column: Von, format: "%d.%m.%Y"}
    known: at once
    events:
      - code: {column: Medikament, vocabulary: DRUG}
        end: {column: Bis, format: "%d.%m.%Y"}
        when: {Status: gegeben, Medikament: [Pantoprazol 40mg]}
      - code: {column: Medikament, vocabulary: DRUG}
        end: {days: Tage}
        when: {Status: gegeben, Medikament: [Magnesiumoxid, Furosemid]}
"""


@pytest.fixture
def german(tmp_path: Path) -> Path:
    for name, content in GERMAN.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    (tmp_path / "mapping.yaml").write_text(MAPPING, encoding="utf-8")
    return tmp_path


def test_a_hospital_that_nobody_prepared(german: Path) -> None:
    events = open_source("plain", german)
    eleven, known = "2020-02-01 11:00", "2020-02-01 12:05"
    assert read(events) == sorted(
        [
            row("MEDS_BIRTH", "1950-12-24", None),
            row("MEDS_BIRTH", "1944-05-01", None),
            row("GENDER//F", None, None),
            row("GENDER//M", None, None),
            row("VISIT//inpatient", "2020-02-01 10:15", "2020-02-01 10:15", "2020-02-05 14:00"),
            row("VISIT//inpatient", "2020-02-03 09:00", "2020-02-03 09:00"),
            row("SITE//Nord", "2020-02-01 10:15", "2020-02-01 10:15"),
            row("SITE//Süd", "2020-02-03 09:00", "2020-02-03 09:00"),
            row("LOINC//19123-9", eleven, known, None, 0.66, "mmol/l"),
            # Not released: the stated delay stands in.
            row("LOINC//2823-3", eleven, "2020-02-01 12:30", None, 3.9, "mmol/l"),
            row("LAB//FERR", eleven, known, None, 1234.5, "ng/ml"),
            row("LAB//CRP", eleven, known, None, 0.3, "mg/dl"),
            row("LOINC//2823-3", eleven, known, None, None, "mmol/l"),
            row("LOINC//19123-9", "2020-02-03 10:00", "2020-02-03 10:40", None, 0.81, "mmol/l"),
            row("VITAL//heart rate", "2020-02-01 11:30", "2020-02-01 11:30", None, 88.0, "/min"),
            row("VITAL//temperature", "2020-02-01 11:30", "2020-02-01 11:30", None, 36.9, "Cel"),
            # Dates: known at the end of the first day, lasting to the end of the last.
            row("ATC//A02BC02", "2020-02-01", "2020-02-02", "2020-02-04"),
            row("DRUG//Magnesiumoxid", "2020-02-01", "2020-02-02", "2020-02-15"),
        ],
        key=str,
    )
    texts = dict(read(events, "source, text_value"))
    assert texts["labor_*.csv:4"] == "<0,3"
    assert texts["labor_*.csv:5"] == "hämolytisch"
    assert texts["labor_*.csv:1"] is None
    notes = "; ".join(events.notes)
    assert "names that no row has: NIE" in notes
    assert "labor_*.csv: 1 of 8 values of Wert are words" in notes
    assert "labor_*.csv: 1 of 8 rows name no person" in notes
    assert "vital.csv: 1 of 2 rows have no time in Tag" in notes
    people = dict(
        events.connection.execute(f"SELECT source_id, subject_id FROM {events.subjects}").fetchall()
    )
    assert set(people) == {"A-007", "B-1"}
    assert {item.name for item in events.files} == {*GERMAN, "mapping.yaml"}


def test_ids_of_text_do_not_depend_on_who_else_is_there(german: Path) -> None:
    def ids() -> dict[str, int]:
        events = open_source("plain", german)
        query = f"SELECT source_id, subject_id FROM {events.subjects}"
        return dict(events.connection.execute(query).fetchall())

    before = ids()
    with (german / "stamm.csv").open("a") as handle:
        handle.write("A-001;24.12.1950;w\n")
    after = ids()
    assert {name: after[name] for name in before} == before
    assert len(set(after.values())) == 3


def test_such_a_hospital_reaches_a_labelled_cohort_and_features(tmp_path: Path) -> None:
    """Other names and units, many people: cohort, outcome and features by the mapping alone."""
    random, n = np.random.default_rng(4), 80
    low = random.random(n) < 0.4
    admitted = pd.Timestamp("2021-03-01 08:30") + pd.to_timedelta(random.integers(1, 9000, n), "h")
    ids = [f"P{number:04d}" for number in range(n)]
    pd.DataFrame({"id": ids, "born": "1950-07-02", "in": admitted}).to_parquet(
        tmp_path / "cases.parquet"
    )
    magnesium = np.where(low, 0.58, 0.85)
    potassium = np.where(low, 3.0, 4.2)
    labs = [
        pd.DataFrame({"id": ids, "at": admitted + pd.Timedelta(hours=hours), "v": value, "t": test})
        for hours, value, test in ((1, potassium, "Kalium"), (8, magnesium * 2, "Mg meq"))
    ]
    pd.concat(labs).to_parquet(tmp_path / "labs.parquet")
    (tmp_path / "mapping.yaml").write_text(
        """
persons: text
names: {Kalium: LOINC//2823-3, Mg meq: LOINC//19123-9}
tables:
  - file: cases.parquet
    person: id
    time: in
    known: at once
    events:
      - {code: VISIT//inpatient}
      - {code: MEDS_BIRTH, time: born}
  - file: labs.parquet
    person: id
    time: at
    known: {after: 45min}
    events:
      - {code: {column: t, vocabulary: LAB}, value: v, unit: meq/L}
"""
    )
    events = open_source("plain", tmp_path).materialise()
    catalogue = read_catalogue()
    outcome = read_model("hypomagnesemia_screen").outcome
    specimens = find_specimens(events, catalogue, outcome.concept)
    definition = Cohort(anchor=("VISIT//inpatient",), offset="6h", measured_before="none")
    cohort = build_cohort(events, definition, specimens, outcome).frame()
    assert cohort["boolean_value"].sum() == low.sum()
    frame = build_features(
        events,
        cohort[["subject_id", "prediction_time"]],
        features=["lab.potassium.last", "lab.magnesium.last", "demographic.age.years"],
    )
    joined = cohort.merge(frame, on=["subject_id", "prediction_time"])
    assert len(joined) == n
    assert set(joined["lab.potassium.last"].round(3)) == {np.float32(3.0), np.float32(4.2)}
    assert ((joined["lab.potassium.last"] < 3.5) == joined["boolean_value"].astype(bool)).all()
    assert joined["lab.magnesium.last"].isna().all()  # measured after the prediction


def small(folder: Path, table: str, events: str, content: str, top: str = "") -> Events:
    (folder / "t.csv").write_text(content)
    (folder / "mapping.yaml").write_text(
        f"{top}\ntables:\n  - file: t.csv\n    person: id\n{table}\n    events:\n{events}\n"
    )
    return open_source("plain", folder)


LAB = "      - {code: LAB//K, value: v, unit: mmol/L}"


def test_doses_and_what_an_order_is(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text(
        "person,start,drug,dose,unit,need,state\n"
        "1,2020-01-01 08:00,LASIX,40,mg,no,given\n"
        "1,2020-01-01 09:00,LASIX,,,no,given\n"  # without a dose it stays an exposure
        "1,2020-01-01 10:00,senna,2,tab,yes,given\n"
        "1,2020-01-01 11:00,aspirin,100,mg,no,stopped\n"
    )
    (tmp_path / "mapping.yaml").write_text(
        "names: {DRUG//LASIX: ATC//C03CA01}\n"
        "tables:\n"
        "  - file: orders.csv\n"
        "    person: person\n"
        "    time: start\n"
        "    known: at once\n"
        "    events:\n"
        "      - code: {column: drug, vocabulary: DRUG}\n"
        "        dose: dose\n"
        "        unit: {column: unit}\n"
        "        marks: {as needed: {need: 'yes'}, cancelled: {state: [stopped]}, inpatient: }\n"
    )
    found = read(open_source("plain", tmp_path), "code, numeric_value, unit")
    assert found == [
        ("ATC//C03CA01//inpatient", 40.0, "mg"),
        ("ATC//C03CA01//inpatient", None, None),
        ("DRUG//aspirin//cancelled//inpatient", 100.0, "mg"),
        ("DRUG//senna//as needed//inpatient", 2.0, "tab"),
    ]


def test_midnight_zones_and_delays(tmp_path: Path) -> None:
    table = "    time: t\n    known: {after: 45min}"
    content = (
        "id,t,v\n1,2020-07-01T08:00:00Z,1\n2,2020-07-01 08:00,2\n3,2020-07-01,3\n"
        "4,2020-07-01 23:50,4\n"
    )
    top = "zone: Europe/Berlin"
    assert set(read(small(tmp_path, table, LAB, content, top))) == {
        # A date is known at its end; a delay can reach into the next day.
        row("LAB//K", "2020-07-01", "2020-07-02", None, 3.0, "mmol/L"),
        row("LAB//K", "2020-07-01 08:00", "2020-07-01 08:45", None, 2.0, "mmol/L"),
        row("LAB//K", "2020-07-01 10:00", "2020-07-01 10:45", None, 1.0, "mmol/L"),
        row("LAB//K", "2020-07-01 23:50", "2020-07-02 00:35", None, 4.0, "mmol/L"),
    }
    clock = read(small(tmp_path, table, LAB, content, f"{top}\nmidnight: clock"))
    assert row("LAB//K", "2020-07-01", "2020-07-01 00:45", None, 3.0, "mmol/L") in clock


def test_a_decimal_point_among_decimal_commas_is_no_number(tmp_path: Path) -> None:
    table = '    time: t\n    known: at once\n    decimal: ","\n    delimiter: ";"'
    content = "id;t;v\n1;2020-01-01 08:00;4.1\n1;2020-01-01 09:00;4,1\n"
    events = small(tmp_path, table, LAB, content)
    assert [value[4] for value in read(events)] == [None, 4.1]  # never 41


def test_the_mapping_may_stand_elsewhere(german: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    (german / "mapping.yaml").rename(other / "ours.yaml")
    assert open_source("plain", german, mapping=other / "ours.yaml").count() == 18
    with pytest.raises(DefinitionError, match="no mapping file"):
        open_source("plain", german)


ONCE = "    time: t\n    known: at once"


@pytest.mark.parametrize(
    ("table", "events", "told"),
    [
        ("    time: t", LAB, "not said when the event was known"),
        ("    known: at once", LAB, "the event has no time"),
        (f"{ONCE}\n    decimals: ','", LAB, "did you mean 'decimal'"),
        (ONCE, "      - {code: LAB//K, valu: v}", "did you mean 'value'"),
        (ONCE, "      - {code: K, value: v}", "is no code VOCABULARY//CODE"),
        (ONCE, "      - {code: {colum: v, vocabulary: LAB}}", "did you mean 'column'"),
        (ONCE, "      - {code: {column: v, vocabulary: LAB//}}", "a vocabulary is a word"),
        (ONCE, "      - {code: LAB//K, unit: mmol/L}", "a unit without a value"),
        ("    time: t\n    known: {after: soon}", LAB, "not a duration"),
        ("    time: t\n    known: {format: x}", LAB, "known needs a column"),
        (f"{ONCE}\n    end: {{days: v, after: 2d}}", LAB, "end needs one of"),
        (f"{ONCE}\n    person: twice", LAB, "stands twice"),
        (ONCE, "", "Input should be a valid"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(
    tmp_path: Path, table: str, events: str, told: str
) -> None:
    with pytest.raises(DefinitionError, match=told) as caught:
        small(tmp_path, table, events, "id,t,v\n1,2020-01-01,4\n")
    assert "mapping.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("table", "events", "content", "told"),
    [
        (ONCE, LAB, "id,t,w\n1,2020-01-01,4\n", "no column v .*value.*did you mean|one of"),
        (ONCE, LAB, "id,t,v\n1,01.02.2020,4\n", "1 of 1 values of t cannot be read"),
        (ONCE, LAB, "id,t,v\n007,2020-01-01,4\n", "persons: text"),
        (ONCE, LAB, "id,t,v\nx,2020-01-01,4\n", "1 of 1 values of id cannot be read"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(
    tmp_path: Path, table: str, events: str, content: str, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        small(tmp_path, table, events, content)


def test_absent_files_and_zones_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mapping.yaml").write_text(
        "tables: [{file: labs.csv, person: id, events: [{code: GENDER//F, static: true}]}]"
    )
    with pytest.raises(InputError, match=r"no file 'labs.csv' .*there: mapping.yaml"):
        open_source("plain", tmp_path)
    (tmp_path / "labs.csv").write_text("id\n1\n")
    assert read(open_source("plain", tmp_path)) == [row("GENDER//F", None, None)]
    with (tmp_path / "mapping.yaml").open("a") as handle:
        handle.write("\nzone: Berlin\n")
    with pytest.raises(InputError, match="no time zone"):
        open_source("plain", tmp_path)


def test_the_worked_example_of_the_documentation(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "plain-tables.md").read_text()
    for name, content in re.findall(r"^`([\w.]+)`\n\n```\w+\n(.*?)```", page, re.M | re.S):
        (tmp_path / name).write_text(content)
    events = open_source("plain", tmp_path)
    found = read(events)
    drawn = "2024-02-01 11:00"
    for expected in (
        row("LOINC//19123-9", drawn, "2024-02-01 12:05", None, 0.66, "mmol/l"),
        row("LOINC//2823-3", drawn, "2024-02-01 12:30", None, 3.9, "mmol/l"),
        row("ATC//A02BC02", "2024-02-01", "2024-02-02", "2024-02-15"),
        row("ICD10CM//E11.9", "2024-02-01 10:15", "2024-02-05 14:00"),
    ):
        assert expected in found
    # 2 births, 2 sexes, 2 stays, 2 sites, 1 diagnosis, 4 values, 1 drug given.
    assert len(found) == 14
    assert not any("names that no row has" in note for note in events.notes)


@pytest.mark.parametrize("name", ["", "/etc/*.csv", "x" * 300])
def test_a_name_of_no_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "mapping.yaml").write_text(
        f"tables: [{{file: '{name}', person: id, events: [{{code: A//b, static: true}}]}}]"
    )
    with pytest.raises(InputError, match="names no file in"):
        open_source("plain", tmp_path)
