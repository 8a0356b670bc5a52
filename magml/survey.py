"""Means, proportions and regressions of a population, from a survey's weights and design."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from magml.errors import InputError


@dataclass(frozen=True)
class Estimate:
    """An estimate for the population.

    Attributes
    ----------
    value
        The mean, or the proportion (0 to 1).
    standard_error
        By Taylor linearisation.
    low, high
        95% interval by Student's t; a proportion's on the scale of log odds.
    n
        People that the estimate rests on.
    degrees_of_freedom
        Primary sampling units less strata.
    """

    value: float
    standard_error: float
    low: float
    high: float
    n: int
    degrees_of_freedom: int


def weighted_mean(
    values: ArrayLike,
    weight: ArrayLike,
    stratum: ArrayLike,
    psu: ArrayLike,
    domain: ArrayLike | None = None,
) -> Estimate:
    """Return the weighted mean with its design-based standard error.

    Parameters
    ----------
    values
        Shape (n,); NaN leaves a person out of the mean, not out of the design.
    weight
        Sampling weights, shape (n,), not negative.
    stratum, psu
        Stratum, and primary sampling unit within its stratum, shape (n,).
    domain
        Whom the mean is of, shape (n,); default everyone. A subgroup is named here and not cut
        out of the table: sampling units without one of its members count in the error.

    Returns
    -------
    Estimate

    Raises
    ------
    InputError
        Shapes that differ, missing or negative weights, nobody with weight, a stratum with a
        single sampling unit.

    Notes
    -----
    With z = weight x (value - mean) / sum of weights, summed by sampling unit, the variance is
    the sum over strata of m/(m-1) x the squared deviations of the m units' sums from the
    stratum's mean sum (first stage with replacement). Source: Binder DA, Int Stat Rev
    1983;51:279-92 (read: not checked).

    Examples
    --------
    >>> found = weighted_mean([1, 3, 5, 7], [1, 1, 1, 1], ["a"] * 4, [1, 1, 2, 2])
    >>> found.value, found.standard_error
    (4.0, 2.0)
    """
    x, w, units, strata, use = _design(values, weight, stratum, psu, domain)
    total = w[use].sum()
    mean = float(np.sum(w[use] * x[use]) / total)
    z = np.where(use, w * (np.where(use, x, mean) - mean) / total, 0.0)
    sums = np.bincount(units, weights=z)
    count = np.bincount(strata)
    centre = np.bincount(strata, weights=sums) / count
    squares = np.bincount(strata, weights=(sums - centre[strata]) ** 2)
    error = float(np.sqrt(np.sum(count / (count - 1) * squares)))
    freedom = len(sums) - len(count)
    reach = _quantile(freedom) * error
    return Estimate(mean, error, mean - reach, mean + reach, int(use.sum()), freedom)


def weighted_proportion(
    values: ArrayLike,
    weight: ArrayLike,
    stratum: ArrayLike,
    psu: ArrayLike,
    domain: ArrayLike | None = None,
) -> Estimate:
    """Return a weighted proportion with its design-based standard error.

    Parameters
    ----------
    values
        0, 1 or NaN (left out), shape (n,).
    weight, stratum, psu, domain
        As for :func:`weighted_mean`.

    Returns
    -------
    Estimate
        With an interval on the log odds, which stays within 0 and 1; where nobody or everybody
        has it, no interval exists and its ends are NaN.

    Raises
    ------
    InputError
        Values other than 0 and 1, and as for :func:`weighted_mean`.

    Examples
    --------
    >>> found = weighted_proportion([0, 1, 1, 1], [1, 1, 1, 1], ["a"] * 4, [1, 1, 2, 2])
    >>> found.value, found.standard_error
    (0.75, 0.25)
    """
    x = np.asarray(values, dtype=np.float64)
    if not np.isin(x[~np.isnan(x)], (0.0, 1.0)).all():
        raise InputError("values other than 0 and 1", "0, 1 or nothing", "use weighted_mean")
    found = weighted_mean(x, weight, stratum, psu, domain)
    p = found.value
    low = high = float("nan")
    if 0 < p < 1:
        odds = np.log(p / (1 - p))
        reach = _quantile(found.degrees_of_freedom) * found.standard_error / (p * (1 - p))
        low, high = (float(1 / (1 + np.exp(-(odds + sign * reach)))) for sign in (-1, 1))
    return Estimate(p, found.standard_error, low, high, found.n, found.degrees_of_freedom)


@dataclass(frozen=True)
class Regression:
    """Coefficients of a linear regression in the population.

    Attributes
    ----------
    coefficients
        Shape (p,), in the order of the columns.
    covariance
        By Taylor linearisation, shape (p, p).
    n
        People that it rests on.
    degrees_of_freedom
        Primary sampling units less strata.
    """

    coefficients: NDArray[np.float64]
    covariance: NDArray[np.float64]
    n: int
    degrees_of_freedom: int

    def combination(self, weights: ArrayLike) -> Estimate:
        """Return a linear combination of coefficients, `weights` of shape (p,)."""
        a = np.asarray(weights, dtype=np.float64)
        value, error = float(a @ self.coefficients), float(np.sqrt(a @ self.covariance @ a))
        reach = _quantile(self.degrees_of_freedom) * error
        return Estimate(value, error, value - reach, value + reach, self.n, self.degrees_of_freedom)


def weighted_regression(
    values: ArrayLike,
    columns: ArrayLike,
    weight: ArrayLike,
    stratum: ArrayLike,
    psu: ArrayLike,
    domain: ArrayLike | None = None,
) -> Regression:
    """Return a weighted linear regression with its design-based covariance.

    Parameters
    ----------
    values
        Shape (n,); NaN leaves a person out of the regression, not out of the design.
    columns
        Shape (n, p), a column of ones included where an intercept is wanted; NaN as in `values`.
    weight, stratum, psu, domain
        As for :func:`weighted_mean`.

    Raises
    ------
    InputError
        Columns that depend on each other, and as for :func:`weighted_mean`.

    Notes
    -----
    With b the weighted least-squares coefficients, A the weighted cross-product of the columns
    and z = weight x column x residual, the covariance is the inverse of A times the covariance of
    the sums of z over sampling units (as in :func:`weighted_mean`) times the inverse of A. Source:
    Binder DA, Int Stat Rev 1983;51:279-92 (read: not checked).

    Examples
    --------
    A regression on ones is the mean.

    >>> found = weighted_regression([1, 3, 5, 7], [[1]] * 4, [1] * 4, ["a"] * 4, [1, 1, 2, 2])
    >>> found.combination([1]).value, found.combination([1]).standard_error
    (4.0, 2.0)
    """
    X = np.asarray(columns, dtype=np.float64)
    y = np.asarray(values, dtype=np.float64)
    if X.ndim != 2 or len(X) != len(y):
        raise InputError(
            f"columns of shape {X.shape} for {len(y)} people", "a row a person", "align them"
        )
    complete = np.where(np.isnan(X).any(axis=1), np.nan, y)
    _, w, units, strata, use = _design(complete, weight, stratum, psu, domain)
    A = (X[use] * w[use, None]).T @ X[use]
    if np.linalg.matrix_rank(A) < A.shape[0]:
        raise InputError("columns that depend on each other", "independent columns", "drop one")
    b = np.linalg.solve(A, (X[use] * w[use, None]).T @ y[use])
    z = np.zeros_like(X)
    z[use] = X[use] * (w[use] * (y[use] - X[use] @ b))[:, None]
    sums = np.stack([np.bincount(units, weights=column) for column in z.T], axis=1)
    count = np.bincount(strata)
    centre = np.stack([np.bincount(strata, weights=column) for column in sums.T], axis=1)
    moved = sums - (centre / count[:, None])[strata]
    middle = (moved * (count / (count - 1))[strata][:, None]).T @ moved
    inverse = np.linalg.inv(A)
    return Regression(
        np.asarray(b, dtype=np.float64),
        inverse @ middle @ inverse,
        int(use.sum()),
        len(sums) - len(count),
    )


def _design(
    values: ArrayLike,
    weight: ArrayLike,
    stratum: ArrayLike,
    psu: ArrayLike,
    domain: ArrayLike | None,
) -> tuple[
    NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool]
]:
    """Return values, weights, unit of each row, stratum of each unit, and the rows to use."""
    x = np.asarray(values, dtype=np.float64)
    w = np.asarray(weight, dtype=np.float64)
    layer, cluster = np.asarray(stratum), np.asarray(psu)
    inside = np.ones(x.shape, bool) if domain is None else np.asarray(domain, dtype=bool)
    shapes = {array.shape for array in (x, w, layer, cluster, inside)}
    if len(shapes) != 1 or x.ndim != 1:
        raise InputError(
            f"arrays of shapes {sorted(shapes)}", "one value of each a person", "align them"
        )
    if not np.isfinite(w).all() or (w < 0).any():
        raise InputError(
            f"{int((~(w >= 0) | np.isinf(w)).sum())} weights missing or negative",
            "a weight of 0 or more for everyone",
            "give weight 0 to those who were not asked",
        )
    use = inside & ~np.isnan(x) & (w > 0)
    if not use.any():
        raise InputError("nobody with a value and a weight", "at least one person", "check both")
    _, layers = np.unique(layer, return_inverse=True)
    _, clusters = np.unique(cluster, return_inverse=True)
    pairs, units = np.unique(layers * (clusters.max() + 1) + clusters, return_inverse=True)
    strata = pairs // (clusters.max() + 1)
    single = int((np.bincount(strata) < 2).sum())
    if single:
        raise InputError(
            f"{single} strata with a single sampling unit",
            "two or more in each",
            "keep the whole survey and name a subgroup by `domain`, or merge strata",
        )
    return x, w, units, strata, use


def _quantile(freedom: int) -> float:
    """Return the 97.5% quantile of Student's t."""
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))
