"""SHAP values and log-odds summed in float64 over runs of trees, where float32 is too coarse."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import xgboost as xgb

#: Trees of a run.
_TREES = 25


def by_parts(
    boosters: Sequence[xgb.Booster], X: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the means over boosters of tree SHAP values and of log-odds.

    Parameters
    ----------
    boosters
        K boosters.
    X
        Matrix, shape (n, p); NaN is missing.

    Returns
    -------
    numpy.ndarray
        Contributions, the base in the last column, shape (n, p + 1).
    numpy.ndarray
        Log-odds, shape (n,).

    Examples
    --------
    >>> from magml.definitions.model import Estimator
    >>> from magml.models.bag import fit_bag
    >>> X = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    >>> bag = fit_bag(X, X[:, 0] > 0, range(60), Estimator(members=2, rounds=30), seed=1)
    >>> values, margin = by_parts(bag.boosters, X)
    >>> bool(np.abs(values.sum(axis=1) - margin).max() < 1e-6)
    True
    """
    import xgboost as xgb

    data = xgb.DMatrix(X, missing=np.nan, nthread=1)
    values = np.zeros((len(X), X.shape[1] + 1))
    margin = np.zeros(len(X))
    for booster in boosters:
        base = _base(booster)
        rounds = booster.num_boosted_rounds()
        for start in range(0, rounds, _TREES):
            part = booster[start : min(start + _TREES, rounds)]
            part.set_param({"nthread": 1})
            values += part.predict(data, pred_contribs=True, validate_features=False)
            margin += part.predict(data, output_margin=True, validate_features=False)
            if start:  # every run begins at the base
                values[:, -1] -= base
                margin -= base
    return values / len(boosters), margin / len(boosters)


def _base(booster: xgb.Booster) -> float:
    """Return a booster's starting log-odds, from which the first tree departs."""
    text = json.loads(booster.save_config())["learner"]["learner_model_param"]["base_score"]
    probability = float(str(text).strip("[]"))
    return math.log(probability / (1 - probability))
