"""How many people a leaf speaks of: no leaf is to say what happened to one person.

A leaf's value is a mean over the training rows that reach it. With few people in it, the model that
leaves the hospital says how they fared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import xgboost as xgb

#: Fewest people whose training rows reach a leaf.
LEAST_PEOPLE = 5
#: Rows whose leaves are held at once.
_BLOCK = 65_536
_DOUBLINGS = 12


def least_people(booster: xgb.Booster, X: NDArray[np.float32], people: NDArray[Any]) -> int:
    """Return the fewest different people in any leaf of a booster.

    Parameters
    ----------
    booster
        The booster.
    X
        Its training rows, shape (n, p).
    people
        The person of each row, shape (n,).

    Returns
    -------
    int
        The number; that of all people where no tree splits.

    Examples
    --------
    >>> import xgboost as xgb
    >>> X = np.arange(20, dtype=np.float32)[:, None]
    >>> data = xgb.DMatrix(X, label=X[:, 0] > 9)
    >>> booster = xgb.train({"max_depth": 1, "min_child_weight": 0}, data, 1)
    >>> least_people(booster, X, np.arange(20)), least_people(booster, X, np.arange(20) // 5)
    (10, 2)
    """
    import xgboost as xgb

    _, person = np.unique(people, return_inverse=True)
    reached: list[dict[int, list[NDArray[np.intp]]]] = []
    for start in range(0, len(X), _BLOCK):
        data = xgb.DMatrix(X[start : start + _BLOCK], missing=np.nan, nthread=1)
        leaves = booster.predict(data, pred_leaf=True, validate_features=False)
        leaves = leaves.reshape(len(leaves), -1).astype(np.int64)
        own = person[start : start + _BLOCK]
        if not reached:
            reached = [{} for _ in range(leaves.shape[1])]
        for tree, found in enumerate(leaves.T):
            for leaf in np.unique(found):
                reached[tree].setdefault(int(leaf), []).append(np.unique(own[found == leaf]))
    counts = [len(np.unique(np.concatenate(parts))) for tree in reached for parts in tree.values()]
    return min(counts, default=int(person.max()) + 1 if len(person) else 0)


def with_people_in_leaves(
    fit: Callable[[dict[str, Any]], xgb.Booster],
    parameters: dict[str, Any],
    rows: Callable[[], NDArray[np.float32]],
    people: NDArray[Any],
    weighted: bool,
) -> xgb.Booster:
    """Fit a booster with at least `LEAST_PEOPLE` people in each leaf.

    Where a leaf has fewer, the booster is fitted again with twice the ``min_child_weight``. A row
    adds at most 1/4 to it, so without weights it often guarantees the number, and nothing needs to
    be counted.

    Parameters
    ----------
    fit
        Fits with parameters.
    parameters
        XGBoost's parameters.
    rows
        Gives the training rows, shape (n, p).
    people
        The person of each, shape (n,).
    weighted
        Whether rows have weights.
    """
    weight = float(parameters.get("min_child_weight", 1.0))
    _, each = np.unique(people, return_counts=True)
    for _ in range(_DOUBLINGS):
        booster = fit({**parameters, "min_child_weight": weight})
        if not weighted and 4 * weight >= LEAST_PEOPLE * int(each.max()):
            return booster
        least = least_people(booster, rows(), people)
        if least >= min(LEAST_PEOPLE, len(each)):
            return booster
        weight = max(2 * weight, 1.0)
    return booster
