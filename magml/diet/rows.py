"""What the readers of diet share: tables as people write them, and events of the contract."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.errors import InputError, nearest
from magml.limits import check_whole

if TYPE_CHECKING:
    import pandas as pd

#: A date, or a moment without an offset; years that a timestamp in nanoseconds holds too.
_ISO = r"(?:1[7-9]|2[01])\d\d-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?"
_COLUMNS = ("subject_id", "time", "known_time", "end_time", "code", "numeric_value", "unit")


def read_rows(data: Any, what: str, needed: Iterable[str], known: Iterable[str]) -> pd.DataFrame:
    """Return a table whose columns are all needed or known.

    Parameters
    ----------
    data
        Path to a CSV or Parquet file, or a DataFrame.
    what
        What it is, for errors: "food records".
    needed, known
        Columns that must and may be there.

    Raises
    ------
    InputError
        No file, an unreadable one, a lacking or an unknown column, no row.
    """
    import pandas as pd

    if isinstance(data, pd.DataFrame):
        table = data.reset_index(drop=True)
    else:
        path = Path(data)
        if not path.is_file():
            raise InputError(
                f"{what}: no file '{path.name}'", "a CSV or Parquet file", "correct it"
            )
        check_whole(path)
        try:
            table = (
                pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype=str)
            )
        except Exception as error:
            raise InputError(
                f"{what}: '{path.name}' cannot be read ({type(error).__name__})",
                "a CSV file with a header line, in UTF-8, or a Parquet file",
                "save it as such",
            ) from error
    table.columns = [str(name).strip() for name in table.columns]
    wanted, allowed = list(needed), [*needed, *known]
    for name in wanted:
        if name not in table.columns:
            raise InputError(
                f"{what}: no column '{name}'",
                f"the columns {', '.join(wanted)}; found: {', '.join(table.columns)}",
                "add it, or rename a column",
            )
    for name in table.columns:
        if name not in allowed:
            raise InputError(
                f"{what}: the column '{name}' is not known",
                nearest(name, allowed),
                "rename or remove it: nothing is read by guess",
            )
    table = table.dropna(how="all").reset_index(drop=True)
    if table.empty:
        raise InputError(f"{what}: no rows", "one at least", "fill it in")
    return table


def numbers(table: pd.DataFrame, name: str, what: str, low: float = 0.0) -> pd.Series:
    """Return a column as float64; blank is NaN.

    Raises
    ------
    InputError
        With the number of the first row that holds no number, or one below `low`.
    """
    import pandas as pd

    if name not in table.columns:
        return pd.Series(float("nan"), index=table.index)
    given = table[name]
    blank = given.isna() | (given.astype(str).str.strip() == "")
    found = pd.to_numeric(given.where(~blank), errors="coerce").astype("float64")
    wrong = (~blank & found.isna()) | (found < low) | (found == float("inf"))
    _refuse(wrong, f"{what}: '{name}' holds no number of {low:g} or more", "a plain number")
    return found


def moments(table: pd.DataFrame, name: str, what: str) -> pd.Series:
    """Return a column as timestamps; blank is NaT. Only ISO dates are read: 2026-01-31 [13:45].

    A moment with an offset is refused: what a day is, is a matter of the place of the meal.

    Raises
    ------
    InputError
        With the number of the first row that holds no such date.
    """
    import pandas as pd

    if name not in table.columns:
        return pd.Series(pd.NaT, index=table.index)
    given = table[name]
    if pd.api.types.is_datetime64_dtype(given):
        return given
    text = given.astype("string").str.strip()
    iso = text.where(text.str.fullmatch(_ISO).fillna(False).astype(bool))
    found = pd.to_datetime(iso, format="ISO8601", errors="coerce").astype("datetime64[us]")
    wrong = text.notna() & (text != "") & found.isna()
    _refuse(wrong, f"{what}: '{name}' is no date", "such as 2026-01-31 or 2026-01-31 13:45")
    return found


def people(table: pd.DataFrame, what: str) -> pd.Series:
    """Return ``subject_id`` as int64.

    Raises
    ------
    InputError
        With the number of the first row without a whole number.
    """
    import pandas as pd

    found = pd.to_numeric(table["subject_id"], errors="coerce")
    _refuse(
        found.isna() | (found % 1 != 0) | (found.abs() >= 2**53),
        f"{what}: 'subject_id' is no whole number",
        "the person's number, as in the events of your other records",
    )
    return found.astype("int64")


def day_of(table: pd.DataFrame, what: str) -> tuple[pd.Series, pd.Series]:
    """Return the day and when it was known: as given, else when the day is over.

    Raises
    ------
    InputError
        A row without a date, or known before the day began.
    """
    import pandas as pd

    day = moments(table, "date", what).dt.normalize()
    _refuse(day.isna(), f"{what}: 'date' is blank", "the day it is about")
    given = moments(table, "known_time", what)
    _refuse(given < day, f"{what}: 'known_time' lies before 'date'", "when it was recorded")
    # A date without a clock time, as a date elsewhere, is known when that day is over.
    given = given.where(given != given.dt.normalize(), given + pd.Timedelta(days=1))
    return day, given.fillna(day + pd.Timedelta(days=1))


def events(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows in the contract's columns, sorted, without rows that hold no value."""
    import pandas as pd

    whole = rows.reindex(columns=list(_COLUMNS))
    for name in ("time", "known_time", "end_time"):
        whole[name] = pd.to_datetime(whole[name]).astype("datetime64[us]")
    whole["numeric_value"] = whole["numeric_value"].astype("float64")
    for name in ("code", "unit"):
        whole[name] = whole[name].astype("string")
    return whole.sort_values(["subject_id", "time", "code"], kind="stable").reset_index(drop=True)


def _refuse(wrong: pd.Series, seen: str, expected: str) -> None:
    """Raise for the rows where `wrong` is true; row numbers only, never what a row holds."""
    if wrong.any():
        first, count = int(wrong.to_numpy().argmax()) + 1, int(wrong.sum())
        more = f" and {count - 1} more" if count > 1 else ""
        raise InputError(f"{seen} (row {first}{more})", expected, "correct the rows")
