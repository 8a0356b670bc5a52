"""Doubly robust figures: right if either the testing or the outcome is modelled rightly.

Every measure here is a function of one *stand-in outcome* for each person of the target
population: the outcome model's probability, corrected for the measured by what was found. It can
lie outside 0 and 1 and still averages to the truth. Because Brier score, net benefit and the
equations of calibration are linear in the outcome, and the area under the ROC curve is a ratio
of sums over pairs of different people, each can be computed with stand-ins in place of outcomes.

Sources: Robins JM, Rotnitzky A, Zhao LP. J Am Stat Assoc 1994;89:846-66. Scharfstein DO,
Rotnitzky A, Robins JM. J Am Stat Assoc 1999;94:1096-120 (the odds ratio of the unrecorded).
Rotnitzky A, Faraggi D, Schisterman E. J Am Stat Assoc 2006;101:1276-88 (the area under the curve).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Floats = NDArray[np.float64]
#: What is computed of every model, by the names of `magml.evaluation.METRICS`.
ROBUST = (
    "auroc",
    "brier",
    "scaled_brier",
    "log_loss",
    "calibration_intercept",
    "calibration_slope",
    "observed_expected",
)
_STEPS = 50


def stand_ins(
    events: NDArray[np.bool_],
    tested: NDArray[np.bool_],
    weights: Floats,
    expected: Floats,
    draws: Floats | None = None,
    odds_ratio: float = 1.0,
) -> Floats:
    """Return the stand-in outcome of every person of the target population.

    Parameters
    ----------
    events
        Outcomes of the measured, shape (n,); what stands for the others is not looked at.
    tested
        Who was measured, shape (n,).
    weights
        Weights of :func:`magml.ascertainment.weights.inverse_weights`; they are scaled here so
        that the measured stand for everybody.
    expected
        Probability of the outcome from the outcome model, shape (n,).
    draws
        How often each row was drawn, shape (n,); default once.
    odds_ratio
        How many times the odds of the outcome are in the unmeasured what they are in measured
        people with the same records: 1 where all reasons for testing were recorded.

    Examples
    --------
    One measured with and one without the outcome stand for two more like each of them.

    >>> stand_ins(
    ...     np.array([True, False, False, False]), np.array([True, True, False, False]),
    ...     np.array([1.0, 1.0, 0.0, 0.0]), np.array([0.5, 0.5, 0.5, 0.5]),
    ... ).tolist()
    [1.5, -0.5, 0.5, 0.5]
    """
    y = np.where(tested, events, 0.0)
    times = np.ones(len(tested)) if draws is None else draws
    scale = times.sum() / (times * weights)[tested].sum()
    inverse = np.where(tested, weights * scale, 0.0)
    tilt = odds_ratio * expected + 1.0 - expected
    unmeasured = odds_ratio * expected / tilt
    # Whoever has the outcome counts odds_ratio times among those who resemble the unmeasured.
    residual = np.where(y > 0, odds_ratio, 1.0) * (y - unmeasured) / tilt
    own = np.where(tested, y, unmeasured)
    return np.asarray(own + np.where(tested, np.maximum(inverse - 1.0, 0.0) * residual, 0.0))


@dataclass(frozen=True, eq=False)
class RobustMeasurer:
    """One model's risks of the whole target population, sorted once.

    Attributes
    ----------
    risks, log_odds
        Shape (n,).
    order
        Rows by rising risk.
    block
        Number of the block of equal risks of each row in that order.
    thresholds
        Of the net benefit.
    """

    risks: Floats
    log_odds: Floats
    order: NDArray[np.intp]
    block: NDArray[np.intp]
    thresholds: Floats

    def measure(self, stand_in: Floats, draws: Floats) -> tuple[dict[str, float], Floats]:
        """Return each measure of `ROBUST`, and the net benefit at each threshold.

        Parameters
        ----------
        stand_in
            Stand-in outcomes, shape (n,).
        draws
            How often each row was drawn, shape (n,).
        """
        total = draws.sum()
        share = float((draws * stand_in).sum() / total)
        expected = float((draws * self.risks).sum() / total)
        brier = float((draws * (stand_in * (1.0 - 2.0 * self.risks) + self.risks**2)).sum() / total)
        inside = np.clip(self.risks, 1e-15, 1.0 - 1e-15)
        loss = -(stand_in * np.log(inside) + (1.0 - stand_in) * np.log1p(-inside))
        spread = share * (1.0 - share)
        intercept, slope = self._calibration(stand_in, draws)
        odds = self.thresholds / (1.0 - self.thresholds)
        flagged = self.risks[None, :] >= self.thresholds[:, None]
        gain = stand_in - (1.0 - stand_in) * odds[:, None]
        return {
            "auroc": self._auroc(stand_in, draws),
            "brier": brier,
            "scaled_brier": 1.0 - brier / spread if spread > 0 else float("nan"),
            "log_loss": float((draws * loss).sum() / total),
            "calibration_intercept": intercept,
            "calibration_slope": slope,
            "observed_expected": share / expected if expected > 0 else float("nan"),
        }, (draws * flagged * gain).sum(axis=1) / total

    def _auroc(self, stand_in: Floats, draws: Floats) -> float:
        """Return the share of pairs of different people that are ranked rightly."""
        case = (draws * stand_in)[self.order]
        other = (draws * (1.0 - stand_in))[self.order]
        blocks = int(self.block[-1]) + 1
        here = np.bincount(self.block, other, blocks)
        below = np.cumsum(here) - here
        ranked = float((case * (below + 0.5 * here)[self.block]).sum())
        # A person is no pair with itself, nor with a second draw of itself.
        itself = float((case * other).sum())
        pairs = float(case.sum() * other.sum()) - itself
        return (ranked - 0.5 * itself) / pairs if pairs > 0 else float("nan")

    def _calibration(self, stand_in: Floats, draws: Floats) -> tuple[float, float]:
        """Solve the equations of calibration in the large and of the slope."""
        ones = np.ones((1, len(draws)))
        large = _solve(ones, self.log_odds, stand_in, draws)
        if np.ptp(self.log_odds) < 1e-9:
            return float(large[0]), float("nan")
        line = _solve(np.vstack([ones, self.log_odds]), 0.0, stand_in, draws)
        return float(large[0]), float(line[1])


def robust_measurer(risks: Floats, thresholds: Floats) -> RobustMeasurer:
    """Sort a model's risks.

    Examples
    --------
    >>> measurer = robust_measurer(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0.5]))
    >>> found, _ = measurer.measure(np.array([0.0, 0.0, 1.0, 1.0]), np.ones(4))
    >>> found["auroc"]
    0.75
    """
    from magml.evaluation.calibration import logit

    order = np.argsort(risks, kind="stable")
    block = np.concatenate([[0], np.cumsum(np.diff(risks[order]) > 0)])
    return RobustMeasurer(risks, logit(risks), order, block, thresholds)


def _solve(terms: Floats, offset: Floats | float, stand_in: Floats, draws: Floats) -> Floats:
    """Solve sum of draws * terms * (stand-in - risk) = 0 by Newton steps; NaN without a root."""
    beta = np.zeros(len(terms))
    if len(terms) > 1:
        beta[1] = 1.0
    for _ in range(_STEPS):
        fitted = expit(beta @ terms + offset)
        gradient = terms @ (draws * (stand_in - fitted))
        information = (terms * (draws * fitted * (1.0 - fitted))) @ terms.T
        if not np.isfinite(information).all() or np.linalg.cond(information) > 1e13:
            break
        step = np.linalg.solve(information, gradient)
        longest = float(np.abs(step).max())
        beta = beta + step * min(1.0, 2.0 / max(longest, 1e-300))
        if longest < 1e-7:
            return beta
    return np.full(len(terms), np.nan)
