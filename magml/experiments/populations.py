"""Who the rows of a study are: the subgroups in which performance is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from magml.experiments.prepare import Rows
    from magml.features import FeatureMatrix

_AGES = ((18.0, "under 18"), (40.0, "18 to 39"), (65.0, "40 to 64"), (80.0, "65 to 79"))
#: KDIGO's categories of the glomerular filtration rate (Kidney Int Suppl 2013;3:1-150).
_EGFR = (
    (15.0, "eGFR under 15"),
    (30.0, "eGFR 15 to 29"),
    (45.0, "eGFR 30 to 44"),
    (60.0, "eGFR 45 to 59"),
    (90.0, "eGFR 60 to 89"),
)
_UNKNOWN = "not recorded"
#: A person may be recorded at two units or as two races.
_SEVERAL = "several recorded"


def subgroup_dimensions(rows: Rows, matrix: FeatureMatrix) -> dict[str, np.ndarray]:
    """Return each row's subgroup by dimension, as far as it was known at the prediction time.

    Sex, age band, race or ethnicity (``RACE//`` events), pregnancy (recorded, in women of 18 to
    49), kidney function (CKD-EPI 2021), unit (``UNIT//`` events) and site. A dimension in which
    the records say nothing of anybody is left out.

    Parameters
    ----------
    rows, matrix
        Labelled rows and their features; all rows are described.

    Returns
    -------
    dict of str to numpy.ndarray
        Dimension to names, object, shape (n,); None where the dimension does not apply.
    """
    n = len(rows.labels)
    female, age = (
        _column(matrix, "demographic.female.last", n),
        _column(matrix, "demographic.age.years", n),
    )
    pregnant = _column(matrix, "comorbidity.pregnancy.present", n)
    found = {
        "sex": _named(female, lambda v: "female" if v > 0.5 else "male"),
        "age": _banded(age, _AGES, "80 and over"),
        "race or ethnicity": _recorded(rows, "RACE//"),
        "kidney function": _banded(_column(matrix, "lab.egfr", n), _EGFR, "eGFR 90 and over"),
        "unit": _recorded(rows, "UNIT//"),
    }
    if rows.sites is not None:
        found["site"] = np.array(
            [_UNKNOWN if s is None or s != s else str(s) for s in rows.sites], dtype=object
        )
    if np.nansum(pregnant) > 0:
        applies = (female > 0.5) & (age >= 18) & (age < 50)
        names = np.where(pregnant > 0.5, "pregnancy recorded", "none recorded, women of 18 to 49")
        described = names.astype(object)
        described[~(applies | (pregnant > 0.5))] = None
        found["pregnancy"] = described
    return {
        name: values
        for name, values in found.items()
        if set(values) - {None, _UNKNOWN}  # somebody is described
    }


def _column(matrix: FeatureMatrix, name: str, n: int) -> np.ndarray:
    """Return a feature of all rows, NaN where the catalogue lacks it."""
    if name not in matrix.names:
        return np.full(n, np.nan)
    return matrix.column(name).astype(np.float64)


def _named(values: np.ndarray, name: Callable[[float], str]) -> np.ndarray:
    return np.array([_UNKNOWN if v != v else name(v) for v in values], dtype=object)


def _banded(values: np.ndarray, bands: tuple[tuple[float, str], ...], above: str) -> np.ndarray:
    """Name the band of each value; a band reaches up to its bound, that excluded."""
    names = np.array([*(name for _, name in bands), above], dtype=object)
    place = np.searchsorted([bound for bound, _ in bands], np.nan_to_num(values), side="right")
    return np.where(np.isnan(values), _UNKNOWN, names[place])


def _recorded(rows: Rows, vocabulary: str) -> np.ndarray:
    """Name what events of a vocabulary said of each row before its prediction time.

    Of units, the latest one known counts, and of races all: nobody is of the one written last.
    """
    connection, relation = rows.events.connection, rows.events.relation
    latest = vocabulary == "UNIT//"
    order = "coalesce(e.time, TIMESTAMP '0001-01-01')"
    last = f"QUALIFY {order} = max({order}) OVER (PARTITION BY r.row_id)" if latest else ""
    found: list[tuple[Any, ...]] = connection.execute(
        f"SELECT row_id, count(DISTINCT name), min(name) FROM (SELECT r.row_id, "
        f"e.code[{len(vocabulary) + 1}:] AS name FROM {rows.relation} r "
        f"JOIN {relation} e ON e.subject_id = r.subject_id "
        f"AND starts_with(e.code, '{vocabulary}') "
        f"AND (coalesce(e.known_time, e.time) IS NULL "
        f"OR coalesce(e.known_time, e.time) < r.prediction_time) {last}) GROUP BY row_id"
    ).fetchall()
    names = np.full(len(rows.labels), _UNKNOWN, dtype=object)
    for row, kinds, name in found:
        names[row] = name if kinds == 1 else _SEVERAL
    return names
