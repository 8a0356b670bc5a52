"""A model at another hospital: validation, recalibration, export and pooling."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

from magml.bundle import load, write_bundle
from magml.cli.app import app
from magml.errors import BundleError, CohortError, InputError
from magml.models.calibration import Calibrator
from magml.validation import export_aggregate, pool, random_effects, recalibrate, validate
from magml.validation.aggregate import _companion, _step
from magml.validation.case_mix import model_based_auroc
from magml.validation.recalibrate import update
from tests import bundle_parts as parts

AT = pd.Timestamp(2025, 3, 1, 8)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "bundle"
    write_bundle(folder, parts.contents())
    return folder


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return events and labels of 900 people in whom every risk is 1 too low on the log-odds."""
    rng = np.random.default_rng(5)
    folder = tmp_path_factory.mktemp("hospital")
    rows, labels = [], []
    for person in range(1, 901):
        potassium, albumin = rng.normal(4, 0.6), rng.normal(35, 6)
        rows += [
            (person, AT - pd.Timedelta(days=365 * rng.uniform(20, 90)), "MEDS_BIRTH", None, None),
            (person, AT - pd.Timedelta(hours=3), "LOINC//2823-3", potassium, "mmol/L"),
            (person, AT - pd.Timedelta(hours=4), "LOINC//1751-7", albumin, "g/L"),
        ]
        labels.append((person, AT, False))
    events = pd.DataFrame(rows, columns=["subject_id", "time", "code", "numeric_value", "unit"])
    table = pd.DataFrame(labels, columns=["subject_id", "prediction_time", "boolean_value"])
    events.to_parquet(folder / "events.parquet")
    table.to_csv(folder / "labels.csv", index=False)
    return folder / "events.parquet", folder / "labels.csv"


@pytest.fixture(scope="module")
def shifted(hospital: tuple[Path, Path], bundle: Path) -> tuple[Path, Path]:
    """Return the hospital with outcomes drawn from the model's own risks, log-odds raised by 1."""
    events, labels = hospital
    table = pd.read_csv(labels, parse_dates=["prediction_time"])
    risk = load(bundle).score(events, table)["risk"].to_numpy()
    odds = np.log(risk / (1 - risk)) + 1.0
    drawn = np.random.default_rng(6).random(len(risk)) < 1 / (1 + np.exp(-odds))
    table.assign(boolean_value=drawn).to_csv(labels, index=False)
    return events, labels


def test_a_validation_finds_the_shift_that_was_put_in(
    bundle: Path, shifted: tuple[Path, Path], tmp_path: Path
) -> None:
    before = sorted(path.read_bytes() for path in bundle.rglob("*.*"))
    found = validate(
        bundle, events=shifted[0], labels=shifted[1], replicates=100, out=tmp_path / "out"
    )
    value, low, high = found.performance.value("calibration_intercept")
    assert low < 1.0 < high
    assert low > 0.5
    assert value == pytest.approx(1.0, abs=0.3)
    # Every risk is right but for a constant, so the ranking is as good as risks allow.
    _, low, high = found.performance.value("auroc")
    assert low - 0.03 < found.case_mix["model_based_auroc"] < high + 0.03
    known = found.predictors.set_index("feature")["missing"]
    assert known["lab.potassium.last"] == 0
    assert (tmp_path / "out" / "plots" / "calibration.png").stat().st_size > 1000
    assert "nothing was refitted" in found.summary()
    assert sorted(path.read_bytes() for path in bundle.rglob("*.*")) == before


