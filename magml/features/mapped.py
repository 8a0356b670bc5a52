"""From usable events to rows of concepts, in numpy: what the plan's query ``map`` says in SQL."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from magml.features.concepts import ConceptMap
from magml.features.plan import MICROSECONDS, STATIC, Plan
from magml.features.ranges import Rows
from magml.features.usable import Usable

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Mapping:
    """How the rows of each group become rows of concepts, as arrays.

    Lines are the uses of a group by a concept; those of a group stand together, `count` of them
    from `start` on.
    """

    lines: dict[str, NDArray]
    start: Ints
    count: Ints

    @classmethod
    def of(cls, plan: Plan, concept_map: ConceptMap) -> Mapping:
        """Return the mapping of a map whose entries stand in the order of the groups."""
        lines = concept_map.lines(plan)
        count = np.bincount(lines.pop("group"), minlength=len(concept_map.entries))
        return cls(lines, np.cumsum(count) - count, count)

    def rows(self, plan: Plan, usable: Usable, since_us: Ints | None = None) -> tuple[Rows, Ints]:
        """Return rows of concepts, and how many there are of each id of mapped rows.

        Parameters
        ----------
        plan
            The plan.
        usable
            Usable events.
        since_us
            Of each event the moment before which its person needs no row of a concept without
            features of the whole history: such rows are counted and left out.
        """
        lines, group = self.lines, usable.group
        value, time, since = usable.value, usable.time_us, since_us
        index, line = self._uses(group)
        if index is not None:
            value, time = value[index], time[index]
            since = None if since is None else since[index]
        shift = lines["shift"][line]
        with np.errstate(over="ignore", invalid="ignore"):
            value = value * lines["scale"][line] + shift
        if lines["fixed"].any():
            np.copyto(value, shift, where=lines["fixed"][line])
        kept = (value >= lines["low"][line]) & (value <= lines["high"][line])
        concept = lines["concept_id"][line]
        counts = np.bincount(concept[kept], minlength=plan.row_ids)
        if since is not None:
            kept &= (time >= since) | ~_bounded(plan)[concept]
        chosen = np.flatnonzero(kept)
        index, time = chosen if index is None else index[chosen], time[chosen]
        end = usable.end_us[index]
        if lines["lasts_us"].any():
            lasts = lines["lasts_us"][line[chosen]]
            end = np.where(lasts > 0, np.maximum(end, time + lasts), end)
        rows = Rows(
            usable.subject_id[index], concept[chosen], time, usable.known_us[index], end,
            value[chosen],
        )  # fmt: skip
        return rows, counts

    def _uses(self, group: NDArray[np.int32]) -> tuple[Ints | None, Ints]:
        """Return, for every use of a row by a concept, the row and the line.

        None stands for all rows, each with one use.
        """
        each = self.count[group]
        if self.count.max(initial=0) <= 1 and each.all():
            return None, self.start[group]
        index = np.repeat(np.arange(len(group)), each)
        line = self.start[group[index]]
        if self.count.max(initial=0) > 1:
            line = line + np.arange(len(index)) - np.repeat(np.cumsum(each) - each, each)
        return index, line


def _bounded(plan: Plan) -> NDArray[np.bool_]:
    """Return which ids of mapped rows are of moments that only bounded windows use."""
    bounded = np.zeros(plan.row_ids, dtype=bool)
    for number, concept in enumerate(plan.concepts):
        bounded[number] = concept.moment and not concept.older
    return bounded


def needed_since(plan: Plan, t_us: Ints) -> Ints:
    """Return the moment before which no bounded window of a prediction time reaches."""
    widest = max((w for c in plan.concepts if c.moment for w in c.windows), default=0)
    return np.maximum(t_us - widest * MICROSECONDS, STATIC)
