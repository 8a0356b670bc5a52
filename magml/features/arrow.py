"""Arrow columns to and from numpy through their buffers.

pyarrow's own conversions import pandas, which costs a first prediction up to two seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_TYPES = {"i8": pa.int64(), "i4": pa.int32(), "f8": pa.float64(), "M8[us]": pa.timestamp("us")}
_DTYPES = {pa.int64(): np.int64, pa.int32(): np.int32, pa.float64(): np.float64}


def to_numpy(column: pa.ChunkedArray | pa.Array) -> NDArray[Any]:
    """Return a column of numbers without nulls; a view where it is one piece.

    Examples
    --------
    >>> to_numpy(pa.chunked_array([[1, 2], [3]]))
    array([1, 2, 3])
    """
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    dtype = _DTYPES[column.type]
    if column.null_count:
        raise ValueError("nulls in a column of numbers")
    parts = [
        np.frombuffer(
            chunk.buffers()[1], dtype, len(chunk), chunk.offset * np.dtype(dtype).itemsize
        )
        for chunk in chunks
        if len(chunk)
    ]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def to_arrow(columns: Mapping[str, NDArray[Any] | Sequence[str]]) -> pa.Table:
    """Return a table of numpy columns (numbers, moments, truth values) and lists of text.

    Examples
    --------
    >>> to_arrow({"a": np.array([1.5]), "b": np.array([True]), "c": ["x"]}).to_pylist()
    [{'a': 1.5, 'b': True, 'c': 'x'}]
    """
    arrays = [
        _numbers(values) if isinstance(values, np.ndarray) else _text(values)
        for values in columns.values()
    ]
    return pa.Table.from_arrays(arrays, names=list(columns))


def _numbers(values: NDArray[Any]) -> pa.Array:
    if values.dtype == np.bool_:
        bits = np.packbits(values, bitorder="little")
        return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(bits)])
    kind = _TYPES[values.dtype.str[1:]]
    whole = np.ascontiguousarray(values)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(whole)])


def texts_of(values: Sequence[str]) -> pa.Array:
    """Return texts as an array of strings; `pyarrow.array` would import pandas.

    Examples
    --------
    >>> texts_of(["a", ""]).to_pylist()
    ['a', '']
    """
    return _text(values).cast(pa.string())


def _text(values: Sequence[str]) -> pa.Array:
    encoded = [value.encode() for value in values]
    ends = np.zeros(len(encoded) + 1, dtype=np.int64)
    np.cumsum([len(part) for part in encoded], out=ends[1:])
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.large_string(), len(encoded), buffers)
