"""The feature matrix and the account of how events were mapped to concepts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Rejected:
    """Values of a mapped code that no feature uses, and why."""

    code: str
    unit: str | None
    concept: str
    reason: str
    rows: int


@dataclass(frozen=True)
class MappingReport:
    """What became of the events, in counts.

    Only rows count that some prediction time of their subject could use.

    Attributes
    ----------
    rows
        Usable rows.
    mapped
        Rows of each concept, ``domain.concept``; a row may serve several concepts.
    converted
        Of these, values that stood in another unit than the concept's.
    assumed
        Values without a unit whose distribution fits the concept's own unit, by code.
    assumed_units
        The unit they were taken to be in, by code; a plan keeps it for scoring.
    implausible
        Values left out because they lie outside the concept's plausible range, or are no number.
    rejected
        Values of mapped codes left out for their unit.
    unmapped
        Rows of each code that belongs to no concept of the plan.
    doses
        Rows whose dose was added up, by exposure; a row of an exposure needs none.
    without_dose
        Numbers beside a drug that are no dose, by unit: tablets, volumes, doses for each kilogram.
    units
        Result of the check of medians and spreads, when there was one.
    """

    rows: int
    mapped: dict[str, int] = field(default_factory=dict)
    converted: dict[str, int] = field(default_factory=dict)
    assumed: dict[str, int] = field(default_factory=dict)
    assumed_units: dict[str, str] = field(default_factory=dict)
    implausible: dict[str, int] = field(default_factory=dict)
    rejected: tuple[Rejected, ...] = ()
    unmapped: dict[str, int] = field(default_factory=dict)
    doses: dict[str, int] = field(default_factory=dict)
    without_dose: dict[str, int] = field(default_factory=dict)
    units: Any = None

    @property
    def rejected_rows(self) -> int:
        """Number of values left out for their unit."""
        return sum(item.rows for item in self.rejected)

    def left_out(self) -> list[dict[str, Any]]:
        """Return the values left out for their unit, counted by concept and unit.

        Returns
        -------
        list of dict
            ``concept``, ``unit`` (None where none was given) and ``rows``, the most rows first.

        Examples
        --------
        >>> one = Rejected("LOINC//2823-3", "mg/m", "lab.potassium", "no such unit", 2)
        >>> MappingReport(rows=9, rejected=(one,)).left_out()
        [{'concept': 'lab.potassium', 'unit': 'mg/m', 'rows': 2}]
        """
        counts: dict[tuple[str, str | None], int] = {}
        for item in self.rejected:
            key = (item.concept, item.unit)
            counts[key] = counts.get(key, 0) + item.rows
        order = sorted(counts, key=lambda key: (-counts[key], key[0], key[1] or ""))
        return [{"concept": c, "unit": u, "rows": counts[c, u]} for c, u in order]


@dataclass(frozen=True)
class FeatureMatrix:
    """Features of n prediction times.

    Attributes
    ----------
    subject_id
        int64 [n].
    prediction_time
        datetime64[us] [n].
    values
        float32 [n, p], NaN where missing.
    names
        The p columns.
    report
        How the events were mapped.
    empty
        bool [n]: no event at all was visible at that time.
    """

    subject_id: NDArray[np.int64]
    prediction_time: NDArray[np.datetime64]
    values: NDArray[np.float32]
    names: tuple[str, ...]
    report: MappingReport
    empty: NDArray[np.bool_]

    def column(self, name: str) -> NDArray[np.float32]:
        """Return one feature, float32 [n]."""
        return self.values[:, self.names.index(name)]

    def to_pandas(self) -> pd.DataFrame:
        """Return ``subject_id``, ``prediction_time`` and the features as a DataFrame."""
        import pandas as pd

        frame = pd.DataFrame(self.values, columns=list(self.names), copy=False)
        frame.insert(0, "prediction_time", self.prediction_time)
        frame.insert(0, "subject_id", self.subject_id)
        return frame
