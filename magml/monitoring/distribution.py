"""One variable's distribution as a few shares, and whether another sample differs from it.

People come several times, so rows are not independent. Every test counts Kish's effective number
of people, n squared over the sum of squared rows a person: what the rows are worth if a person's
rows are all alike. That is the cautious side: fewer alarms, never more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from magml.evaluation.checks import SMALL_CELL

_DECILES = np.arange(1, 10) / 10
#: A bin of which fewer people are expected joins its neighbour before a test.
_EXPECTED = 5.0
#: Share put in place of an empty bin in the stability index.
_FLOOR = 1e-4


@dataclass(frozen=True)
class Change:
    """How a sample differs from a distribution.

    Attributes
    ----------
    psi
        Population stability index, sum of (share - expected) ln(share / expected); 0 is equal.
    p
        Probability of such a difference were the distribution unchanged (chi-square of two
        samples).
    """

    psi: float
    p: float


@dataclass(frozen=True)
class Distribution:
    """A variable's distribution.

    Attributes
    ----------
    known
        Share of rows with a value.
    people
        Effective number of people behind it.
    known_people
        Effective number of people behind the rows with a value.
    edges
        Upper ends of the bins but the last, rising; a value equal to an edge lies below it.
    shares
        Share of the rows with a value in each bin, ``len(edges) + 1`` of them; empty where fewer
        than ten people have a value.
    """

    known: float
    people: float
    known_people: float
    edges: tuple[float, ...]
    shares: tuple[float, ...]

    @classmethod
    def of(cls, values: ArrayLike, persons: ArrayLike) -> Distribution:
        """Return the distribution of values of persons, in bins of ten people or more.

        Parameters
        ----------
        values
            Shape (n,); NaN is missing.
        persons
            Person of each row, shape (n,).

        Examples
        --------
        >>> found = Distribution.of([0.0] * 30 + [1.0] * 10, range(40))
        >>> found.edges, found.shares
        ((0.0,), (0.75, 0.25))
        """
        x = np.asarray(values, dtype=np.float64)
        _, person = np.unique(np.asarray(persons), return_inverse=True)
        here = ~np.isnan(x)
        present, of = x[here], person[here]
        known = float(here.mean()) if len(x) else 0.0
        # Fewer than ten people on either side: all of them, or none.
        if len(np.unique(of)) < SMALL_CELL:
            return cls(0.0, effective(person), 0.0, (), ())
        if 0 < len(np.unique(person[~here])) < SMALL_CELL:
            known = 1.0
        edges = np.unique(np.quantile(present, _DECILES, method="inverted_cdf"))
        edges = _wide_enough(present, of, edges[edges < present.max()])
        counts = _counts(present, edges)
        return cls(
            round(known, 6),
            effective(person),
            effective(of),
            tuple(float(f"{edge:.7g}") for edge in edges),
            tuple(round(float(share), 6) for share in counts / len(present)),
        )

    def change(self, values: ArrayLike, persons: ArrayLike) -> Change | None:
        """Return how values differ from this; None where either side has too few people."""
        x = np.asarray(values, dtype=np.float64)
        here = ~np.isnan(x)
        if len(self.shares) < 2 or not here.any():
            return None
        people = effective(np.asarray(persons)[here])
        # Stated edges are rounded to seven figures: so are the values, or ties would move.
        shares = _counts(_rounded(x[here]), np.array(self.edges)) / here.sum()
        p = two_samples(np.array(self.shares) * self.known_people, shares * people)
        return Change(stability_index(np.array(self.shares), shares), p)

    def known_change(self, values: ArrayLike, persons: ArrayLike) -> tuple[float, float, float]:
        """Return the share of rows with a value, its difference from this one, and p."""
        here = ~np.isnan(np.asarray(values, dtype=np.float64))
        share, people = float(here.mean()), effective(persons)
        both = np.array([self.known, 1 - self.known]) * self.people
        p = two_samples(both, np.array([share, 1 - share]) * people)
        return share, share - self.known, p

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "known": self.known,
            "people": round(self.people, 3),
            "known_people": round(self.known_people, 3),
            "edges": list(self.edges),
            "shares": list(self.shares),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Distribution:
        """Return what `to_dict` wrote; KeyError, TypeError or ValueError where it does not read."""
        edges = tuple(float(edge) for edge in value["edges"])
        shares = tuple(float(share) for share in value["shares"])
        if len(shares) != len(edges) + 1 and shares:
            raise ValueError("edges and shares do not belong together")
        return cls(
            float(value["known"]),
            float(value["people"]),
            float(value["known_people"]),
            edges,
            shares,
        )


def effective(persons: ArrayLike) -> float:
    """Return Kish's effective number of people among rows.

    Examples
    --------
    >>> effective([1, 2, 3]), effective([1, 1, 1, 1])
    (3.0, 1.0)
    """
    _, rows = np.unique(np.asarray(persons), return_counts=True)
    return float(rows.sum() ** 2 / (rows.astype(np.float64) ** 2).sum()) if len(rows) else 0.0


def stability_index(expected: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """Return the population stability index of two sets of shares.

    Examples
    --------
    0.5 -> 0.8 and 0.5 -> 0.2: 0.3 ln 1.6 - 0.3 ln 0.4 = 0.3 ln 4.

    >>> round(stability_index(np.array([0.5, 0.5]), np.array([0.8, 0.2])), 6)
    0.415888
    """
    e, f = np.maximum(expected, _FLOOR), np.maximum(found, _FLOOR)
    return float(((f - e) * np.log(f / e)).sum())


def two_samples(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return p of the hypothesis that two rows of counts come from the same shares.

    Chi-square; neighbouring bins are joined until each expects five in both rows. With two bins
    that expect fewer, Fisher's exact test.

    Examples
    --------
    >>> two_samples(np.array([50.0, 50.0]), np.array([50.0, 50.0]))
    1.0
    >>> round(two_samples(np.array([60.0, 40.0]), np.array([40.0, 60.0])), 4)  # chi-square 8
    0.0047
    """
    from scipy.stats import chi2, fisher_exact

    table = np.array([first, second], dtype=np.float64)
    totals = table.sum(axis=1)
    if totals.min() <= 0:
        return 1.0
    share = float(totals.min() / totals.sum())
    joined = _joined(table, _EXPECTED / share)
    if joined.shape[1] < 2:
        two = np.array([table[:, 0], table[:, 1:].sum(axis=1)]).T
        if table.shape[1] > 2 or two.sum(axis=0).min() <= 0:
            return 1.0
        return float(fisher_exact(np.rint(two).astype(int)).pvalue)
    expected = np.outer(joined.sum(axis=1), joined.sum(axis=0)) / joined.sum()
    statistic = float(((joined - expected) ** 2 / expected).sum())
    return float(chi2.sf(statistic, joined.shape[1] - 1))


