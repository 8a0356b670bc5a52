"""Scoring a stream of Arrow batches: the same scores as all at once, whatever the batches."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from magml.errors import InputError
from tests.test_bundle_score import at, day, events, folder, model  # noqa: F401  (fixtures)


@pytest.fixture
def table(events: pd.DataFrame) -> pa.Table:  # noqa: F811
    return pa.Table.from_pandas(events.sort_values("subject_id"), preserve_index=False)


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("rows", [1, 4, 1000])
def test_any_batches_give_the_scores_of_all_at_once(model, table, at, size, rows):  # noqa: F811
    batches = table.to_batches(max_chunksize=size)
    found = pa.Table.from_batches(model.score_stream(batches, at, rows=rows)).to_pandas()
    whole = model.score(table, at.sort_values("subject_id").reset_index(drop=True))
    pd.testing.assert_frame_equal(found, whole, check_dtype=False)
    assert list(found["subject_id"]) == [1, 2, 3, 4, 99]


def test_one_moment_holds_for_everybody_who_comes(model, table):  # noqa: F811
    stream = model.score_stream(table.to_batches(max_chunksize=2), day(8), rows=3)
    found = pa.Table.from_batches(stream).to_pandas()
    whole = model.score(table, day(8))
    np.testing.assert_array_equal(found["subject_id"], whole["subject_id"])
    np.testing.assert_array_equal(found["risk"], whole["risk"])


def test_scores_leave_before_the_stream_has_ended(model, table, at):  # noqa: F811
    taken = []

    def batches():
        for batch in table.to_batches(max_chunksize=2):
            taken.append(batch)
            yield batch

    next(iter(model.score_stream(batches(), at, rows=4)))
    assert len(taken) < len(table.to_batches(max_chunksize=2))


def test_people_out_of_order_are_refused(model, table, at):  # noqa: F811
    batches = table.to_batches(max_chunksize=3)[::-1]
    with pytest.raises(InputError, match="order of subject_id"):
        list(model.score_stream(batches, at, rows=3))
    with pytest.raises(InputError, match="no batches"):
        list(model.score_stream([], at))
    with pytest.raises(InputError, match="without subject_id"):
        list(model.score_stream([table.drop_columns("subject_id").to_batches()[0]], at))
