"""Values of the events summarised by code, unit and site, for the check of their units."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from magml.features.arrow import to_arrow
from magml.features.concepts import Entry, Group
from magml.features.plan import Plan

if TYPE_CHECKING:
    from magml.events.table import Events
    from magml.units import UnitReport

#: Gives the rows that `summaries` gives, for the pairs of code and unit wanted.
Summarise = Callable[[Iterable[tuple[str, str]]], list[tuple[Any, ...]]]
#: With more values than this, the check looks at a share of the people.
MOST_VALUES = 20_000_000


def check_groups(
    plan: Plan,
    events: Events | None,
    entries: Iterable[tuple[Group, tuple[Entry, ...]]],
    summarise: Summarise | None = None,
) -> tuple[UnitReport, dict[str, str]]:
    """Check the units of a plan's measurements against their medians and spreads.

    Parameters
    ----------
    plan
        The plan whose concepts are mapped.
    events
        Events; a row of ``SITE//`` tells the site of a person who has only one.
    entries
        How the codes and units found map to concepts.
    summarise
        What summarises the values in place of `summaries`, as another engine does.

    Returns
    -------
    tuple
        The report, and the unit of each code whose values stand without one and leave no doubt:
        it is inferred over all sites, and no site says otherwise.

    Raises
    ------
    UnitError
        If values are not in the unit they are declared in.
    """
    report = report_groups(plan, events, entries, summarise=summarise)
    report.raise_for_refused()
    return report, undoubted_units(report)


def report_groups(
    plan: Plan,
    events: Events | None,
    entries: Iterable[tuple[Group, tuple[Entry, ...]]],
    most_values: int = MOST_VALUES,
    summarise: Summarise | None = None,
) -> UnitReport:
    """Return what `check_groups` finds, without an error for what is wrong.

    With more than `most_values` values, those of a share of the people are looked at.
    """
    from magml.units import UnitGroup, check_units

    wanted: dict[tuple[str, str], list[str]] = {}
    for group, found in entries:
        for entry in found:
            concept = plan.concepts[entry.concept_id]
            has_unit = concept.definition.unit is not None
            if has_unit and entry.value is None and group.values and entry.status != "assumed":
                wanted.setdefault((group.code, group.unit), []).append(concept.name)
    if summarise is None:
        assert events is not None  # another engine brings its own summaries
        rows: list[tuple[Any, ...]] = list(summaries(events, wanted, most_values))
    else:
        rows = summarise(wanted)
    groups = [
        UnitGroup(name, code, unit or None, site, n, median, iqr, people)
        for code, unit, site, n, people, median, iqr in rows
        for name in wanted[(code, unit)]
    ]
    return check_units(groups, plan.catalogue.by_name)


def undoubted_units(report: UnitReport) -> dict[str, str]:
    """Return the unit of each code that has none, where all sites and every site agree."""
    overall = {code: unit for (code, site), unit in report.assumed.items() if site is None}
    doubtful = {
        finding.group.code
        for finding in report.findings
        if not finding.group.unit
        and finding.status in ("inferred", "abstained")
        and finding.unit != overall.get(finding.group.code)
    }
    return {code: unit for code, unit in overall.items() if code not in doubtful}


def summaries(
    events: Events, wanted: Iterable[tuple[str, str]], most_values: int
) -> list[tuple[str, str, str | None, int, int, float, float]]:
    """Return code, unit, site (None = all), n, people, median and interquartile range."""
    pairs = sorted(wanted)
    if not pairs:
        return []
    connection = events.connection
    name = f"magml_wanted_{id(pairs)}"
    table = to_arrow({"code": [code for code, _ in pairs], "unit": [unit for _, unit in pairs]})
    connection.register(name, table)
    values = f"""
        SELECT e.subject_id, e.code, coalesce(e.unit, '') AS unit, e.numeric_value AS v
        FROM {events.relation} e JOIN {name} w
          ON e.code = w.code AND coalesce(e.unit, '') = w.unit
        WHERE e.numeric_value BETWEEN -1.7e308 AND 1.7e308"""

    def one(query: str) -> int:
        return int(connection.execute(query).fetchall()[0][0])

    try:
        # Values are counted only where there are rows enough, and sites looked at where there are
        # some: each is a pass over the events.
        total = one(f"SELECT count(*) FROM {events.relation}")
        if total > most_values:
            total = one(f"SELECT count(*) FROM ({values})")
        share = max(1, -(-total // most_values))
        sites = one(
            f"SELECT count(*) FROM (SELECT 1 FROM {events.relation} "
            "WHERE starts_with(code, 'SITE//') LIMIT 1)"
        )
        sets = "(code, unit), (code, unit, site)" if sites else "(code, unit)"
        place = "site, grouping(site)" if sites else "NULL, 1"
        sampled = f" AND hash(e.subject_id) % {share} = 0" if share > 1 else ""
        # Both kinds of summary in one pass; a person of several sites counts only overall.
        found = connection.execute(f"""
            WITH sites AS (
                SELECT subject_id, any_value(code[7:]) AS site FROM {events.relation}
                WHERE starts_with(code, 'SITE//')
                GROUP BY subject_id HAVING count(DISTINCT code) = 1
            ), v AS ({values}{sampled})
            SELECT code, unit, {place}, count(*),
                   count(DISTINCT subject_id), quantile_cont(v, [0.25, 0.5, 0.75])
            FROM v LEFT JOIN sites USING (subject_id)
            GROUP BY GROUPING SETS ({sets})
        """).fetchall()
    finally:
        connection.unregister(name)
    kept = [
        (code, unit, None if overall else site, n, people, q[1], q[2] - q[0])
        for code, unit, site, overall, n, people, q in found
        if overall or site is not None
    ]
    return sorted(kept, key=lambda row: (row[0], row[1], row[2] is not None, row[2] or ""))
