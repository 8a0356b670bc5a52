"""How far readers agree with each other, and how the risk turned out in those they reviewed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from magml.errors import InputError
from magml.review.entry import Review

_Z = NormalDist().inv_cdf(0.975)
#: Verdicts that kappa is computed over; "cannot judge" is counted and left out.
JUDGED = ("agree", "disagree")


@dataclass(frozen=True)
class Share:
    """A share with its 95% interval (Wilson); None where there is nothing to share."""

    count: int
    of: int
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Kappa:
    """Cohen's kappa of two readers.

    Attributes
    ----------
    table
        Counts, rows the first reader's verdicts, columns the second's.
    n
        Pages that both judged.
    observed, expected
        Shares of agreement: seen, and expected by chance.
    value
        Kappa; None where it is not defined (nothing judged, or one and the same verdict always).
    error
        Its large-sample standard error (Fleiss, Cohen and Everitt 1969); None where it cannot be
        estimated: a table without any disagreement has none, and no interval either.
    low, high
        95% interval.
    """

    table: tuple[tuple[int, ...], ...]
    n: int
    observed: float | None
    expected: float | None
    value: float | None
    error: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Pair:
    """Two readers, their kappa, and pages on which either could not judge."""

    first: str
    second: str
    kappa: Kappa
    left_out: int


@dataclass(frozen=True)
class Agreement:
    """Agreement between readers.

    Attributes
    ----------
    together
        Over all pages with two readers: who signed first against who signed second.
    pairs
        By pair of readers.
    """

    together: Pair
    pairs: tuple[Pair, ...]


def share(count: int, of: int) -> Share:
    """Return a share with Wilson's interval.

    Examples
    --------
    >>> share(0, 10).high.__round__(4), share(0, 0).value
    (0.2775, None)
    """
    if of == 0:
        return Share(count, of, None, None, None)
    p, z2 = count / of, _Z * _Z
    middle = (p + z2 / (2 * of)) / (1 + z2 / of)
    half = _Z / (1 + z2 / of) * math.sqrt(p * (1 - p) / of + z2 / (4 * of * of))
    return Share(count, of, p, max(0.0, middle - half), min(1.0, middle + half))


def cohen_kappa(table: ArrayLike) -> Kappa:
    """Return Cohen's kappa of a table of counts.

    Parameters
    ----------
    table
        Counts, shape (k, k).

    Returns
    -------
    Kappa

    Raises
    ------
    InputError
        If the table is not square.

    Examples
    --------
    >>> round(cohen_kappa([[20, 5], [10, 15]]).value, 3)
    0.4
    """
    counts: NDArray[np.int64] = np.asarray(table, dtype=np.int64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise InputError(f"a table of shape {counts.shape}", "as many rows as columns")
    plain = tuple(tuple(int(count) for count in line) for line in counts)
    n = int(counts.sum())
    if n == 0:
        return Kappa(plain, 0, None, None, None, None, None, None)
    p = counts / n
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    observed, expected = float(np.trace(p)), float(rows @ columns)
    if counts.sum(axis=1).max() == n and counts.sum(axis=0).max() == n and observed == 1:
        return Kappa(plain, n, observed, expected, None, None, None, None)
    kappa = (observed - expected) / (1 - expected)
    # Fleiss, Cohen, Everitt. Psychol Bull 1969;72:323-7, the variance under agreement as seen.
    diagonal = np.diag(p) @ (1 - (rows + columns) * (1 - kappa)) ** 2
    off = p * (columns[:, None] + rows[None, :]) ** 2
    rest = (1 - kappa) ** 2 * (off.sum() - np.trace(off))
    last = (kappa - expected * (1 - kappa)) ** 2
    variance = float(diagonal + rest - last) / ((1 - expected) ** 2 * n)
    error = math.sqrt(variance) if variance > 1e-12 else None
    if error is None:
        return Kappa(plain, n, observed, expected, kappa, None, None, None)
    low, high = max(-1.0, kappa - _Z * error), min(1.0, kappa + _Z * error)
    return Kappa(plain, n, observed, expected, kappa, error, low, high)


def agreement(reviews: Sequence[Review]) -> Agreement:
    """Return the agreement of readers who judged the same pages blind.

    Parameters
    ----------
    reviews
        Reviews in the order of signing. Those that are not blind are left out: who knew another's
        judgement does not confirm it.
    """
    pages: dict[str, list[Review]] = {}
    for review in reviews:
        if review.blind:
            pages.setdefault(review.page, []).append(review)
    twice = [(found[0], found[1]) for found in pages.values() if len(found) > 1]
    pairs: dict[tuple[str, str], list[tuple[Review, Review]]] = {}
    for found in pages.values():
        for one, other in combinations(sorted(found, key=lambda review: review.reviewer), 2):
            pairs.setdefault((one.reviewer, other.reviewer), []).append((one, other))
    return Agreement(
        _pair("first reader", "second reader", twice),
        tuple(_pair(*names, both) for names, both in sorted(pairs.items())),
    )


def _pair(first: str, second: str, both: Sequence[tuple[Review, Review]]) -> Pair:
    table = np.zeros((len(JUDGED), len(JUDGED)), dtype=np.int64)
    left_out = 0
    for one, other in both:
        verdicts = one.judgement.overall, other.judgement.overall
        if all(verdict in JUDGED for verdict in verdicts):
            table[JUDGED.index(verdicts[0]), JUDGED.index(verdicts[1])] += 1
        else:
            left_out += 1
    return Pair(first, second, cohen_kappa(table), left_out)


@dataclass(frozen=True)
class CalibrationRow:
    """The reviewed of one band: how high their risks are, and how they turned out.

    Attributes
    ----------
    band
        Band of risk; the last row is all bands together.
    pages
        Pages reviewed.
    mean_risk
        Mean predicted risk; None where there are none.
    known, observed
        Pages whose outcome is known; their mean risk, and the share with the outcome.
    mean_risk_known
        Mean predicted risk of those whose outcome is known.
    too_high, about_right, too_low
        What readers said of the size of the risk.
    """

    band: str
    pages: int
    mean_risk: float | None
    known: int
    mean_risk_known: float | None
    observed: Share
    too_high: int
    about_right: int
    too_low: int


def reviewed_calibration(
    reviews: Sequence[Review],
    bands: Sequence[str],
    outcomes: dict[str, bool],
) -> tuple[CalibrationRow, ...]:
    """Return by band how the reviewed risks compare with outcomes and with readers' opinion.

    Parameters
    ----------
    reviews
        Reviews; of each reader and page the latest counts.
    bands
        Bands in order.
    outcomes
        Known outcomes by page.

    Examples
    --------
    >>> reviewed_calibration([], ["low"], {})[0].pages
    0
    """
    current = list({(review.page, review.reviewer): review for review in reviews}.values())
    found = [
        _calibration(band, [one for one in current if one.prediction["band"] == band], outcomes)
        for band in bands
    ]
    return (*found, _calibration("all", current, outcomes))


def _calibration(band: str, reviews: Sequence[Review], outcomes: dict[str, bool]) -> CalibrationRow:
    risks = {review.page: float(review.prediction["risk"]) for review in reviews}
    known = [page for page in risks if page in outcomes]
    sizes = [review.judgement.size for review in reviews]
    return CalibrationRow(
        band,
        len(risks),
        _mean(list(risks.values())),
        len(known),
        _mean([risks[page] for page in known]),
        share(sum(outcomes[page] for page in known), len(known)),
        sizes.count("too high"),
        sizes.count("about right"),
        sizes.count("too low"),
    )


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
