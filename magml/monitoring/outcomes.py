"""Scores and outcomes of one period against what is expected."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magml.evaluation.checks import SMALL_CELL
from magml.evaluation.discrimination import auroc
from magml.evaluation.logistic import fitted_risk, logistic_coefficients
from magml.monitoring.alarm import Alarm
from magml.monitoring.baseline import Baseline
from magml.monitoring.distribution import effective, two_samples, two_sided
from magml.monitoring.thresholds import Thresholds

Floats = NDArray[np.float64]
_Z95 = 1.959964


@dataclass(frozen=True, eq=False)
class Scored:
    """The rows of one period.

    Attributes
    ----------
    period
        Its name.
    persons, risk
        Person and calibrated risk of each row, shape (n,).
    alert
        Whether the row lies in the alert band, bool, shape (n,).
    label
        Outcome, 1.0 or 0.0; NaN where it is not known, shape (n,).
    due
        Whether the outcome should be known by now, bool, shape (n,).
    """

    period: str
    persons: NDArray[Any]
    risk: Floats
    alert: NDArray[np.bool_]
    label: Floats
    due: NDArray[np.bool_]


def score_changes(rows: Scored, baseline: Baseline, alert: str) -> dict[str, Any]:
    """Return mean risk, stability index and share in the alert band, with what is expected."""
    found: dict[str, Any] = {
        "mean_risk": float(rows.risk.mean()),
        "alert_rate": float(rows.alert.mean()),
        "score_psi": None,
        "score_p": 1.0,
        "alert_p": 1.0,
    }
    if baseline.risk is not None:
        change = baseline.risk.change(rows.risk, rows.persons)
        if change is not None:
            found["score_psi"], found["score_p"] = change.psi, change.p
        usual, people = baseline.bands.get(alert, 0.0), effective(rows.persons)
        found["alert_p"] = two_samples(
            np.array([usual, 1 - usual]) * baseline.risk.people,
            np.array([found["alert_rate"], 1 - found["alert_rate"]]) * people,
        )
    return found


def score_alarms(
    found: dict[str, Any], period: str, usual: float, thresholds: Thresholds
) -> list[Alarm]:
    """Return the comparisons of a period's scores."""
    made = []
    if found["score_psi"] is not None:
        psi = found["score_psi"]
        words = f"the risks are distributed otherwise (stability index {psi:.2f})"
        large = psi >= thresholds.score_psi
        made.append(Alarm("score", "risk", period, None, psi, found["score_p"], words, large))
    rate = found["alert_rate"]
    ratio = _ratio(rate, usual)
    words = f"{rate:.1%} in the alert band, {usual:.1%} before"
    large = max(ratio, 1 / ratio) >= thresholds.alert_ratio
    made.append(Alarm("alert", "alert rate", period, None, ratio, found["alert_p"], words, large))
    return made


def outcome_figures(rows: Scored) -> dict[str, Any] | None:
    """Return calibration and discrimination of the due rows with a known outcome.

    None with fewer than ten cases or ten others. Intervals are 95%, and count the effective number
    of people, not rows.

    ``observed_expected`` is cases over the sum of risks; ``intercept`` the calibration intercept
    (the risks' log-odds as offset); ``slope`` the coefficient of the log-odds.
    """
    here = rows.due & ~np.isnan(rows.label)
    y, risk = rows.label[here] == 1, rows.risk[here]
    n, cases = len(y), int(y.sum())
    if min(cases, n - cases) < SMALL_CELL:
        return None
    inflation = n / effective(rows.persons[here])
    spread = math.sqrt(inflation * float((risk * (1 - risk)).sum()))
    expected = float(risk.sum())
    z = (cases - expected) / spread
    # On the log scale the error of the cases is that of a sum of independent outcomes.
    error = spread / cases
    ratio = cases / expected
    odds = np.log(risk / (1 - risk))
    ones, weight = np.ones((1, n)), np.ones((1, n))
    intercept = float(logistic_coefficients(ones, y, weight, odds)[0, 0])
    p0 = fitted_risk(ones, np.array([[intercept]]), odds)[0]
    intercept_error = math.sqrt(inflation / float((p0 * (1 - p0)).sum()))
    design = np.vstack([np.ones(n), odds])
    both = logistic_coefficients(design, y, weight)[0]
    p1 = fitted_risk(design, both[None, :])[0]
    information = (design * (p1 * (1 - p1))) @ design.T
    slope_error = (
        math.sqrt(inflation * float(np.linalg.inv(information)[1, 1]))
        if np.isfinite(both).all()
        else math.nan
    )
    area = auroc(y, risk)
    area_error = _auroc_error(area, cases / inflation, (n - cases) / inflation)
    return {
        "n": n,
        "cases": cases,
        "observed_expected": _three(ratio, error, log=True),
        "intercept": _three(intercept, intercept_error),
        "slope": _three(float(both[1]), slope_error),
        "auroc": _three(area, area_error),
        "z": z,
        "slope_error": slope_error,
        "auroc_error": area_error,
    }


def outcome_alarms(
    found: dict[str, Any], period: str, development: float | None, thresholds: Thresholds
) -> list[Alarm]:
    """Return the comparisons of a period's outcomes with what the risks promise."""
    ratio, slope, area = (found[name][0] for name in ("observed_expected", "slope", "auroc"))
    counts = f"{found['cases']} cases in {found['n']} rows"
    factor = max(ratio, 1 / ratio)
    made = [
        Alarm(
            "calibration", "observed over expected", period, None, ratio, two_sided(found["z"]),
            f"{ratio:.2f} times as many cases as predicted ({counts})",
            factor >= thresholds.observed_expected,
        )
    ]  # fmt: skip
    if math.isfinite(found["slope_error"]) and found["slope_error"] > 0:
        made.append(
            Alarm(
                "calibration", "slope", period, None, slope - 1,
                two_sided((slope - 1) / found["slope_error"]),
                f"calibration slope {slope:.2f} ({counts})", abs(slope - 1) >= thresholds.slope,
            )
        )  # fmt: skip
    if development is not None:
        fall = development - area
        p = two_sided(fall / found["auroc_error"]) / 2 if fall > 0 else 1.0
        made.append(
            Alarm(
                "discrimination", "AUROC", period, None, fall, p,
                f"AUROC {area:.3f}, {development:.3f} in development ({counts})",
                fall >= thresholds.auroc,
            )
        )  # fmt: skip
    return made


def _auroc_error(area: float, cases: float, others: float) -> float:
    """Return the standard error of an AUROC (Hanley & McNeil, Radiology 1982;143:29-36)."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (cases - 1) * (q1 - area**2) + (others - 1) * (q2 - area**2)
    return math.sqrt(max(variance, 1e-12) / (cases * others))


def _three(value: float, error: float, *, log: bool = False) -> tuple[float, float, float]:
    if log:
        factor = math.exp(_Z95 * error)
        return value, value / factor, value * factor
    return value, value - _Z95 * error, value + _Z95 * error


def _ratio(one: float, other: float) -> float:
    """Return a ratio of two shares, a share of nothing counted as one in ten thousand."""
    return max(one, 1e-4) / max(other, 1e-4)
