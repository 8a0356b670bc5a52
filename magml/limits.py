"""What a file may unfold to: a small file that becomes a huge table or text is refused.

Records compress five- to fortyfold, and no column of people and times is alike in all rows. What
lies far beyond is damage or an attack, and is refused before it fills memory or disk.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from magml.errors import InputError

#: Largest factor by which gzip may unfold, and from how many bytes on it matters.
MAXIMUM_RATIO, UNFOLDED = 200, 100_000_000
#: Most rows for one byte of a Parquet file, and from how many rows on it matters.
MAXIMUM_ROWS_PER_BYTE, MANY_ROWS = 50, 10_000_000
#: Largest definition file, and the most values it may stand for once aliases are followed.
YAML_BYTES, YAML_VALUES = 5_000_000, 500_000
_BLOCK = 1 << 20


def check_files(files: Iterable[Path]) -> None:
    """Refuse gzipped files and Parquet files that unfold beyond all measure.

    Parameters
    ----------
    files
        Files to be read; those of other kinds are passed over. What does not read at all is left
        to the reader, which says so.

    Raises
    ------
    InputError
        Naming the file.
    """
    for path in files:
        name = path.name.lower()
        if name.endswith(".gz"):
            _check_gzip(path)
        elif name.endswith(".parquet"):
            _check_parquet(path)


def expanded_values(value: Any, most: int = YAML_VALUES) -> int:
    """Return how many values a parsed YAML document stands for, every alias followed.

    Counting stops where `most` is passed; a document that holds itself counts as more.

    Examples
    --------
    >>> expanded_values({"a": [1, 2]})
    5
    >>> shared = [1, 2]
    >>> expanded_values([shared, shared])
    7
    """
    known: dict[int, int] = {}
    open_: set[int] = set()

    def count(one: Any) -> int:
        if not isinstance(one, dict | list | tuple | set):
            return 1
        place = id(one)
        if place in open_:
            return most + 1
        if place not in known:
            open_.add(place)
            parts = [*one.keys(), *one.values()] if isinstance(one, dict) else list(one)
            known[place] = min(1 + sum(count(part) for part in parts), most + 1)
            open_.discard(place)
        return known[place]

    return count(value)


def _check_gzip(path: Path) -> None:
    """Unfold the beginning, as far as it matters; what goes on and on is refused."""
    reader = zlib.decompressobj(wbits=31)
    read = unfolded = waiting = 0
    try:
        with path.open("rb") as stream:
            while unfolded < UNFOLDED:
                block = reader.unconsumed_tail or stream.read(_BLOCK)
                if not block:
                    return
                if not reader.unconsumed_tail:
                    read += len(block)
                unfolded += len(reader.decompress(block, _BLOCK))
                waiting = len(reader.unconsumed_tail)
                if reader.eof:
                    rest = reader.unused_data
                    reader = zlib.decompressobj(wbits=31)
                    if rest:
                        unfolded += len(reader.decompress(rest, _BLOCK))
    except (OSError, zlib.error):
        return
    if unfolded > MAXIMUM_RATIO * (read - waiting):
        raise InputError(
            f"'{path.name}' unfolds to more than {MAXIMUM_RATIO} times its size",
            "records, which compress five- to fortyfold",
            "check where the file is from; if it is right, unpack it first",
        )


def _check_parquet(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_metadata(path).num_rows
        size = path.stat().st_size
    except (OSError, pa.ArrowException, ValueError):
        return
    if rows > MANY_ROWS and rows > MAXIMUM_ROWS_PER_BYTE * size:
        raise InputError(
            f"'{path.name}' states {rows} rows in {size} bytes",
            f"at most {MAXIMUM_ROWS_PER_BYTE} rows a byte: people and times differ",
            "check where the file is from",
        )
