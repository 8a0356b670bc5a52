"""Features of few records without an engine: what a service does for one patient at a time.

To start DuckDB and to plan its queries takes longer than 500 rows do. A small table in memory that
has plainly the contract's types is therefore mapped here, in numpy, to the same rows that the
plan's queries give, and aggregated as they are. Everything else (files, other types, a null where
none may be) is left to the general way, which converts it or says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from magml.features.concepts import ConceptMap, Group, map_concepts
from magml.features.few_columns import Columns, columns_of
from magml.features.filling import Filling
from magml.features.mapped import Mapping
from magml.features.matrix import FeatureMatrix
from magml.features.plan import OPEN, STATIC, Plan
from magml.features.ranges import Range
from magml.features.usable import Usable
from magml.tables import EVENTS, PREDICTION_TIMES

if TYPE_CHECKING:
    from magml.features.evidence import EvidenceRow

Ints = NDArray[np.int64]

#: Up to so many rows of events, and of prediction times, this way is taken.
FEW = 20_000
_LARGEST = 1.7e308
_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True, eq=False)
class FewRecords:
    """Events and prediction times in memory; moments in microseconds since 1970.

    Attributes
    ----------
    subject_id, time_us, known_us, end_us, value
        Of each event; `STATIC` and `OPEN` where there is no moment, NaN where there is no number.
    code, unit
        Of each event a position in `codes` and `units`; an empty unit is none.
    at_subject, t_us
        Prediction times.
    columns
        The columns as they were given, for the evidence.
    """

    subject_id: Ints
    time_us: Ints
    known_us: Ints
    end_us: Ints
    value: NDArray[np.float64]
    code: NDArray[np.int32]
    codes: list[str]
    unit: NDArray[np.int32]
    units: list[str]
    at_subject: Ints
    t_us: Ints
    columns: Columns

    def matrix(self, plan: Plan) -> FeatureMatrix:
        """Return the features of the prediction times, as `build_matrix` does in scoring."""
        usable = self._usable()
        concept_map, group = self._mapped(plan, usable)
        filling = Filling(plan, self.at_subject, self.t_us)
        own = (self.subject_id[usable], group, self.time_us[usable], self._since[usable],
               self.end_us[usable], self.value[usable])  # fmt: skip
        rows, filling.kept = Mapping.of(plan, concept_map).rows(plan, Usable(*own))
        if len(rows):
            filling.range(Range(rows, int(rows.subject_id.min()), int(rows.subject_id.max())))
        filling.finish_untouched()
        return FeatureMatrix(
            subject_id=self.at_subject,
            prediction_time=self.t_us.astype("datetime64[us]"),
            values=filling.values,
            names=plan.features,
            report=concept_map.report(plan, filling.kept),
            empty=self._empty(filling.seen),
        )

    def evidence_rows(
        self, people: Iterable[int], used: Callable[[str, str], bool]
    ) -> dict[int, list[EvidenceRow]]:
        """Return the records of people, each person's in one order, whatever theirs was.

        Parameters
        ----------
        people
            The people.
        used
            Whether a code with a unit is wanted; an empty unit is none.
        """
        from magml.features.evidence import EvidenceRow

        pair = self.code.astype(np.int64) * len(self.units) + self.unit
        pairs, inverse = np.unique(pair, return_inverse=True)
        size = len(self.units)
        wanted = np.array(
            [used(self.codes[p // size], self.units[p % size]) for p in pairs], dtype=bool
        )
        told = [self.columns.listed(name) for name in ("unit", "text_value", "source")]
        found: dict[int, list[EvidenceRow]] = {}
        for person in people:
            lines = [
                (
                    _moment(self.time_us[k], STATIC),
                    _moment(self.known_us[k], STATIC),
                    _moment(self.end_us[k], OPEN),
                    self.codes[self.code[k]],
                    None if np.isnan(self.value[k]) else float(self.value[k]),
                    *(column[k] for column in told),
                )
                for k in np.flatnonzero((self.subject_id == person) & wanted[inverse]).tolist()
            ]
            lines.sort(key=lambda line: [(value is None, value) for value in line])
            found[person] = [EvidenceRow(*(*line, None)) for line in lines]
        return found

    @cached_property
    def _since(self) -> Ints:
        """When each event could be known."""
        return np.where(self.known_us == STATIC, self.time_us, self.known_us)

    def _usable(self) -> Ints:
        """Return the events that some prediction time of their subject can use."""
        people, inverse = np.unique(self.at_subject, return_inverse=True)
        horizon = np.full(len(people), STATIC, dtype=np.int64)
        np.maximum.at(horizon, inverse, self.t_us)
        place = np.minimum(np.searchsorted(people, self.subject_id), len(people) - 1)
        until = horizon[place]
        return np.flatnonzero(
            (people[place] == self.subject_id) & (self._since < until) & (self.time_us < until)
        )

    def _mapped(self, plan: Plan, usable: Ints) -> tuple[ConceptMap, NDArray[np.int32]]:
        """Return the map of codes and units, and the place of each usable event's in it."""
        pair = self.code[usable].astype(np.int64) * len(self.units) + self.unit[usable]
        pairs, group, rows = np.unique(pair, return_inverse=True, return_counts=True)
        real = np.abs(self.value[usable]) <= _LARGEST
        values = np.bincount(group, weights=real, minlength=len(pairs))
        found = [
            Group(self.codes[p // len(self.units)], self.units[p % len(self.units)], n, int(v))
            for p, n, v in zip(pairs.tolist(), rows.tolist(), values.tolist(), strict=True)
        ]
        order = sorted(range(len(found)), key=lambda k: (found[k].code, found[k].unit))
        place = np.empty(len(found), dtype=np.intp)
        place[order] = np.arange(len(found))
        concept_map = map_concepts(plan, [found[k] for k in order], strict=False)
        return concept_map, place[group].astype(np.int32)

    def _empty(self, seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which prediction times see no event at all."""
        empty = ~seen
        for row in np.flatnonzero(empty):
            own = self._since[self.subject_id == self.at_subject[row]]
            empty[row] = not (own < self.t_us[row]).any()
        return empty


def read_few(events: Any, at: Any) -> FewRecords | None:
    """Return events and prediction times, or None where they are not few or not plainly typed.

    Parameters
    ----------
    events
        What `magml.read_events` takes; only pandas and Arrow tables are looked at.
    at
        What `magml.events.read_prediction_times` takes.
    """
    columns = columns_of(events, EVENTS, FEW)
    if columns is None:
        return None
    subject_id, value = columns.subjects(), columns.numbers("numeric_value")
    time_us = columns.moments("time", STATIC)
    known_us, end_us = columns.moments("known_time", STATIC), columns.moments("end_time", OPEN)
    code, unit = columns.places("code", nullable=False), columns.places("unit", nullable=True)
    other = all(map(columns.text, ("visit_id", "text_value", "source")))
    if (
        subject_id is None or time_us is None or known_us is None or end_us is None
        or value is None or code is None or unit is None or not other
    ):  # fmt: skip
        return None
    asked = _asked(at, subject_id)
    if asked is None:
        return None
    return FewRecords(subject_id, time_us, known_us, end_us, value, *code, *unit, *asked, columns)


def _asked(at: Any, subject_id: Ints) -> tuple[Ints, Ints] | None:
    """Return prediction times; None where they are not plainly some, each standing once."""
    from magml.events.read import as_moment

    moment = as_moment(at)
    if moment is not None:
        who = np.unique(subject_id)
        when = np.full(len(who), (moment - _EPOCH) // timedelta(microseconds=1), dtype=np.int64)
        return (who, when) if len(who) else None
    columns = columns_of(at, PREDICTION_TIMES, FEW)
    if columns is None:
        return None
    asked, times = columns.subjects(), columns.moments("prediction_time", STATIC)
    if asked is None or times is None or not len(asked) or (times == STATIC).any():
        return None
    once = len(set(zip(asked.tolist(), times.tolist(), strict=True))) == len(asked)
    return (asked, times) if once else None


def _moment(value: Any, none: int) -> datetime | None:
    return None if value == none else _EPOCH + timedelta(microseconds=int(value))
