"""Columns that can tell nothing: empty, constant, or equal to an earlier one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Selection:
    """Which columns are kept, and why the others are not.

    Attributes
    ----------
    kept
        Positions of the columns kept, rising, int64.
    empty, constant
        Names of columns with no value at all, or with one value and nothing missing.
    duplicates
        Name of a dropped column to the name of the earlier one that it equals.
    """

    kept: NDArray[np.int64]
    empty: tuple[str, ...]
    constant: tuple[str, ...]
    duplicates: dict[str, str]


def select_columns(X: NDArray[np.floating], names: tuple[str, ...]) -> Selection:
    """Drop columns that are empty, constant or copies of an earlier one.

    The outcome is not looked at. Call it on training rows only.

    Parameters
    ----------
    X
        Feature matrix, shape (n, p); NaN is missing. A column with one value and some missing is
        kept: that it was measured may tell something.
    names
        The p names of the columns.

    Returns
    -------
    Selection
        Positions kept and names dropped.

    Examples
    --------
    >>> X = np.array([[1.0, 5.0, np.nan, 1.0], [2.0, 5.0, np.nan, 2.0]])
    >>> found = select_columns(X, ("a", "b", "c", "d"))
    >>> found.kept, found.empty, found.constant, found.duplicates
    (array([0]), ('c',), ('b',), {'d': 'a'})
    """
    kept: list[int] = []
    empty: list[str] = []
    constant: list[str] = []
    duplicates: dict[str, str] = {}
    seen: dict[bytes, str] = {}
    for position, name in enumerate(names):
        # Adding 0.0 turns -0.0 into 0.0, so that equal columns have equal bytes.
        column = np.ascontiguousarray(X[:, position]) + X.dtype.type(0)
        missing = np.isnan(column)
        if missing.all():
            empty.append(name)
            continue
        if not missing.any() and column.min() == column.max():
            constant.append(name)
            continue
        column[missing] = np.nan
        digest = hashlib.sha256(column.tobytes()).digest()
        if digest in seen:
            duplicates[name] = seen[digest]
            continue
        seen[digest] = name
        kept.append(position)
    return Selection(np.array(kept, dtype=np.int64), tuple(empty), tuple(constant), duplicates)
