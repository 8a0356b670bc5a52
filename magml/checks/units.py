"""Units: missing, unknown, mixed, and not fitting the values beside them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from magml.checks.features import features_of
from magml.checks.mapping import Mapped
from magml.checks.report import Finding, Item, Severity, UnitLine
from magml.checks.unit_lines import count_implausible, measured, unit_item, unit_lines
from magml.features.concepts import Group
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
        Findings; a line for each concept, code and unit, over all sites and at each site; and
        the mapping with the units that training would infer.
    """
    report = report_groups(mapped.plan, events, mapped.entries, MOST_VALUES)
    mapped = mapped.with_assumed(undoubted_units(report))
    implausible = count_implausible(events, mapped)
    lines = unit_lines(mapped, report, implausible)
    findings = [
        *_unfit(mapped, lines),
        *_unknown(mapped),
        *_missing(mapped, lines),
        *_converted(mapped, lines),
        *_mixed(mapped, report),
        *_impossible(mapped, implausible),
    ]
    return findings, lines, mapped


def _unfit(mapped: Mapped, lines: tuple[UnitLine, ...]) -> Iterable[Finding]:
    """Units that the values contradict, and values that are merely unusual."""
    kinds: tuple[tuple[str, Severity, str, str, str], ...] = (
        (
            "unit_refused",
            "error",
            "units that the values beside them contradict",
            "Training stops at these values; a threshold would be compared in the wrong unit.",
            "declare the right unit at the source (option units, or the mapping), or leave these "
            "values out, site by site, with --set-aside",
        ),
        (
            "unit_doubtful",
            "warning",
            "units that the other sites, or a median on the edge, make doubtful",
            "They are used as declared; if the unit is wrong, so are the features of these people.",
            "ask these sites in which unit they report",
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
        # Where sites are to blame, all sites together are not; each value counts once.
        blamed = {(x.concept, x.code, x.unit) for x in wrong if x.site is not None}
        wrong = [x for x in wrong if x.site or (x.concept, x.code, x.unit) not in blamed]
        concepts = tuple(dict.fromkeys(line.concept for line in wrong))
        yield Finding(
            kind,
            severity,
            title,
            sum(line.values for line in wrong),
            sum(group.values for group, _, name in measured(mapped) if name in concepts),
            "values",
            cost,
            action,
            concepts,
            features_of(mapped.catalogue, concepts),
            tuple(unit_item(line) for line in wrong[:_SHOWN]),
            approximate=False,
        )


def _by_reason(mapped: Mapped, reason: str) -> list[tuple[Group, str]]:
    rows = [(group, name) for group, entry, name in measured(mapped) if entry.reason == reason]
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


def _missing(mapped: Mapped, lines: tuple[UnitLine, ...]) -> Iterable[Finding]:
    rows = _by_reason(mapped, "no unit")
    if rows:
        at: dict[str, list[str]] = defaultdict(list)
        for line in lines:
            if line.site is not None and not line.unit and line.status != "inferred":
                at[line.code].append(line.site)
        yield _rejected(
            mapped,
            rows,
            "unit_missing",
            "warning",
            "values without a unit, which their size does not tell",
            "These values are left out; training stops where they are the outcome's.",
            "declare the unit at the source (option units, or the mapping), or leave them out "
            "with --set-aside",
            {
                code: f"{_named(rows, code)} at site {', '.join(sites[:20])}"
                for code, sites in at.items()
                if any(group.code == code for group, _ in rows)
            },
        )
    assumed = [(group, name) for group, e, name in measured(mapped) if e.status == "assumed"]
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


def _named(rows: list[tuple[Group, str]], code: str) -> str:
    """Return the concept of a code's values."""
    return next(name for group, name in rows if group.code == code)


def _converted(mapped: Mapped, lines: tuple[UnitLine, ...]) -> Iterable[Finding]:
    """Count values that stand in another unit than their analyte's."""
    rows = [
        (line.concept, line.unit or line.taken_as or "", line.values, line.factor)
        for line in lines
        if line.site is None and line.factor is not None and line.factor != 1
    ]
    if not rows:
        return
    by_unit: dict[tuple[str, str, float], int] = defaultdict(int)
    for concept, unit, values, factor in rows:
        by_unit[(concept, _spelling(unit), factor or 1.0)] += values
    ranked = sorted(by_unit.items(), key=lambda row: (-row[1], row[0]))
    yield Finding(
        "unit_converted",
        "info",
        "values converted to their analyte's unit",
        sum(by_unit.values()),
        sum(group.values for group, _, _ in measured(mapped)),
        "values",
        "Nothing is lost.",
        "nothing, if the factors below are right",
        tuple(dict.fromkeys(name for name, _, _ in by_unit)),
        (),
        tuple(
            Item(name, n, f"{unit} x {factor:.4g} = {mapped.catalogue.by_name[name].unit}")
            for (name, unit, factor), n in ranked[:_SHOWN]
        ),
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
        sum({(g.code, g.unit): g.values for g, _, _ in measured(mapped)}.values()),
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
    for group, _, name in measured(mapped):
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
    for group, _, name in measured(mapped):
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
