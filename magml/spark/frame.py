"""Features of any number of prediction times, as a Spark DataFrame."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from magml.engines.build import PARTS, check_plan, fill, mapped_concepts
from magml.engines.queries import engine_queries
from magml.errors import InputError
from magml.events.read import as_moment, read_prediction_times
from magml.features.arrow import to_numpy
from magml.features.combine import layout
from magml.features.plan import Plan
from magml.spark.executors import by_people, check_executors
from magml.spark.session import SparkTable, contract, to_spark
from magml.tables import PREDICTION_TIMES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from magml.definitions.catalogue import Catalogue

#: Numbers of a block that an executor fills at once, 8 bytes each.
_CELLS = 4_000_000
#: Lines of aggregates that it takes together.
_LINES = 200_000
_AT = -1


def features(
    events: SparkTable,
    at: Any,
    *,
    catalogue: Catalogue | None = None,
    features: Sequence[str] | None = None,
    workspace: str | Path | None = None,
    strict: bool = True,
    as_array: bool = False,
) -> DataFrame:
    """Return the feature table of prediction times as a DataFrame that no machine need hold.

    Spark SQL maps and aggregates; each executor then puts its rows together, for which magml must
    be installed there. `magml.build_features` needs it on the driver alone.

    Parameters
    ----------
    events
        As `magml.spark.events` returns it.
    at
        A Spark DataFrame with ``subject_id`` and ``prediction_time``, or what
        `magml.build_features` takes.
    catalogue, features, workspace, strict
        As for `magml.build_features`.
    as_array
        One column ``features`` (array of float, NaN = missing) in place of one a feature, as
        `xgboost.spark` takes it.

    Returns
    -------
    pyspark.sql.DataFrame
        ``subject_id``, ``prediction_time`` and the features (float, null = missing), in no
        order. Names of features hold dots: quote them with backticks in Spark SQL.

    Raises
    ------
    InputError, UnitError, DefinitionError
        For tables, units or names that do not fit, before anything is computed.
    MissingDependencyError
        If the executors have no magml, or another version.

    Examples
    --------
    >>> rows = magml.spark.events(spark, "main.clinical.magml_events")  # doctest: +SKIP
    >>> table = magml.spark.features(rows, spark.table("cohort"))       # doctest: +SKIP
    >>> table.write.parquet("features.parquet")                         # doctest: +SKIP
    """
    from magml.definitions import read_catalogue
    from magml.features import compile_plan

    plan = compile_plan(catalogue or read_catalogue(workspace), features)
    return plan_frame(plan, events, at, strict=strict, as_array=as_array)[0]


def plan_frame(
    plan: Plan, events: SparkTable, at: Any, *, strict: bool, as_array: bool = False
) -> tuple[DataFrame, Plan]:
    """Return the features of a plan as a DataFrame, and the plan with the units assumed."""
    from pyspark.sql import functions as F

    check_plan(plan)
    spark = events.frame.sparkSession
    check_executors(spark)
    sql = engine_queries(plan, events.dialect)
    times = times_frame(events, at)
    with events.connect() as session:
        # The pair itself is the row's id: the same in every attempt of every task.
        rows = times.select(F.struct("subject_id", "prediction_time").alias("row_id"), "*")
        session.relations["prediction_times"] = rows
        plan, concept_map = mapped_concepts(plan, session, sql, strict=strict)
        session.put("concept_map", concept_map.to_arrow(plan))
        session.relations["mapped"] = session.frame(sql["map"])
        parts = [
            _with_row(session.frame(sql[part])).withColumn("part", F.lit(number))
            for number, part in enumerate(PARTS)
        ]
    lines = reduce(
        lambda one, other: one.unionByName(other, allowMissingColumns=True),
        parts,
        times.withColumn("part", F.lit(_AT)),
    )
    lines = by_people(lines, "prediction_time", "part")
    text = json.dumps(replace(plan, sql={}).to_dict())
    names = plan.features
    kinds = "features ARRAY<FLOAT>" if as_array else ", ".join(f"`{n}` FLOAT" for n in names)
    schema = f"subject_id BIGINT, prediction_time TIMESTAMP_NTZ, {kinds}"
    return lines.mapInArrow(partial(_fill, text, as_array), schema), plan


def times_frame(events: SparkTable, at: Any) -> DataFrame:
    """Return prediction times as a DataFrame, each pair of person and moment once."""
    from pyspark.sql import functions as F

    spark = events.frame.sparkSession
    moment = as_moment(at)
    if moment is not None:
        people = events.frame.select("subject_id").distinct()
        when = F.lit(moment.isoformat(sep=" ")).cast("TIMESTAMP_NTZ")
        return people.withColumn("prediction_time", when)
    if not hasattr(at, "mapInArrow"):
        from magml.events import connect

        connection = connect()
        relation = read_prediction_times(at, connection, None)
        found = connection.sql(f"SELECT subject_id, prediction_time FROM {relation}")
        return to_spark(spark, found.to_arrow_table())
    times = contract(spark, at, PREDICTION_TIMES, "the DataFrame of prediction times", None)
    (counts,) = times.select(
        F.count("*").alias("rows"),
        F.count_distinct("subject_id", "prediction_time").alias("pairs"),
    ).collect()
    if counts["rows"] == 0 or counts["rows"] != counts["pairs"]:
        raise InputError(
            f"{counts['rows']} prediction times, of which {counts['pairs']} are whole and differ",
            "at least one, and each pair of subject_id and prediction_time once",
            "remove the repeated and the incomplete rows",
        )
    return times


def _with_row(frame: DataFrame) -> DataFrame:
    """Return aggregates with person and moment in place of the row's id."""
    from pyspark.sql import functions as F

    both = [F.col(f"row_id.{name}").alias(name) for name in ("subject_id", "prediction_time")]
    return frame.select(*both, *[name for name in frame.columns if name != "row_id"])


