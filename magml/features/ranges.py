"""Cutting a stream of mapped rows into ranges of people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from magml.features.arrow import to_numpy

Ints = NDArray[np.int64]

#: A range ends with the person who brings it to this many rows ...
ROWS = 1_000_000
#: ... or before its block of features would hold more numbers than this.
CELLS = 16_000_000
#: Rows held back before a cut: an engine of several threads streams pieces of a sorted table
#: almost, but not quite, in their order.
MARGIN = 500_000

_COLUMNS = ("subject_id", "concept_id", "time_us", "known_us", "end_us", "value")


@dataclass(frozen=True)
class Rows:
    """Mapped rows, as the relation ``mapped`` of the plan's queries; each an array [n]."""

    subject_id: Ints
    concept_id: NDArray[np.int32]
    time_us: Ints
    known_us: Ints
    end_us: Ints
    value: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.subject_id)

    def take(self, chosen: NDArray[Any] | slice) -> Rows:
        """Return some of the rows."""
        return Rows(*(getattr(self, name)[chosen] for name in _COLUMNS))

    @classmethod
    def of(cls, batch: pa.RecordBatch | pa.Table) -> Rows:
        """Return the rows of an Arrow table."""
        return cls(*(to_numpy(batch.column(name)) for name in _COLUMNS))

    @classmethod
    def concatenated(cls, parts: list[Rows]) -> Rows:
        """Return the rows of several pieces."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in _COLUMNS))


@dataclass(frozen=True)
class Range:
    """All mapped rows of the people `first` to `last`."""

    rows: Rows
    first: int
    last: int

    def counts(self, concepts: int) -> Ints:
        """Return the number of rows of each concept."""
        return np.bincount(self.rows.concept_id, minlength=concepts)


def cut(
    batches: Iterable[pa.RecordBatch],
    subjects: Ints,
    features: int,
    unsorted: type[Exception],
) -> Iterator[Range]:
    """Yield ranges of people from batches roughly in the order of ``subject_id``.

    Where a range ends depends on the rows alone, not on how they come in batches.

    Parameters
    ----------
    batches
        Record batches with the columns of the relation ``mapped``.
    subjects
        Subject of every prediction time, sorted.
    features
        Number of columns of a block.
    unsorted
        Raised when a person comes whose range was already cut.
    """
    most = max(1, CELLS // max(1, features))
    held: list[Rows] = []
    floor: int | None = None
    for batch in batches:
        if batch.num_rows == 0:
            continue
        rows = Rows.of(batch)
        if floor is not None and rows.subject_id.min() <= floor:
            raise unsorted
        held.append(rows)
        if sum(map(len, held)) < ROWS + MARGIN:
            continue
        ids = _ids(held)
        while (end := _end(ids, subjects, most)) is not None and end <= len(ids) - MARGIN:
            first, floor = int(ids[0]), int(ids[end - 1])
            chosen, held = _split(held, floor)
            ids = ids[end:]
            yield Range(chosen, first, floor)
    ids = _ids(held)
    while len(ids):
        end = _end(ids, subjects, most) or len(ids)
        first, last = int(ids[0]), int(ids[end - 1])
        chosen, held = _split(held, last)
        ids = ids[end:]
        yield Range(chosen, first, last)


def _ids(held: list[Rows]) -> Ints:
    """Return the sorted subjects of all rows held."""
    if not held:
        return np.empty(0, dtype=np.int64)
    # The stable sort is quick on what is almost sorted.
    return np.sort(np.concatenate([rows.subject_id for rows in held]), kind="stable")


def _split(held: list[Rows], last: int) -> tuple[Rows, list[Rows]]:
    """Return the rows of people up to `last`, and the pieces of the others."""
    chosen, kept = [], []
    for rows in held:
        inside = rows.subject_id <= last
        if inside.all():
            chosen.append(rows)
        elif not inside.any():
            kept.append(rows)
        else:
            chosen.append(rows.take(inside))
            kept.append(rows.take(~inside))
    return Rows.concatenated(chosen), kept


def _end(ids: Ints, subjects: Ints, most: int) -> int | None:
    """Return where the first range of sorted `ids` ends; None while it may still grow."""
    if len(ids) == 0:
        return None
    # The person at the last allowed row still belongs to the range, and so does everyone up to
    # the last one whose prediction times still fit; at least one person makes a range.
    ends = []
    if len(ids) > ROWS:
        ends.append(int(np.searchsorted(ids, ids[ROWS - 1], side="right")))
    start = int(np.searchsorted(subjects, ids[0]))
    if start + most < len(subjects):
        beyond = max(int(subjects[start + most]), int(ids[0]) + 1)
        ends.append(int(np.searchsorted(ids, beyond)))
    ends = [end for end in ends if end < len(ids)]
    return min(ends) if ends else None
