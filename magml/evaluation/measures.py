"""Every measure of one model, under many weightings of the same rows at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from magml.evaluation.calibration import CalibrationDesign, prepare_calibration
from magml.evaluation.discrimination import Ranking, rank, tally
from magml.evaluation.net_benefit import net_benefit_of
from magml.evaluation.overall import (
    brier_terms,
    log_loss_terms,
    scale_brier,
    weighted_mean,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """What a number is called and which way is better.

    Attributes
    ----------
    title : str
        Name for people.
    better : str
        "higher" or "lower"; otherwise "target", where being near `ideal` is what counts and a
        difference between two models says nothing.
    ideal : float
        Value of a perfect model.
    """

    title: str
    better: Literal["higher", "lower", "target"]
    ideal: float


#: Metrics of every evaluation by their name in tables, in the order they are shown.
METRICS: dict[str, Metric] = {
    "auroc": Metric("AUROC", "higher", 1.0),
    "auprc": Metric("AUPRC", "higher", 1.0),
    "brier": Metric("Brier score", "lower", 0.0),
    "scaled_brier": Metric("Scaled Brier score", "higher", 1.0),
    "log_loss": Metric("Log loss", "lower", 0.0),
    "ici": Metric("Integrated calibration index", "lower", 0.0),
    "calibration_intercept": Metric("Calibration intercept", "target", 0.0),
    "calibration_slope": Metric("Calibration slope", "target", 1.0),
    "observed_expected": Metric("Observed : expected", "target", 1.0),
}


@dataclass(frozen=True)
class Measures:
    """One model's measures under b weightings.

    Attributes
    ----------
    metrics : dict of str to numpy.ndarray, shape (b,)
        Values by the names of `METRICS`; NaN where one cannot be estimated.
    net_benefit : numpy.ndarray, shape (b, t)
        At each threshold.
    curve : numpy.ndarray, shape (b, g)
        Smoothed observed risk at the model's `predicted` risks.
    """

    metrics: dict[str, Floats]
    net_benefit: Floats
    curve: Floats


class Measurer:
    """One model, sorted and laid out once, to be measured under any weights.

    Parameters
    ----------
    events : numpy.ndarray of bool, shape (n,)
        The outcomes.
    risks : numpy.ndarray, shape (n,)
        Predicted risks.
    weights : numpy.ndarray, shape (n,)
        The original row weights.
    thresholds : numpy.ndarray, shape (t,)
        Decision thresholds.

    Attributes
    ----------
    predicted : numpy.ndarray, shape (g,)
        Risks at which the calibration curve is drawn.

    Examples
    --------
    >>> events, risks = np.array([False, False, True, True]), np.array([0.1, 0.4, 0.35, 0.8])
    >>> measurer = Measurer(events, risks, np.ones(4), np.array([0.5]))
    >>> float(measurer.measure(np.ones((1, 4))).metrics["auroc"][0])
    0.75
    """

    def __init__(
        self, events: NDArray[np.bool_], risks: Floats, weights: Floats, thresholds: Floats
    ) -> None:
        self._events, self._risks, self._thresholds = events.astype(np.float64), risks, thresholds
        self._ranking: Ranking = rank(events, risks)
        self._calibration: CalibrationDesign = prepare_calibration(events, risks, weights)
        self._brier, self._loss = brier_terms(events, risks), log_loss_terms(events, risks)
        self.predicted: Floats = self._calibration.predicted

    def measure(self, weights: Floats) -> Measures:
        """Measure under (b, n) weights, both classes present in each row of them."""
        counted = tally(self._ranking, weights)
        prevalence = weighted_mean(self._events, weights)
        expected = weighted_mean(self._risks, weights)
        brier = weighted_mean(self._brier, weights)
        curve, index = self._calibration.curve(weights)
        with np.errstate(divide="ignore"):
            ratio = np.where(expected > 0, prevalence / expected, np.nan)
        return Measures(
            metrics={
                "auroc": counted.auroc(),
                "auprc": counted.auprc(),
                "brier": brier,
                "scaled_brier": scale_brier(brier, prevalence),
                "log_loss": weighted_mean(self._loss, weights),
                "ici": index,
                "calibration_intercept": self._calibration.intercept(weights),
                "calibration_slope": self._calibration.slope(weights),
                "observed_expected": ratio,
            },
            net_benefit=net_benefit_of(counted, self._thresholds),
            curve=curve,
        )
