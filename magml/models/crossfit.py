"""Predictions for training rows by whole bags that never saw them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from magml.definitions.model import Estimator
from magml.models.bag import fit_bag
from magml.models.seeds import derive_seed
from magml.models.splits import spread_folds


def cross_fitted_margins(
    X: NDArray[np.float32],
    y: ArrayLike,
    groups: ArrayLike,
    estimator: Estimator,
    folds: int,
    seed: int,
    *,
    persons: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    evaluated: NDArray[np.bool_] | None = None,
    features: Sequence[str] | None = None,
    monotone: Mapping[str, int] | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float64]:
    """Return each row's log-odds by a bag trained on the other folds' groups only.

    Parameters
    ----------
    X, y, weights, estimator, features, monotone, threads
        As for :func:`magml.models.bag.fit_bag`.
    groups
        What folds keep together, shape (n,); see :func:`magml.models.splits.connected_groups`.
    folds
        Number of folds; fewer where the rows do not allow as many.
    seed
        Seed of folds and bags.
    persons
        Whom the members subsample, shape (n,); default `groups`.
    evaluated
        Rows that predictions are wanted for; the others only train. Default all.
    progress
        Called with (folds done, folds).

    Returns
    -------
    numpy.ndarray
        Log-odds, float64, shape (n,); NaN for rows not evaluated.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(60, 1)).astype(np.float32)
    >>> margin = cross_fitted_margins(
    ...     X, X[:, 0] > 0, range(60), Estimator(members=1, rounds=3), folds=3, seed=1
    ... )
    >>> bool(np.isfinite(margin).all())
    True
    """
    outcome, group = np.asarray(y), np.asarray(groups)
    person = group if persons is None else np.asarray(persons)
    weight = None if weights is None else np.asarray(weights)
    wanted = np.ones(len(outcome), dtype=bool) if evaluated is None else evaluated
    fold = spread_folds(outcome, group, evaluated, folds, derive_seed(seed, "folds"))
    found = np.full(len(outcome), np.nan)
    count = int(fold.max()) + 1
    for number in range(count):
        train, test = fold != number, (fold == number) & wanted
        bag = fit_bag(
            X,
            outcome,
            person,
            estimator,
            seed=derive_seed(seed, "bag", number),
            weights=weight,
            threads=threads,
            rows=train,
            features=features,
            monotone=monotone,
        )
        found[test] = bag.margin(X[test])
        if progress is not None:
            progress(number + 1, count)
    return found
