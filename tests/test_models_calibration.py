"""Calibration: monotone, exact derivative, recovers what was put in."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from magml.errors import BundleError, CohortError, InputError
from magml.models.calibration import Calibrator, fit_calibrator, log_loss_of

slopes = st.floats(0.1, 5)


@given(
    st.floats(-4, 4),
    slopes,
    slopes,
    st.lists(st.floats(-20, 20), min_size=2, max_size=40),
)
def test_risk_rises_strictly(intercept, low, high, margins):
    calibrator = Calibrator("beta", intercept, low, high)
    margin = np.unique(np.round(margins, 3))
    odds = calibrator.log_odds(margin)
    assert (np.diff(odds) > 0).all()
    inside = np.abs(odds) < 25  # beyond, neighbouring risks are one float
    assert (np.diff(calibrator.risk(margin[inside])) > 0).all()
    assert (np.diff(calibrator.risk(margin)) >= 0).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["logistic", "beta"]))
def test_fit_is_increasing_even_where_the_margin_misleads(seed, method):
    rng = np.random.default_rng(seed)
    margin = rng.normal(size=60) * rng.choice([0.1, 1, 10])
    y = rng.random(60) < expit(rng.normal() * 3 * margin)
    y[:2] = [0, 1]
    fitted = fit_calibrator(margin, y, [method])
    grid = np.linspace(-15, 15, 61)
    assert (np.diff(fitted.log_odds(grid)) > 0).all()
    assert (fitted.derivative(grid) >= 0).all()


@given(st.floats(-3, 3), slopes, slopes, st.floats(-8, 8))
def test_derivative_is_the_slope_of_the_risk(intercept, low, high, margin):
    calibrator = Calibrator("beta", intercept, low, high)
    step = 1e-5
    ahead, behind = calibrator.risk(margin + step), calibrator.risk(margin - step)
    slope = float(calibrator.derivative(margin))
    assert math.isclose(slope, float(ahead - behind) / (2 * step), rel_tol=1e-3, abs_tol=1e-9)


def test_safe_at_extremes():
    for calibrator in (Calibrator("logistic", 0, 2, 2), Calibrator("beta", 1, 0.5, 3)):
        margin = np.array([-1e8, -800.0, 800.0, 1e8])
        with np.errstate(all="raise", under="ignore"):
            risk, slope = calibrator.risk(margin), calibrator.derivative(margin)
        assert risk.tolist() == [0.0, calibrator.risk(-800.0), 1.0, 1.0]
        assert np.isfinite(slope).all()


def test_beta_is_the_published_form():
    """Kull 2017: logit of the calibrated risk = c + a ln(p) - b ln(1 - p)."""
    margin = np.array([-2.0, 0.3, 1.7])
    p = 1 / (1 + np.exp(-margin))
    expected = 0.4 + 0.7 * np.log(p) - 1.9 * np.log(1 - p)
    np.testing.assert_allclose(Calibrator("beta", 0.4, 0.7, 1.9).log_odds(margin), expected)


def test_logistic_equals_unpenalised_regression():
    rng = np.random.default_rng(2)
    margin = rng.normal(size=2000)
    y = rng.random(2000) < expit(0.6 * margin - 1)
    weights = rng.uniform(0.2, 3, 2000)
    fitted = fit_calibrator(margin, y, ["logistic"], weights=weights)
    other = LogisticRegression(C=1e12, tol=1e-10).fit(margin[:, None], y, sample_weight=weights)
    assert fitted.low == fitted.high == pytest.approx(other.coef_[0, 0], abs=1e-4)
    assert fitted.intercept == pytest.approx(other.intercept_[0], abs=1e-4)


def test_beta_equals_unpenalised_regression_on_its_two_terms():
    rng = np.random.default_rng(3)
    margin = rng.normal(size=4000) * 2
    y = rng.random(4000) < Calibrator("beta", 0.2, 1.6, 0.5).risk(margin)
    terms = np.column_stack([np.log(expit(margin)), -np.log(expit(-margin))])
    other = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000).fit(terms, y)
    fitted = fit_calibrator(margin, y, ["beta"])
    assert [fitted.low, fitted.high] == pytest.approx(other.coef_[0].tolist(), abs=1e-3)
    assert fitted.intercept == pytest.approx(other.intercept_[0], abs=1e-3)


def test_choice_is_logistic_unless_beta_is_better():
    rng = np.random.default_rng(4)
    margin = rng.normal(size=6000) * 2
    straight = rng.random(6000) < expit(0.8 * margin)
    bent = rng.random(6000) < Calibrator("beta", -0.5, 2.5, 0.3).risk(margin)
    assert fit_calibrator(margin, bent).method == "beta"
    # The two are equal where the slopes are: a constant margin makes an exact tie.
    assert fit_calibrator(np.zeros(6000), straight).method == "logistic"
    one_row_each = fit_calibrator(margin[:2], np.array([0, 1]))
    assert one_row_each.method == "logistic"


def test_separable_margins_have_a_finite_fit():
    margin = np.array([-2.0, -1.0, 1.0, 2.0] * 5)
    fitted = fit_calibrator(margin, margin > 0)
    assert np.isfinite(fitted.risk(margin)).all()
    assert fitted.risk([-1.0])[0] < 0.01 < 0.99 < fitted.risk([1.0])[0]


def test_plain_values_survive_json():
    fitted = Calibrator("beta", -0.123456789012345, 1 / 3, 2 / 3)
    again = Calibrator.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert again == fitted


@pytest.mark.parametrize(
    "change", [{"low": 0.0}, {"high": -1.0}, {"intercept": math.nan}, {"method": "isotonic"}]
)
def test_a_changed_calibrator_is_refused(change):
    value = Calibrator("beta", 0.0, 1.0, 2.0).to_dict() | change
    with pytest.raises(BundleError):
        Calibrator.from_dict(value)
    value.pop("low")
    with pytest.raises(BundleError, match="does not read"):
        Calibrator.from_dict(value)


def test_wrong_input_is_refused():
    with pytest.raises(CohortError, match="one class"):
        fit_calibrator([0.0, 1.0], [1, 1])
    with pytest.raises(InputError, match="1 log-odds"):
        fit_calibrator([0.0, np.nan], [0, 1])


def test_log_loss_by_hand():
    # -ln(0.8) and -ln(1 - 0.25), weighted 3 to 1.
    odds = [math.log(4), math.log(1 / 3)]
    expected = (3 * -math.log(0.8) + -math.log(0.75)) / 4
    assert log_loss_of(odds, [1, 0], [3, 1]) == pytest.approx(expected)
    assert log_loss_of([1000.0], [0]) == pytest.approx(1000.0)
