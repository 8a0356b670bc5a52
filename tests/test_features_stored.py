"""Events read from Parquet files by their dictionaries: the same bits as by the engine's query."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from magml.errors import InputError
from magml.events import read_events, read_prediction_times
from magml.features import FeatureMatrix, build_matrix, compile_plan, ranges, stored
from magml.features.groups import Groups
from magml.features.usable import Reader
from tests.test_features_runs import T, catalogue
from tests.test_features_runs import table as plain_table


def table() -> pa.Table:
    """Return events of which some have other codes, no unit, no value, or no moment."""
    events = plain_table()
    rng = np.random.default_rng(8)
    n = len(events)
    other = pa.array([f"OTHER//{k}" for k in rng.integers(0, 400, n)])
    code = pc.if_else(pa.array(rng.random(n) < 0.4), other, events["code"].combine_chunks())
    value = pa.array(events["numeric_value"].to_numpy(), mask=rng.random(n) < 0.1)
    time = pa.array(events["time"].to_numpy(), mask=rng.random(n) < 0.02)
    known = pa.array(events["known_time"].to_numpy(), mask=rng.random(n) < 0.3)
    found = {"code": code, "numeric_value": value, "time": time, "known_time": known}
    for name, column in found.items():
        events = events.set_column(events.column_names.index(name), name, column)
    return events


def build(data: pa.Table | Path, *, strict: bool, threads: int = 2) -> FeatureMatrix:
    events = read_events(data)
    relation = read_prediction_times(T, events.connection, events)
    plan = compile_plan(catalogue())
    return build_matrix(plan, events, relation, threads=threads, strict=strict)


def same(one: FeatureMatrix, other: FeatureMatrix) -> None:
    assert one.values.tobytes() == other.values.tobytes()
    assert one.report == other.report
    assert one.empty.tolist() == other.empty.tolist()


@pytest.fixture(scope="module", params=[True, False], ids=["strict", "lenient"])
def reference(request: pytest.FixtureRequest) -> tuple[FeatureMatrix, bool]:
    return build(table(), strict=request.param), request.param


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "ROWS", 4_000)
    monkeypatch.setattr("magml.features.run.FEW", 1_000)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows with every range that the engine reads."""
    real, found = Reader.read, []

    def counting(self: Reader, first: int, last: int):
        found.append(first)
        return real(self, first, last)

    monkeypatch.setattr(Reader, "read", counting)
    return found


