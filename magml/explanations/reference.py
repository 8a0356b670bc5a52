"""Where a value lies among the people a model learned from: a compact table of percentiles.

The table stands in the bundle. No percentile is stated behind which fewer than ten people stand
on either side, so neither the extremes of single people nor rare answers can be read from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from magml.errors import BundleError
from magml.evaluation.checks import SMALL_CELL

#: Percentiles of the table.
LEVELS: tuple[float, ...] = (1, 2.5, *range(5, 100, 5), 97.5, 99)


@dataclass(frozen=True)
class Position:
    """Where one value lies among the people who have one.

    Attributes
    ----------
    percentile
        0 to 100, ties in the middle; None outside the percentiles that are stated, or where
        nothing may be stated.
    low, high
        The value lies above the `low`-th percentile and below the `high`-th, as far as stated.
    known
        Share of the cohort that has a value; None where fewer than ten people have one, or have
        none.
    share
        Of those with a value, the share with this very answer, for features that are 0 or 1.
    people
        People of the cohort.
    """

    percentile: float | None
    low: float | None
    high: float | None
    known: float | None
    share: float | None
    people: int

    def words(self) -> str:
        """Return the position in words.

        Examples
        --------
        >>> Position(62.5, 60.0, 65.0, 0.9, None, 664).words()
        'percentile 62 of the cohort'
        >>> Position(None, None, 5.0, 0.9, None, 664).words()
        'below percentile 5 of the cohort'
        >>> Position(None, None, None, 0.1, None, 664).words()
        ''
        """
        if self.share is not None:
            return f"as in {self.share:.0%} of the cohort"
        if self.percentile is not None:
            return f"percentile {self.percentile:.0f} of the cohort"
        if self.high is not None and self.low is None:
            return f"below percentile {self.high:g} of the cohort"
        if self.low is not None and self.high is None:
            return f"above percentile {self.low:g} of the cohort"
        return ""


@dataclass(frozen=True)
class ReferenceCohort:
    """Percentiles of features over the prediction times a model was made from.

    Attributes
    ----------
    rows, people
        Prediction times and people.
    names
        Features.
    known
        Share of rows with a value, by feature; None where fewer than ten people have one, or
        have none, as far as some are on either side.
    ones
        Share of 1 among rows with a value, for features that are 0 or 1 only; None otherwise and
        where fewer than ten people are on either side.
    quantiles
        Values at `LEVELS`, by feature; None where it may not be stated.
    """

    rows: int
    people: int
    names: tuple[str, ...]
    known: tuple[float | None, ...]
    ones: tuple[float | None, ...]
    quantiles: tuple[tuple[float | None, ...], ...]

    @classmethod
    def of(
        cls, values: ArrayLike, names: Sequence[str], persons: ArrayLike, least: int = SMALL_CELL
    ) -> ReferenceCohort:
        """Return the table of a feature matrix.

        Parameters
        ----------
        values
            Matrix, shape (n, p); NaN is missing.
        names
            The p features.
        persons
            Person of each row, shape (n,).
        least
            Fewest people behind any stated figure.

        Examples
        --------
        >>> table = ReferenceCohort.of([[float(k)] for k in range(100)], ["lab.x.last"], range(100))
        >>> table.position("lab.x.last", 69).percentile, table.position("lab.x.last", 3).words()
        (70.0, 'below percentile 10 of the cohort')
        """
        matrix = np.asarray(values, dtype=np.float64)
        _, person = np.unique(np.asarray(persons), return_inverse=True)
        known, ones, quantiles = [], [], []
        for column in matrix.T:
            here = ~np.isnan(column)
            known.append(_share(here, person, least))
            present, of = column[here], person[here]
            binary = len(present) > 0 and bool(np.isin(present, (0.0, 1.0)).all())
            ones.append(_share(present == 1, of, least) if binary else None)
            quantiles.append(_protected(present, of, least))
        people = int(person.max()) + 1 if len(person) else 0
        return cls(len(matrix), people, tuple(names), tuple(known), tuple(ones), tuple(quantiles))

    def position(self, name: str, value: float) -> Position | None:
        """Return where a value lies; None for a missing value or an unknown feature."""
        place = self._places.get(name)
        if place is None or math.isnan(value):
            return None
        known, one = self.known[place], self.ones[place]
        stated = self._stated(place)
        if one is not None and value in (0.0, 1.0):
            share = one if value == 1 else 1 - one
            return Position(None, None, None, known, share, self.people)
        if not stated:
            return Position(None, None, None, known, None, self.people)
        levels = np.array([level for level, _ in stated])
        found = np.array([quantile for _, quantile in stated])
        below, above = levels[found < value], levels[found > value]
        low = float(below[-1]) if len(below) else None
        high = float(above[0]) if len(above) else None
        percentile = None
        same = levels[found == value]
        if len(same):
            percentile = float((same[0] + same[-1]) / 2)
        elif low is not None and high is not None:
            percentile = float(np.interp(value, found, levels))
        return Position(percentile, low, high, known, None, self.people)

    def values(self, name: str, levels: Sequence[float] = LEVELS) -> list[float]:
        """Return a feature's values at those of the levels that are stated, rising."""
        place = self._places.get(name)
        if place is None:
            return []
        return [quantile for level, quantile in self._stated(place) if level in levels]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "rows": self.rows,
            "people": self.people,
            "levels": list(LEVELS),
            "features": {
                name: {"known": known, "ones": ones, "quantiles": list(quantiles)}
                for name, known, ones, quantiles in zip(
                    self.names, self.known, self.ones, self.quantiles, strict=True
                )
            },
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> ReferenceCohort:
        """Return the table that `to_dict` wrote.

        Raises
        ------
        BundleError
            If a key is missing, or the percentiles are not those of this version.
        """
        try:
            features = value["features"]
            found = cls(
                int(value["rows"]),
                int(value["people"]),
                tuple(features),
                tuple(item["known"] for item in features.values()),
                tuple(item["ones"] for item in features.values()),
                tuple(tuple(item["quantiles"]) for item in features.values()),
            )
            fits = tuple(value["levels"]) == LEVELS
            fits &= all(len(quantiles) == len(LEVELS) for quantiles in found.quantiles)
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(
                "the table of the cohort's percentiles does not read",
                "rows, people, levels and features",
                "use the bundle as it was written",
            ) from error
        if not fits:
            raise BundleError(
                "the cohort's percentiles are not those that this version reads",
                f"{len(LEVELS)} percentiles, {LEVELS[0]:g} to {LEVELS[-1]:g}",
                "use the magml that wrote the bundle",
            )
        return found

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}

    def _stated(self, place: int) -> list[tuple[float, float]]:
        return [
            (level, quantile)
            for level, quantile in zip(LEVELS, self.quantiles[place], strict=True)
            if quantile is not None
        ]


