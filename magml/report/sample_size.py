"""Is the sample large enough: Riley's criteria for a binary outcome.

The criteria are for regression with so many candidate parameters. For boosted trees they are an
orientation, and probably too hopeful: flexible methods may need far more cases a predictor
(van der Ploeg 2014).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from magml.errors import InputError

SOURCE = (
    "Riley RD, Ensor J, Snell KIE, et al. Calculating the sample size required for developing a "
    "clinical prediction model. BMJ 2020;368:m441. doi:10.1136/bmj.m441"
)
#: The shrinkage aimed at, the optimism in Nagelkerke's R2 and the error of the overall risk.
_SHRINKAGE, _OPTIMISM, _MARGIN = 0.9, 0.05, 0.05
_Z = 1.959963984540054


@dataclass(frozen=True)
class SampleSize:
    """The people that each criterion asks for.

    Attributes
    ----------
    shrinkage
        A uniform shrinkage of 0.9 or more.
    optimism
        At most 0.05 of optimism in Nagelkerke's R2.
    overall
        The overall risk within 0.05.
    needed
        The largest of the three.
    events
        Cases among them.
    """

    shrinkage: int
    optimism: int
    overall: int
    needed: int
    events: int


def riley_sample_size(prevalence: float, parameters: int, r2: float) -> SampleSize:
    """Return the people needed to develop a model for a binary outcome.

    Parameters
    ----------
    prevalence
        Share with the outcome, between 0 and 1.
    parameters
        Candidate predictor parameters, those tried and left out among them.
    r2
        Cox and Snell's R2 that may be expected.

    Returns
    -------
    SampleSize

    Raises
    ------
    InputError
        If an argument is outside its range.

    References
    ----------
    Riley RD et al. BMJ 2020;368:m441, criteria 1 (precise overall risk), 3 (shrinkage) and 4
    (optimism) of its figure for binary outcomes; Riley RD et al. Stat Med 2019;38:1276-96.

    Examples
    --------
    The documented example of pmsampsize:

    >>> riley_sample_size(0.174, 24, 0.288)
    SampleSize(shrinkage=623, optimism=662, overall=221, needed=662, events=116)
    """
    _check(prevalence, r2)
    if parameters < 1:
        raise InputError(f"{parameters} candidate parameters", "at least one")
    # The shrinkage at which optimism in Nagelkerke's R2 stays below the margin.
    tolerated = r2 / (r2 + _OPTIMISM * largest_r2(prevalence))
    found = (
        _people(parameters, r2, _SHRINKAGE),
        _people(parameters, r2, tolerated),
        math.ceil((_Z / _MARGIN) ** 2 * prevalence * (1 - prevalence)),
    )
    needed = max(found)
    return SampleSize(*found, needed, math.ceil(needed * prevalence))


def parameters_supported(people: int, prevalence: float, r2: float) -> int:
    """Return the most candidate parameters for which a sample meets Riley's criteria.

    Examples
    --------
    >>> parameters_supported(662, 0.174, 0.288), parameters_supported(661, 0.174, 0.288)
    (24, 23)
    """
    _check(prevalence, r2)
    if riley_sample_size(prevalence, 1, r2).overall > people:
        return 0
    tolerated = r2 / (r2 + _OPTIMISM * largest_r2(prevalence))
    each = max(_each(r2, _SHRINKAGE), _each(r2, tolerated))
    most = math.floor(people / each)
    # Rounding up to whole people may cost one.
    while most > 0 and riley_sample_size(prevalence, most, r2).needed > people:
        most -= 1
    return most


def largest_r2(prevalence: float) -> float:
    """Return the largest possible Cox and Snell R2 of a binary outcome.

    Examples
    --------
    >>> round(largest_r2(0.5), 2), round(largest_r2(0.174), 3)
    (0.75, 0.603)
    """
    null = prevalence * math.log(prevalence) + (1 - prevalence) * math.log(1 - prevalence)
    return 1 - math.exp(2 * null)


def r2_of_auroc(auroc: float, prevalence: float) -> float:
    """Return Cox and Snell's R2 of a calibrated model of a given AUROC and prevalence.

    The log-odds are taken to be normal with one variance in cases and others, which makes the
    logistic model exact; the likelihood is integrated where the reference simulates it.

    Parameters
    ----------
    auroc
        At least 0.5, below 1.
    prevalence
        Between 0 and 1.

    References
    ----------
    Riley RD, Van Calster B, Collins GS. Stat Med 2021;40:859-64.

    Examples
    --------
    >>> round(r2_of_auroc(0.5, 0.2), 6), round(r2_of_auroc(0.89, 0.174), 2)
    (0.0, 0.29)
    """
    from scipy.special import expit, log_expit
    from scipy.stats import norm

    _check(prevalence, 0.1)
    if not 0.5 <= auroc < 1:
        raise InputError(f"an AUROC of {auroc:g}", "at least 0.5 and below 1")
    distance = math.sqrt(2) * float(norm.ppf(auroc))
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    weights = weights / weights.sum()
    offset = math.log(prevalence / (1 - prevalence)) - distance**2 / 2
    cases, others = offset + distance * (nodes + distance), offset + distance * nodes
    model = prevalence * (weights @ log_expit(cases)) + (1 - prevalence) * (
        weights @ np.log(expit(-others))
    )
    null = prevalence * math.log(prevalence) + (1 - prevalence) * math.log(1 - prevalence)
    return max(0.0, 1 - math.exp(2 * (null - float(model))))


def _each(r2: float, shrinkage: float) -> float:
    """Return the people that one parameter takes for a shrinkage."""
    return 1 / ((shrinkage - 1) * math.log(1 - r2 / shrinkage))


def _people(parameters: int, r2: float, shrinkage: float) -> int:
    return math.ceil(parameters * _each(r2, shrinkage))


def _check(prevalence: float, r2: float) -> None:
    if not 0 < prevalence < 1:
        raise InputError(f"a prevalence of {prevalence:g}", "between 0 and 1")
    if not 0 < r2 < _SHRINKAGE:
        raise InputError(f"an R2 of {r2:g}", f"between 0 and {_SHRINKAGE:g}")
