"""Bootstrap of whole groups, as integer weights instead of copied rows, and its intervals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Elements of one block of weights: large enough for numpy, small enough for the cache.
_BLOCK = 250_000
# Beyond this share of replicates without a value the others are a selection, not a sample.
_MOST_UNDEFINED = 0.1


class Bootstrap:
    """Resamples of groups: every row weighs as often as its group was drawn.

    Iterating gives blocks of row weights of shape (b, n), b summing to `replicates`. A resample in
    which one outcome class has no weight is drawn again and counted in `redrawn`. The resamples
    depend on the seed and the number of groups only, never on the size of a block; iterating again
    gives the same ones.

    Parameters
    ----------
    codes : numpy.ndarray of int, shape (n,)
        Group of each row, 0 to g-1.
    events : numpy.ndarray of bool, shape (n,)
        The outcomes.
    weights : numpy.ndarray, shape (n,)
        Row weights that are multiplied by the number of draws.
    replicates : int
        Number of resamples.
    seed : int
        Seed of the draws.

    Attributes
    ----------
    redrawn : int
        Resamples of one class met so far in the latest iteration.

    Examples
    --------
    >>> draws = Bootstrap(
    ...     np.array([0, 0, 1]), np.array([True, False, True]), np.ones(3), replicates=2, seed=1
    ... )
    >>> np.vstack(list(draws)).shape, draws.redrawn >= 0
    ((2, 3), True)
    """

    def __init__(
        self,
        codes: NDArray[np.intp],
        events: NDArray[np.bool_],
        weights: Floats,
        *,
        replicates: int,
        seed: int,
    ) -> None:
        self.replicates = replicates
        self.redrawn = 0
        self._codes, self._weights, self._seed = codes, weights, seed
        self._groups = int(codes.max()) + 1
        self._with_event = np.bincount(codes, weights * events, self._groups) > 0
        self._without_event = np.bincount(codes, weights * ~events, self._groups) > 0

    def __iter__(self) -> Iterator[Floats]:
        generator = np.random.default_rng(self._seed)
        self.redrawn = 0
        block = max(1, _BLOCK // self._codes.size)
        for start in range(0, self.replicates, block):
            size = min(block, self.replicates - start)
            counts = np.stack([self._draw(generator) for _ in range(size)])
            yield counts[:, self._codes] * self._weights

    def _draw(self, generator: np.random.Generator) -> NDArray[np.intp]:
        """How often each group is drawn, both classes among them.

        With both classes in the data at least a quarter of all draws qualify, so this ends.
        """
        while True:
            drawn = generator.integers(0, self._groups, self._groups)
            counts = np.bincount(drawn, minlength=self._groups)
            if counts[self._with_event].any() and counts[self._without_event].any():
                return counts
            self.redrawn += 1


def percentile_interval(replicates: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
    """Percentile interval along the first axis.

    Parameters
    ----------
    replicates : numpy.ndarray, shape (b, ...)
        A statistic in each resample, NaN where it could not be estimated.
    level : float
        Coverage.

    Returns
    -------
    low, high : numpy.ndarray, shape (...)
        NaN where more than a tenth of the replicates are.

    References
    ----------
    Efron B, Tibshirani RJ. An Introduction to the Bootstrap, chapter 13 (Chapman & Hall 1993).

    Examples
    --------
    >>> low, high = percentile_interval(np.arange(101.0), 0.9)
    >>> round(float(low), 6), round(float(high), 6)
    (5.0, 95.0)
    """
    tail = (1.0 - level) / 2.0
    undefined = np.isnan(replicates)
    if undefined.any():
        withheld = undefined.mean(axis=0) > _MOST_UNDEFINED
        # A column of NaN alone would make nanquantile warn.
        filled = np.where(withheld, 0.0, replicates)
        low, high = np.nanquantile(filled, [tail, 1.0 - tail], axis=0)
        return np.where(withheld, np.nan, low), np.where(withheld, np.nan, high)
    low, high = np.quantile(replicates, [tail, 1.0 - tail], axis=0)
    return low, high
