"""The arrays of a feature matrix while mapped rows fill them, a range of people at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from magml.features.aggregate import aggregate
from magml.features.combine import (
    Layout,
    Long,
    fill_doses,
    fill_exposures,
    fill_points,
    layout,
    new_block,
)
from magml.features.formulas import apply_formula
from magml.features.plan import Plan
from magml.features.ranges import Range

Ints = NDArray[np.int64]

#: Numbers of a block that is filled at once: few enough for a processor's cache.
CELLS = 500_000


class Block:
    """Computes the features of ranges of people.

    Attributes
    ----------
    subject_id, t_us
        Who and when, int64 [n]; moments in microseconds since 1970.
    by_subject
        The order of people, int64 [n].
    subjects
        `subject_id` in that order.
    """

    def __init__(self, plan: Plan, subject_id: Ints, t_us: Ints) -> None:
        self.plan, self.subject_id, self.t_us = plan, subject_id, t_us
        self.by_subject = np.argsort(subject_id, kind="stable")
        self.subjects = subject_id[self.by_subject]
        self.where: Layout = layout(plan)

    def computed(
        self, part: Range, into: NDArray[np.float32] | None = None
    ) -> tuple[Ints, NDArray[np.float32], NDArray[np.bool_]]:
        """Return the rows of a range of people, their features, and which see a mapped row.

        The features are a view of `into`, the matrix of all rows, where theirs stand together.
        """
        first, last = np.searchsorted(self.subjects, (part.first, part.last + 1))
        rows = self.by_subject[first:last]
        t_us = self.t_us[rows]
        if into is not None and len(rows) and (np.diff(rows) == 1).all():
            values = into[rows[0] : rows[-1] + 1]
        else:
            values = np.empty((len(rows), len(self.plan.features)), dtype=np.float32)
        seen = np.zeros(len(rows), dtype=bool)
        for turn in aggregate(self.plan, part.rows, self.subjects[first:last], t_us):
            self.fill(values, (turn.points, turn.exposures, turn.doses), t_us, turn.rows)
            for long in (turn.points, turn.exposures):
                seen[long["row_id"]] = True
        return rows, values, seen

    def fill(
        self, values: NDArray[np.float32], parts: tuple[Long, Long, Long], t_us: Ints, rows: range
    ) -> None:
        """Write the features of some rows.

        Parameters
        ----------
        values
            float32 [n, p], of which the rows are written.
        parts
            Columns of the queries ``points``, ``exposures`` and ``doses`` about these rows, in the
            order of ``row_id``.
        t_us
            Prediction times of all n rows.
        rows
            Which rows.
        """
        where, windows = self.where, self.plan.exposure_windows
        step = max(1, CELLS // max(1, len(where.names)))
        for start in range(rows.start, rows.stop, step):
            stop = min(start + step, rows.stop)
            points, exposures, doses = (_between(long, start, stop) for long in parts)
            block, t = new_block(where, stop - start), t_us[start:stop]
            fill_points(block, where, points, t)
            fill_exposures(block, where, exposures, t, windows)
            if self.plan.drugs:
                fill_doses(block, where, doses, t, windows)
            self.columns(block, values[start:stop])

    def columns(self, block: NDArray[np.float64], values: NDArray[np.float32]) -> None:
        """Write the plan's columns of a block, derived features included, into [rows, p]."""
        np.copyto(values, block[: values.shape[1]].T, casting="same_kind")
        derived = self.plan.derived
        columns = dict(zip(self.where.names, block, strict=True)) if derived else {}
        for item in derived:
            columns[item.name] = apply_formula(item.formula, item.inputs, columns)
        for k in self.where.others:
            # A plug-in's column is filled later, from rows instead of aggregates.
            values[:, k] = columns.get(self.plan.features[k], np.nan)


def _between(long: Long, start: int, stop: int) -> Long:
    """Return the lines of some rows, counted from the first of them."""
    first, last = np.searchsorted(long["row_id"], (start, stop))
    some = {name: column[first:last] for name, column in long.items()}
    some["row_id"] = some["row_id"] - start
    return some


class Filling(Block):
    """The features of prediction times in memory, filled range by range.

    Attributes
    ----------
    values
        float32 [n, p].
    seen
        bool [n]: some mapped row was visible.
    kept
        Rows of each id of mapped rows, int64.
    """

    def __init__(self, plan: Plan, subject_id: Ints, t_us: Ints) -> None:
        super().__init__(plan, subject_id, t_us)
        self.values = np.empty((len(subject_id), len(plan.features)), dtype=np.float32)
        self.touched = np.zeros(len(subject_id), dtype=bool)
        self.seen = np.zeros(len(subject_id), dtype=bool)
        self.kept = np.zeros(plan.row_ids, dtype=np.int64)

    def range(self, part: Range) -> None:
        """Aggregate the mapped rows of a range of people and write their rows."""
        rows, values, seen = self.computed(part)
        self.values[rows], self.seen[rows] = values, seen
        self.touched[rows] = True

    def finish_untouched(self) -> None:
        """Fill the rows of people without any mapped event."""
        if not self.touched.all():
            one = np.empty((1, self.values.shape[1]), dtype=np.float32)
            self.columns(new_block(self.where, 1), one)
            self.values[~self.touched] = one
