"""Scoring on Spark: every executor scores whole people with the bundle itself."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from magml.bundle.load import model_of, read_bundle
from magml.bundle.manifest import VerifiedFiles
from magml.spark.executors import by_people, check_executors, cut_at_people
from magml.spark.frame import times_frame
from magml.spark.session import TYPES, SparkTable
from magml.tables import EVENTS, SCORES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from magml.bundle import Model

#: Events that an executor scores together.
_ROWS = 200_000
#: Columns that no feature of SQL reads; they travel only where Python features may want them.
_FOR_PLUGINS = ("text_value", "visit_id")
#: Models that an executor has read, by their bundle's hash.
_models: dict[str, Model] = {}


def score(
    bundle: str | os.PathLike[str],
    events: SparkTable,
    at: Any,
    *,
    tracking_uri: str | None = None,
    keys: Iterable[str | os.PathLike[str]] | None = None,
) -> DataFrame:
    """Return calibrated risks of people at prediction times as a DataFrame.

    The rows of each person go to one executor, which scores them with `magml.bundle.Model.score`:
    the values are the same, to the last bit, as on one machine. The bundle is checked on the
    driver and travels with the job; nothing is installed or written on the cluster.

    Parameters
    ----------
    bundle, tracking_uri, keys
        As for `magml.load`.
    events
        As `magml.spark.events` returns it.
    at
        As for `magml.spark.features`. Of a table, people without events are scored too.

    Returns
    -------
    pyspark.sql.DataFrame
        The columns of `magml.tables.SCORES`, in no order.

    Raises
    ------
    BundleError, InputError
        As `magml.load` and `Model.score`.
    MissingDependencyError
        If the executors have no magml, or another version.

    Examples
    --------
    >>> rows = magml.spark.events(spark, "main.clinical.magml_events")          # doctest: +SKIP
    >>> risks = magml.spark.score("bundle", rows, "2025-03-01 08:00")           # doctest: +SKIP
    >>> risks.write.saveAsTable("main.clinical.magnesium_risk")                 # doctest: +SKIP
    """
    from pyspark.sql import functions as F

    files = read_bundle(bundle, tracking_uri=tracking_uri, keys=keys)
    plan = model_of(files).plan
    check_executors(events.frame.sparkSession)
    times = times_frame(events, at)
    left_out = ("source",) if plan.plugins else ("source", *_FOR_PLUGINS)
    rows = events.frame.select(*[name for name in EVENTS.names if name not in left_out])
    if hasattr(at, "columns"):
        people = times.select("subject_id").distinct()
        rows = rows.join(people, "subject_id", "left_semi")
    when = F.lit(None).cast("TIMESTAMP_NTZ")
    lines = rows.withColumn("prediction_time", when).unionByName(times, allowMissingColumns=True)
    schema = ", ".join(f"{column.name} {TYPES[column.type]}" for column in SCORES.columns)
    return by_people(lines).mapInArrow(partial(_score, files), schema)


def _score(files: VerifiedFiles, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Score the people of a partition, sorted by person (in an executor)."""
    if files.hash not in _models:
        _models[files.hash] = model_of(files)
    model = _models[files.hash]
    for lines in cut_at_people(batches, _ROWS):
        asked = pc.is_valid(lines["prediction_time"])
        at = lines.filter(asked).select(["subject_id", "prediction_time"])
        if at.num_rows:
            events = lines.filter(pc.invert(asked)).drop_columns(["prediction_time"])
            scores = model.score(events, at, threads=1)
            table = pa.Table.from_pandas(scores[list(SCORES.names)], preserve_index=False)
            yield from table.replace_schema_metadata(None).to_batches()
