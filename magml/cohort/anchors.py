"""Anchors of a cohort as SQL: visits, draws, prescriptions, or a calendar; and who is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from magml.clock import seconds
from magml.definitions.catalogue import Catalogue, Domain
from magml.definitions.experiment import RECORDS, Cohort
from magml.errors import DefinitionError, nearest
from magml.events.table import Events, text
from magml.features.names import matches

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Rows that say nothing of when somebody was under observation.
NO_RECORD = "code NOT IN ('MEDS_BIRTH', 'MEDS_DEATH') AND NOT starts_with(code, 'SITE//')"
_WHICH = {"first": "the first", "each": "each", "last": "the last", "random": "one random"}


def anchor_codes(
    definition: Cohort, events: Events, catalogue: Catalogue | None
) -> tuple[str, ...]:
    """Return the codes of the events that are an anchor.

    An anchor is a code as it stands in the events, or a concept of the catalogue, which stands
    for all codes that belong to it.

    Raises
    ------
    DefinitionError
        If the catalogue has no such concept, or a diagnosis is to count from its date: it may
        have been made, or billed, long after.
    """
    codes = [anchor for anchor in definition.anchor if not _is_concept(anchor)]
    concepts = [anchor for anchor in definition.anchor if _is_concept(anchor)]
    if concepts:
        if catalogue is None:
            raise DefinitionError(
                f"the anchor {concepts[0]!r} is a concept, and there is no catalogue",
                "codes, or a catalogue to look the concept up",
                "pass the catalogue, or write the codes",
            )
        _check_concepts(definition, catalogue, concepts)
        present = events.connection.execute(
            f"SELECT DISTINCT code FROM {events.relation} ORDER BY code"
        ).fetchall()
        wanted = set(concepts)
        codes += [code for (code,) in present if wanted.intersection(matches(catalogue, code))]
    return tuple(dict.fromkeys(codes))


def times_sql(definition: Cohort, events: Events, codes: Iterable[str]) -> str:
    """Return a query for ``subject_id``, ``end_time``, ``known``, ``moment``, ``prediction_time``.

    ``known`` is when the anchor was first known; ``moment`` is the prediction time without the
    offset, by which one of several is chosen.
    """
    relation, offset = events.relation, seconds(definition.offset)
    if definition.anchor == (RECORDS,):
        anchors = f"""
            SELECT subject_id, min(time) AS time, max(time) AS end_time, NULL::TIMESTAMP AS known
            FROM {relation}
            WHERE time IS NOT NULL AND {NO_RECORD} GROUP BY subject_id"""
    else:
        listed = ", ".join(text(code) for code in codes) or "NULL"
        start = "e.time" if definition.anchor_at == "start" else "coalesce(e.known_time, e.time)"
        anchors = f"""
            SELECT e.subject_id, {start} AS time, max(e.end_time) AS end_time,
                   min(coalesce(e.known_time, e.time)) AS known
            FROM {relation} e WHERE e.code IN ({listed}) AND {start} IS NOT NULL
            GROUP BY ALL"""
    if definition.every is None:
        moments = f"SELECT subject_id, end_time, known, time AS moment FROM ({anchors})"
    else:
        step = f"INTERVAL {seconds(definition.every)} SECOND"
        # Two periods may overlap and give one moment twice; a period without an end lasts until
        # the last record, because nothing tells of observation after it.
        moments = f"""
            SELECT subject_id, max(end_time) AS end_time, min(known) AS known, moment FROM (
                SELECT a.subject_id, a.end_time, a.known, unnest(range(
                    a.time,
                    coalesce(a.end_time, l.last) - INTERVAL {offset} SECOND, {step})) AS moment
                FROM ({anchors}) a JOIN (
                    SELECT subject_id, max(time) AS last FROM {relation}
                    WHERE time IS NOT NULL AND {NO_RECORD} GROUP BY subject_id
                ) l USING (subject_id)
            ) GROUP BY subject_id, moment"""
    chosen = choice_sql(definition) if definition.select_among == "anchors" else ""
    return (
        f"SELECT *, moment + INTERVAL {offset} SECOND AS prediction_time "
        f"FROM ({moments}) c {chosen}"
    )


def choice_sql(definition: Cohort) -> str:
    """Return the clause that keeps one moment a person, or nothing where each is kept."""
    order = {
        "first": "c.moment",
        "last": "c.moment DESC",
        # A digest, not a generator: it does not depend on the order of rows or on other people.
        "random": f"md5('{definition.seed}:' || c.subject_id || ':' || epoch_us(c.moment))",
    }.get(definition.select)
    if order is None:
        return ""
    return f"QUALIFY row_number() OVER (PARTITION BY c.subject_id ORDER BY {order}) = 1"


def anchor_words(definition: Cohort) -> str:
    """Return the anchor in words, as the first line of the attrition table.

    Examples
    --------
    >>> anchor_words(Cohort(anchor=["VISIT//icu"], offset="6h"))
    'the first VISIT//icu, 6h after its start'
    >>> anchor_words(Cohort(anchor=["OBSERVATION_PERIOD"], offset="30d", every="30d"))
    'the first of every 30d of OBSERVATION_PERIOD, 30d after its start'
    """
    which = _WHICH[definition.select] if definition.select_among == "anchors" else "each"
    names = " or ".join(definition.anchor)
    if definition.every is not None:
        names = f"of every {definition.every} of {names}"
    since = "its start" if definition.anchor_at == "start" else "it was known"
    return f"{which} {names}, {definition.offset} after {since}"


def _is_concept(anchor: str) -> bool:
    """Return whether an anchor reads as ``domain.concept`` rather than as a code."""
    domain, dot, _ = anchor.partition(".")
    return bool(dot) and "//" not in anchor and domain in get_args(Domain)


def _check_concepts(definition: Cohort, catalogue: Catalogue, concepts: list[str]) -> None:
    for name in concepts:
        concept = catalogue.by_name.get(name)
        if concept is None:
            raise DefinitionError(
                f"the anchor {name!r} is no concept of the catalogue",
                nearest(name, catalogue.by_name),
                "correct the anchor, or write a code as VOCABULARY//CODE",
            )
        if concept.kind == "condition" and definition.anchor_at == "start":
            raise DefinitionError(
                f"the anchor {name!r} is a diagnosis, counted from its date",
                "anchor_at: known, because a diagnosis can be dated before anybody knew of it",
                "add anchor_at: known to the cohort",
            )
