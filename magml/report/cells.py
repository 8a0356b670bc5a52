"""Figures as they stand in a report: a value with its interval, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from magml.report.blocks import Cell, Number

if TYPE_CHECKING:
    import pandas as pd

NOT_ESTIMABLE = "not estimable"


def interval(
    cell: Mapping[str, float | None],
    *,
    metric: str = "",
    run: str = "",
    places: int = 3,
    sign: str = "",
) -> Cell:
    """Return a value with its interval, each with the name of its MLflow metric.

    Examples
    --------
    >>> from magml.report.blocks import plain
    >>> plain(interval({"value": 0.7512, "low": 0.7, "high": 0.8}, metric="auroc"))
    '0.751 (0.700 to 0.800)'
    """
    value, low, high = cell["value"], cell["low"], cell["high"]
    if value is None:
        return NOT_ESTIMABLE

    def number(of: float, suffix: str) -> Number:
        return Number(_text(of, places, sign), of, metric and metric + suffix, run)

    if low is None or high is None:
        return (number(value, ""), " (no interval)")
    return (number(value, ""), " (", number(low, "_low"), " to ", number(high, "_high"), ")")


def count(value: float, *, metric: str = "", run: str = "") -> Number:
    """Return a whole number."""
    return Number(f"{int(value):,}", float(value), metric, run)


def share(value: float, *, metric: str = "", run: str = "", places: int = 1) -> Number:
    """Return a share in percent."""
    return Number(f"{100 * value:.{places}f}%", float(value), metric, run)


def of_file(
    row: Mapping[str, Any],
    column: str,
    file: str,
    keys: tuple[str, ...],
    *,
    places: int = 3,
    percent: bool = False,
    sign: str = "",
) -> Cell:
    """Return a cell of a table of the results; a blank where it was left out.

    Parameters
    ----------
    row
        The row of the table.
    column
        The column.
    file
        The table's file.
    keys
        Columns that name the row.
    """
    value = row[column]
    if value is None or value != value:
        return ""
    if percent:
        text = f"{100 * value:{sign}.{max(places - 2, 0)}f}%".replace("-", "−")
    else:
        text = _text(value, places, sign)
    where = tuple((key, str(row[key])) for key in keys)
    return Number(text, float(value), file=file, where=where, column=column)


def interval_of_file(
    row: Mapping[str, Any],
    columns: tuple[str, str, str],
    file: str,
    keys: tuple[str, ...],
    *,
    places: int = 3,
    percent: bool = False,
    sign: str = "",
) -> Cell:
    """Return a value with its interval from a table of the results."""
    cells = [
        of_file(row, column, file, keys, places=places, percent=percent, sign=sign)
        for column in columns
    ]
    value, low, high = (cell if isinstance(cell, Number) else None for cell in cells)
    if value is None:
        return NOT_ESTIMABLE
    if low is None or high is None:
        return (value, " (no interval)")
    return (value, " (", low, " to ", high, ")")


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table as plain rows."""
    return [{str(key): cell for key, cell in row.items()} for row in table.to_dict("records")]


def metric_key(*path: str) -> str:
    """Return the name under which MLflow holds a figure.

    Examples
    --------
    >>> metric_key("gain_over", "labs + medication", "auroc")
    'gain_over.labs _ medication.auroc'
    """
    from magml.experiments.tracking import flat_metrics

    value: Any = 1.0
    for name in reversed(path):
        value = {name: value}
    return next(iter(flat_metrics(value)))


def readable(name: str) -> str:
    """Return a model's or baseline's name for people.

    Examples
    --------
    >>> readable("plain_xgboost"), readable("labs + medication"), readable("age_sex")
    ('plain XGBoost', 'labs + medication', 'age and sex')
    """
    known = {
        "model": "the model",
        "last_magnesium": "last magnesium alone",
        "age_sex": "age and sex",
        "weight_age_sex": "weight, age and sex",
        "magnesium_depletion_score": "Magnesium Depletion Score, age, sex",
        "logistic": "penalised logistic regression",
        "plain_xgboost": "plain XGBoost",
    }
    return known.get(name, name.replace("_", " "))


def _text(value: float, places: int, sign: str) -> str:
    """Return a number with a true minus sign and no negative zero."""
    text = f"{value:{sign}.{places}f}"
    if float(text) == 0:
        text = text.replace("-", "+" if sign else "")
    return text.replace("-", "−")
