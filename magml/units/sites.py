"""Sites compared with each other: a unit that is wrong moves a site's median by a known factor.

The usual range of an analyte tells factors of two or more apart, and misses magnesium in mg/dL
that is labelled mEq/L (a factor of 1.215) where the site's median is on the low side. Hospitals
differ less from each other than the usual range is wide; so each site's converted median is
compared with the others'. Two explanations compete: the unit is right and the patients differ, or
the values are in another unit that fits them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from magml.definitions.catalogue import Concept
from magml.units.conversion import conversion

if TYPE_CHECKING:
    from magml.units.check import Finding

#: The usual range of medians is taken for three standard deviations to either side.
USUAL_DEVIATIONS = 6.0
#: That range counts as much as so many sites do; the more sites, the more their own spread counts.
PRIOR_SITES = 4
#: One site's deviation counts for at most so many standard deviations: it may be the wrong one.
_CLIPPED = 2.0
#: A site whose median deviates by less than this many standard deviations is left alone.
DOUBTFUL = 2.0
#: From here on a deviation that another unit explains is refused; between the two it is doubtful.
REFUSED = 3.0
#: Fewer groups to compare with, or from fewer sites, never refuse: either side could be wrong.
MINIMUM_GROUPS, MINIMUM_SITES = 3, 2
#: Standard error of a median over that of a mean, for a normal distribution, as variances.
_MEDIAN_VARIANCE = math.pi / 2
#: An interquartile range in standard deviations of a normal distribution.
_IQR = 1.349


@dataclass(frozen=True)
class _Point:
    """A group's converted median on the log scale, and the variance of its sampling."""

    index: int
    site: str
    log_median: float
    variance: float
    deviation: float
    judged: bool
    alternatives: tuple[tuple[str, float], ...]


def compare_sites(
    findings: Sequence[Finding], concepts: Mapping[str, Concept], fitting: Mapping[int, Iterable]
) -> tuple[Finding, ...]:
    """Refuse or doubt a site's unit where the other sites' medians speak for another one.

    With r the log ratio of a site's converted median to the median of the other groups', s its
    standard deviation (case mix, from the analyte's usual range and the spread of the other
    sites, and sampling), and k the log factor of another unit in which the values are about
    usual too: ``doubtful`` if r is 2 s or more from 0 and nearer to k; ``refused`` if r is 3 s or
    more from 0 and within 2 s of k, compared with three or more groups of two or more other
    sites. The most deviant is taken out first.

    Parameters
    ----------
    findings
        What each group says by itself.
    concepts
        Concepts by ``domain.concept``.
    fitting
        By position in `findings`, the units in which the values would be about usual.

    Returns
    -------
    tuple of Finding
        The same findings, with `others` (the other sites' median) and perhaps another status.
    """
    result = list(findings)
    for name in dict.fromkeys(f.group.concept for f in findings):
        points = [
            point
            for index, finding in enumerate(findings)
            if finding.group.concept == name
            and (point := _point(index, finding, concepts[name], fitting.get(index, ())))
        ]
        _judge(points, result)
    return tuple(result)


def _point(index: int, finding: Finding, concept: Concept, fitting: Iterable[str]) -> _Point | None:
    """Return a group on the log scale, or None where it cannot be compared."""
    group, usual = finding.group, concept.usual
    concept = concept.for_code(group.code)
    if group.site is None or usual is None or usual.median[0] <= 0 or finding.unit is None:
        return None
    if finding.status not in ("ok", "unusual", "doubtful", "inferred") or not finding.median:
        return None
    scale, shift = conversion(finding.unit, concept)
    if shift or group.median <= 0:
        return None
    people = group.people if group.people is not None else group.n
    spread = group.iqr / _IQR / group.median
    others = []
    for unit in fitting:
        other, moved = conversion(unit, concept)
        if not moved and not math.isclose(other, scale, rel_tol=1e-6):
            others.append((unit, math.log(scale / other)))
    return _Point(
        index,
        group.site,
        math.log(group.median * scale),
        _MEDIAN_VARIANCE * spread**2 / max(1, people),
        math.log(usual.median[1] / usual.median[0]) / USUAL_DEVIATIONS,
        finding.status != "inferred",
        tuple(others),
    )


def _judge(points: list[_Point], result: list[Finding]) -> None:
    """Set status and the others' median, taking the most deviant group out until none is."""
    active = list(points)
    while True:
        verdicts = [(point, _verdict(point, active)) for point in active]
        refused = [
            (abs(verdict.deviation), point, verdict)
            for point, verdict in verdicts
            if verdict and verdict.status == "refused"
        ]
        if not refused:
            break
        _, worst, why = max(refused, key=lambda item: item[0])
        result[worst.index] = _with(result[worst.index], why)
        active = [point for point in active if point is not worst]
    for point, verdict in verdicts:
        if verdict is not None:
            result[point.index] = _with(result[point.index], verdict)


@dataclass(frozen=True)
class _Verdict:
    status: str | None
    units: tuple[str, ...]
    others: float
    deviation: float


def _verdict(point: _Point, active: list[_Point]) -> _Verdict | None:
    """Compare one group with the others; None where there is nothing to compare with."""
    others = [other for other in active if other is not point]
    sites = {other.site for other in others} - {point.site}
    if not sites:
        return None
    middle = median(other.log_median for other in others)
    case_mix = _case_mix(point, others, middle)
    # Groups of one site share its patients, so that sites count, not groups.
    shared = (case_mix + median(other.variance for other in others)) / len(sites)
    if len(sites) > 2:
        shared *= _MEDIAN_VARIANCE
    error = math.sqrt(case_mix + point.variance + shared)
    ratio = point.log_median - middle
    status: str | None = None
    units: tuple[str, ...] = ()
    if point.judged and abs(ratio) >= DOUBTFUL * error:
        near = [(abs(ratio - k), unit) for unit, k in point.alternatives]
        nearer = tuple(unit for distance, unit in sorted(near) if distance < abs(ratio))
        if nearer:
            enough = len(others) >= MINIMUM_GROUPS and len(sites) >= MINIMUM_SITES
            sure = abs(ratio) >= REFUSED * error and min(near)[0] <= DOUBTFUL * error
            status, units = ("refused" if enough and sure else "doubtful"), nearer
    return _Verdict(status, units, math.exp(middle), ratio / error)


def _case_mix(point: _Point, others: list[_Point], middle: float) -> float:
    """Return the variance of log medians between sites, from the usual range and the sites."""
    usual = point.deviation
    by_site: dict[str, list[float]] = {}
    for other in others:
        by_site.setdefault(other.site, []).append(other.log_median - middle)
    spread = sum(min(abs(sum(own) / len(own)), _CLIPPED * usual) ** 2 for own in by_site.values())
    return (PRIOR_SITES * usual**2 + spread) / (PRIOR_SITES + len(by_site) - 1)


def _with(finding: Finding, found: _Verdict) -> Finding:
    """Return a finding with what the comparison says."""
    if found.status is None:
        return replace(finding, others=found.others)
    return replace(
        finding,
        status=found.status,  # type: ignore[arg-type]
        fitting=found.units,
        others=found.others,
    )
