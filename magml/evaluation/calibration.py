"""Calibration: in the large, slope, and a smooth curve with the index it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from magml.evaluation.checks import SMALL_CELL, check_labels, check_risks, check_weights
from magml.evaluation.logistic import fitted_risk, logistic_coefficients
from magml.evaluation.overall import weighted_mean
from magml.evaluation.spline import natural_spline, spline_knots

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

# Risks of exactly 0 or 1 have no log-odds; they are moved to one in a million.
_LEAST_RISK = 1e-6
_CURVE_POINTS = 50


def logit(risks: Floats) -> Floats:
    """Log-odds of risks, which are first kept within 1e-6 and 1 - 1e-6.

    Parameters
    ----------
    risks : numpy.ndarray, shape (n,)
        Probabilities.

    Returns
    -------
    numpy.ndarray, shape (n,)

    Examples
    --------
    >>> logit(np.array([0.5])).tolist()
    [0.0]
    """
    inside = np.clip(risks, _LEAST_RISK, 1.0 - _LEAST_RISK)
    return np.log(inside / (1.0 - inside))


@dataclass(frozen=True)
class CalibrationDesign:
    """One model's risks, prepared once so that calibration can be refitted under any weights.

    Attributes
    ----------
    events : numpy.ndarray of bool, shape (n,)
        The outcomes.
    risks, log_odds : numpy.ndarray, shape (n,)
        Predicted risks and their log-odds.
    line : numpy.ndarray, shape (2, n) or (1, n)
        Terms of the recalibration line; the intercept alone where all risks are equal.
    spread : float
        Standard deviation by which the line's log-odds were divided.
    basis : numpy.ndarray, shape (k, n)
        Terms of the smooth curve.
    predicted : numpy.ndarray, shape (g,)
        Risks at which the curve is drawn.
    grid : numpy.ndarray, shape (k, g)
        The curve's terms at `predicted`.
    start_intercept, start_line, start_curve : numpy.ndarray
        Coefficients under the original weights, from where a refit starts.
    """

    events: NDArray[np.bool_]
    risks: Floats
    log_odds: Floats
    line: Floats
    spread: float
    basis: Floats
    predicted: Floats
    grid: Floats
    start_intercept: Floats
    start_line: Floats
    start_curve: Floats

    def intercept(self, weights: Floats) -> Floats:
        """Calibration-in-the-large on the log-odds scale under (b, n) weights, shape (b,)."""
        return logistic_coefficients(
            self.line[:1], self.events, weights, self.log_odds, self.start_intercept
        )[:, 0]

    def slope(self, weights: Floats) -> Floats:
        """Slope of the outcome's log-odds on the predicted ones, shape (b,)."""
        if len(self.line) == 1:
            return np.full(len(weights), np.nan)
        coefficients = logistic_coefficients(self.line, self.events, weights, start=self.start_line)
        return coefficients[:, 1] / self.spread

    def curve(self, weights: Floats) -> tuple[Floats, Floats]:
        """Smoothed observed risk at `predicted`, shape (b, g), and the ICI, shape (b,)."""
        coefficients = logistic_coefficients(
            self.basis, self.events, weights, start=self.start_curve
        )
        smooth = fitted_risk(self.basis, coefficients)
        index = weighted_mean(np.abs(smooth - self.risks), weights)
        return fitted_risk(self.grid, coefficients), index


def prepare_calibration(
    events: NDArray[np.bool_], risks: Floats, weights: Floats
) -> CalibrationDesign:
    """Lay out the terms of the recalibration line and of the smooth curve.

    Parameters
    ----------
    events : numpy.ndarray of bool, shape (n,)
        The outcomes.
    risks : numpy.ndarray, shape (n,)
        Predicted risks.
    weights : numpy.ndarray, shape (n,)
        Row weights.

    Returns
    -------
    CalibrationDesign

    Examples
    --------
    >>> events = np.array([True, False, True, False])
    >>> design = prepare_calibration(events, np.array([0.6, 0.4, 0.4, 0.6]), np.ones(4))
    >>> abs(design.slope(np.ones((1, 4))).round(6)).tolist()
    [0.0]
    """
    log_odds = logit(risks)
    centre, spread = float(log_odds.mean()), float(log_odds.std())
    ones = np.ones((1, risks.size))
    predicted = _grid(risks)
    if spread < 1e-9:
        line = basis = ones
        grid = np.ones((1, predicted.size))
    else:
        line = np.vstack([ones, (log_odds - centre) / spread])
        knots = spline_knots(log_odds, int(min(events.sum(), (~events).sum())))
        basis, grid = natural_spline(log_odds, logit(predicted), knots)
    once = weights[None, :]
    return CalibrationDesign(
        events=events,
        risks=risks,
        log_odds=log_odds,
        line=line,
        spread=spread,
        basis=basis,
        predicted=predicted,
        grid=grid,
        start_intercept=logistic_coefficients(ones, events, once, log_odds)[0],
        start_line=logistic_coefficients(line, events, once)[0],
        start_curve=logistic_coefficients(basis, events, once)[0],
    )


