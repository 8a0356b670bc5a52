"""The two models behind a corrected figure: who gets measured, and what would have been found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from magml.definitions.model import Estimator
from magml.errors import CohortError, MagmlError
from magml.models.seeds import derive_seed

Floats = NDArray[np.float64]
Kind = Literal["logistic", "bag", "average"]
#: Returns probabilities of some rows, learned from others: target, weights, train, test.
Learner = Callable[[NDArray[np.bool_], Floats, NDArray[np.bool_], NDArray[np.bool_]], Floats]

#: Inverse strengths of the L2 penalty that are tried, the strongest penalty first.
STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
_STEPS, _LAST_STEP = 50, 1e-4
#: Shallow and few: such a bag is fitted again in every resample.
_BAG = Estimator(
    members=2,
    rounds=60,
    parameters={"max_depth": 3, "learning_rate": 0.08, "colsample_bytree": 0.7},
)


@dataclass(frozen=True, eq=False)
class Columns:
    """What the two models see of every person of the target population.

    Attributes
    ----------
    matrix
        Columns with gaps, float32, shape (n, p): what trees see.
    design
        Complete terms, standardised, the intercept first, shape (n, k): what regressions see.
    fold
        Fold of each row, shape (n,); people are never split over folds.
    groups
        Person of each row, shape (n,), whom the bag subsamples.
    """

    matrix: NDArray[np.float32]
    design: Floats
    fold: NDArray[np.int64]
    groups: NDArray[np.int64]


def prepare_columns(
    X: NDArray[np.floating], fold: NDArray[np.int64], groups: NDArray[np.int64]
) -> Columns:
    """Lay out a matrix with gaps for trees and for regressions.

    For regressions values are clipped to their 1st and 99th percentile, gaps are filled by the
    median and marked, and each column of many values gets a bend (a natural cubic spline with
    three knots), because the chance of being tested rarely rises in a straight line.

    Examples
    --------
    >>> X = np.array([[0.0, 1.0], [1.0, np.nan], [2.0, 0.0], [3.0, 1.0]])
    >>> prepare_columns(X, np.zeros(4, dtype=np.int64), np.arange(4)).design.shape[0]
    4
    """
    from magml.evaluation.spline import natural_spline, spline_knots
    from magml.models.logistic import fit_scaler

    matrix = np.ascontiguousarray(X, dtype=np.float32)
    complete = fit_scaler(matrix).transform(matrix)
    bends = []
    for place in range(matrix.shape[1]):
        column = complete[:, place]
        knots = spline_knots(column, 0)
        if len(np.unique(column)) > 10 and knots.size == 3:
            bends.append(natural_spline(column, column[:1], knots)[0][2])
    terms = [
        np.ones((1, len(matrix))),
        complete.T[complete.std(axis=0) > 0],
        *(b[None] for b in bends),
    ]
    return Columns(matrix, np.ascontiguousarray(np.vstack(terms).T), fold, groups)


def with_column(columns: Columns, extra: Floats) -> Columns:
    """Add one complete column, such as a model's log-odds, with its bend."""
    own = prepare_columns(extra[:, None], columns.fold, columns.groups)
    return Columns(
        np.column_stack([columns.matrix, own.matrix]),
        np.hstack([columns.design, own.design[:, 1:]]),
        columns.fold,
        columns.groups,
    )


def ridge_logistic(
    design: Floats,
    target: NDArray[np.bool_],
    weights: Floats,
    strength: float,
    start: Floats | None = None,
) -> Floats:
    """Return coefficients of an L2-penalised logistic regression; the intercept is not penalised.

    Parameters
    ----------
    design
        Terms, the intercept first, shape (n, k).
    target, weights
        Shape (n,).
    strength
        Inverse strength of the penalty, as scikit-learn's ``C``.
    start
        Coefficients to start from, shape (k,).

    Raises
    ------
    MagmlError
        If the steps do not come to an end.

    Examples
    --------
    >>> design = np.column_stack([np.ones(4), [-1.0, -1.0, 1.0, 1.0]])
    >>> found = ridge_logistic(design, np.array([False, False, True, True]), np.ones(4), 1.0)
    >>> bool(found[1] > 0)
    True
    """
    beta = np.zeros(design.shape[1]) if start is None else start.copy()
    penalty = np.full(design.shape[1], 1.0 / strength)
    penalty[0] = 1e-9
    y = target.astype(np.float64)

    def likelihood(line: Floats, beta: Floats) -> float:
        return float(weights @ (y * line - np.logaddexp(0.0, line)) - penalty @ beta**2 / 2.0)

    line = design @ beta
    best = likelihood(line, beta)
    for _ in range(_STEPS):
        fitted = expit(line)
        gradient = design.T @ (weights * (y - fitted)) - penalty * beta
        spread = weights * fitted * (1.0 - fitted)
        information = (design.T * spread) @ design
        information[np.diag_indices_from(information)] += penalty + 1e-10
        step = np.linalg.solve(information, gradient)
        # Steps converge quadratically: one this short leaves an error of its square.
        if float(np.abs(step).max()) < _LAST_STEP:
            return beta + step
        # From a start far off a full Newton step can go past the top, even round in circles.
        moved, size = design @ step, 1.0
        while (found := likelihood(line + size * moved, beta + size * step)) < best and size > 1e-8:
            size /= 2.0
        beta, line, best = beta + size * step, line + size * moved, found
    raise MagmlError(
        "the regression of who gets measured does not settle",
        "testing that the records do not predict perfectly",
        "leave out columns that decide about testing, or lower most_columns",
    )


