"""The mapping file of plain tables: which column is what, in which unit, zone and delay.

Unless stated otherwise a name is that of a column, so ``value: result`` takes the column
``result``. A fixed text stands only where a code or a unit is written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from magml.clock import checked
from magml.definitions.catalogue import Frozen
from magml.definitions.dose import ORDER_MARKS
from magml.definitions.read import parse, read_yaml
from magml.errors import DefinitionError

AT_ONCE = "at once"


class Moment(Frozen):
    """A point in time: one column, or a date and a clock time in two.

    `format` is that of ``strptime`` (``%d.%m.%Y %H:%M``); without it, ISO 8601 or a column that
    is a timestamp already. `clock` names a second column with the time of day.
    """

    column: str
    format: str | None = None
    clock: str | None = None


class Known(Frozen):
    """When something could first be known: a moment of its own, a delay, or both.

    With both, the delay stands in where the moment is empty.
    """

    column: str | None = None
    format: str | None = None
    clock: str | None = None
    after: str | None = None

    @field_validator("after")
    @classmethod
    def _duration(cls, value: str | None) -> str | None:
        return value if value is None else checked(value)

    @model_validator(mode="after")
    def _one(self) -> Known:
        if self.column is None and self.after is None:
            raise ValueError("known needs a column, or a delay such as {after: 45min}")
        return self

    @property
    def moment(self) -> Moment | None:
        """The moment of its own, if there is one."""
        if self.column is None:
            return None
        return Moment(column=self.column, format=self.format, clock=self.clock)


class End(Frozen):
    """The end of an exposure or a visit: a moment, a number of days in a column, or a length."""

    column: str | None = None
    format: str | None = None
    clock: str | None = None
    days: str | None = None
    after: str | None = None

    @field_validator("after")
    @classmethod
    def _duration(cls, value: str | None) -> str | None:
        return value if value is None else checked(value)

    @model_validator(mode="after")
    def _one(self) -> End:
        if sum(part is not None for part in (self.column, self.days, self.after)) != 1:
            raise ValueError("end needs one of column, days (a column) and after (a length)")
        return self

    @property
    def moment(self) -> Moment | None:
        """The moment of its own, if there is one."""
        if self.column is None:
            return None
        return Moment(column=self.column, format=self.format, clock=self.clock)


class CodeFrom(Frozen):
    """A code made of a vocabulary and a column; `values` replaces what the column says."""

    column: str
    vocabulary: str
    values: dict[str, str] = Field(default_factory=dict)

    @field_validator("vocabulary")
    @classmethod
    def _plain(cls, value: str) -> str:
        if "/" in value or not value.strip():
            raise ValueError("a vocabulary is a word such as LAB, DRUG, ICD10CM or LOINC")
        return value


class UnitFrom(Frozen):
    """A unit that stands in a column."""

    column: str


class EventMapping(Frozen):
    """One kind of event made of each row of a table.

    What is not stated here is taken from the table. `when` keeps rows whose columns hold one of
    the values listed. `marks` says of a drug what its order was: ``as needed``, ``cancelled``,
    ``inpatient`` or ``outpatient``, each with columns and values as in `when`; without columns it
    holds for every row. A row without a `value` is left out; one without a `dose` stays.
    """

    code: str | CodeFrom
    time: str | Moment | None = None
    known: str | Known | None = None
    end: str | End | None = None
    value: str | None = None
    dose: str | None = None
    unit: str | UnitFrom | None = None
    text: str | None = None
    static: bool = False
    when: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    marks: dict[str, dict[str, tuple[str, ...]]] = Field(default_factory=dict)

    @field_validator("code")
    @classmethod
    def _whole(cls, value: str | CodeFrom) -> str | CodeFrom:
        if isinstance(value, str) and "//" not in value and not value.startswith("MEDS_"):
            raise ValueError(
                f"{value!r} is no code VOCABULARY//CODE; for a column write "
                f"{{column: {value}, vocabulary: LAB}}"
            )
        return value

    @field_validator("when", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return _texts(value)

    @field_validator("marks", mode="before")
    @classmethod
    def _marked(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        for mark in value:
            if mark not in ORDER_MARKS:
                raise ValueError(f"{mark!r} is none of {', '.join(ORDER_MARKS)}")
        return {mark: _texts(columns or {}) for mark, columns in value.items()}


def _texts(value: Any) -> Any:
    """Return values by column as texts; one value stands for a list of it."""
    if isinstance(value, dict):
        return {
            key: tuple(map(str, item)) if isinstance(item, list | tuple) else (str(item),)
            for key, item in value.items()
        }
    return value


class TableMapping(Frozen):
    """One table: its file or files, the person, and the events in its rows.

    `file` is a name or a pattern (``labs_*.csv``) in the folder. `missing` lists texts that mean
    "no value". `key` is the column that names a row in a reason's evidence.
    """

    file: str
    person: str
    events: tuple[EventMapping, ...] = Field(min_length=1)
    time: str | Moment | None = None
    known: str | Known | None = None
    end: str | End | None = None
    visit: str | None = None
    key: str | None = None
    missing: tuple[str, ...] = ()
    decimal: Literal[".", ","] = "."
    delimiter: str | None = None
    encoding: str | None = None

    @field_validator("missing", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        return tuple(map(str, value)) if isinstance(value, list | tuple) else value


class Mapping(Frozen):
    """A mapping file.

    `persons`: ``integer`` ids are used as they are; ``text`` ids become 64-bit numbers that are
    the same in every run. `midnight`: ``date`` takes a timestamp at midnight for a date without
    clock time. `names` maps local codes, whole (``LAB//MG_S``) or without their vocabulary
    (``MG_S``), to codes of the catalogue.
    """

    persons: Literal["integer", "text"] = "integer"
    zone: str | None = None
    midnight: Literal["date", "clock"] = "date"
    names: dict[str, str] = Field(default_factory=dict)
    tables: tuple[TableMapping, ...] = Field(min_length=1)

    @field_validator("names")
    @classmethod
    def _codes(cls, value: dict[str, str]) -> dict[str, str]:
        for name, code in value.items():
            if "//" not in code:
                raise ValueError(f"{name} is mapped to {code!r}, which is no code VOCABULARY//CODE")
        return value


def read_mapping(path: str | Path) -> Mapping:
    """Read a mapping file.

    Raises
    ------
    DefinitionError
        Naming the file, the key and the nearest valid one; a time without a word on when it was
        known.
    """
    path = Path(path)
    if not path.is_file():
        raise DefinitionError(
            f"no mapping file '{path.name}'",
            "mapping.yaml in the folder of the tables, or the option mapping",
            "write one as docs/plain-tables.md shows",
        )
    content = read_yaml(path)
    mapping = parse(Mapping, _split(content, path.name), path.name)
    for number, table in enumerate(mapping.tables):
        for position, event in enumerate(table.events):
            where = f"{path.name}: tables.{number} ({table.file}).events.{position}"
            _check_event(table, event, where)
    return mapping


def _split(content: Any, where: str) -> Any:
    """Check the parts of a union one by one, so that an unknown key is told with its nearest."""
    # Pydantic reports a wrong key of `str | Moment` once for each member of the union; the
    # member that was meant is told by the shape of what is written.
    if not isinstance(content, dict):
        return content
    for number, table in enumerate(content.get("tables") or []):
        if not isinstance(table, dict):
            continue
        place = f"{where}: tables.{number}"
        _check_parts(table, place)
        for position, event in enumerate(table.get("events") or []):
            if isinstance(event, dict):
                _check_parts(event, f"{place}.events.{position}")
    return content


_PARTS: dict[str, type[Frozen]] = {
    "time": Moment,
    "known": Known,
    "end": End,
    "code": CodeFrom,
    "unit": UnitFrom,
}


def _check_parts(owner: dict[str, Any], where: str) -> None:
    for key, kind in _PARTS.items():
        if isinstance(owner.get(key), dict):
            parse(kind, owner[key], f"{where}.{key}")


def _check_event(table: TableMapping, event: EventMapping, where: str) -> None:
    """Refuse an event whose knowledge, time or unit is not said."""
    time = None if event.static else event.time or table.time
    known = event.known or table.known
    born = event.code == "MEDS_BIRTH"
    if time is None and not event.static:
        raise DefinitionError(
            f"{where}: the event has no time",
            "time: COLUMN, or static: true for what always holds",
            "add one of them to the event or its table",
        )
    if time is not None and known is None and not born:
        raise DefinitionError(
            f"{where}: it is not said when the event was known",
            "known: {column: ...}, known: {after: 45min}, or known: at once",
            "say it: a model that sees results before they were there is worthless in use",
        )
    if event.value is not None and event.dose is not None:
        raise DefinitionError(
            f"{where}: a value and a dose", "one of them", "a drug has a dose, a result has a value"
        )
    if event.value is None and event.dose is None and event.unit is not None:
        raise DefinitionError(
            f"{where}: a unit without a value", "value: COLUMN", "add the value, or drop the unit"
        )
