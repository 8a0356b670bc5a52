"""Values whose unit cannot be trusted, set aside by site on request, with an account of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from magml.events.table import SetAside, text
from magml.features.names import matches
from magml.features.unit_groups import MOST_VALUES, summaries
from magml.units import Finding, UnitGroup, UnitReport, check_units
from magml.units.describe import seen

if TYPE_CHECKING:
    from magml.definitions.catalogue import Catalogue
    from magml.events.table import Events

#: Setting sites aside changes what all sites together look like; it settles in two rounds.
_ROUNDS = 5


def unit_report(events: Events, catalogue: Catalogue, names: Iterable[str] = ()) -> UnitReport:
    """Check the units of measurements, whether or not a feature is made of them.

    Parameters
    ----------
    events
        Events; a row of ``SITE//`` tells the site of a person who has only one.
    catalogue
        Whose concepts are looked for.
    names
        Only these concepts (``lab.magnesium``); default every measurement with a unit.

    Returns
    -------
    UnitReport
        A finding for each concept, code, unit and site, and for all sites together.
    """
    wanted = frozenset(names) or frozenset(
        name
        for name, concept in catalogue.by_name.items()
        if concept.kind == "measurement" and concept.unit is not None
    )
    pairs = events.connection.execute(
        f"SELECT DISTINCT code, coalesce(unit, '') FROM {events.relation} "
        "WHERE numeric_value IS NOT NULL AND time IS NOT NULL"
    ).fetchall()
    concepts = {
        (code, unit): [
            name
            for name in matches(catalogue, code)
            if name in wanted and code not in catalogue.by_name[name].values
        ]
        for code, unit in pairs
    }
    concepts = {pair: found for pair, found in concepts.items() if found}
    groups = [
        UnitGroup(name, code, unit or None, site, n, median, iqr, people)
        for code, unit, site, n, people, median, iqr in summaries(events, concepts, MOST_VALUES)
        for name in concepts[(code, unit)]
    ]
    return check_units(groups, catalogue.by_name)


def set_aside_unfit(events: Events, catalogue: Catalogue) -> Events:
    """Return the events without values whose unit is refused, unknown, doubtful or untold.

    A site is set aside for one code and unit, not as a whole. Values of a person who was at
    several sites go with each of them: which one they come from is not recorded.

    Returns
    -------
    Events
        The same events where nothing is unfit; else with `set_aside` saying what was left out,
        and a note on each.

    Examples
    --------
    >>> import pandas as pd
    >>> import magml
    >>> from magml.definitions import read_catalogue
    >>> events = magml.read_events(pd.DataFrame({
    ...     "subject_id": range(40), "time": pd.Timestamp("2020-01-01"), "code": "LAB//magnesium",
    ...     "numeric_value": [1.9, 2.0, 2.0, 2.1] * 10, "unit": "mmol/L"}))
    >>> kept = set_aside_unfit(events, read_catalogue())
    >>> kept.count(), kept.set_aside[0].values, kept.set_aside[0].unit
    (0, 40, 'mmol/L')
    """
    aside: list[SetAside] = []
    for _ in range(_ROUNDS):
        wrong = unit_report(events, catalogue).unfit(missing=True, doubtful=True)
        if not wrong:
            break
        places = list(dict.fromkeys((f.group.code, f.group.unit, f.group.site) for f in wrong))
        found = {(f.group.code, f.group.unit, f.group.site): f for f in wrong}
        before = [_count(events, *place) for place in places]
        aside += [
            _said(found[place], catalogue, count)
            for place, count in zip(places, before, strict=True)
        ]
        events = _without(events, places, len(aside))
    if not aside:
        return events
    notes = tuple(f"set aside, {item.values:,} values: {item.reason}" for item in aside)
    return replace(events, notes=(*events.notes, *notes), set_aside=tuple(aside))


def set_aside_unstated(events: Events, catalogue: Catalogue, name: str) -> Events:
    """Return the events without values of an outcome's analyte that carry no unit.

    A feature may infer a unit from many values; an outcome compares each value as it was reported,
    so one without a unit defines nothing.

    Parameters
    ----------
    events
        Events, those with unfit units left out.
    catalogue
        Whose concept the outcome is.
    name
        The concept: ``lab.magnesium``.
    """
    found = [
        finding
        for finding in unit_report(events, catalogue, [name]).findings
        if finding.group.unit is None and finding.group.site is None
    ]
    if not found:
        return events
    concept = catalogue.by_name[name]
    places = [(finding.group.code, None, None) for finding in found]
    aside = tuple(
        SetAside(name, code, None, None, _count(events, code, None, None),
                 f"{concept.label}, {code}: no unit, and the outcome compares values as reported")
        for code, _, _ in places
    )  # fmt: skip
    kept = _without(events, list(places), len(events.set_aside) + len(aside))
    notes = tuple(f"set aside, {item.values:,} values: {item.reason}" for item in aside)
    return replace(kept, notes=(*events.notes, *notes), set_aside=(*events.set_aside, *aside))


def _said(finding: Finding, catalogue: Catalogue, count: int) -> SetAside:
    group = finding.group
    reason = seen(finding, catalogue.by_name[group.concept])
    if finding.fitting:
        reason += f"; could be {' or '.join(finding.fitting)}"
    return SetAside(group.concept, group.code, group.unit, group.site, count, reason)


def _condition(events: Events, code: str, unit: str | None, site: str | None) -> str:
    """Return SQL that is true for the values of a code and unit at a site, or everywhere."""
    where = f"e.code = {text(code)} AND coalesce(e.unit, '') = {text(unit or '')}"
    where += " AND e.numeric_value IS NOT NULL"
    if site is not None:
        where += (
            f" AND e.subject_id IN (SELECT subject_id FROM {events.relation} "
            f"WHERE code = {text('SITE//' + site)})"
        )
    return f"({where})"


def _count(events: Events, code: str, unit: str | None, site: str | None) -> int:
    sql = f"SELECT count(*) FROM {events.relation} e WHERE {_condition(events, code, unit, site)}"
    return int(events.connection.execute(sql).fetchall()[0][0])


def _without(
    events: Events, places: list[tuple[str, str | None, str | None]], number: int
) -> Events:
    """Return the events without the values of some codes, units and sites."""
    name = f"{events.relation}_less_{number}"
    left_out = " OR ".join(_condition(events, *place) for place in places)
    events.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT e.* FROM {events.relation} e "
        f"WHERE NOT ({left_out})"
    )
    return replace(events, relation=name)
