"""The codes and units of records, by period and site: what began, what ended, what is in the
wrong unit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from magml.evaluation.checks import SMALL_CELL
from magml.features.arrow import to_arrow
from magml.features.concepts import resolve

if TYPE_CHECKING:
    from magml.events import Events
    from magml.features import Plan

#: A period and a site; no site is all sites together.
Place = tuple[str, str | None]


@dataclass(frozen=True)
class CodeUse:
    """Rows of one code and unit that serve one concept.

    Attributes
    ----------
    concept
        ``domain.concept``; empty for a code that serves no concept of the plan.
    code, unit
        As recorded; an empty unit is none.
    rows, people
        Rows, and people they come from.
    median, iqr
        Of the values as recorded; None where they are no numbers or few.
    usable
        Whether the unit converts, or none is needed.
    """

    concept: str
    code: str
    unit: str
    rows: int
    people: int
    median: float | None
    iqr: float | None
    usable: bool = True


_COLUMNS = """
    code, coalesce(unit, '') AS unit, count(*) AS rows, count(DISTINCT subject_id) AS people,
    count(numeric_value) AS values, quantile_cont(numeric_value, [0.25, 0.5, 0.75]) AS q"""


def code_uses(plan: Plan, events: Events, relation: str) -> tuple[CodeUse, ...]:
    """Return codes and units of everything that is recorded of the people of a relation."""
    found = events.connection.execute(f"""
        SELECT {_COLUMNS} FROM {events.relation}
        WHERE subject_id IN (SELECT subject_id FROM {relation})
          AND (numeric_value IS NULL OR numeric_value BETWEEN -1.7e308 AND 1.7e308)
        GROUP BY ALL ORDER BY ALL""").fetchall()
    return tuple(use for row in found for use in _uses(plan, *row) if use.concept)


def uses_by_period(
    plan: Plan, events: Events, relation: str, periods: str
) -> dict[Place, tuple[CodeUse, ...]]:
    """Return the same by (period, site), and with site None for all sites together.

    Parameters
    ----------
    relation
        Prediction times; records of their people count.
    periods
        Relation with ``name``, ``since`` and ``until``: a record counts in the period in which it
        became known.
    """
    found = events.connection.execute(f"""
        {_known(events, relation, periods)}
        SELECT period, site, grouping(site) AS overall, {_COLUMNS} FROM known
        WHERE numeric_value IS NULL OR numeric_value BETWEEN -1.7e308 AND 1.7e308
        GROUP BY GROUPING SETS ((period, code, coalesce(unit, '')),
                                (period, site, code, coalesce(unit, '')))
        ORDER BY ALL""").fetchall()
    uses: dict[Place, list[CodeUse]] = defaultdict(list)
    for period, site, overall, *row in found:
        if overall or site is not None:
            uses[period, None if overall else site] += _uses(plan, *row)
    return {key: tuple(value) for key, value in uses.items()}


def people_by_period(
    uses: Mapping[Place, Sequence[CodeUse]], events: Events, relation: str, periods: str
) -> dict[Place, tuple[int, dict[str, int]]]:
    """Return by (period, site) the people with prediction times, and those with each concept."""
    pairs = sorted({(u.code, u.concept) for found in uses.values() for u in found if u.concept})
    table = to_arrow({"code": [code for code, _ in pairs], "concept": [c for _, c in pairs]})
    name = "magml_monitored_codes"
    events.connection.register(name, table)
    try:
        found = events.connection.execute(f"""
            {_known(events, relation, periods)}, present AS (
                SELECT DISTINCT r.subject_id, p.name AS period, s.site, NULL AS concept
                FROM {relation} r JOIN {periods} p
                  ON r.prediction_time >= p.since AND r.prediction_time < p.until
                LEFT JOIN sites s USING (subject_id)
                UNION ALL
                SELECT DISTINCT k.subject_id, k.period, k.site, c.concept
                FROM known k JOIN {name} c USING (code)
                SEMI JOIN (
                    SELECT r.subject_id, p.name AS period FROM {relation} r JOIN {periods} p
                      ON r.prediction_time >= p.since AND r.prediction_time < p.until) here
                  ON here.subject_id = k.subject_id AND here.period = k.period)
            SELECT period, site, grouping(site) AS overall, concept, count(DISTINCT subject_id)
            FROM present GROUP BY GROUPING SETS ((period, concept), (period, site, concept))
            ORDER BY ALL""").fetchall()
    finally:
        events.connection.unregister(name)
    people: dict[Place, tuple[int, dict[str, int]]] = {}
    counts: dict[Place, dict[str | None, int]] = defaultdict(dict)
    for period, site, overall, concept, count in found:
        if overall or site is not None:
            counts[period, None if overall else site][concept] = int(count)
    for place, by_concept in counts.items():
        named = {str(name): n for name, n in by_concept.items() if name is not None}
        people[place] = (by_concept.get(None, 0), named)
    return people


def _known(events: Events, relation: str, periods: str) -> str:
    """Return SQL of sites and of what became known in each period about people of a relation."""
    return f"""
        WITH sites AS (
            SELECT subject_id, any_value(code[7:]) AS site FROM {events.relation}
            WHERE starts_with(code, 'SITE//')
            GROUP BY subject_id HAVING count(DISTINCT code) = 1
        ), known AS (
            SELECT e.subject_id, e.code, e.unit, e.numeric_value, p.name AS period, s.site
            FROM {events.relation} e
            JOIN {periods} p ON coalesce(e.known_time, e.time) >= p.since
                            AND coalesce(e.known_time, e.time) < p.until
            LEFT JOIN sites s USING (subject_id)
            WHERE e.subject_id IN (SELECT subject_id FROM {relation})
        )"""


def _uses(
    plan: Plan, code: str, unit: str, rows: int, people: int, values: int, q: list[float] | None
) -> list[CodeUse]:
    """Return one use for each concept that a code serves, or one for none."""
    entries = resolve(plan, code, unit)
    median = iqr = None
    if q is not None and values >= SMALL_CELL and people >= SMALL_CELL:
        median, iqr = float(f"{q[1]:.7g}"), float(f"{q[2] - q[0]:.7g}")
    if not entries:
        return [CodeUse("", code, unit, rows, people, median, iqr)]
    found = []
    for entry in entries:
        concept = plan.concepts[entry.concept_id]
        measured = concept.definition.unit is not None and entry.value is None
        used = (median, iqr) if measured else (None, None)
        found.append(CodeUse(concept.name, code, unit, rows, people, *used, entry.used))
    return found
