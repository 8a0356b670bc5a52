"""Ranges, threads and order: the same bits whatever the way the rows come."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest

from magml.definitions.catalogue import Catalogue, Concept, DomainFile
from magml.events import Events, connect, read_events, read_prediction_times
from magml.features import FeatureMatrix, build_matrix, compile_plan, ranges
from magml.features.build import build_matrix as build

T = datetime(2024, 6, 1)
T_US = int(np.datetime64(T, "us").astype(np.int64))
DAY = 86_400_000_000


def catalogue() -> Catalogue:
    every = ("last", "first", "min", "max", "mean", "sum", "slope", "sd", "count", "hours_since")
    lab = {
        f"x{k}": Concept(
            label="X",
            kind="measurement",
            codes=(f"LAB//x{k}",),
            unit="mmol/L",
            features={"ever": every, "7d": every, "30d": every},
        )
        for k in range(5)
    }
    drug = Concept(
        label="D",
        kind="exposure",
        codes=("DRUG//d",),
        features={"now": ("active", "hours_since_start", "hours_since_stop"), "30d": ("days",)},
    )
    return Catalogue(
        domains=(
            DomainFile(domain="lab", concepts=lab),
            DomainFile(domain="medication", concepts={"d": drug}),
        )
    )


def table(people: int = 300, rows: int = 30_000, seed: int = 4) -> pa.Table:
    """Return seeded events, sorted by person; many values stand twice at one moment."""
    rng = np.random.default_rng(seed)
    code = rng.choice(["LAB//x0", "LAB//x1", "LAB//x2", "LAB//x3", "LAB//x4", "DRUG//d"], rows)
    time = T_US - rng.integers(0, 60 * 24, rows) * (DAY // 24)
    drug = code == "DRUG//d"
    return pa.table(
        {
            "subject_id": np.sort(rng.integers(-people // 2, people // 2, rows)) * 10**15,
            "time": pa.array(time, pa.timestamp("us")),
            "code": code,
            "numeric_value": np.exp(rng.normal(0, 3, rows)),
            "unit": pa.array(["mmol/L"] * rows, pa.string(), mask=drug),
            "known_time": pa.array(time + rng.integers(0, DAY, rows), pa.timestamp("us")),
            "end_time": pa.array(
                time + rng.integers(0, 9 * DAY, rows), pa.timestamp("us"), mask=~drug
            ),
        }
    )


def run(events: pa.Table, threads: int = 1, base_threads: int = 1) -> FeatureMatrix:
    connection = connect(threads=base_threads)
    connection.register("given", events)
    connection.execute("CREATE TEMP TABLE stored AS SELECT * FROM given")
    read = read_events(connection.sql("SELECT * FROM stored").to_arrow_table(), connection)
    people = pa.table({"subject_id": np.unique(events["subject_id"].to_numpy())})
    at = pa.concat_tables(
        people.append_column("prediction_time", pa.array([t] * len(people), pa.timestamp("us")))
        for t in (T, datetime(2024, 5, 20, 7))
    )
    relation = read_prediction_times(at, connection, read)
    return build_matrix(compile_plan(catalogue()), read, relation, threads=threads)


@pytest.fixture(scope="module")
def reference() -> FeatureMatrix:
    return run(table())


@pytest.fixture
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "ROWS", 2_000)
    monkeypatch.setattr("magml.features.run.FEW", 1_000)


@pytest.mark.usefixtures("small_ranges")
@pytest.mark.parametrize(("threads", "base_threads"), [(1, 1), (2, 1), (1, 2), (2, 2), (5, 2)])
def test_the_number_of_threads_changes_no_bit(
    reference: FeatureMatrix, threads: int, base_threads: int
) -> None:
    found = run(table(), threads, base_threads)
    assert found.values.tobytes() == reference.values.tobytes()
    assert found.report == reference.report


@pytest.mark.usefixtures("small_ranges")
def test_the_order_of_rows_changes_no_bit(reference: FeatureMatrix) -> None:
    events = table()
    order = np.random.default_rng(1).permutation(len(events))
    found = run(events.take(order), 2, 2)
    assert found.values.tobytes() == reference.values.tobytes()
    assert found.report == reference.report


def test_a_block_that_would_be_too_large_is_cut(
    reference: FeatureMatrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "CELLS", 40 * len(catalogue().features))
    assert run(table(), 2).values.tobytes() == reference.values.tobytes()


def test_the_last_ranges_are_smaller_so_that_two_threads_end_together() -> None:
    # A quarter of the people left, at most 100, at least a fifth of that.
    size = ranges.Size(rows=100, cells=10**9, workers=2)
    one = np.ones(1_000, dtype=np.int64)
    found = [last - first for first, last in ranges.cut(one, one, 5, size)]
    assert found == [100] * 7 + [75, 56, 42, 31, 24, 20, 20, 20, 12]
    alone = ranges.cut(one, one, 5, ranges.Size(rows=100, cells=10**9))
    assert {last - first for first, last in alone} == {100}


def test_ranges_hold_at_most_their_size_and_leave_finished_ones_as_they_are() -> None:
    rng = np.random.default_rng(0)
    rows, times = rng.integers(0, 40, 200), rng.integers(1, 4, 200)
    size = ranges.Size(rows=100, cells=50)

    def check(found: list[tuple[int, int]], finished: dict[int, int]) -> None:
        assert [first for first, _ in found] == [0, *(last for _, last in found[:-1])]
        assert found[-1][1] == 200
        assert finished.items() <= dict(found).items()
        for first, last in found:
            if finished.get(first) != last and last - first > 1:
                assert rows[first:last].sum() <= 100
                assert times[first:last].sum() * 5 <= 50

    whole = list(ranges.cut(rows, times, 5, size))
    check(whole, {})
    assert len(whole) > 30
    larger = {0: 60, 100: 150}
    check(list(ranges.cut(rows, times, 5, size, larger)), larger)
    one = np.array([5000])
    assert list(ranges.cut(one, one, 5, size)) == [(0, 1)]  # whoever has most makes a range


def test_people_outside_the_prediction_times_cost_and_change_nothing() -> None:
    events = read_events(table())
    chosen = pa.table(
        {
            "subject_id": np.unique(table()["subject_id"].to_numpy())[5:6],
            "prediction_time": pa.array([T], pa.timestamp("us")),
        }
    )
    relation = read_prediction_times(chosen, events.connection, events)
    found = build_matrix(compile_plan(catalogue()), events, relation)
    own = events.connection.execute(
        f"SELECT count(*) FROM {events.relation} e JOIN {relation} USING (subject_id) "
        f"WHERE e.known_time < prediction_time AND e.time < prediction_time"
    ).fetchall()[0][0]
    assert found.report.rows == own


def test_the_connection_is_left_as_it_was() -> None:
    events: Events = read_events(table(rows=500))
    relation = read_prediction_times(T, events.connection, events)
    listed = "SELECT table_name FROM information_schema.tables ORDER BY 1"
    before = events.connection.execute(listed).fetchall()
    build(compile_plan(catalogue()), events, relation)
    assert events.connection.execute(listed).fetchall() == before