def test_recalibration_takes_the_shift_out_and_keeps_the_old_bundle(
    bundle: Path, shifted: tuple[Path, Path], tmp_path: Path
) -> None:
    events, labels = shifted
    old = load(bundle)
    done = recalibrate(
        bundle, events=events, labels=labels, out=tmp_path / "new", replicates=50, seed=1
    )
    assert done.method == "intercept"
    assert abs(done.performance.value("calibration_intercept", "after")[0]) < 0.1
    new = load(tmp_path / "new")
    assert new.hash == done.bundle != old.hash == done.parent
    assert load(bundle).hash == old.hash
    assert new.training["recalibrations"][0]["parent"] == old.hash
    assert "## Recalibrated" in new.card_text
    assert new.baseline.base_risk == pytest.approx(float(new.calibrator.risk(new.baseline.base)))
    # The mean risk is the observed share: what an intercept does by definition.
    table = pd.read_csv(labels, parse_dates=["prediction_time"])
    assert new.score(events, table)["risk"].mean() == pytest.approx(table["boolean_value"].mean())
    # Reasons still add up to the new risk.
    why = new.explain(events, table.head(5), evidence=False)
    total = why.features.groupby("subject_id")["risk"].sum() + new.baseline.base_risk
    np.testing.assert_allclose(total, new.score(events, table.head(5))["risk"], atol=1e-6)
    with pytest.raises(BundleError, match="exists"):
        recalibrate(bundle, events=events, labels=labels, out=tmp_path / "new", replicates=10)
    with pytest.raises(InputError, match="old version is kept"):
        recalibrate(bundle, events=events, labels=labels, out=bundle)


def test_the_closed_test_changes_nothing_where_nothing_is_wrong() -> None:
    rng = np.random.default_rng(0)
    old = Calibrator("beta", 0.3, 0.8, 1.2)
    kept = 0
    for _ in range(40):
        margin = rng.normal(-1, 1, 800)
        y = rng.random(800) < old.risk(margin)
        kept += update(old, margin, y, "closed_test")[0] == "none"
    # A test at 5% keeps 95%; fewer than 33 of 40 has a probability of 0.002.
    assert kept >= 33


def test_the_closed_test_finds_a_slope() -> None:
    rng = np.random.default_rng(1)
    margin = rng.normal(0, 2, 4000)
    y = rng.random(4000) < 1 / (1 + np.exp(-(0.5 + 0.5 * margin)))
    done, new = update(Calibrator("logistic", 0.0, 1.0, 1.0), margin, y, "closed_test")
    assert done == "slope"
    assert (new.intercept, new.low) == pytest.approx((0.5, 0.5), abs=0.12)


def test_the_model_based_auroc_is_that_of_all_pairs() -> None:
    risk = np.random.default_rng(2).beta(1, 4, 60).round(2)
    won = total = 0.0
    for i, first in enumerate(risk):
        for j, second in enumerate(risk):
            if i != j:
                weight = first * (1 - second)
                total += weight
                won += weight * ((first > second) + 0.5 * (first == second))
    assert model_based_auroc(risk) == pytest.approx(won / total, abs=1e-12)


def test_random_effects_are_those_published_for_the_bcg_trials() -> None:
    """Log risk ratios of 13 trials (Colditz 1994); REML as the R package metafor documents it."""
    cells = """4 119 11 128 6 300 29 274 3 228 11 209 62 13536 248 12619 33 5036 47 5761 180 1361
        372 1079 8 2537 10 619 505 87886 499 87892 29 7470 45 7232 17 1699 65 1600 186 50448 141
        27197 5 2493 3 2338 27 16886 29 17825"""
    table = np.array(cells.split(), dtype=float).reshape(13, 4)
    a, b, c, d = table.T
    ratio = np.log(a / (a + b) / (c / (c + d)))
    error = np.sqrt(1 / a - 1 / (a + b) + 1 / c - 1 / (c + d))
    found = random_effects(ratio, error)
    assert found.estimate == pytest.approx(-0.7145, abs=5e-5)
    assert found.tau2 == pytest.approx(0.3132, abs=5e-5)
    # Hartung-Knapp is weighted least squares on a constant, with its own residual variance.
    root = np.sqrt(1 / (error**2 + 0.3132))
    line, residual, _, _ = np.linalg.lstsq(root[:, None], root * ratio, rcond=None)
    half = stats.t.ppf(0.975, 12) * np.sqrt(residual[0] / 12 / (root**2).sum())
    assert (found.low, found.high) == pytest.approx((line[0] - half, line[0] + half), abs=1e-4)
    assert found.prediction_low < found.low
    with pytest.raises(InputError, match="two sites"):
        random_effects([0.1], [0.2])
    for estimates, errors in (([1e200, 1.0], [1.0, 1.0]), ([0.1, 0.2], [1e-200, 1.0])):
        with pytest.raises(InputError, match="not a finite"):
            random_effects(estimates, errors)


