"""``magml features --engine``: the same matrix as from files, and no credentials in any message."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from magml.cli.app import app
from magml.errors import InputError, MagmlError, MissingDependencyError
from tests.engine_parts import histories, table_of, times_of, to_postgres
from tests.review_parts import postgresql

SECRET = "hunter2-hunter2"


def features(*options: str) -> object:
    return CliRunner().invoke(app, ["features", *options])


def test_the_matrix_of_a_table_in_postgresql_is_that_of_a_file(tmp_path: Path) -> None:
    psycopg = pytest.importorskip("psycopg")
    table, times = table_of(histories(20)), times_of(20).to_pandas()
    times.to_csv(tmp_path / "at.csv", index=False)
    common = ["--at", str(tmp_path / "at.csv"), "--domain", "medication"]
    pd.DataFrame(table.to_pandas()).to_parquet(tmp_path / "events.parquet")
    with postgresql() as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA cdm")
        to_postgres(connection, table, "cdm.rows")
        out = tmp_path / "there.parquet"
        done = features(
            "--engine", url, "--table", "cdm.rows", "--out", str(out), "--json", *common
        )
        assert done.exit_code == 0, done.output
        gone = features("--engine", url, "--table", "cdm.none", "--out", str(out), *common)
        assert isinstance(gone.exception, InputError)
        assert "does not exist" in str(gone.exception)
    here = tmp_path / "here.parquet"
    done_here = features(
        "--events", str(tmp_path / "events.parquet"), "--out", str(here), "--json", *common
    )
    assert done_here.exit_code == 0, done_here.output
    there, known = pd.read_parquet(out), pd.read_parquet(here)
    assert there.columns.tolist() == known.columns.tolist()
    keys = ["subject_id", "prediction_time"]
    pd.testing.assert_frame_equal(there[keys], known[keys])
    np.testing.assert_allclose(
        there.drop(columns=keys), known.drop(columns=keys), rtol=1e-6, atol=1e-9
    )
    assert json.loads(done.stdout)["rows"] == len(known)


@pytest.mark.parametrize(
    "engine",
    [
        f"postgresql://reader:{SECRET}@127.0.0.1:1/cdm",
        f"postgresql://reader:{SECRET}@[broken/cdm",
        f"snowflake://reader:{SECRET}@account/cdm",
        f"reader:{SECRET}@account",
    ],
)
def test_no_message_holds_the_password(engine: str, tmp_path: Path) -> None:
    done = features(
        "--engine", engine, "--table", "t", "--at", "2025-01-01", "--out", str(tmp_path / "f.csv")
    )
    assert isinstance(done.exception, MagmlError)
    assert SECRET not in str(done.exception) + done.output
    assert list(tmp_path.iterdir()) == []


def test_options_that_do_not_go_together_are_named(tmp_path: Path) -> None:
    done = features("--table", "t", "--at", "2025-01-01", "--out", str(tmp_path / "f.csv"))
    assert "--engine" in str(done.exception)
    done = features(
        "--engine", "postgres", "--table", "t", "--at", "2025-01-01", "--out", "f.csv",
        "--set-aside", "--events", "e.parquet",
    )  # fmt: skip
    assert "take no --events or --set-aside" in str(done.exception)


@pytest.mark.parametrize(("engine", "module"), [("postgres", "psycopg"), ("spark", "pyspark")])
def test_a_missing_extra_is_named(
    engine: str, module: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(__import__("sys").modules, module, None)
    done = features(
        "--engine", engine, "--table", "t", "--at", "2025-01-01", "--out", str(tmp_path / "f.csv")
    )
    assert isinstance(done.exception, MissingDependencyError)
    assert "pip install 'magml[" in str(done.exception)
