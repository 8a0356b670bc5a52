"""Usable events straight from Parquet files, as `magml.features.usable` reads them by query.

Parquet stores a text as a place in a dictionary. To take those places, block by block, spares the
handing over of texts and joining them again, and each thread can read for itself. What is not
plainly in the contract's types is left to the engine, which converts it or says what is wrong.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from magml.features.arrow import texts_of
from magml.features.few_columns import Columns, buffer, missing
from magml.features.groups import Groups
from magml.features.periods import group_starts
from magml.features.plan import OPEN, STATIC
from magml.features.usable import Usable, counted

if TYPE_CHECKING:
    from magml.events.table import Events

Ints = NDArray[np.int64]

#: Rows that are decoded at once: few enough to stay in a processor's cache; and of a row group of
#: which only the first people are wanted.
BLOCK, HEAD = 131_072, 8_192
_COLUMNS = ("subject_id", "time", "known_time", "end_time", "code", "numeric_value", "unit")
_TEXTS = ("code", "unit")
#: A table of all pairs of codes and units may be so many times as long as the block.
_TABLE = 16
#: Rows a person from which it takes little to keep whose they are.
_SEVERAL = 8
#: Threads that count people's rows; decoding one short column gains nothing from more.
_SURVEYORS = 4


class NotPlainError(Exception):
    """Something in the files is for the engine to read or to refuse."""


@dataclass(frozen=True, eq=False)
class _RowGroup:
    """A row group: where it is, its first and last person, and whether they are in order.

    Of a group whose people have several rows each it is kept whose rows they are: the first `ends`
    rows are those of `who` and of the people before. Else both are empty.
    """

    file: int
    number: int
    first: int
    last: int
    sorted: bool
    who: Ints
    ends: Ints

    def subjects(self, first: int, rows: int) -> Ints:
        """Return whose some rows are, int64 [rows]."""
        begin = int(np.searchsorted(self.ends, first, side="right"))
        end = int(np.searchsorted(self.ends, first + rows))
        ends = np.minimum(self.ends[begin : end + 1], first + rows)
        return np.repeat(self.who[begin : end + 1], np.diff(ends, prepend=first))


class Stored:
    """The usable events of ranges of people in Parquet files.

    Parameters
    ----------
    files
        The files, with their metadata.
    people, horizon_us
        Everyone who has prediction times, sorted, and the last of them, int64 [people].
    groups
        Numbers for codes and units.

    Attributes
    ----------
    first_known
        When something of each person was known first, int64 [people]; `OPEN` of those whose
        blocks were not read.
    """

    def __init__(
        self,
        files: list[tuple[Path, pq.FileMetaData]],
        people: Ints,
        horizon_us: Ints,
        groups: Groups,
    ) -> None:
        # What only periods need is not read where the plan has none.
        periods = groups.plan.first_exposure < len(groups.plan.concepts)
        self._columns = _COLUMNS if periods else tuple(c for c in _COLUMNS if c != "end_time")
        self.files, self.people, self.horizon_us, self.groups = files, people, horizon_us, groups
        self._rows = np.zeros(len(people), dtype=np.int64)
        self.first_known = np.full(len(people), OPEN, dtype=np.int64)
        self._row_groups = self._surveyed()

    @classmethod
    def of(cls, events: Events, people: Ints, horizon_us: Ints, groups: Groups) -> Stored | None:
        """Return a reader of events that are Parquet files as they stand, or None."""
        relation, paths = events.plain
        if events.relation != relation or not paths:
            return None
        try:
            files = [(path, pq.read_metadata(path)) for path in paths]
            if not all(_plain(metadata.schema.to_arrow_schema()) for _, metadata in files):
                return None
            return cls(files, people, horizon_us, groups)
        except (OSError, pa.ArrowException, NotPlainError):
            return None

    def rows_each(self) -> Ints:
        """Return the number of rows of each person, int64 [people]."""
        return self._rows

    def edges(self) -> Ints:
        """Return the positions of people at which reading may well begin."""
        firsts = np.array([group.first for group in self._row_groups], dtype=np.int64)
        return np.unique(np.searchsorted(self.people, firsts, side="right"))

    def blocks(self, first: int, last: int) -> Iterator[Usable]:
        """Yield the usable events of the people at the positions `first` to before `last`.

        Raises
        ------
        NotPlainError
            If a value is for the engine to look at.
        """
        low, high = int(self.people[first]), int(self.people[last - 1])
        opened: dict[int, pq.ParquetFile] = {}
        try:
            for group in self._row_groups:
                if group.last < low or group.first > high:
                    continue
                if group.file not in opened:
                    opened.clear()
                    opened[group.file] = self._open(group.file)
                # Of a row group that goes on with other people the head alone is wanted.
                block = HEAD if group.sorted and group.last > high else BLOCK
                for columns, subject in self._read(opened[group.file], group, block):
                    if group.sorted and len(subject) and subject[0] > high:
                        break
                    if group.sorted and len(subject) and subject[-1] < low:
                        continue
                    yield self._usable(columns, subject, first, last)
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            raise NotPlainError from error

    def _read(
        self, file: pq.ParquetFile, group: _RowGroup, rows: int
    ) -> Iterator[tuple[Columns, Ints]]:
        """Yield the blocks of a row group, and whose their rows are."""
        told, read = len(group.ends) > 0, 0
        names = tuple(name for name in self._columns if not told or name != "subject_id")
        for columns in self._decoded(file, group.number, names, rows):
            known = group.subjects(read, columns.rows) if told else columns.subjects()
            read += columns.rows
            yield columns, _given(known)

    def _usable(self, columns: Columns, subject: Ints, first: int, last: int) -> Usable:
        """Return the usable events of a block."""
        time = _given(columns.moments("time", STATIC))
        known = _given(columns.moments("known_time", STATIC))
        known = np.where(known == STATIC, time, known)
        until = self._until(subject, known, first, last)
        chosen = np.flatnonzero((known < until) & (time < until))
        number = self._numbered(columns, chosen)
        if self.groups.complete:
            chosen, number = _marked(number >= 0, chosen, number)
        value = _given(columns.numbers("numeric_value"))
        met = counted(number, value[chosen])
        # Most rows serve no concept: they are counted and left out.
        chosen, number = _marked(self.groups.mapping().count[number] > 0, chosen, number)
        end = _given(columns.moments("end_time", OPEN))
        taken = (subject[chosen], number, time[chosen], known[chosen], end[chosen])
        return Usable(*taken, value[chosen], met)

    def _until(self, subject: Ints, known: Ints, first: int, last: int) -> Ints:
        """Return, for each row, the last prediction time of its person; `STATIC` for others.

        On the way the first moment at which something was known of a person is kept.
        """
        starts = group_starts(subject)
        people = self.people[first:last]
        place = np.minimum(np.searchsorted(people, subject[starts]), last - first - 1)
        own = people[place] == subject[starts]
        least = np.minimum.reduceat(known, starts)[own]
        np.minimum.at(self.first_known, first + place[own], least)
        until = np.where(own, self.horizon_us[first + place], STATIC)
        return np.repeat(until, np.diff(starts, append=len(subject)))

    def _numbered(self, columns: Columns, chosen: Ints) -> NDArray[np.int32]:
        """Return the groups' numbers of the chosen rows."""
        (code, codes), (unit, units) = (_places(columns, name) for name in _TEXTS)
        pair = code[chosen].astype(np.int64) * len(units) + unit[chosen]
        size = len(codes) * len(units)
        if size > _TABLE * len(pair):
            pairs, place = np.unique(pair, return_inverse=True)
            return self.groups.of_pairs(pairs, codes, units)[place]
        there = np.zeros(size, dtype=bool)
        there[pair] = True
        pairs = np.flatnonzero(there)
        numbers = np.empty(size, dtype=np.int32)
        numbers[pairs] = self.groups.of_pairs(pairs, codes, units)
        return numbers[pair]

    def _surveyed(self) -> list[_RowGroup]:
        """Return the row groups, and count each person's rows on the way."""
        places = [(n, k) for n, (_, m) in enumerate(self.files) for k in range(m.num_row_groups)]
        with ThreadPoolExecutor(min(_SURVEYORS, os.cpu_count() or 1)) as pool:
            found = []
            for group, who, rows in pool.map(self._survey, places):
                place = np.minimum(np.searchsorted(self.people, who), len(self.people) - 1)
                own = self.people[place] == who
                np.add.at(self._rows, place[own], rows[own])
                if len(who):
                    found.append(group)
        return found

    def _survey(self, place: tuple[int, int]) -> tuple[_RowGroup, Ints, Ints]:
        """Return a row group, and the persons of its runs of rows with the runs' lengths."""
        number, k = place
        file, parts, lengths = self._open(number), [], []
        for columns in self._decoded(file, k, ("subject_id",), BLOCK):
            subject = _given(columns.subjects())
            starts = group_starts(subject)
            parts.append(subject[starts])
            lengths.append(np.diff(starts, append=len(subject)))
        none = np.empty(0, dtype=np.int64)
        who, rows = np.concatenate([none, *parts]), np.concatenate([none, *lengths])
        first, last = (int(who.min()), int(who.max())) if len(who) else (0, 0)
        ordered = bool((who[1:] >= who[:-1]).all())
        several = ordered and len(who) * _SEVERAL <= rows.sum()
        kept = (who, np.cumsum(rows)) if several else (none, none)
        return _RowGroup(number, k, first, last, ordered, *kept), who, rows

    def _open(self, number: int) -> pq.ParquetFile:
        path, metadata = self.files[number]
        there = metadata.schema.to_arrow_schema().names
        texts = [name for name in _TEXTS if name in there]  # the unit may be absent
        return pq.ParquetFile(path, metadata=metadata, read_dictionary=texts)

    @staticmethod
    def _decoded(
        file: pq.ParquetFile, number: int, names: tuple[str, ...], rows: int
    ) -> Iterator[Columns]:
        there = [name for name in names if name in file.schema_arrow.names]
        for batch in file.iter_batches(rows, row_groups=[number], columns=there, use_threads=False):
            if batch.num_rows:
                arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
                yield Columns(batch.num_rows, arrays)


