"""One table of a mapping as queries for events."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from magml.clock import seconds
from magml.errors import InputError
from magml.events.table import folded, identifier, text
from magml.sources.plain_mapping import (
    AT_ONCE,
    End,
    EventMapping,
    Known,
    Mapping,
    Moment,
    TableMapping,
    UnitFrom,
)
from magml.sources.scans import Scan, check_columns, clockless, day_end, scan_files, typed
from magml.sources.tables import event_rows

if TYPE_CHECKING:
    import duckdb

#: A bound that a laboratory writes before a number: "<0.3".
_BOUND = "^[<>≤≥]=?"
_THOUSANDS = "[+-]?[0-9]{1,3}(\\.[0-9]{3})+(,[0-9]+)?"
#: Parts of a format that tell a time of day.
_CLOCK = re.compile("%-?[HIXcTRfs]")


class PlainTable:
    """One table of the mapping over its files."""

    def __init__(
        self,
        folder: Path,
        table: TableMapping,
        definition: Mapping,
        connection: duckdb.DuckDBPyConnection,
    ) -> None:
        self.table, self.definition, self.connection = table, definition, connection
        try:
            files = tuple(sorted(path for path in folder.glob(table.file) if path.is_file()))
        except (OSError, ValueError, NotImplementedError) as error:  # too long, empty, absolute
            raise InputError(
                f"{table.file[:80]!r}, which names no file in '{folder.name}'",
                "a name such as labs.csv, or a pattern such as labs-*.csv",
                "correct `file` in the mapping",
            ) from error
        if not files:
            have = ", ".join(sorted(path.name for path in folder.iterdir())[:20]) or "nothing"
            raise InputError(
                f"no file '{table.file}' in '{folder.name}' (there: {have})",
                "the file that the mapping names",
                "correct `file` in the mapping, or add the table",
            )
        self.scan: Scan = scan_files(
            files,
            connection,
            table.file,
            delimiter=table.delimiter,
            encoding=table.encoding,
        )
        check_columns(self.scan, self._columns(), "the mapping file")

    def _columns(self) -> dict[str, str]:
        """Return every column that the mapping names, and where."""
        table, found = self.table, {self.table.person: "person"}
        for name, column in (("visit", table.visit), ("key", table.key)):
            if column:
                found[column] = name
        for owner in (table, *table.events):
            for name in ("time", "known", "end"):
                part = getattr(owner, name)
                if part is None or part == AT_ONCE:
                    continue
                columns = (
                    [part]
                    if isinstance(part, str)
                    else [getattr(part, key, None) for key in ("column", "clock", "days")]
                )
                found.update((column, name) for column in columns if column)
        for event in table.events:
            for name in ("value", "dose", "text"):
                if getattr(event, name):
                    found[getattr(event, name)] = name
            for name in ("code", "unit"):
                part = getattr(event, name)
                if part is not None and not isinstance(part, str):
                    found[part.column] = name
            found.update(dict.fromkeys(event.when, "when"))
            for listed in event.marks.values():
                found.update(dict.fromkeys(listed, "marks"))
        return found

    def cell(self, column: str) -> str:
        """Return SQL of a column as text, null where it holds nothing or a word for nothing."""
        value = f"nullif(trim({identifier(column)}::VARCHAR), '')"
        if self.table.missing:
            listed = ", ".join(text(item) for item in self.table.missing)
            return f"CASE WHEN {value} NOT IN ({listed}) THEN {value} END"
        return value

    def person(self) -> str:
        """Return SQL of the person's number."""
        if self.definition.persons == "integer":
            return f"TRY_CAST({self.cell(self.table.person)} AS BIGINT)"
        # Eight bytes of a digest: the same number in every run and for every set of people.
        digest = f"md5_number_upper({self.cell(self.table.person)})"
        return f"({digest}::HUGEINT - 9223372036854775808)::BIGINT"

    def people(self) -> str:
        """Return the query of the subject map."""
        return (
            f"SELECT DISTINCT {self.person()} AS subject_id, {self.cell(self.table.person)} AS "
            f"source_id FROM {self.scan.origin}"
        )

    def moment(self, part: str | Moment) -> str:
        """Return SQL of a timestamp."""
        given = Moment(column=part) if isinstance(part, str) else part
        have = self.scan.types[folded(given.column)]
        zone = self.definition.zone
        if given.clock is not None:
            day, clock = self.cell(given.column), self.cell(given.clock)
            joined = f"({day}) || ' ' || ({clock})"
            return self._parsed(joined, given.format, zone)
        if have == "VARCHAR":
            return self._parsed(self.cell(given.column), given.format, zone)
        if not have.startswith(("TIMESTAMP", "DATE")):
            # A number such as 20200131 is a date only where a format says so.
            return self._parsed(self.cell(given.column), given.format or "ISO", zone)
        return typed(identifier(given.column), have, "TIMESTAMP", zone)

    @staticmethod
    def _parsed(value: str, form: str | None, zone: str | None) -> str:
        if form is not None and form != "ISO":
            return f"try_strptime({value}, {text(form)})::TIMESTAMP"
        return typed(f"({value})", "VARCHAR", "TIMESTAMP", zone)

    def dated(self, part: str | Moment, moment: str) -> str:
        """Return SQL that is true where a moment is a date without a clock time."""
        given = Moment(column=part) if isinstance(part, str) else part
        if given.clock is None:
            by_format = given.format is not None and not _CLOCK.search(given.format)
            if by_format or self.scan.types[folded(given.column)] == "DATE":
                return "true"
        return clockless(moment, self.definition.midnight)

    def known(self, part: str | Known | None, stated: str | Moment, time: str) -> str:
        """Return SQL of when it was known; a date without clock time is known at its day's end."""
        if part is None:
            return "NULL"
        at_once = f"CASE WHEN {self.dated(stated, time)} THEN {day_end(time)} ELSE {time} END"
        if part == AT_ONCE:
            return at_once
        given = Known(column=part) if isinstance(part, str) else part
        delayed = at_once
        if given.after is not None:
            delayed = f"greatest({at_once}, {time} + to_seconds({seconds(given.after)}))"
        if given.moment is None:
            return delayed
        own = f"({self.moment(given.moment)})"
        at_end = f"CASE WHEN {self.dated(given.moment, own)} THEN {day_end(own)} ELSE {own} END"
        return f"coalesce({at_end}, {delayed})"

    def end(self, part: str | End | None, stated: str | Moment, time: str) -> str:
        """Return SQL of the end; a date without clock time is that day's end."""
        if part is None:
            return "NULL"
        given = End(column=part) if isinstance(part, str) else part
        if given.after is not None:
            return f"{time} + to_seconds({seconds(given.after)})"
        if given.days is not None:
            days = f"TRY_CAST({self.cell(given.days)} AS DOUBLE)"
            return f"{time} + to_seconds(round({days} * 86400)::BIGINT)"
        assert given.moment is not None
        own = f"({self.moment(given.moment)})"
        whole = self.dated(given.moment, own)
        # Beside a start with a clock time, an end at midnight is a time.
        both = whole if whole == "true" else f"{whole} AND {self.dated(stated, time)}"
        return f"CASE WHEN {both} THEN {day_end(own)} ELSE {own} END"

    def number(self, column: str) -> str:
        """Return SQL of a value; a bound such as "<0.3" counts as the number behind the sign."""
        if self.scan.types[folded(column)] not in ("VARCHAR",) and not self.table.missing:
            return typed(identifier(column), self.scan.types[folded(column)], "DOUBLE")
        bare = f"trim(regexp_replace({self.cell(column)}, {text(_BOUND)}, ''))"
        if self.table.decimal == ",":
            # "1.234,5" has points between thousands; "4.1" in such a table is no number.
            bare = (
                f"CASE WHEN regexp_full_match({bare}, {text(_THOUSANDS)}) "
                f"THEN replace(replace({bare}, '.', ''), ',', '.') "
                f"WHEN NOT contains({bare}, '.') THEN replace({bare}, ',', '.') END"
            )
        number = f"TRY_CAST({bare} AS DOUBLE)"
        return f"CASE WHEN isfinite({number}) THEN {number} END"

    def event(self, event: EventMapping) -> str:
        """Return the query for one kind of event."""
        table = self.table
        stated = None if event.static else event.time or table.time
        time = self.moment(stated) if stated is not None else "NULL::TIMESTAMP"
        known = event.known or table.known
        conditions = [f"({self.person()}) IS NOT NULL"]
        conditions += [] if stated is None else [f"({time}) IS NOT NULL"]
        columns = {"subject_id": self.person(), "time": time}
        if isinstance(event.code, str):
            columns["code"] = text(event.code)
        else:
            word = self.cell(event.code.column)
            cases = " ".join(
                f"WHEN {text(given)} THEN {text(to)}" for given, to in event.code.values.items()
            )
            name = f"CASE {word} {cases} ELSE {word} END" if cases else word
            columns["code"] = f"{text(event.code.vocabulary + '//')} || {name}"
            conditions.append(f"({word}) IS NOT NULL")
        if stated is not None and event.code != "MEDS_BIRTH":
            columns["known_time"] = self.known(known, stated, f"({time})")
            columns["end_time"] = self.end(event.end or table.end, stated, f"({time})")
        if event.value is not None:
            columns["numeric_value"] = self.number(event.value)
            bound = f"regexp_matches({self.cell(event.value)}, {text(_BOUND)})"
            said = (
                f"CASE WHEN ({columns['numeric_value']}) IS NULL OR {bound} "
                f"THEN {self.cell(event.value)} END"
            )
            columns["text_value"] = said
            conditions.append(f"({self.cell(event.value)}) IS NOT NULL")
        if event.dose is not None:
            columns["numeric_value"] = self.number(event.dose)
        if event.text is not None:
            columns["text_value"] = self.cell(event.text)
        if isinstance(event.unit, UnitFrom):
            columns["unit"] = self.cell(event.unit.column)
        elif event.unit is not None:
            columns["unit"] = text(event.unit)
        if table.visit is not None:
            columns["visit_id"] = self.cell(table.visit)
        row = f" || ':' || {self.cell(table.key)}" if table.key else ""
        columns["source"] = f"{text(table.file)}{row}"
        conditions += self._among(event.when)
        for mark, listed in event.marks.items():
            holds = " AND ".join(self._among(listed)) or "true"
            said = f"CASE WHEN {holds} THEN {text('//' + mark)} ELSE '' END"
            columns["code"] = f"{columns['code']} || {said}"
        return event_rows(self.scan.origin, " AND ".join(conditions), **columns)

    def _among(self, values: dict[str, tuple[str, ...]]) -> list[str]:
        """Return SQL of the conditions that columns hold one of the values listed."""
        return [
            f"{self.cell(column)} IN ({', '.join(text(value) for value in listed)})"
            for column, listed in values.items()
        ]

    def check(self) -> list[str]:
        """Refuse ids and times that cannot be read, and say what else falls out, with counts."""
        person = self.cell(self.table.person)
        refused: list[tuple[str, str, str]] = []
        if self.definition.persons == "integer":
            number = f"({self.person()})::VARCHAR"
            refused.append(
                (
                    self.table.person,
                    f"({person}) IS NOT NULL AND {number} IS DISTINCT FROM ({person})",
                    "whole numbers without leading zeros, or `persons: text` in the mapping",
                )
            )
        refused += [self._unreadable(moment) for moment in self._moments()]
        values = [event for event in self.table.events if event.value is not None]
        tests = [bad for _, bad, _ in refused]
        tests += [
            f"({self.cell(str(e.value))}) IS NOT NULL AND ({self.number(str(e.value))}) IS NULL"
            for e in values
        ]
        times = self._times()
        tests += [f"({self.moment(time)}) IS NULL" for time in times]
        tests.append(f"({person}) IS NULL")
        *counts, rows = self.connection.execute(
            "SELECT "
            + "".join(f"count(*) FILTER (WHERE {test}), " for test in tests)
            + f"count(*) FROM {self.scan.origin}"
        ).fetchall()[0]
        for (column, _, expected), count in zip(refused, counts, strict=False):
            if count:
                raise InputError(
                    f"{self.table.file}: {count} of {rows} values of {column} cannot be read",
                    expected,
                    "correct the mapping or the table",
                )
        notes = [
            f"{self.table.file}: {words} of {rows} values of {event.value} are words, kept as "
            "text_value"
            for event, words in zip(values, counts[len(refused) :], strict=False)
            if words
        ]
        notes += [
            f"{self.table.file}: {absent} of {rows} rows have no time in {time.column} and were "
            "left out there"
            for time, absent in zip(times, counts[-1 - len(times) : -1], strict=True)
            if absent
        ]
        if counts[-1]:
            notes.append(f"{self.table.file}: {counts[-1]} of {rows} rows name no person")
        return notes

    def _moments(self) -> list[Moment]:
        """Return every moment that the mapping reads from this table, once."""
        found: list[Moment] = []
        owners: tuple[TableMapping | EventMapping, ...] = (self.table, *self.table.events)
        for owner in owners:
            for part in (owner.time, owner.known, owner.end):
                moment = part.moment if isinstance(part, Known | End) else part
                if moment is not None and moment != AT_ONCE:
                    found.append(Moment(column=moment) if isinstance(moment, str) else moment)
        return list(dict.fromkeys(found))

    def _times(self) -> list[Moment]:
        """Return the moments at which events happen, once."""
        stated = [event.time or self.table.time for event in self.table.events if not event.static]
        found = [Moment(column=part) if isinstance(part, str) else part for part in stated if part]
        return list(dict.fromkeys(found))

    def _unreadable(self, moment: Moment) -> tuple[str, str, str]:
        """Return the column, the SQL of what is wrong, and what was expected."""
        there = f"({self.cell(moment.column)}) IS NOT NULL"
        if moment.clock is not None:
            there += f" AND ({self.cell(moment.clock)}) IS NOT NULL"
        form = moment.format or "ISO 8601, or state a `format` in the mapping"
        return (
            moment.column,
            f"{there} AND ({self.moment(moment)}) IS NULL",
            f"times in the form {form}",
        )
