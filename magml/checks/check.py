"""The check of events: what is wrong with them, and what each thing costs a model."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from magml.checks.contamination import contamination_findings
from magml.checks.coverage import code_findings, coverage_findings, duplicate_findings
from magml.checks.dates import date_findings, grid_findings, vocabulary_lines
from magml.checks.duplicates import find_duplicates
from magml.checks.knowledge import diagnosis_findings, known_findings
from magml.checks.mapping import map_codes
from magml.checks.profile import profile_events
from magml.checks.report import CheckReport, ordered
from magml.checks.units import MOST_VALUES, check_event_units
from magml.definitions import read_catalogue
from magml.errors import InputError
from magml.events.read import read_events
from magml.events.table import connect
from magml.progress import Report, silent

if TYPE_CHECKING:
    from magml.definitions import Catalogue
    from magml.events.table import Events

#: Memory that a check of a file gives to DuckDB; beyond it DuckDB spills.
_MEMORY = "1200MB"
_COLUMNS = (
    "subject_id, time, known_time, end_time, code, numeric_value, unit, text_value, visit_id, "
    "NULL::VARCHAR AS source"
)


def check(
    events: Any,
    *,
    catalogue: Catalogue | None = None,
    now: dt.datetime | None = None,
    report: Report = silent,
) -> CheckReport:
    """Check events: what is wrong with them, and what it costs a model.

    Parameters
    ----------
    events
        Events as `magml.read_events` takes them (a path, pandas, Arrow), or `Events` of any
        source (`magml.open_source`).
    catalogue
        The clinical catalogue; default the workspace's.
    now
        The present, to tell dates in the far future; default the clock's.
    report
        Called with the share done and what is being done.

    Returns
    -------
    CheckReport
        Findings and the tables behind them; counts and codes only.

    Raises
    ------
    InputError
        If the events cannot be read, or there are none.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({
    ...     "subject_id": [1, 1], "time": pd.to_datetime(["2020-01-02", "2020-01-02"]),
    ...     "code": ["LAB//Mg", "LAB//Mg"], "numeric_value": [1.9, 1.9], "unit": ["mg/dL"] * 2})
    >>> found = check(table)
    >>> found.rows, found.people, found.of_kind("duplicate")[0].count
    (2, 1, 1)
    """
    from magml.events.table import Events

    report(0.0, "reading the events")
    connection = None if isinstance(events, Events) else connect(memory=_MEMORY)
    read = _stored(read_events(events, connection))
    try:
        return _check(read, catalogue or read_catalogue(), now or _now(), report)
    finally:
        _drop(read)


def _check(events: Events, catalogue: Catalogue, now: dt.datetime, report: Report) -> CheckReport:
    report(0.1, "counting rows by code and unit")
    profile = profile_events(events, now)
    if not profile.rows:
        raise InputError("the events have no row", "at least one row", "check the file or source")
    report(0.4, "mapping codes to concepts")
    mapped = map_codes(catalogue, profile)
    report(0.45, "checking units")
    units, unit_lines, mapped = check_event_units(events, mapped)
    report(0.7, "looking for duplicates")
    duplicates = find_duplicates(events, profile.rows)
    report(0.95, "summing up")
    codes, unmapped = code_findings(profile, mapped)
    coverage, domains = coverage_findings(profile, mapped)
    vocabularies = vocabulary_lines(profile, mapped)
    findings = [
        *coverage,
        *units,
        *contamination_findings(events, mapped),
        *known_findings(profile, mapped),
        *diagnosis_findings(events, profile),
        *codes,
        *date_findings(profile),
        *grid_findings(vocabularies),
        *duplicate_findings(duplicates, profile.rows),
    ]
    approximate = ["people of a single code"]
    if profile.total("values") > MOST_VALUES:
        approximate.append(
            f"medians of units, from a share of the people with at most {MOST_VALUES:,} values"
        )
    if duplicates.share > 1:
        approximate.append(f"duplicates, from 1 in {duplicates.share} people")
    report(1.0, "checked")
    return CheckReport(
        name=events.name,
        rows=profile.rows,
        people=profile.people,
        codes=len({code.code for code in profile.codes}),
        first=profile.first,
        last=profile.last,
        findings=ordered(findings),
        unmapped=unmapped,
        units=unit_lines,
        vocabularies=vocabularies,
        domains=domains,
        notes=events.notes,
        approximate=tuple(approximate),
    )


#: Names of events that are read as they are, without a layout's joins.
_AS_THEY_ARE = frozenset(("parquet", "folder", "events"))


def _stored(events: Events) -> Events:
    """Return events whose rows can be read often: text files and joins are stored once."""
    parquet = events.files and all(str(path).endswith(".parquet") for path in events.files)
    if parquet and events.name in _AS_THEY_ARE:
        return events  # reading only the columns asked for is faster than storing all of them
    tables = events.connection.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE table_name = ?", [events.relation]
    ).fetchall()[0][0]
    if tables:
        return events
    name = f"{events.relation}_checked"
    events.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT {_COLUMNS} FROM {events.relation}"
    )
    return replace(events, relation=name)


def _drop(events: Events) -> None:
    """Drop what the check made on the events' connection."""
    events.connection.execute(f"DROP TABLE IF EXISTS {events.relation}_persons")
    if events.relation.endswith("_checked"):
        events.connection.execute(f"DROP TABLE IF EXISTS {events.relation}")


def _now() -> dt.datetime:
    """Return the present as the events' times are: naive."""
    return dt.datetime.now(dt.UTC).replace(tzinfo=None)