def _plain(schema: pa.Schema) -> bool:
    """Return whether the columns stand once, under their names, without a time zone."""
    if any(schema.names.count(name) > 1 for name in _COLUMNS):
        return False
    there = [schema.field(name).type for name in _COLUMNS if name in schema.names]
    return not any(getattr(kind, "tz", None) for kind in there)


_Found = TypeVar("_Found")


def _given(found: _Found | None) -> _Found:
    if found is None:
        raise NotPlainError
    return found


def _marked(marks: NDArray[np.bool_], *arrays: NDArray) -> tuple[NDArray, ...]:
    some = np.flatnonzero(marks)
    return tuple(array[some] for array in arrays)


def _places(columns: Columns, name: str) -> tuple[NDArray[np.int32], pa.Array]:
    """Return a column of texts as places in a list; no text is an empty one."""
    array = columns.arrays.get(name)
    if array is None or not pa.types.is_dictionary(array.type) or not columns.text(name):
        places, texts = _given(columns.places(name, nullable=name != "code"))
        return places, texts_of(texts)
    if array.dictionary.null_count or (array.null_count and name == "code"):
        raise NotPlainError
    places, texts = buffer(array.indices, np.int32), array.dictionary.cast(pa.string())
    if array.null_count:
        places = np.where(missing(array), np.int32(len(texts)), places)
        texts = pa.concat_arrays([texts, texts_of([""])])
    return places, texts
