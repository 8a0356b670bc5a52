"""Monitoring as one HTML page with everything inside it: no script, no request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Any

from magml.monitoring.findings import KINDS, findings, in_doubt

if TYPE_CHECKING:
    from magml.monitoring.result import Monitoring

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#1a1a1a;
max-width:68rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.5rem}h3{font-size:1rem;margin:.3rem 0}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ddd;vertical-align:top}
section{border-left:.4rem solid #b36b00;padding:.2rem 1rem;margin:1.2rem 0}
section.quiet{border-color:#3a7d44}section.doubt{border-color:#8a8a8a}
figure{display:inline-block;margin:0 1rem 1rem 0}figcaption{font-size:.9rem}
svg{background:#fafafa;border:1px solid #ddd}
@media(prefers-color-scheme:dark){body{background:#181818;color:#e6e6e6}
th,td{border-color:#444}svg{background:#222;border-color:#444}}
"""
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 320, 150, 44, 24
_INTERVALS = ("observed_expected", "slope", "auroc")
#: The features shown: those whose distribution or missingness moved most.
_FEATURES = 25
#: Longer lists of changes are folded.
_OPEN = 12


def monitoring_page(found: Monitoring) -> str:
    """Return a monitoring as HTML; every text is escaped."""
    titles = ("period", "rows", "people", "mean risk", "index of risks", "alert rate",
              "largest index of a feature", "largest change of known", "outcomes due",
              "outcomes known", "cases", "observed / expected", "slope", "AUROC")  # fmt: skip
    body = [
        f"<h1>Monitoring of {escape(found.model)}</h1>",
        f"<p>Bundle {escape(found.bundle[:12])}; records up to {found.as_of:%Y-%m-%d %H:%M}; "
        f"periods by {escape(found.every)}; expected: {escape(found.baseline.origin)}; "
        f"alert from the band {escape(found.alert)} up.</p>",
        "<h2>What has changed</h2>",
        *([f"<p><strong>{escape(found.foreign)}.</strong></p>"] if found.foreign else []),
        *_changes(found),
        f"<p>{found.comparisons} comparisons. An alarm is beyond its threshold and hardly chance: "
        "if nothing has changed, a run raises any with a probability of at most "
        f"{found.thresholds.false_alarms:.0%}. Units have a rule of their own.</p>",
        "<h2>Period by period</h2>",
        _chart(found, "mean_risk", "Mean risk", percent=True),
        _chart(found, "alert_rate", "Share in the alert band (dashed: expected)", percent=True,
               line=found.baseline.bands.get(found.alert)),
        _chart(found, "score_psi", "Stability index of the risks (dashed: threshold)",
               line=found.thresholds.score_psi),
        _chart(found, "observed_expected", "Cases over expected cases, 95% interval (dashed: 1)",
               line=1.0),
        _table(titles, (_row(period) for period in found.periods)),
        "<p>Index: how far the distribution is from what is expected; 0 as expected, 0.1 little, "
        "0.25 much. Due: the time at risk and the usual delay have passed, so that the outcome "
        "should be known. Observed / expected, slope and AUROC are of due rows with a known "
        "outcome, 95% intervals. Periods in brackets have too few rows and are not judged. Counts "
        "from 1 to 9 are not told.</p>",
        f"<h2>Features that moved most ({min(_FEATURES, len(found.features))} of "
        f"{len(found.features)})</h2>",
        _feature_table(found),
        "<h2>Thresholds</h2>",
        _table(("threshold", "value", "meaning"),
               ((name, f"{getattr(found.thresholds, name):g}", str(field.description))
                for name, field in type(found.thresholds).model_fields.items())),
    ]  # fmt: skip
    if found.notes:
        body += ["<h2>Notes</h2><ul>", *(f"<li>{escape(note)}</li>" for note in found.notes),
                 "</ul>"]  # fmt: skip
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Monitoring of {escape(found.model)}</title><style>{_STYLE}</style></head>\n"
        f"<body>{chr(10).join(body)}</body></html>\n"
    )


def _changes(found: Monitoring) -> list[str]:
    """Return one block a kind of alarm, the gravest first: what it means, and a line a concept."""
    made = []
    changes = findings(found.alarms)
    if not changes:
        made.append("<section class=quiet><p>No alarm.</p></section>")
    for kind, group in groupby(changes, key=lambda one: one.kind):
        title, meaning = KINDS[kind]
        several = list(group)
        rows = [
            (one.what, one.period if one.site is None else f"{one.period}, site {one.site}",
             one.words)
            for one in several
        ]  # fmt: skip
        table = _table(("what", "first seen", "change"), rows)
        if len(rows) > _OPEN:
            table = f"<details><summary>All {len(rows)}</summary>{table}</details>"
        made.append(
            f"<section><h3>{escape(title)}: {len(rows)}</h3><p>{escape(meaning)}</p>{table}"
            "</section>"
        )
    if beyond := in_doubt(found.unsure):
        made.append(
            "<section class=doubt><h3>Beyond its threshold, though chance is not excluded</h3>"
            f"<p>{escape(beyond)}.</p></section>"
        )
    return made


