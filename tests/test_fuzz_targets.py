"""A seeded slice of ``make fuzz``, and every input that once crashed something."""

from __future__ import annotations

import gzip
import json
import os
import sys
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from magml.definitions.read import read_yaml
from magml.errors import DefinitionError, InputError
from magml.limits import check_files
from magml.models.ubj import check_booster
from magml.sources import open_source
from magml.sources.registry import LAYOUTS
from tests.fuzz import __main__ as fuzz
from tests.fuzz.__main__ import inputs
from tests.fuzz.run import Crash, Target, corpus
from tests.fuzz.seeds import BUNDLE
from tests.fuzz.targets import targets

#: Executions of a slice: as many as fit a second or two.
SLICE = {
    "fhir_rows": 1500, "requests": 1500, "fhir_dates": 3000, "units": 40, "manifest": 500,
    "monitored": 300, "tokens": 500, "definitions": 200, "xport": 60, "bundle": 25, "booster": 200,
    "api": 60, "fhir_bundle": 40, "csv": 25, "parquet": 25, "ndjson": 12, "meds": 6, "omop": 3,
    "database": 12, "plain": 3, "eicu": 4, "nhanes": 12, "nhanes1": 12,
    "physionet2012": 15, "names": 600,
    "cells": 60, "doses": 60, "aggregates": 60, "signature": 200, "foods": 25, "guesses": 6,
}  # fmt: skip


@pytest.fixture(scope="module")
def known() -> dict[str, Target]:
    return targets()


def test_every_target_has_a_slice(known: dict[str, Target]) -> None:
    assert set(SLICE) == set(known)
    # The layout of FHIR is read as NDJSON, that of events as CSV and Parquet.
    assert set(LAYOUTS) - {"fhir", "events"} <= set(known)
    assert sum(target.share for target in known.values()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", SLICE)
def test_nonsense_is_read_or_refused(known: dict[str, Target], name: str) -> None:
    executions = SLICE[name] * int(os.environ.get("MAGML_FUZZ_TIMES", "1"))
    kept = len(corpus(name))
    for data in islice(inputs(known[name], seed=1), kept + executions):  # type: ignore[call-overload]
        known[name].execute(data)


def test_a_crash_is_seen(known: dict[str, Target]) -> None:
    """What the harness must notice, it notices."""

    def defect(_: bytes) -> None:
        raise KeyError("x")

    def leak(_: bytes) -> None:
        raise InputError("no file /secret/place/x.csv")

    with pytest.raises(Crash, match="KeyError"):
        Target("a", defect, 0).execute(b"")
    with pytest.raises(Crash, match="path"):
        Target("a", leak, 0, "/secret/place").execute(b"")


def test_what_is_cut_short_is_named_and_made_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds = []

    def spawn(name: str, executions: int, seed: int, *_: object) -> dict[str, object]:
        if name == "fhir_rows":
            seeds.append(seed)
        done = executions // 2 if name in ("foods", "names") else executions
        return {"target": name, "seconds": 1, "executions": done, "crashes": 0}

    monkeypatch.setattr(fuzz, "_spawn", spawn)
    monkeypatch.setattr(sys, "argv", ["fuzz", "--executions", "100000", "--seed", "7"])
    with pytest.raises(SystemExit) as ended:
        fuzz.main()
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert ended.value.code == 0
    assert told["executions"] >= 100_000
    assert set(told["cut short"]) == {"foods", "names"}
    assert seeds[:2] == [7, 8]  # other inputs than the first time


def test_generated_cases_of_the_contract_get_no_server_error() -> None:
    pytest.importorskip("schemathesis", reason="needs schemathesis")
    from tests.fuzz.api import run_api

    found = run_api(60, 1)
    assert sum(found.values()) >= 60
    assert {status for _, status in found} >= {200, 422}


def test_what_unfolds_beyond_measure_is_refused(tmp_path: Path) -> None:
    bomb = tmp_path / "labs.csv.gz"
    with gzip.open(bomb, "wb", compresslevel=9) as stream:
        for _ in range(120):
            stream.write(b"0" * 1_000_000)
    with pytest.raises(InputError, match="200 times its size"):
        check_files([bomb])
    rows = tmp_path / "events.parquet"
    with pq.ParquetWriter(rows, pa.schema([("subject_id", pa.int64())])) as writer:
        for _ in range(12):
            writer.write_table(
                pa.table({"subject_id": pa.array([1] * 1_000_000)}), row_group_size=1_000_000
            )
    with pytest.raises(InputError, match="12000000 rows"):
        check_files([rows])
    fine = tmp_path / "fine.csv.gz"
    fine.write_bytes(gzip.compress(b"subject_id,code\n1,a\n" * 1000))
    check_files([fine, tmp_path / "none.parquet"])
    (tmp_path / "fhir").mkdir()
    bomb.rename(tmp_path / "fhir" / "a.ndjson.gz")
    with pytest.raises(InputError, match="200 times"):
        open_source("fhir", tmp_path / "fhir")


def test_aliases_that_unfold_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    (tmp_path / "laughs.yaml").write_text("\n".join(lines))
    with pytest.raises(DefinitionError, match="aliases"):
        read_yaml(tmp_path / "laughs.yaml")
    (tmp_path / "loop.yaml").write_text("a: &a [*a]\n")
    with pytest.raises(DefinitionError):
        read_yaml(tmp_path / "loop.yaml")
    (tmp_path / "large.yaml").write_text("a: " + "x" * 5_000_001)
    with pytest.raises(DefinitionError, match="larger than"):
        read_yaml(tmp_path / "large.yaml")
    (tmp_path / "date.yaml").write_text("a: 2025-13-45\n? [1, 2]\n: x\n")
    with pytest.raises(DefinitionError):
        read_yaml(tmp_path / "date.yaml")


def test_a_forged_booster_is_refused_before_xgboost_sees_it() -> None:
    data = next(content for name, content in sorted(BUNDLE().items()) if name.endswith(".ubj"))
    check_booster(data)
    for name in (b"left_children", b"right_children", b"split_indices", b"parents"):
        place = data.index(name) + len(name) + len(b"[$l#L") + 8
        forged = bytearray(data)
        forged[place : place + 4] = (10_000).to_bytes(4, "big")
        with pytest.raises(ValueError, match=r"node|tree|split"):
            check_booster(bytes(forged))
    with pytest.raises(ValueError, match="after its end"):
        check_booster(data + b"{}")
