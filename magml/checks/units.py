"""Units: missing, unknown, mixed, and not fitting the values beside them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from magml.checks.features import features_of
from magml.checks.mapping import Mapped
from magml.checks.report import Finding, Item, Severity, UnitLine
from magml.features.arrow import to_arrow
from magml.features.concepts import Entry, Group
from magml.features.unit_groups import report_groups, undoubted_units
from magml.units.spellings import canonical_or_none

if TYPE_CHECKING:
    from magml.events.table import Events
    from magml.units import UnitReport

#: With more values than this, medians are those of a share of the people.
MOST_VALUES = 4_000_000
_SHOWN = 12


def check_event_units(
    events: Events, mapped: Mapped
) -> tuple[list[Finding], tuple[UnitLine, ...], Mapped]:
    """Check the units of all analytes, and count values outside their plausible range.

    Returns
    -------
    tuple
        Findings; a line for each concept, code and unit, and for each site where something is
        wrong; and the mapping with the units that training would infer.
    """
    report = report_groups(mapped.plan, events, mapped.entries, MOST_VALUES)
    mapped = mapped.with_assumed(undoubted_units(report))
    implausible = _implausible(events, mapped)
    lines = _lines(mapped, report, implausible)
    findings = [
        *_unfit(mapped, lines),
        *_unknown(mapped),
        *_missing(mapped),
        *_mixed(mapped, report),
        *_impossible(mapped, implausible),
    ]
    return findings, lines, mapped


def _measured(mapped: Mapped) -> Iterable[tuple[Group, Entry, str]]:
    """Return the values that are numbers of a concept with a unit."""
    for group, found in mapped.entries:
        for entry in found:
            concept = mapped.plan.concepts[entry.concept_id]
            if concept.definition.kind == "measurement" and entry.value is None and group.values:
                yield group, entry, concept.name


def _implausible(events: Events, mapped: Mapped) -> dict[tuple[str, str, str], int]:
    """Count values outside the plausible range by concept, code and unit."""
    rows = [
        (group.code, group.unit, (entry.low - entry.shift) / entry.scale,
         (entry.high - entry.shift) / entry.scale, name)
        for group, entry, name in _measured(mapped)
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


def _lines(
    mapped: Mapped, report: UnitReport, implausible: dict[tuple[str, str, str], int]
) -> tuple[UnitLine, ...]:
    """Return what is said of each concept, code and unit, and of sites where it is amiss."""
    lines, judged = [], set()
    for finding in report.findings:
        group = finding.group
        if group.site is not None and finding.status in ("ok", "too few", "unchecked", "inferred"):
            continue
        key = (group.concept, group.code, group.unit or "")
        judged.add(key)
        lines.append(
            UnitLine(
                concept=group.concept,
                code=group.code,
                unit=group.unit,
                site=group.site,
                values=group.n,
                median=group.median,
                status=finding.status,
                fitting=finding.fitting,
                implausible=implausible.get(key, 0) if group.site is None else None,
            )
        )
    for measured, entry, name in _measured(mapped):
        key = (name, measured.code, measured.unit)
        if key not in judged:
            lines.append(
                UnitLine(
                    concept=name,
                    code=measured.code,
                    unit=measured.unit or None,
                    site=None,
                    values=measured.values,
                    median=None,
                    status=entry.reason or "unchecked",
                    implausible=implausible.get(key, 0),
                )
            )
    return tuple(sorted(lines, key=lambda x: (x.concept, x.code, x.unit or "", x.site or "")))


def _unfit(mapped: Mapped, lines: tuple[UnitLine, ...]) -> Iterable[Finding]:
    """Units that the values contradict, and values that are merely unusual."""
    kinds: tuple[tuple[str, Severity, str, str, str], ...] = (
        (
            "unit_refused",
            "error",
            "units that the values beside them contradict",
            "Training stops at these values; a threshold would be compared in the wrong unit.",
            "declare the right unit at the source (option units, or the mapping)",
        ),
        (
            "unit_unusual",
            "warning",
            "values that lie unusually for their unit, and for every other",
            "They are used as declared; if the unit is wrong, so are the features.",
            "look at these values; other assays and other patients explain some of it",
        ),
    )
    for kind, severity, title, cost, action in kinds:
        status = kind.removeprefix("unit_")
        wrong = [line for line in lines if line.status == status]
        if not wrong:
            continue
        overall = {(x.concept, x.code, x.unit) for x in wrong if x.site is None}
        # A site's values are among those of all sites: they count once.
        counted = [x for x in wrong if x.site is None or (x.concept, x.code, x.unit) not in overall]
        concepts = tuple(dict.fromkeys(line.concept for line in wrong))
        yield Finding(
            kind,
            severity,
            title,
            sum(line.values for line in counted),
            sum(group.values for group, _, name in _measured(mapped) if name in concepts),
            "values",
            cost,
            action,
            concepts,
            features_of(mapped.catalogue, concepts),
            tuple(_unit_item(line) for line in wrong[:_SHOWN]),
            approximate=False,
        )


def _unit_item(line: UnitLine) -> Item:
    where = f" at site {line.site}" if line.site is not None else ""
    fitting = f"; the values look like {' or '.join(line.fitting)}" if line.fitting else ""
    median = "" if line.median is None else f"median {line.median:.4g}"
    return Item(
        f"{line.code} in {line.unit or 'no unit'}{where}", line.values, f"{median}{fitting}"
    )


def _by_reason(mapped: Mapped, reason: str) -> list[tuple[Group, str]]:
    rows = [(group, name) for group, entry, name in _measured(mapped) if entry.reason == reason]
    return sorted(rows, key=lambda row: -row[0].values)


def _unknown(mapped: Mapped) -> Iterable[Finding]:
    rows = _by_reason(mapped, "unknown unit")
    if rows:
        yield _rejected(
            mapped,
            rows,
            "unit_unknown",
            "error",
            "values in units that are unknown, or of another quantity",
            "Training stops; a model in use leaves these values out.",
            "correct the unit at the source, or add its spelling to features/units.yaml",
        )


def _missing(mapped: Mapped) -> Iterable[Finding]:
    rows = _by_reason(mapped, "no unit")
    if rows:
        yield _rejected(
            mapped,
            rows,
            "unit_missing",
            "warning",
            "values without a unit, which their size does not tell",
            "These values are left out.",
            "declare the unit at the source (option units, or the mapping)",
        )
    assumed = [(group, name) for group, e, name in _measured(mapped) if e.status == "assumed"]
    if assumed:
        yield _rejected(
            mapped,
            assumed,
            "unit_inferred",
            "info",
            "values without a unit, which only one unit explains",
            "They are used in the unit that was inferred; nothing is lost if it is right.",
            "declare the unit at the source, so that it need not be inferred",
            {group.code: f"taken as {mapped.plan.assumed[group.code]}" for group, _ in assumed},
        )


def _rejected(
    mapped: Mapped,
    rows: list[tuple[Group, str]],
    kind: str,
    severity: Severity,
    title: str,
    cost: str,
    action: str,
    notes: dict[str, str] | None = None,
) -> Finding:
    concepts = tuple(dict.fromkeys(name for _, name in rows))
    groups = {(group.code, group.unit): group for group, _ in rows}.values()
    return Finding(
        kind,
        severity,
        title,
        sum(group.values for group in groups),
        sum({(g.code, g.unit): g.values for g, _, _ in _measured(mapped)}.values()),
        "values",
        cost,
        action,
        concepts,
        features_of(mapped.catalogue, concepts),
        tuple(
            Item(
                f"{group.code} in {group.unit or 'no unit'}",
                group.values,
                (notes or {}).get(group.code, name),
            )
            for group, name in rows[:_SHOWN]
        ),
    )


def _mixed(mapped: Mapped, report: UnitReport) -> Iterable[Finding]:
    """Analytes whose values stand in more than one unit, and the sites that use several."""
    units: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for group, _, name in _measured(mapped):
        units[name][_spelling(group.unit)] += group.values
    mixed = {name: found for name, found in units.items() if len(found) > 1}
    if not mixed:
        return
    of_site: dict[tuple[str, str], set[str]] = defaultdict(set)
    for finding in report.findings:
        if finding.group.site is not None:
            place = (finding.group.concept, finding.group.site)
            of_site[place].add(_spelling(finding.group.unit))
    items = []
    for name, found in mixed.items():
        parts = sorted(found.items(), key=lambda part: (-part[1], part[0]))
        listed = ", ".join(f"{unit} {n:,}" for unit, n in parts)
        sites = sorted(site for (of, site), used in of_site.items() if of == name and len(used) > 1)
        if sites:
            more = f" and {len(sites) - 5} more" if len(sites) > 5 else ""
            listed += f"; several at once at site {', '.join(sites[:5])}{more}"
        items.append(Item(name, sum(n for _, n in parts[1:]), listed))
    items.sort(key=lambda item: (-item.count, item.name))
    yield Finding(
        "unit_mixed",
        "info",
        "analytes whose values stand in several units",
        sum(item.count for item in items),
        sum(sum(found.values()) for found in mixed.values()),
        "values",
        "Known units are converted and nothing is lost; the count is of values that are not in "
        "the commonest unit.",
        "see whether each unit belongs to a site or a device, as it should",
        tuple(mixed),
        (),
        tuple(items[:_SHOWN]),
    )


def _spelling(unit: str | None) -> str:
    """Return a unit so that two spellings of one are equal."""
    return (canonical_or_none(unit) or unit) if unit else "no unit"


def _impossible(mapped: Mapped, implausible: dict[tuple[str, str, str], int]) -> Iterable[Finding]:
    """Values outside the plausible range of their concept."""
    by_concept: dict[str, int] = defaultdict(int)
    for (name, _, _), n in implausible.items():
        by_concept[name] += n
    if not by_concept:
        return
    of: dict[str, int] = defaultdict(int)
    for group, _, name in _measured(mapped):
        of[name] += group.values
    ranked = sorted(by_concept.items(), key=lambda row: (-row[1], row[0]))

    def note(name: str) -> str:
        concept = mapped.catalogue.by_name[name]
        low, high = concept.plausible or (0.0, 0.0)
        share = by_concept[name] / of[name]
        return f"outside {low:g} to {high:g} {concept.unit}, {share:.1%} of its values"

    yield Finding(
        "value_implausible",
        "warning",
        "values that are physically implausible",
        sum(by_concept.values()),
        sum(of.values()),
        "values",
        "They are left out of every feature.",
        "many in one analyte tell of a wrong unit or a code for 'missing' such as -1 or 999",
        tuple(name for name, _ in ranked),
        (),
        tuple(Item(name, n, note(name)) for name, n in ranked[:_SHOWN]),
    )