def _grid(risks: Floats) -> Floats:
    """Evenly spaced risks that stop where at least a small cell of people lies beyond."""
    tail = min(max(0.01, SMALL_CELL / risks.size), 0.25)
    low, high = np.quantile(risks, [tail, 1.0 - tail])
    return np.linspace(low, high, _CURVE_POINTS) if high > low else np.array([low])


def calibration_intercept(
    labels: ArrayLike, risks: ArrayLike, weights: ArrayLike | None = None
) -> float:
    """Calibration-in-the-large: logistic regression with the predicted log-odds as offset.

    Parameters
    ----------
    labels : array_like, shape (n,)
        Outcomes, 0 or 1.
    risks : array_like, shape (n,)
        Predicted risks, 0 to 1.
    weights : array_like, shape (n,), optional
        Row weights.

    Returns
    -------
    float
        On the log-odds scale: 0 is perfect, above 0 the risks are too low on average.

    Raises
    ------
    InputError
        If the input is incomplete, not of one length, or of one class.

    References
    ----------
    Cox DR. Biometrika 1958;45:562-5. Van Calster B et al. J Clin Epidemiol 2016;74:167-76.

    Examples
    --------
    >>> round(calibration_intercept([0, 1, 1, 1], [0.5, 0.5, 0.5, 0.5]), 4)  # log(3)
    1.0986
    """
    design, once = _single(labels, risks, weights)
    return float(design.intercept(once)[0])


def calibration_slope(
    labels: ArrayLike, risks: ArrayLike, weights: ArrayLike | None = None
) -> float:
    """Slope of a logistic regression of the outcome on the predicted log-odds.

    Parameters
    ----------
    labels : array_like, shape (n,)
        Outcomes, 0 or 1.
    risks : array_like, shape (n,)
        Predicted risks, 0 to 1.
    weights : array_like, shape (n,), optional
        Row weights.

    Returns
    -------
    float
        1 is perfect, below 1 the risks are too extreme. NaN where all risks are equal or separate
        the classes.

    Raises
    ------
    InputError
        If the input is incomplete, not of one length, or of one class.

    References
    ----------
    Cox DR. Biometrika 1958;45:562-5. Van Calster B et al. J Clin Epidemiol 2016;74:167-76.

    Examples
    --------
    Of those given 20% and 80%, a third and two thirds have the outcome: log(4) / log(16).

    >>> round(calibration_slope([0, 0, 1, 0, 1, 1], [0.2, 0.2, 0.2, 0.8, 0.8, 0.8]), 4)
    0.5
    """
    design, once = _single(labels, risks, weights)
    return float(design.slope(once)[0])


def integrated_calibration_index(
    labels: ArrayLike, risks: ArrayLike, weights: ArrayLike | None = None
) -> float:
    """Mean distance between predicted risk and the smooth calibration curve.

    Parameters
    ----------
    labels : array_like, shape (n,)
        Outcomes, 0 or 1.
    risks : array_like, shape (n,)
        Predicted risks, 0 to 1.
    weights : array_like, shape (n,), optional
        Row weights.

    Returns
    -------
    float
        0 is perfect. It is a distance, so chance pushes it up and its bootstrap interval too.

    Raises
    ------
    InputError
        If the input is incomplete, not of one length, or of one class.

    References
    ----------
    Austin PC, Steyerberg EW. Stat Med 2019;38:4051-65.

    Examples
    --------
    >>> round(integrated_calibration_index([0, 1, 1, 1], [0.5, 0.5, 0.5, 0.5]), 4)
    0.25
    """
    design, once = _single(labels, risks, weights)
    return float(design.curve(once)[1][0])


def calibration_curve(
    labels: ArrayLike, risks: ArrayLike, weights: ArrayLike | None = None
) -> tuple[Floats, Floats]:
    """Smooth calibration curve: logistic regression on a natural cubic spline of the log-odds.

    Parameters
    ----------
    labels : array_like, shape (n,)
        Outcomes, 0 or 1.
    risks : array_like, shape (n,)
        Predicted risks, 0 to 1.
    weights : array_like, shape (n,), optional
        Row weights.

    Returns
    -------
    predicted, observed : numpy.ndarray, shape (g,)
        Predicted risks (up to 50) and the smoothed share with the outcome at each. The curve stops
        where fewer than ten rows lie beyond.

    Raises
    ------
    InputError
        If the input is incomplete, not of one length, or of one class.

    References
    ----------
    Harrell FE. Regression Modeling Strategies, 2nd ed., sections 2.4.5 and 10.11 (Springer 2015).

    Examples
    --------
    >>> predicted, observed = calibration_curve([0, 1, 1, 1], [0.5, 0.5, 0.5, 0.5])
    >>> predicted.tolist(), observed.round(6).tolist()
    ([0.5], [0.75])
    """
    design, once = _single(labels, risks, weights)
    return design.predicted, design.curve(once)[0][0]


def _single(
    labels: ArrayLike, risks: ArrayLike, weights: ArrayLike | None
) -> tuple[CalibrationDesign, Floats]:
    events = check_labels(labels)
    checked = check_risks({"risks": risks}, events.size)["risks"]
    used = check_weights(weights, events)
    return prepare_calibration(events, checked, used), used[None, :]
