"""Calibration of log-odds to risks: strictly increasing, smooth, few parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from magml.errors import BundleError, CohortError, InputError
from magml.models.splits import inner_folds

Method = Literal["logistic", "beta"]
#: Slopes stay inside these bounds: above 0, so that risks rise with the margin; not without end,
#: so that a sample split perfectly still has an optimum. Beta's are kept further from 0: where
#: few margins lie, one slope is next to unknown, and a flat end would give equal risks there.
_SLOPES: dict[str, tuple[float, float]] = {"logistic": (1e-3, 50.0), "beta": (0.1, 50.0)}
_INTERCEPT = 100.0
#: A method must lower the cross-validated log loss by more than this to replace an earlier one.
_TIE = 1e-6


@dataclass(frozen=True)
class Calibrator:
    """A strictly increasing map from a model's log-odds (margin) to a risk.

    The calibrated log-odds are
    ``intercept - low * log1p(exp(-margin)) + high * log1p(exp(margin))``.
    That is beta calibration of the margin's probability p, ``intercept + low * ln(p) - high *
    ln(1 - p)`` (Kull, Silva Filho and Flach, Electron J Stat 2017;11:5052-80); with ``low ==
    high`` it is logistic calibration, ``intercept + slope * margin``.

    Attributes
    ----------
    method
        ``logistic`` or ``beta``.
    intercept
        Calibrated log-odds at margin 0, plus ``(low - high) * ln 2``.
    low, high
        Slope of the calibrated log-odds far below and far above margin 0; both positive.

    Examples
    --------
    >>> identity = Calibrator("logistic", 0.0, 1.0, 1.0)
    >>> identity.risk([0.0]), identity.derivative([0.0])
    (array([0.5]), array([0.25]))
    """

    method: Method
    intercept: float
    low: float
    high: float

    def __post_init__(self) -> None:
        numbers = (self.intercept, self.low, self.high)
        if self.method not in ("logistic", "beta") or not (
            all(math.isfinite(number) for number in numbers) and self.low > 0 and self.high > 0
        ):
            raise InputError(
                f"a calibrator {self.method!r} with intercept {self.intercept} and slopes "
                f"{self.low} and {self.high}",
                "logistic or beta, finite, with both slopes above 0",
                "fit the calibrator again",
            )
        if self.method == "logistic" and self.low != self.high:
            raise InputError(
                "a logistic calibrator with two slopes", "one slope", "use the method beta"
            )

    def log_odds(self, margin: ArrayLike) -> NDArray[np.float64]:
        """Return calibrated log-odds of margins, in their shape."""
        value = np.asarray(margin, dtype=np.float64)
        if self.low == self.high:
            return self.intercept + self.low * value
        return (
            self.intercept - self.low * np.logaddexp(0, -value) + self.high * np.logaddexp(0, value)
        )

    def risk(self, margin: ArrayLike) -> NDArray[np.float64]:
        """Return risks, 0 to 1, of margins (log-odds of the model), in their shape."""
        from scipy.special import expit

        return np.asarray(expit(self.log_odds(margin)))

    def derivative(self, margin: ArrayLike) -> NDArray[np.float64]:
        """Return the change of risk per unit of margin, above 0 wherever it does not underflow."""
        from scipy.special import expit

        value = np.asarray(margin, dtype=np.float64)
        odds = self.log_odds(value)
        slope = self.low * expit(-value) + self.high * expit(value)
        return np.asarray(expit(odds) * expit(-odds) * slope)

    def to_dict(self) -> dict[str, Any]:
        """Return the calibrator as plain values for JSON."""
        return {
            "method": self.method,
            "intercept": self.intercept,
            "low": self.low,
            "high": self.high,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Calibrator:
        """Return the calibrator that :meth:`to_dict` wrote.

        Raises
        ------
        BundleError
            If a key is missing or a value is not what it should be.
        """
        try:
            return cls(
                value["method"],
                float(value["intercept"]),
                float(value["low"]),
                float(value["high"]),
            )
        except (KeyError, TypeError, ValueError, InputError) as error:
            raise BundleError(
                f"a calibrator with the keys {', '.join(sorted(map(str, value)))} does not read",
                "method, intercept, low and high",
                "use the bundle as it was written",
            ) from error


def fit_calibrator(
    margin: ArrayLike,
    y: ArrayLike,
    methods: Sequence[Method] = ("logistic", "beta"),
    *,
    weights: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Calibrator:
    """Fit each method, choose by cross-validated log loss, and return the best on all rows.

    Parameters
    ----------
    margin
        Log-odds by models that never saw the row, shape (n,).
    y
        Outcome, 0 or 1, shape (n,).
    methods
        Candidates; a later one must be better, a tie leaves the earlier.
    weights
        Weights of rows, shape (n,).
    groups
        What the folds of the choice keep together; default each row by itself.
    folds, seed
        Folds of the choice between methods, and their seed.

    Returns
    -------
    Calibrator

    Raises
    ------
    CohortError
        If `y` has one class only.
    InputError
        If a margin is not finite.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> margin = rng.normal(size=20_000)
    >>> y = rng.random(20_000) < 1 / (1 + np.exp(-(0.5 * margin - 1)))
    >>> found = fit_calibrator(margin, y, ["logistic"])
    >>> round(found.intercept, 1), round(found.low, 1)
    (-1.0, 0.5)
    """
    value = np.asarray(margin, dtype=np.float64)
    outcome = np.asarray(y, dtype=np.float64)
    weight = np.ones(len(value)) if weights is None else np.asarray(weights, dtype=np.float64)
    if not len(value) or outcome.min() == outcome.max():
        raise CohortError(
            f"{len(value)} rows of one class only to calibrate on",
            "rows with and without the outcome",
            "check the outcome and the cohort",
        )
    if not np.isfinite(value).all():
        raise InputError(
            f"{int((~np.isfinite(value)).sum())} log-odds that are not finite",
            "a finite number for every row",
            "leave out rows without a prediction",
        )
    chosen = methods[0]
    if len(methods) > 1:
        group = np.arange(len(value)) if groups is None else np.asarray(groups)
        best = math.inf
        for method, loss in zip(
            methods, _losses(value, outcome, weight, group, methods, folds, seed), strict=True
        ):
            if loss < best - _TIE:
                chosen, best = method, loss
    return _fit(value, outcome, weight, chosen)


def log_loss_of(log_odds: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return the weighted mean log loss of log-odds, exact at extremes.

    Examples
    --------
    >>> round(log_loss_of([0.0, 0.0], [0, 1]), 4)
    0.6931
    """
    odds, outcome = np.asarray(log_odds, dtype=np.float64), np.asarray(y, dtype=np.float64)
    losses = np.logaddexp(0, odds) - outcome * odds
    weight = np.ones(len(odds)) if weights is None else np.asarray(weights, dtype=np.float64)
    return float((losses * weight).sum() / weight.sum())


