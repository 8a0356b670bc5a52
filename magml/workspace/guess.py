"""A mapping of plain tables, guessed from names and values, with what is left to complete."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from magml.features.names import matches
from magml.workspace.columns import ISO, ColumnGuess, TableGuess

if TYPE_CHECKING:
    from magml.definitions import Catalogue

_PERSON = r"(subject|person|patient|pat|pt|member|mrn|participant)[_ ]?(id|no|nr|num|number|key)?"
_PERSON_LIKE = r".*(patient|person|subject|pid).*"
_BIRTH = r".*(birth|born|dob|geb).*"
_SEX = r"(sex|gender|geschlecht)"
_KNOWN = r".*(result.?(time|date)|releas|report|verif|valid|avail|posted|store|final|freigabe).*"
_END = r".*(end|stop|until|disch|thru|through|finish|bis)([_ ]?(time|date|dt|dttm))?.*|to"
_VALUE = r"(numeric_?|num_?|lab_?|test_?)?(value|result|val|wert|ergebnis)(_?num|_?numeric)?"
_UNIT = r".*(unit|uom|einheit)s?"
_CODE = (
    r".*(code|test|analyte|item|label|drug|medication|diagnos|icd|loinc|atc|procedure|name|dx|rx).*"
)
_VISIT = r"(visit|encounter|admission|hadm|stay|case|fall)[_ ]?(id|no|nr|num|number)?"
_DAYS = r"(days|duration|tage)([_ ]?(supply|of[_ ]supply|days))?|.*days"
_STATUS = r".*status"
_SITE = r".*(site|hospital|facility|house|campus|center|centre|klinik).*"
_SEXES = {"f": "F", "m": "M", "w": "F", "female": "F", "male": "M", "woman": "F", "man": "M"}
#: What the name of a table or column says of its codes.
_KINDS = (
    ("LAB", r"lab|test|analyte"),
    ("DRUG", r"drug|medic|presc|pharm|rx|mar\b|arznei"),
    ("CONDITION", r"diag|condition|problem|icd|dx"),
    ("PROCEDURE", r"proced|ops\b"),
    ("VITAL", r"vital|chart|observ"),
)
_SHAPES = (
    ("LOINC", r"[0-9]{1,5}-[0-9]"),
    ("ICD10CM", r"[A-TV-Z][0-9][0-9A-Z](\.[0-9A-Z]{1,4})?"),
    ("ATC", r"[A-Z][0-9]{2}[A-Z]{2}[0-9]{2}"),
)
_STAY = r"stay|admission|visit|encounter|hospitali|aufenthalt"


@dataclass
class EventGuess:
    """One event of a table, and what of it must be completed."""

    code: str
    column: str | None = None
    vocabulary: str | None = None
    values: dict[str, str] = field(default_factory=dict)
    time: ColumnGuess | None = None
    known: ColumnGuess | None = None
    known_at_once: bool = False
    end: ColumnGuess | None = None
    days: str | None = None
    value: str | None = None
    unit_column: str | None = None
    static: bool = False
    open: list[str] = field(default_factory=list)


@dataclass
class MappingGuess:
    """One table of the mapping: its person and events; `open` says what must be completed."""

    table: TableGuess
    person: str | None
    visit: str | None
    decimal: str
    events: list[EventGuess]
    open: list[str] = field(default_factory=list)


def guess_table(table: TableGuess, person: str | None, catalogue: Catalogue) -> MappingGuess:
    """Guess the events of a table.

    Parameters
    ----------
    table
        Its columns, as `magml.workspace.columns.find_tables` describes them.
    person
        The person's column, as `guess_person` tells it.
    catalogue
        The clinical catalogue: names that it knows tell what a column holds.
    """
    rest = [column for column in table.columns if column.name != person]
    visit = _first(rest, _VISIT)
    moments = [column for column in rest if column.format is not None]
    birth = next((c for c in moments if _named(c, _BIRTH)), None)
    moments = [column for column in moments if column is not birth]
    known = next((c for c in moments if _named(c, _KNOWN)), None)
    end = next((c for c in moments if c is not known and _named(c, _END)), None)
    time = next((c for c in moments if c is not known and c is not end), None)
    decimal = "," if any(c.comma and c.number > 0.5 and c.format is None for c in rest) else "."
    stays = re.search(_STAY, table.pattern.lower()) is not None
    events: list[EventGuess] = []
    if birth is not None:
        events.append(_noted(EventGuess("MEDS_BIRTH", time=birth), birth))
    sex = _first(rest, _SEX)
    if sex is not None:
        events.append(_sex_event(sex))
    for event in _coded(table, rest, moments, visit, time, catalogue):
        event.time, event.known = time, event.known or known
        # The end of a stay is that of the visit, not of what is recorded of it.
        event.end = end if not stays or event.code.startswith("VISIT//") else None
        if stays and event.vocabulary not in (None, "SITE"):
            event.known = end  # a code that is billed is known at the end of the stay
        days = _first(rest, _DAYS)
        if event.vocabulary == "DRUG" and event.end is None and days is not None:
            event.days = days.name
        status = _first(rest, _STATUS)
        if status is not None:
            listed = ", ".join(status.values[:6])
            event.open.append(f"when: do all rows count? {status.name} is {listed}")
        events.append(_finished(event))
    found = MappingGuess(table, person, visit.name if visit else None, decimal, events)
    if person is None:
        found.open.append("person: which column is the person's id?")
    elif not re.fullmatch(_PERSON, _plain(person)):
        found.open.append(f"person: is {person} the person's id, and not that of a stay?")
    if not events:
        found.open.append("events: nothing was recognised; see docs/plain-tables.md")
    return found


def guess_person(tables: Iterable[TableGuess]) -> dict[str, str]:
    """Return the person's column by table: by its name, and alike in all tables."""
    listed = list(tables)
    found = {t.pattern: c.name for t in listed for c in t.columns[::-1] if _named(c, _PERSON)}
    # Otherwise what may name a person, the column that most tables share first.
    shared = Counter(c.name for t in listed for c in t.columns if _named(c, _PERSON_LIKE))
    known = [*dict.fromkeys(found.values()), *(name for name, _ in shared.most_common())]
    for table in listed:
        names = {column.name for column in table.columns}
        for name in known:
            if name in names:
                found.setdefault(table.pattern, name)
    return found


