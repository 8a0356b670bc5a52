"""What is said of the values of each analyte, code, unit and site."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from magml.checks.mapping import Mapped
from magml.checks.report import Item, UnitLine
from magml.features.arrow import to_arrow
from magml.features.concepts import Entry, Group
from magml.units import Finding, conversion

if TYPE_CHECKING:
    from magml.events.table import Events
    from magml.units import UnitReport


def measured(mapped: Mapped) -> Iterable[tuple[Group, Entry, str]]:
    """Return the values that are numbers of a concept with a unit."""
    for group, found in mapped.entries:
        for entry in found:
            concept = mapped.plan.concepts[entry.concept_id]
            if concept.definition.kind == "measurement" and entry.value is None and group.values:
                yield group, entry, concept.name


def count_implausible(events: Events, mapped: Mapped) -> dict[tuple[str, str, str], int]:
    """Count values outside the plausible range by concept, code and unit."""
    rows = [
        (group.code, group.unit, (entry.low - entry.shift) / entry.scale,
         (entry.high - entry.shift) / entry.scale, name)
        for group, entry, name in measured(mapped)
        if entry.used and mapped.catalogue.by_name[name].plausible is not None
    ]  # fmt: skip
    if not rows:
        return {}
    connection, table = events.connection, f"{events.relation}_ranges"
    connection.register(
        table,
        to_arrow(
            {
                "code": [row[0] for row in rows],
                "unit": [row[1] for row in rows],
                "low": np.array([row[2] for row in rows], dtype=np.float64),
                "high": np.array([row[3] for row in rows], dtype=np.float64),
                "number": np.arange(len(rows), dtype=np.int64),
            }
        ),
    )
    try:
        # A bound that was converted back may miss the value on it by the last bit.
        found = connection.execute(f"""
            SELECT r.number, count(*) FROM {events.relation} e JOIN {table} r
              ON e.code = r.code AND coalesce(e.unit, '') = r.unit
            WHERE e.numeric_value BETWEEN -1.7e308 AND 1.7e308
              AND (e.numeric_value < r.low - 1e-9 * abs(r.low)
                OR e.numeric_value > r.high + 1e-9 * abs(r.high))
            GROUP BY r.number""").fetchall()
    finally:
        connection.unregister(table)
    return {(rows[k][4], rows[k][0], rows[k][1]): int(n) for k, n in found}


def unit_lines(
    mapped: Mapped, report: UnitReport, implausible: dict[tuple[str, str, str], int]
) -> tuple[UnitLine, ...]:
    """Return what is said of each concept, code and unit, over all sites and at each site."""
    lines, judged = [], set()
    for finding in report.findings:
        group = finding.group
        key = (group.concept, group.code, group.unit or "")
        judged.add(key)
        lines.append(
            UnitLine(
                concept=group.concept,
                code=group.code,
                unit=group.unit,
                site=group.site,
                values=group.n,
                # A few people's median at one site says something of them.
                median=None if group.site is not None and group.few else group.median,
                status=finding.status,
                fitting=finding.fitting,
                implausible=implausible.get(key, 0) if group.site is None else None,
                people=group.people,
                taken_as=finding.unit if finding.usable else None,
                factor=_factor(mapped, finding),
                others=finding.others,
            )
        )
    for values, entry, name in measured(mapped):
        key = (name, values.code, values.unit)
        if key not in judged:
            lines.append(
                UnitLine(
                    concept=name,
                    code=values.code,
                    unit=values.unit or None,
                    site=None,
                    values=values.values,
                    median=None,
                    status=entry.reason or "unchecked",
                    implausible=implausible.get(key, 0),
                    factor=entry.scale if entry.used and not entry.shift else None,
                )
            )
    return tuple(sorted(lines, key=lambda x: (x.concept, x.code, x.unit or "", x.site or "")))


def _factor(mapped: Mapped, finding: Finding) -> float | None:
    """Return what a value is multiplied by; None where it is not used, or is shifted too."""
    if not finding.usable or finding.unit is None:
        return None
    group = finding.group
    concept = mapped.catalogue.by_name[group.concept].for_code(group.code)
    scale, shift = conversion(finding.unit, concept)
    return None if shift else scale


def unit_item(line: UnitLine) -> Item:
    """Return a line below a finding: code, unit, site, median, and what would fit."""
    where = f" at site {line.site}" if line.site is not None else ""
    parts = [] if line.median is None else [f"median {line.median:.4g}"]
    if line.others is not None and line.status in ("refused", "doubtful"):
        parts.append(f"the other sites' {line.others:.4g} in the analyte's unit")
    if line.fitting:
        could = "could be" if line.status == "abstained" else "the values look like"
        parts.append(f"{could} {' or '.join(line.fitting)}")
    return Item(f"{line.code} in {line.unit or 'no unit'}{where}", line.values, "; ".join(parts))
