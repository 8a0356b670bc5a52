"""Penalised logistic regression on a matrix with missing values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from magml.models.calibration import log_loss_of
from magml.models.splits import inner_folds

Margin = Callable[[NDArray[np.float32]], NDArray[np.float64]]
#: Inverse strengths of the L2 penalty that are tried, the strongest penalty first.
STRENGTHS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)


@dataclass(frozen=True, eq=False)
class Scaler:
    """Turns a matrix with gaps into a complete one on one scale; learned on training rows.

    Values are clipped to the 1st and 99th percentile, gaps take the median and, where a column
    has gaps in training, an indicator column; all columns are standardised.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    median: NDArray[np.float64]
    indicators: NDArray[np.int64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    def transform(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the complete, standardised matrix, shape (n, p + indicators)."""
        return (self._complete(X) - self.mean) / self.scale

    def _complete(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        value = np.clip(np.asarray(X, dtype=np.float64), self.low, self.high)
        gaps = np.isnan(value)
        value = np.where(gaps, self.median, value)
        return np.hstack([value, gaps[:, self.indicators].astype(np.float64)])


def fit_scaler(X: NDArray[np.floating]) -> Scaler:
    """Learn clipping, filling and scaling from training rows.

    Parameters
    ----------
    X
        Matrix, shape (n, p); NaN is missing. A column without any value becomes all zeros.

    Returns
    -------
    Scaler

    Examples
    --------
    >>> X = np.array([[1.0, np.nan], [3.0, 2.0]])
    >>> fit_scaler(X).transform(X).shape
    (2, 3)
    """
    value = np.asarray(X, dtype=np.float64)
    empty = np.isnan(value).all(axis=0)
    filled = np.where(empty, 0.0, value)
    low, median, high = np.nanpercentile(filled, [1, 50, 99], axis=0)
    gaps = np.isnan(filled)
    indicators = _distinct(gaps)
    p = value.shape[1] + len(indicators)
    plain = Scaler(low, high, median, indicators, np.zeros(p), np.ones(p))
    complete = plain.transform(filled)
    scale = complete.std(axis=0)
    scale[scale < 1e-12] = 1.0
    return Scaler(low, high, median, indicators, complete.mean(axis=0), scale)


def fit_logistic(
    X: NDArray[np.floating],
    y: NDArray[np.floating],
    *,
    strength: float,
    weights: NDArray[np.floating] | None = None,
) -> Margin:
    """Return the log-odds function of an L2-penalised logistic regression.

    Parameters
    ----------
    X, y
        Training rows, shapes (n, p) and (n,).
    strength
        Inverse strength of the penalty (``C``).
    weights
        Weights of rows, shape (n,).

    Examples
    --------
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> margin = fit_logistic(X, np.array([0.0, 0, 1, 1]), strength=1.0)
    >>> bool(margin(X)[3] > margin(X)[0])
    True
    """
    scaler = fit_scaler(X)
    model = _regression(scaler.transform(X), y, strength, weights)
    return lambda new: np.asarray(model.decision_function(scaler.transform(new)))


def choose_strength(
    X: NDArray[np.floating],
    y: NDArray[np.floating],
    groups: NDArray[np.int64],
    seed: int,
    *,
    weights: NDArray[np.floating] | None = None,
    folds: int = 3,
) -> float:
    """Return the strength of :data:`STRENGTHS` with the lowest grouped cross-validated log loss.

    Parameters
    ----------
    X, y, weights
        Training rows.
    groups
        What folds keep together, shape (n,).
    seed, folds
        Seed and number of the folds.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(40, 1))
    >>> choose_strength(X, (X[:, 0] > 0) * 1.0, np.arange(40), 0) in STRENGTHS
    True
    """
    fold = inner_folds(y, groups, folds, seed)
    losses = np.zeros(len(STRENGTHS))
    for number in range(int(fold.max()) + 1):
        train, test = fold != number, fold == number
        scaler = fit_scaler(X[train])
        known, new = scaler.transform(X[train]), scaler.transform(X[test])
        w = None if weights is None else weights[train]
        start = None
        for place, strength in enumerate(STRENGTHS):
            model = _regression(known, y[train], strength, w, start)
            start = model
            held = None if weights is None else weights[test]
            share = test.sum() if held is None else held.sum()
            losses[place] += share * log_loss_of(model.decision_function(new), y[test], held)
    return STRENGTHS[int(np.argmin(losses))]


def _regression(known, y, strength, weights, start=None):  # type: ignore[no-untyped-def]
    """Return a fitted regression, from the solution of an earlier one where there is one."""
    from sklearn.linear_model import LogisticRegression

    model = start or LogisticRegression(max_iter=1000, tol=1e-4, warm_start=True)
    model.set_params(C=strength)
    return model.fit(known, y, sample_weight=weights)


def _distinct(gaps: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the columns with gaps, one for each pattern of gaps."""
    seen: dict[bytes, int] = {}
    for column in np.flatnonzero(gaps.any(axis=0)):
        seen.setdefault(np.packbits(gaps[:, column]).tobytes(), int(column))
    return np.array(sorted(seen.values()), dtype=np.int64)
