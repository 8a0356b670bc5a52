"""Overall performance: Brier score, scaled Brier score and log loss, with weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from magml.evaluation.checks import check_labels, check_risks, check_weights

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


def brier_terms(events: NDArray[np.bool_], risks: Floats) -> Floats:
    """Squared error of each row.

    Parameters
    ----------
    events : numpy.ndarray of bool, shape (n,)
        The outcomes.
    risks : numpy.ndarray, shape (n,)
        Predicted risks.

    Returns
    -------
    numpy.ndarray, shape (n,)

    Examples
    --------
    >>> brier_terms(np.array([True]), np.array([0.5])).tolist()
    [0.25]
    """
    return (risks - events) ** 2


def log_loss_terms(events: NDArray[np.bool_], risks: Floats) -> Floats:
    """Negative log-likelihood of each row, in nats.

    Parameters
    ----------
    events : numpy.ndarray of bool, shape (n,)
        The outcomes.
    risks : numpy.ndarray, shape (n,)
        Predicted risks; 0 and 1 are moved inwards by the spacing of floats, as scikit-learn does.

    Returns
    -------
    numpy.ndarray, shape (n,)

    Examples
    --------
    >>> log_loss_terms(np.array([True]), np.array([1.0])).round(6).tolist()
    [0.0]
    """
    epsilon = np.finfo(np.float64).eps
    inside = np.clip(risks, epsilon, 1.0 - epsilon)
    return -np.log(np.where(events, inside, 1.0 - inside))


def weighted_mean(terms: Floats, weights: Floats) -> Floats:
    """Means of the same terms under b weightings.

    Parameters
    ----------
    terms : numpy.ndarray, shape (n,) or (b, n)
        A value a row.
    weights : numpy.ndarray, shape (b, n)
        b weightings of the rows.

    Returns
    -------
    numpy.ndarray, shape (b,)

    Examples
    --------
    >>> weighted_mean(np.array([1.0, 4.0]), np.array([[1.0, 2.0]])).tolist()
    [3.0]
    """
    # einsum, not a matrix product: BLAS sums in an order that depends on its threads.
    return np.einsum("bn,bn->b", weights, np.broadcast_to(terms, weights.shape)) / weights.sum(
        axis=1
    )


def scale_brier(brier: Floats, prevalence: Floats) -> Floats:
    """One minus the Brier score relative to giving everybody the prevalence.

    Parameters
    ----------
    brier, prevalence : numpy.ndarray, shape (b,)
        Brier scores, and the shares of rows with the outcome.

    Returns
    -------
    numpy.ndarray, shape (b,)
        1 is perfect, 0 no better than the prevalence.

    Examples
    --------
    >>> scale_brier(np.array([0.125]), np.array([0.5])).tolist()
    [0.5]
    """
    return 1.0 - brier / (prevalence * (1.0 - prevalence))


def brier_score(labels: ArrayLike, risks: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Mean squared difference between risk and outcome.

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
        0 is perfect.

    Raises
    ------
    InputError
        If the input is incomplete, not of one length, or of one class.

    References
    ----------
    Brier GW. Mon Weather Rev 1950;78:1-3.

    Examples
    --------
    >>> brier_score([0, 1], [0.5, 0.5])
    0.25
    """
    events, checked, used = _checked(labels, risks, weights)
    return float(weighted_mean(brier_terms(events, checked), used)[0])


def scaled_brier_score(
    labels: ArrayLike, risks: ArrayLike, weights: ArrayLike | None = None
) -> float:
    """Brier score as the share of the outcome's variance that is explained.

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
        1 is perfect, 0 no better than giving everybody the prevalence, below 0 worse.

    Raises
    ------
    InputError
        If the input is incomplete, not of one length, or of one class.

    References
    ----------
    Steyerberg EW et al. Epidemiology 2010;21:128-38.

    Examples
    --------
    >>> scaled_brier_score([0, 1], [0.5, 0.5])
    0.0
    """
    events, checked, used = _checked(labels, risks, weights)
    brier = weighted_mean(brier_terms(events, checked), used)
    return float(scale_brier(brier, weighted_mean(events.astype(float), used))[0])


def log_loss(labels: ArrayLike, risks: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Mean negative log-likelihood of the outcomes, in nats.

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
        0 is perfect; a coin gives log(2).

    Raises
    ------
    InputError
        If the input is incomplete, not of one length, or of one class.

    Examples
    --------
    >>> round(log_loss([0, 1], [0.5, 0.5]), 4)
    0.6931
    """
    events, checked, used = _checked(labels, risks, weights)
    return float(weighted_mean(log_loss_terms(events, checked), used)[0])


def _checked(
    labels: ArrayLike, risks: ArrayLike, weights: ArrayLike | None
) -> tuple[NDArray[np.bool_], Floats, Floats]:
    events = check_labels(labels)
    checked = check_risks({"risks": risks}, events.size)["risks"]
    return events, checked, check_weights(weights, events)[None, :]
