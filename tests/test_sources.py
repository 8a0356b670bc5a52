"""The registry of layouts, the layout of the contract itself, and tables in folders."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from magml.errors import InputError
from magml.events import connect
from magml.sources import LAYOUTS, open_source
from magml.sources.tables import TableFolder, event_rows
from magml.tables import EVENTS

ROWS = pd.DataFrame(
    {
        "subject_id": [1, -2],
        "time": pd.to_datetime(["2020-01-01 08:00", "2020-01-02 09:00"]),
        "code": ["LOINC//19123-9", "DRUG//omeprazole"],
        "numeric_value": [0.7, None],
        "unit": ["mmol/L", None],
    }
)


def test_layouts_are_listed_where_a_name_is_wrong() -> None:
    with pytest.raises(InputError) as caught:
        open_source("omopp", ".")
    for name in LAYOUTS:
        assert name in str(caught.value)
    with pytest.raises(InputError, match="did you mean 'lab_turnaround'"):
        open_source("physionet2012", ".", lab_turnarond="1h")
    with pytest.raises(InputError, match="no file or folder 'nowhere'"):
        open_source("eicu", "/nowhere")
    with pytest.raises(InputError, match="option units"):
        open_source("physionet2012", ".", units={"Mg": "mg/dL"})


def test_contract_files_and_folders_with_a_subject_map(tmp_path: Path) -> None:
    ROWS.to_parquet(tmp_path / "events.parquet")
    events = open_source("events", tmp_path)
    assert (events.count(), events.subjects) == (2, None)
    pd.DataFrame({"subject_id": [1, -2], "source_id": ["Patient/a", "Patient/b"]}).to_parquet(
        tmp_path / "subjects.parquet"
    )
    events = open_source("events", tmp_path)
    assert events.count() == 2, "the subject map is not read as events"
    assert events.connection.execute(
        f"SELECT source_id FROM {events.subjects} WHERE subject_id = -2"
    ).fetchall() == [("Patient/b",)]
    assert [file.name for file in events.files] == ["events.parquet", "subjects.parquet"]


def test_shards_as_meds_has_them(tmp_path: Path) -> None:
    (tmp_path / "data" / "train").mkdir(parents=True)
    (tmp_path / "metadata").mkdir()
    for number in (0, 1):
        ROWS.iloc[[number]].to_parquet(tmp_path / "data" / "train" / f"{number}.parquet")
    pd.DataFrame({"code": ["x"]}).to_parquet(tmp_path / "metadata" / "codes.parquet")
    assert open_source("events", tmp_path).count() == 2


def test_a_folder_without_events_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither events\.parquet nor Parquet shards"):
        open_source("events", tmp_path)


def test_a_row_of_events_has_every_column_typed() -> None:
    connection = connect()
    described = connection.execute(
        "DESCRIBE " + event_rows("(SELECT 1)", subject_id="1", code="'X'")
    ).fetchall()
    assert [row[0] for row in described] == list(EVENTS.names)
    assert [row[1] for row in described] == [
        "BIGINT", "TIMESTAMP", "VARCHAR", "DOUBLE", "VARCHAR", "VARCHAR", "TIMESTAMP", "TIMESTAMP",
        "VARCHAR", "VARCHAR",
    ]  # fmt: skip
    with pytest.raises(KeyError):
        event_rows("x", moment="1")


def test_tables_say_what_is_missing_and_what_is_there(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1], "B": ["x"]}).to_csv(tmp_path / "Patient.csv.gz", index=False)
    tables = TableFolder(tmp_path, connect(), "eICU")
    assert tables.has("patient"), "names are compared without case"
    with pytest.raises(InputError, match=r"has no table lab \(tables found: patient\)"):
        tables.view("lab", {"labid": "BIGINT"})
    with pytest.raises(InputError, match=r"has no column c \(columns: a, b\)"):
        tables.view("patient", {"a": "BIGINT", "c": "VARCHAR"})
    with pytest.raises(InputError, match="1 values of b are not of type DOUBLE"):
        tables.view("patient", {"b": "DOUBLE"})
    view = tables.view("patient", {"a": "BIGINT", "d": "VARCHAR"}, optional=("d",))
    assert tables.connection.execute(f"SELECT * FROM {view}").fetchall() == [(1, None)]
    (tmp_path / "lab.parquet").write_bytes(b"no")
    with pytest.raises(InputError, match=r"lab\.parquet cannot be read"):
        TableFolder(tmp_path, connect(), "eICU").view("lab", {"labid": "BIGINT"})
