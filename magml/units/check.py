"""The check that a unit fits the values it stands beside, per code, unit and site.

A wrong unit moves the median of an analyte by a factor that no population does. Each analyte
states where the median and the spread of its values usually lie (`usual` in the catalogue). A
group whose converted values lie elsewhere is refused when another unit would explain them, or
when no population could have them; a merely unusual one is reported. Where no unit was declared,
one is inferred only if it alone can be right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from magml.definitions.catalogue import Concept, Usual
from magml.errors import UnitError
from magml.units.conversion import canonical_unit, conversion, convertible
from magml.units.spellings import canonical_or_none, unit_table

#: Fewer values than this say too little about a unit.
MINIMUM_VALUES = 30
#: So do the values of fewer people: one jaundiced patient has many high bilirubins.
MINIMUM_PEOPLE = 20
#: A median that misses the usual range by this factor is refused whatever the unit.
FAR_FACTOR = 1.5
#: When a unit is inferred, every other one must miss the usual range by this factor too.
ABSTAIN_FACTOR = 1.15

Status = Literal[
    "ok", "unusual", "unchecked", "too few", "refused", "unknown", "inferred", "abstained"
]


@dataclass(frozen=True)
class UnitGroup:
    """Values of one concept that share a code, a unit and a site.

    Attributes
    ----------
    concept
        ``domain.concept``.
    code
        Code of the events.
    unit
        Unit as written; None when there was none.
    site
        Site, or None for all sites together.
    n
        Number of values.
    median, iqr
        Of the values as written, before any conversion.
    people
        Number of people they come from; None when not counted.
    """

    concept: str
    code: str
    unit: str | None
    site: str | None
    n: int
    median: float
    iqr: float
    people: int | None = None

    @property
    def few(self) -> bool:
        """Whether the group is too small to tell a wrong unit from unusual patients."""
        return self.n < MINIMUM_VALUES or (self.people is not None and self.people < MINIMUM_PEOPLE)


@dataclass(frozen=True)
class Finding:
    """What the check says of a group.

    Attributes
    ----------
    group
        The group.
    status
        ``ok``: the unit fits. ``unusual``: the values are unusual, but no other unit explains
        them. ``unchecked``: the concept states no usual range. ``too few``: not enough values or
        people to tell. ``refused``: the unit is known and cannot be right.
        ``unknown``: the unit is unknown or of another quantity. ``inferred``: no unit was
        declared and one alone fits. ``abstained``: no unit was declared and none, or more than
        one, fits.
    unit
        Canonical unit to convert from: the declared or the inferred one; None when there is none.
    median
        Median in the concept's unit, when the unit converts.
    fitting
        Canonical units in which the values would be usual.
    """

    group: UnitGroup
    status: Status
    unit: str | None
    median: float | None
    fitting: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether the values can be converted and used."""
        return self.unit is not None and self.status not in ("refused", "unknown", "abstained")


@dataclass(frozen=True)
class UnitReport:
    """Findings of all groups, in the order given."""

    findings: tuple[Finding, ...]
    concepts: Mapping[str, Concept]

    @property
    def refused(self) -> tuple[Finding, ...]:
        """Groups whose unit cannot be right, with enough values to say so."""
        return tuple(f for f in self.findings if f.status in ("refused", "unknown"))

    @property
    def abstained(self) -> tuple[Finding, ...]:
        """Groups without a unit that cannot be told."""
        return tuple(f for f in self.findings if f.status == "abstained")

    @property
    def assumed(self) -> dict[tuple[str, str | None], str]:
        """Inferred units by (code, site)."""
        return {
            (f.group.code, f.group.site): f.unit
            for f in self.findings
            if f.status == "inferred" and f.unit is not None
        }

    def raise_for_refused(self) -> None:
        """Raise if any group was refused.

        Raises
        ------
        UnitError
            Naming code, unit, site, number of values, median, the usual range, and the units
            that would fit.
        """
        if not self.refused:
            return
        first = self.refused[0]
        more = f" ({len(self.refused) - 1} more groups like this)" if self.refused[1:] else ""
        seen, expected, action = _describe(first, self.concepts[first.group.concept])
        raise UnitError(seen + more, expected, action)


def check_units(groups: Iterable[UnitGroup], concepts: Mapping[str, Concept]) -> UnitReport:
    """Check whether units fit the values they stand beside.

    Parameters
    ----------
    groups
        Values summarised per concept, code, unit and site. Where sites are small, add a row for
        all sites together (site None).
    concepts
        Concepts by ``domain.concept`` (`Catalogue.by_name`).

    Returns
    -------
    UnitReport
        One finding for each group.

    Examples
    --------
    >>> from magml.definitions import read_catalogue
    >>> group = UnitGroup("lab.magnesium", "LAB//Mg", "mmol/L", None, 27_315, 2.0, 0.4)
    >>> report = check_units([group], read_catalogue().by_name)
    >>> report.findings[0].status, report.findings[0].fitting
    ('refused', ('mg/dL',))
    """
    listed = tuple(groups)
    used = {group.concept: concepts[group.concept] for group in listed}
    return UnitReport(tuple(_find(group, used[group.concept]) for group in listed), used)