def test_an_export_holds_no_small_cell_and_is_pooled(
    bundle: Path, shifted: tuple[Path, Path], tmp_path: Path
) -> None:
    events, labels = shifted
    table = pd.read_csv(labels, parse_dates=["prediction_time"])
    files = []
    for site in range(3):
        part = table[table["subject_id"] % 3 == site]
        found = validate(
            bundle, events=events, labels=part, replicates=60, out=tmp_path / f"{site}"
        )
        files.append(tmp_path / f"{site}.json")
        text = json.dumps(export_aggregate(tmp_path / f"{site}", files[-1]))
        assert str(AT.date()) not in text
        export = json.loads(files[-1].read_text())
        assert export["n"] == found.performance.n
        cells = [row for row in export["calibration"] if row["kind"] == "group"]
        assert all(min(row["events"], row["n"] - row["events"]) >= 10 for row in cells)
        assert export["suppressed"]["calibration groups"] != 1
    pooled = pool(files).set_index("metric").loc["calibration_intercept"]
    assert pooled["sites"] == 3
    assert pooled["n"] == 900
    assert pooled["prediction_low"] <= pooled["low"] < 1.0 < pooled["high"]
    with pytest.raises(InputError, match="no export"):
        pool([tmp_path / "0" / "validation.json", files[1]])
    for place, broken in (
        ("n", export | {"n": "many"}),
        ("bundle", {name: value for name, value in export.items() if name != "bundle"}),
        (r"metrics.0.value", export | {"metrics": [{"metric": "auroc", "value": [1]}]}),
    ):
        (tmp_path / "broken.json").write_text(json.dumps(broken))
        with pytest.raises(InputError, match=f"broken.json': {place}"):
            pool([tmp_path / "broken.json", files[1]])


def test_one_hidden_cell_takes_a_companion_along() -> None:
    hidden = {2}
    _companion(hidden, [50.0, 30.0, 8.0, 90.0])
    assert hidden == {1, 2}
    step = {"name": "adults", "people": 500, "times": 700, "left_out": 4}
    assert _step(step) == {
        "name": "adults", "reason": "", "people": None, "times": None, "left_out": None
    }  # fmt: skip
    assert _step({**step, "left_out": 0})["people"] == 500


def test_too_few_cases_are_refused(bundle: Path, shifted: tuple[Path, Path]) -> None:
    table = pd.read_csv(shifted[1], parse_dates=["prediction_time"])
    few = pd.concat([table[table["boolean_value"]].head(5), table[~table["boolean_value"]]])
    with pytest.raises(CohortError, match="5 cases"):
        validate(bundle, events=shifted[0], labels=few)
    with pytest.raises(InputError, match="no labelled rows"):
        validate(bundle)


def test_the_commands(bundle: Path, shifted: tuple[Path, Path], tmp_path: Path) -> None:
    rows = ["--events", str(shifted[0]), "--labels", str(shifted[1]), "--replicates", "20"]
    run = CliRunner()
    done = run.invoke(app, ["validate", str(bundle), *rows, "--out", str(tmp_path / "v"), "--json"])
    assert json.loads(done.stdout)["performance"]["n"] == 900
    done = run.invoke(app, ["recalibrate", str(bundle), *rows, "--method", "slope", "--json"])
    assert json.loads(done.stdout)["method"] == "slope"
    done = run.invoke(app, ["export-aggregate", str(tmp_path / "v"), "--out", str(tmp_path / "a")])
    assert "900 rows" in done.stdout
