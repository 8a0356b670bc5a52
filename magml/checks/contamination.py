"""Samples that look contaminated by the anticoagulant of another tube."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from magml.checks.mapping import Mapped
from magml.checks.report import Finding, Item
from magml.checks.unit_lines import measured
from magml.features.arrow import to_arrow
from magml.features.formulas import EDTA, GAP, LOW_CALCIUM, SODIUM

if TYPE_CHECKING:
    from magml.events.table import Events

_CALCIUM = "lab.calcium"
_CONCEPTS = (_CALCIUM, "lab.potassium", "lab.sodium", "lab.chloride", "lab.magnesium")


def contamination_findings(events: Events, mapped: Mapped) -> Iterable[Finding]:
    """Yield samples with the pattern of potassium EDTA or of sodium citrate.

    The limits are those of the derived features ``lab.edta_pattern`` and ``lab.citrate_pattern``;
    a sample is what was drawn of one person at one moment.
    """
    rows = [
        (group.code, group.unit, entry.scale, entry.shift, _CONCEPTS.index(name))
        for group, entry, name in measured(mapped)
        if entry.used and name in _CONCEPTS
    ]
    if not any(row[4] == 0 for row in rows):
        return
    samples, edta, edta_low, citrate, citrate_low = _count(events, rows)
    for kind, title, count, with_magnesium in (
        ("edta_pattern", "potassium EDTA", edta, edta_low),
        ("citrate_pattern", "sodium citrate", citrate, citrate_low),
    ):
        if count:
            yield Finding(
                kind,
                "warning",
                f"samples that look contaminated with {title}",
                count,
                samples,
                "samples with calcium",
                "Their magnesium and calcium read low; a case of the outcome may be the tube's.",
                "ask the laboratory whether such samples are held back; leave these out at the "
                "source if they are not",
                concepts=_CONCEPTS,
                items=(Item("with a magnesium value", with_magnesium),),
            )


def _count(events: Events, rows: list[tuple[str, str, float, float, int]]) -> tuple[int, ...]:
    """Count samples with calcium; by pattern, samples, and those with magnesium among them."""
    connection, table = events.connection, f"{events.relation}_salts"
    connection.register(
        table,
        to_arrow(
            {
                "code": [row[0] for row in rows],
                "unit": [row[1] for row in rows],
                "scale": np.array([row[2] for row in rows], dtype=np.float64),
                "shift": np.array([row[3] for row in rows], dtype=np.float64),
                "salt": np.array([row[4] for row in rows], dtype=np.int64),
            }
        ),
    )
    values = f"""
        SELECT e.subject_id, e.time, r.salt, e.numeric_value * r.scale + r.shift AS value
        FROM {events.relation} e JOIN {table} r
          ON e.code = r.code AND coalesce(e.unit, '') = r.unit
        WHERE e.numeric_value BETWEEN -1.7e308 AND 1.7e308 AND e.time IS NOT NULL"""
    try:
        samples = connection.execute(
            f"SELECT count(*) FROM (SELECT DISTINCT subject_id, time FROM ({values} AND salt = 0))"
        ).fetchall()[0][0]
        found = connection.execute(f"""
            WITH low AS (SELECT DISTINCT subject_id, time FROM ({values} AND salt = 0)
                         WHERE value <= {LOW_CALCIUM!r} + 1e-9),
            whole AS (
                SELECT max(value) FILTER (salt = 1) AS potassium,
                       max(value) FILTER (salt = 2) AS sodium,
                       min(value) FILTER (salt = 3) AS chloride,
                       count(*) FILTER (salt = 4) > 0 AS magnesium
                FROM ({values}) v JOIN low USING (subject_id, time)
                GROUP BY subject_id, time)
            SELECT count(*) FILTER (edta), count(*) FILTER (edta AND magnesium),
                   count(*) FILTER (citrate), count(*) FILTER (citrate AND magnesium)
            FROM (SELECT *, potassium >= {EDTA!r} - 1e-9 AS edta,
                         sodium >= {SODIUM!r} - 1e-9 AND sodium - chloride >= {GAP!r} - 1e-9
                             AS citrate FROM whole)
        """).fetchall()[0]
    finally:
        connection.unregister(table)
    return (samples, *found)
