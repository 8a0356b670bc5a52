"""Survey estimates against sums by hand."""

from __future__ import annotations

import numpy as np
import pytest

from magml.errors import InputError
from magml.survey import weighted_mean, weighted_proportion, weighted_regression

STRATUM = ["a", "a", "a", "b", "b", "b"]
PSU = [1, 1, 2, 1, 2, 2]
WEIGHT = [1.0, 2.0, 1.0, 2.0, 1.0, 1.0]


def test_mean_by_hand() -> None:
    # Weighted mean (1x2 + 2x4 + 1x6 + 2x1 + 1x3 + 1x3) / 8 = 24/8 = 3.
    # w(x-3)/8 by unit: a1 (-1+2)/8 = 1/8, a2 3/8; b1 -4/8, b2 0. Deviations in a: 1/8 each,
    # in b 2/8 each; with m/(m-1) = 2 the variance is 2(2/64) + 2(8/64) = 20/64.
    found = weighted_mean([2, 4, 6, 1, 3, 3], WEIGHT, STRATUM, PSU)
    assert found.value == pytest.approx(3)
    assert found.standard_error == pytest.approx(np.sqrt(20) / 8)
    assert (found.n, found.degrees_of_freedom) == (6, 2)
    # t with 2 degrees of freedom at 97.5%: 4.303 (printed tables).
    assert found.high - 3 == pytest.approx(4.303 * np.sqrt(20) / 8, rel=1e-4)


def test_empty_units_of_a_domain_count() -> None:
    # Only rows 0 and 1 (values 2 and 4, weights 1 and 2): mean 10/3. Both lie in unit a1, whose
    # sum is therefore 0, and all others are 0: no variance between units.
    inside = [True, True, False, False, False, False]
    found = weighted_mean([2, 4, 6, 1, 3, 3], WEIGHT, STRATUM, PSU, inside)
    assert found.value == pytest.approx(10 / 3)
    assert found.standard_error == pytest.approx(0, abs=1e-12)
    # Rows 0 and 3 (2 and 1; weights 1 and 2): mean 4/3; z = 2/9 in a1 and -2/9 in b1, the
    # other unit of each stratum 0: each stratum gives 2 x 2 x (1/9)^2.
    other = weighted_mean([2, np.nan, np.nan, 1, np.nan, np.nan], WEIGHT, STRATUM, PSU)
    assert other.value == pytest.approx(4 / 3)
    assert other.standard_error == pytest.approx(np.sqrt(8 / 81))
    assert other.n == 2


def test_weights_and_labels_scale_out() -> None:
    rng = np.random.default_rng(3)
    x, w = rng.normal(size=40), rng.uniform(1, 5, 40)
    stratum, psu = np.repeat([7, 9], 20), np.tile(np.repeat([1, 2], 10), 2)
    plain = weighted_mean(x, w, stratum, psu)
    scaled = weighted_mean(x, 1000 * w, stratum + 3, psu.astype(str))
    assert scaled.standard_error == pytest.approx(plain.standard_error)


def test_proportion_interval_stays_inside() -> None:
    found = weighted_proportion([0, 1, 0, 0, 0, 0], WEIGHT, STRATUM, PSU)
    # p = 2/8; z by unit: a1 (-.25 + 1.5)/8, a2 -.25/8; b1 -.5/8, b2 -.5/8 -> deviations .75/8 in a.
    assert found.value == pytest.approx(0.25)
    assert found.standard_error == pytest.approx(np.sqrt(4 * 0.75**2) / 8)
    assert 0 < found.low < 0.25 < found.high < 1
    none = weighted_proportion([0] * 6, WEIGHT, STRATUM, PSU)
    assert none.value == 0
    assert np.isnan(none.low)


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="single sampling unit"):
        weighted_mean([1, 2], [1, 1], ["a", "b"], [1, 1])
    with pytest.raises(InputError, match="1 weights"):
        weighted_mean([1, 2], [1, -1], ["a", "a"], [1, 2])
    with pytest.raises(InputError, match="nobody"):
        weighted_mean([np.nan, 2], [1, 0], ["a", "a"], [1, 2])
    with pytest.raises(InputError, match="shapes"):
        weighted_mean([1, 2, 3], [1, 1], ["a", "a"], [1, 2])
    with pytest.raises(InputError, match="other than 0 and 1"):
        weighted_proportion([0.5, 1], [1, 1], ["a", "a"], [1, 2])


def test_a_regression_on_a_group_is_the_difference_of_its_means():
    rng = np.random.default_rng(5)
    n = 400
    stratum, psu = rng.integers(0, 8, n), rng.integers(0, 2, n)
    weight, group = rng.uniform(1, 9, n), rng.integers(0, 2, n)
    y = rng.normal(0, 1, n) + group
    found = weighted_regression(y, np.column_stack([np.ones(n), group]), weight, stratum, psu)
    means = [np.average(y[group == g], weights=weight[group == g]) for g in (0, 1)]
    total = [weight[group == g].sum() for g in (0, 1)]
    # The difference's own linearised variable, as a mean of it: derived apart from the matrix form.
    score = np.where(group == 1, (y - means[1]) / total[1], -(y - means[0]) / total[0])
    alone = weighted_mean(score * weight.sum(), weight, stratum, psu)
    assert found.coefficients[1] == pytest.approx(means[1] - means[0])
    assert found.combination([0, 1]).standard_error == pytest.approx(alone.standard_error)


def test_without_a_design_a_regression_has_the_sandwich_errors():
    rng = np.random.default_rng(6)
    n = 300
    x = rng.normal(size=n)
    y = 2 + 3 * x + rng.normal(size=n) * (1 + np.abs(x))
    X = np.column_stack([np.ones(n), x])
    found = weighted_regression(y, X, np.ones(n), np.zeros(n), np.arange(n))
    residual = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
    bread = np.linalg.inv(X.T @ X)
    sandwich = bread @ (X.T @ (X * residual[:, None] ** 2)) @ bread * n / (n - 1)
    np.testing.assert_allclose(found.covariance, sandwich)


def test_a_regression_in_a_domain_keeps_the_design_and_refuses_what_it_cannot_tell():
    y, ones = np.array([1.0, 3.0, 5.0, 7.0]), np.ones((4, 1))
    design = ([1] * 4, ["a", "a", "b", "b"], [1, 2, 1, 2])
    inside = np.array([True, True, True, False])
    found = weighted_regression(y, ones, *design, domain=inside).combination([1])
    alone = weighted_mean(y, *design, domain=inside)
    assert (found.value, found.n) == (alone.value, 3)
    assert found.standard_error == pytest.approx(alone.standard_error)
    with pytest.raises(InputError, match="depend on each other"):
        weighted_regression(y, np.column_stack([ones, ones]), *design)
