"""The rows of the events behind a feature: what a reason rests on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from magml.clock import seconds
from magml.definitions.catalogue import DOSES, Concept
from magml.errors import DefinitionError, nearest
from magml.events.table import Events
from magml.features.arrow import to_arrow
from magml.features.concepts import Entry, resolve
from magml.features.plan import Plan, PlannedDerived

if TYPE_CHECKING:
    from magml.features.few import FewRecords

#: Statistics that rest on the newest row alone.
_NEWEST = ("last", "hours_since", "days_since", "years")


@dataclass(frozen=True)
class EvidenceRow:
    """One row of the events that a feature was computed from.

    `value` and `unit` are as recorded; `used` is the value in the concept's unit (of a dose: what
    adds up, a rate per hour), None for a condition or an exposure. An end that was not yet known
    is None.
    """

    time: datetime | None
    known_time: datetime | None
    end_time: datetime | None
    code: str
    value: float | None
    unit: str | None
    text_value: str | None
    source: str | None
    used: float | None


def find_evidence(
    plan: Plan,
    events: Events | FewRecords,
    requests: Iterable[tuple[int, datetime, Sequence[str]]],
) -> list[dict[str, tuple[EvidenceRow, ...]]]:
    """Return the rows behind features, by the same rule of knowledge as the features.

    Parameters
    ----------
    plan
        The plan that made the features.
    events
        The events they were made from, on a connection or in memory.
    requests
        ``(subject_id, prediction_time, features)``; a derived feature stands for its inputs.

    Returns
    -------
    list of dict
        For each request, by feature, the rows in the order of time. A feature of something that
        is not recorded has none.

    Raises
    ------
    DefinitionError
        If the plan makes no such feature.
    """
    asked = [(int(subject), _naive(t), tuple(names)) for subject, t, names in requests]
    people = {subject for subject, _, _ in asked}
    needed = _concepts(plan, {name for _, _, names in asked for name in names})

    def used(code: str, unit: str) -> bool:
        return any(entry.concept_id in needed for entry in resolve(plan, code, unit))

    if isinstance(events, Events):
        rows = _rows(events, people, used)
    else:
        rows = events.evidence_rows(people, used)
    uses = {subject: _uses(plan, own, needed) for subject, own in rows.items()}
    looks = (_Look(plan, uses.get(subject, {}), t) for subject, t, _ in asked)
    return [
        {name: _feature(look, name) for name in names}
        for look, (_, _, names) in zip(looks, asked, strict=True)
    ]


#: By concept, a person's rows that it uses, each with how.
_Uses = Mapping[int, Sequence[tuple[EvidenceRow, Entry]]]


@lru_cache(maxsize=8)
def _columns(plan: Plan) -> dict[str, tuple[int, str, int]]:
    """Return concept, statistic and window of each feature that is no derived one."""
    return {
        feature: (concept_id, statistic, window)
        for concept_id, concept in enumerate(plan.concepts)
        for feature, statistic, window in concept.columns
    }


@lru_cache(maxsize=8)
def _derived(plan: Plan) -> dict[str, PlannedDerived]:
    """Return the derived features by name."""
    return {item.name: item for item in plan.derived}


def _concepts(plan: Plan, names: set[str]) -> set[int]:
    """Return the concepts that features rest on, an exposure's drugs included."""
    parts = {item.name: {part for _, part in item.inputs} for item in plan.derived}
    simple: set[str] = set()
    while names:
        simple |= names - parts.keys()
        names = {part for name in names & parts.keys() for part in parts[name]}
    columns = _columns(plan)
    found = {columns[name][0] for name in simple if name in columns}
    owners = {plan.concepts[concept_id].name for concept_id in found}
    return found | {k for k, c in enumerate(plan.concepts) if c.doses_of in owners}


def _uses(plan: Plan, rows: Iterable[EvidenceRow], needed: set[int]) -> _Uses:
    """Return the rows of each concept that is needed."""
    found: dict[int, list[tuple[EvidenceRow, Entry]]] = {}
    entries: dict[tuple[str, str | None], list[Entry]] = {}
    for row in rows:
        kind = row.code, row.unit
        if kind not in entries:
            of_kind = resolve(plan, row.code, row.unit or "")
            entries[kind] = [e for e in of_kind if e.concept_id in needed and e.used]
        for entry in entries[kind]:
            found.setdefault(entry.concept_id, []).append((row, entry))
    return found


