"""The layout ``nhanes1``: the NHANES I subset, one examination of each person.

National Center for Health Statistics. Plan and operation of the Health and Nutrition Examination
Survey, United States, 1971-73. Vital Health Stat 1(10a,10b), 1973. The subset is the one of
``shap.datasets.nhanesi``: ``subset_X.csv``.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.errors import InputError, UnitError
from magml.events.table import Events, identifier, text
from magml.sources.scans import scan_files, typed_view
from magml.sources.tables import event_rows, relation_name, source_table

if TYPE_CHECKING:
    import duckdb

#: The examination's times are artificial: the data tell no date. Blood is drawn and pressure is
#: taken at the examination; the laboratory's values are there an hour later; magnesium is asked
#: for last, on the sample that is already there.
EXAMINED = dt.datetime(1973, 1, 1, 9)
RESULTS = EXAMINED + dt.timedelta(hours=1)
ADDED_ON = EXAMINED + dt.timedelta(hours=3)
ADDED_RESULT = EXAMINED + dt.timedelta(hours=4)
LEFT = EXAMINED + dt.timedelta(hours=8)
#: Medians of serum magnesium in mEq/L between which a healthy population's lies (0.70 to 0.94
#: mmol/L); in mg/dL a median near 2.04 would stand here, in mmol/L one near 0.84.
_MEDIAN = (1.40, 1.88)


def open_layout(data: Any, connection: duckdb.DuckDBPyConnection) -> Events:
    """Open the NHANES I subset as events.

    Parameters
    ----------
    data
        ``subset_X.csv`` or its folder.
    connection
        DuckDB connection to use.

    Raises
    ------
    InputError
        A missing file or column, text where a number must be, a row that stands twice.
    UnitError
        If the median of serum magnesium does not fit mEq/L.
    """
    path = Path(data)
    path = path / "subset_X.csv" if path.is_dir() else path
    if not path.is_file():
        raise InputError(
            f"no file '{path.name}'", "subset_X.csv of NHANES I", "name the file or its folder"
        )
    settings = source_table("nhanes1")
    scan = scan_files((path,), connection)
    number = next(iter(scan.types))
    measured = [name.lower() for name in settings["measurements"]]
    columns = {number: "BIGINT", **dict.fromkeys(("age", "sex", "race", *measured), "DOUBLE")}
    view = typed_view(scan, columns, connection, layout="nhanes1")
    _check(view, number, connection)
    row = {
        "subject_id": identifier(number),
        "source": f"'subset_X:' || {identifier(number)}",
    }
    queries = [_birth(view, row), *_demographics(view, row), _visit(view, row)]
    for name, (code, unit) in settings["measurements"].items():
        column = identifier(name.lower())
        late = name not in settings["bedside"]
        time, known = (EXAMINED, RESULTS if late else EXAMINED)
        if name == "Serum Magnesium":
            time, known = ADDED_ON, ADDED_RESULT
        queries.append(
            event_rows(
                view,
                f"{column} IS NOT NULL",
                time=_moment(time),
                known_time=_moment(known),
                code=text(code),
                numeric_value=column,
                unit=text(unit),
                visit_id="'examination'",
                **row,
            )
        )
    relation = relation_name(connection, "nhanes1")
    connection.execute(f"CREATE TEMP VIEW {relation} AS " + "\nUNION ALL\n".join(queries))
    return Events(
        connection,
        relation,
        name="nhanes1",
        notes=(
            "serum magnesium is in mEq/L: the file states no unit; its median is that of mEq/L",
            "one examination with artificial times: blood drawn and pressure taken "
            f"{EXAMINED:%H:%M}, results known {RESULTS:%H:%M}; magnesium is added on to that "
            f"sample at {ADDED_ON:%H:%M}, so the other analytes of its specimen are known before "
            "(add_on: true)",
            "Red blood cells was left out: its unit is stated nowhere and nearly a quarter of its "
            "values are codes; Pulse pressure and Poverty index are not read",
        ),
        files=(path,),
    )


def _moment(moment: dt.datetime) -> str:
    """Return SQL of a fixed moment."""
    return f"TIMESTAMP {text(moment.isoformat(sep=' '))}"


def _check(view: str, number: str, connection: duckdb.DuckDBPyConnection) -> None:
    """Refuse a table whose rows are not persons, or whose magnesium is in another unit."""
    column = identifier(number)
    rows, distinct, median = connection.execute(
        f"SELECT count(*), count(DISTINCT {column}), median({identifier('serum magnesium')}) "
        f"FROM {view}"
    ).fetchall()[0]
    if rows == 0 or rows != distinct:
        raise InputError(
            f"{rows} rows, but {distinct} different numbers in the first column",
            "one row a person, numbered in the first column",
            "check the file",
        )
    if median is None or not _MEDIAN[0] <= median <= _MEDIAN[1]:
        raise UnitError(
            f"the median of Serum Magnesium is {median}",
            f"{_MEDIAN[0]} to {_MEDIAN[1]} mEq/L",
            "check the file; for other tables use the layout plain, which states the unit",
        )


def _birth(view: str, row: dict[str, str]) -> str:
    """Return the query for dates of birth, from age in whole years at the examination."""
    return event_rows(
        view,
        "age IS NOT NULL",
        time=f"{_moment(EXAMINED)} - to_hours(round(age * 365.25 * 24)::BIGINT)",
        code="'MEDS_BIRTH'",
        **row,
    )


def _demographics(view: str, row: dict[str, str]) -> list[str]:
    """Return queries for sex and race."""
    queries = []
    for column, vocabulary, words in (
        ("sex", "GENDER", source_table("nhanes1")["sexes"]),
        ("race", "RACE", source_table("nhanes1")["races"]),
    ):
        cases = " ".join(f"WHEN {column} = {key} THEN {text(word)}" for key, word in words.items())
        queries.append(
            event_rows(
                f"(SELECT *, CASE {cases} END AS word FROM {view})",
                "word IS NOT NULL",
                code=f"'{vocabulary}//' || word",
                **row,
            )
        )
    return queries


def _visit(view: str, row: dict[str, str]) -> str:
    """Return the query for the examinations."""
    return event_rows(
        view,
        time=_moment(EXAMINED),
        known_time=_moment(EXAMINED),
        end_time=_moment(LEFT),
        code="'VISIT//outpatient'",
        visit_id="'examination'",
        **row,
    )
