"""A table of events on a connected engine, and what an engine must be able to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from magml.errors import InputError, nearest
from magml.features.plan import PREFIX
from magml.tables import EVENTS, Column, Table

if TYPE_CHECKING:
    import pyarrow as pa


#: Parts of the name of a table, as sqlglot calls them.
_PARTS = ("catalog", "db", "this")


class Session(Protocol):
    """One run on an engine: named relations in, Arrow tables out; nothing of it remains.

    SQL names its relations as the plan's queries do, with `magml.features.plan.PREFIX`.
    """

    def put(self, name: str, table: pa.Table) -> None:
        """Bring a small table to the engine under a name."""

    def keep(self, name: str, sql: str) -> None:
        """Hold the rows of a query under a name, so that it runs once."""

    def query(self, sql: str) -> pa.Table:
        """Return the rows of a query."""


@dataclass(frozen=True)
class EngineTable:
    """Events in the contract's form on a connected engine.

    `magml.spark.events` and `magml.postgres.events` make one; `magml.build_features` and
    `Model.score` take it in place of events.

    Attributes
    ----------
    dialect
        The engine, one of `magml.features.DIALECTS`.
    connect
        Opens a `Session` in which the relation ``events`` has the columns of
        `magml.tables.EVENTS`.
    name
        What it is, for summaries and errors.
    """

    dialect: str
    connect: Callable[[], AbstractContextManager[Session]]
    name: str

    def rows_of(self, people: NDArray[np.int64]) -> pa.Table:
        """Return all rows of some people, as the evidence behind their reasons needs them."""
        from magml.engines.queries import rows_of_people
        from magml.features.arrow import to_arrow

        with self.connect() as session:
            session.put("people", to_arrow({"subject_id": np.unique(people)}))
            return session.query(rows_of_people(self.dialect))


def named(sql: str, relations: Mapping[str, str]) -> str:
    """Return SQL with the engine's names of its relations.

    Examples
    --------
    >>> named('SELECT 1 FROM "magml_in_events"', {"events": "cdm.events"})
    'SELECT 1 FROM cdm.events'
    """
    for name, relation in relations.items():
        for quote in ('"', "`"):
            sql = sql.replace(f"{quote}{PREFIX}{name}{quote}", relation)
    return sql


def check_columns(
    found: Mapping[str, str],
    accepted: Mapping[str, Iterable[str]],
    what: str,
    table: Table = EVENTS,
) -> dict[str, Column]:
    """Return the declared columns that a table of an engine has, by name.

    Parameters
    ----------
    found
        Type of each of its columns, as the engine calls it.
    accepted
        For each declared type, how the engine's types for it begin.
    what
        The table, for the message.

    Raises
    ------
    InputError
        If a column is missing or of another type.
    """
    for column in table.columns:
        if column.name not in found:
            if column.required:
                raise InputError(
                    f"{what} has no column {column.name!r} "
                    f"(columns: {', '.join(sorted(found)[:20])})",
                    f"a column {column.name!r}: {column.meaning}; "
                    f"nearest: {nearest(column.name, found)}",
                    "name a table or a view with the columns of the contract (docs/events.md)",
                )
            continue
        seen = found[column.name].lower()
        if not seen.startswith(tuple(accepted[column.type])):
            raise InputError(
                f"column {column.name!r} of {what} is of type {seen}",
                f"{column.type}: {column.meaning}",
                "convert the column in a view",
            )
    return {column.name: column for column in table.columns if column.name in found}


def check_counts(counts: Mapping[str, Any], what: str) -> None:
    """Refuse a table with nulls or moments without end where none may be.

    Parameters
    ----------
    counts
        Faulty rows by column.
    """
    for name, rows in counts.items():
        if rows:
            raise InputError(
                f"{int(rows)} rows of {what} have no usable {name!r}",
                "a value in every row, and finite times",
                "remove or complete these rows in a view",
            )


def quoted_name(name: str, dialect: str) -> str:
    """Return a table's name with every part quoted, as the engine resolves it.

    Parameters
    ----------
    name
        A name with up to three parts: ``events``, ``cdm.events``, ``"My schema".events``.
    dialect
        The engine's dialect, which decides on quotes and case.

    Raises
    ------
    InputError
        If it is anything else than a name.

    Examples
    --------
    >>> quoted_name("CDM.events", "postgres"), quoted_name('"CDM".events', "postgres")
    ('"cdm"."events"', '"CDM"."events"')
    """
    import sqlglot
    from sqlglot import exp
    from sqlglot.optimizer.normalize_identifiers import normalize_identifiers

    try:
        found = sqlglot.parse_one(name, into=exp.Table, read=dialect)
    except sqlglot.errors.SqlglotError:
        found = None
    parts = [found.args.get(key) for key in ("catalog", "db", "this")] if found else []
    given = [part for part in parts if part is not None]
    named_only = all(isinstance(part, exp.Identifier) for part in given)
    if found is None or not named_only or any(v for k, v in found.args.items() if k not in _PARTS):
        raise InputError(
            f"the table name {name!r}",
            "a name such as schema.table",
            "quote a name with other signs as in SQL, or make a view",
        )
    plain = exp.Table(**{key: found.args.get(key) for key in _PARTS})
    return str(normalize_identifiers(plain, dialect=dialect).sql(dialect, identify=True))
