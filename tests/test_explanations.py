"""Explanations: exact SHAP, both scales additive, groups, stability, reasons, evidence."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from magml.bundle import Model, load, write_bundle
from magml.errors import InputError, MagmlError, MissingDependencyError
from magml.explanations import Explanation, explain
from magml.explanations.shap_values import check_sums, risk_contributions
from magml.explanations.stability import agreement
from magml.features.matrix import FeatureMatrix, MappingReport
from magml.models.calibration import Calibrator
from magml.tables import REASONS
from tests import bundle_parts as parts
from tests.shapley import brute_force_shapley, trees_of


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("run") / "bundle"
    write_bundle(folder, parts.contents())
    return load(folder)


def matrix_of(model: Model, X: np.ndarray) -> FeatureMatrix:
    """Return the plan's matrix with the model's columns filled."""
    names = tuple(model.plan.features)
    values = np.full((len(X), len(names)), np.nan, dtype=np.float32)
    values[:, [names.index(name) for name in parts.FEATURES]] = X
    return FeatureMatrix(
        np.arange(len(X), dtype=np.int64),
        np.full(len(X), np.datetime64("2025-03-01T08:00", "us")),
        values,
        names,
        MappingReport(0),
        np.zeros(len(X), dtype=bool),
    )


@pytest.fixture(scope="module")
def why(model: Model) -> Explanation:
    return explain(model, matrix_of(model, parts.matrix(1500, seed=11)[0]))


def test_contributions_are_shapley_values_by_definition(model: Model, why: Explanation) -> None:
    rows = [0, 7, 23]
    X = parts.matrix(1500, seed=11)[0][rows].astype(np.float64)
    assert np.isnan(X).any(), "missing values must take part"
    expected = np.zeros((len(rows), len(parts.FEATURES)))
    for booster in model.bag.boosters:
        for number, row in enumerate(X):
            expected[number] += brute_force_shapley(trees_of(booster), row, len(parts.FEATURES))
    np.testing.assert_allclose(why.log_odds[rows], expected / len(model.bag.boosters), atol=2e-5)


def test_every_row_sums_on_both_scales(model: Model, why: Explanation) -> None:
    X = parts.matrix(1500, seed=11)[0]
    scored = model.score_matrix(X)
    # Straight from the boosters, before anything is spread or rescaled.
    raw = model.bag.contributions(X)
    assert np.abs(raw.sum(axis=1) - scored.margin).max() < 1e-5
    assert np.abs(raw[:, :-1] - why.log_odds).max() < 1e-5
    assert np.abs(why.base + why.log_odds.sum(axis=1) - scored.margin).max() < 1e-9
    assert np.abs(why.base_risk + why.risks.sum(axis=1) - scored.risk).max() < 1e-6
    np.testing.assert_array_equal(why.margin, scored.margin)
    assert why.base_risk == pytest.approx(float(model.calibrator.risk(why.base)), abs=1e-15)


def test_risk_keeps_sign_order_and_share(why: Explanation) -> None:
    assert (np.sign(why.risks) == np.sign(why.log_odds)).all()
    ratio = why.risks / np.where(why.log_odds == 0, np.nan, why.log_odds)
    assert np.nanmax(np.nanmax(ratio, axis=1) - np.nanmin(ratio, axis=1)) < 1e-9


def test_at_the_base_the_ratio_is_the_derivative() -> None:
    # Logistic calibration 0.5 + 2 m: risk'(m) = 2 p (1 - p) with p at m = 0.3.
    calibrator = Calibrator("logistic", 0.5, 2.0, 2.0)
    p = 1 / (1 + math.exp(-(0.5 + 2 * 0.3)))
    values, risk = risk_contributions(np.array([[0.4, -0.4], [0.0, 0.0]]), 0.3, calibrator)
    slope = 2 * p * (1 - p)
    np.testing.assert_allclose(values, [[0.4 * slope, -0.4 * slope], [0, 0]], rtol=1e-12)
    np.testing.assert_allclose(risk, [p, p], rtol=1e-12)


def test_the_ratio_is_smooth_at_the_base() -> None:
    calibrator = Calibrator("beta", 0.1, 0.7, 1.3)
    tiny = np.array([[1.0, -1.0 + d] for d in (1e-9, 1e-7, 9e-7, 1.1e-6, 1e-5, 1e-3)])
    values, _ = risk_contributions(tiny, -0.8, calibrator)
    assert np.ptp(values[:-1, 0]) < 1e-5
    assert values[0, 0] == pytest.approx(float(calibrator.derivative(-0.8)), rel=1e-6)


def test_groups_are_additive(why: Explanation) -> None:
    features = why.features
    for level, table in (("concept", why.concepts), ("domain", why.domains)):
        expected = features.groupby(["subject_id", level])[["log_odds", "risk"]].sum()
        found = table.set_index(["subject_id", level])[["log_odds", "risk"]].sort_index()
        np.testing.assert_allclose(found, expected.sort_index(), atol=1e-12)
        total = table.groupby("subject_id")["risk"].sum().to_numpy()
        np.testing.assert_allclose(why.base_risk + total, why.risk, atol=1e-6)
    assert set(why.domains["domain"]) == {"lab", "medication", "demographic"}
    assert len(why.concepts) == 1500 * 5


def test_concepts_carry_what_a_clinician_asks(why: Explanation) -> None:
    row = why.concepts[why.concepts["subject_id"] == 0].set_index("concept")
    assert row.loc["medication.loop_diuretic", "modifiable"]
    assert not row.loc["lab.potassium", "modifiable"]
    assert row.loc["medication.loop_diuretic", "direction"] == "lowers"
    assert row.loc["lab.potassium", "label"] == "Potassium"
    assert "Huang" in row.loc["lab.potassium", "citations"]
    assert row.loc["lab.albumin", "citations"] == ""


def test_stability_is_the_share_of_members_with_the_means_sign() -> None:
    members = np.array([[[1.0, -2.0, 0.0]], [[1.0, -1.0, 0.0]], [[-0.5, 4.0, 0.0]]])
    # Means 0.5, 1/3, 0: agreeing are two, one and all three members.
    np.testing.assert_allclose(agreement(members), [[2 / 3, 1 / 3, 1.0]])


def test_stability_of_a_concept_is_that_of_its_sum(model: Model, why: Explanation) -> None:
    import xgboost as xgb

    X = parts.matrix(1500, seed=11)[0][:5]
    by_member = np.stack(
        [
            b.predict(xgb.DMatrix(X), pred_contribs=True)[:, :3].sum(axis=1)
            for b in model.bag.boosters
        ]
    ).astype(float)
    sign = np.sign(by_member.mean(axis=0))
    expected = (np.sign(by_member) == sign).mean(axis=0)
    column = why.groups("concept").index("lab.potassium")
    np.testing.assert_allclose(why.stability["concept"][:5, column], expected)


def test_a_violation_is_an_error(model: Model) -> None:
    from dataclasses import replace

    wrong = replace(model, baseline=replace(model.baseline, base=model.baseline.base + 1e-3))
    with pytest.raises(MagmlError, match=r"contributions of 20 of 20 rows differ.*log-odds"):
        explain(wrong, matrix_of(model, parts.matrix(20)[0]))
    with pytest.raises(MagmlError, match="1 of 2 rows"):
        check_sums(np.array([0.0, np.nan]), np.zeros(2), 1e-5, "risk")


def test_reasons_are_the_declared_table_largest_first(why: Explanation) -> None:
    table = why.reasons()
    assert tuple(table.columns) == REASONS.names
    total = table.groupby("subject_id")["log_odds"].sum().to_numpy()
    np.testing.assert_allclose(why.base + total, why.margin, atol=1e-9)
    size = table["log_odds"].abs()
    same = table["subject_id"].eq(table["subject_id"].shift())
    assert (size.shift()[same] >= size[same]).all()
    assert table["stability"].between(0, 1).all()
    assert table["evidence"].isna().all()
    some = table[table["subject_id"].isin(why.subject_id[3:5])].reset_index(drop=True)
    pd.testing.assert_frame_equal(why.reasons(rows=slice(3, 5)), some)
    short = why.reasons(top=2)
    assert short.groupby("subject_id").size().max() == 2
    pd.testing.assert_frame_equal(
        short.groupby("subject_id").head(1).reset_index(drop=True),
        table.groupby("subject_id").head(1).reset_index(drop=True),
    )


def test_a_missing_value_is_a_null_with_its_unit(why: Explanation) -> None:
    table = why.features[why.features["feature"] == "lab.albumin.last"]
    X = parts.matrix(1500, seed=11)[0]
    np.testing.assert_array_equal(table["value"].isna(), np.isnan(X[:, 3]))
    assert set(table["unit"]) == {"g/L"}


def test_reasons_from_events_show_their_evidence(model: Model) -> None:
    at = pd.Timestamp("2025-03-01 08:00")
    events = pd.DataFrame(
        {
            "subject_id": [1, 1, 1, 1],
            "time": [
                pd.Timestamp(1960, 3, 1),
                *(pd.Timestamp(2025, 3, 1, hour) for hour in (5, 8, 1)),
            ],
            "code": ["MEDS_BIRTH", "LOINC//2823-3", "LOINC//2823-3", "ATC//C03CA01"],
            "numeric_value": [None, 2.4, 6.0, None],
            "unit": [None, "mmol/L", "mmol/L", None],
            "source": [None, "lab row 12", "lab row 13", "orders row 4"],
        }
    )
    times = pd.DataFrame({"subject_id": [77, 1], "prediction_time": [at, at]})
    why = model.explain(events, times)
    reasons = why.reasons()
    mine = reasons[reasons["subject_id"] == 1].set_index("feature")["evidence"]
    assert mine["lab.potassium.last"] == "2025-03-01 05:00 LOINC//2823-3 2.4 mmol/L [lab row 12]"
    assert "[orders row 4]" in mine["medication.loop_diuretic.active"]
    assert mine["lab.albumin.last"] == ""
    # The result of the very moment of prediction is nobody's evidence.
    assert not reasons["evidence"].str.contains("row 13").any()
    assert (reasons[reasons["subject_id"] == 77]["evidence"] == "").all()
    np.testing.assert_allclose(why.risk, model.score(events, times)["risk"], atol=1e-6)
    one = model.explain(events, times, evidence=1).reasons()
    assert one.groupby("subject_id")["evidence"].count().tolist() == [1, 1]
    assert model.explain(events, times, evidence=False).evidence == {}


def test_to_shap_feeds_shaps_own_plots(why: Explanation) -> None:
    shap = pytest.importorskip("shap")
    found = why.to_shap()
    assert isinstance(found, shap.Explanation)
    assert found.values.shape == (1500, 7)
    np.testing.assert_allclose(found.base_values + found.values.sum(axis=1), why.margin, atol=1e-9)
    assert list(found.feature_names) == list(parts.FEATURES)
    assert found[3].values.shape == (7,)
    import matplotlib as mpl

    mpl.use("Agg")
    for draw, what in ((shap.plots.waterfall, found[3]), (shap.plots.beeswarm, found[:100])):
        draw(what, show=False)
        mpl.pyplot.close("all")


def test_without_shap_the_error_says_what_to_install(
    why: Explanation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shap", None)
    with pytest.raises(MissingDependencyError, match=r"magml\[shap\]"):
        why.to_shap()


def test_an_unknown_level_is_refused(why: Explanation, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="feature, concept, domain"):
        why.plot(0, level="organ", path=tmp_path / "a.png")  # type: ignore[arg-type]
