"""Events: what comes in as Parquet, CSV, pandas or Arrow is the same, and faults are told."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from magml.errors import InputError
from magml.events import connect, read_events, read_labels, read_prediction_times
from magml.tables import EVENTS

EIGHT = pd.Timestamp("2020-01-01 08:00")


def small() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "subject_id": [-5, 2**40],
            "time": [EIGHT, pd.NaT],
            "code": ["LOINC//19123-9", "GENDER//F"],
            "numeric_value": [1.6, None],
            "unit": ["mg/dL", None],
        }
    )


def rows(data: object) -> list[tuple]:
    events = read_events(data)
    return sorted(
        events.connection.execute(
            f"SELECT subject_id, time, code, numeric_value, unit, known_time FROM {events.relation}"
        ).fetchall(),
        key=str,
    )


def test_every_form_gives_the_same_rows(tmp_path: Path) -> None:
    frame = small()
    frame.to_parquet(tmp_path / "e.parquet", index=False)
    frame.to_csv(tmp_path / "e.csv", index=False)
    frame.to_csv(tmp_path / "e.csv.gz", index=False)
    folder = tmp_path / "shards" / "train"
    folder.mkdir(parents=True)
    frame.iloc[:1].to_parquet(folder / "0.parquet", index=False)
    frame.iloc[1:].to_parquet(folder / "1.parquet", index=False)
    expected = [
        (-5, dt.datetime(2020, 1, 1, 8), "LOINC//19123-9", 1.6, "mg/dL", None),
        (2**40, None, "GENDER//F", None, None, None),
    ]
    for data in (
        frame,
        pa.Table.from_pandas(frame),
        tmp_path / "e.parquet",
        str(tmp_path / "e.csv"),
        tmp_path / "e.csv.gz",
        tmp_path / "shards",
    ):
        assert rows(data) == expected, data


def test_columns_are_those_declared_in_order() -> None:
    events = read_events(small())
    assert tuple(events.to_arrow().column_names) == EVENTS.names


def test_a_code_of_digits_in_csv_stays_text(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("subject_id,time,code,unit\n1,2020-01-01 08:00,0012,7\n")
    events = read_events(tmp_path / "e.csv")
    assert events.connection.execute(f"SELECT code, unit FROM {events.relation}").fetchall() == [
        ("0012", "7")
    ]


def test_nan_is_no_value(tmp_path: Path) -> None:
    table = pa.table(
        {
            "subject_id": [1],
            "time": pa.array([EIGHT.to_pydatetime()], pa.timestamp("us")),
            "code": ["a"],
            "numeric_value": pa.array([float("nan")], pa.float64()),
        }
    )
    pq.write_table(table, tmp_path / "e.parquet")
    assert rows(tmp_path / "e.parquet")[0][3] is None


def test_aware_times_become_naive_in_the_declared_zone() -> None:
    frame = small().iloc[:1].assign(time=[pd.Timestamp("2020-07-01 08:00", tz="UTC")])
    events = read_events(frame, zone="Europe/Berlin")
    time = events.connection.execute(f"SELECT time FROM {events.relation}").fetchall()[0][0]
    assert time == dt.datetime(2020, 7, 1, 10)  # Berlin is two hours ahead in summer


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda f: f.drop(columns="code"), "no column 'code'"),
        (lambda f: f.rename(columns={"code": "cod"}), "did you mean 'cod'"),
        (lambda f: f.assign(subject_id=["a", "b"]), "of type VARCHAR"),
        (lambda f: f.assign(code=["a", None]), "1 rows of the events have no 'code'"),
        (lambda f: f.assign(time=[1, 2]), "column 'time'"),
        (lambda f: f.assign(numeric_value=[1, "x"]), "mixes types"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(change, told: str) -> None:
    with pytest.raises(InputError, match=told):
        read_events(change(small()))


def test_dates_and_times_may_be_mixed_in_a_csv(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text(
        "subject_id,time,code\n1,1950-01-02,MEDS_BIRTH\n1,2024-05-01 08:00,A//1\n"
        "1,2024-05-01T08:00:30,A//1\n1,,GENDER//F\n"
    )
    events = read_events(tmp_path / "e.csv")
    found = events.connection.execute(f"SELECT time FROM {events.relation}").fetchall()
    assert [row[0] for row in found] == [
        dt.datetime(1950, 1, 2),
        dt.datetime(2024, 5, 1, 8),
        dt.datetime(2024, 5, 1, 8, 0, 30),
        None,
    ]


def test_texts_with_an_offset_are_refused_rather_than_shifted() -> None:
    frame = small().iloc[:1].assign(time=["2024-05-01T08:00:00+02:00"])
    with pytest.raises(InputError, match="1 values of 'time' of the events are not times"):
        read_events(frame)


@pytest.mark.parametrize("other", ["05/01/2024", "Tuesday"])
def test_texts_that_are_no_time_are_counted_and_not_quoted(tmp_path: Path, other: str) -> None:
    (tmp_path / "e.csv").write_text(
        f"subject_id,time,code\n1,2024-05-01 08:00,A//1\n1,{other},A//1\n1,{other},A//1\n"
    )
    with pytest.raises(
        InputError, match="2 values of 'time' of the events are not times"
    ) as caught:
        read_events(tmp_path / "e.csv")
    assert other not in str(caught.value)


def test_unreadable_files_are_refused_without_their_content(tmp_path: Path) -> None:
    (tmp_path / "e.parquet").write_bytes(b"not parquet, but Jane Doe")
    with pytest.raises(InputError, match="cannot be read") as caught:
        read_events(tmp_path / "e.parquet")
    assert "Jane" not in str(caught.value)
    with pytest.raises(InputError, match="no file or folder"):
        read_events(tmp_path / "absent.parquet")
    (tmp_path / "e.xlsx").write_bytes(b"")
    with pytest.raises(InputError, match="neither Parquet nor CSV"):
        read_events(tmp_path / "e.xlsx")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no Parquet file"):
        read_events(tmp_path / "empty")


def test_a_value_of_a_wrong_type_in_csv_is_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("subject_id,time,code,numeric_value\n1,,a,1\n2,,b,secret\n")
    with pytest.raises(InputError) as caught:
        read_events(tmp_path / "e.csv")
    assert "secret" not in str(caught.value)


def test_one_moment_holds_for_everybody() -> None:
    events = read_events(small())
    for moment in ("2020-01-02", dt.date(2020, 1, 2), pd.Timestamp("2020-01-02")):
        relation = read_prediction_times(moment, events.connection, events)
        assert events.connection.execute(f"SELECT * FROM {relation}").fetchall() == [
            (0, -5, dt.datetime(2020, 1, 2)),
            (1, 2**40, dt.datetime(2020, 1, 2)),
        ]


def test_prediction_times_keep_their_order_and_stand_once() -> None:
    events = read_events(small())
    at = pd.DataFrame(
        {
            "subject_id": [2, 1, 2],
            "prediction_time": pd.to_datetime(["2020-01-03"] * 2 + ["2020-01-02"]),
        }
    )
    relation = read_prediction_times(at, events.connection, events)
    order = events.connection.execute(
        f"SELECT subject_id FROM {relation} ORDER BY row_id"
    ).fetchall()
    assert order == [(2,), (1,), (2,)]
    with pytest.raises(InputError, match="1 prediction times stand more than once"):
        read_prediction_times(pd.concat([at, at.iloc[:1]]), events.connection, events)
    with pytest.raises(InputError, match="no prediction times"):
        read_prediction_times(at.iloc[:0], events.connection, events)
    nobody = read_events(
        pd.DataFrame({"subject_id": [1], "time": [pd.Timestamp(0)], "code": ["A//b"]}).iloc[:0]
    )
    with pytest.raises(InputError, match="records of nobody"):
        read_prediction_times("2020-01-03", nobody.connection, nobody)


def test_labels_are_the_meds_schema() -> None:
    connection = connect()
    labels = pd.DataFrame(
        {"subject_id": [1], "prediction_time": [EIGHT], "boolean_value": [True], "extra": [1]}
    )
    relation = read_labels(labels, connection)
    assert connection.execute(f"SELECT * FROM {relation}").fetchall() == [
        (1, EIGHT.to_pydatetime(), True)
    ]
    with pytest.raises(InputError, match="boolean_value"):
        read_labels(labels.drop(columns="boolean_value"), connection)
