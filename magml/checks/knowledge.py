"""Faults of ``known_time``: the rule of knowledge rests on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from magml.checks.dates import by_code
from magml.checks.mapping import Mapped
from magml.checks.profile import CodeProfile, Profile
from magml.checks.report import Finding, Item
from magml.features.arrow import to_arrow

if TYPE_CHECKING:
    from magml.events.table import Events

#: What may be known before it starts: it is ordered or planned.
_ORDERED = frozenset(
    ("DRUG", "ATC", "RxNorm", "NDC", "PROCEDURE", "CARE", "VISIT", "CPT4", "HCPCS", "ICD10PCS")
)
_DIAGNOSES = frozenset(("ICD10CM", "ICD9CM", "SNOMED", "CONDITION", "ICD"))
_STATED_ONCE = frozenset(("MEDS_BIRTH", "MEDS_DEATH", "OBSERVATION_PERIOD"))
#: From this share on, a kind of row is known as soon as it happens: its source has no rule.
_AT_ONCE_SHARE = 0.95
_FEW = 30
_START_SHARE = 0.5


def known_findings(profile: Profile, mapped: Mapped) -> Iterable[Finding]:
    """Yield faults of ``known_time``, and kinds of rows for which it says nothing."""

    def order(code: CodeProfile) -> bool:
        kinds = {mapped.catalogue.by_name[name].kind for name in mapped.concepts[code.code]}
        return code.vocabulary in _ORDERED or "exposure" in kinds

    orders = sum(code["known_early"] for code in profile.codes if order(code))
    early = profile.total("known_early") - orders
    if early:
        yield Finding(
            "known_early",
            "error",
            "rows known before they happened",
            early,
            profile.rows,
            "rows",
            "A feature would see them before they were there: the model looks better than it is.",
            "correct known_time at the source (time zones of two systems are the usual cause)",
            items=by_code(profile, "known_early", lambda code: not order(code)),
        )
    if orders:
        yield Finding(
            "orders_ahead",
            "info",
            "orders known before they start",
            orders,
            sum(code["rows"] for code in profile.codes if order(code)),
            "rows",
            "None: an order may be known before it starts, and is used from its start.",
            "nothing",
            items=by_code(profile, "known_early", order),
        )
    never = profile.total("known_never")
    if never:
        yield Finding(
            "known_never",
            "warning",
            "rows that never became known (an infinite time, or more than five years later)",
            never,
            profile.rows,
            "rows",
            "No prediction sees them.",
            "leave known_time empty where it is unknown and say the rule at the source",
            items=by_code(profile, "known_never"),
        )
    yield from _without_rule(profile, mapped)


def _without_rule(profile: Profile, mapped: Mapped) -> Iterable[Finding]:
    """Laboratory results and diagnoses that are all known the moment they are stamped."""

    def laboratory(code: CodeProfile) -> bool:
        lab = any(name.startswith("lab.") for name in mapped.concepts[code.code])
        return lab or code.vocabulary == "LAB"

    kinds: tuple[tuple[str, Callable[[CodeProfile], bool], str, str], ...] = (
        (
            "results_at_once",
            laboratory,
            "laboratory results known when their sample was drawn",
            "state the release time, or a turnaround, at the source",
        ),
        (
            "diagnoses_at_once",
            lambda code: code.vocabulary in _DIAGNOSES,
            "diagnoses known at the moment they are stamped with",
            "billed codes are known at the end of their visit; only entries of a problem list "
            "are known at once",
        ),
    )
    for kind, among, title, action in kinds:
        codes = [code for code in profile.codes if among(code)]
        dated = sum(code["dated"] for code in codes)
        equal = sum(code["known_at_time"] + code["known_missing"] for code in codes)
        if dated >= _FEW and equal >= _AT_ONCE_SHARE * dated:
            yield Finding(
                kind,
                "warning",
                title,
                equal,
                dated,
                "rows",
                "Features see them earlier than anybody did: figures are too good, by as much as "
                "the delay matters.",
                action,
                items=(
                    Item("known_time empty", sum(code["known_missing"] for code in codes)),
                    Item("known_time equal to time", sum(code["known_at_time"] for code in codes)),
                ),
            )
    missing = profile.total("known_missing")
    missing -= sum(c["known_missing"] for c in profile.codes if c.code in _STATED_ONCE)
    if missing:
        yield Finding(
            "known_missing",
            "info",
            "dated rows without known_time",
            missing,
            profile.total("dated"),
            "rows",
            "They count as known when they happen.",
            "fill known_time wherever a thing is not known at once",
            items=by_code(profile, "known_missing", lambda code: code.code not in _STATED_ONCE),
        )


def diagnosis_findings(events: Events, profile: Profile) -> Iterable[Finding]:
    """Yield diagnoses that stand at the very start of their visit, as billed codes do."""
    codes = sorted({code.code for code in profile.codes if code.vocabulary in _DIAGNOSES})
    if not codes or not any(code.vocabulary == "VISIT" for code in profile.codes):
        return
    connection, table = events.connection, f"{events.relation}_diagnoses"
    connection.register(table, to_arrow({"code": codes}))
    try:
        found = connection.execute(f"""
            WITH visits AS (
                SELECT subject_id, visit_id, min(time) AS starts, max(end_time) AS ends
                FROM {events.relation}
                WHERE starts_with(code, 'VISIT//') AND code <> 'VISIT//icu'
                  AND visit_id IS NOT NULL
                GROUP BY subject_id, visit_id)
            SELECT split_part(e.code, '//', 1) AS vocabulary, count(*),
                   count(*) FILTER (e.time = v.starts),
                   count(*) FILTER (e.time = v.starts AND coalesce(e.known_time, e.time) < v.ends)
            FROM (SELECT subject_id, visit_id, code, time, known_time FROM {events.relation}
                  WHERE code IN (SELECT code FROM {table})) e
            JOIN visits v ON e.subject_id = v.subject_id AND e.visit_id = v.visit_id
            GROUP BY vocabulary ORDER BY vocabulary
        """).fetchall()
    finally:
        connection.unregister(table)
    rows, start, early = (sum(row[k] for row in found) for k in (1, 2, 3))
    if start < _FEW:
        return
    known = early >= _START_SHARE * start
    yield Finding(
        "diagnoses_at_visit_start",
        "warning" if known else "info",
        "diagnoses that stand at the very start of their visit",
        start,
        rows,
        "rows",
        "Codes are billed at discharge and stamped with the admission. "
        + (
            "Most are known before it ends: a model sees the future."
            if known
            else "known_time says so: they are not known before it ends."
            if not early
            else "known_time says so of most; the others are known before it ends."
        ),
        "let known_time be the end of the visit" if known else "nothing",
        items=(
            *(Item(name, at, f"{at / n:.1%} of {n:,}") for name, n, at, _ in found if at),
            Item("of these known before the visit's end", early),
        ),
    )
