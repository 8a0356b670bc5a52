"""Which rows a command works on, and writing tables it makes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.errors import InputError
from magml.events import Events, read_events, read_prediction_times
from magml.files import atomic_file
from magml.spreadsheet import neutralised

if TYPE_CHECKING:
    import pandas as pd

    from magml.bundle import Model


@dataclass(frozen=True)
class Rows:
    """Events and the prediction times in them."""

    events: Events
    at: Any


def prediction_rows(
    model: Model,
    events: Path | None,
    at: str | None,
    labels: Path | None,
    experiment: Path | None,
    data: Path | None,
) -> Rows:
    """Return the rows that the options name: events with times or labels, or an experiment."""
    if experiment is not None:
        if data is None or events is not None or at is not None or labels is not None:
            raise InputError(
                "--experiment needs --data and nothing else",
                "--experiment FILE --data FOLDER",
                "remove --events, --at and --labels, or add --data",
            )
        from magml.experiments.rows import experiment_rows

        cohort = experiment_rows(experiment, data, model)
        return Rows(cohort.events, cohort.frame()[["subject_id", "prediction_time"]])
    if events is None or (at is None) == (labels is None):
        raise InputError(
            "no prediction times to work on",
            "--events with --at or --labels, or --experiment with --data",
            "add the options",
        )
    from magml.experiments.prepare import check_times

    read = read_events(events)
    chosen = at if at is not None else labels
    # One person without a record gets a warning; nobody with one is a mistake in the times.
    check_times(read, read_prediction_times(chosen, read.connection, read))
    return Rows(read, chosen)


def add_source_ids(table: pd.DataFrame, events: Events) -> pd.DataFrame:
    """Add the source's own ids to a table of subjects.

    Raises
    ------
    InputError
        If the events came without a subject map.
    """
    if events.subjects is None:
        raise InputError(
            "these events have no subject map", "a source that yields one", "drop --source-ids"
        )
    map_ = events.connection.execute(f"SELECT subject_id, source_id FROM {events.subjects}").df()
    return table.merge(map_, on="subject_id", how="left", validate="many_to_one")


def write_table(table: pd.DataFrame, out: Path | None) -> str | None:
    """Write a table as Parquet or CSV by the file's ending; return the path as text."""
    return write_parts([table], out)


def write_parts(tables: Iterable[pd.DataFrame], out: Path | None) -> str | None:
    """Write tables of the same columns as one, one after another; return the path as text."""
    if out is None:
        return None
    if out.suffix not in (".parquet", ".csv"):
        raise InputError(
            f"'{out.name}' ends in neither .parquet nor .csv",
            "--out FILE.parquet or FILE.csv",
            "rename the output",
        )
    write = _write_parquet if out.suffix == ".parquet" else _write_csv
    try:
        with atomic_file(out) as beside:
            write(tables, beside)
    except OSError as error:
        raise InputError(
            f"'{out.name}' cannot be written ({error.strerror})",
            "a folder that can be written to",
            "choose another --out",
        ) from error
    return str(out)


def _write_csv(tables: Iterable[pd.DataFrame], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as handle:
        for table in tables:
            neutralised(table).to_csv(handle, index=False, header=handle.tell() == 0)


def _write_parquet(tables: Iterable[pd.DataFrame], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with contextlib.ExitStack() as stack:
        writer = None
        for table in tables:
            if writer is None:
                # A column without any text in the first part may have some in the next.
                schema = pa.schema(
                    field.with_type(pa.string()) if pa.types.is_null(field.type) else field
                    for field in pa.Schema.from_pandas(table, preserve_index=False)
                )
                writer = stack.enter_context(pq.ParquetWriter(path, schema))
            writer.write_table(pa.Table.from_pandas(table, schema, preserve_index=False))
