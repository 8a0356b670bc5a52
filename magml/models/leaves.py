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
#: Rows whose leaves are held at once, and those of the person with whom they end.
_BLOCK = 65_536
_DOUBLINGS = 12


def least_people(
    booster: xgb.Booster,
    X: NDArray[np.float32],
    people: NDArray[Any],
    rows: NDArray[np.intp] | None = None,
) -> int:
    """Return the fewest different people in any leaf of a booster.

    Parameters
    ----------
    booster
        The booster.
    X
        Matrix, shape (n, p).
    people
        The person of each training row, shape (m,).
    rows
        The m training rows of `X`; default all.

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
    # In the order of people, so that the rows of a person stand together in every leaf, and so
    # that no person is met in two blocks.
    order = np.argsort(person, kind="stable")
    places, person = order if rows is None else rows[order], person[order]
    counts: list[NDArray[np.int64]] = []  # of each tree, people by node
    start = 0
    while start < len(places):
        last = person[min(start + _BLOCK, len(places)) - 1]
        end = int(np.searchsorted(person, last, side="right"))
        data = xgb.DMatrix(X[places[start:end]], missing=np.nan, nthread=1)
        leaves = booster.predict(data, pred_leaf=True, validate_features=False)
        leaves = leaves.reshape(len(leaves), -1).astype(np.intp)
        new = [_people_by_node(column, person[start:end]) for column in leaves.T]
        counts = [_added(*pair) for pair in zip(counts, new, strict=True)] if counts else new
        start = end
    everybody = int(person.max()) + 1 if len(person) else 0
    return min((int(tree[tree > 0].min()) for tree in counts), default=everybody)


def _people_by_node(leaf: NDArray[np.intp], person: NDArray[np.intp]) -> NDArray[np.int64]:
    """Return how many people are in each node, given rows in the order of people."""
    short = np.uint16 if leaf.max() < 2**16 else np.int64  # what is short is sorted by its bits
    order = np.argsort(leaf.astype(short), kind="stable")
    leaf, person = leaf[order], person[order]
    first = np.ones(len(leaf), dtype=bool)
    first[1:] = (leaf[1:] != leaf[:-1]) | (person[1:] != person[:-1])
    return np.bincount(leaf[first])


def _added(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sum of counts, of which one may end earlier."""
    short, long = sorted((one, other), key=len)
    found = long.copy()
    found[: len(short)] += short
    return found


def with_people_in_leaves(
    fit: Callable[[dict[str, Any]], xgb.Booster],
    parameters: dict[str, Any],
    X: NDArray[np.float32],
    rows: NDArray[np.intp],
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
    X, rows
        Matrix, shape (n, p), and the training rows in it, shape (m,).
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
        least = least_people(booster, X, people, rows)
        if least >= min(LEAST_PEOPLE, len(each)):
            return booster
        weight = max(2 * weight, 1.0)
    return booster
