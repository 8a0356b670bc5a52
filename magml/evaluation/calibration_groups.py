"""Observed against predicted risk in groups of similar risk, none of them a small cell."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from magml.evaluation.checks import SMALL_CELL, check_labels, check_risks, check_weights

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CalibrationGroups:
    """Observed against predicted risk in groups of similar predicted risk.

    Attributes
    ----------
    predicted, observed : numpy.ndarray, shape (g,)
        Weighted mean risk, and weighted share with the outcome.
    low, high : numpy.ndarray, shape (g,)
        Wilson interval of `observed`, rows taken as independent, with the effective number of rows
        where they are weighted.
    n, events : numpy.ndarray of int, shape (g,)
        Rows, and rows with the outcome.
    """

    predicted: Floats
    observed: Floats
    low: Floats
    high: Floats
    n: NDArray[np.intp]
    events: NDArray[np.intp]


def calibration_groups(
    labels: ArrayLike,
    risks: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    groups: int = 10,
    smallest: int = SMALL_CELL,
    level: float = 0.95,
) -> CalibrationGroups:
    """Group rows by predicted risk; equal risks stay together, small groups join a neighbour.

    Parameters
    ----------
    labels : array_like, shape (n,)
        Outcomes, 0 or 1.
    risks : array_like, shape (n,)
        Predicted risks, 0 to 1.
    weights : array_like, shape (n,), optional
        Row weights.
    groups : int
        Number of groups of about equal size to start from.
    smallest : int
        Fewest rows a group may have; no group is returned if there are fewer rows in all.
    level : float
        Coverage of the intervals.

    Returns
    -------
    CalibrationGroups

    Raises
    ------
    InputError
        If the input is incomplete, not of one length, or of one class.

    Examples
    --------
    >>> found = calibration_groups([0, 0, 0, 1], [0.1, 0.1, 0.1, 0.8], groups=2, smallest=1)
    >>> found.n.tolist(), found.observed.tolist()
    ([3, 1], [0.0, 1.0])
    """
    events = check_labels(labels)
    checked = check_risks({"risks": risks}, events.size)["risks"]
    used = check_weights(weights, events)
    edges = np.unique(np.quantile(checked, np.arange(1, groups) / groups, method="lower"))
    code = _merge(np.searchsorted(edges, checked, side="left"), smallest)
    n = np.bincount(code)
    total = np.bincount(code, used)
    kept = (total > 0) & (n >= smallest)
    with np.errstate(invalid="ignore", divide="ignore"):
        predicted = np.bincount(code, used * checked) / total
        observed = np.bincount(code, used * events) / total
        effective = total**2 / np.bincount(code, used**2)
    low, high = _wilson(observed, effective, level)
    return CalibrationGroups(
        predicted=predicted[kept],
        observed=observed[kept],
        low=low[kept],
        high=high[kept],
        n=n[kept],
        events=np.bincount(code[events], minlength=n.size)[kept],
    )


def _merge(code: NDArray[np.intp], smallest: int) -> NDArray[np.intp]:
    """Renumber ordered groups so that each has at least `smallest` rows."""
    present, code = np.unique(code, return_inverse=True)
    merged = np.zeros(present.size, dtype=np.intp)
    group = held = 0
    for position, count in enumerate(np.bincount(code)):
        merged[position] = group
        held += int(count)
        if held >= smallest:
            group, held = group + 1, 0
    if held and group:  # the last group stayed small
        merged[merged == group] = group - 1
    return merged[code]


def _wilson(share: Floats, n: Floats, level: float) -> tuple[Floats, Floats]:
    """Wilson score interval of a proportion."""
    z = NormalDist().inv_cdf(0.5 + level / 2.0)
    centre = (share + z**2 / (2.0 * n)) / (1.0 + z**2 / n)
    half = z / (1.0 + z**2 / n) * np.sqrt(share * (1.0 - share) / n + z**2 / (4.0 * n**2))
    return np.clip(centre - half, 0.0, 1.0), np.clip(centre + half, 0.0, 1.0)
