"""Features of few records in memory: bit for bit what the engine gives, or left to it."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from magml.definitions.read import read_catalogue
from magml.events import read_events, read_prediction_times
from magml.features import build_matrix, compile_plan, find_evidence
from magml.features.few import FEW, read_few

START = np.datetime64("2024-01-01T00:00:00", "us")


@pytest.fixture(scope="module")
def plan():
    return compile_plan(read_catalogue())


def records(seed: int, rows: int = 800) -> pd.DataFrame:
    """Return records of the whole catalogue with all that goes wrong in them."""
    rng = np.random.default_rng(seed)
    kinds = [c for c in read_catalogue().by_name.values() if c.codes]
    chosen = [kinds[k] for k in rng.integers(len(kinds), size=rows)]
    hours = rng.integers(0, 24 * 400, rows)  # whole hours of few days: moments stand twice
    time = START + (hours // 5 * 5) * np.timedelta64(1, "h")
    known = time + rng.integers(-3, 90, rows) * np.timedelta64(1, "h")
    end = time + rng.integers(-2, 900, rows) * np.timedelta64(1, "h")
    value = np.round(rng.lognormal(1, 1.5, rows), 2)
    value[rng.random(rows) < 0.1] = np.nan
    value[rng.random(rows) < 0.01] = np.inf
    units = [rng.choice([c.unit or "", "mg/dL", "mmol/L", "", "mg", "furlong"]) for c in chosen]
    frame = pd.DataFrame(
        {
            "subject_id": rng.integers(-3, 4, rows),
            "time": time,
            "code": [str(rng.choice(c.codes)).rstrip("*") for c in chosen],
            "numeric_value": value,
            "unit": [u or None for u in units],
            "text_value": [None if k % 3 else "seen" for k in range(rows)],
            "known_time": known,
            "end_time": end,
            "source": [f"row {k}" for k in range(rows)],
        }
    )
    for name, share in (("time", 0.03), ("known_time", 0.4), ("end_time", 0.5)):
        frame.loc[rng.random(rows) < share, name] = pd.NaT
    frame.loc[frame.index[:5], "code"] = "MEDS_BIRTH"
    return frame


def times(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    moments = START + rng.choice(24 * 420, 12, replace=False) * np.timedelta64(1, "h")
    return pd.DataFrame({"subject_id": rng.integers(-3, 6, 12), "prediction_time": moments})


def by_engine(plan, frame, at):
    events = read_events(frame)
    relation = read_prediction_times(at, events.connection, events)
    return build_matrix(plan, events, relation, strict=False), events


@pytest.mark.parametrize("seed", range(6))
def test_few_records_give_the_bits_the_report_and_the_evidence_of_the_engine(plan, seed):
    frame, at = records(seed), times(seed)
    expected, events = by_engine(plan, frame, at)
    few = read_few(frame, at)
    assert few is not None
    found = few.matrix(plan)
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.empty, expected.empty)
    np.testing.assert_array_equal(found.subject_id, expected.subject_id)
    np.testing.assert_array_equal(found.prediction_time, expected.prediction_time)
    assert found.report == expected.report
    assert np.isfinite(found.values).any()
    assert found.report.rejected
    names = tuple(np.random.default_rng(seed).choice(plan.features, 60, replace=False))
    asked = [(int(s), t, names) for s, t in zip(at.subject_id, at.prediction_time, strict=True)]
    assert find_evidence(plan, few, asked) == find_evidence(plan, events, asked)


def test_people_without_records_have_no_evidence(plan):
    frame, at = records(2).iloc[:0], times(2)
    expected, events = by_engine(plan, frame, at)
    few = read_few(frame, at)
    assert few is not None
    np.testing.assert_array_equal(few.matrix(plan).values, expected.values)
    names = plan.features[::20]
    asked = [(int(s), t, names) for s, t in zip(at.subject_id, at.prediction_time, strict=True)]
    found = find_evidence(plan, few, asked)
    assert found == find_evidence(plan, events, asked)
    assert found[0] == dict.fromkeys(names, ())


@pytest.mark.parametrize(
    "moment",
    [dt.datetime(2024, 9, 1, 8), "2024-09-01T08:00:00+02:00", dt.date(2024, 9, 1)],
)
def test_one_moment_holds_for_everybody(plan, moment):
    frame = records(9, 200)
    expected, _ = by_engine(plan, frame, moment)
    few = read_few(frame, moment)
    assert few is not None
    np.testing.assert_array_equal(few.matrix(plan).values, expected.values)
    np.testing.assert_array_equal(few.at_subject, expected.subject_id)


def test_arrow_zones_dictionaries_and_small_types_are_read_as_the_engine_reads_them(plan):
    frame, at = records(3, 200), times(3)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    for name, kind in (
        ("subject_id", pa.int16()),
        ("time", pa.timestamp("ms", tz="Europe/Berlin")),
        ("known_time", pa.timestamp("ns")),
        ("code", pa.dictionary(pa.int32(), pa.string())),
        ("unit", pa.large_string()),
        ("numeric_value", pa.float32()),
    ):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, table.column(name).cast(kind))
    table = pa.concat_tables([table.slice(0, 77), table.slice(77)])
    expected, _ = by_engine(plan, table, at)
    few = read_few(table, at)
    assert few is not None
    np.testing.assert_array_equal(few.matrix(plan).values, expected.values)


def test_what_is_not_plain_is_left_to_the_engine(tmp_path):
    frame, at = records(1, 50), times(1)
    frame.to_parquet(tmp_path / "e.parquet")
    assert read_few(frame, at) is not None
    assert read_few(tmp_path / "e.parquet", at) is None
    assert read_few(read_events(frame), at) is None
    assert read_few(frame, tmp_path / "at.parquet") is None
    assert read_few(frame, pd.concat([at, at])) is None  # twice
    assert read_few(frame, at.iloc[:0]) is None
    assert read_few(frame.iloc[:0], "2024-09-01") is None  # nobody
    assert read_few(pd.concat([frame] * (FEW // 50 + 1)), at) is None
    for name in ("subject_id", "time", "code"):
        assert read_few(frame.drop(columns=name), at) is None
    for name, value in (
        ("subject_id", "x"),
        ("time", "2024-01-01"),
        ("time", pd.Timestamp("2024-01-01 00:00:00.000000001")),
        ("code", 7),
        ("code", None),
        ("numeric_value", "3.1"),
        ("numeric_value", True),
        ("unit", 1.0),
        ("source", 3),
    ):
        assert read_few(frame.assign(**{name: value}), at) is None, (name, value)
    mixed = frame.assign(unit=["mg", *[1] * 49])
    assert read_few(mixed, at) is None