def _share(chosen: NDArray[np.bool_], person: NDArray[np.intp], least: int) -> float | None:
    """Return the share of rows chosen, unless it speaks of fewer than `least` people."""
    if not len(chosen):
        return None
    for side in (chosen, ~chosen):
        people = len(np.unique(person[side]))
        if 0 < people < least:
            return None
    return round(float(chosen.mean()), 4)


def _protected(
    values: NDArray[np.float64], person: NDArray[np.intp], least: int
) -> tuple[float | None, ...]:
    """Return the values at `LEVELS` that have `least` people at or beyond them on both sides."""
    nothing: tuple[float | None, ...] = (None,) * len(LEVELS)
    if len(values) < least:
        return nothing
    order = np.argsort(values, kind="stable")
    ordered, of = values[order], person[order]
    low, high = _reached(ordered, of, least), _reached(ordered[::-1], of[::-1], least)
    if low is None or high is None or low > high:
        return nothing
    found = np.quantile(ordered, np.array(LEVELS) / 100, method="inverted_cdf")
    # Seven figures are what float32 holds.
    return tuple(float(f"{v:.7g}") if low <= v <= high else None for v in found)


def _reached(ordered: NDArray[np.float64], person: NDArray[np.intp], least: int) -> float | None:
    """Return the value at which `least` different people have been met, or None."""
    _, first = np.unique(person, return_index=True)
    if len(first) < least:
        return None
    return float(ordered[np.sort(first)[least - 1]])
