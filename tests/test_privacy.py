"""Recognisable values of patients go in; none comes out, but in the files asked for by name.

Every command that reads records runs on planted ones. What it prints, logs, raises, and leaves in
its results, in MLflow, in reports and in temporary files is searched for them, as text and, ids, as
the bytes of an integer. Temporary files are read while the commands run, too.
"""

from __future__ import annotations

import logging
import os
import re
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from magml.cli.app import app
from magml.simulation import generate_hospital
from tests.test_train import small_workspace

FIRST = 8_812_000_000_000_000
#: Recognisable texts; ids are those from `FIRST` on.
PLANTED = re.compile(
    rb"ZZ(SRC|ROW|NAME|TEXT|VISIT|BAD)|88120\d{11}|243\.21987|1931-07-29|03:17:41"
    # Not the end of a longer number: 62/81 is 0.7654320987654321.
    rb"|(?<!\d)654321(?!\d)"
)
IDS = [struct.pack("<q", FIRST + 7919 * number) for number in range(1, 1201, 7)]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records in which every person, row and text can be recognised."""
    folder = generate_hospital(1200, seed=3).write(tmp_path_factory.mktemp("planted") / "records")
    events = pd.read_parquet(folder / "events.parquet")
    events["subject_id"] = FIRST + 7919 * events["subject_id"]
    events["source"] = [f"ZZROW:{number}" for number in range(len(events))]
    events["visit_id"] = "ZZVISIT-1"
    events["text_value"] = np.where(events["numeric_value"].isna(), "ZZTEXT of Mrs Miller", None)
    one = events["subject_id"] == FIRST + 7919
    birth = one & (events["code"] == "MEDS_BIRTH")
    events.loc[birth, "time"] = pd.Timestamp("1931-07-29 03:17:41.654321")
    name = (
        events[one]
        .tail(1)
        .assign(code="DRUG//ZZNAME Miller", numeric_value=np.nan, time=pd.Timestamp("2024-06-01"))
    )
    weight = name.assign(code="LOINC//29463-7", numeric_value=243.21987, unit="kg")
    pd.concat([events, name, weight]).to_parquet(folder / "events.parquet", index=False)
    subjects = pd.read_parquet(folder / "subjects.parquet")
    subjects["subject_id"] = FIRST + 7919 * subjects["subject_id"]
    subjects["source_id"] = "ZZSRC-" + subjects["subject_id"].astype(str)
    subjects.to_parquet(folder / "subjects.parquet", index=False)
    return folder


def found_in(data: bytes) -> list[bytes]:
    texts = [match.group() for match in PLANTED.finditer(data)]
    return texts + [identity for identity in IDS if identity in data]


def files_with(folder: Path) -> dict[str, list[bytes]]:
    """Return the files under a folder that hold something planted, their names included."""
    found = {}
    listed = [Path(top) / name for top, _, names in os.walk(folder) for name in names]
    for path in listed:
        try:
            data = path.name.encode() + (path.read_bytes() if path.is_file() else b"")
        except OSError:  # gone meanwhile
            continue
        if hit := found_in(data):
            found[str(path.relative_to(folder))] = hit[:3]
    return found


@contextmanager
def watched(folder: Path) -> Iterator[dict[str, list[bytes]]]:
    """Read all temporary files again and again while commands run."""
    seen: dict[str, list[bytes]] = {}
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.02):
            seen.update(files_with(folder))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def test_what_is_planted_is_found_by_the_search(records: Path) -> None:
    """The search itself: it sees each kind of what was planted."""
    raw = pd.read_parquet(records / "events.parquet").to_csv().encode()
    kinds = {match[:5] for match in found_in(raw)}
    assert {b"ZZROW", b"ZZTEX", b"ZZNAM", b"ZZVIS", b"88120", b"243.2", b"1931-"} <= kinds
    assert found_in(b"..." + IDS[3] + b"...")


@pytest.mark.slow
def test_no_command_lets_a_patient_out(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    temporary, work = tmp_path / "temporary", tmp_path / "work"
    asked = tmp_path / "asked for"  # rows of patients, by name
    for folder in (temporary, work, asked):
        folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.chdir(work)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{work / 'mlflow.db'}")
    caplog.set_level(logging.INFO)
    workspace = small_workspace(tmp_path / "workspace")
    study = str(workspace / "experiments" / "demo.yaml")
    rows = ["--experiment", study, "--data", str(records)]
    events = ["--events", str(records / "events.parquet"), "--at", "2024-12-30"]
    for name, column in (("bad.csv", "time"), ("worse.csv", "numeric_value")):
        table = pd.read_parquet(records / "events.parquet").head(2000)
        table[column] = table[column].astype(object)
        table.loc[3, column] = "ZZBAD Miller"
        table.to_csv(asked / name, index=False)
    pd.DataFrame({"subject_id": ["ZZBAD"], "prediction_time": ["ZZBAD"]}).to_csv(
        asked / "at.csv", index=False
    )
    bundle = "runs/demo/bundle"
    commands: list[tuple[int, list[str]]] = [
        (0, ["train", study, "--data", str(records), "--quick"]),
        (0, ["score", bundle, *events, "--out", str(asked / "scores.csv")]),
        (0, ["explain", bundle, *events, "--out", str(asked / "reasons.csv")]),
        (0, ["cohort", study, "--data", str(records), "--out", str(asked / "cohort")]),
        (0, ["report", "runs/demo", "--out", "report.html", "--markdown", "report.md"]),
        (0, ["validate", bundle, *rows, "--out", "validation", "--replicates", "50"]),
        (0, ["export-aggregate", "validation", "--out", "aggregate.json"]),
        (0, ["recalibrate", bundle, *rows, "--out", "recalibrated", "--replicates", "50"]),
        (0, ["monitor", bundle, *rows, "--html", "monitor.html", "--track", "--json"]),
        # What is wrong is said without the values that are.
        (2, ["score", bundle, "--events", str(asked / "bad.csv"), "--at", "2024-12-30"]),
        (2, ["score", bundle, "--events", str(asked / "worse.csv"), "--at", "2024-12-30"]),
        (2, ["score", bundle, *events[:2], "--at", str(asked / "at.csv")]),
    ]
    runner, said = CliRunner(), {}
    with watched(temporary) as seen:
        for expected, arguments in commands:
            done = runner.invoke(app, arguments)
            status = 0 if done.exception is None else 2
            assert status == expected, f"{arguments[0]}: {done.output[-800:]} {done.exception}"
            text = f"{done.output} {done.exception or ''}".encode()
            said[" ".join(arguments[:2])] = found_in(text)
    assert not {name: hit for name, hit in said.items() if hit}
    assert not found_in(caplog.text.encode())
    assert not files_with(work)
    assert not seen
    assert not files_with(temporary)
    # What was asked for by name is there, so the runs did see these patients.
    assert b"88120" in (asked / "scores.csv").read_bytes()
    assert b"ZZROW" in (asked / "reasons.csv").read_bytes()
