"""Usual intake: recalls of single days with the day-to-day variation taken out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from magml.errors import InputError


@dataclass(frozen=True)
class UsualIntake:
    """Usual intake of each person.

    Attributes
    ----------
    person
        Persons in ascending order [n].
    usual
        Estimated usual intake in the unit of the recalls, float64 [n]. Their spread is that
        between people, so shares below a requirement may be counted from them.
    within, between
        Variances of log intake between days of a person and between people.
    """

    person: NDArray[np.int64]
    usual: NDArray[np.float64]
    within: float
    between: float


def usual_intake(
    intake: ArrayLike,
    person: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    variance_ratio: float | None = None,
) -> UsualIntake:
    """Return usual intakes from recalled days.

    Person means of log intake are drawn towards the population's so that their variance is that
    between people, and taken back to the original scale.

    Parameters
    ----------
    intake
        Intake of each recalled day, above 0 [m].
    person
        Whose day it was [m].
    weight
        Survey weight of each day, equal for the days of a person [m]; default 1.
    variance_ratio
        Variance within over variance between people, of log intake. Needed where nobody recalled
        two days; otherwise estimated from the repeated days, and given it overrides them.

    Returns
    -------
    UsualIntake

    Raises
    ------
    InputError
        If an intake is not above 0, lengths differ, or no ratio is given and no day repeated.

    Notes
    -----
    One-way random effects on the log scale; the correction ``within / 2`` makes the mean of usual
    intakes that of the days. The National Cancer Institute's method adds covariates, a fitted
    transformation and the chance of eating at all, which a nutrient eaten daily does not need.

    Examples
    --------
    With as much variance within as between people, one day's deviation shrinks by the root of 2:

    >>> found = usual_intake([100.0, 400.0], [1, 2], variance_ratio=1.0)
    >>> float(np.log(found.usual[1] / found.usual[0]) / np.log(4)).__round__(4)
    0.7071
    """
    values = np.asarray(intake, dtype=np.float64)
    ids = np.asarray(person)
    weights = np.ones_like(values) if weight is None else np.asarray(weight, dtype=np.float64)
    if not len(values) == len(ids) == len(weights) or not len(values):
        raise InputError(
            f"usual intake: {len(values)} intakes, {len(ids)} persons, {len(weights)} weights",
            "one of each for every recalled day",
            "give columns of the same table",
        )
    if not np.all(values > 0):
        raise InputError(
            f"usual intake: {int(np.sum(~(values > 0)))} days without an intake above 0",
            "amounts above 0 (a recall of nothing is not a usual day)",
            "leave these days out and say how many",
        )
    persons, index = np.unique(ids, return_inverse=True)
    logs = np.log(values)
    days = np.bincount(index).astype(np.float64)
    mean = np.bincount(index, logs) / days
    of_person = np.bincount(index, weights) / days
    centre = np.average(mean, weights=of_person)
    total = float(np.average((mean - centre) ** 2, weights=of_person))
    if variance_ratio is None:
        within, between = _components(logs, index, mean, days)
    else:
        between = total / float(np.average(1.0 + variance_ratio / days, weights=of_person))
        within = variance_ratio * between
    spread = between + within / days
    shrink = np.sqrt(np.divide(between, spread, out=np.zeros_like(spread), where=spread > 0))
    usual = np.exp(centre + shrink * (mean - centre) + within / 2.0)
    return UsualIntake(person=persons, usual=usual, within=within, between=between)


def share_below(
    usual: ArrayLike, requirement: ArrayLike, *, weight: ArrayLike | None = None
) -> float:
    """Return the share of people whose usual intake is below their requirement (cut-point method).

    Parameters
    ----------
    usual, requirement
        In one unit [n]; rows with a missing value are left out.
    weight
        Survey weights [n]; default 1.

    Examples
    --------
    >>> share_below([200, 300, 400, float("nan")], 330)
    0.6666666666666666
    """
    eaten, needed = np.broadcast_arrays(
        np.asarray(usual, dtype=np.float64), np.asarray(requirement, dtype=np.float64)
    )
    weights = np.ones(eaten.shape) if weight is None else np.asarray(weight, dtype=np.float64)
    known = np.isfinite(eaten) & np.isfinite(needed)
    return float(np.average(eaten[known] < needed[known], weights=weights[known]))


def _components(
    logs: NDArray[np.float64],
    index: NDArray[np.intp],
    mean: NDArray[np.float64],
    days: NDArray[np.float64],
) -> tuple[float, float]:
    """Return the variances within and between people by analysis of variance."""
    repeated = len(logs) - len(mean)
    if repeated < 1 or len(mean) < 2:
        raise InputError(
            "usual intake: no person with two recalled days, or a single person",
            "repeated recalls, or variance_ratio from the literature",
            "state variance_ratio and its source",
        )
    within = float(np.sum((logs - mean[index]) ** 2)) / repeated
    size = (len(logs) - float(np.sum(days**2)) / len(logs)) / (len(mean) - 1)
    among = float(np.sum(days * (mean - logs.mean()) ** 2)) / (len(mean) - 1)
    return within, max((among - within) / size, 0.0)
