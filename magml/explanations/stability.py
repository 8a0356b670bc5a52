"""How far a bag's members agree on a reason: on its direction, and on its place among the others.

A reason whose direction or place is unstable is shown grey, as undecided, not as a fact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Below this share of agreeing members the direction of a reason is unstable.
STABLE = 0.8
#: Percentiles of a reason's places over the members.
RANK_RANGE = (10.0, 90.0)


def agreement(members: NDArray[Any]) -> NDArray[np.float32]:
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
    mean = members.mean(axis=0, dtype=np.float64)
    above, below = np.count_nonzero(members > 0, axis=0), np.count_nonzero(members < 0, axis=0)
    agreeing = np.select([mean > 0, mean < 0], [above, below], len(members) - above - below)
    return np.asarray(agreeing / len(members), dtype=np.float32)


def rank_range(members: NDArray[Any]) -> NDArray[np.int16]:
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
    places = np.sort(ranks(members), axis=0)
    found = np.empty((*places.shape[1:], 2), dtype=np.int16)
    for side, (share, toward) in enumerate(zip(RANK_RANGE, (np.floor, np.ceil), strict=True)):
        # Between two neighbouring places, as numpy.percentile interpolates, and rounded.
        position = share / 100 * (len(places) - 1)
        low, part = int(position), position - int(position)
        high = min(low + 1, len(places) - 1)
        found[..., side] = toward(places[low] + part * (places[high] - places[low]))
    return found


def ranks(values: NDArray[Any]) -> NDArray[np.int16]:
    """Return the place of each value by size along the last axis, 1 the largest.

    Sizes are compared as float32; of equal ones the first comes first.

    Examples
    --------
    >>> ranks(np.array([0.1, -3.0, 2.0])).tolist()
    [3, 1, 2]
    """
    columns = values.shape[-1]
    # Sizes are not negative, so their bits are in their order. With the column in the low bits
    # one plain sort, many times faster than a stable argsort, gives the order and settles ties.
    size = np.abs(np.asarray(values, dtype=np.float32).reshape(-1, columns)).view(np.uint32)
    key = (~size).astype(np.uint64) << np.uint64(32) | np.arange(columns, dtype=np.uint64)
    key.sort(axis=-1)
    found = np.empty(size.size, dtype=np.int16)
    order = (key & np.uint64(0xFFFFFFFF)).astype(np.intp) + columns * np.arange(len(size))[:, None]
    found[order.ravel()] = np.tile(np.arange(1, columns + 1, dtype=np.int16), len(size))
    return found.reshape(values.shape)


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
