"""The plan as data: JSON, hashes, engines, and running without the libraries that compile it."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from magml.definitions import read_catalogue
from magml.definitions.catalogue import Catalogue
from magml.errors import BundleError, DefinitionError
from magml.features import DIALECTS, Plan, compile_plan
from tests.test_features import small_catalogue

ROOT = Path(__file__).resolve().parent.parent


def changed(**update: object) -> Catalogue:
    """Return the small catalogue with its measurement changed."""
    base = small_catalogue()
    concept = base.domains[0].concepts["x"].model_copy(update=update)
    lab = base.domains[0].model_copy(update={"concepts": {"x": concept}})
    return Catalogue(domains=(lab, *base.domains[1:]))


def test_a_plan_survives_json() -> None:
    plan = compile_plan(read_catalogue()).with_assumed({"LAB//glucose": "mg/dL"})
    text = json.dumps(plan.to_dict())
    again = Plan.from_dict(json.loads(text))
    assert json.dumps(again.to_dict()) == text
    assert (again.hash, again.features, again.concepts) == (plan.hash, plan.features, plan.concepts)
    assert again.assumed == {"LAB//glucose": "mg/dL"}


def test_a_plan_that_was_changed_does_not_load() -> None:
    content = compile_plan(small_catalogue()).to_dict()
    content["concepts"][0]["definition"]["plausible"] = [0, 1]
    with pytest.raises(BundleError, match="do not give its hash"):
        Plan.from_dict(content)


def test_sql_that_was_changed_does_not_load() -> None:
    content = compile_plan(small_catalogue()).to_dict()
    content["sql"]["duckdb"]["points"] += " LIMIT 1"
    with pytest.raises(BundleError, match="SQL"):
        Plan.from_dict(content)


def test_a_plan_of_another_version_does_not_load() -> None:
    content = {**compile_plan(small_catalogue()).to_dict(), "version": 0}
    with pytest.raises(BundleError, match="version 0"):
        Plan.from_dict(content)


def test_the_hash_follows_what_is_computed() -> None:
    base = compile_plan(small_catalogue()).hash
    assert compile_plan(changed(label="Another name", note="said otherwise")).hash == base
    assert compile_plan(changed(plausible=(0.0, 99.0))).hash != base
    assert compile_plan(changed(codes=("LAB//x",))).hash != base
    names = list(small_catalogue().features)
    assert compile_plan(small_catalogue(), names).hash == base
    assert compile_plan(small_catalogue(), names[::-1]).hash != base
    assert compile_plan(small_catalogue(), names[:-1]).hash != base


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_engine_compiles(dialect: str) -> None:
    plan = compile_plan(read_catalogue(), dialects=[dialect])
    assert set(plan.sql) == {dialect}
    relations = {"mapped": "m", "prediction_times": "p"}
    for part in ("points", "exposures"):
        sql = plan.statement(dialect, part, relations)
        assert "magml_in_" not in sql
        assert " GROUP BY" in " ".join(sql.split())
    if dialect != "duckdb":
        with pytest.raises(DefinitionError, match="no SQL for 'duckdb'"):
            plan.statement("duckdb", "points", relations)


def test_an_engine_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(DefinitionError, match="did you mean 'postgres'"):
        compile_plan(small_catalogue(), dialects=["postgress"])


def test_a_loaded_plan_runs_without_the_libraries_that_compile(tmp_path: Path) -> None:
    plan = compile_plan(read_catalogue())
    (tmp_path / "plan.json").write_text(json.dumps(plan.to_dict()))
    table = pa.table(
        {
            "subject_id": [1, 1, 1],
            "time": pa.array([datetime(2024, 1, 1)] * 3, pa.timestamp("us")),
            "code": ["LOINC//2823-3", "LOINC//19123-9", "DRUG//omeprazole"],
            "numeric_value": [4.0, 1.7, None],
            "unit": ["mmol/L", "mg/dL", None],
        }
    )
    pq.write_table(table, tmp_path / "events.parquet")
    script = f"""
import json, sys
from magml.events import read_events, read_prediction_times
from magml.features import Plan, build_matrix
plan = Plan.from_dict(json.load(open({str(tmp_path / "plan.json")!r})))
events = read_events({str(tmp_path / "events.parquet")!r})
at = read_prediction_times("2024-01-02", events.connection, events)
matrix = build_matrix(plan, events, at, strict=False)
assert matrix.column("lab.potassium.last")[0] == 4.0
assert abs(matrix.column("lab.magnesium.last")[0] - 0.6995) < 1e-4
assert matrix.column("medication.proton_pump_inhibitor.active")[0] == 1.0
loaded = {{name.partition(".")[0] for name in sys.modules}}
print(sorted(loaded & {{"ibis", "sqlglot", "pandas", "xgboost", "sklearn", "mlflow"}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
