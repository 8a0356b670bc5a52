"""The arrays of a feature matrix while mapped rows fill them, a range of people at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from magml.features.aggregate import aggregate
from magml.features.combine import (
    Layout,
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

    def computed(self, part: Range) -> tuple[Ints, NDArray[np.float32], NDArray[np.bool_]]:
        """Return the rows of a range of people, their features, and which see a mapped row."""
        first, last = np.searchsorted(self.subjects, (part.first, part.last + 1))
        rows = self.by_subject[first:last]
        t_us = self.t_us[rows]
        block = new_block(self.where, len(rows))
        seen = np.zeros(len(rows), dtype=bool)
        for points, exposures, doses in aggregate(
            self.plan, part.rows, self.subjects[first:last], t_us
        ):
            fill_points(block, self.where, points, t_us)
            fill_exposures(block, self.where, exposures, t_us, self.plan.exposure_windows)
            if self.plan.drugs:
                fill_doses(block, self.where, doses, t_us, self.plan.exposure_windows)
            for long in (points, exposures):
                seen[long["row_id"]] = True
        return rows, self.columns(block), seen

    def columns(self, block: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the plan's columns of a block, derived features included."""
        columns = dict(zip(self.where.names, block, strict=True))
        for item in self.plan.derived:
            columns[item.name] = apply_formula(item.formula, item.inputs, columns)
        out = np.empty((len(self.plan.features), block.shape[1]), dtype=np.float32)
        for k, name in enumerate(self.plan.features):
            # A plug-in's column is filled later, from rows instead of aggregates.
            out[k] = columns.get(name, np.nan)
        return out.T


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
            self.values[~self.touched] = self.columns(new_block(self.where, 1))