def _row(period: dict[str, Any]) -> list[str]:
    name = period["period"] if period["judged"] else f"({period['period']})"
    known = period["labelled"]
    return [
        name, _count(period["n"]), _count(period["people"]), _share(period["mean_risk"]),
        _number(period["score_psi"]), _share(period["alert_rate"]),
        _number(period["largest_psi"]), _share(period["largest_missing_change"]),
        _count(period["due"]), "" if known is None and not period["due"] else _count(known),
        "" if period["cases"] is None else _count(period["cases"]),
        *(_interval(period[name]) for name in _INTERVALS),
    ]  # fmt: skip


def _feature_table(found: Monitoring) -> str:
    def moved(name: str) -> float:
        expected = found.baseline.features[name].known
        return max(
            max(f["psi"] or 0.0, abs((f["known"] or 0.0) - expected))
            for f in found.features[name].values()
        )

    shown = sorted(found.features, key=lambda name: (-moved(name), name))[:_FEATURES]
    names = [period["period"] for period in found.periods if period["judged"]]
    rows = []
    for name in shown:
        cells = [name, _share(found.baseline.features[name].known)]
        for period in names:
            figures = found.features[name].get(period)
            cells.append(
                "" if figures is None else f"{_number(figures['psi'])} / {_share(figures['known'])}"
            )
        rows.append(cells)
    head = ("feature", "known before", *names)
    return "<p>Stability index / share of rows with a value.</p>" + _table(head, rows)


def _chart(
    found: Monitoring, name: str, title: str, *, percent: bool = False, line: float | None = None
) -> str:
    """Return a line over the periods, with an interval where there is one."""
    points = []
    for place, period in enumerate(found.periods):
        value = period[name]
        if value is not None:
            three = value if isinstance(value, tuple) else (value, value, value)
            points.append((place, *three))
    if not points:
        return ""
    top = max([high for *_, high in points] + ([line] if line else [])) * 1.1 or 1.0
    span = max(1, len(found.periods) - 1)

    def x(place: float) -> float:
        width = _WIDTH - _LEFT - 12
        return _LEFT + (place / span * width if len(found.periods) > 1 else width / 2)

    def y(value: float) -> float:
        return (_HEIGHT - _BOTTOM) - value / top * (_HEIGHT - _BOTTOM - 10)

    parts = [
        f'<line x1="{x(p):.1f}" x2="{x(p):.1f}" y1="{y(low):.1f}" y2="{y(high):.1f}" '
        'stroke="#35618f" stroke-width="1.5"/>'
        for p, _, low, high in points
        if high > low
    ]
    path = " ".join(f"{x(p):.1f},{y(value):.1f}" for p, value, _, _ in points)
    parts.append(f'<polyline points="{path}" fill="none" stroke="#35618f" stroke-width="2"/>')
    parts += [
        f'<circle cx="{x(p):.1f}" cy="{y(value):.1f}" r="3" fill="#35618f"/>'
        for p, value, _, _ in points
    ]
    if line is not None:
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - 12}" y1="{y(line):.1f}" y2="{y(line):.1f}" '
            'stroke="#b36b00" stroke-dasharray="4 3"/>'
        )
    for value in (0.0, top / 1.1):
        shown = f"{value:.1%}" if percent else f"{value:.2f}"
        parts.append(
            f'<text x="{_LEFT - 4}" y="{y(value) + 4:.1f}" text-anchor="end" font-size="11" '
            f'fill="currentColor">{shown}</text>'
        )
    ends = {0: found.periods[0]["period"], len(found.periods) - 1: found.periods[-1]["period"]}
    for place, text in ends.items():
        anchor = "middle" if len(ends) == 1 else "start" if place == 0 else "end"
        parts.append(
            f'<text x="{x(place):.1f}" y="{_HEIGHT - 6}" text-anchor="{anchor}" font-size="11" '
            f'fill="currentColor">{escape(text)}</text>'
        )
    return (
        f'<figure><svg role="img" aria-label="{escape(title)}" width="{_WIDTH}" '
        f'height="{_HEIGHT}">{"".join(parts)}</svg><figcaption>{escape(title)}</figcaption></figure>'
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    lines = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<div class=wide><table><tr>{titles}</tr>{lines}</table></div>"


def _count(value: int | None) -> str:
    return "under 10" if value is None else f"{value:,}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _interval(value: tuple[float, float, float] | None) -> str:
    return "" if value is None else f"{value[0]:.2f} ({value[1]:.2f} to {value[2]:.2f})"
