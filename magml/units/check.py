"""The check that a unit fits the values it stands beside, per code, unit and site.

A wrong unit moves the median of an analyte by a factor that no population does. Each analyte
states where the median and the spread of its values usually lie (`usual` in the catalogue). A
group whose converted values lie elsewhere is refused when another unit would explain them, or
when no population could have them; a merely unusual one is reported. Where no unit was declared,
one is inferred only if it alone can be right. Sites are then compared with each other
(`magml.units.sites`), which finds smaller factors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from magml.definitions.catalogue import Concept, Usual
from magml.errors import UnitError
from magml.units.conversion import canonical_unit, conversion, convertible
from magml.units.sites import compare_sites
from magml.units.spellings import canonical_or_none, unit_table

#: Fewer values than this say too little about a unit.
MINIMUM_VALUES = 30
#: So do the values of fewer people: one jaundiced patient has many high bilirubins.
MINIMUM_PEOPLE = 20
#: A median that misses the usual range by this factor is refused whatever the unit.
FAR_FACTOR = 1.5
#: One that misses it by no more than this is doubtful, not refused: 1.7 mg/dL of magnesium is
#: 0.6994 mmol/L, and 0.70 in every table of equivalents.
NEAR_FACTOR = 1.005
#: When a unit is inferred, every other one must miss the usual range by this factor too.
ABSTAIN_FACTOR = 1.15

Status = Literal[
    "ok",
    "unusual",
    "unchecked",
    "too few",
    "doubtful",
    "refused",
    "unknown",
    "inferred",
    "abstained",
]
#: Units with the scale and shift that bring a value to the concept's own.
_Scales = tuple[tuple[str, float, float], ...]


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
        people to tell. ``doubtful``: the other sites' medians speak for another unit, not surely,
        or the median lies on the edge of the usual range and another unit would fit it better;
        the values are used as declared. ``refused``: the unit is known and cannot be right.
        ``unknown``: the unit is unknown or of another quantity. ``inferred``: no unit was
        declared and one alone fits. ``abstained``: no unit was declared and none, or more than
        one, fits.
    unit
        Canonical unit to convert from: the declared or the inferred one; None when there is none.
    median
        Median in the concept's unit, when the unit converts.
    fitting
        Canonical units in which the values would be usual.
    others
        Median of the other sites' medians, in the concept's unit, where they were compared.
    """

    group: UnitGroup
    status: Status
    unit: str | None
    median: float | None
    fitting: tuple[str, ...] = ()
    others: float | None = None

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

    @property
    def doubtful(self) -> tuple[Finding, ...]:
        """Groups whose unit other sites or the range make doubtful; they are used as declared."""
        return tuple(f for f in self.findings if f.status == "doubtful")

    def unfit(self, *, missing: bool = False, doubtful: bool = False) -> tuple[Finding, ...]:
        """Return the refused groups, by site where sites are to blame.

        Optionally those without a unit that cannot be told, and the doubtful.
        """
        wrong = self.refused + (self.abstained if missing else ())
        wrong += self.doubtful if doubtful else ()
        blamed = {_place(f) for f in wrong if f.group.site is not None}
        return tuple(f for f in wrong if f.group.site is not None or _place(f) not in blamed)

    def raise_for_refused(self, *, missing: bool = False) -> None:
        """Raise if any group was refused.

        Parameters
        ----------
        missing
            Whether a group without a unit that cannot be told is an error too.

        Raises
        ------
        UnitError
            Naming for every such group code, unit, site, number of values, median, the usual
            range or the other sites' median, and the units that would fit.
        """
        from magml.units.describe import describe

        wrong = self.unfit(missing=missing)
        if wrong:
            raise UnitError(*describe(wrong, self.concepts))


