"""How far a bag's members agree on a reason: on its direction, and on its place among the others.

A reason whose direction or place is unstable is shown grey, as undecided, not as a fact.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Below this share of agreeing members the direction of a reason is unstable.
STABLE = 0.8
#: Percentiles of a reason's places over the members.
RANK_RANGE = (10.0, 90.0)


def agreement(members: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the share of members with the sign of their mean.

    Parameters
    ----------
    members
        Contributions by member, shape (K, n, g).

    Returns
    -------
    numpy.ndarray
        Shape (n, g).

    Examples
    --------
    >>> agreement(np.array([[[1.0]], [[1.0]], [[-0.5]]])).round(2)
    array([[0.67]], dtype=float32)
    """
    sign = np.sign(members.mean(axis=0))
    return np.asarray((np.sign(members) == sign).mean(axis=0), dtype=np.float32)


def rank_range(members: NDArray[np.float64]) -> NDArray[np.int16]:
    """Return between which places a reason stands in most members, the largest being the first.

    Parameters
    ----------
    members
        Contributions by member, shape (K, n, g).

    Returns
    -------
    numpy.ndarray
        The 10th and the 90th percentile of its places by size, rounded outwards, shape (n, g, 2).

    Examples
    --------
    >>> rank_range(np.array([[[3.0, -2.0, 1.0]], [[3.0, 0.5, -1.0]]])).tolist()
    [[[1, 1], [2, 3], [2, 3]]]
    """
    places = ranks(members)
    low, high = np.percentile(places, RANK_RANGE, axis=0)
    return np.stack([np.floor(low), np.ceil(high)], axis=-1).astype(np.int16)


def ranks(values: NDArray[np.float64]) -> NDArray[np.int16]:
    """Return the place of each value by size along the last axis, 1 the largest.

    Examples
    --------
    >>> ranks(np.array([0.1, -3.0, 2.0])).tolist()
    [3, 1, 2]
    """
    order = np.argsort(-np.abs(values), axis=-1, kind="stable")
    found = np.empty(values.shape, dtype=np.int16)
    places = np.arange(1, values.shape[-1] + 1, dtype=np.int16)
    np.put_along_axis(found, order, np.broadcast_to(places, values.shape), axis=-1)
    return found


def is_stable(
    agreeing: NDArray[np.float32], place: NDArray[np.int16], places: NDArray[np.int16]
) -> NDArray[np.bool_]:
    """Return which reasons are stable in direction and in place.

    Four of five members agree on the direction, and nine of ten place the reason not lower than
    twice its own place and three more: the first reason stays among the first five, the fifth
    among the first thirteen.

    Parameters
    ----------
    agreeing
        Share of members that agree on the sign, shape (n, g).
    place
        Place of each reason by its mean, shape (n, g).
    places
        What `rank_range` returned, shape (n, g, 2).

    Examples
    --------
    >>> place, places = np.array([[1, 1]]), np.array([[[1, 5], [1, 6]]])
    >>> is_stable(np.array([[0.9, 0.9]]), place, places)
    array([[ True, False]])
    """
    return np.asarray((agreeing >= STABLE) & (places[..., 1] <= 2 * place + 3))
