"""The guessed mapping as a file that a person completes: YAML with marks where it is open."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from magml.checks.codes import resembling
from magml.definitions import read_catalogue
from magml.definitions.catalogue import Catalogue
from magml.errors import InputError
from magml.events.table import connect
from magml.features.names import matches
from magml.workspace.columns import ColumnGuess, find_tables
from magml.workspace.guess import EventGuess, MappingGuess, guess_person, guess_table, iso

#: Stands wherever somebody must decide.
MARK = "COMPLETE"
#: Local names that are listed for each table.
_NAMES = 40
_HEAD = f"""\
# Which column is what, in which unit, and when it was known (docs/plain-tables.md).
# Guessed from the names and values of the columns: check every line. What could not be told is
# marked {MARK}; the mapping is refused until it is said when each thing was known.
"""


def guess_mapping(folder: Path) -> tuple[str, int]:
    """Return a mapping file for a folder of plain tables, and how many places are left open.

    Parameters
    ----------
    folder
        A folder of CSV or Parquet tables.

    Raises
    ------
    InputError
        If it holds no table, or one that cannot be read.
    """
    connection = connect()
    try:
        tables = find_tables(folder, connection)
    finally:
        connection.close()
    if not tables:
        raise InputError(
            f"'{folder.name}' holds no table",
            "CSV or Parquet files",
            "name the folder that holds the tables themselves",
        )
    catalogue = read_catalogue()
    persons = guess_person(tables)
    guesses = [guess_table(table, persons.get(table.pattern), catalogue) for table in tables]
    used = [guess for guess in guesses if guess.events]
    lines = [_HEAD, f"persons: {_persons(used)}"]
    lines.append(
        "# zone: Europe/Berlin  # of timestamps that carry an offset; others stay as they are"
    )
    lines += [*_names(used, catalogue), "tables:"]
    for guess in guesses:
        lines += _table(guess) if guess.events else _left_out(guess)
    if not used:
        lines.append(f"  []  # {MARK}: no table was recognised")
    content = "\n".join(lines) + "\n"
    return content, content.count(MARK) - _HEAD.count(MARK)


def _persons(guesses: Iterable[MappingGuess]) -> str:
    columns = [c for g in guesses for c in g.table.columns if c.name == g.person]
    return "integer" if columns and all(column.whole for column in columns) else "text"


def _names(guesses: Iterable[MappingGuess], catalogue: Catalogue) -> list[str]:
    """Return the local names that the catalogue does not know, with what they resemble."""
    lines = []
    for guess in guesses:
        columns = {column.name: column for column in guess.table.columns}
        for event in guess.events:
            if event.column is None or event.vocabulary not in ("LAB", "VITAL", "DRUG"):
                continue
            listed = 0
            for value in columns[event.column].values:
                code = f"{event.vocabulary}//{value}"
                if matches(catalogue, code) or listed >= _NAMES:
                    continue
                like, _ = resembling(catalogue, code)
                target = _target(catalogue, like[0]) if like else ""
                hint = f"  # {like[0]}?" if like else ""
                lines.append(f"#   {_word(value)}: {target}{hint}")
                listed += 1
    if not lines:
        return ["# names: {}  # local codes -> codes of the catalogue; all names found are known"]
    return [
        "# Local names that the catalogue does not know, the commonest first of each table. Give",
        "# those that matter their code (LOINC//..., ATC//...) and remove the signs before them.",
        "# names:",
        *lines,
    ]


def _target(catalogue: Catalogue, concept: str) -> str:
    """Return a code that maps to a concept."""
    definition = catalogue.by_name[concept]
    return definition.codes[0] if definition.codes else ""


def _table(guess: MappingGuess) -> list[str]:
    """Return one table of the mapping."""
    lines = [f"  - file: {_word(guess.table.pattern)}"]
    lines += [f"    # {MARK} {text}" for text in guess.open]
    if guess.person is not None:
        lines.append(f"    person: {_word(guess.person)}")
    if guess.visit is not None:
        lines.append(f"    visit: {_word(guess.visit)}")
    if guess.decimal != ".":
        lines.append(f'    decimal: "{guess.decimal}"')
    timed = [event for event in guess.events if event.code != "MEDS_BIRTH" and not event.static]
    shared: dict[str, str] = {}
    if timed:
        keys = [_timing(event) for event in timed]
        shared = {
            key: value
            for key, value in keys[0].items()
            if all(other.get(key) == value for other in keys)
        }
    lines += [f"    {key}: {value}" for key, value in shared.items()]
    # What is open in all events of a table is asked once.
    asked = [x for x in (timed[0].open if timed else []) if all(x in e.open for e in timed)]
    asked = [] if len(timed) < 2 else asked
    lines += [f"    # {MARK} {text}" for text in asked]
    lines.append("    events:")
    for event in guess.events:
        lines += _event(event, shared, [text for text in event.open if text not in asked])
    return lines


def _timing(event: EventGuess) -> dict[str, str]:
    """Return the keys of an event that say when."""
    found = {}
    if event.time is not None:
        found["time"] = _moment(event.time)
    if event.known_at_once:
        found["known"] = "at once"
    elif event.known is not None:
        found["known"] = _moment(event.known)
    if event.end is not None:
        found["end"] = _moment(event.end)
    elif event.days is not None:
        found["end"] = f"{{days: {_word(event.days)}}}"
    return found


def _event(event: EventGuess, shared: dict[str, str], still_open: list[str]) -> list[str]:
    if event.column is not None:
        parts = [f"column: {_word(event.column)}", f"vocabulary: {event.vocabulary}"]
        if event.values:
            pairs = ", ".join(f"{_word(k)}: {v}" for k, v in event.values.items())
            parts.append(f"values: {{{pairs}}}")
        keys = [f"code: {{{', '.join(parts)}}}"]
    else:
        keys = [f"code: {_word(event.code)}"]
    keys += [f"{key}: {value}" for key, value in _timing(event).items() if key not in shared]
    if event.value is not None:
        keys.append(f"value: {_word(event.value)}")
    if event.unit_column is not None:
        keys.append(f"unit: {{column: {_word(event.unit_column)}}}")
    if event.static:
        keys.append("static: true")
    lines = [f"      - {keys[0]}", *(f"        {key}" for key in keys[1:])]
    return lines + [f"        # {MARK} {text}" for text in still_open]


def _left_out(guess: MappingGuess) -> list[str]:
    columns = ", ".join(column.name for column in guess.table.columns)[:200]
    return [f"  # {MARK} or leave out: nothing was recognised in {guess.table.pattern} ({columns})"]


def _moment(column: ColumnGuess) -> str:
    if iso(column):
        return _word(column.name)
    return f"{{column: {_word(column.name)}, format: {json.dumps(column.format)}}}"


def _word(value: str) -> str:
    """Return a text as YAML reads it back: bare where that is safe, else in quotes."""
    safe = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./]*( [A-Za-z0-9_./]+)*", value)
    words = ("y", "n", "yes", "no", "on", "off", "true", "false", "null")
    return value if safe and value.lower() not in words else json.dumps(value, ensure_ascii=False)
