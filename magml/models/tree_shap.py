"""Exact tree SHAP values of boosters, by the fastest exact path for the number of rows.

XGBoost's own ``pred_contribs`` takes the same time for every row. Tables of every subtree
(`magml.models.leaf_tables`) are worked out once and then many times faster a row, so they take over
where rows are many. Both give the same path-dependent Shapley values, which differ in the last
bits. What tables give is checked row by row, and rows that are off are computed again by XGBoost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from magml.models.leaf_tables import DEEPEST, Forest, TreeTables, add_values

if TYPE_CHECKING:
    import xgboost as xgb

#: From so many rows on tables explain. They are faster from some 400 rows on, whatever the depth
#: (`benchmarks/explaining.py --crossover`), but a bundle holds means over up to 1,000 rows, which
#: stay XGBoost's to the bit.
BULK_ROWS = 1_001
#: Memory that the members' values of one block of rows may take, and that their tables may.
_BLOCK_BYTES, _TABLE_BYTES = 100_000_000, 200_000_000
#: A member's values of a row, looked up in tables, must sum to its log-odds within this.
_TOLERANCE = 5e-6
#: Rows of a block that XGBoost explains: they gain nothing from being many.
_SMALL_BLOCK = 512

_Tables = Sequence[Iterable[TreeTables]]


def member_blocks(
    boosters: Sequence[xgb.Booster], X: NDArray[np.float32], threads: int = 1
) -> Iterator[tuple[slice, NDArray[np.float32], NDArray[np.float64]]]:
    """Yield every booster's exact SHAP values on the log-odds, by blocks of rows.

    Parameters
    ----------
    boosters
        K boosters.
    X
        Matrix, shape (n, p); NaN is missing.
    threads
        Boosters worked on at once; never changes a result.

    Yields
    ------
    slice
        Which b rows.
    numpy.ndarray
        Their values, the base in the last column, shape (K, b, p + 1).
    numpy.ndarray
        The boosters' log-odds, shape (b, K).

    Examples
    --------
    >>> from magml.definitions.model import Estimator
    >>> from magml.models.bag import fit_bag
    >>> X = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    >>> bag = fit_bag(X, X[:, 0] > 0, range(60), Estimator(members=2, rounds=3), seed=1)
    >>> [(block, values.shape) for block, values, _ in member_blocks(bag.boosters, X)]
    [(slice(0, 60, None), (2, 60, 3))]
    """
    tables = tables_of(boosters) if len(X) >= BULK_ROWS else None
    rows, columns = X.shape
    for block in row_blocks(rows, columns, len(boosters), tables is not None):
        yield block, *member_contributions(boosters, X[block], threads, tables)


def row_blocks(rows: int, columns: int, members: int, bulk: bool) -> Iterator[slice]:
    """Yield slices of rows that are explained together, of about the same size.

    Examples
    --------
    >>> [block.stop - block.start for block in row_blocks(1_000, 300, 10, False)]
    [500, 500]
    """
    most = _SMALL_BLOCK
    if bulk:
        most = max(most, _BLOCK_BYTES // (4 * members * (columns + 1)))
    size = -(-rows // -(-rows // most)) if rows else 1
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def tables_of(boosters: Sequence[xgb.Booster]) -> _Tables | None:
    """Return each booster's tables, or None where a tree is too deep for them.

    Where they would take much memory they are worked out anew for every block of rows.
    """
    forests = [Forest(booster) for booster in boosters]
    if max(forest.depth for forest in forests) > DEEPEST:
        return None
    keep = sum(forest.size for forest in forests) <= _TABLE_BYTES
    return [list(forest) for forest in forests] if keep else forests


def member_contributions(
    boosters: Sequence[xgb.Booster],
    X: NDArray[np.float32],
    threads: int = 1,
    tables: _Tables | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return every booster's SHAP values and log-odds of one block of rows.

    Parameters
    ----------
    boosters, X, threads
        As for `member_blocks`.
    tables
        The boosters' tables; without them XGBoost explains.

    Returns
    -------
    numpy.ndarray
        Shape (K, n, p + 1); laid out by column where tables were used.
    numpy.ndarray
        Shape (n, K).
    """
    import xgboost as xgb

    rows, columns = X.shape
    members = len(boosters)
    margins = np.empty((rows, members))
    values = np.zeros((members, columns + 1, rows), np.float32).transpose(0, 2, 1)
    if tables is None:
        values = np.empty((members, rows, columns + 1), np.float32)
    data = xgb.DMatrix(X, missing=np.nan, nthread=1)
    by_column = None if tables is None else np.ascontiguousarray(X.T)

    def explain(number: int) -> None:
        booster = boosters[number]
        margin = booster.predict(data, output_margin=True, validate_features=False)
        margins[:, number] = margin
        if tables is None or by_column is None:
            values[number] = _by_rows(booster, data)
            return
        found = values[number]
        add_values(tables[number], by_column, found.T)
        found[:, -1] = _by_rows(booster, xgb.DMatrix(X[:1], missing=np.nan, nthread=1))[0, -1]
        off = ~(np.abs(found.sum(axis=1, dtype=np.float64) - margin) <= _TOLERANCE)
        if off.any():
            found[off] = _by_rows(booster, xgb.DMatrix(X[off], missing=np.nan, nthread=1))

    in_threads(explain, range(members), threads)
    return values, margins


def in_threads(work: Callable[[int], None], numbers: Sequence[int], threads: int) -> None:
    """Do the work of each number, `threads` of them at once."""
    if threads == 1 or len(numbers) == 1:
        for number in numbers:
            work(number)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, numbers))


def _by_rows(booster: xgb.Booster, data: xgb.DMatrix) -> NDArray[np.float32]:
    """Return a booster's values by XGBoost."""
    return booster.predict(data, pred_contribs=True, validate_features=False)