@lru_cache(maxsize=4)
def _plan(text: str) -> Plan:
    return Plan.from_dict(json.loads(text))


def _fill(text: str, as_array: bool, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Put the sorted lines of a partition together, whole rows at a time (in an executor)."""
    plan = _plan(text)
    most = max(1, _CELLS // max(1, len(layout(plan).names)))
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(b.num_rows for b in held) < _LINES:
            continue
        table = pa.Table.from_batches(held)
        # Every row begins with its own line; the last one may go on in the next batch.
        last = int(np.flatnonzero(to_numpy(table["part"]) == _AT)[-1])
        yield from _rows(plan, table.slice(0, last), most, as_array)
        held = table.slice(last).to_batches()
    if held:
        yield from _rows(plan, pa.Table.from_batches(held), most, as_array)


def _rows(plan: Plan, lines: pa.Table, most: int, as_array: bool) -> Iterator[pa.RecordBatch]:
    """Yield the rows of whole lines, `most` at a time."""
    starts = np.flatnonzero(to_numpy(lines["part"]) == _AT)
    for first in range(0, len(starts), most):
        last = first + most
        end = starts[last] if last < len(starts) else lines.num_rows
        table = lines.slice(starts[first], end - starts[first])
        part = to_numpy(table["part"])
        at = np.flatnonzero(part == _AT)
        row = np.cumsum(part == _AT) - 1
        own = table.take(at)
        t_us = to_numpy(own["prediction_time"].cast(pa.int64()))
        long = [_long(table, row, np.flatnonzero(part == number)) for number in range(len(PARTS))]
        values = fill(plan, long, t_us)
        columns = [own["subject_id"], own["prediction_time"], *_arrays(values, as_array)]
        names = ["features"] if as_array else list(plan.features)
        table = pa.table(columns, ["subject_id", "prediction_time", *names])
        yield from table.combine_chunks().to_batches()


def _long(table: pa.Table, row: NDArray[np.int64], lines: NDArray[np.intp]) -> dict[str, Any]:
    """Return the columns of one part's lines."""
    own = table.take(lines)
    numbers = [f.name for f in own.schema if own[f.name].null_count == 0]
    skipped = ("subject_id", "prediction_time", "part")
    found = {name: to_numpy(own[name]) for name in numbers if name not in skipped}
    return {**found, "row_id": row[lines]}


def _arrays(values: NDArray[np.float32], as_array: bool) -> list[pa.Array]:
    """Return a matrix as columns with nulls, or as one column of arrays with NaN."""
    if as_array:
        ends = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
        flat = np.ascontiguousarray(values).reshape(-1)
        return [pa.ListArray.from_arrays(pa.array(ends), pa.array(flat))]
    return [pa.array(column, mask=np.isnan(column)) for column in np.ascontiguousarray(values.T)]
