"""The benchmarks of training, scoring and explaining at a small size, and the cost model's fit."""

from __future__ import annotations

import functools
import importlib
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def _beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))


def records(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_bag_is_timed_beside_plain_xgboost(tmp_path, monkeypatch, capsys):
    training = importlib.import_module("training")
    ways = ["plain XGBoost (QuantileDMatrix)", "one member, on disk"]
    out = tmp_path / "figures.jsonl"
    sizes = ["--rows", "2000", "--columns", "20", "--rounds", "5", "--repeat", "1"]
    monkeypatch.setattr(sys, "argv", ["training", *sizes, "--ways", *ways, "--json", str(out)])
    training.main()
    (record,) = records(out)
    assert record["what"] == "training"
    assert record["settings"] == {"rows": 2000.0, "columns": 20, "rounds": 5}
    for way in ways:
        figures = record["figures"][way]
        assert figures["seconds"] > 0
        assert figures["processor"] > 0
        assert 0.05 < figures["peak_gb"] < 5
    assert ways[1] in capsys.readouterr().out


def test_matrix_and_outcome_are_the_same_whatever_else_is_made():
    matrix = importlib.import_module("training").matrix
    X, y = matrix(60_000, 12)
    again, _ = matrix(50_000, 12)
    np.testing.assert_array_equal(X[:50_000], again)
    assert 0.28 < np.isnan(X).mean() < 0.32
    assert 0.1 < y.mean() < 0.4


def test_the_members_in_one_booster_have_the_margin_of_the_bag():
    xgb = pytest.importorskip("xgboost")
    explaining = importlib.import_module("explaining")
    from magml.definitions.model import Estimator
    from magml.models.bag import fit_bag

    X, y = importlib.import_module("training").matrix(800, 10)
    bag = fit_bag(X, y, np.arange(800), Estimator(members=3, rounds=8), seed=1)
    one = explaining.merged(bag)
    found = one.predict(xgb.DMatrix(X), output_margin=True)
    np.testing.assert_allclose(found, bag.margin(X), atol=1e-6)


def test_every_row_of_magmls_is_checked_where_its_time_is_taken(monkeypatch, capsys):
    from magml.models import tree_shap

    before = tree_shap.BULK_ROWS
    explaining = importlib.import_module("explaining")
    monkeypatch.setattr(explaining, "ROUNDS", 2)
    monkeypatch.setattr(explaining, "once", lambda way: print(json.dumps(way())))
    for way in (explaining.WAYS[-1], explaining.TABLES.format(100)):
        explaining.run(way, 1_200, 2, 10)
        found = json.loads(capsys.readouterr().out)
        assert found["rows_off"] == 0
        assert 0 <= found["largest_difference"] < 1e-5
    assert before == tree_shap.BULK_ROWS  # what comes after takes the ways it took before


def test_a_patient_has_the_records_that_were_asked_for_and_the_bundle_explains_them(tmp_path):
    made = importlib.import_module("made")
    import magml

    model = magml.load(made.bundle(tmp_path / "bundle", columns=40, rows=400, rounds=5))
    events, at = made.patient(np.random.default_rng(1), 500)
    assert len(events) == 500
    assert events["code"].nunique() > 200
    assert (events["time"] < at["prediction_time"][0]).all()
    reasons = model.explain(events, at).reasons(10)
    assert len(reasons) == 10
    assert len(model.features) == 40


def test_a_stopwatch_counts_no_time_twice(monkeypatch):
    one_patient = importlib.import_module("one_patient")
    clock = [0.0]
    monkeypatch.setattr(one_patient.time, "perf_counter", lambda: clock[0])

    def inner():
        clock[0] += 2.0

    def outer():
        clock[0] += 1.0
        module.inner()
        module.inner()

    module = types.ModuleType("magml_stages")
    module.inner, module.outer = inner, outer
    monkeypatch.setitem(sys.modules, "magml_stages", module)
    watch = one_patient.Stopwatch()
    watch.watch("inner", "magml_stages:inner")
    watch.watch("outer", "magml_stages:outer")
    module.outer()
    assert watch.spent == {"inner": 4.0, "outer": 1.0}


def test_every_stage_of_a_call_is_a_function_that_is_there():
    for places in importlib.import_module("one_patient").STAGES.values():
        for place in places:
            module, _, path = place.partition(":")
            owner = importlib.import_module(module)
            assert callable(functools.reduce(getattr, path.split("."), owner)), place


def test_the_cost_model_finds_the_coefficients_that_made_its_points():
    cost = importlib.import_module("cost")
    kind = next(c for c in cost.COSTS if c.name == "features, seconds")
    lines = [
        {
            "what": "features",
            "settings": {"rows": rows, "people": rows / 500, "features": p, "memory": "1GB"},
            "figures": {"magml": {"seconds": 0.5 + 0.4e-6 * rows + 2e-6 * rows / 500 * p}},
        }
        for rows in (1e6, 1e7, 5e7)
        for p in (280, 1120)
    ]
    twice = [*lines, *lines]  # equal runs are one point
    points = cost.points_of(kind, twice)
    assert len(points) == 6
    found = cost.fit(kind, points)
    assert list(found.coefficients.values()) == pytest.approx([0.5, 0.4, 2.0], rel=1e-6)
    assert found.largest < 1e-6
    far = {"rows": 2e8, "people": 4e5, "features": 1120}
    assert found.estimate(kind, far) == pytest.approx(0.5 + 80 + 896)
    with pytest.raises(ValueError, match="2 points for 3 terms"):
        cost.fit(kind, points[:2])


def test_the_largest_size_is_held_out_of_the_cost_model(tmp_path, monkeypatch, capsys):
    # Lines as benchmarks/features.py writes them; the largest took a tenth longer than the others
    # would have it: 1 + 0.2 x 200 = 41 seconds.
    cost = importlib.import_module("cost")
    lines = []
    for rows in (1e6, 1e7, 5e7, 2e8):
        seconds = (1 + 0.2e-6 * rows) * (1.1 if rows == 2e8 else 1)
        settings = {"rows": rows, "times": 1, "threads": 2, "repeat": 3, "memory": "1GB"}
        settings |= {"people": int(rows / 500), "features": 1120}
        figures = {"magml": {"seconds": seconds, "processor": 2 * seconds, "peak_gb": 0.5}}
        lines.append({"what": "features", "cores": 2, "settings": settings, "figures": figures})
    path = tmp_path / "figures.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setattr(sys, "argv", ["cost", str(path), "--held-out", "2e8"])
    cost.main()
    printed = capsys.readouterr().out
    # Records and people grew together, so that only their sum is known.
    assert "features, seconds: 3 points, off by 0% (median) and 0% (largest); the sizes" in printed
    assert "held out, 200,000,000 rows: 45.1, estimated 41 (-9%)" in printed
    assert "held out, 200,000,000 rows: 0.5, estimated 0.5 (+0%)" in printed
    assert "scoring, seconds: not fitted (0 points for 2 terms" in printed
