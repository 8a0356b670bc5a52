"""A slice of benchmarks/features.py: its events, and that every exact way gives magml's values."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="no folder benchmarks/")


@pytest.fixture(scope="module")
def scripts() -> Iterator[tuple[Any, Any]]:
    """The scripts as modules; they import one another by their bare names."""
    sys.path.insert(0, str(FOLDER))
    import generate_events

    import features

    yield generate_events, features
    sys.path.remove(str(FOLDER))


def test_a_seed_gives_the_same_events_and_small_ones_begin_large_ones(scripts, tmp_path) -> None:
    generate, _ = scripts
    block = generate.BLOCK_PEOPLE * generate.ROWS_EACH

    def first(rows: int, seed: int) -> pa.Table:
        return next(generate.blocks(rows, seed, 1))[0]

    whole = first(block, 1)
    assert whole.equals(first(3 * block, 1))
    assert not whole.equals(first(block, 2))
    paths = generate.generate(tmp_path / "a", 30_000), generate.generate(tmp_path / "b", 30_000)
    assert [p.read_bytes() for p in paths[0]] == [p.read_bytes() for p in paths[1]]
    written = pq.read_table(paths[0][0])
    assert written.num_rows == 30_000
    assert written.schema.field("code").type == pa.string()


def test_events_are_a_hospitals_in_form(scripts) -> None:
    generate, _ = scripts
    events, times = next(generate.blocks(200_000, 1, 3))
    frame = events.to_pandas()
    order = frame[["subject_id", "time"]]
    assert order.equals(order.sort_values(["subject_id", "time"]))
    assert (frame["known_time"].dropna() >= frame["time"][frame["known_time"].notna()]).all()
    lab = frame["source"] == "laboratory"
    assert 0.5 < lab.mean() < 0.7
    assert frame.loc[lab, "unit"].notna().all()
    assert frame.loc[lab & (frame["code"] == "LOINC//2345-7"), "unit"].nunique() == 2
    repeated = frame[lab].duplicated(["subject_id", "code", "time"]).mean()
    assert 0.01 < repeated < 0.1  # corrections
    counts = frame.groupby("subject_id").size()
    assert len(counts) == 400
    assert counts.quantile(0.99) > 5 * counts.median()  # skewed
    pairs = times.to_pandas()
    assert not pairs.duplicated().any()
    assert len(pairs) > 2.9 * len(counts)


def test_every_exact_way_gives_the_same_values(scripts, tmp_path) -> None:
    pytest.importorskip("polars")
    generate, features = scripts
    generate.generate(tmp_path, 120_000, seed=3)
    found = features.differences(tmp_path, threads=1)
    exact = {name: off for name, (is_exact, off) in found.items() if is_exact}
    assert len(exact) == 4
    assert max(exact.values()) < 1e-6
    # The comparison can fail: without the rule of corrections some values differ.
    assert max(off for name, (is_exact, off) in found.items() if not is_exact) > 0.01
    assert np.isfinite(list(exact.values())).all()