def _losses(
    value: NDArray[np.float64],
    outcome: NDArray[np.float64],
    weight: NDArray[np.float64],
    group: NDArray[Any],
    methods: Sequence[Method],
    folds: int,
    seed: int,
) -> list[float]:
    """Return each method's cross-validated log loss; where no folds can be made, all equal."""
    try:
        fold = inner_folds(outcome, group, folds, seed)
    except CohortError:
        return [0.0] * len(methods)
    found = []
    for method in methods:
        odds = np.empty(len(value))
        for number in range(int(fold.max()) + 1):
            test = fold == number
            fitted = _fit(value[~test], outcome[~test], weight[~test], method)
            odds[test] = fitted.log_odds(value[test])
        found.append(log_loss_of(odds, outcome, weight))
    return found


def _fit(
    value: NDArray[np.float64],
    outcome: NDArray[np.float64],
    weight: NDArray[np.float64],
    method: Method,
) -> Calibrator:
    """Return the maximum likelihood fit with slopes inside their bounds (a convex problem)."""
    from scipy.optimize import minimize
    from scipy.special import expit

    if method == "logistic":
        columns = [np.ones(len(value)), value]
    elif method == "beta":
        columns = [np.ones(len(value)), -np.logaddexp(0, -value), np.logaddexp(0, value)]
    else:
        raise InputError(f"calibration method {method!r}", "logistic or beta", "correct the name")
    total = weight.sum()

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        # Sums by numpy, never by BLAS, whose last bits depend on its threads.
        odds = sum((p * column for p, column in zip(parameters, columns, strict=True)), start=0.0)
        residual = weight * (expit(odds) - outcome)
        gradient = np.array([(residual * column).sum() for column in columns]) / total
        return log_loss_of(odds, outcome, weight), gradient

    prevalence = (weight * outcome).sum() / total
    prevalence = min(max(float(prevalence), 1e-6), 1 - 1e-6)
    start = np.array([math.log(prevalence / (1 - prevalence)), *[1.0] * (len(columns) - 1)])
    bounds = [(-_INTERCEPT, _INTERCEPT)] + [_SLOPES[method]] * (len(columns) - 1)
    found = minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": 1000, "ftol": 1e-14, "gtol": 1e-9},
    ).x
    intercept, low, high = float(found[0]), float(found[1]), float(found[-1])
    return Calibrator(method, intercept, low, high)
