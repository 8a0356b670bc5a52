"""Natural (restricted) cubic splines: cubic between the knots, straight lines beyond them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Quantiles of the knots after Harrell, Regression Modeling Strategies, table 2.3.
_THREE = (0.10, 0.50, 0.90)
_FOUR = (0.05, 0.35, 0.65, 0.95)
# With fewer in the smaller class a curve of three degrees of freedom mostly draws noise.
_ENOUGH_FOR_FOUR = 100


def spline_knots(values: Floats, smaller_class: int) -> Floats:
    """Knots at Harrell's quantiles: four, or three where the smaller class has under 100 rows.

    Parameters
    ----------
    values : numpy.ndarray, shape (n,)
        The term to be bent.
    smaller_class : int
        Rows in the smaller outcome class.

    Returns
    -------
    numpy.ndarray, shape (m,)
        Distinct and rising; fewer than asked for where many values are equal.

    Examples
    --------
    >>> spline_knots(np.arange(101.0), 20).tolist()
    [10.0, 50.0, 90.0]
    """
    quantiles = _FOUR if smaller_class >= _ENOUGH_FOR_FOUR else _THREE
    return np.unique(np.quantile(values, quantiles))


def natural_spline(values: Floats, grid: Floats, knots: Floats) -> tuple[Floats, Floats]:
    """Terms of a natural cubic spline, intercept first, at two sets of points.

    Parameters
    ----------
    values : numpy.ndarray, shape (n,)
        Points whose mean and standard deviation scale the terms.
    grid : numpy.ndarray, shape (g,)
        Further points, scaled alike.
    knots : numpy.ndarray, shape (m,)
        Rising knots; with fewer than three the spline is a straight line.

    Returns
    -------
    at_values, at_grid : numpy.ndarray, shape (k, n) and (k, g)
        k is 2 without a bend, m otherwise.

    References
    ----------
    Harrell FE. Regression Modeling Strategies, 2nd ed., section 2.4.5 (Springer 2015).

    Examples
    --------
    >>> x = np.linspace(0.0, 1.0, 11)
    >>> natural_spline(x, x[:2], np.array([0.1, 0.5, 0.9]))[1].shape
    (3, 2)
    """
    raw, raw_grid = _terms(values, knots), _terms(grid, knots)
    centre = raw.mean(axis=1, keepdims=True)
    spread = raw.std(axis=1, keepdims=True)
    spread[spread == 0] = 1.0
    return _with_intercept((raw - centre) / spread), _with_intercept((raw_grid - centre) / spread)


def _terms(x: Floats, knots: Floats) -> Floats:
    """Harrell's truncated-power form without the intercept."""
    if knots.size < 3:
        return x[None, :]
    last, before = knots[-1], knots[-2]
    terms = [x]
    for knot in knots[:-2]:
        bend = (
            _cube(x - knot)
            - _cube(x - before) * (last - knot) / (last - before)
            + _cube(x - last) * (before - knot) / (last - before)
        )
        terms.append(bend / (last - knots[0]) ** 2)
    return np.vstack(terms)


def _cube(x: Floats) -> Floats:
    return np.maximum(x, 0.0) ** 3


def _with_intercept(terms: Floats) -> Floats:
    return np.vstack([np.ones((1, terms.shape[1])), terms])
