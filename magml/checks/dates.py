"""Dates that cannot be, and what times are like: midnight, whole hours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from magml.checks.codes import structural
from magml.checks.mapping import Mapped
from magml.checks.profile import CodeProfile, Profile
from magml.checks.report import Finding, Item, Severity, VocabularyLine

_SHOWN = 12
#: From this share on, midnight or whole hours are how a source writes its times.
GRID_SHARE = 0.5
_FEW = 30
_NO_GRID = frozenset({"MEDS_BIRTH", "MEDS_DEATH", "OBSERVATION_PERIOD"})


def vocabulary_lines(profile: Profile, mapped: Mapped) -> tuple[VocabularyLine, ...]:
    """Return counts by vocabulary, the largest first."""
    groups: dict[str, list[CodeProfile]] = defaultdict(list)
    for code in profile.codes:
        groups[code.vocabulary or code.code].append(code)
    lines = []
    for name, codes in groups.items():

        def total(count: str, codes: list[CodeProfile] = codes) -> int:
            return sum(code[count] for code in codes)

        lines.append(
            VocabularyLine(
                vocabulary=name,
                rows=total("rows"),
                codes=len({code.code for code in codes}),
                mapped_rows=sum(c["rows"] for c in codes if mapped.concepts[c.code]),
                dated=total("dated"),
                midnight=total("midnight"),
                whole_hour=total("whole_hour"),
                known_missing=total("known_missing"),
                known_at_time=total("known_at_time"),
            )
        )
    return tuple(sorted(lines, key=lambda line: (-line.rows, line.vocabulary)))


def date_findings(profile: Profile) -> Iterable[Finding]:
    """Yield what is wrong with dates."""
    beyond = "beyond" if profile.shifted else "future"
    checks: tuple[tuple[str, str, Severity, str, str, str], ...] = (
        (
            "before_birth",
            "before_birth",
            "warning",
            "rows before the day of the person's birth",
            "Ages below zero; the row is taken for this person's history.",
            "correct the date or the birth (a birth of which only the year is known may stand "
            "later in that year), or tell persons apart that were merged",
        ),
        (
            "after_death",
            "after_death",
            "warning",
            "rows after the day of the person's death",
            "A cohort takes nobody after death, so these rows are never used.",
            "correct the date or the death, or tell persons apart that were merged",
        ),
        (
            "too_old",
            "too_old",
            "warning",
            "rows at an age above 120 years",
            "The age feature is wrong for these persons.",
            "correct the births; some sources shift those of the very old on purpose",
        ),
        (
            "before_1900",
            "old",
            "warning",
            "rows before 1900",
            "Features over the whole history reach back to a date that is no date.",
            "find the default date that stands for 'missing', and leave it empty",
        ),
        (
            "far_future",
            beyond,
            "warning",
            "rows from 2300 on" if profile.shifted else "rows more than a year in the future",
            "They lie after every prediction and are never used.",
            "find the default date that stands for 'open' or 'missing', and leave it empty",
        ),
        (
            "not_a_date",
            "infinite",
            "error",
            "rows at an infinite time",
            "Moments become numbers, which these cannot.",
            "leave the time empty",
        ),
        (
            "ended_early",
            "ended_early",
            "warning",
            "rows that end before they start",
            "An exposure that ends before it starts counts as over at its start.",
            "correct the ends; a date without clock time must be the end of its day",
        ),
        (
            "not_a_number",
            "not_finite",
            "warning",
            "values that are infinite or not a number",
            "They are left out.",
            "leave the value empty",
        ),
    )
    for kind, count, severity, title, cost, action in checks:
        total = profile.total(count)
        if total:
            items = by_code(profile, count)
            yield Finding(
                kind, severity, title, total, profile.rows, "rows", cost, action, items=items
            )
    if profile.shifted:
        yield Finding(
            "shifted_dates",
            "info",
            "dates that lie in the future for most rows",
            profile.total("future"),
            profile.total("dated"),
            "rows",
            "None, if the dates were shifted to protect persons: distances within a person hold. "
            "A split by calendar time means nothing.",
            "do not use a temporal hold-out",
        )


def grid_findings(lines: tuple[VocabularyLine, ...]) -> Iterable[Finding]:
    """Yield where times are dates without clock time, or stand on whole hours."""
    dated = [x for x in lines if x.dated and x.vocabulary not in _NO_GRID]
    total, midnight = sum(x.dated for x in dated), sum(x.midnight for x in dated)
    if midnight:
        often = [x for x in dated if _often(x.midnight, x)]
        yield Finding(
            "midnight",
            "warning" if any(not structural(f"{x.vocabulary}//") for x in often) else "info",
            "times at exactly midnight",
            midnight,
            total,
            "rows",
            "A date without clock time is known at the end of its day: a prediction on that day "
            "cannot use it, and windows of hours have no meaning.",
            "take the column that holds the clock time, or predict once a day",
            items=_items(often or dated, lambda x: x.midnight),
        )
    gridded = [x for x in dated if _often(x.whole_hour - x.midnight, x)]
    if gridded:
        yield Finding(
            "whole_hours",
            "warning",
            "times that stand on whole hours",
            sum(x.whole_hour - x.midnight for x in gridded),
            sum(x.dated for x in gridded),
            "rows",
            "Times that were floored precede what they stand for by half an hour on average: "
            "known_time must be the end of the hour plus the turnaround.",
            "see whether the source floors its times; take the raw times where there are any",
            items=_items(gridded, lambda x: x.whole_hour - x.midnight),
        )


def _often(n: int, line: VocabularyLine) -> bool:
    return line.dated >= _FEW and n >= GRID_SHARE * line.dated


def _items(
    lines: Iterable[VocabularyLine], count: Callable[[VocabularyLine], int]
) -> tuple[Item, ...]:
    ranked = sorted(lines, key=lambda line: (-count(line), line.vocabulary))
    return tuple(
        Item(x.vocabulary, count(x), f"{count(x) / x.dated:.1%} of {x.dated:,}")
        for x in ranked[:_SHOWN]
        if count(x)
    )


def by_code(
    profile: Profile, count: str, among: Callable[[CodeProfile], bool] = lambda code: True
) -> tuple[Item, ...]:
    """Return the codes with the highest counts."""
    totals: dict[str, int] = defaultdict(int)
    for code in profile.codes:
        if code[count] and among(code):
            totals[code.code] += code[count]
    ranked = sorted(totals.items(), key=lambda row: (-row[1], row[0]))
    return tuple(Item(code, n) for code, n in ranked[:_SHOWN])