def _place(finding: Finding) -> tuple[str, str, str | None]:
    """Return what a finding is about, whatever the site."""
    return finding.group.concept, finding.group.code, finding.group.unit


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
    # Worked out once for a concept and code: there may be thousands of groups.
    own = {(g.concept, g.code): used[g.concept].for_code(g.code) for g in listed}
    scales = {pair: _scales(concept) for pair, concept in own.items()}
    pairs = [(g.concept, g.code) for g in listed]
    findings = tuple(_find(g, own[p], scales[p]) for g, p in zip(listed, pairs, strict=True))
    fitting = {
        index: _fitting(f.group, own[p], scales[p], ABSTAIN_FACTOR)
        for index, (f, p) in enumerate(zip(findings, pairs, strict=True))
        if f.group.site is not None and f.status in ("ok", "unusual", "doubtful")
    }
    return UnitReport(compare_sites(findings, used, fitting), used)


def _find(group: UnitGroup, concept: Concept, scales: _Scales) -> Finding:
    """Judge one group."""
    if concept.unit is None:
        return Finding(group, "unchecked", None, group.median)
    declared = _declared(group.unit, concept)
    if declared is None:
        if group.few:
            return Finding(group, "too few", None, None)
        if group.unit is not None and group.unit.strip():
            return Finding(group, "unknown", None, None, _fitting(group, concept, scales))
        return _inferred(group, concept, scales)
    scale, shift = conversion(declared, concept)
    median = group.median * scale + shift
    if concept.usual is None:
        return Finding(group, "unchecked", declared, median)
    if group.few:
        return Finding(group, "too few", declared, median)
    spread = group.iqr * scale
    if _median_fits(concept.usual, median) and _spread_fits(concept.usual, spread):
        return Finding(group, "ok", declared, median)
    fitting = _fitting(group, concept, scales)
    if (
        fitting
        and _median_fits(concept.usual, median, NEAR_FACTOR)
        and _spread_fits(concept.usual, spread)
    ):
        return Finding(group, "doubtful", declared, median, fitting)
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


def _inferred(group: UnitGroup, concept: Concept, scales: _Scales) -> Finding:
    """Infer a missing unit if one alone can be right."""
    fitting = _fitting(group, concept, scales)
    if len(fitting) != 1 or len(_fitting(group, concept, scales, ABSTAIN_FACTOR)) != 1:
        return Finding(group, "abstained", None, None, fitting)
    scale, shift = conversion(fitting[0], concept)
    return Finding(group, "inferred", fitting[0], group.median * scale + shift, fitting)


def _scales(concept: Concept) -> _Scales:
    """Return scale and shift of every unit worth trying for a concept, equal ones once."""
    if concept.usual is None or concept.unit is None:
        return ()
    own = canonical_unit(concept.unit)
    found: dict[tuple[float, float], tuple[str, float, float]] = {}
    for unit in dict.fromkeys((own, *unit_table().candidates)):
        if convertible(unit, concept):
            scale, shift = conversion(unit, concept)
            key = float(f"{scale:.9g}"), float(f"{shift:.9g}")
            found.setdefault(key, (unit, scale, shift))
    return tuple(found.values())


def _fitting(
    group: UnitGroup, concept: Concept, scales: _Scales, factor: float = 1.0
) -> tuple[str, ...]:
    """Return the units in which the values would be usual."""
    usual = concept.usual
    if usual is None:
        return ()
    return tuple(
        unit
        for unit, scale, shift in scales
        if _median_fits(usual, group.median * scale + shift, factor)
        and _spread_fits(usual, group.iqr * scale, factor)
    )


def _median_fits(usual: Usual, median: float, factor: float = 1.0) -> bool:
    """Return whether a median is usual, the bounds widened by a factor."""
    low, high = usual.median
    return low / factor <= median <= high * factor


def _spread_fits(usual: Usual, iqr: float, factor: float = 1.0) -> bool:
    """Return whether an interquartile range is usual, the bounds widened by a factor."""
    return usual.iqr is None or usual.iqr[0] / factor <= iqr <= usual.iqr[1] * factor