def _coded(
    table: TableGuess,
    columns: list[ColumnGuess],
    moments: list[ColumnGuess],
    visit: ColumnGuess | None,
    time: ColumnGuess | None,
    catalogue: Catalogue,
) -> Iterable[EventGuess]:
    """Return the events of a long table, of a wide one, or of stays."""
    others = [c for c in columns if c not in moments and c is not visit and c.filled]
    value = next((c for c in others if c.number > 0.5 and _named(c, _VALUE)), None)
    unit = _first(others, _UNIT)
    words = [
        c
        for c in others
        if c not in (value, unit) and not _named(c, _SEX) and not _named(c, _BIRTH)
    ]
    if re.search(_STAY, table.pattern.lower()) and time is not None:
        yield EventGuess("VISIT//inpatient", known_at_once=True)
        site = _first(words, _SITE)
        if site is not None:
            yield EventGuess("", site.name, "SITE", known_at_once=True)
            words.remove(site)
    candidates = [c for c in words if _named(c, _CODE) and (c.number < 0.5 or c.whole)]
    ranked = sorted(candidates, key=lambda c: -_vocabulary(table, c, catalogue)[1])
    if ranked and time is not None:
        column = ranked[0]
        vocabulary, share = _vocabulary(table, column, catalogue)
        event = EventGuess("", column.name, vocabulary)
        if value is not None:
            event.value = value.name
            event.unit_column = unit.name if unit is not None else None
        if column.whole:
            event.open.append(
                f"names: {column.name} holds numbers; give each its code under names, as "
                f'"{vocabulary}//{column.values[0]}": LOINC//...'
            )
        elif not share:
            event.open.append(f"vocabulary: is {column.name} really {vocabulary}?")
        yield event
        return
    if time is None:
        return
    for column in words:
        wide = next(
            (v for v in ("LAB", "VITAL") if matches(catalogue, f"{v}//{column.name}")), None
        )
        if wide and column.number > 0.5:
            yield EventGuess(f"{wide}//{column.name}", value=column.name)


def _vocabulary(table: TableGuess, column: ColumnGuess, catalogue: Catalogue) -> tuple[str, float]:
    """Return the vocabulary of a column of codes, and the share of its values that says so."""
    values = column.values or ("",)

    def share(test: Callable[[str], object]) -> float:
        return sum(bool(test(value)) for value in values) / len(values)

    for name, shape in _SHAPES:
        pattern = re.compile(shape)
        fits = share(pattern.fullmatch)
        if fits >= 0.8:
            return name, fits
    place = f"{column.name} {table.pattern}".lower()
    said = next((name for name, word in _KINDS if re.search(word, place)), None)
    known = {name: share(partial(_maps, catalogue, name)) for name, _ in _KINDS}
    best = max(known, key=lambda name: (known[name], name == said))
    if said is not None:
        return said, max(known[said], 0.01)
    return best, known[best]


def _maps(catalogue: Catalogue, vocabulary: str, value: str) -> bool:
    return bool(matches(catalogue, f"{vocabulary}//{value}"))


def _sex_event(column: ColumnGuess) -> EventGuess:
    event = EventGuess("", column.name, "GENDER", static=True)
    for value in column.values:
        if value.lower() in _SEXES:
            event.values[value] = _SEXES[value.lower()]
        else:
            event.open.append(f"values: what does {value!r} in {column.name} mean (F or M)?")
    if all(value == sex for value, sex in event.values.items()):
        event.values = {}
    return event


def _finished(event: EventGuess) -> EventGuess:
    """Add what must be completed of an event with a time."""
    if event.time is not None:
        _noted(event, event.time)
    if event.known_at_once:
        event.known = None
    elif event.known is None:
        event.open.append(
            "known: when was it known? at once, {column: ...}, or a delay such as {after: 60min}"
        )
    else:
        _noted(event, event.known)
        missing = event.known.rows - event.known.filled
        if missing and event.vocabulary not in (None, "SITE") and event.known is not event.end:
            event.open.append(
                f"known: {event.known.name} is empty in {missing} of the first "
                f"{event.known.rows} rows, which count as known at their time; add a delay (after)"
            )
    if event.value is not None and event.unit_column is None:
        event.open.append(f"unit: in which unit is {event.value}?")
    return event


def _noted(event: EventGuess, moment: ColumnGuess) -> EventGuess:
    if moment.unclear:
        event.open.append(f"format of {moment.name}: day and month may be the other way round")
    return event


def _named(column: ColumnGuess, pattern: str) -> bool:
    return re.fullmatch(pattern, _plain(column.name)) is not None


def _plain(name: str) -> str:
    """Return a column's name in small letters, with "PatNo" as "pat_no"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip()).lower()


def _first(columns: Iterable[ColumnGuess], pattern: str) -> ColumnGuess | None:
    return next((column for column in columns if _named(column, pattern)), None)


def iso(column: ColumnGuess) -> bool:
    """Return whether a column of moments needs no format."""
    return column.format == ISO
