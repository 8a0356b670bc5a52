"""Folds that keep groups whole and the outcome spread evenly."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from magml.errors import CohortError

_ACTION = "use fewer folds, a larger cohort, or people instead of sites as groups"


def grouped_folds(y: ArrayLike, groups: ArrayLike, folds: int, seed: int) -> NDArray[np.int64]:
    """Assign every row to a fold, whole groups together, the outcome spread evenly.

    Parameters
    ----------
    y
        Outcome, 0 or 1, shape (n,).
    groups
        What is kept together: people, or sites joined by :func:`connected_groups`, shape (n,).
    folds
        Number of folds, 2 or more.
    seed
        Seed of the shuffle.

    Returns
    -------
    numpy.ndarray
        Fold of each row, 0 to ``folds - 1``, int64, shape (n,).

    Raises
    ------
    CohortError
        If there are fewer groups than folds, or a fold would hold one class only.

    Examples
    --------
    >>> folds = grouped_folds([0, 0, 1, 1, 0, 1, 0, 1], [1, 1, 2, 2, 3, 3, 4, 4], 2, seed=0)
    >>> [len(set(folds[i : i + 2].tolist())) for i in (0, 2, 4, 6)]
    [1, 1, 1, 1]
    """
    outcome = np.asarray(y).astype(np.int64)
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    n_groups = int(group.max()) + 1 if len(group) else 0
    if n_groups < folds:
        raise CohortError(
            f"{n_groups} groups were to be split into {folds} folds",
            f"at least {folds} groups (people or sites)",
            _ACTION,
        )
    rarest = int(np.bincount(outcome, minlength=2).min())
    if rarest < folds:
        raise CohortError(
            f"the rarer outcome has {rarest} rows for {folds} folds",
            "at least one row with and one without the outcome in each fold",
            _ACTION,
        )
    assigned = _assign(outcome, group, folds, seed, single=n_groups == len(group))
    return check_folds(assigned, outcome, folds)


def check_folds(assigned: NDArray[np.int64], y: ArrayLike, folds: int) -> NDArray[np.int64]:
    """Return folds that each hold both classes of an outcome.

    Parameters
    ----------
    assigned
        Fold of each row, -1 for none, shape (n,).
    y
        Outcome, 0 or 1, shape (n,).
    folds
        Number of folds.

    Raises
    ------
    CohortError
        If a fold holds no row, or one class only.

    Examples
    --------
    >>> check_folds(np.array([0, 0, 1, 1]), [0, 1, 1, 0], 2).tolist()
    [0, 0, 1, 1]
    """
    outcome = np.asarray(y)
    for fold in range(folds):
        inside = outcome[assigned == fold]
        if inside.size == 0 or inside.min() == inside.max():
            raise CohortError(
                f"fold {fold + 1} of {folds} would hold "
                + ("no rows" if inside.size == 0 else f"{inside.size} rows of one class"),
                "rows with and without the outcome in each fold",
                _ACTION,
            )
    return assigned


def inner_folds(y: ArrayLike, groups: ArrayLike, folds: int, seed: int) -> NDArray[np.int64]:
    """Return :func:`grouped_folds` with as many folds as the training rows allow, at least 2.

    For tuning and calibration inside a training set, where fewer folds than asked for are
    better than none.

    Raises
    ------
    CohortError
        If not even two folds can be made.

    Examples
    --------
    >>> int(inner_folds([0, 1, 0, 1], [1, 1, 2, 2], 5, seed=0).max()) + 1
    2
    """
    for number in range(folds, 2, -1):
        try:
            return grouped_folds(y, groups, number, seed)
        except CohortError:
            continue
    return grouped_folds(y, groups, 2, seed)


def spread_folds(
    y: ArrayLike,
    groups: ArrayLike,
    evaluated: NDArray[np.bool_] | None,
    folds: int,
    seed: int,
    *,
    strict: bool = False,
) -> NDArray[np.int64]:
    """Return folds made on the evaluated rows and carried to all rows of the same groups.

    Parameters
    ----------
    y, groups, folds, seed
        As for :func:`grouped_folds`.
    evaluated
        Rows that predictions are wanted for, shape (n,); None means all. The others only train.
    strict
        Raise where `folds` folds cannot be made, instead of making fewer.

    Returns
    -------
    numpy.ndarray
        Fold of each row; -1 for groups without an evaluated row, which always train.

    Examples
    --------
    >>> import numpy as np
    >>> y, groups = [0, 1, 0, 1, 1], [1, 2, 3, 4, 5]
    >>> spread_folds(y, groups, np.array([True] * 4 + [False]), 2, seed=0)[-1]
    np.int64(-1)
    """
    make = grouped_folds if strict else inner_folds
    if evaluated is None or bool(evaluated.all()):
        return make(y, groups, folds, seed)
    outcome, (_, group) = np.asarray(y), np.unique(np.asarray(groups), return_inverse=True)
    of_group = np.full(int(group.max()) + 1, -1, dtype=np.int64)
    of_group[group[evaluated]] = make(outcome[evaluated], group[evaluated], folds, seed)
    return of_group[group]


def connected_groups(persons: ArrayLike, sites: ArrayLike) -> NDArray[np.int64]:
    """Join sites that share a person, so that a fold by site never shares a person either.

    Parameters
    ----------
    persons
        Person of each row, shape (n,).
    sites
        Site of each row, shape (n,).

    Returns
    -------
    numpy.ndarray
        Number of the group of each row, numbered by the order of their first site, int64.

    Examples
    --------
    >>> connected_groups([1, 1, 2, 3], ["a", "b", "b", "c"])
    array([0, 0, 0, 1])
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    _, person = np.unique(np.asarray(persons), return_inverse=True)
    _, site = np.unique(np.asarray(sites), return_inverse=True)
    if not len(person):
        return np.zeros(0, dtype=np.int64)
    n_sites, nodes = int(site.max()) + 1, int(site.max()) + int(person.max()) + 2
    graph = coo_matrix((np.ones(len(site)), (site, person + n_sites)), shape=(nodes, nodes))
    _, label = connected_components(graph, directed=False)
    _, first, back = np.unique(label[:n_sites], return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    return rank[back][site].astype(np.int64)


def _assign(
    outcome: NDArray[Any], group: NDArray[Any], folds: int, seed: int, *, single: bool
) -> NDArray[np.int64]:
    """Return the fold of each row; a row a group needs no grouped splitter, which is slow."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    splitter = (StratifiedKFold if single else StratifiedGroupKFold)(
        n_splits=folds, shuffle=True, random_state=seed
    )
    parts = splitter.split(outcome[:, None], outcome, None if single else group)
    assigned = np.full(len(outcome), -1, dtype=np.int64)
    for fold, (_, test) in enumerate(parts):
        assigned[test] = fold
    return assigned


def training_sides(
    fold: NDArray[np.int64], group: ArrayLike, folds: int
) -> list[NDArray[np.bool_]]:
    """Return each fold's training rows: all rows of groups that have no row in the fold.

    Parameters
    ----------
    fold
        Fold of each row, shape (n,); negative for rows that are in none.
    group
        Group of each row, shape (n,).
    folds
        Number of folds.

    Examples
    --------
    >>> [side.tolist() for side in training_sides(np.array([0, 1, -1]), [7, 8, 7], 2)]
    [[False, True, False], [True, False, True]]
    """
    _, code = np.unique(group, return_inverse=True)
    sides = []
    for number in range(folds):
        held = np.zeros(int(code.max()) + 1, dtype=bool)
        held[code[fold == number]] = True
        sides.append(~held[code])
    return sides
