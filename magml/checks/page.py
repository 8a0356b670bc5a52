"""The report of a check as one HTML page, with everything inside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from magml.checks.report import CheckReport, Finding, UnitLine
from magml.checks.text import head, severities

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#1a1a1a;
max-width:68rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.5rem}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ddd;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
section{border-left:.4rem solid #888;padding:.2rem 1rem;margin:1.2rem 0}
section.error{border-color:#a4161a}section.warning{border-color:#b36b00}
section.info{border-color:#35618f}
h3{font-size:1rem;margin:.3rem 0}.tag{font-weight:700;margin-right:.5rem}
code{font-size:.9em}details{margin:.5rem 0}
@media(prefers-color-scheme:dark){body{background:#181818;color:#e6e6e6}th,td{border-color:#444}}
"""
_LABEL = {"error": "Error", "warning": "Warning", "info": "Note"}


def report_page(report: CheckReport) -> str:
    """Return a report as HTML: no script, no request, every text escaped, no row of a person."""
    body = [
        f"<h1>Check of {escape(report.name)}</h1>",
        f"<p>{report.rows:,} rows, {report.people:,} people, {report.codes:,} codes, "
        f"{escape(report.first or 'no time')} to {escape(report.last or 'no time')}.<br>"
        f"{severities(report)}.</p>",
        "<h2>Findings</h2>",
        *(_section(finding) for finding in report.findings),
        "<h2>What the data hold of the catalogue</h2>",
        _table(
            ("domain", "concepts found", "rows", "features lost"),
            (
                (
                    x.domain, f"{x.found} of {x.concepts}", x.rows,
                    f"{x.features_lost} of {x.features}",
                )
                for x in report.domains
            ),
        ),
        "<h2>Units</h2>",
        _unit_table(x for x in report.units if not x.quiet),
        *_by_site(report),
        "<h2>Times</h2>",
        _table(
            ("vocabulary", "rows", "codes", "rows mapped", "midnight", "whole hours",
             "known_time empty", "known at once"),
            (
                (
                    x.vocabulary, x.rows, x.codes, x.mapped_rows, x.midnight, x.whole_hour,
                    x.known_missing, x.known_at_time,
                )
                for x in report.vocabularies
            ),
        ),
        "<h2>Codes that map to no concept</h2>",
        _table(
            ("code", "rows", "people (about)", "resembles", "why"),
            (
                (x.code, x.rows, x.people, ", ".join(x.resembles), x.why)
                for x in report.unmapped
            ),
        ),
        *_notes(report),
    ]  # fmt: skip
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Check of {escape(report.name)}</title><style>{_STYLE}</style></head>\n"
        f"<body>{chr(10).join(body)}</body></html>\n"
    )


def _unit_table(lines: Iterable[UnitLine]) -> str:
    return _table(
        (
            "concept", "code", "unit", "site", "values", "median", "unit fits", "factor",
            "implausible",
        ),
        (
            (
                x.concept, x.code, x.unit or "none", x.site or "all", x.values,
                "" if x.median is None else f"{x.median:.4g}",
                _fits(x),
                "" if x.factor is None else f"{x.factor:.4g}",
                "" if x.implausible is None else x.implausible,
            )
            for x in lines
        ),
    )  # fmt: skip


def _by_site(report: CheckReport) -> Iterable[str]:
    """Return the units of every site, folded away."""
    lines = [x for x in report.units if x.site is not None]
    if lines:
        yield f"<details><summary>By site: {len(lines):,} lines</summary>"
        yield _unit_table(lines)
        yield "</details>"


def _fits(line: UnitLine) -> str:
    """Return what is said of a unit, with what would fit where it does not."""
    told = line.fitting and line.status not in ("ok", "inferred")
    return f"{line.status}: {' or '.join(line.fitting)}" if told else line.status


def _section(finding: Finding) -> str:
    features = (
        f"<details><summary>{len(finding.features)} features concerned</summary>"
        f"<p>{escape(', '.join(finding.features))}</p></details>"
        if finding.features
        else ""
    )
    items = (
        _table(("", "count", ""), ((x.name, x.count, x.note) for x in finding.items))
        if finding.items
        else ""
    )
    advice = (
        f"<p>{escape(finding.cost)}<br><b>What to do:</b> {escape(finding.action)}.</p>"
        if finding.action
        else ""
    )
    return (
        f'<section class="{finding.severity}"><h3><span class="tag">{_LABEL[finding.severity]}'
        f"</span>{escape(head(finding))}</h3>{advice}{items}{features}</section>"
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str | int]]) -> str:
    def cell(value: str | int) -> str:
        if isinstance(value, int):
            return f'<td class="n">{value:,}</td>'
        return f"<td>{escape(value)}</td>"

    body = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
    if not body:
        return "<p>None.</p>"
    head_row = "".join(f"<th>{escape(name)}</th>" for name in heads)
    return f"<table><thead><tr>{head_row}</tr></thead><tbody>{body}</tbody></table>"


def _notes(report: CheckReport) -> Iterable[str]:
    if report.notes:
        yield "<h2>What the source decided</h2><ul>"
        yield from (f"<li>{escape(note)}</li>" for note in report.notes)
        yield "</ul>"
    yield f"<p>Approximate: {escape('; '.join(report.approximate))}.</p>"
