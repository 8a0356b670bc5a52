"""Events on a Spark session: a table, a DataFrame or Parquet files, read where they are."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magml.engines.table import (
    EngineTable,
    check_columns,
    check_counts,
    named,
    quoted_name,
)
from magml.errors import InputError, MissingDependencyError
from magml.tables import EVENTS, Table

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

#: Spark's types that may stand for a declared type.
ACCEPTED = {
    "int64": ("bigint", "int", "smallint", "tinyint"),
    "float64": ("double", "float", "decimal", "bigint", "int", "smallint", "tinyint"),
    "string": ("string", "char", "varchar"),
    "timestamp": ("timestamp", "date"),
    "bool": ("boolean",),
}
TYPES = {
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "string": "STRING",
    "timestamp": "TIMESTAMP_NTZ",
    "bool": "BOOLEAN",
}


@dataclass(frozen=True)
class SparkTable(EngineTable):
    """Events on a Spark session; `frame` is the DataFrame with the contract's columns."""

    frame: DataFrame
    connect: Callable[[], AbstractContextManager[Relations]]


def local_session(master: str = "local[*]", **settings: str) -> SparkSession:
    """Return a Spark session on this machine, for trying things out.

    A cluster has its own way to give a session; on Databricks it is there as ``spark``.

    Parameters
    ----------
    master
        Spark's master: ``local[*]`` for threads of one process, ``local-cluster[2,1,1024]`` for
        two executors, processes of their own with one core and 1,024 MB each.
    settings
        Further settings of Spark, a dot written as two underscores
        (``spark__driver__memory="4g"``).

    Raises
    ------
    MissingDependencyError
        If pyspark or Java is not installed.

    Examples
    --------
    >>> spark = local_session("local[2]")                               # doctest: +SKIP
    """
    require_spark()
    require_java()
    import os
    import sys

    import pyspark
    from pyspark.sql import SparkSession

    # Executors run this Python, find Spark, and listen on this machine alone.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("SPARK_HOME", str(Path(pyspark.__file__).parent))
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    builder = SparkSession.builder.master(master).appName("magml")
    own = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.executorEnv.PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    for key, value in {**own, **{k.replace("__", "."): v for k, v in settings.items()}}.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def events(spark: SparkSession, data: Any, *, zone: str | None = None) -> SparkTable:
    """Return the events that stand in a table, a DataFrame or Parquet files.

    Parameters
    ----------
    spark
        The session that runs the queries.
    data
        Name of a table or view (``main.clinical.magml_events``), a path or URI of Parquet files
        (with a ``/``), or a Spark DataFrame, with the columns of `magml.tables.EVENTS`.
    zone
        IANA zone in which columns of the type TIMESTAMP, which are instants, are read; default
        the session's own (``spark.sql.session.timeZone``), the one in which ``show()`` prints
        them. Columns of the type TIMESTAMP_NTZ are taken as they are.

    Returns
    -------
    SparkTable

    Raises
    ------
    MissingDependencyError
        If pyspark is not installed.
    InputError
        If the table does not exist or does not fit the contract.

    Examples
    --------
    >>> rows = magml.spark.events(spark, "main.clinical.magml_events")  # doctest: +SKIP
    >>> magml.build_features(rows, "2025-03-01 08:00")                  # doctest: +SKIP
    """
    require_spark()
    frame, what = given(spark, data, "events")
    found = contract(spark, frame, EVENTS, what, zone)
    faulty = {n: f"count_if({n} IS NULL)" for n in ("subject_id", "code")}
    (counts,) = spark.sql(
        f"SELECT {', '.join(f'{sql} AS {n}' for n, sql in faulty.items())} FROM {{found}}",
        found=found,
    ).collect()
    check_counts(counts.asDict(), what)

    @contextmanager
    def connect() -> Iterator[Relations]:
        session = Relations(spark, found)
        try:
            yield session
        finally:
            session.close()

    return SparkTable("databricks", connect, what, frame=found)