def _find(group: UnitGroup, concept: Concept) -> Finding:
    """Judge one group."""
    if concept.unit is None:
        return Finding(group, "unchecked", None, group.median)
    declared = _declared(group.unit, concept)
    if declared is None:
        if group.few:
            return Finding(group, "too few", None, None)
        if group.unit is not None and group.unit.strip():
            return Finding(group, "unknown", None, None, _fitting(group, concept))
        return _inferred(group, concept)
    scale, shift = conversion(declared, concept)
    median = group.median * scale + shift
    if concept.usual is None:
        return Finding(group, "unchecked", declared, median)
    if group.few:
        return Finding(group, "too few", declared, median)
    spread = group.iqr * scale
    if _median_fits(concept.usual, median) and _spread_fits(concept.usual, spread):
        return Finding(group, "ok", declared, median)
    fitting = _fitting(group, concept)
    wrong = (
        bool(fitting)
        or not _median_fits(concept.usual, median, FAR_FACTOR)
        # Values in two units have an unusual median and a wide spread at once.
        or not (_median_fits(concept.usual, median) or _spread_fits(concept.usual, spread))
    )
    return Finding(group, "refused" if wrong else "unusual", declared, median, fitting)


def _declared(unit: str | None, concept: Concept) -> str | None:
    """Return the canonical unit that was declared, None when it is missing or unusable."""
    if unit is None or not unit.strip():
        return "1" if concept.unit is not None and canonical_unit(concept.unit) == "1" else None
    found = canonical_or_none(unit)
    return found if found is not None and convertible(found, concept) else None


def _inferred(group: UnitGroup, concept: Concept) -> Finding:
    """Infer a missing unit if one alone can be right."""
    fitting = _fitting(group, concept)
    if len(fitting) != 1 or len(_fitting(group, concept, ABSTAIN_FACTOR)) != 1:
        return Finding(group, "abstained", None, None, fitting)
    scale, shift = conversion(fitting[0], concept)
    return Finding(group, "inferred", fitting[0], group.median * scale + shift, fitting)


def _fitting(group: UnitGroup, concept: Concept, factor: float = 1.0) -> tuple[str, ...]:
    """Return the units in which the values would be usual, equal ones counted once."""
    if concept.usual is None or concept.unit is None:
        return ()
    own = canonical_unit(concept.unit)
    found: dict[tuple[float, float], str] = {}
    for unit in dict.fromkeys((own, *unit_table().candidates)):
        if not convertible(unit, concept):
            continue
        scale, shift = conversion(unit, concept)
        if _median_fits(concept.usual, group.median * scale + shift, factor) and _spread_fits(
            concept.usual, group.iqr * scale, factor
        ):
            found.setdefault((float(f"{scale:.9g}"), float(f"{shift:.9g}")), unit)
    return tuple(found.values())


def _median_fits(usual: Usual, median: float, factor: float = 1.0) -> bool:
    """Return whether a median is usual, the bounds widened by a factor."""
    low, high = usual.median
    return low / factor <= median <= high * factor


def _spread_fits(usual: Usual, iqr: float, factor: float = 1.0) -> bool:
    """Return whether an interquartile range is usual, the bounds widened by a factor."""
    return usual.iqr is None or usual.iqr[0] / factor <= iqr <= usual.iqr[1] * factor


def _describe(finding: Finding, concept: Concept) -> tuple[str, str, str]:
    """Return what was seen, what was expected and what to do."""
    group = finding.group
    where = f" at site {group.site}" if group.site is not None else ""
    values = f"{group.code} in {group.unit!r}{where}: the median of {group.n:,} values is "
    if finding.status == "unknown":
        seen = f"{values}{group.median:.4g}, and the unit does not convert to {concept.unit}"
    else:
        seen = f"{values}{group.median:.4g}, that is {finding.median:.4g} {concept.unit}"
    expected = f"a unit of {concept.label}"
    if concept.usual is not None:
        low, high = concept.usual.median
        expected = f"a median of {low:g} to {high:g} {concept.unit} for {concept.label}"
        if concept.usual.iqr is not None and finding.median is not None:
            scale, _ = conversion(finding.unit, concept)
            expected += (
                f" and an interquartile range of at most {concept.usual.iqr[1]:g} "
                f"(here {group.iqr * scale:.4g})"
            )
    fitting = " or ".join(finding.fitting)
    action = (
        f"the values look like {fitting}: declare that unit for this code at the source"
        if fitting
        else "find out the unit of these values and declare it at the source, or leave the code out"
    )
    return seen, expected, action
