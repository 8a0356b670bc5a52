"""Net benefit: true positives minus false positives at the threshold's exchange rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from magml.evaluation.checks import check_labels, check_risks, check_thresholds, check_weights
from magml.evaluation.discrimination import Tally, rank, tally

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

#: Decision thresholds of a curve unless others are given: 1% to 50%.
DEFAULT_THRESHOLDS: tuple[float, ...] = tuple(percent / 100 for percent in range(1, 51))


def net_benefit_of(counted: Tally, thresholds: Floats) -> Floats:
    """Net benefit of acting at risk >= threshold, for b weightings at once.

    Parameters
    ----------
    counted : Tally
        Weights added up along one model's ranking.
    thresholds : numpy.ndarray, shape (t,)
        Decision thresholds.

    Returns
    -------
    numpy.ndarray, shape (b, t)
        True positives a person.

    Examples
    --------
    >>> ranking = rank(np.array([True, False]), np.array([0.9, 0.6]))
    >>> net_benefit_of(tally(ranking, np.ones((1, 2))), np.array([0.5, 0.8])).tolist()
    [[0.0, 0.5]]
    """
    true, false = counted.at(thresholds)
    total = counted.true[:, -1:] + counted.false[:, -1:]
    return (true - false * (thresholds / (1.0 - thresholds))) / total


def net_benefit_of_all(prevalence: Floats, thresholds: Floats) -> Floats:
    """Net benefit of acting on everybody.

    Parameters
    ----------
    prevalence : numpy.ndarray, shape (b,)
        Share with the outcome.
    thresholds : numpy.ndarray, shape (t,)
        Decision thresholds.

    Returns
    -------
    numpy.ndarray, shape (b, t)

    Examples
    --------
    >>> net_benefit_of_all(np.array([0.2]), np.array([0.2])).tolist()
    [[0.0]]
    """
    share = prevalence[:, None]
    return share - (1.0 - share) * (thresholds / (1.0 - thresholds))


def net_benefit(
    labels: ArrayLike,
    risks: ArrayLike,
    thresholds: ArrayLike = DEFAULT_THRESHOLDS,
    weights: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Net benefit of acting on people whose risk is at or above each threshold.

    Parameters
    ----------
    labels : array_like, shape (n,)
        Outcomes, 0 or 1.
    risks : array_like, shape (n,)
        Predicted risks, 0 to 1.
    thresholds : array_like, shape (t,)
        Rising decision thresholds, strictly between 0 and 1.
    weights : array_like, shape (n,), optional
        Row weights.

    Returns
    -------
    numpy.ndarray, shape (t,)
        True positives a person, net of false positives; acting on nobody gives 0.

    Raises
    ------
    InputError
        If the input is incomplete, not of one length, of one class, or a threshold is impossible.

    References
    ----------
    Vickers AJ, Elkin EB. Med Decis Making 2006;26:565-74.

    Examples
    --------
    >>> net_benefit([1, 1, 0, 0], [0.9, 0.3, 0.6, 0.1], [0.25, 0.5]).round(4).tolist()
    [0.4167, 0.0]
    """
    events = check_labels(labels)
    checked = check_risks({"risks": risks}, events.size)["risks"]
    counted = tally(rank(events, checked), check_weights(weights, events)[None, :])
    return net_benefit_of(counted, check_thresholds(thresholds))[0]