class Relations:
    """Relations as DataFrames (`magml.engines.Session`); nothing is registered by name."""

    def __init__(self, spark: SparkSession, found: DataFrame) -> None:
        self.spark = spark
        self.relations = {"events": found}
        self.kept: list[DataFrame] = []

    def put(self, name: str, table: pa.Table) -> None:
        """Bring a small table to Spark."""
        self.relations[name] = to_spark(self.spark, table)

    def keep(self, name: str, sql: str) -> None:
        """Hold the rows of a query in the executors, on disk where memory does not do."""
        self.relations[name] = self.frame(sql).persist()
        self.kept.append(self.relations[name])

    def query(self, sql: str) -> pa.Table:
        """Return the rows of a query."""
        return self.frame(sql).toArrow()

    def frame(self, sql: str) -> DataFrame:
        """Return a query as a DataFrame."""
        return run(self.spark, sql, self.relations)

    def close(self) -> None:
        """Let go of what was held."""
        for frame in self.kept:
            frame.unpersist()


def run(spark: SparkSession, sql: str, relations: Mapping[str, DataFrame]) -> DataFrame:
    """Return the plan's SQL over DataFrames as a DataFrame."""
    return spark.sql(named(sql, {name: f"{{{name}}}" for name in relations}), **relations)


def require_spark() -> None:
    """Say what is missing: pyspark, or Java where Spark runs on this machine.

    Raises
    ------
    MissingDependencyError
    """
    try:
        import pyspark
    except ImportError as error:
        raise MissingDependencyError(
            "pyspark is not installed", "the extra spark", "pip install 'magml[spark]'"
        ) from error
    if int(pyspark.__version__.split(".")[0]) < 4:
        raise MissingDependencyError(
            f"pyspark {pyspark.__version__}", "pyspark 4 or later", "pip install 'magml[spark]'"
        )


def require_java() -> None:
    """Say that Java is missing, before Spark fails with a message of its own.

    Raises
    ------
    MissingDependencyError
    """
    import os

    home = os.environ.get("JAVA_HOME")
    if shutil.which("java") is None and not (home and (Path(home) / "bin" / "java").exists()):
        raise MissingDependencyError(
            "Java is not installed (no java on the path, no JAVA_HOME)",
            "a Java 17 or 21 runtime for Spark on this machine",
            "apt-get install openjdk-17-jre-headless, or connect to a cluster with Spark Connect",
        )


def given(spark: SparkSession, data: Any, what: str) -> tuple[DataFrame, str]:
    """Return a table by name, Parquet files or a DataFrame as a DataFrame, and what to call it."""
    if hasattr(data, "mapInArrow"):
        return data, f"the DataFrame of {what}"
    if not isinstance(data, str | Path):
        raise InputError(
            f"{what} given as {type(data).__name__}",
            "the name of a table, a path of Parquet files, or a Spark DataFrame",
            "convert the table",
        )
    name = str(data)
    try:
        if "/" in name:
            return spark.read.parquet(name), "the Parquet files"
        return spark.table(quoted_name(name, "databricks")), f"the table {name}"
    except InputError:
        raise
    except Exception as error:  # Spark Connect and classic Spark raise classes of their own
        raise InputError(
            f"Spark cannot read the {what} ({type(error).__name__})",
            "a table that exists, or Parquet files that every executor can read",
            "check the name or the path",
        ) from error


def contract(
    spark: SparkSession, frame: DataFrame, table: Table, what: str, zone: str | None
) -> DataFrame:
    """Return a DataFrame with the declared columns, typed, NaN and absent ones null."""
    from pyspark.sql import functions as F

    types = dict(frame.dtypes)
    declared = check_columns(types, ACCEPTED, what, table)
    columns = []
    for column in table.columns:
        kind = TYPES[column.type]
        if column.name not in declared:
            columns.append(F.lit(None).cast(kind).alias(column.name))
            continue
        value = F.col(f"`{column.name}`")
        if types[column.name] == "timestamp" and zone is not None:
            value = F.convert_timezone(
                F.current_timezone(), F.lit(zone), value.cast("TIMESTAMP_NTZ")
            )
        elif types[column.name] in ("double", "float"):
            value = F.when(~F.isnan(value), value)
        columns.append(value.cast(kind).alias(column.name))
    return frame.select(*columns)


def to_spark(spark: SparkSession, table: pa.Table) -> DataFrame:
    """Return an Arrow table as a DataFrame; naive moments stay naive."""
    import pyarrow as pa

    kinds = {
        pa.int64(): "BIGINT",
        pa.int32(): "INT",
        pa.float64(): "DOUBLE",
        pa.bool_(): "BOOLEAN",
        pa.timestamp("us"): "TIMESTAMP_NTZ",
    }
    schema = ", ".join(f"`{f.name}` {kinds.get(f.type, 'STRING')}" for f in table.schema)
    return spark.createDataFrame(table, schema)
