"""A workspace: definitions copied, a mapping guessed as far as the tables tell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

import magml
from magml.definitions import read_catalogue, read_experiment, read_model
from magml.errors import DefinitionError, InputError
from magml.sources import open_source
from magml.sources.plain_mapping import read_mapping
from magml.workspace import init
from magml.workspace.mapping import MARK
from magml.workspace.start import find_layout
from tests.test_cli import magml as command

TABLES = {
    "patients.csv": "PatNo;Born;Sex\nA-007;24.12.1950;w\nB-001;01.05.1944;m\n",
    "stays.csv": "PatNo;Admitted;Discharged;House;MainDiagnosis\n"
    "A-007;01.02.2024 10:15;05.02.2024 14:00;North;E11.9\n"
    "B-001;03.02.2024 09:00;06.02.2024 12:00;South;I10\n",
    "labs_2023.csv": "No;PatNo;Drawn;Released;Test;Result;Unit\n"
    "9;A-007;30.12.2023 11:00;30.12.2023 12:05;MG_S;0,70;mmol/l\n",
    "labs_2024.csv": "No;PatNo;Drawn;Released;Test;Result;Unit\n"
    "1;A-007;01.02.2024 11:00;01.02.2024 12:05;MG_S;0,66;mmol/l\n"
    "4;B-001;03.02.2024 10:00;03.02.2024 10:40;K_S;4,1;mmol/l\n",
    "prescriptions.csv": "PatNo;From;Days;Drug;Status\n"
    "A-007;01.02.2024;14;Omeprazole 40mg;given\n"
    "A-007;01.02.2024;14;Furosemide 20mg;cancelled\n",
}


@pytest.fixture
def hospital(tmp_path: Path) -> Path:
    folder = tmp_path / "hospital"
    folder.mkdir()
    for name, content in TABLES.items():
        (folder / name).write_text(content)
    return folder


def tables(path: Path) -> dict[str, dict]:
    return {table["file"]: table for table in yaml.safe_load(path.read_text())["tables"]}


def test_the_definitions_are_copied_and_used(tmp_path: Path) -> None:
    made = init(tmp_path / "ours")
    assert (made.layout, made.mapping, made.to_complete) == (None, None, 0)
    assert set(read_catalogue(made.folder).features) == set(read_catalogue().features)
    assert read_model("hypomagnesemia_screen", made.folder).name == "hypomagnesemia_screen"
    assert read_experiment("first", made.folder).source.layout == "events"
    assert (made.folder / "features" / "README.md").is_file()
    assert magml.init is init


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "ours"
    target.mkdir()
    init(target)  # an empty folder is no loss
    kept = target / "features" / "labs.yaml"
    kept.write_text("changed")
    with pytest.raises(InputError, match="nothing is ever overwritten"):
        init(target)
    assert kept.read_text() == "changed"
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="not empty"):
        init(tmp_path / "file")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_the_mapping_holds_what_the_tables_tell(hospital: Path, tmp_path: Path) -> None:
    made = init(tmp_path / "ours", data=hospital)
    assert made.layout == "plain"
    assert made.mapping is not None
    content = yaml.safe_load(made.mapping.read_text())
    assert content["persons"] == "text"
    found = tables(made.mapping)
    assert set(found) == {"labs_*.csv", "patients.csv", "prescriptions.csv", "stays.csv"}
    assert {table["person"] for table in found.values()} == {"PatNo"}
    labs = found["labs_*.csv"]
    assert labs["decimal"] == ","
    assert labs["time"] == {"column": "Drawn", "format": "%d.%m.%Y %H:%M"}
    assert labs["known"] == {"column": "Released", "format": "%d.%m.%Y %H:%M"}
    assert labs["events"] == [
        {
            "code": {"column": "Test", "vocabulary": "LAB"},
            "value": "Result",
            "unit": {"column": "Unit"},
        }
    ]
    assert found["patients.csv"]["events"] == [
        {"code": "MEDS_BIRTH", "time": {"column": "Born", "format": "%d.%m.%Y"}},
        {
            "code": {"column": "Sex", "vocabulary": "GENDER", "values": {"m": "M", "w": "F"}},
            "static": True,
        },
    ]
    assert found["prescriptions.csv"]["end"] == {"days": "Days"}
    visit, site, diagnosis = found["stays.csv"]["events"]
    assert (visit["code"], visit["known"]) == ("VISIT//inpatient", "at once")
    assert site["code"] == {"column": "House", "vocabulary": "SITE"}
    # A billed code is known at discharge, not when it is stamped.
    assert diagnosis["code"]["vocabulary"] == "ICD10CM"
    assert diagnosis["known"]["column"] == "Discharged"
    text = made.mapping.read_text()
    assert "#   MG_S: LOINC//19123-9  # lab.magnesium?" in text


def test_it_is_refused_until_completed_and_then_read(hospital: Path, tmp_path: Path) -> None:
    made = init(tmp_path / "ours", data=hospital)
    assert made.mapping is not None
    # Prescriptions: when they were known, and which of their states count.
    assert made.to_complete == 2
    text = made.mapping.read_text()
    asked = [line for line in text.splitlines() if f"# {MARK}" in line]
    assert len(asked) == 2
    assert any("when was it known?" in line for line in asked)
    assert any("Status is cancelled, given" in line for line in asked)
    with pytest.raises(DefinitionError, match="when the event was known"):
        read_mapping(made.mapping)
    lines = []
    for line in text.splitlines():
        if "when was it known?" in line:
            line = line.split("#")[0] + "known: at once"
        elif "Status is" in line:
            line = line.split("#")[0] + "when: {Status: [given]}"
        elif line.startswith(("# names:", "#   MG_S", "#   K_S")):
            line = line[2:]
        lines.append(line)
    made.mapping.write_text("\n".join(lines))
    events = open_source("plain", hospital, mapping=made.mapping)
    rows = dict(
        events.connection.execute(
            f"SELECT code, count(*) FROM {events.relation} GROUP BY code"
        ).fetchall()
    )
    assert rows == {
        "MEDS_BIRTH": 2, "GENDER//F": 1, "GENDER//M": 1, "VISIT//inpatient": 2,
        "SITE//North": 1, "SITE//South": 1, "ICD10CM//E11.9": 1, "ICD10CM//I10": 1,
        "LOINC//19123-9": 2, "LOINC//2823-3": 1, "DRUG//Omeprazole 40mg": 1,
    }  # fmt: skip


def test_a_wide_table_and_what_nobody_can_tell(tmp_path: Path) -> None:
    folder = tmp_path / "wide"
    folder.mkdir()
    (folder / "chart.csv").write_text(
        "patient_id,charted,potassium,heart rate,remark\n"
        "1,03/04/2024 10:00,4.1,70,fine\n2,05/06/2024 11:30,3.9,88,\n"
    )
    (folder / "people.csv").write_text("patient_id,sex\n1,1\n2,2\n")
    made = init(tmp_path / "ours", data=folder)
    assert made.mapping is not None
    text = made.mapping.read_text()
    assert yaml.safe_load(text)["persons"] == "integer"
    chart = tables(made.mapping)["chart.csv"]
    assert [event["code"] for event in chart["events"]] == ["LAB//potassium", "VITAL//heart rate"]
    assert [event["value"] for event in chart["events"]] == ["potassium", "heart rate"]
    for asked in (
        "day and month may be the other way round",
        "in which unit is potassium?",
        "in which unit is heart rate?",
        "when was it known?",
        "what does '1' in sex mean",
    ):
        assert asked in text


def test_numbers_as_codes_and_a_person_by_another_name(tmp_path: Path) -> None:
    folder = tmp_path / "numbers"
    folder.mkdir()
    (folder / "labevents.csv").write_text(
        "labevent_id,subject_id,hadm_id,itemid,charttime,storetime,valuenum,valueuom\n"
        "1,10,77,50960,2150-01-02 10:00:00,2150-01-02 11:10:00,1.9,mg/dL\n"
    )
    (folder / "orders.csv").write_text(
        "patientkey2,drugname,ordered\nx1,omeprazole,2150-01-02 10:00:00\n"
    )
    made = init(tmp_path / "ours", data=folder)
    assert made.mapping is not None
    text = made.mapping.read_text()
    labs, orders = (tables(made.mapping)[f"{name}.csv"] for name in ("labevents", "orders"))
    assert (labs["person"], labs["visit"]) == ("subject_id", "hadm_id")
    assert (labs["time"], labs["known"]) == ("charttime", "storetime")
    assert labs["events"] == [
        {
            "code": {"column": "itemid", "vocabulary": "LAB"},
            "value": "valuenum",
            "unit": {"column": "valueuom"},
        }
    ]
    assert "itemid holds numbers" in text
    assert orders["person"] == "patientkey2"
    assert "is patientkey2 the person's id" in text


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'omop'"):
        init(tmp_path / "ours", data=tmp_path, source="omp")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no table"):
        init(tmp_path / "ours", data=tmp_path / "empty")
    with pytest.raises(InputError, match="no file or folder 'nowhere'"):
        init(tmp_path / "ours", data=tmp_path / "nowhere")
    assert not (tmp_path / "ours").exists()


def test_the_command_line_names_the_next_commands(hospital: Path, tmp_path: Path) -> None:
    done = command("init", "ours", "--data", "hospital", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["layout"] == "plain"
    assert result["commands"][0] == "cd ours"
    assert result["commands"][2].startswith("magml check --source plain --data ")
    again = command("init", "ours", cwd=tmp_path)
    assert again.returncode == 2
    assert "nothing is ever overwritten" in again.stderr


@pytest.mark.data
@pytest.mark.parametrize(
    ("folder", "layout"),
    [
        ("omop_mimic4_demo", "omop"),
        ("eicu_demo", "eicu"),
        ("nhanes1", "nhanes1"),
        ("nhanes", "nhanes"),
        ("physionet2012", "physionet2012"),
    ],
)
def test_the_layout_is_told_by_its_files(shared_data: Path, folder: str, layout: str) -> None:
    assert find_layout(shared_data / folder) == layout