def logistic_learner(columns: Columns, strength: float) -> Learner:
    """Return a learner: penalised regression, each fit starting where the last one ended."""
    last: dict[str, Floats] = {}

    def learn(
        target: NDArray[np.bool_],
        weights: Floats,
        train: NDArray[np.bool_],
        test: NDArray[np.bool_],
    ) -> Floats:
        beta = ridge_logistic(
            columns.design[train], target[train], weights[train], strength, last.get("beta")
        )
        last.setdefault("beta", beta)  # the first one only: results do not depend on the order
        return np.asarray(expit(columns.design[test] @ beta))

    return learn


def bag_learner(columns: Columns, seed: int) -> Learner:
    """Return a learner: a small bag of XGBoost."""
    from magml.models.bag import fit_bag

    def learn(
        target: NDArray[np.bool_],
        weights: Floats,
        train: NDArray[np.bool_],
        test: NDArray[np.bool_],
    ) -> Floats:
        bag = fit_bag(
            columns.matrix[train],
            target[train],
            columns.groups[train],
            _BAG,
            seed=derive_seed(seed, "bag"),
            weights=weights[train],
            threads=1,
        )
        return np.asarray(expit(bag.margin(columns.matrix[test])))

    return learn


def average_learner(*learners: Learner) -> Learner:
    """Return a learner: the mean of several learners' log-odds."""

    def learn(*arguments: NDArray) -> Floats:
        inside = [np.clip(learner(*arguments), 1e-6, 1 - 1e-6) for learner in learners]
        return np.asarray(expit(np.mean([np.log(p / (1 - p)) for p in inside], axis=0)))

    return learn


def cross_fitted(
    learn: Learner,
    columns: Columns,
    target: NDArray[np.bool_],
    among: NDArray[np.bool_],
    weights: Floats,
) -> Floats:
    """Return each row's probability by a model that never saw its fold.

    Parameters
    ----------
    learn
        The learner.
    columns
        What it sees.
    target
        What is predicted, shape (n,).
    among
        Rows in which the target is known, shape (n,); all rows are predicted.
    weights
        How often each row was drawn, shape (n,); rows of weight 0 teach nothing.

    Raises
    ------
    CohortError
        If outside some fold only one class remains.
    """
    found = np.full(len(target), np.nan)
    for number in range(int(columns.fold.max()) + 1):
        test = columns.fold == number
        train = ~test & among & (weights > 0)
        seen = target[train]
        if seen.size == 0 or seen.all() or not seen.any():
            raise CohortError(
                "a fold of the ascertainment model that leaves one class to learn from",
                "measured and unmeasured people, with and without the outcome, in every fold",
                "lower ascertainment.folds, or widen the cohort",
            )
        found[test] = learn(target, weights, train, test)
    return found


def choose_strength(columns: Columns, target: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    """Return the strength of the lowest cross-fitted log loss."""
    ones = np.ones(len(target))
    losses = []
    for strength in STRENGTHS:
        p = cross_fitted(logistic_learner(columns, strength), columns, target, among, ones)
        inside = np.clip(p[among], 1e-9, 1 - 1e-9)
        losses.append(-np.log(np.where(target[among], inside, 1 - inside)).mean())
    return STRENGTHS[int(np.argmin(losses))]


def make_learner(
    kind: Kind,
    columns: Columns,
    target: NDArray[np.bool_],
    among: NDArray[np.bool_],
    seed: int,
) -> Learner:
    """Return the learner of a kind; the strength of a penalty is chosen once, on all rows."""
    if kind == "bag":
        return bag_learner(columns, seed)
    regression = logistic_learner(columns, choose_strength(columns, target, among))
    if kind == "logistic":
        return regression
    return average_learner(regression, bag_learner(columns, seed))
