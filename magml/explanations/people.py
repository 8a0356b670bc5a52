"""Means over people with bootstrap intervals, and groups of ten people in place of single ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from magml.evaluation.bootstrap import percentile_interval
from magml.evaluation.checks import SMALL_CELL

Floats = NDArray[np.float64]
_LEVEL = 0.95


class People:
    """People behind rows, resampled as a whole.

    Parameters
    ----------
    persons
        Person of each row, shape (n,).
    replicates, seed
        Bootstrap resamples, and their seed.

    Examples
    --------
    >>> people = People([1, 1, 2, 3], replicates=200, seed=0)
    >>> people.mean(np.array([[1.0], [2.0], [3.0], [4.0]]))[0]
    array([2.5])
    """

    def __init__(self, persons: ArrayLike, *, replicates: int, seed: int) -> None:
        unique, self.codes = np.unique(np.asarray(persons), return_inverse=True)
        self.count = len(unique)
        self.replicates = replicates
        generator = np.random.default_rng(seed)
        drawn = generator.integers(0, self.count, (replicates, self.count))
        self.weights = np.stack([np.bincount(draw, minlength=self.count) for draw in drawn])

    def mean(
        self, values: Floats, rows: NDArray[np.bool_] | None = None
    ) -> tuple[Floats, Floats, Floats]:
        """Return column means over rows with 95% intervals, each shape (g,)."""
        value, resampled = self._means(values, rows)
        low, high = percentile_interval(resampled, _LEVEL)
        return value, low, high

    def difference(
        self, values: Floats, inside: NDArray[np.bool_], outside: NDArray[np.bool_]
    ) -> tuple[Floats, Floats, Floats]:
        """Return differences of column means between two sets of rows, with intervals."""
        one, ones = self._means(values, inside)
        other, others = self._means(values, outside)
        low, high = percentile_interval(ones - others, _LEVEL)
        return one - other, low, high

    def within(self, rows: NDArray[np.bool_]) -> int:
        """Return how many people stand behind some rows."""
        return len(np.unique(self.codes[rows]))

    def _means(self, values: Floats, rows: NDArray[np.bool_] | None) -> tuple[Floats, Floats]:
        chosen = np.ones(len(self.codes), dtype=bool) if rows is None else rows
        sums = np.zeros((self.count, values.shape[1]))
        np.add.at(sums, self.codes[chosen], values[chosen])
        counts = np.bincount(self.codes[chosen], minlength=self.count).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            whole = sums.sum(axis=0) / counts.sum()
            resampled = (self.weights @ sums) / (self.weights @ counts)[:, None]
        return whole, resampled


def groups_of_people(
    order_by: Floats, codes: NDArray[np.intp], *, most: int = 80, least: int = SMALL_CELL
) -> list[NDArray[np.intp]]:
    """Return rows in runs of similar value, each of at least `least` people.

    A plot draws a run as one dot, so that no dot is a person.

    Parameters
    ----------
    order_by
        Values, shape (n,).
    codes
        Person of each row, shape (n,).
    most
        About how many runs at most.
    least
        Fewest people in a run; a remainder joins the last run.

    Examples
    --------
    >>> runs = groups_of_people(np.arange(25.0), np.arange(25))
    >>> [len(run) for run in runs]
    [10, 15]
    """
    order = np.argsort(order_by, kind="stable")
    size = max(least, -(-len(order) // most))
    runs: list[NDArray[np.intp]] = []
    start, met = 0, set[int]()
    for position, row in enumerate(order):
        met.add(int(codes[row]))
        if position - start + 1 >= size and len(met) >= least:
            runs.append(order[start : position + 1])
            start, met = position + 1, set()
    if start < len(order) and runs:
        runs[-1] = np.concatenate([runs[-1], order[start:]])
    return runs
