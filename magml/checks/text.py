"""The report of a check for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from magml.checks.report import CheckReport, Finding, Severity, UnitLine

_WIDTH = 100
_CODES = 15
_UNITS = 40
_LABEL = {"error": "ERROR", "warning": "WARNING", "info": "NOTE"}


def report_text(report: CheckReport) -> str:
    """Return a report as lines for a terminal.

    Errors first; below each finding the commonest cases, what it costs and what to do.
    """
    lines = [
        f"{report.rows:,} rows, {report.people:,} people, {report.codes:,} codes, "
        f"{report.first or 'no time'} to {report.last or 'no time'}",
        severities(report),
    ]
    for finding in report.findings:
        lines += ["", *_finding(finding)]
    several = list(_units(report))
    if several:
        lines += [
            "",
            "Units by analyte and site, where there are several or one is amiss",
            *several,
        ]
    lines += ["", "What the data hold of the catalogue", *_domains(report)]
    if report.unmapped:
        lines += ["", "Codes that map to no concept, the commonest first", *_codes(report)]
    if report.notes:
        lines += ["", "What the source decided", *_wrapped(report.notes)]
    lines += ["", "Approximate: " + "; ".join(report.approximate)]
    return "\n".join(lines)


def severities(report: CheckReport) -> str:
    """Return how many findings of each kind there are: "1 error, 2 warnings, 0 notes"."""
    counted: tuple[tuple[Severity, str], ...] = (
        ("error", "error"),
        ("warning", "warning"),
        ("info", "note"),
    )
    return ", ".join(
        f"{report.count(severity)} {word}{'' if report.count(severity) == 1 else 's'}"
        for severity, word in counted
    )


def head(finding: Finding) -> str:
    """Return a finding's title with its count.

    Examples
    --------
    >>> head(Finding("duplicate", "warning", "equal rows", 5, 200, "rows", "", ""))
    'equal rows: 5 of 200 rows (2.5%)'
    """
    about = "about " if finding.approximate else ""
    if not finding.count:
        return finding.title
    return (
        f"{finding.title}: {about}{finding.count:,} of {finding.of:,} {finding.what} "
        f"({finding.share:.1%})"
    )


def _finding(finding: Finding) -> Iterable[str]:
    yield f"{_LABEL[finding.severity]:<8}{head(finding)}"
    for item in finding.items:
        yield f"          {item.count:>11,}  {item.name[:60]}" + (
            f"  ({item.note})" if item.note else ""
        )
    cost = finding.cost
    if finding.features:
        cost += f" {len(finding.features)} features concerned."
    for word, text in (("costs", cost), ("do", finding.action)):
        if text:
            yield textwrap.fill(
                text, _WIDTH, initial_indent=f"        {word:<6} ", subsequent_indent=" " * 15
            )


def _units(report: CheckReport) -> Iterable[str]:
    """Lines of analytes whose sites differ in unit, or are amiss."""
    concepts: dict[str, list[UnitLine]] = {}
    for line in report.units:
        concepts.setdefault(line.concept, []).append(line)
    shown = [
        line
        for lines in concepts.values()
        if len({x.unit for x in lines}) > 1 or any(x.site and not x.quiet for x in lines)
        for line in lines
    ]
    if shown:
        yield f"  {'analyte':<22}{'unit':<10}{'site':<16}{'values':>10}{'median':>10}  unit fits"
    for line in shown[:_UNITS]:
        median = "" if line.median is None else f"{line.median:.4g}"
        could = f" ({' or '.join(line.fitting)})" if line.fitting and not _fine(line) else ""
        yield (
            f"  {line.concept.removeprefix('lab.')[:21]:<22}{(line.unit or 'none')[:9]:<10}"
            f"{(line.site or 'all')[:15]:<16}{line.values:>10,}{median:>10}  {line.status}{could}"
        )
    if len(shown) > _UNITS:
        yield f"  ... {len(shown) - _UNITS} more in --json and --html"


def _fine(line: UnitLine) -> bool:
    return line.status in ("ok", "inferred")


def _domains(report: CheckReport) -> Iterable[str]:
    yield f"  {'domain':<14}{'concepts':>14}{'rows':>14}{'features lost':>18}"
    for line in report.domains:
        concepts = f"{line.found} of {line.concepts}"
        lost = f"{line.features_lost} of {line.features}"
        yield f"  {line.domain:<14}{concepts:>14}{line.rows:>14,}{lost:>18}"


def _codes(report: CheckReport) -> Iterable[str]:
    for code in report.unmapped[:_CODES]:
        like = f"  resembles {', '.join(code.resembles)}, {code.why}" if code.resembles else ""
        yield f"  {code.rows:>11,}  {code.code[:60]}{like}"
    if len(report.unmapped) > _CODES:
        yield f"  ... {len(report.unmapped) - _CODES} more in --json and --html"


def _wrapped(notes: Iterable[str]) -> Iterable[str]:
    for note in notes:
        yield textwrap.fill(note, _WIDTH, initial_indent="  - ", subsequent_indent="    ")
