"""Doses of orders: amount, unit and frequency as written, in SQL."""

from __future__ import annotations

from magml.events.table import text
from magml.sources.tables import source_table

#: An amount as written: "1,000 mg", "12.5 MCG", "50 mL/hr".
_AMOUNT = r"^([0-9][0-9,]*\.?[0-9]*|\.[0-9]+)\s*([A-Za-z][A-Za-z0-9/()% ]*)$"


def written_amount(column: str) -> tuple[str, str]:
    """Return SQL of the number and the unit of an amount in one text; null where it is none.

    Examples
    --------
    >>> import duckdb
    >>> number, unit = written_amount("'1,000 mg'")
    >>> duckdb.sql(f"SELECT {number}, {unit}").fetchall()
    [(1000.0, 'mg')]
    """
    cell = f"trim({column})"
    number = f"replace(regexp_extract({cell}, {text(_AMOUNT)}, 1), ',', '')"
    unit = f"nullif(trim(regexp_extract({cell}, {text(_AMOUNT)}, 2)), '')"
    return f"TRY_CAST({number} AS DOUBLE)", unit


def ordered_dose(number: str, unit: str, frequency: str) -> tuple[str, str]:
    """Return SQL of the dose of an order and its unit, by ``orders.yaml``.

    A rate stays as it is; what is given once is the total; what is given so many times a day
    becomes an amount a day; an order whose frequency cannot be read has no dose.

    Parameters
    ----------
    number, unit, frequency
        SQL of the amount of one dose, its unit, and the frequency as written.

    Examples
    --------
    >>> import duckdb
    >>> for words in ("BID WC", "Q8H SCH", "Once X1", "as needed"):
    ...     value, unit = ordered_dose("40.0", "'mg'", f"'{words}'")
    ...     print(duckdb.sql(f"SELECT {value}, {unit}").fetchall()[0])
    (80.0, 'mg/d')
    (120.0, 'mg/d')
    (40.0, 'mg')
    (None, None)
    """
    said = f"lower(trim({frequency}))"
    cases = []
    for rule in source_table("orders")["frequencies"]:
        found = f"regexp_matches({said}, {text(rule['pattern'])})"
        if "hours" in rule:
            hours = f"regexp_extract({said}, {text(rule['pattern'])}, 1)"
            times = f"24.0 / nullif(TRY_CAST({hours} AS DOUBLE), 0)"
        else:
            # 0 stands for once.
            times = "NULL" if "none" in rule else "0" if "once" in rule else str(rule["times"])
        cases.append(f"WHEN {found} THEN {times}")
    times = f"(CASE {' '.join(cases)} END)"
    rate = f"contains({unit}, '/')"
    value = (
        f"CASE WHEN {unit} IS NULL THEN NULL WHEN {rate} THEN {number} "
        f"WHEN {times} = 0 THEN {number} ELSE {number} * {times} END"
    )
    return value, (
        f"CASE WHEN {rate} OR {times} = 0 THEN {unit} WHEN {times} > 0 THEN {unit} || '/d' END"
    )
