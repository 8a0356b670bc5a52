"""Exact tree SHAP values of boosters, by the fastest exact path for the number of rows.

XGBoost's own ``pred_contribs`` takes the same time for every row. ``woodelf`` (the extra
``fast``) first works through every leaf of every tree and is then many times faster a row, so it
takes over where rows are many. Both compute the same path-dependent Shapley values, which differ
in the last bits. woodelf's sums are checked row by row, and rows that are off are computed again by
XGBoost.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import xgboost as xgb

#: From so many rows on woodelf is faster: its work on the leaves is worth some 2,000 to 3,000 rows
#: of ``pred_contribs``, whatever the depth (`benchmarks/explaining.py --crossover`).
BULK_ROWS = 4_000
#: Memory that the members' values of one block of rows may take.
_BLOCK_BYTES = 300_000_000
#: woodelf's values of a row must sum to the booster's log-odds within this.
_TOLERANCE = 5e-6
#: Rows of a block where woodelf does not take part: they gain nothing from being many.
_SMALL_BLOCK = 512


@cache
def accelerated() -> bool:
    """Return whether woodelf is installed."""
    return importlib.util.find_spec("woodelf") is not None


def row_blocks(rows: int, columns: int, members: int) -> Iterator[slice]:
    """Yield slices of rows that are explained together.

    Parameters
    ----------
    rows, columns, members
        n, p and K: a block of b rows takes K x b x (p + 1) float32 values.

    Examples
    --------
    >>> [block.stop - block.start for block in row_blocks(1_000, 300, 10)]
    [512, 488]
    """
    size = _SMALL_BLOCK
    if accelerated() and rows >= BULK_ROWS:
        most = max(BULK_ROWS, _BLOCK_BYTES // (4 * members * (columns + 1)))
        size = -(-rows // -(-rows // most))  # blocks of about the same size
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def member_contributions(
    boosters: Sequence[xgb.Booster], X: NDArray[np.float32], threads: int = 1
) -> NDArray[np.float32]:
    """Return every booster's exact SHAP values on the log-odds, the base in the last column.

    Parameters
    ----------
    boosters
        K boosters.
    X
        Matrix, shape (n, p); NaN is missing.
    threads
        Boosters worked on at once; never changes a result.

    Returns
    -------
    numpy.ndarray
        Shape (K, n, p + 1), float32.

    Examples
    --------
    >>> from magml.definitions.model import Estimator
    >>> from magml.models.bag import fit_bag
    >>> X = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    >>> bag = fit_bag(X, X[:, 0] > 0, range(60), Estimator(members=2, rounds=3), seed=1)
    >>> member_contributions(bag.boosters, X).shape
    (2, 60, 3)
    """
    found = np.zeros((len(boosters), len(X), X.shape[1] + 1), dtype=np.float32)
    if not len(X):
        return found
    if accelerated() and len(X) >= BULK_ROWS:
        _by_leaves(boosters, X, found)
        return found
    import xgboost as xgb

    work = partial(_by_rows, xgb.DMatrix(X, missing=np.nan, nthread=1))
    if threads == 1 or len(boosters) == 1:
        for number, booster in enumerate(boosters):
            found[number] = work(booster)
    else:
        with ThreadPoolExecutor(min(threads, len(boosters))) as pool:
            for number, values in enumerate(pool.map(work, boosters)):
                found[number] = values
    return found


def _by_rows(data: xgb.DMatrix, booster: xgb.Booster) -> NDArray[np.float32]:
    """Return a booster's values by XGBoost."""
    return booster.predict(data, pred_contribs=True, validate_features=False)


def _by_leaves(
    boosters: Sequence[xgb.Booster], X: NDArray[np.float32], found: NDArray[np.float32]
) -> None:
    """Fill in the values by woodelf. Threads gain nothing: it holds the interpreter."""
    import pandas as pd
    import xgboost as xgb
    from woodelf import WoodelfExplainer

    data = xgb.DMatrix(X, missing=np.nan, nthread=1)
    columns = [f"f{number}" for number in range(X.shape[1])]
    frame = pd.DataFrame(np.asfortranarray(X), columns=columns, copy=False)
    place = {name: number for number, name in enumerate(columns)}
    nobody = xgb.DMatrix(np.full((1, X.shape[1]), np.nan, np.float32), missing=np.nan, nthread=1)
    for number, booster in enumerate(boosters):
        values = WoodelfExplainer(booster).shap_values(
            frame, as_df=True, exclude_zero_contribution_features=True, verbose=False
        )
        for name in values.columns:
            found[number, :, place[name]] = values[name].to_numpy()
        found[number, :, -1] = _by_rows(nobody, booster)[0, -1]
        margin = booster.predict(data, output_margin=True, validate_features=False)
        off = ~(np.abs(found[number].sum(axis=1, dtype=np.float64) - margin) <= _TOLERANCE)
        if off.any():
            again = xgb.DMatrix(X[off], missing=np.nan, nthread=1)
            found[number, off] = _by_rows(again, booster)
