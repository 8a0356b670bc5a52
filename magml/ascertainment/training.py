"""Weights for training: the tested stand for everybody who could have been tested."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from magml.ascertainment.nuisance import cross_fitted, make_learner, prepare_columns
from magml.ascertainment.problem import Problem, choose_columns, folds_of
from magml.ascertainment.weights import Floats, inverse_weights
from magml.definitions.experiment import Ascertainment
from magml.models.seeds import derive_seed


def training_weights(
    X: ArrayLike,
    tested: ArrayLike,
    labels: ArrayLike,
    *,
    persons: ArrayLike,
    settings: Ascertainment | None = None,
    seed: int = 0,
) -> Floats:
    """Return weights with which the tested stand for everybody in a training.

    The inverse of the chance of being tested, by a model that did not see the row's fold;
    stabilised and truncated as for corrected figures.

    Parameters
    ----------
    X
        What was recorded before the test, shape (n, p); NaN is missing. Training rows alone: what
        a model is later tested on must not be among them.
    tested
        Who was tested, shape (n,).
    labels
        Outcomes, shape (n,); anything for the untested. They choose columns and spread folds.
    persons
        Person of each row, shape (n,).
    settings
        As in an experiment's key ``ascertainment``.
    seed
        Seed of folds and learners.

    Returns
    -------
    numpy.ndarray
        Shape (n,); 1 on average over the tested, 0 for the others.

    Raises
    ------
    InputError
        If lengths differ, or everybody or nobody was tested.
    CohortError
        If a fold leaves nothing to learn from.

    Examples
    --------
    Half are tested, those with a high value more often: they weigh less.

    >>> x = np.random.default_rng(0).normal(size=400)
    >>> tested = np.random.default_rng(1).random(400) < 1 / (1 + np.exp(-x))
    >>> found = training_weights(x[:, None], tested, x > 0.5, persons=range(400))
    >>> bool(found[tested & (x > 1)].mean() < 1 < found[tested & (x < -1)].mean())
    True
    """
    from threadpoolctl import threadpool_limits

    chosen = settings or Ascertainment()
    measured = np.asarray(tested, dtype=bool)
    nobody = {"none": np.full(len(measured), 0.5)}
    problem = Problem.of(X, measured, labels, nobody, persons, None, None, ())
    fold = folds_of(problem, chosen.folds, derive_seed(seed, "ascertainment"))
    kept = choose_columns(problem.matrix, measured, problem.events, chosen.most_columns)
    everybody, ones = np.ones(len(measured), dtype=bool), np.ones(len(measured))
    # One thread: sums of linear algebra depend on their number.
    with threadpool_limits(1, user_api="blas"):
        columns = prepare_columns(problem.matrix[:, kept], fold, problem.persons)
        place = derive_seed(seed, "learners")
        learner = make_learner(chosen.model, columns, measured, everybody, place)
        chance = cross_fitted(learner, columns, measured, everybody, ones)
    return inverse_weights(chance, measured, ones, chosen.truncate)
