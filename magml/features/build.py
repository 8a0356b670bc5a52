"""Building a feature matrix from events: the map of codes and units, then range by range."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from magml.errors import InputError
from magml.events.table import reading
from magml.features.arrow import to_numpy
from magml.features.concepts import ConceptMap, Group, map_concepts, read_groups
from magml.features.matrix import FeatureMatrix, MappingReport
from magml.features.plan import Plan
from magml.features.run import Part, Run, added
from magml.features.unit_groups import check_groups
from magml.memory import limit
from magml.progress import Report, silent

if TYPE_CHECKING:
    from magml.events.table import Events
    from magml.features.kept import KeptRanges


def build_matrix(
    plan: Plan,
    events: Events,
    at_relation: str,
    *,
    threads: int | None = None,
    strict: bool = True,
    keep: Path | None = None,
    report: Report = silent,
) -> FeatureMatrix:
    """Build the features of prediction times.

    The work takes the memory of `magml.memory`'s limit, and the matrix beside it.

    Parameters
    ----------
    plan
        As `compile_plan` returns it, or loaded from a bundle.
    events
        Events in the contract's form.
    at_relation
        Relation on the events' connection with ``row_id``, ``subject_id`` and
        ``prediction_time``, as `magml.events.read_prediction_times` makes it.
    threads
        Ranges aggregated at the same time; default one for each processor. The result is the
        same, bit for bit, for any number.
    strict
        As in training: units that cannot be converted, or that do not fit the values beside
        them, are an error, and a missing unit is inferred where the values leave no doubt (it is
        then in ``report.assumed_units``, for `Plan.with_assumed`). Else, as in scoring, values
        in other units are left out and counted.
    keep
        Folder for finished ranges of people: a building that was killed goes on after them. It is
        the caller's to remove.
    report
        Called with the share done and what is being done.

    Returns
    -------
    FeatureMatrix
        Rows in the order of ``row_id``.

    Raises
    ------
    UnitError
        In strict mode, for a unit that is unknown or that the values contradict.
    InputError
        If there are no prediction times.
    """
    building = Building.begun(plan, events, at_relation, threads, strict, keep, report)
    plan, run = building.plan, building.run
    values = np.empty((len(run.subject_id), len(plan.features)), dtype=np.float32)
    run.into = values
    for part in building.parts():
        if part.values.base is not values:
            values[part.rows] = part.values
    if plan.plugins:
        from magml.features.plugin_run import fill_plugins

        columns = {p.name: values[:, plan.features.index(p.name)] for p in plan.plugins}
        fill_plugins(plan, events, at_relation, columns, check=strict)
    return building.matrix(values)


@dataclass(eq=False)
class Building:
    """A feature matrix in the making: its parts, and the account of the mapping.

    Attributes
    ----------
    plan
        With the units that were found to be meant.
    run
        What yields the parts.
    concept_map
        The map of codes and units, where it is known before the events are read.
    kept
        Where finished ranges are kept.
    seen
        Which prediction times see a mapped row, bool [n].
    """

    plan: Plan
    run: Run
    concept_map: ConceptMap | None
    kept: KeptRanges | None
    workers: int
    report: Report

    @classmethod
    def begun(
        cls,
        plan: Plan,
        events: Events,
        at_relation: str,
        threads: int | None,
        strict: bool,
        keep: Path | None,
        report: Report,
    ) -> Building:
        """Check units where that is wanted, and read the prediction times."""
        concept_map = None
        if strict:
            with reading(f"the records of {events.name}"):
                plan, concept_map = _checked(plan, events, at_relation)
        table = events.connection.sql(
            f"SELECT subject_id, epoch_us(prediction_time) AS t_us FROM {at_relation} "
            "ORDER BY row_id"
        ).to_arrow_table()
        if table.num_rows == 0:
            raise InputError("no prediction times", "at least one row", "check the cohort")
        subject_id, t_us = to_numpy(table["subject_id"]), to_numpy(table["t_us"])
        run = Run(plan, events, subject_id, t_us, concept_map)
        kept = None
        if keep is not None:
            from magml.features.kept import KeptRanges

            kept = KeptRanges.of(keep, plan, events, subject_id, t_us, strict=strict)
        workers = max(1, threads if threads is not None else os.cpu_count() or 1)
        return cls(plan, run, concept_map, kept, workers, report)

    def __post_init__(self) -> None:
        self.seen = np.zeros(len(self.run.subject_id), dtype=bool)
        self._mapped = np.zeros(self.plan.row_ids, dtype=np.int64)
        self._met = np.zeros((2, 0), dtype=np.int64)

    def parts(self) -> Iterator[Part]:
        """Yield the parts, and count what was mapped on the way."""
        memory = limit().size
        for part in self.run.parts(memory, self.workers, self.kept, self.report):
            self.seen[part.rows] = part.seen
            self._mapped += part.kept
            self._met = added(self._met, part.met)
            yield part

    def account(self) -> MappingReport:
        """Return how the events of all parts were mapped."""
        found = self.concept_map
        if found is None:
            names, met = self.run.groups.names, self._met.T.tolist()
            groups = sorted(
                (Group(*names[k], *counts) for k, counts in enumerate(met) if counts[0]),
                key=lambda group: (group.code, group.unit),
            )
            found = map_concepts(self.plan, groups, strict=False)
        return found.report(self.plan, self._mapped)

    def matrix(self, values: NDArray[np.float32]) -> FeatureMatrix:
        """Return the matrix of all parts' values."""
        return FeatureMatrix(
            subject_id=self.run.subject_id,
            prediction_time=self.run.t_us.astype("datetime64[us]"),
            values=values,
            names=self.plan.features,
            report=self.account(),
            empty=self.run.empty(self.seen),
        )


def _checked(plan: Plan, events: Events, at_relation: str) -> tuple[Plan, ConceptMap]:
    """Return the plan and map of events whose units are right."""
    groups = read_groups(plan, events, at_relation)
    concept_map = map_concepts(plan, groups, strict=True)
    units, assumed = check_groups(plan, events, concept_map.entries)
    if not assumed.items() <= plan.assumed.items():
        plan = plan.with_assumed({**plan.assumed, **assumed})
        concept_map = map_concepts(plan, groups, strict=True)
    return plan, replace(concept_map, units=units)
