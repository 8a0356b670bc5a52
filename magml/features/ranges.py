"""Mapped rows, and cutting people into ranges that fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

#: A range ends before it would have more rows than this ...
ROWS = 1_250_000
#: ... or before its block of features would hold more numbers than this; larger is not faster.
CELLS = 16_000_000
#: The last ranges have at least a fifth of that.
_SMALLER = 5
#: Bytes that a row and a number of the block take while they are worked on (measured).
_ROW, _CELL = 75, 12
#: The share of the memory for the ranges in work: where DuckDB reads them it has half, and one is
#: being read; the result is beside them.
_SHARE, _SHARE_ALONE = 0.3, 0.6

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

    def put(self, places: Ints, rows: Rows) -> None:
        """Write other rows over those at some places."""
        for name in _COLUMNS:
            getattr(self, name)[places] = getattr(rows, name)

    def where(self, chosen: NDArray[np.bool_]) -> Rows:
        """Return the rows that are marked."""
        return self if chosen.all() else self.take(np.flatnonzero(chosen))

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """Return the rows of several parts."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            whole, real = np.empty(0, dtype=np.int64), np.empty(0)
            return cls(whole, whole.astype(np.int32), whole, whole, whole, real)
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in _COLUMNS))


@dataclass(frozen=True)
class Range:
    """All mapped rows of the people `first` to `last` that some feature may use."""

    rows: Rows
    first: int
    last: int


@dataclass(frozen=True)
class Size:
    """How much a range holds at most; one person makes a range whatever she has.

    Ranges are for so many `workers`.
    """

    rows: int
    cells: int
    workers: int = 1

    def next_rows(self, left: int) -> int:
        """Return how many of the rows left the next range may have.

        The last ranges are smaller, so that threads end together.
        """
        if self.workers == 1:
            return self.rows
        return min(self.rows, max(self.rows // _SMALLER, left // (2 * self.workers)))

    @classmethod
    def of(cls, memory: int, workers: int, *, engine: bool = True) -> Size:
        """Return the size of which one for each worker and one waiting fit.

        Parameters
        ----------
        memory
            Bytes for all.
        workers
            Threads that aggregate.
        engine
            Whether DuckDB reads the ranges, one ahead; else each thread reads its own.

        Examples
        --------
        >>> Size.of(2_000_000_000, 2)
        Size(rows=1000000, cells=6250000, workers=2)
        """
        several = workers + 2 if engine else workers + 1
        each = memory * (_SHARE if engine else _SHARE_ALONE) / several / 2
        return cls(min(ROWS, int(each / _ROW)), min(CELLS, int(each / _CELL)), workers)


def cut(
    rows: Ints,
    times: Ints,
    features: int,
    size: Size,
    finished: Mapping[int, int] | None = None,
    edges: Ints | None = None,
) -> Iterator[tuple[int, int]]:
    """Yield where ranges of people begin and end.

    Parameters
    ----------
    rows, times
        Events and prediction times of each person, int64 [people], people sorted.
    features
        Numbers in a row of a block.
    size
        What a range holds at most.
    finished
        Ranges, first to end, that keep their bounds whatever their size.
    edges
        Positions, rising, of which the last one that fits is taken as an end.

    Yields
    ------
    tuple of int
        Positions of the first person and of the one after the last.

    Examples
    --------
    >>> list(cut(np.array([3, 3, 9, 1]), np.ones(4, int), 10, Size(rows=6, cells=1000)))
    [(0, 2), (2, 3), (3, 4)]
    """
    finished = finished or {}
    others = sorted({*finished, len(rows)})
    row_ends, cell_ends = np.cumsum(rows), np.cumsum(times) * max(1, features)
    start = row_start = cell_start = 0
    while start < len(rows):
        most = size.next_rows(int(row_ends[-1]) - row_start)
        end = min(
            int(np.searchsorted(row_ends, row_start + most, side="right")),
            int(np.searchsorted(cell_ends, cell_start + size.cells, side="right")),
            others[int(np.searchsorted(others, start, side="right"))],
        )
        if edges is not None and end < len(rows):
            before = int(np.searchsorted(edges, end, side="right"))
            if before and edges[before - 1] > start:
                end = int(edges[before - 1])
        end = finished.get(start, max(end, start + 1))
        yield start, end
        start, row_start, cell_start = end, int(row_ends[end - 1]), int(cell_ends[end - 1])