@dataclass(frozen=True)
class _Seen:
    """A row with the concept's view of it."""

    row: EvidenceRow
    known: datetime
    value: float


@dataclass(frozen=True, eq=False)
class _Look:
    """A look at a person's rows at a prediction time; features of one concept share its rows."""

    plan: Plan
    rows: _Uses
    t: datetime
    seen: dict[int, list[_Seen]] = field(default_factory=dict)

    def visible(self, concept_id: int) -> list[_Seen]:
        """Return a concept's rows that are known and have begun before the prediction time."""
        if concept_id not in self.seen:
            self.seen[concept_id] = _visible(self.plan, concept_id, self.rows, self.t)
        return self.seen[concept_id]


def _feature(look: _Look, name: str) -> tuple[EvidenceRow, ...]:
    plan, t = look.plan, look.t
    if any(plugin.name == name for plugin in plan.plugins):
        return ()  # which of the rows it saw decided is the plug-in's own knowledge
    derived = _derived(plan)
    if name in derived:
        found = [row for _, part in derived[name].inputs for row in _feature(look, part)]
        unique = dict.fromkeys(found)
        return tuple(sorted(unique, key=_by_time))
    if name not in _columns(plan):
        raise DefinitionError(
            f"the plan makes no feature {name!r}",
            nearest(name, [*plan.computed, *derived]),
            "correct the name",
        )
    concept_id, statistic, window = _columns(plan)[name]
    concept = plan.concepts[concept_id]
    length = concept.windows[window] if window < len(concept.windows) else None
    seen = look.visible(concept_id)
    if statistic in DOSES:
        dosed = _doses(look, concept.name, statistic, length)
        # Taken without a known dose: these rows make it unknown rather than nothing.
        return dosed or _taken(seen, concept.definition, statistic, length, t)
    if concept.exposure:
        return _taken(seen, concept.definition, statistic, length, t)
    return _behind(seen, statistic, length, t)


def _doses(look: _Look, owner: str, statistic: str, window: int | None) -> tuple[EvidenceRow, ...]:
    """Return the rows of an exposure whose doses add up in a window, corrected ones left out."""
    found: list[EvidenceRow] = []
    for concept_id, concept in enumerate(look.plan.concepts):
        if concept.doses_of == owner:
            kept = [s for s in look.visible(concept_id) if s.row.time is not None]
            best: dict[datetime | None, _Seen] = {}
            for item in kept:
                other = best.get(item.row.time)
                if other is None or (item.known, item.value) > (other.known, other.value):
                    best[item.row.time] = item
            found += _dosed(list(best.values()), concept.definition, statistic, window, look.t)
    return tuple(sorted(found, key=_by_time))


def _visible(plan: Plan, concept_id: int, rows: _Uses, t: datetime) -> list[_Seen]:
    """Return a concept's rows that are known and have begun before t."""
    planned = plan.concepts[concept_id]
    moment = planned.definition.kind == "measurement" or planned.doses_of is not None
    found = []
    for row, entry in rows.get(concept_id, ()):
        known = row.known_time or row.time or datetime.min
        if known >= t or (row.time is not None and row.time >= t):
            continue
        value = entry.value
        if value is None:
            if row.value is None:
                continue
            value = row.value * entry.scale + entry.shift
        if entry.low <= value <= entry.high:
            end = row.end_time if row.end_time is not None and row.end_time <= t else None
            shown = EvidenceRow(
                row.time, row.known_time, end, row.code, row.value, row.unit, row.text_value,
                row.source, value if moment else None,
            )  # fmt: skip
            found.append(_Seen(shown, known, value))
    return found


def _moved(moment: datetime, by: timedelta) -> datetime:
    """Return a moment moved; nothing begins before the year 1 or ends after 9999."""
    try:
        return moment + by
    except OverflowError:
        return datetime.max if by > timedelta() else datetime.min


def _taken(
    seen: Sequence[_Seen], concept: Concept, statistic: str, window: int | None, t: datetime
) -> tuple[EvidenceRow, ...]:
    """Return the periods of an exposure that a statistic of a window rests on."""
    # A period that ended before the window still bridges a gap into it.
    gap = timedelta(seconds=seconds(concept.gap)) if concept.gap else timedelta()
    start = None if window is None else _moved(t, -timedelta(seconds=window))
    kept = []
    for item in seen:
        if item.row.time is None:
            continue
        stop = _stop(item.row, concept)
        if statistic in ("active", "daily_dose"):
            if stop is None or stop > t:
                kept.append(item.row)
        elif start is None or stop is None or _moved(stop, gap) >= start:
            kept.append(item.row)
    return tuple(sorted(kept, key=_by_time))


