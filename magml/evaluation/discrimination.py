"""Discrimination: AUROC and average precision, sorted once and replayed under many weightings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from magml.evaluation.checks import check_labels, check_risks, check_weights

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """One model's rows in order of falling risk; equal risks share one position.

    Attributes
    ----------
    positives, negatives : numpy.ndarray of int
        Rows with and without the outcome, each from the highest risk to the lowest.
    negatives_above, negatives_through : numpy.ndarray of int
        For each of `positives`, how many of `negatives` have a higher risk, and how many a higher
        or equal one.
    positives_through : numpy.ndarray of int
        For each of `positives`, how many of `positives` have a higher or equal risk.
    positive_risks, negative_risks : numpy.ndarray
        The negated risks of `positives` and `negatives`, hence in rising order.
    """

    positives: NDArray[np.intp]
    negatives: NDArray[np.intp]
    negatives_above: NDArray[np.intp]
    negatives_through: NDArray[np.intp]
    positives_through: NDArray[np.intp]
    positive_risks: Floats
    negative_risks: Floats


def rank(events: NDArray[np.bool_], risks: Floats) -> Ranking:
    """Sort the rows of one model.

    Parameters
    ----------
    events : numpy.ndarray of bool, shape (n,)
        The outcomes.
    risks : numpy.ndarray, shape (n,)
        Predicted risks.

    Returns
    -------
    Ranking

    Examples
    --------
    >>> rank(np.array([True, False, True]), np.array([0.2, 0.3, 0.9])).positives.tolist()
    [2, 0]
    """
    order = np.argsort(-risks, kind="stable")
    positives, negatives = order[events[order]], order[~events[order]]
    falling, others = -risks[positives], -risks[negatives]
    return Ranking(
        positives=positives,
        negatives=negatives,
        negatives_above=np.searchsorted(others, falling, side="left"),
        negatives_through=np.searchsorted(others, falling, side="right"),
        positives_through=np.searchsorted(falling, falling, side="right"),
        positive_risks=falling,
        negative_risks=others,
    )


@dataclass(frozen=True)
class Tally:
    """Weight of true and false positives down a ranking, for b weightings at once.

    Attributes
    ----------
    ranking : Ranking
        The rows in order.
    weights : numpy.ndarray, shape (b, events)
        Weights of the rows with the outcome.
    true, false : numpy.ndarray, shape (b, 1 + events) and (b, 1 + non-events)
        Weight of the first 0, 1, 2, ... rows with and without the outcome.
    """

    ranking: Ranking
    weights: Floats
    true: Floats
    false: Floats

    def auroc(self) -> Floats:
        """Area under the ROC curve, shape (b,)."""
        above = self.false[:, self.ranking.negatives_above]
        through = self.false[:, self.ranking.negatives_through]
        below = self.false[:, -1:] - 0.5 * (above + through)
        return (self.weights * below).sum(axis=1) / (self.true[:, -1] * self.false[:, -1])

    def auprc(self) -> Floats:
        """Average precision, shape (b,)."""
        true = self.true[:, self.ranking.positives_through]
        flagged = true + self.false[:, self.ranking.negatives_through]
        # Nobody flagged means no weight on this row either, so its term is 0.
        precision = np.divide(true, flagged, out=np.zeros_like(true), where=flagged > 0)
        return (self.weights * precision).sum(axis=1) / self.true[:, -1]

    def at(self, thresholds: Floats) -> tuple[Floats, Floats]:
        """Weight of true and false positives at risk >= threshold, each of shape (b, t)."""
        ranking = self.ranking
        true = np.searchsorted(ranking.positive_risks, -thresholds, side="right")
        false = np.searchsorted(ranking.negative_risks, -thresholds, side="right")
        return self.true[:, true], self.false[:, false]


def tally(ranking: Ranking, weights: Floats) -> Tally:
    """Add the weights up along a ranking.

    Parameters
    ----------
    ranking : Ranking
        One model's rows in order.
    weights : numpy.ndarray, shape (b, n)
        b weightings of the n rows.

    Returns
    -------
    Tally

    Examples
    --------
    >>> ranking = rank(np.array([True, False, True]), np.array([0.2, 0.3, 0.9]))
    >>> tally(ranking, np.ones((1, 3))).auroc().tolist()
    [0.5]
    """
    positive = weights[:, ranking.positives]
    negative = weights[:, ranking.negatives]
    return Tally(ranking, positive, _cumulate(positive), _cumulate(negative))


def _cumulate(weights: Floats) -> Floats:
    """Running sums along the rows, starting from 0."""
    sums = np.zeros((weights.shape[0], weights.shape[1] + 1))
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums


def auroc(labels: ArrayLike, risks: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Area under the receiver operating characteristic curve; ties count one half.

    Parameters
    ----------
    labels : array_like, shape (n,)
        Outcomes, 0 or 1.
    risks : array_like, shape (n,)
        Predicted risks, 0 to 1.
    weights : array_like, shape (n,), optional
        Row weights.

    Returns
    -------
    float
        The probability that a person with the outcome was given a higher risk than one without.

    Raises
    ------
    InputError
        If the input is incomplete, not of one length, or of one class.

    References
    ----------
    Hanley JA, McNeil BJ. Radiology 1982;143:29-36.

    Examples
    --------
    >>> auroc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    return float(_single(labels, risks, weights).auroc()[0])


def auprc(labels: ArrayLike, risks: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Area under the precision-recall curve as average precision, without interpolation.

    Parameters
    ----------
    labels : array_like, shape (n,)
        Outcomes, 0 or 1.
    risks : array_like, shape (n,)
        Predicted risks, 0 to 1.
    weights : array_like, shape (n,), optional
        Row weights.

    Returns
    -------
    float
        Its floor is the prevalence, so it is not comparable between populations.

    Raises
    ------
    InputError
        If the input is incomplete, not of one length, or of one class.

    Examples
    --------
    >>> round(auprc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
    0.8333
    """
    return float(_single(labels, risks, weights).auprc()[0])


def _single(labels: ArrayLike, risks: ArrayLike, weights: ArrayLike | None) -> Tally:
    events = check_labels(labels)
    checked = check_risks({"risks": risks}, events.size)["risks"]
    return tally(rank(events, checked), check_weights(weights, events)[None, :])
