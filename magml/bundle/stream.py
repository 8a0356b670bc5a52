"""Scoring a stream: batches of events in, batches of scores out, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from magml.errors import InputError
from magml.tables import SCORES

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from magml.bundle.model import Model


def stream_scores(
    model: Model,
    batches: Iterable[pa.RecordBatch],
    at: Any,
    *,
    rows: int = 500_000,
    threads: int | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield the scores of people as their events arrive (`Model.score_stream`)."""
    import pyarrow as pa

    times = _times(at)
    held: pa.Table | None = None
    done: int | None = None
    for batch in batches:
        more = pa.Table.from_batches([batch])
        _check_order(more, done if held is None or not held.num_rows else _last(held))
        held = more if held is None else pa.concat_tables([held, more])
        if held.num_rows < rows:
            continue
        # The last person may go on in the next batch.
        subjects = held.column("subject_id").to_numpy()
        cut = int(np.searchsorted(subjects, subjects[-1], side="left"))
        if cut == 0:
            continue
        until = int(subjects[-1]) - 1
        yield from _score(model, held.slice(0, cut), times, at, done, until, threads)
        done, held = until, held.slice(cut)
    if held is None:
        raise InputError("no batches of events", "at least one", "check the stream")
    yield from _score(model, held, times, at, done, None, threads)


def _score(
    model: Model,
    events: pa.Table,
    times: pd.DataFrame | None,
    at: Any,
    after: int | None,
    until: int | None,
    threads: int | None,
) -> Iterator[pa.RecordBatch]:
    """Yield the scores of the people after `after` up to `until`."""
    import pyarrow as pa

    wanted = at
    if times is None:
        if not events.num_rows:
            return
    else:
        kept = np.ones(len(times), dtype=bool)
        subject = times["subject_id"].to_numpy()
        if after is not None:
            kept &= subject > after
        if until is not None:
            kept &= subject <= until
        if not kept.any():
            return
        wanted = times[kept].reset_index(drop=True)
    scores = model.score(events, wanted, threads=threads)
    batch = pa.RecordBatch.from_pandas(scores[list(SCORES.names)], preserve_index=False)
    yield batch.replace_schema_metadata(None)  # the same schema in every batch


def _times(at: Any) -> pd.DataFrame | None:
    """Return prediction times in the order of people; None where one moment holds for all."""
    import duckdb

    from magml.events.read import as_moment, read_prediction_times

    if as_moment(at) is not None:
        return None
    connection = duckdb.connect()
    relation = read_prediction_times(at, connection, None)
    found = connection.execute(
        f"SELECT subject_id, prediction_time FROM {relation} ORDER BY subject_id, row_id"
    )
    times: pd.DataFrame = found.df()
    return times


def _check_order(table: pa.Table, before: int | None) -> None:
    """Refuse people who do not come in order, after those of earlier batches."""
    if "subject_id" not in table.schema.names:
        raise InputError(
            "a batch without subject_id", "the columns of the event contract", "see docs/events.md"
        )
    subjects = table.column("subject_id").to_numpy()
    rising = (np.diff(subjects) >= 0).all()
    if not rising or (len(subjects) and before is not None and subjects[0] < before):
        raise InputError(
            "events that are not in the order of subject_id",
            "all events of a person together, people in rising order",
            "sort the stream by subject_id, or use Model.score, which sorts by itself",
        )


def _last(table: pa.Table) -> int:
    """Return the last person of a table."""
    return int(table.column("subject_id")[-1].as_py())