def _dosed(
    seen: Sequence[_Seen], concept: Concept, statistic: str, window: int | None, t: datetime
) -> list[EvidenceRow]:
    """Return the rows whose doses count: of a window, or of the present day."""
    if statistic == "daily_dose":
        day = _moved(t, -timedelta(days=1))
        return [s.row for s in seen if s.row.end_time is None or (s.row.time or day) >= day]
    return list(_taken(seen, concept, statistic, window, t))


def _stop(row: EvidenceRow, concept: Concept) -> datetime | None:
    """Return when a period ends: one that is short counts as running for the concept's least."""
    if row.end_time is None or row.time is None:
        return None
    least = timedelta(seconds=seconds(concept.lasts)) if concept.lasts else timedelta()
    return max(row.end_time, _moved(row.time, least))


def _behind(
    seen: list[_Seen], statistic: str, window: int | None, t: datetime
) -> tuple[EvidenceRow, ...]:
    """Return the rows that a statistic of a measurement or a condition rests on."""
    start = None if window is None else _moved(t, -timedelta(seconds=window))
    best: dict[datetime | None, _Seen] = {}
    for item in seen:
        time = item.row.time
        if start is not None and (time is None or time < start):
            continue
        other = best.get(time)
        if other is None or (item.known, item.value) > (other.known, other.value):
            best[time] = item
    kept_items = sorted(best.values(), key=lambda item: _by_time(item.row))
    if statistic in _NEWEST:
        kept_items = kept_items[-1:]
    elif statistic == "first":
        kept_items = kept_items[:1]
    elif statistic in ("min", "max") and kept_items:
        choose = min if statistic == "min" else max
        extreme = choose(item.value for item in kept_items)
        kept_items = [item for item in kept_items if item.value == extreme]
    return tuple(item.row for item in kept_items)


def _by_time(row: EvidenceRow) -> tuple[bool, datetime]:
    return row.time is not None, row.time or datetime.min


def _rows(
    events: Events, subjects: set[int], used: Callable[[str, str], bool]
) -> dict[int, list[EvidenceRow]]:
    """Return the rows of some people whose codes and units are used, in an order of their own."""
    connection = events.connection
    names = f"magml_asked_{id(subjects)}", f"magml_used_{id(subjects)}"
    asked, kept = names
    theirs = f"{events.relation} WHERE subject_id IN (SELECT subject_id FROM {asked})"
    connection.register(asked, to_arrow({"subject_id": np.array(sorted(subjects), dtype=np.int64)}))
    try:
        # Most rows are of no concept that is asked for: they are not handed over.
        met = connection.execute(f"SELECT DISTINCT code, coalesce(unit, '') FROM {theirs}")
        wanted = [pair for pair in met.fetchall() if used(*pair)]
        if not wanted:
            return {}
        codes, units = zip(*wanted, strict=True)
        connection.register(kept, to_arrow({"code": list(codes), "unit": list(units)}))
        lines: list[tuple[Any, ...]] = connection.execute(
            f"SELECT subject_id, time, known_time, end_time, code, "
            f"CASE WHEN isnan(numeric_value) THEN NULL ELSE numeric_value END, unit, text_value, "
            f"source FROM {theirs} AND (code, coalesce(unit, '')) IN (SELECT (code, unit) "
            f"FROM {kept}) ORDER BY ALL"
        ).fetchall()
    finally:
        for name in names:
            connection.unregister(name)
    found: dict[int, list[EvidenceRow]] = {}
    for subject, *rest in lines:
        found.setdefault(int(subject), []).append(EvidenceRow(*(*rest, None)))
    return found


def _naive(moment: Any) -> datetime:
    """Return a moment as a naive datetime; numpy and pandas ones included."""
    if isinstance(moment, np.datetime64):
        moment = moment.astype("datetime64[us]").item()
    if hasattr(moment, "to_pydatetime"):
        moment = moment.to_pydatetime()
    found: datetime = moment.replace(tzinfo=None)
    return found
