"""Logistic regression by Newton steps, for many weightings of the same rows at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_MAX_STEPS = 40
# A Newton step squares the error, so a last step of 1e-6 leaves about 1e-12.
_LAST_STEP = 1e-6
# Longer steps would overshoot where the risks are far from the outcomes.
_LONGEST_STEP = 2.0
# Below this information per unit of weight every fitted risk is 0 or 1: the data are separated.
_LEAST_INFORMATION = 1e-9


def logistic_coefficients(
    design: Floats,
    events: NDArray[np.bool_],
    weights: Floats,
    offset: Floats | float = 0.0,
    start: Floats | None = None,
) -> Floats:
    """Maximum-likelihood coefficients of b logistic regressions that differ in weights only.

    No BLAS is called, so the result does not depend on the number of threads.

    Parameters
    ----------
    design : numpy.ndarray, shape (k, n)
        One row a term, the intercept's row of ones included; terms near unit spread.
    events : numpy.ndarray of bool, shape (n,)
        The outcomes.
    weights : numpy.ndarray, shape (b, n)
        b weightings of the n rows.
    offset : numpy.ndarray of shape (n,), or float
        Term whose coefficient is held at 1, on the log-odds scale.
    start : numpy.ndarray, shape (k,), optional
        Where to start, zeros by default; the whole sample's coefficients save half of the steps.

    Returns
    -------
    numpy.ndarray, shape (b, k)
        NaN where the likelihood has no maximum (separated classes).

    Examples
    --------
    Three of four people with the outcome: the intercept is log(3).

    >>> fit = logistic_coefficients(
    ...     np.ones((1, 4)), np.array([True, True, True, False]), np.ones((1, 4))
    ... )
    >>> round(float(np.exp(fit[0, 0])), 6)
    3.0
    """
    k = len(design)
    coefficients = np.zeros((len(weights), k))
    if start is not None:
        if not np.isfinite(start).all():
            return np.full_like(coefficients, np.nan)
        coefficients[:] = start
    first, second = np.triu_indices(k)
    products = design[first] * design[second]
    active = np.arange(len(weights))
    for _ in range(_MAX_STEPS):
        used = weights if active.size == len(weights) else weights[active]
        fitted = fitted_risk(design, coefficients[active], offset)
        gradient = np.einsum("bn,kn->bk", used * (events - fitted), design)
        upper = np.einsum("bn,kn->bk", used * (fitted * (1.0 - fitted)), products)
        information = np.empty((active.size, k, k))
        information[:, first, second] = information[:, second, first] = upper
        trace = np.einsum("bkk->b", information)
        lost = trace <= _LEAST_INFORMATION * used.sum(axis=1)
        coefficients[active[lost]] = np.nan
        kept = ~lost
        active, gradient, information = active[kept], gradient[kept], information[kept]
        # The ridge keeps collinear terms solvable; it bends the path, not the point it leads to.
        ridge = (1e-10 * trace[kept])[:, None, None] * np.eye(k)
        step = np.linalg.solve(information + ridge, gradient[:, :, None])[:, :, 0]
        longest = np.abs(step).max(axis=1)
        step *= np.minimum(1.0, _LONGEST_STEP / np.maximum(longest, 1e-300))[:, None]
        coefficients[active] += step
        active = active[longest > _LAST_STEP]
        if active.size == 0:
            return coefficients
    coefficients[active] = np.nan
    return coefficients


def fitted_risk(design: Floats, coefficients: Floats, offset: Floats | float = 0.0) -> Floats:
    """Risks that b sets of coefficients give.

    Parameters
    ----------
    design : numpy.ndarray, shape (k, n)
        One row a term.
    coefficients : numpy.ndarray, shape (b, k)
        Coefficients on the log-odds scale.
    offset : numpy.ndarray of shape (n,), or float
        Added to the log-odds.

    Returns
    -------
    numpy.ndarray, shape (b, n)

    Examples
    --------
    >>> fitted_risk(np.ones((1, 2)), np.zeros((1, 1))).tolist()
    [[0.5, 0.5]]
    """
    log_odds = coefficients[:, :1] * design[0] + offset
    for term in range(1, len(design)):
        log_odds += coefficients[:, term : term + 1] * design[term]
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-log_odds))