def two_sided(z: float) -> float:
    """Return the two-sided p of a standard normal deviate."""
    return math.erfc(abs(z) / math.sqrt(2))


def _joined(table: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """Return the columns joined with their neighbours until each sums to `least`."""
    columns: list[NDArray[np.float64]] = []
    current = np.zeros(2)
    for column in table.T:
        current = current + column
        if current.sum() >= least:
            columns.append(current)
            current = np.zeros(2)
    if current.sum() and columns:
        columns[-1] = columns[-1] + current
    return np.array(columns).T if columns else np.zeros((2, 0))


def _rounded(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values to seven significant figures, as edges are stated."""
    with np.errstate(divide="ignore"):
        digits = 6 - np.floor(np.log10(np.abs(x)))
    scale = 10.0 ** np.clip(np.where(np.isfinite(digits), digits, 0), -300, 300)
    return np.rint(x * scale) / scale


def _counts(x: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.bincount(np.searchsorted(edges, x, "left"), minlength=len(edges) + 1).astype(float)


def _wide_enough(
    x: NDArray[np.float64], person: NDArray[np.intp], edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return edges between which at least ten people lie."""
    place = np.searchsorted(edges, x, "left")
    kept: list[float] = []
    inside: set[int] = set()
    members = [set(person[place == number].tolist()) for number in range(len(edges) + 1)]
    for number, edge in enumerate(edges):
        inside |= members[number]
        if len(inside) >= SMALL_CELL:
            kept.append(float(edge))
            inside = set()
    inside |= members[-1]
    if len(inside) < SMALL_CELL and kept:
        kept.pop()
    return np.array(kept)
