"""Engines for tests: a Spark with executors of their own, a PostgreSQL cluster, and histories."""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from magml.engines import EngineTable
from magml.features import Plan, build_matrix
from magml.features.matrix import FeatureMatrix
from tests import oracle
from tests.oracle import Event
from tests.review_parts import postgresql
from tests.test_oracle import EXACT, SUBJECTS, TIMES, Draw, the_catalogue

#: Brings a table of events to an engine.
Bring = Callable[[Any], EngineTable]
STAMP = pa.timestamp("us")


@contextmanager
def spark_cluster() -> Iterator[Any]:
    """Yield a session on a cluster of two executors, each a process of its own."""
    if shutil.which("java") is None:
        pytest.skip("needs Java (apt-get install openjdk-17-jre-headless)")
    pytest.importorskip("pyspark")
    from magml.spark import local_session

    # Compiling little spares half of the time of a Java process that lives for minutes.
    java = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
    session = local_session(
        "local-cluster[2,1,1024]",
        spark__driver__extraJavaOptions=java,
        spark__executor__extraJavaOptions=java,
        spark__executorEnv__PYTHONPATH=str(Path(__file__).resolve().parent.parent),
        spark__executorEnv__OMP_NUM_THREADS="1",
        spark__sql__shuffle__partitions="2",
        # A zone whose clocks skip an hour: naive moments must not notice.
        spark__sql__session__timeZone="America/New_York",
    )
    session.sparkContext.setLogLevel("OFF")
    try:
        yield session
    finally:
        session.stop()


def executors(session: Any) -> list[int]:
    """Return the processes of a session's executors."""
    backend = b"org.apache.spark.executor.CoarseGrainedExecutorBackend"
    application = session.sparkContext.applicationId.encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if backend in command and application in command:
            found.append(int(folder.name))
    return sorted(found)


@contextmanager
def postgresql_connection() -> Iterator[Any]:
    """Yield a connection to a cluster of one's own."""
    psycopg = pytest.importorskip("psycopg")
    with postgresql() as url, psycopg.connect(url, autocommit=True) as connection:
        yield connection


def to_postgres(connection: Any, table: Any, name: str) -> None:
    """Write events as an institution's table."""
    if not isinstance(table, pa.Table):
        table = pa.Table.from_pandas(table, preserve_index=False)
    kinds = {pa.int64(): "bigint", pa.float64(): "double precision", pa.null(): "text"}
    columns = ", ".join(
        f"{f.name} {'timestamp' if pa.types.is_timestamp(f.type) else kinds.get(f.type, 'text')}"
        for f in table.schema
    )
    connection.execute(f"CREATE TABLE {name} ({columns})")
    with connection.cursor().copy(f"COPY {name} FROM STDIN") as copy:
        for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
            copy.write_row(row)


def to_spark(spark: Any, table: Any) -> Any:
    """Return events as a DataFrame whose moments are naive."""
    from magml.spark.session import to_spark as bring

    if not isinstance(table, pa.Table):
        table = pa.Table.from_pandas(table, preserve_index=False)
    fields = [
        pa.field(f.name, STAMP if pa.types.is_timestamp(f.type) else f.type) for f in table.schema
    ]
    fields = [f.with_type(pa.string()) if f.type == pa.null() else f for f in fields]
    return bring(spark, table.cast(pa.schema(fields)))


def histories(small: int, seed: int = 0) -> list[Event]:
    """Return one history of everything, and many of a few concepts, each of its own people."""
    draw = Draw(random.Random(seed))
    strange = [name for name in the_catalogue().by_name if name.startswith("microbiome.")]
    events = [
        draw.event(name, subject)
        for name in [*the_catalogue().by_name, *strange * 5]
        for subject in SUBJECTS[:-1]
        for _ in range(draw.choose.choice([0, 1, 2, 5, 9]))
    ]
    for number in range(small):
        names = draw.choose.sample(list(the_catalogue().by_name), 3)
        names.append(draw.choose.choice(strange))
        for _ in range(draw.choose.randrange(25)):
            events.append(draw.event(draw.choose.choice(names), 1000 + number))
    draw.choose.shuffle(events)
    return events


def table_of(events: list[Event]) -> pa.Table:
    """Return histories as events in the contract's form."""
    return pa.table(
        {
            "subject_id": pa.array([e.subject for e in events], pa.int64()),
            "time": pa.array([e.time for e in events], STAMP),
            "code": pa.array([e.code for e in events], pa.string()),
            "numeric_value": pa.array([e.value for e in events], pa.float64()),
            "unit": pa.array([e.unit for e in events], pa.string()),
            "known_time": pa.array([e.known for e in events], STAMP),
            "end_time": pa.array([e.end for e in events], STAMP),
        }
    )


def times_of(small: int) -> pa.Table:
    """Return prediction times for the people of `histories`, one of them without events."""
    at = [(subject, t) for subject in SUBJECTS for t in TIMES]
    at += [(1000 + number, TIMES[number % len(TIMES)]) for number in range(small)]
    return pa.table(
        {
            "subject_id": pa.array([subject for subject, _ in at], pa.int64()),
            "prediction_time": pa.array([t for _, t in at], STAMP),
        }
    )


def embedded(plan: Plan, events: Any, at: Any, *, strict: bool = False) -> FeatureMatrix:
    """Return the matrix of the embedded engine."""
    from magml.events import read_events, read_prediction_times

    read = read_events(events)
    relation = read_prediction_times(at, read.connection, read)
    return build_matrix(plan, read, relation, threads=1, strict=strict)


def differences(found: FeatureMatrix, plan: Plan, other: FeatureMatrix) -> list[str]:
    """Return what differs between two matrices: counts and times at all, floats beyond 1e-6."""
    wrong = []
    for column, name in enumerate(plan.features):
        feature = the_catalogue().features.get(name)
        exact = feature is not None and not feature.derived and feature.statistic in EXACT
        got, want = found.values[:, column], other.values[:, column]
        same = (
            (got == want) | (np.isnan(got) & np.isnan(want))
            if exact
            else np.isclose(got, want, rtol=1e-6, atol=1e-9, equal_nan=True)
        )
        wrong += [f"{name}: {got[row]} for {want[row]}" for row in np.flatnonzero(~same)]
    return wrong


def against_the_oracle(found: FeatureMatrix, events: list[Event]) -> list[str]:
    """Return what differs from the plain builder."""
    catalogue = the_catalogue()
    known, wrong = oracle.facts(catalogue, events), []
    for row, (subject, t) in enumerate(
        zip(found.subject_id.tolist(), found.prediction_time.tolist(), strict=True)
    ):
        expected = oracle.features(catalogue, known, subject, t)
        for column, name in enumerate(found.names):
            got, want = float(found.values[row, column]), float(np.float32(expected[name]))
            both = math.isnan(got) and math.isnan(want)
            if not both and not math.isclose(got, want, rel_tol=1e-6, abs_tol=1e-9):
                wrong.append(f"{name} of {subject} at {t}: {got}, oracle {want}")
        seen = any((e.known or e.time or datetime.min) < t for e in events if e.subject == subject)
        assert found.empty[row] == (not seen)
    return wrong
