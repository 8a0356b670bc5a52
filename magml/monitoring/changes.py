"""What changed in records: codes and units that began or ended, and units that cannot be right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from magml.evaluation.checks import SMALL_CELL
from magml.monitoring.alarm import Alarm
from magml.monitoring.distribution import two_samples
from magml.monitoring.records import CodeUse, Place
from magml.units import UnitGroup, check_units

if TYPE_CHECKING:
    from magml.features import Plan
    from magml.monitoring.thresholds import Thresholds

#: Codes and units of one concept.
Uses = dict[tuple[str, str], CodeUse]
#: Between them in the name of a site and period.
_OF = " in "


def code_changes(
    uses: Mapping[Place, Sequence[CodeUse]],
    expected: Sequence[CodeUse],
    thresholds: Thresholds,
) -> list[Alarm]:
    """Return how each code's and unit's share of its concept changed, with p.

    All sites together are compared with the baseline; a site, whose habits may always have been
    its own, with its first period.

    Parameters
    ----------
    uses
        What `uses_by_period` returned.
    expected
        Codes and units of the baseline.
    """
    found = []
    sites = {site for _, site in uses}
    for site in sorted(sites, key=lambda name: (name is not None, name or "")):
        if site is not None and len(sites) == 2:
            continue  # one site is all sites
        before = _by_concept(expected) if site is None else {}
        for period in sorted(name for name, where in uses if where == site):
            now = _by_concept(uses[period, site])
            unmapped = [use for use in uses[period, site] if not use.concept]
            for concept, here in now.items():
                there = before.get(concept)
                if _people(here) < thresholds.minimum_people:
                    continue
                if there is None:
                    if site is not None:
                        before[concept] = here
                    continue
                if _people(there) < thresholds.minimum_people:
                    continue
                began = partial(_began, unmapped, expected, uses, period, concept)
                found += _shares(concept, here, there, period, site, thresholds, began)
    return found


def _shares(
    concept: str,
    here: Uses,
    there: Uses,
    period: str,
    site: str | None,
    thresholds: Thresholds,
    began: Callable[[], str],
) -> list[Alarm]:
    """Compare the shares of the codes and units of one concept."""
    found = []
    total, usual = (sum(use.rows for use in part.values()) for part in (here, there))
    people = np.array([_people(there), _people(here)], dtype=float)
    for key in sorted({*here, *there}):
        share = here[key].rows / total if key in here else 0.0
        old = there[key].rows / usual if key in there else 0.0
        p = two_samples(
            np.array([old, 1 - old]) * people[0], np.array([share, 1 - share]) * people[1]
        )
        large = abs(share - old) >= thresholds.code_share
        words = ""
        if large:
            named = f"{key[0]} in {key[1]}" if key[1] else key[0]
            words = f"{named} is {share:.0%} of the rows of {concept}, {old:.0%} before"
            words += began() if share < old else ""
        found.append(Alarm("code", concept, period, site, share - old, p, words, large))
    return found


def presence_changes(
    people: Mapping[Place, tuple[int, Mapping[str, int]]],
    uses: Mapping[Place, Sequence[CodeUse]],
    expected: Sequence[CodeUse],
    thresholds: Thresholds,
) -> list[Alarm]:
    """Return how the share of people with any record of a concept changed at each site.

    Each site is compared with its own first period of enough people.
    """
    found = []
    sites = {site for _, site in people}
    for site in sorted(sites, key=lambda name: (name is not None, name or "")):
        if site is not None and len(sites) == 2:
            continue  # one site is all sites
        own = sorted(
            period
            for period, name in people
            if name == site and people[period, name][0] >= thresholds.minimum_people
        )
        for period in own[1:]:
            (then, before), (now, here) = people[own[0], site], people[period, site]
            for concept in sorted({*before, *here}):
                old, new = before.get(concept, 0), here.get(concept, 0)
                change = new / now - old / then
                p = two_samples(
                    np.array([old, then - old], float), np.array([new, now - new], float)
                )
                large = abs(change) >= thresholds.missing
                words = ""
                if large:
                    unmapped = [u for u in uses.get((period, site), ()) if not u.concept]
                    began = _began(unmapped, expected, uses, period, concept) if change < 0 else ""
                    words = f"recorded in {_part(new, now)}, {_part(old, then)} in {own[0]}{began}"
                found.append(Alarm("recorded", concept, period, site, change, p, words, large))
    return found


def unit_alarms(
    plan: Plan,
    uses: Mapping[Place, Sequence[CodeUse]],
    expected: Sequence[CodeUse],
) -> list[Alarm]:
    """Return units that do not fit their values, each site and period compared with all others.

    The rules are those of the check before training (`magml.units.check_units`): a site in a
    period is a group of its own, and the baseline is one more. There is no probability: the rule
    asks for a deviation of three standard deviations that another unit explains.
    """
    several = any(site is not None for _, site in uses)
    groups, places = [], []
    for (period, site), now in uses.items():
        if several and site is None:
            continue
        name = period if site is None else f"{site}{_OF}{period}"
        for use in now:
            if use.concept and use.median is not None and use.iqr is not None:
                groups.append(_group(use, name))
                places.append((period, site))
    for use in expected:
        if use.median is not None and use.iqr is not None:
            groups.append(_group(use, "the baseline"))
            places.append(("", None))
    report = check_units(groups, plan.catalogue.by_name)
    usual = _by_concept(expected)
    found = []
    for finding, (period, site) in zip(report.findings, places, strict=True):
        group = finding.group
        if not period or finding.status not in ("refused", "unknown"):
            continue
        old = usual.get(group.concept, {}).get((group.code, group.unit or ""))
        if (
            old is not None
            and finding.others is None
            and old.median is not None
            and (
                abs(np.log(group.median / old.median)) < 0.1
                if group.median > 0 < old.median
                else True
            )
        ):
            continue  # as unusual as it was in training
        likely = f"; the values look like {' or '.join(finding.fitting)}" if finding.fitting else ""
        ratio = 0.0 if old is None or not old.median else group.median / old.median
        before = "" if old is None or old.median is None else f", {old.median:.3g} before"
        words = (
            f"{group.code} in {group.unit or 'no unit'} has a median of {group.median:.3g}{before}"
            f"{likely}"
        )
        found.append(Alarm("unit", group.concept, period, site, ratio, 0.0, words, True))
    return found


def other_codes(uses: Mapping[Place, Sequence[CodeUse]], expected: Sequence[CodeUse]) -> str:
    """Return a note where most concepts stand in codes and units that the baseline never saw.

    Then the records are of another source than the baseline's, and next to everything differs.
    """
    before = _by_concept(expected)
    here = _by_concept(use for (_, site), found in uses.items() if site is None for use in found)
    both = set(here) & set(before)
    other = sum(not set(here[concept]) & set(before[concept]) for concept in both)
    if other * 2 <= len(both):
        return ""
    return (
        f"{other} of {len(both)} concepts stand in codes or units that training never saw: these "
        "records are of another source. Compare them with their own past (--reference-until) to "
        "see what changes"
    )


def _vocabulary(use: CodeUse) -> str:
    return use.code.partition("//")[0]


def _group(use: CodeUse, site: str) -> UnitGroup:
    assert use.median is not None
    assert use.iqr is not None
    return UnitGroup(
        use.concept, use.code, use.unit or None, site, use.rows, use.median, use.iqr, use.people
    )


def _by_concept(uses: Iterable[CodeUse]) -> dict[str, Uses]:
    found: dict[str, dict[tuple[str, str], CodeUse]] = defaultdict(dict)
    for use in uses:
        if use.concept:
            found[use.concept][use.code, use.unit] = use
    return found


def _people(uses: Uses) -> int:
    """Return the people of a concept: at least those of its most frequent code."""
    return max(use.people for use in uses.values())


def _part(people: int, of: int) -> str:
    """Return a share of people in words; from 1 to 9 people it is not told."""
    return "fewer than 10 people" if 0 < people < SMALL_CELL else f"{people / of:.0%} of people"


def _began(
    unmapped: Sequence[CodeUse],
    expected: Sequence[CodeUse],
    uses: Mapping[Place, Sequence[CodeUse]],
    period: str,
    concept: str,
) -> str:
    """Return unmapped codes that no earlier period has: one of them may have taken its place.

    That is a code of a vocabulary in which the concept stood before, or of a new vocabulary.
    """
    before = [use for (name, _), found in uses.items() if name < period for use in found]
    if not before:
        return ""
    before += expected
    earlier = {use.code for use in before}
    others = {_vocabulary(use) for use in before} - {
        _vocabulary(use) for use in before if use.concept == concept
    }
    new = sorted(
        (
            use
            for use in unmapped
            if use.code not in earlier
            and use.people >= SMALL_CELL
            and _vocabulary(use) not in others
        ),
        key=lambda use: -use.rows,
    )
    if not new:
        return ""
    return "; new and not mapped: " + ", ".join(f"{use.code} ({use.rows} rows)" for use in new[:3])
