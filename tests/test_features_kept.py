"""A feature building that was killed goes on after its finished ranges, and never mixes inputs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from magml.events import read_events, read_prediction_times
from magml.features import build_matrix, compile_plan, ranges
from magml.features.usable import Reader
from magml.features.write import write_matrix
from tests.test_features_runs import T, catalogue, table

MAGML = str(Path(sys.executable).with_name("magml"))


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Events that take seconds to build, in a few ranges at the least memory."""
    folder = tmp_path_factory.mktemp("events")
    events = table(people=6_000, rows=900_000)
    codes = {f"LAB//x{k}": f"LOINC//{c}" for k, c in enumerate(
        ("19123-9", "2823-3", "2160-0", "718-7", "2951-2"))}  # fmt: skip
    changed = events["code"].to_pandas().replace(codes)
    place = events.column_names.index("code")
    pq.write_table(
        events.set_column(place, "code", pa.array(changed)).drop_columns(["unit"]).append_column(
            "unit", pa.array(changed.map({**UNITS, "DRUG//d": None}), pa.string())),
        folder / "events.parquet", row_group_size=100_000,
    )  # fmt: skip
    return folder


UNITS = {"LOINC//19123-9": "mg/dL", "LOINC//2823-3": "mmol/L", "LOINC//2160-0": "mg/dL",
         "LOINC//718-7": "g/dL", "LOINC//2951-2": "mmol/L"}  # fmt: skip


def command(given: Path, out: Path) -> list[str]:
    return [MAGML, "features", "--events", str(given / "events.parquet"), "--at", "2024-06-01",
            "--out", str(out), "--memory", "500MB", "--set-aside"]  # fmt: skip


def test_a_killed_building_ends_in_the_same_bytes(given: Path, tmp_path: Path) -> None:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    whole, out = tmp_path / "whole.parquet", tmp_path / "killed.parquet"
    subprocess.run(command(given, whole), check=True, **quiet)
    process = subprocess.Popen(command(given, out), **quiet)
    kept: list[Path] = []
    deadline = time.monotonic() + 120
    while len(kept) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
        kept = list((tmp_path / ".killed.parquet.unfinished").glob("*-people-*.npz"))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert kept
    assert not out.exists()
    stamps = {path.name: path.stat().st_mtime_ns for path in kept}
    again = subprocess.Popen(command(given, out), **quiet)
    while again.poll() is None:
        time.sleep(0.02)
        for path in kept:
            # What was finished is read, not written again.
            if path.exists():
                assert path.stat().st_mtime_ns == stamps[path.name]
    assert again.returncode == 0
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed.parquet", "whole.parquet"]


class Killed(BaseException):
    """Stands for a signal: nothing in magml may catch it."""


@pytest.fixture
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "ROWS", 2_000)


def write(events: pa.Table, out: Path, at: object = T) -> None:
    read = read_events(events)
    relation = read_prediction_times(at, read.connection, read)
    write_matrix(compile_plan(catalogue()), read, relation, out, threads=1, strict=False)


def killed(monkeypatch: pytest.MonkeyPatch, events: pa.Table, out: Path, reads: int) -> None:
    with monkeypatch.context() as patch:
        counted(patch, reads)
        with pytest.raises(Killed):
            write(events, out)


def counted(monkeypatch: pytest.MonkeyPatch, most: int = 10**9) -> list[tuple[int, int]]:
    """Count the ranges read, and die at one of them."""
    real, read = Reader.read, []

    def counting(self: Reader, first: int, last: int):
        if len(read) == most:
            raise Killed
        read.append((first, last))
        return real(self, first, last)

    monkeypatch.setattr(Reader, "read", counting)
    return read


@pytest.mark.usefixtures("small_ranges")
def test_only_what_is_missing_is_read_again(monkeypatch, tmp_path: Path) -> None:
    events = table()
    write(events, tmp_path / "whole.parquet")
    killed(monkeypatch, events, tmp_path / "out.parquet", 9)
    kept = sorted((tmp_path / ".out.parquet.unfinished").iterdir())
    assert len(kept) >= 7  # two may have been in work
    kept[2].write_bytes(kept[2].read_bytes()[:1000])  # damaged: it is computed again
    with monkeypatch.context() as patch:
        read = counted(patch)
        write(events, tmp_path / "out.parquet")
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    total = -(-len(events) // 2_000)
    assert len(read) <= total - len(kept) + 4
    assert not (tmp_path / ".out.parquet.unfinished").exists()


@pytest.mark.usefixtures("small_ranges")
@pytest.mark.parametrize("change", ["value", "order", "time", "memory"])
def test_a_changed_input_finds_nothing_kept(change: str, monkeypatch, tmp_path: Path) -> None:
    events, at = table(), T
    killed(monkeypatch, events, tmp_path / "out.parquet", 9)
    if change == "value":  # of the first person, whose range was finished
        values = events["numeric_value"].to_numpy().copy()
        values[np.flatnonzero(pc.equal(events["code"], "LAB//x0").to_numpy())[0]] += 1
        place = events.column_names.index("numeric_value")
        events = events.set_column(place, "numeric_value", pa.array(values))
    elif change == "order":
        events = events.take(np.random.default_rng(3).permutation(len(events)))
    elif change == "time":
        at = T.replace(day=2)
    else:  # other ranges: finished ones keep their bounds
        monkeypatch.setattr(ranges, "ROWS", 3_500)
    with monkeypatch.context() as patch:
        read = counted(patch)
        write(events, tmp_path / "out.parquet", at)
    again = change in ("value", "time")
    assert (read[0][0] == 0) == again
    write(events, tmp_path / "fresh.parquet", at)
    found = [pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("out", "fresh")]
    pd.testing.assert_frame_equal(*found)


@pytest.mark.usefixtures("small_ranges")
@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_what_is_written_is_the_matrix_in_the_order_asked_for(suffix: str, tmp_path: Path) -> None:
    events = table()
    people = np.unique(events["subject_id"].to_numpy())
    order = np.random.default_rng(2).permutation(len(people))
    at = pa.table({"subject_id": people[order], "prediction_time": [T] * len(people)})
    write(events, tmp_path / f"out{suffix}", at)
    read = read_events(events)
    relation = read_prediction_times(at, read.connection, read)
    expected = build_matrix(compile_plan(catalogue()), read, relation, strict=False).to_pandas()
    if suffix == ".parquet":
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out.parquet"), expected)
    else:
        found = pd.read_csv(tmp_path / "out.csv", parse_dates=["prediction_time"])
        assert np.allclose(found.iloc[:, 2:], expected.iloc[:, 2:], rtol=1e-5, equal_nan=True)
        assert (found["subject_id"] == expected["subject_id"]).all()
    assert [path.name for path in tmp_path.iterdir()] == [f"out{suffix}"]
