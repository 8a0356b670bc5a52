"""Who trains and who tests on Spark, and the samples of both that the driver holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from magml.errors import CohortError, InputError
from magml.features.arrow import to_numpy
from magml.models.seeds import derive_seed
from magml.spark.boosters import matrix_of, share

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


@dataclass(frozen=True)
class Settings:
    """How a run on Spark goes (`magml.spark.train`)."""

    seed: int
    test_share: float
    workers: int
    driver_rows: int


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows of some whole people on the driver.

    Attributes
    ----------
    persons, labels
        Shape (n,).
    fold
        Fold of calibration of each row, shape (n,).
    values
        All features, float32, shape (n, p).
    """

    persons: NDArray[np.int64]
    labels: NDArray[np.int8]
    fold: NDArray[np.int64]
    values: NDArray[np.float32]


@dataclass(frozen=True)
class Count:
    """Rows, cases and people of a side."""

    rows: int
    cases: int
    people: int


@dataclass(frozen=True, eq=False)
class Sides:
    """The two sides of a split by people.

    Attributes
    ----------
    held, fold
        Columns: whether a person tests, and the fold of calibration of one who trains.
    trains, tests
        Rows, cases and people of either side.
    train, test
        Samples of them.
    """

    held: Column
    fold: Column
    trains: Count
    tests: Count
    train: Sample
    test: Sample


def draw(rows: DataFrame, settings: Settings, folds: int, minimum_cases: int) -> Sides:
    """Split people by a hash of the seed and their id, and draw a sample of either side.

    Parameters
    ----------
    rows
        ``subject_id``, ``label`` and ``features``.
    folds
        Folds of calibration.
    minimum_cases
        Fewest cases, and fewest others, on either side.

    Raises
    ------
    CohortError
        If a side has fewer, or a fold of the sample holds one class only.
    """
    from pyspark.sql import functions as F

    held = share(derive_seed(settings.seed, "held out")) < settings.test_share
    fold = F.floor(share(derive_seed(settings.seed, "folds")) * folds)
    lines = (
        rows.groupBy(held.alias("held"))
        .agg(
            F.count("*").alias("rows"),
            F.sum("label").alias("cases"),
            F.count_distinct("subject_id").alias("people"),
            F.count_if(F.col("label").isNull()).alias("unknown"),
        )
        .collect()
    )
    if unknown := sum(line["unknown"] for line in lines):
        raise InputError(
            f"{unknown} labels without an outcome", "true or false in every row", "remove them"
        )
    counts = {
        bool(line["held"]): Count(line["rows"], int(line["cases"]), line["people"])
        for line in lines
    }
    for which, words in ((False, "train"), (True, "test")):
        found = counts.get(which, Count(0, 0, 0))
        if min(found.cases, found.rows - found.cases) < minimum_cases:
            raise CohortError(
                f"{found.cases} cases in {found.rows} prediction times to {words}",
                f"at least {minimum_cases} with and without the outcome on either side",
                "label more people, or train on one machine with magml.train",
            )
    samples = []
    for which in (False, True):
        drawn = share(derive_seed(settings.seed, "sample"))
        chosen = rows.where(held == which).where(
            drawn < min(1.0, settings.driver_rows / counts[which].rows)
        )
        samples.append(_sample(chosen.withColumn("fold", fold)))
    train, test = samples
    for number in range(folds):
        inside = train.labels[train.fold == number]
        if not len(inside) or inside.min() == inside.max():
            raise CohortError(
                f"fold {number + 1} of {folds} holds {len(inside)} rows of one class",
                "rows with and without the outcome in each fold",
                "label more people, or lower calibration.folds in the model's file",
            )
    return Sides(held, fold, counts[False], counts[True], train, test)


def _sample(rows: DataFrame) -> Sample:
    """Bring rows to the driver, in an order of their own."""
    table = rows.toArrow()
    persons, values = to_numpy(table["subject_id"]), matrix_of(table["features"].combine_chunks())
    labels = to_numpy(table["label"]).astype(np.int8)
    # Executors answer in any order: by person, then by the values themselves.
    keys = [values[:, k] for k in range(min(4, values.shape[1]))]
    order = np.lexsort((*keys, labels, persons))
    fold = to_numpy(table["fold"])
    return Sample(persons[order], labels[order], fold[order], values[order])


def narrowed(rows: DataFrame, positions: NDArray[np.int64]) -> DataFrame:
    """Return rows with some of the features."""
    schema = "subject_id BIGINT, label DOUBLE, features ARRAY<FLOAT>"
    return rows.select("subject_id", "label", "features").mapInArrow(
        partial(_narrow, positions), schema
    )


def _narrow(
    positions: NDArray[np.int64], batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Take some features of each row (in an executor)."""
    for batch in batches:
        if batch.num_rows:
            values = np.ascontiguousarray(matrix_of(batch["features"])[:, positions])
            ends = np.arange(0, values.size + 1, len(positions), dtype=np.int32)
            arrays = pa.ListArray.from_arrays(pa.array(ends), pa.array(values.reshape(-1)))
            yield pa.RecordBatch.from_arrays(
                [batch["subject_id"], batch["label"], arrays], ["subject_id", "label", "features"]
            )
