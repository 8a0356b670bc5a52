"""Running a plan on events: ranges of people, each aggregated by one thread.

The events' own connection maps rows to concepts and streams them by person. Each range is then
aggregated by one thread, in an order that its content alone decides, so that floating sums do not
depend on how many threads there are or in which order rows arrive.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from magml.errors import InputError
from magml.features.arrow import to_arrow, to_numpy
from magml.features.concepts import map_concepts, read_groups
from magml.features.filling import Filling
from magml.features.matrix import FeatureMatrix
from magml.features.plan import Plan
from magml.features.ranges import Range, cut
from magml.features.unit_groups import check_groups

if TYPE_CHECKING:
    import pyarrow as pa

    from magml.events.table import Events


def build_matrix(
    plan: Plan,
    events: Events,
    at_relation: str,
    *,
    threads: int | None = None,
    strict: bool = True,
) -> FeatureMatrix:
    """Build the features of prediction times.

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
    groups = read_groups(plan, events, at_relation)
    concept_map = map_concepts(plan, groups, strict=strict)
    if strict:
        units, assumed = check_groups(plan, events, concept_map.entries)
        if not assumed.items() <= plan.assumed.items():
            plan = plan.with_assumed({**plan.assumed, **assumed})
            concept_map = map_concepts(plan, groups, strict=strict)
        concept_map = replace(concept_map, units=units)
    run = _Run(plan, events, at_relation)
    workers = max(1, threads if threads is not None else os.cpu_count() or 1)
    if concept_map.mapped_rows:
        run.fill(concept_map.to_arrow(plan), concept_map.mapped_rows, workers)
    run.finish_untouched()
    if plan.plugins:
        from magml.features.plugin_run import fill_plugins

        fill_plugins(plan, events, at_relation, run.values, check=strict)
    return FeatureMatrix(
        subject_id=run.subject_id,
        prediction_time=run.t_us.astype("datetime64[us]"),
        values=run.values,
        names=plan.features,
        report=concept_map.report(plan, run.kept),
        empty=run.empty(),
    )


#: Rows of a batch of the stream; fewer are aggregated without a pool of threads.
_BATCH = 250_000


class _Unsorted(Exception):
    """The stream of mapped rows is not in the order of people."""


class _Run(Filling):
    """A filling from events on a connection."""

    def __init__(self, plan: Plan, events: Events, at_relation: str) -> None:
        self.events, self.at_relation = events, at_relation
        table = events.connection.sql(
            f"SELECT subject_id, epoch_us(prediction_time) AS t_us FROM {at_relation} "
            f"ORDER BY row_id"
        ).to_arrow_table()
        if table.num_rows == 0:
            raise InputError("no prediction times", "at least one row", "check the cohort")
        super().__init__(plan, to_numpy(table["subject_id"]), to_numpy(table["t_us"]))

    def fill(self, concept_map: pa.Table, bound: int, workers: int) -> None:
        """Fill the rows of everyone who has mapped events."""
        connection = self.events.connection
        name = f"magml_concept_map_{id(self)}"
        connection.register(name, concept_map)
        try:
            sql = self.plan.statement(
                "duckdb",
                "map",
                {
                    "events": self.events.relation,
                    "concept_map": name,
                    "prediction_times": self.at_relation,
                },
            )
            try:
                self._stream(sql, bound, workers)
            except _Unsorted:
                self.kept[:] = 0
                self._stream(f"SELECT * FROM ({sql}) ORDER BY subject_id", bound, workers)
        finally:
            connection.unregister(name)

    def _stream(self, sql: str, bound: int, workers: int) -> None:
        reader = self.events.connection.sql(sql).to_arrow_reader(_BATCH)
        try:
            ranges = self._counted(cut(reader, self.subjects, len(self.where.names), _Unsorted))
            if workers > 1 and bound > _BATCH:
                self._parallel(ranges, workers)
                return
            for part in ranges:
                self.range(part)
        finally:
            reader.close()

    def _counted(self, ranges: Iterator[Range]) -> Iterator[Range]:
        """Pass ranges on and count their rows, in the one thread that reads them."""
        for part in ranges:
            self.kept += part.counts(self.plan.row_ids)
            yield part

    def _parallel(self, ranges: Iterator[Range], workers: int) -> None:
        """Aggregate ranges side by side; at most one more than that waits in memory."""
        waiting: deque[Future[None]] = deque()
        with ThreadPoolExecutor(workers, thread_name_prefix="magml-features") as pool:
            try:
                for part in ranges:
                    waiting.append(pool.submit(self.range, part))
                    if len(waiting) > workers:
                        waiting.popleft().result()
                while waiting:
                    waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def empty(self) -> NDArray[np.bool_]:
        """Return which rows see no event at all; only those without mapped ones are asked."""
        unseen = np.flatnonzero(~self.seen)
        empty = np.zeros(len(self.seen), dtype=bool)
        if len(unseen) == 0:
            return empty
        name = f"magml_unseen_{id(self)}"
        connection = self.events.connection
        connection.register(
            name,
            to_arrow(
                {
                    "row": unseen,
                    "subject_id": self.subject_id[unseen],
                    "t": self.t_us[unseen].view("datetime64[us]"),
                }
            ),
        )
        try:
            some = connection.sql(
                f"SELECT u.row FROM {name} u JOIN (SELECT subject_id, min(coalesce(known_time, "
                f"time, TIMESTAMP '0001-01-01')) AS known FROM {self.events.relation} "
                f"WHERE subject_id IN (SELECT subject_id FROM {name}) GROUP BY subject_id) e "
                f"USING (subject_id) WHERE e.known < u.t"
            ).to_arrow_table()
        finally:
            connection.unregister(name)
        empty[unseen] = True
        empty[to_numpy(some["row"])] = False
        return empty
