"""The layout physionet2012: raw files, archives, Parquet, and what each row becomes."""

from __future__ import annotations

import datetime as dt
import io
import tarfile
import zipfile
from pathlib import Path
from typing import Literal

import pandas as pd
import pytest

from magml.errors import InputError
from magml.events import Events
from magml.sources import archive, open_source

RECORD = """Time,Parameter,Value
00:00,RecordID,132539
00:00,Age,54
00:00,Gender,0
00:00,Height,-1
00:00,ICUType,4
00:00,Weight,-1
00:07,GCS,15
01:30,Mg,1.5
01:30,pH,7.3
36:05,Weight,81.5
36:05,Weight,82
"""
SECOND = """Time,Parameter,Value
00:00,RecordID,7
00:00,Age,90
00:00,Gender,1
00:00,Height,180.3
00:00,ICUType,1
00:00,Weight,70
47:59,K,4.1
48:00,Mystery,3
"""
ADMISSION = dt.datetime(2000, 1, 1)


def rows(events: Events) -> list[tuple[object, ...]]:
    """Return the rows that matter, sorted."""
    return sorted(
        events.connection.execute(
            "SELECT subject_id, code, time, known_time, numeric_value, unit, end_time, visit_id "
            f"FROM {events.relation}"
        ).fetchall(),
        key=lambda row: tuple(str(value) for value in row),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two records and an outcome file, as the Challenge's archives hold them."""
    (tmp_path / "set-a").mkdir()
    (tmp_path / "set-a" / "132539.txt").write_text(RECORD)
    (tmp_path / "set-a" / "7.txt").write_text(SECOND)
    (tmp_path / "Outcomes-a.txt").write_text("RecordID,In-hospital_death\n132539,1\n")
    return tmp_path


def test_a_record_becomes_these_events(folder: Path) -> None:
    events = open_source("physionet2012", folder)
    minute = dt.timedelta(minutes=1)
    mg, late = ADMISSION + 90 * minute, ADMISSION + (36 * 60 + 5) * minute
    born = ADMISSION - dt.timedelta(days=54 * 365.25)
    expected = [
        (132539, "GENDER//F", None, None, None, None, None, "132539"),
        (132539, "LAB//Mg", mg, mg + 45 * minute, 1.5, "mg/dL", None, "132539"),
        (132539, "LAB//pH", mg, mg + 15 * minute, 7.3, "1", None, "132539"),
        (132539, "MEDS_BIRTH", born, None, None, None, None, "132539"),
        (132539, "UNIT//SICU", ADMISSION, None, None, None, None, "132539"),
        (132539, "VISIT//icu", ADMISSION, None, None, None, None, "132539"),
        (132539, "VITAL//GCS", ADMISSION + 7 * minute, None, 15.0, "1", None, "132539"),
        (132539, "VITAL//Weight", late, None, 81.5, "kg", None, "132539"),
        (132539, "VITAL//Weight", late, None, 82.0, "kg", None, "132539"),
    ]
    assert [row for row in rows(events) if row[0] == 132539] == expected
    assert {row[1] for row in rows(events) if row[0] == 7} == {
        "GENDER//M", "MEDS_BIRTH", "UNIT//CCU", "VISIT//icu", "VITAL//Height", "VITAL//Weight",
        "LAB//K",
    }  # fmt: skip
    assert any("1 rows of parameters without a stated unit" in note for note in events.notes)
    assert any(note.startswith("2 values of -1") for note in events.notes)


def test_the_subject_map_and_the_evidence_name_the_record(folder: Path) -> None:
    events = open_source("physionet2012", folder)
    assert sorted(events.connection.execute(f"SELECT * FROM {events.subjects}").fetchall()) == [
        (7, "7"),
        (132539, "132539"),
    ]
    assert events.connection.execute(
        f"SELECT source FROM {events.relation} WHERE code = 'LAB//Mg'"
    ).fetchall() == [("events:132539/01:30/Mg",)]


def _tar(folder: Path, target: Path, mode: Literal["w", "w:gz"]) -> Path:
    with tarfile.open(target, mode=mode) as opened:
        opened.add(folder / "set-a", "set-a")
    return target


def _zip(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as opened:
        for path in sorted((folder / "set-a").iterdir()):
            opened.write(path, f"set-a/{path.name}")
    return target


def test_archives_and_parquet_hold_the_same_events(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    expected = rows(open_source("physionet2012", folder))
    other = tmp_path_factory.mktemp("archives")
    for path in (
        _tar(folder, other / "a.tgz", "w:gz"),
        _tar(folder, other / "a.tar", "w"),
        _zip(folder, other / "a.zip"),
    ):
        assert rows(open_source("physionet2012", path)) == expected, path.name
        alone = tmp_path_factory.mktemp("one")
        path.rename(alone / path.name)
        assert rows(open_source("physionet2012", alone)) == expected
    frames = [
        pd.read_csv(io.StringIO(text)).assign(RecordID=record)
        for record, text in ((132539, RECORD), (7, SECOND))
    ]
    table = pd.concat(frames).rename(
        columns={"Time": "time", "Parameter": "param", "Value": "value"}
    )
    table.to_parquet(other / "events.parquet")
    assert rows(open_source("physionet2012", other)) == expected
    assert rows(open_source("physionet2012", other / "events.parquet")) == expected


def test_turnaround_and_units_are_options(folder: Path) -> None:
    events = open_source("physionet2012", folder, lab_turnaround="2h", units={"LAB//Mg": "mmol/L"})
    (row,) = [row for row in rows(events) if row[1] == "LAB//Mg"]
    assert row[3] == ADMISSION + dt.timedelta(hours=3, minutes=30)
    assert row[5] == "mmol/L"
    assert events.unit_overrides == {"LAB//Mg": "mmol/L"}
    # The table's own statement against the Challenge's page is reported as an override too.
    assert open_source("physionet2012", folder).unit_overrides == {"LAB//Mg": "mg/dL"}


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        ("a,b,c\n00:00,Age,54\n", "0 headers"),
        ("Time,Parameter,Value\n7h,HR,60\n", "1 of 1 times are not HH:MM"),
        ("Time,Parameter,Value\n00:10,HR,high\n", "1 of 1 values are no numbers"),
        ("Time,Parameter,Value\n", "no rows"),
    ],
)
def test_a_malformed_record_is_refused(tmp_path: Path, content: str, seen: str) -> None:
    (tmp_path / "1.txt").write_text(content)
    with pytest.raises(InputError, match=seen):
        open_source("physionet2012", tmp_path)


def test_what_is_no_challenge_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(InputError, match=r"found: notes\.md"):
        open_source("physionet2012", tmp_path)
    with pytest.raises(InputError, match="no PhysioNet 2012 file"):
        open_source("physionet2012", tmp_path / "notes.md")
    pd.DataFrame({"RecordID": [1], "time": ["00:00"]}).to_parquet(tmp_path / "events.parquet")
    with pytest.raises(InputError, match="no column param, value"):
        open_source("physionet2012", tmp_path)
    (tmp_path / "events.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(InputError, match="cannot be read"):
        open_source("physionet2012", tmp_path)


def test_an_archive_is_read_within_limits(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = _tar(folder, tmp_path / "a.tgz", "w:gz")
    (tmp_path / "cut.tgz").write_bytes(packed.read_bytes()[:200])
    with pytest.raises(InputError, match=r"'cut\.tgz' cannot be read as an archive"):
        open_source("physionet2012", tmp_path / "cut.tgz")
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as opened:
        opened.writestr("readme.txt", "x")
    with pytest.raises(InputError, match="holds no record"):
        open_source("physionet2012", tmp_path / "none.zip")
    with monkeypatch.context() as patch:
        patch.setattr(archive, "MAXIMUM_MEMBERS", 1)
        with pytest.raises(InputError, match="more than 1 members"):
            open_source("physionet2012", packed)
    for limit in ("MAXIMUM_MEMBER_BYTES", "MAXIMUM_TOTAL_BYTES"):
        with monkeypatch.context() as patch:
            patch.setattr(archive, limit, 40)
            with pytest.raises(InputError, match="holds"):
                open_source("physionet2012", packed)


def test_an_archive_never_writes_where_its_members_point(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
        opened.writestr("../../132539.txt", RECORD)
    before = sorted(path.name for path in tmp_path.parent.iterdir())
    assert open_source("physionet2012", tmp_path / "a.zip").count() == 9
    assert sorted(path.name for path in tmp_path.parent.iterdir()) == before


@pytest.mark.data
def test_the_whole_set_against_pandas(shared_data: Path) -> None:
    raw = pd.read_parquet(shared_data / "physionet2012" / "events.parquet")
    events = open_source("physionet2012", shared_data / "physionet2012")
    counts = dict(
        events.connection.execute(
            f"SELECT code, count(*) FROM {events.relation} GROUP BY 1"
        ).fetchall()
    )
    assert counts["LAB//Mg"] == 27_315
    by_name = raw.param.value_counts()
    descriptors = ["Age", "Gender", "ICUType", "RecordID"]
    for name, number in by_name.drop([*descriptors, "Height", "Weight"]).items():
        assert counts.get(f"LAB//{name}", 0) + counts.get(f"VITAL//{name}", 0) == number, name
    for name in ("Height", "Weight"):
        assert counts[f"VITAL//{name}"] == int(((raw.param == name) & (raw.value != -1)).sum())
    genders = raw[raw.param == "Gender"].value.value_counts()
    assert counts["GENDER//F"] == genders[0]
    assert counts["GENDER//M"] == genders[1]
    assert counts["MEDS_BIRTH"] == counts["VISIT//icu"] == raw.RecordID.nunique() == 8000
    units = raw[raw.param == "ICUType"].value.value_counts()
    for number, name in enumerate(("CCU", "CSRU", "MICU", "SICU"), start=1):
        assert counts[f"UNIT//{name}"] == units[number]
    early, ended, last = events.connection.execute(
        "SELECT count(*) FILTER (WHERE code LIKE 'LAB//%' AND known_time <= time), "
        f"count(end_time), max(time) FROM {events.relation}"
    ).fetchall()[0]
    assert (early, ended) == (0, 0)
    assert last == ADMISSION + dt.timedelta(hours=48)


@pytest.mark.data
def test_the_raw_archive_equals_the_parquet(shared_data: Path) -> None:
    folder = shared_data / "physionet2012"
    sample = open_source("physionet2012", folder / "raw_set_a_sample.tgz")
    whole = open_source("physionet2012", folder)
    ids = sample.connection.execute(f"SELECT subject_id FROM {sample.subjects}").fetchall()
    assert len(ids) == 200
    listed = ", ".join(str(row[0]) for row in ids)
    query = "SELECT * FROM {} WHERE subject_id IN ({}) ORDER BY ALL"
    assert (
        sample.connection.execute(query.format(sample.relation, listed)).fetchall()
        == whole.connection.execute(query.format(whole.relation, listed)).fetchall()
    )


def test_one_parquet_file_under_another_name_is_enough(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = {
        "RecordID": [7, 7, 7],
        "time": ["00:00", "00:00", "01:30"],
        "param": ["Age", "ICUType", "Mg"],
        "value": [60.0, 2.0, 1.9],
    }
    pq.write_table(pa.table(rows), tmp_path / "stays.parquet")
    expected = open_source("physionet2012", tmp_path / "stays.parquet").to_arrow()
    assert open_source("physionet2012", tmp_path).to_arrow() == expected
    assert expected["code"].to_pylist().count("LAB//Mg") == 1
