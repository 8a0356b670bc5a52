"""Writing a feature matrix to a file as its ranges are built, so that memory does not grow."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from magml.errors import InputError
from magml.features.arrow import to_arrow
from magml.features.build import Building
from magml.features.matrix import MappingReport
from magml.features.plan import Plan
from magml.files import atomic_file
from magml.memory import limit
from magml.parts import Parts
from magml.progress import Report, silent

if TYPE_CHECKING:
    import pyarrow as pa

    from magml.events.table import Events

#: Numbers of a matrix that are written at once.
_CELLS = 8_000_000
_Write = Callable[[NDArray[np.int64], NDArray[np.float32]], None]


@dataclass(frozen=True)
class Written:
    """What was written: its size, and how the events were mapped."""

    rows: int
    names: tuple[str, ...]
    report: MappingReport


def write_matrix(
    plan: Plan,
    events: Events,
    at_relation: str,
    out: Path,
    *,
    threads: int | None = None,
    strict: bool = True,
    report: Report = silent,
) -> Written:
    """Build the features of prediction times into a file.

    Finished ranges of people are kept beside the file until it stands. A building that was killed
    goes on after them, and ends in the same bytes.

    Parameters
    ----------
    plan, events, at_relation, threads, strict, report
        As for `magml.features.build_matrix`.
    out
        File that appears when all of it is written, ``.parquet`` or ``.csv``: ``subject_id``,
        ``prediction_time``, then the features, in the order of ``row_id``.

    Raises
    ------
    InputError
        If the file is of another kind or cannot be written, and as `build_matrix`.
    """
    if out.suffix not in (".parquet", ".csv"):
        raise InputError(
            f"'{out.name}' ends in neither .parquet nor .csv",
            "a file ending in .parquet or .csv",
            "rename the output",
        )
    keep = Parts.beside(out)
    building = Building.begun(plan, events, at_relation, threads, strict, keep, report)
    plan, run = building.plan, building.run
    plugins = {p.name: np.empty(len(run.subject_id), dtype=np.float32) for p in plan.plugins}
    if plugins:
        from magml.features.plugin_run import fill_plugins

        fill_plugins(plan, events, at_relation, plugins, check=strict)
    with atomic_file(out) as beside, _writer(beside, building) as write:
        for rows, values in _evenly(_in_order(building), len(plan.features)):
            for name, column in plugins.items():
                values[:, plan.features.index(name)] = column[rows]
            write(rows, values)
    Parts(keep, "").remove()
    return Written(len(run.subject_id), plan.features, building.account())


def _in_order(building: Building) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield rows and their values in the order of the prediction times."""
    run = building.run
    if (np.diff(run.by_subject) > 0).all():
        for part in building.parts():
            yield part.rows, part.values
        return
    # Prediction times in another order than people: the matrix lies on disk meanwhile.
    shape = (len(run.subject_id), len(building.plan.features))
    spill = limit().spill
    spill.mkdir(parents=True, exist_ok=True)
    place = spill / f"matrix-{id(run)}"
    values = np.memmap(place, dtype=np.float32, mode="w+", shape=shape)
    try:
        for part in building.parts():
            values[part.rows] = part.values
        step = _rows_at_once(shape[1])
        for start in range(0, shape[0], step):
            rows = np.arange(start, min(start + step, shape[0]))
            yield rows, np.array(values[rows])
    finally:
        del values
        place.unlink(missing_ok=True)


def _rows_at_once(features: int) -> int:
    return max(1, _CELLS // max(1, features))


def _evenly(
    blocks: Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]], features: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield the same rows by an equal number, so that a file's bytes do not tell the ranges."""
    step = _rows_at_once(features)
    held: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
    for block in blocks:
        held.append(block)
        while sum(len(rows) for rows, _ in held) >= step:
            rows, values = (np.concatenate(part) for part in zip(*held, strict=True))
            yield rows[:step], values[:step]
            held = [(rows[step:], values[step:])]
    rows, values = (np.concatenate(part) for part in zip(*held, strict=True))
    if len(rows):
        yield rows, values


@contextlib.contextmanager
def _writer(path: Path, building: Building) -> Iterator[_Write]:
    """Yield a function that appends rows to a file."""
    names = building.plan.features
    if path.suffix == ".csv":
        import pandas as pd

        from magml.spreadsheet import neutralised

        with path.open("w", newline="", encoding="utf-8") as handle:

            def append(rows: NDArray[np.int64], values: NDArray[np.float32]) -> None:
                frame = pd.DataFrame(values, columns=list(names), copy=False)
                moments = building.run.t_us[rows].astype("datetime64[us]")
                frame.insert(0, "prediction_time", moments)
                frame.insert(0, "subject_id", building.run.subject_id[rows])
                header = handle.tell() == 0
                neutralised(frame).to_csv(handle, index=False, header=header)

            yield append
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    keys = {"subject_id": pa.int64(), "prediction_time": pa.timestamp("us")}
    schema = pa.schema([*keys.items(), *((name, pa.float32()) for name in names)])
    # Measured values hardly repeat: no dictionaries.
    with pq.ParquetWriter(path, schema, use_dictionary=False) as writer:

        def write(rows: NDArray[np.int64], values: NDArray[np.float32]) -> None:
            own = building.run.subject_id[rows], building.run.t_us[rows].view("datetime64[us]")
            arrays = [*to_arrow(dict(zip(keys, own, strict=True))).columns, *_columns(values)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))

        yield write


def _columns(values: NDArray[np.float32]) -> Iterator[pa.Array]:
    """Yield the columns of a matrix, null where it is NaN."""
    import pyarrow as pa

    columns = np.ascontiguousarray(values.T)
    there = np.packbits(~np.isnan(columns), axis=1, bitorder="little")
    for column, bits in zip(columns, there, strict=True):
        buffers = [pa.py_buffer(bits), pa.py_buffer(column)]
        yield pa.Array.from_buffers(pa.float32(), len(column), buffers)
