"""Columns of a small table in memory as numpy arrays; None for what is not plainly of its type.

Numbers are taken from Arrow's buffers: pyarrow's own conversions import pandas.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from magml.tables import Table

#: Moments of the years 1 to 9999, in microseconds since 1970: those that Python knows.
_FIRST, _END = -62_135_596_800_000_000, 253_402_300_800_000_000


@dataclass(frozen=True, eq=False)
class Columns:
    """The declared columns that a table has."""

    rows: int
    arrays: dict[str, pa.Array]

    def subjects(self) -> NDArray[np.int64] | None:
        """Return ``subject_id``; None where a row has none, or where it is no whole number."""
        array = self.arrays.get("subject_id")
        kinds = (
            pa.int8(),
            pa.int16(),
            pa.int32(),
            pa.int64(),
            pa.uint8(),
            pa.uint16(),
            pa.uint32(),
        )
        if array is None or array.null_count or array.type not in kinds:
            return None
        return buffer(array.cast(pa.int64()), np.int64)

    def moments(self, name: str, none: int) -> NDArray[np.int64] | None:
        """Return moments in microseconds since 1970, `none` where there is none.

        None where the column holds something else, or fractions of a microsecond. Moments with a
        zone are those of UTC.
        """
        array = self.arrays.get(name)
        if array is None or pa.types.is_null(array.type):
            return np.full(self.rows, none, dtype=np.int64)
        if not (pa.types.is_timestamp(array.type) or pa.types.is_date32(array.type)):
            return None
        zone = getattr(array.type, "tz", None)
        try:
            whole = array.cast(pa.timestamp("us", tz=zone))
        except pa.ArrowInvalid:
            return None
        found, nulls = buffer(whole, np.int64), whole.null_count
        if nulls:
            found = np.where(missing(whole), none, found)
        outside = np.count_nonzero(found < _FIRST) + np.count_nonzero(found >= _END)
        return found if outside == nulls else None

    def numbers(self, name: str) -> NDArray[np.float64] | None:
        """Return numbers, NaN where there is none."""
        array = self.arrays.get(name)
        if array is None or pa.types.is_null(array.type):
            return np.full(self.rows, np.nan)
        if not (pa.types.is_integer(array.type) or array.type in (pa.float32(), pa.float64())):
            return None
        whole = array.cast(pa.float64(), safe=False)
        found = buffer(whole, np.float64)
        return np.where(missing(whole), np.nan, found) if whole.null_count else found

    def places(self, name: str, *, nullable: bool) -> tuple[NDArray[np.int32], list[str]] | None:
        """Return texts as places in a list of the different ones; no text is an empty one."""
        if not self.text(name):
            return None
        array = self.arrays.get(name)
        if array is None or pa.types.is_null(array.type):
            return (np.zeros(self.rows, dtype=np.int32), [""]) if nullable else None
        if array.null_count and not nullable:
            return None
        encoded = array.cast(pa.large_string()).fill_null("").dictionary_encode()
        return buffer(encoded.indices, np.int32), encoded.dictionary.to_pylist()

    def text(self, name: str) -> bool:
        """Return whether a column holds texts, or nothing."""
        array = self.arrays.get(name)
        if array is None:
            return True
        kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
        return kind in (pa.string(), pa.large_string(), pa.null())

    def listed(self, name: str) -> list[str | None]:
        """Return a column of texts as it was given."""
        array = self.arrays.get(name)
        return [None] * self.rows if array is None else array.to_pylist()


def columns_of(data: Any, table: Table, most: int) -> Columns | None:
    """Return the declared columns of a pandas or Arrow table.

    Returns
    -------
    Columns or None
        None for anything else, for more rows than `most`, where a required column is absent, and
        where a column mixes types or stands twice.
    """
    module, kind = type(data).__module__.split(".")[0], type(data).__name__
    if (module, kind) not in (("pandas", "DataFrame"), ("pyarrow", "Table")) or len(data) > most:
        return None
    names = list(data.columns) if module == "pandas" else data.schema.names
    arrays = {}
    for column in table.columns:
        if names.count(column.name) != 1:
            if column.required or column.name in names:
                return None
            continue
        try:
            found = (
                pa.array(data[column.name], from_pandas=True)
                if module == "pandas"
                else data.column(column.name)
            )
            arrays[column.name] = _whole(found)
        except (pa.ArrowException, ValueError, TypeError):
            return None
    return Columns(len(data), arrays)


def _whole(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks() if array.num_chunks != 1 else array.chunk(0)
    if isinstance(array, pa.ChunkedArray):
        raise ValueError("pieces that do not join")
    return array


def buffer(array: pa.Array, dtype: type) -> NDArray[Any]:
    """Return the values of an array of numbers or moments; what stands for a null is anything."""
    if not len(array):
        return np.empty(0, dtype)
    size = np.dtype(dtype).itemsize
    return np.frombuffer(array.buffers()[1], dtype, len(array), array.offset * size)


def missing(array: pa.Array) -> NDArray[np.bool_]:
    """Return which values are null."""
    bits = array.buffers()[0]
    if bits is None or not array.null_count:
        return np.zeros(len(array), dtype=bool)
    valid = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little")
    return ~valid[array.offset : array.offset + len(array)].astype(bool)