@pytest.mark.parametrize(("block", "rows"), [(64, 8), (500, 8), (100_000, 8), (500, 10**6)])
def test_one_file(reference, reads, block: int, rows: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(stored, "BLOCK", block)  # 64: more pairs than rows
    monkeypatch.setattr(stored, "_SEVERAL", rows)  # a million: nobody's rows are told beforehand
    pq.write_table(table(), tmp_path / "e.parquet", row_group_size=1_700)
    found = build(tmp_path / "e.parquet", strict=reference[1])
    same(found, reference[0])
    assert reads == []


def test_several_files_that_were_written_in_several_ways(reference, reads, tmp_path) -> None:
    events = table()
    cuts = [0, 9_000, 9_001, 20_000, len(events)]
    ways = [
        {"use_dictionary": False},
        {},
        {"compression": "zstd", "store_schema": False},
        {"version": "1.0", "compression": "gzip", "use_dictionary": ["code"]},
    ]
    for k, way in enumerate(ways):
        part = events.slice(cuts[k], cuts[k + 1] - cuts[k])
        moments = {0: ("ns", ["time", "known_time", "end_time"]), 2: ("ms", ["time"])}
        precision, names = moments.get(k, ("us", []))
        for name in names:
            place = part.column_names.index(name)
            part = part.set_column(place, name, part[name].cast(pa.timestamp(precision)))
        if k == 1:
            part = part.drop_columns(["end_time"])
        pq.write_table(part, tmp_path / f"{k}.parquet", row_group_size=2_000, **way)
    same(build(tmp_path, strict=reference[1]), reference[0])
    assert reads == []


def test_people_in_any_order_within_a_row_group(reference, reads, tmp_path: Path) -> None:
    events, rng = table(), np.random.default_rng(2)
    order = np.concatenate(
        [a + rng.permutation(min(3_000, len(events) - a)) for a in range(0, len(events), 3_000)]
    )
    pq.write_table(events.take(order), tmp_path / "e.parquet", row_group_size=3_000)
    same(build(tmp_path / "e.parquet", strict=reference[1]), reference[0])
    assert reads == []


def test_people_strewn_over_the_file_are_sorted_by_the_engine(reference, reads, tmp_path) -> None:
    events = table()
    order = np.random.default_rng(3).permutation(len(events))
    pq.write_table(events.take(order), tmp_path / "e.parquet", row_group_size=3_000)
    same(build(tmp_path / "e.parquet", strict=reference[1]), reference[0])
    assert len(reads) > 3


def test_a_moment_finer_than_a_microsecond_is_left_to_the_engine(
    reference, reads, tmp_path: Path
) -> None:
    events = table()
    place = events.column_names.index("time")
    time = events["time"].cast(pa.timestamp("ns")).cast(pa.int64()).to_numpy(zero_copy_only=False)
    nulls = np.isnan(time)
    fine = np.where(nulls, 0, time).astype(np.int64)
    fine[12_345] += 7
    column = pa.array(fine, pa.timestamp("ns"), mask=nulls)
    assert not nulls[12_345]
    pq.write_table(
        events.set_column(place, "time", column), tmp_path / "e.parquet", row_group_size=2_000
    )
    same(build(tmp_path / "e.parquet", strict=reference[1]), reference[0])
    assert 1 <= len(reads) <= 2  # those that hold the row group; the others are plain


def test_moments_with_a_zone_are_left_to_the_engine(reference, reads, tmp_path: Path) -> None:
    events = table()
    place = events.column_names.index("time")
    zoned = events["time"].cast(pa.timestamp("us", tz="UTC"))
    pq.write_table(events.set_column(place, "time", zoned), tmp_path / "e.parquet")
    same(build(tmp_path / "e.parquet", strict=reference[1]), reference[0])
    assert len(reads) > 3


def test_another_relation_of_the_same_files_is_not_taken_for_them(tmp_path: Path) -> None:
    pq.write_table(table(), tmp_path / "e.parquet")
    events = read_events(tmp_path / "e.parquet")
    people = np.array([0])
    groups = Groups(compile_plan(catalogue()))
    assert stored.Stored.of(events, people, people, groups) is not None
    assert stored.Stored.of(events.materialise(), people, people, groups) is None


@pytest.mark.parametrize("column", ["subject_id", "numeric_value"])
def test_a_damaged_file_is_refused_in_words(column: str, tmp_path: Path) -> None:
    path = tmp_path / "e.parquet"
    pq.write_table(table(), path, row_group_size=3_000, compression="none", use_dictionary=False)
    whole = bytearray(path.read_bytes())
    group = pq.read_metadata(path).row_group(7)
    offset = group.column(table().column_names.index(column)).data_page_offset
    whole[offset : offset + 40] = b"\xff" * 40
    path.write_bytes(whole)
    with pytest.raises(InputError, match="cannot be read"):
        build(path, strict=False)


def test_files_without_optional_columns_are_read(tmp_path: Path) -> None:
    bare = table().select(["subject_id", "time", "code"])
    pq.write_table(bare, tmp_path / "e.parquet")
    found = build(tmp_path / "e.parquet", strict=False)
    same(found, build(bare, strict=False))
    assert np.isfinite(found.values).any()


class Growing(list):
    """Stands for threads that meet further codes: it is longer after every look through it."""

    def __iter__(self):
        found = list(self[:])
        self.append((f"NEW//{len(self)}", ""))
        return iter(found)


def test_the_engine_reads_by_the_groups_of_one_moment() -> None:
    events, groups = read_events(table()), Groups(compile_plan(catalogue()))
    groups.numbers([("LAB//x0", "mmol/L")])
    groups.names = Growing(groups.names)
    people = np.unique(table()["subject_id"].to_numpy())
    horizon = np.full(len(people), np.datetime64(T, "us").astype(np.int64))
    usable = Reader(events, people, horizon, groups).read(0, len(people))
    assert usable.met[0].sum() == len(usable) > 20_000
