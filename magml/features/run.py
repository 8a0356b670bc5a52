"""One run of a plan on events: ranges of people, read one after the other, aggregated side by side.

The events' own connection reads the usable events of a range; one thread then maps and aggregates
them in an order that their content alone decides, so that floating sums do not depend on how many
threads there are, how large ranges are, or in which order rows arrive.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from magml.events.table import reading
from magml.features.arrow import to_arrow
from magml.features.concepts import ConceptMap
from magml.features.filling import Block
from magml.features.groups import Groups
from magml.features.mapped import needed_since
from magml.features.order import by_people
from magml.features.periods import group_starts
from magml.features.plan import OPEN, Plan
from magml.features.ranges import Range, Rows, Size, cut
from magml.features.stored import NotPlainError, Stored
from magml.features.usable import Reader, Usable
from magml.memory import keep_freed
from magml.progress import Report, silent

if TYPE_CHECKING:
    from magml.events.table import Events
    from magml.features.kept import KeptRanges

Ints = NDArray[np.int64]

#: Less is not worth a second thread: rows, and numbers of the matrix, three for a row (measured).
FEW, _NUMBERS = 2_000_000, 3


@dataclass(frozen=True)
class Part:
    """The features of a range of people, and what was counted on the way.

    Attributes
    ----------
    first, last
        Positions of the first person and of the one after the last.
    rows
        Which prediction times these are, int64 [k].
    values, seen
        Their features, float32 [k, p], and which see a mapped row, bool [k].
    kept
        Rows of each id of mapped rows, int64.
    met
        Usable rows and values of each group that had a number by then, int64 [2, groups].
    """

    first: int
    last: int
    rows: Ints
    values: NDArray[np.float32]
    seen: NDArray[np.bool_]
    kept: Ints
    met: Ints


class Run(Block):
    """The parts of a feature matrix.

    Parameters
    ----------
    plan, events
        What is computed, of what.
    subject_id, t_us
        Prediction times.
    concept_map
        How codes and units map to concepts, where it is known before the events are read.

    Attributes
    ----------
    into
        A matrix of all rows, of which parts may be views, so that they need not be copied.
    """

    def __init__(
        self,
        plan: Plan,
        events: Events,
        subject_id: Ints,
        t_us: Ints,
        concept_map: ConceptMap | None = None,
    ) -> None:
        super().__init__(plan, subject_id, t_us)
        self.events = events
        times = self.t_us[self.by_subject]
        self.people, starts = np.unique(self.subjects, return_index=True)
        self.starts = np.append(starts, len(self.subjects))
        self.since_us = needed_since(plan, np.minimum.reduceat(times, starts))
        horizon = np.maximum.reduceat(times, starts)
        self.into: NDArray[np.float32] | None = None
        self.groups = Groups(plan, concept_map)
        self.reader = Reader(events, self.people, horizon, self.groups)
        self.stored = Stored.of(events, self.people, horizon, self.groups)

    def parts(
        self,
        memory: int,
        workers: int,
        kept: KeptRanges | None = None,
        report: Report = silent,
    ) -> Iterator[Part]:
        """Yield the parts in the order of people; a few of them are in work at a time.

        Parameters
        ----------
        memory
            Bytes that the work may take.
        workers
            Threads that aggregate.
        kept
            Where parts are read that were finished before, and finished ones are kept.
        report
            Called with the share done and what is being done.
        """
        keep_freed()
        source = self.reader if self.stored is None else self.stored
        rows, times = source.rows_each(), np.diff(self.starts)
        features = len(self.where.names)
        work = int(rows.sum()) + int(times.sum()) * features // _NUMBERS
        workers = workers if work > FEW else 1
        size = Size.of(memory, workers, engine=self.stored is None)
        finished = {} if kept is None else kept.ranges()
        edges = None if self.stored is None else self.stored.edges()
        ranges = list(cut(rows, times, features, size, finished, edges))
        done, total = np.append(0, np.cumsum(rows)), max(1, int(rows.sum()))
        kept = kept if len(ranges) > 1 else None
        with reading(f"the records of {self.events.name}"), self._ordered(ranges):
            for part in self._computed(ranges, workers, kept):
                share = float(done[part.last]) / total
                report(share, f"features of {part.last:,} of {len(self.people):,} people")
                yield part

    @contextmanager
    def _ordered(self, ranges: list[tuple[int, int]]) -> Iterator[None]:
        """Read the ranges from events whose people stand together."""
        given, stored = self.reader.events, self.stored
        self.reader.events = by_people(given, self.people[[last - 1 for _, last in ranges]])
        if self.reader.events is not given:
            self.stored = None
        if self.stored is None and len(ranges) > 1:
            self.reader.meet()
        try:
            yield
        finally:
            self.stored = stored
            if self.reader.events is not given:
                ordered, self.reader.events = self.reader.events, given
                ordered.connection.execute(f"DROP TABLE IF EXISTS {ordered.relation}")

    def _computed(
        self, ranges: list[tuple[int, int]], workers: int, kept: KeptRanges | None
    ) -> Iterator[Part]:
        finished = set() if kept is None else set(kept.ranges().items())
        waiting: deque[tuple[int, int, Future[Part]]] = deque()

        def taken() -> Part:
            first, last, future = waiting.popleft()
            try:
                return future.result()
            except NotPlainError:
                assert self.stored is not None
                self.stored.first_known[first:last] = OPEN
                return self._part([self.reader.read(first, last)], first, last, kept)

        with ThreadPoolExecutor(workers, thread_name_prefix="magml-features") as pool:
            try:
                for first, last in ranges:
                    part = None
                    if kept is not None and (first, last) in finished:
                        part = kept.range(first, last, self.groups)
                    if part is not None:
                        future: Future[Part] = Future()
                        future.set_result(part)
                    else:
                        # The engine's connection is one thread's; files are read where they are
                        # aggregated.
                        blocks: Iterable[Usable] = (
                            [self.reader.read(first, last)]
                            if self.stored is None
                            else self.stored.blocks(first, last)
                        )
                        future = pool.submit(self._part, blocks, first, last, kept)
                        del blocks
                    waiting.append((first, last, future))
                    if len(waiting) > workers:
                        yield taken()
                while waiting:
                    yield taken()
            finally:
                for *_, future in waiting:
                    future.cancel()

    def _part(
        self, blocks: Iterable[Usable], first: int, last: int, kept: KeptRanges | None
    ) -> Part:
        """Map and aggregate the usable events of a range of people."""
        counts = np.zeros(self.plan.row_ids, dtype=np.int64)
        met = np.zeros((2, 0), dtype=np.int64)
        found = []
        for usable in blocks:
            mapping = self.groups.mapping()
            met = added(met, usable.met)
            since = self.since_us[_places(self.people, usable.subject_id)]
            rows, n = mapping.rows(self.plan, usable, since)
            found.append(rows)
            counts += n
            del usable
        own = Range(Rows.joined(found), int(self.people[first]), int(self.people[last - 1]))
        del found
        part = Part(first, last, *self.computed(own, self.into), counts, met)
        if kept is not None:
            kept.keep(part, self.groups)
        return part

    def empty(self, seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which rows see no event at all; only those without mapped ones are asked."""
        unseen = np.flatnonzero(~seen)
        empty = np.zeros(len(seen), dtype=bool)
        if self.stored is not None:
            # Who was read is known from reading.
            place = np.searchsorted(self.people, self.subject_id[unseen])
            first = self.stored.first_known[place]
            told = (first < OPEN) | (self.stored.rows_each()[place] == 0)
            empty[unseen] = told & (first >= self.t_us[unseen])
            unseen = unseen[~told]
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
        empty[some["row"].to_numpy()] = False
        return empty


def added(some: Ints, more: Ints) -> Ints:
    """Return the sum of two counts [2, groups], of which either may know more groups.

    Examples
    --------
    >>> added(np.array([[1], [0]]), np.array([[2, 3], [1, 1]])).tolist()
    [[3, 3], [1, 1]]
    """
    some, more = sorted((some, more), key=lambda counts: counts.shape[1])
    total = more.copy()
    total[:, : some.shape[1]] += some
    return total


def _places(people: Ints, subject_id: Ints) -> Ints:
    """Return the position of each row's person; rows of one person mostly stand together."""
    starts = group_starts(subject_id)
    place = np.searchsorted(people, subject_id[starts])
    return np.repeat(place, np.diff(starts, append=len(subject_id)))
