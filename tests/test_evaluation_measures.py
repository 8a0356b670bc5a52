"""Single measures against hand-worked examples, scikit-learn and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq, minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score
from sklearn.metrics import log_loss as sklearn_log_loss

from magml.errors import InputError
from magml.evaluation import (
    auprc,
    auroc,
    brier_score,
    calibration_curve,
    calibration_groups,
    calibration_intercept,
    calibration_slope,
    integrated_calibration_index,
    log_loss,
    net_benefit,
    scaled_brier_score,
)
from magml.evaluation.calibration import logit
from magml.evaluation.logistic import logistic_coefficients
from magml.evaluation.spline import natural_spline, spline_knots

MEASURES = (
    auroc,
    auprc,
    brier_score,
    scaled_brier_score,
    log_loss,
    calibration_intercept,
    calibration_slope,
)


def sample(seed: int, n: int = 400, decimals: int = 2):
    """Miscalibrated risks with many ties, outcomes drawn from other risks, uneven weights."""
    generator = np.random.default_rng(seed)
    score = generator.normal(-1.0, 1.2, n)
    events = generator.random(n) < expit(0.3 + 0.7 * score)
    risks = np.clip(np.round(expit(score), decimals), 0.01, 0.99)
    return events, risks, generator.uniform(0.2, 3.0, n)


@st.composite
def labelled_risks(draw):
    """A few rows of both classes with risks on a coarse grid, so that ties are common."""
    events = draw(st.lists(st.booleans(), min_size=2, max_size=40).filter(lambda e: sum(e) > 0))
    events = [*events, False]
    risks = draw(
        st.lists(st.integers(0, 20), min_size=len(events), max_size=len(events)).map(
            lambda values: [value / 20 for value in values]
        )
    )
    return np.array(events), np.array(risks)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("weighted", [False, True])
def test_measures_agree_with_scikit_learn(seed, weighted):
    events, risks, weights = sample(seed)
    used = weights if weighted else None
    assert auroc(events, risks, used) == pytest.approx(
        roc_auc_score(events, risks, sample_weight=used), abs=1e-12
    )
    assert auprc(events, risks, used) == pytest.approx(
        average_precision_score(events, risks, sample_weight=used), abs=1e-12
    )
    assert brier_score(events, risks, used) == pytest.approx(
        brier_score_loss(events, risks, sample_weight=used), abs=1e-12
    )
    assert log_loss(events, risks, used) == pytest.approx(
        sklearn_log_loss(events, risks, sample_weight=used), abs=1e-12
    )


def test_log_loss_of_certain_and_wrong_is_finite_as_in_scikit_learn():
    assert log_loss([0, 1], [1.0, 1.0]) == pytest.approx(sklearn_log_loss([0, 1], [1.0, 1.0]))


def test_auroc_by_hand():
    # Pairs (event, other): .8 beats .4 and .3; .4 ties with .4 and beats .3. 3.5 of 4.
    assert auroc([1, 1, 0, 0], [0.8, 0.4, 0.4, 0.3]) == 3.5 / 4
    # Events weigh 2 and 1, the others 3 and 1: pairs weigh their product, the tied one half of it.
    assert auroc([1, 1, 0, 0], [0.8, 0.4, 0.4, 0.3], [2, 1, 3, 1]) == pytest.approx(
        (2 * 3 + 2 * 1 + 0.5 * 1 * 3 + 1 * 1) / 12
    )


def test_auprc_by_hand():
    # Falling risk: event, other, event. Precision 1 at recall 1/2, 2/3 at recall 1.
    assert auprc([1, 0, 1], [0.9, 0.5, 0.1]) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    # All risks equal: one point, whose precision is the prevalence.
    assert auprc([1, 0, 0, 0], [0.2] * 4) == 0.25


@given(labelled_risks())
def test_auroc_depends_on_order_alone(data):
    events, risks = data
    assert auroc(events, risks) == auroc(events, risks**3 / 2 + 0.1)
    assert auroc(events, risks) + auroc(events, 1 - risks) == pytest.approx(1)
    assert auroc(events, risks) + auroc(~events, risks) == pytest.approx(1)


@given(labelled_risks(), st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_integer_weights_equal_repeated_rows(data, seed):
    events, risks = data
    counts = np.random.default_rng(seed).integers(1, 4, events.size)
    copied = np.repeat(events, counts), np.repeat(risks, counts)
    for measure in MEASURES:
        assert measure(events, risks, counts) == pytest.approx(
            measure(*copied), abs=1e-6, nan_ok=True
        ), measure.__name__
    np.testing.assert_allclose(
        net_benefit(events, risks, [0.1, 0.5], counts), net_benefit(*copied, [0.1, 0.5])
    )


def test_scaled_brier_by_hand():
    # Brier (0.04 + 0.04 + 0.04 + 0.36) / 4 = 0.12; the prevalence of 1/4 gives 3/16.
    assert scaled_brier_score([0, 0, 0, 1], [0.2, 0.2, 0.2, 0.4]) == pytest.approx(
        1 - 0.12 / (3 / 16)
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_calibration_slope_is_that_of_an_unpenalised_logistic_regression(weighted):
    events, risks, weights = sample(7)
    used = weights if weighted else None
    log_odds = np.log(risks / (1 - risks))[:, None]
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
        log_odds, events, sample_weight=used
    )
    assert calibration_slope(events, risks, used) == pytest.approx(fitted.coef_[0, 0], abs=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_calibration_intercept_balances_observed_and_expected(weighted):
    events, risks, weights = sample(8)
    used = weights if weighted else np.ones(events.size)
    log_odds = np.log(risks / (1 - risks))
    # The likelihood equation of an intercept with an offset.
    root = brentq(lambda a: np.sum(used * (events - expit(a + log_odds))), -10, 10, xtol=1e-12)
    assert calibration_intercept(events, risks, used) == pytest.approx(root, abs=1e-8)


def test_calibration_by_hand():
    # Observed 1/4 where 10% was predicted: the intercept is logit(1/4) - logit(1/10).
    assert calibration_intercept([1, 0, 0, 0], [0.1] * 4) == pytest.approx(
        np.log(1 / 3) - np.log(1 / 9)
    )
    # Two risks, so the line passes through both observed log-odds: (log 1 - log 1/3) / log 9.
    events = [1, 0, 0, 0, 1, 1, 0, 0]
    assert calibration_slope(events, [0.25] * 4 + [0.75] * 4) == pytest.approx(
        np.log(3) / np.log(9)
    )


@pytest.mark.parametrize(("intercept", "slope"), [(0.0, 1.0), (-0.5, 0.6), (1.0, 1.5)])
def test_calibration_finds_the_distortion_of_a_large_sample(intercept, slope):
    generator = np.random.default_rng(3)
    score = generator.normal(-1, 1, 200_000)
    events = generator.random(score.size) < expit(intercept + slope * score)
    # The standard error is about 0.006 with 200,000 rows.
    assert calibration_slope(events, expit(score)) == pytest.approx(slope, abs=0.03)
    predicted, observed = calibration_curve(events, expit(score))
    truth = expit(intercept + slope * logit(predicted))
    np.testing.assert_allclose(observed, truth, atol=0.015)
    true_index = np.mean(np.abs(expit(intercept + slope * score) - expit(score)))
    assert integrated_calibration_index(events, expit(score)) == pytest.approx(
        true_index, abs=0.004
    )


def test_calibration_curve_bends_where_the_truth_bends():
    generator = np.random.default_rng(4)
    score = generator.normal(-1, 1, 100_000)
    truth = expit(-1.5 + 0.35 * score + 0.3 * score**2)
    events = generator.random(score.size) < truth
    predicted, observed = calibration_curve(events, expit(score))
    expected = expit(-1.5 + 0.35 * logit(predicted) + 0.3 * logit(predicted) ** 2)
    inner = (logit(predicted) > -2.6) & (logit(predicted) < 0.6)  # between the outer knots
    np.testing.assert_allclose(observed[inner], expected[inner], atol=0.03)


def test_calibration_curve_is_a_logistic_regression_on_the_spline():
    events, risks, weights = sample(5, n=600)
    log_odds = logit(risks)
    basis, _ = natural_spline(log_odds, log_odds[:1], spline_knots(log_odds, 200))
    coefficients = logistic_coefficients(basis, events, weights[None, :])[0]

    def loss(beta):
        eta = beta @ basis
        return np.sum(weights * (np.logaddexp(0, eta) - events * eta))

    independent = minimize(loss, np.zeros(len(basis)), method="BFGS", options={"gtol": 1e-6})
    assert loss(coefficients) == pytest.approx(independent.fun, abs=1e-6)
    np.testing.assert_allclose(coefficients, independent.x, atol=1e-3)


def test_natural_spline_spans_scipys_natural_cubic_splines():
    generator = np.random.default_rng(6)
    knots = np.array([-2.0, -0.5, 0.3, 1.7])
    inside = np.linspace(-2.0, 1.7, 200)
    basis, _ = natural_spline(inside, inside[:1], knots)
    for _ in range(5):
        curve = CubicSpline(knots, generator.normal(size=4), bc_type="natural")(inside)
        fitted = np.linalg.lstsq(basis.T, curve, rcond=None)[0] @ basis
        np.testing.assert_allclose(fitted, curve, atol=1e-9)
    beyond = np.linspace(2.0, 9.0, 20)
    _, straight = natural_spline(inside, beyond, knots)
    np.testing.assert_allclose(np.diff(straight, n=2), 0.0, atol=1e-9)


def test_calibration_of_equal_risks_and_of_separated_classes():
    events = np.array([True, False, False, False])
    assert np.isnan(calibration_slope(events, [0.2] * 4))
    assert integrated_calibration_index(events, [0.2] * 4) == pytest.approx(0.05)
    assert np.isnan(calibration_slope([0, 0, 0, 1, 1], [0.1, 0.2, 0.3, 0.6, 0.7]))
    # An intercept exists even so.
    assert np.isfinite(calibration_intercept([0, 0, 0, 1, 1], [0.1, 0.2, 0.3, 0.6, 0.7]))


def test_calibration_survives_risks_of_nought_and_one():
    events, risks, _ = sample(9)
    risks = risks.copy()
    risks[:5], risks[5:10] = 0.0, 1.0
    assert np.isfinite(calibration_slope(events, risks))
    assert np.isfinite(calibration_intercept(events, np.zeros(events.size)))


def test_calibration_groups_count_everybody_and_hide_small_cells():
    events, risks, _ = sample(10, n=1000)
    found = calibration_groups(events, risks)
    assert found.n.sum() == 1000
    assert found.events.sum() == events.sum()
    assert 8 <= found.n.size <= 10
    assert np.all(np.diff(found.predicted) > 0)
    assert np.all((found.low <= found.observed) & (found.observed <= found.high))
    few = calibration_groups(events[:57], risks[:57])
    assert few.n.min() >= 10
    assert few.n.sum() == 57
    assert calibration_groups([0, 1, 0], [0.1, 0.2, 0.3]).n.size == 0


def test_calibration_groups_by_hand():
    events = [0] * 9 + [1] + [1] * 5 + [0] * 5
    found = calibration_groups(events, [0.1] * 10 + [0.6] * 10, groups=4)
    assert found.n.tolist() == [10, 10]
    assert found.events.tolist() == [1, 5]
    np.testing.assert_allclose(found.observed, [0.1, 0.5])
    # Wilson intervals of 1/10 and 5/10 (Newcombe, Stat Med 1998;17:857-72, formula 3).
    np.testing.assert_allclose(found.low, [0.0179, 0.2366], atol=1e-4)
    np.testing.assert_allclose(found.high, [0.4042, 0.7634], atol=1e-4)


def test_a_small_last_group_joins_its_neighbour():
    risks = [0.1] * 10 + [0.6] * 10 + [0.9] * 3
    found = calibration_groups([0] * 20 + [1] * 3, risks)
    assert found.n.tolist() == [10, 13]
    np.testing.assert_allclose(found.predicted, [0.1, (6 + 2.7) / 13])


def test_net_benefit_by_hand():
    # At 20%: 3 true and 2 false positives of 10 people, each false one costing 1/4.
    events = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    risks = [0.9, 0.6, 0.2, 0.5, 0.3, 0.1, 0.1, 0.1, 0.0, 0.19]
    assert net_benefit(events, risks, [0.2])[0] == pytest.approx(3 / 10 - 2 / 10 / 4)
    # A risk equal to the threshold is acted on, here by nobody else.
    assert net_benefit(events, risks, [0.9])[0] == pytest.approx(1 / 10)
    assert net_benefit(events, risks, [0.95])[0] == 0


@given(labelled_risks(), st.floats(0.01, 0.99))
def test_acting_on_everybody_is_the_treat_all_formula(data, threshold):
    events, _ = data
    share = events.mean()
    expected = share - (1 - share) * threshold / (1 - threshold)
    assert net_benefit(events, np.ones(events.size), [threshold])[0] == pytest.approx(expected)
    assert net_benefit(events, np.zeros(events.size), [threshold])[0] == 0


@pytest.mark.parametrize(
    ("labels", "risks", "weights", "message"),
    [
        ([1, 1], [0.1, 0.2], None, "at least one row with and one without"),
        ([0, 2], [0.1, 0.2], None, "neither 0 nor 1"),
        ([0, np.nan], [0.1, 0.2], None, "1 of 2 labels are missing"),
        (["a", "b"], [0.1, 0.2], None, "labels that are not numbers"),
        ([0, 1], [0.1], None, "1 risks of 'risks'"),
        ([0, 1], [0.1, 1.2], None, "outside 0 to 1"),
        ([0, 1], [[0.1, 0.2]], None, "of shape"),
        ([0, 1], [0.1, 0.2], [1.0], "1 weights"),
        ([0, 1], [0.1, 0.2], [1.0, -1.0], "negative"),
        ([0, 1], [0.1, 0.2], [1.0, 0.0], "weights are all 0"),
    ],
)
def test_wrong_input_is_refused(labels, risks, weights, message):
    with pytest.raises(InputError, match=message):
        auroc(labels, risks, weights)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.1, np.nan])
def test_impossible_thresholds_are_refused(threshold):
    with pytest.raises(InputError, match="strictly between 0 and 1"):
        net_benefit([0, 1], [0.1, 0.2], [threshold])
